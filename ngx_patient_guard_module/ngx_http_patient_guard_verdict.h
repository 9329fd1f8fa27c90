
/* A lookup to a verdict: ask the store, wait, hold, decide, and log it. */


#ifndef _NGX_HTTP_PATIENT_GUARD_VERDICT_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_VERDICT_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* prepares ctx to ask, and to be waited for; NGX_ERROR if memory is short */
ngx_int_t ngx_http_patient_guard_verdict_init(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);

/* the op as it is to begin with; its lookup is the caller's to fill */
void ngx_http_patient_guard_verdict_op(ngx_http_patient_guard_ctx_t *ctx);

/*
 * Counts ctx->op.lookup, and decides.  A lookup that does not fit may be held
 * until it does, "patience" ms at the most.
 *
 * NGX_OK     decided: see ctx->decision, and ctx->status of a refusal by none
 *            of the limits;
 * NGX_AGAIN  ctx->resume() will be called when it goes on: then call
 *            ngx_http_patient_guard_verdict_next().
 */
ngx_int_t ngx_http_patient_guard_verdict(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_msec_t patience);
ngx_int_t ngx_http_patient_guard_verdict_next(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);

/*
 * Asks, and decides nothing: for who is no lookup.
 *
 * NGX_OK        the tally is filled;
 * NGX_DECLINED  no store answers;
 * NGX_AGAIN     ctx->resume() will be called, then it is as
 *               ngx_http_patient_guard_queried() says.
 */
ngx_int_t ngx_http_patient_guard_query(ngx_http_patient_guard_ctx_t *ctx);

#define ngx_http_patient_guard_queried(ctx)                                  \
    ((ctx)->op.tally.outage ? NGX_DECLINED : NGX_OK)

/* a refusal for want of what a lookup needs, by this status */
void ngx_http_patient_guard_verdict_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);

/* nothing is waited for any more: may be called at any time */
void ngx_http_patient_guard_verdict_forget(void *data);

/* is the request to go on? */
#define ngx_http_patient_guard_allowed(ctx)                                  \
    ((ctx)->decision.verdict == NGX_PATIENT_GUARD_ALLOW || (ctx)->dry_run)

/* "what" was the limit that decided: said at the level of a refusal */
void ngx_http_patient_guard_log_over(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, const char *what);


#endif /* _NGX_HTTP_PATIENT_GUARD_VERDICT_H_INCLUDED_ */
