
#include "ngx_http_patient_guard_phase.h"
#include "ngx_http_patient_guard_answer.h"
#include "ngx_http_patient_guard_conf.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_limit.h"
#include "ngx_http_patient_guard_variable.h"


static ngx_http_patient_guard_ctx_t *ngx_http_patient_guard_create_ctx(
    ngx_http_request_t *r, ngx_http_patient_guard_loc_conf_t *lcf);
static ngx_int_t ngx_http_patient_guard_start(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_loc_conf_t *lcf);
static ngx_int_t ngx_http_patient_guard_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_settle(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_finish(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_hold(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_wait(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_step_pt next);
static void ngx_http_patient_guard_resume(ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_hold_handler(ngx_event_t *ev);
static void ngx_http_patient_guard_done(ngx_patient_guard_op_t *op);
static void ngx_http_patient_guard_forget(void *data);
static void ngx_http_patient_guard_log(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);


ngx_int_t
ngx_http_patient_guard_handler(ngx_http_request_t *r)
{
    ngx_http_patient_guard_ctx_t       *ctx;
    ngx_http_patient_guard_step_pt      next;
    ngx_http_patient_guard_loc_conf_t  *lcf;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_patient_guard_get_ctx(r);

    /* what one location lets through uncounted another may count */

    if (ctx && !ctx->uncounted) {

        /* the core may call at any time; also once for each redirect */

        if (ctx->waiting) {
            return NGX_AGAIN;
        }

        next = ctx->next;

        if (next == NULL) {

            /* a guard that failed has let nobody through to an error_page */

            return ctx->decided ? NGX_DECLINED
                                : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->next = NULL;

        return next(r, ctx);
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_patient_guard_module);

    if (lcf->policy == NULL || !ngx_http_patient_guard_is_lookup(r, lcf)) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_patient_guard_create_ctx(r, lcf);

    if (ctx == NULL) {
        return ngx_http_patient_guard_failed(r);
    }

    return ngx_http_patient_guard_start(r, ctx, lcf);
}


static ngx_http_patient_guard_ctx_t *
ngx_http_patient_guard_create_ctx(ngx_http_request_t *r,
    ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_pool_cleanup_t            *found;
    ngx_http_cleanup_t            *forget;
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_ctx_t));
    found = ngx_pool_cleanup_add(r->pool, 0);
    forget = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || found == NULL || forget == NULL) {
        return NULL;
    }

    found->handler = ngx_http_patient_guard_ctx_cleanup;
    found->data = ctx;

    forget->handler = ngx_http_patient_guard_forget;
    forget->data = ctx;

    ctx->request = r;
    ctx->policy = lcf->policy;
    ctx->dry_run = lcf->dry_run;
    ctx->log_level = lcf->log_level;
    ctx->decision.limit = -1;

    ctx->op.pool = r->pool;
    ctx->op.done = ngx_http_patient_guard_done;
    ctx->op.data = ctx;
    ctx->op.lookup.dry_run = lcf->dry_run;

    ctx->hold.handler = ngx_http_patient_guard_hold_handler;
    ctx->hold.data = ctx;
    ctx->hold.log = r->connection->log;

    ngx_http_set_ctx(r, ctx, ngx_patient_guard_module);

    return ctx;
}


static ngx_int_t
ngx_http_patient_guard_start(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_identify(r, ctx, lcf);

    if (rc == NGX_ERROR
        || ngx_http_patient_guard_limits(r, ctx->policy, &ctx->op.lookup)
           != NGX_OK)
    {
        return ngx_http_patient_guard_failed(r);
    }

    if (rc == NGX_DECLINED) {
        ctx->decided = 1;
        ctx->uncounted = 1;
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        ctx->status = rc;
        ctx->decision.verdict = NGX_PATIENT_GUARD_VERDICT_DENY;
        return ngx_http_patient_guard_finish(r, ctx);
    }

    return ngx_http_patient_guard_ask(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_time_t                  *tp;
    ngx_patient_guard_store_t   *store;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;

    tp = ngx_timeofday();
    lookup->now = (uint64_t) tp->sec * 1000 + tp->msec;

    if (lookup->proof > lookup->now + NGX_PATIENT_GUARD_SKEW) {

        /* of the future: it would be good for more than one challenge */

        lookup->proof = 0;
    }

    store = ctx->policy->store;

    rc = store->count(store, &ctx->op);

    if (rc == NGX_AGAIN) {
        return ngx_http_patient_guard_wait(r, ctx,
                                           ngx_http_patient_guard_settle);
    }

    if (rc == NGX_ERROR) {
        ngx_memzero(&ctx->op.tally, sizeof(ngx_patient_guard_tally_t));
        ctx->op.tally.outage = 1;
    }

    return ngx_http_patient_guard_settle(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_settle(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                         rc;
    ngx_patient_guard_decision_t     *decision;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;
    decision = &ctx->decision;

    if (ctx->op.tally.outage) {

        ctx->reason = "no store answers";
        decision->limit = -1;

        if (policy->outage == NGX_PATIENT_GUARD_OUTAGE_ALLOW
            || ctx->op.lookup.exempt)
        {
            decision->verdict = NGX_PATIENT_GUARD_ALLOW;
            decision->wait = 0;

        } else {
            decision->verdict = NGX_PATIENT_GUARD_VERDICT_DENY;
            decision->wait = 1000;
            ctx->status = NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        return ngx_http_patient_guard_finish(r, ctx);
    }

    ngx_patient_guard_decide(&ctx->op.lookup, &ctx->op.tally, decision);

    if (decision->verdict == NGX_PATIENT_GUARD_VERDICT_THROTTLE
        && !ctx->dry_run)
    {
        rc = ngx_http_patient_guard_hold(r, ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (decision->verdict == NGX_PATIENT_GUARD_ALLOW && ctx->delayed) {
        decision->limit = ctx->held;
    }

    return ngx_http_patient_guard_finish(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_finish(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ctx->decided = 1;

    ngx_http_patient_guard_log(r, ctx);

    if (ctx->decision.verdict == NGX_PATIENT_GUARD_ALLOW || ctx->dry_run) {
        return NGX_DECLINED;
    }

    return ngx_http_patient_guard_answer(r, ctx);
}


/* NGX_DECLINED if the room that is waited for comes too late */

static ngx_int_t
ngx_http_patient_guard_hold(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_msec_t  wait;

    if (ctx->decision.wait > ctx->policy->throttle_delay) {
        return NGX_DECLINED;
    }

    if (!ctx->delayed) {
        ctx->patience = ngx_current_msec + ctx->policy->throttle_delay;
    }

    wait = (ngx_msec_t) ctx->decision.wait;

    if ((ngx_msec_int_t) (ctx->patience - ngx_current_msec - wait) < 0) {
        return NGX_DECLINED;
    }

    ctx->delayed = 1;
    ctx->held = ctx->decision.limit;

    ngx_add_timer(&ctx->hold, wait);

    return ngx_http_patient_guard_wait(r, ctx, ngx_http_patient_guard_ask);
}


static ngx_int_t
ngx_http_patient_guard_wait(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_step_pt next)
{
    if (r->connection->read->ready) {

        /* a client may have hung up already: that is no event any more */

        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_patient_guard_forget(ctx);
        return ngx_http_patient_guard_failed(r);
    }

    ctx->waiting = 1;
    ctx->next = next;

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

    ctx->waiting = 0;

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


static void
ngx_http_patient_guard_hold_handler(ngx_event_t *ev)
{
    ngx_http_patient_guard_resume(ev->data);
}


static void
ngx_http_patient_guard_done(ngx_patient_guard_op_t *op)
{
    ngx_http_patient_guard_resume(op->data);
}


/* the request ends, whatever it waited for */

static void
ngx_http_patient_guard_forget(void *data)
{
    ngx_http_patient_guard_ctx_t  *ctx = data;

    if (ctx->hold.timer_set) {
        ngx_del_timer(&ctx->hold);
    }

    if (ctx->op.pending) {
        ctx->policy->store->forget(&ctx->op);
    }

    ctx->waiting = 0;
    ctx->next = NULL;
}


/*
 * Aliases only.  The log's own handler would add the request line, which may
 * name the patient: it is left out.
 */

static void
ngx_http_patient_guard_log(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    u_char                        account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_log_t                     log;
    ngx_str_t                    *verdict, limit, policy;
    ngx_uint_t                    level;
    ngx_patient_guard_decision_t *decision;

    decision = &ctx->decision;
    level = ctx->log_level;

    if (decision->verdict == NGX_PATIENT_GUARD_ALLOW) {

        if (ctx->delayed) {
            level++;

        } else if (!decision->over || ctx->op.lookup.exempt) {
            return;
        }
    }

    log = *r->connection->log;
    log.handler = NULL;

    policy = ctx->policy->name;
    verdict = ngx_patient_guard_verdict_name(decision->verdict);

    if (decision->limit < 0) {
        ngx_log_error(level, &log, 0,
                      "patient guard: %V%s by policy \"%V\": %s, client: %V",
                      verdict, ctx->dry_run ? " (dry run)" : "", &policy,
                      ctx->reason ? ctx->reason
                                  : "its limit is no longer configured",
                      &r->connection->addr_text);
        return;
    }

    limit = ctx->op.lookup.limits[decision->limit].name;

    ngx_patient_guard_account_hex(account, &ctx->op.lookup.account);

    ngx_log_error(level, &log, 0,
                  "patient guard: %V%s%s by limit \"%V\" of policy \"%V\", "
                  "counted %uD of %uD, account: %*s, client: %V",
                  verdict, ctx->delayed ? " after a delay" : "",
                  ctx->dry_run ? " (dry run)" : "", &limit, &policy,
                  ctx->op.tally.rooms[decision->limit].total,
                  ctx->op.lookup.limits[decision->limit].count,
                  sizeof(account), account, &r->connection->addr_text);
}
