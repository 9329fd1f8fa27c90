
/*
 * Bytes of a response that is held: some in memory, and when they get too
 * many all of them in a temporary file, as nginx' upstreams do.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_SPOOL_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_SPOOL_H_INCLUDED_


#include "ngx_http_patient_guard.h"


typedef struct {
    ngx_http_patient_guard_gate_t       *sizes;
    ngx_chain_t                         *bufs;       /* in memory */
    ngx_chain_t                        **last;       /* where the next goes */
    ngx_chain_t                         *filling;
    size_t                               allocated;
    ngx_temp_file_t                     *file;
} ngx_http_patient_guard_spool_t;


void ngx_http_patient_guard_spool_init(ngx_http_patient_guard_spool_t *spool,
    ngx_http_patient_guard_gate_t *sizes);

/* NGX_OK; NGX_BUSY: it is too large; NGX_ERROR */
ngx_int_t ngx_http_patient_guard_spool_add(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool, u_char *p, u_char *last);

/*
 * All that was added; behind it the last buffer if it is the "whole", or one
 * that flushes.  NULL if memory is short.
 */
ngx_chain_t *ngx_http_patient_guard_spool_chain(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool, ngx_uint_t whole);


#endif /* _NGX_HTTP_PATIENT_GUARD_SPOOL_H_INCLUDED_ */
