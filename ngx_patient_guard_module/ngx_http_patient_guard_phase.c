
#include "ngx_http_patient_guard_phase.h"
#include "ngx_http_patient_guard_answer.h"
#include "ngx_http_patient_guard_body.h"
#include "ngx_http_patient_guard_conf.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_limit.h"
#include "ngx_http_patient_guard_uncoded.h"
#include "ngx_http_patient_guard_variable.h"
#include "ngx_http_patient_guard_verdict.h"


static ngx_http_patient_guard_ctx_t *ngx_http_patient_guard_create_ctx(
    ngx_http_request_t *r, ngx_http_patient_guard_loc_conf_t *lcf);
static ngx_int_t ngx_http_patient_guard_read(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_read_done(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_looked(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_start(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_go_on(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_patient_guard_refused(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t status);
static ngx_int_t ngx_http_patient_guard_suspend(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_resume(ngx_http_patient_guard_ctx_t *ctx);


ngx_int_t
ngx_http_patient_guard_handler(ngx_http_request_t *r)
{
    ngx_uint_t                          reading;
    ngx_http_patient_guard_ctx_t       *ctx;
    ngx_http_patient_guard_loc_conf_t  *lcf;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    reading = (ngx_http_get_module_ctx(r, ngx_patient_guard_module) != NULL);
    ctx = ngx_http_patient_guard_get_ctx(r);

    if (ctx && ctx->body && !reading) {

        /* it could not be read: nginx has refused it, and this is its page */

        ctx->waiting = 0;
        ctx->body = NULL;
        ctx->uncounted = 1;
        ctx->watched = 0;
    }

    /* what one location lets through uncounted another may count */

    if (ctx && !ctx->uncounted) {

        /* the core may call at any time; also once for each redirect */

        if (ctx->waiting) {
            return NGX_AGAIN;
        }

        if (ctx->body) {
            return ngx_http_patient_guard_looked(r, ctx);
        }

        if (ctx->next == NULL) {

            /* a guard that failed has let nobody through to an error_page */

            return ctx->decided ? NGX_DECLINED
                                : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_patient_guard_go_on(r, ctx,
                               ngx_http_patient_guard_verdict_next(r, ctx));
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_patient_guard_module);

    if (lcf->policy == NULL
        || (lcf->handler && r->content_handler == lcf->handler)
        || !ngx_http_patient_guard_is_lookup(r, lcf))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_patient_guard_create_ctx(r, lcf);

    if (ctx == NULL) {
        return ngx_http_patient_guard_failed(r);
    }

    return lcf->request ? ngx_http_patient_guard_read(r, ctx)
                        : ngx_http_patient_guard_start(r, ctx);
}


static ngx_http_patient_guard_ctx_t *
ngx_http_patient_guard_create_ctx(ngx_http_request_t *r,
    ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_pool_cleanup_t            *found;
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_ctx_t));
    found = ngx_pool_cleanup_add(r->pool, 0);

    if (ctx == NULL || found == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->policy = lcf->policy;
    ctx->location = lcf;
    ctx->dry_run = lcf->dry_run;
    ctx->log_level = lcf->log_level;
    ctx->watched = (lcf->response || lcf->records);
    ctx->resume = ngx_http_patient_guard_resume;

    if (ngx_http_patient_guard_verdict_init(r, ctx) != NGX_OK) {
        return NULL;
    }

    found->handler = ngx_http_patient_guard_ctx_cleanup;
    found->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_patient_guard_module);

    return ctx;
}


/* as ngx_http_mirror_module does */

static ngx_int_t
ngx_http_patient_guard_read(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->waiting = 1;

    rc = ngx_http_patient_guard_body_read(r, ctx,
                                          ngx_http_patient_guard_read_done);

    if (rc == NGX_OK) {
        ngx_http_finalize_request(r, NGX_DONE);
        return NGX_DONE;
    }

    ctx->waiting = 0;
    ctx->body = NULL;

    if (ctx->reason) {
        return ngx_http_patient_guard_refused(r, ctx, rc);
    }

    if (rc == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return ngx_http_patient_guard_failed(r);
    }

    ctx->uncounted = 1;
    ctx->watched = 0;

    return rc;
}


static void
ngx_http_patient_guard_read_done(ngx_http_request_t *r)
{
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_patient_guard_module);

    ctx->waiting = 0;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_patient_guard_looked(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_body_verdict(ctx);

    if (rc == NGX_ERROR) {
        return ngx_http_patient_guard_failed(r);
    }

    return rc == NGX_OK ? ngx_http_patient_guard_start(r, ctx)
                        : ngx_http_patient_guard_refused(r, ctx, rc);
}


static ngx_int_t
ngx_http_patient_guard_start(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_identify(r, ctx, ctx->location);

    if (rc == NGX_ERROR
        || ngx_http_patient_guard_limits(r, ctx->policy, &ctx->op.lookup)
           != NGX_OK)
    {
        return ngx_http_patient_guard_failed(r);
    }

    if (rc == NGX_DECLINED) {
        ctx->decided = 1;
        ctx->uncounted = 1;
        ctx->watched = 0;
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        return ngx_http_patient_guard_refused(r, ctx, rc);
    }

    return ngx_http_patient_guard_go_on(r, ctx,
                   ngx_http_patient_guard_verdict(r, ctx,
                                               ctx->policy->throttle_delay));
}


/* by what has become of the verdict */

static ngx_int_t
ngx_http_patient_guard_go_on(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc)
{
    if (rc == NGX_AGAIN) {
        return ngx_http_patient_guard_suspend(r, ctx);
    }

    if (!ngx_http_patient_guard_allowed(ctx)) {
        ctx->watched = 0;
        return ngx_http_patient_guard_answer(r, ctx);
    }

    /* whatever takes the place of the response may want the body, too */

    r->preserve_body |= ctx->gated;

    if (ctx->watched && ctx->location->response
        && ngx_http_patient_guard_uncoded(r) != NGX_OK)
    {
        return ngx_http_patient_guard_failed(r);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_patient_guard_refused(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t status)
{
    ngx_http_patient_guard_verdict_refuse(r, ctx, status);

    return ngx_http_patient_guard_go_on(r, ctx, NGX_OK);
}


static ngx_int_t
ngx_http_patient_guard_suspend(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    if (r->connection->read->ready) {

        /* a client may have hung up already: that is no event any more */

        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_patient_guard_verdict_forget(ctx);
        return ngx_http_patient_guard_failed(r);
    }

    /* a client that hangs up, or resets its stream, is noticed there */

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    return NGX_AGAIN;
}


/* from an event that is not the client's; r may be gone when it returns */

static void
ngx_http_patient_guard_resume(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_finalize_request(r, ngx_http_patient_guard_failed(r));
        ngx_http_run_posted_requests(c);
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}
