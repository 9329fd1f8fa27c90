
/*
 * Patients whom the body of a request names.  It is looked into as it comes,
 * and goes to the upstream as it is.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_BODY_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_BODY_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/*
 * Reads the body and adds whom it names to ctx->patients.  done() is called
 * once, maybe from within, unless an error is returned or the request ends
 * before; then ngx_http_patient_guard_body_verdict() says what came of it.
 * The reference to the request that is taken is the caller's to give back
 * by ngx_http_finalize_request(r, NGX_DONE).
 *
 * NGX_OK, or a status to refuse the request with: ctx->reason tells why, if
 * it is the guard that refuses.
 */
ngx_int_t ngx_http_patient_guard_body_read(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_client_body_handler_pt done);

/* NGX_OK, NGX_ERROR if memory is short, or a status, with ctx->reason */
ngx_int_t ngx_http_patient_guard_body_verdict(
    ngx_http_patient_guard_ctx_t *ctx);

/* where some location looks into bodies; called at postconfiguration */
void ngx_http_patient_guard_body_init(void);


#endif /* _NGX_HTTP_PATIENT_GUARD_BODY_H_INCLUDED_ */
