
/*
 * A response that is held back: kept until its patients are charged, then
 * sent, or replaced by the verdict.
 *
 *   whole --> asked --> answered --> released
 *                           \---------> refused, once it is whole
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_GATE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_GATE_H_INCLUDED_


#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_disclosure.h"


/* where a response goes that is released */

typedef struct {
    ngx_http_output_header_filter_pt     header;
    ngx_http_output_body_filter_pt       body;
} ngx_http_patient_guard_way_t;


/*
 * Holds the response back from its header on: ctx->held_back.  Its header
 * must not go on by itself.  NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_patient_guard_gate_close(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_http_patient_guard_way_t *way);

/*
 * The next buffers of it, which are kept and consumed, or go on if it has
 * been released.  NGX_OK, NGX_AGAIN, NGX_ERROR: as of a body filter.
 */
ngx_int_t ngx_http_patient_guard_gate_filter(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in);

/* all of its patients are found: ask.  NGX_ERROR as of a body filter. */
ngx_int_t ngx_http_patient_guard_gate_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);

/* it will be replaced by this status; ctx->reason tells why */
ngx_int_t ngx_http_patient_guard_gate_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);

/* is anything still to be found out of it? */
ngx_uint_t ngx_http_patient_guard_gate_asked(
    ngx_http_patient_guard_ctx_t *ctx);


#endif /* _NGX_HTTP_PATIENT_GUARD_GATE_H_INCLUDED_ */
