
/*
 * What a response discloses, as it is counted: each of its patients once, and
 * none who was counted with the request; records of whom nothing is known by
 * their number.
 *
 *   named by the request | found in the response | said beside them
 *   ctx->patients ---------------------------->    as numbers of the URI
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_DISCLOSURE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_DISCLOSURE_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* part of the response's state */

typedef struct {
    ngx_uint_t                           charged;    /* of ctx->patients */
    uint64_t                             patients;   /* charged so far */
    uint64_t                             records;    /* and "lookups" */
    uint64_t                             said;       /* records, as it is */
                                                     /*   told; 0: not    */
    unsigned                             forced:1;   /* see the lookup */
    unsigned                             over:1;     /* and it is logged */
} ngx_http_patient_guard_disclosure_t;


/* of a request that was admitted */
void ngx_http_patient_guard_disclosure_init(ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d);

/* how many records it says that it has; NGX_ERROR if memory is short */
ngx_int_t ngx_http_patient_guard_disclosure_said(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d);

/*
 * Charges what is known by now; with "last", also those of whom nothing is
 * known, or the URI if nobody was found.
 *
 * NGX_OK        charged, or there was nothing to charge;
 * NGX_DECLINED  not "forced", and it did not fit;
 * NGX_ERROR     it could not be counted: see ctx->reason.
 */
ngx_int_t ngx_http_patient_guard_disclose(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_uint_t last);

/*
 * The same in ctx->op.lookup, for a verdict to be given of the whole.
 * NGX_DECLINED: nothing is left to be counted; NGX_BUSY: it is too much;
 * NGX_ERROR: memory is short.
 */
ngx_int_t ngx_http_patient_guard_disclosure_lookup(
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d);

/*
 * The header of the response is there: a miss is counted if it tells of no
 * patient, or if the request has named one by what can't be an identifier.
 */
void ngx_http_patient_guard_miss(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);


#endif /* _NGX_HTTP_PATIENT_GUARD_DISCLOSURE_H_INCLUDED_ */
