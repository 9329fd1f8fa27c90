
/* What a refused client gets: status, header fields, problem document. */


#ifndef _NGX_HTTP_PATIENT_GUARD_ANSWER_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_ANSWER_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/*
 * Refuses the request: by the verdict in ctx->decision or, if that allows,
 * with ctx->status.  The return value is for the phase checker; with
 * NGX_DONE the request is finalized and must not be touched any more.
 */
ngx_int_t ngx_http_patient_guard_answer(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);

/*
 * 500, for want of memory.  No error_page is shown, which might lead to the
 * record: nginx takes this for the failure of one.
 */
ngx_int_t ngx_http_patient_guard_failed(ngx_http_request_t *r);


#endif /* _NGX_HTTP_PATIENT_GUARD_ANSWER_H_INCLUDED_ */
