
/*
 * The patients of one request, each once: those that it names and those that
 * its response discloses, in the order in which they were found.
 */


#ifndef _NGX_PATIENT_GUARD_DISTINCT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_DISTINCT_H_INCLUDED_


#include "ngx_patient_guard.h"


/* zeroed, it is empty: most requests name one patient, which costs nothing */

typedef struct {
    ngx_patient_guard_named_t   *named;
    ngx_uint_t                   n;
    ngx_uint_t                   size;         /* a power of two, or 0 */
    uint32_t                    *table;        /* 2 * size; place + 1, or 0 */
    ngx_patient_guard_named_t    first;
} ngx_patient_guard_distinct_t;


/*
 * NGX_OK: it is there now, the last one; NGX_DECLINED: it was there before;
 * NGX_BUSY: "most" are there already; NGX_ERROR: memory is short.
 */
ngx_int_t ngx_patient_guard_distinct_add(
    ngx_patient_guard_distinct_t *distinct, ngx_pool_t *pool,
    ngx_patient_guard_named_t *named, ngx_uint_t most);

/* keeps the memory */
void ngx_patient_guard_distinct_clear(ngx_patient_guard_distinct_t *distinct);


#endif /* _NGX_PATIENT_GUARD_DISTINCT_H_INCLUDED_ */
