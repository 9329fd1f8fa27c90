
#include "ngx_http_patient_guard_verdict.h"
#include "ngx_http_patient_guard_identity.h"


static ngx_int_t ngx_http_patient_guard_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_uint_t ngx_http_patient_guard_blocked(
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_count(
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_settle(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_hold(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_decided(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_wait(
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_step_pt next);
static void ngx_http_patient_guard_hold_handler(ngx_event_t *ev);
static void ngx_http_patient_guard_done(ngx_patient_guard_op_t *op);
static void ngx_http_patient_guard_log(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_log_limit(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t level, const char *what);


ngx_int_t
ngx_http_patient_guard_verdict_init(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_cleanup_t  *forget;

    forget = ngx_http_cleanup_add(r, 0);
    if (forget == NULL) {
        return NGX_ERROR;
    }

    forget->handler = ngx_http_patient_guard_verdict_forget;
    forget->data = ctx;

    ctx->decision.limit = -1;

    ngx_http_patient_guard_verdict_op(ctx);

    ctx->hold.handler = ngx_http_patient_guard_hold_handler;
    ctx->hold.data = ctx;
    ctx->hold.log = r->connection->log;

    return NGX_OK;
}


void
ngx_http_patient_guard_verdict_op(ngx_http_patient_guard_ctx_t *ctx)
{
    ctx->op.pool = ctx->request->pool;
    ctx->op.done = ngx_http_patient_guard_done;
    ctx->op.data = ctx;
    ctx->op.lookup.dry_run = ctx->dry_run;
}


ngx_int_t
ngx_http_patient_guard_verdict(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_msec_t patience)
{
    ctx->decided = 0;
    ctx->patience = patience;
    ctx->until = ngx_current_msec + patience;

    return ngx_http_patient_guard_ask(r, ctx);
}


ngx_int_t
ngx_http_patient_guard_verdict_next(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_patient_guard_step_pt  next;

    next = ctx->next;
    ctx->next = NULL;

    return next(r, ctx);
}


void
ngx_http_patient_guard_verdict_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    ctx->status = status;
    ctx->decision.verdict = NGX_PATIENT_GUARD_VERDICT_DENY;
    ctx->decision.limit = -1;
    ctx->decision.wait = (status == NGX_HTTP_SERVICE_UNAVAILABLE) ? 1000 : 0;

    (void) ngx_http_patient_guard_decided(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_decided(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ctx->decided = 1;

    ngx_http_patient_guard_log(r, ctx);

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    if (ngx_http_patient_guard_blocked(ctx)) {
        return ngx_http_patient_guard_decided(r, ctx);
    }

    if (ngx_http_patient_guard_count(ctx) == NGX_AGAIN) {
        return ngx_http_patient_guard_wait(ctx,
                                           ngx_http_patient_guard_settle);
    }

    return ngx_http_patient_guard_settle(r, ctx);
}


/* by the desk, which nobody is exempt from; nothing is counted */

static ngx_uint_t
ngx_http_patient_guard_blocked(ngx_http_patient_guard_ctx_t *ctx)
{
    uint64_t  now, until;

    now = ngx_http_patient_guard_now(ctx);

    until = ngx_patient_guard_totals_blocks(ctx->policy->shm->totals,
                                            &ctx->op.lookup.account,
                                            &ctx->op.lookup.previous, now);
    if (until == 0) {
        return 0;
    }

    ngx_memzero(&ctx->op.tally, sizeof(ngx_patient_guard_tally_t));

    ctx->op.lookup.now = now;
    ctx->reason = "the account is blocked by the desk";
    ctx->decision.verdict = NGX_PATIENT_GUARD_VERDICT_DENY;
    ctx->decision.limit = -1;
    ctx->decision.wait = until - now;
    ctx->decision.over = 1;

    return 1;
}


ngx_int_t
ngx_http_patient_guard_query(ngx_http_patient_guard_ctx_t *ctx)
{
    if (ngx_http_patient_guard_count(ctx) == NGX_AGAIN) {
        return ngx_http_patient_guard_wait(ctx, NULL);
    }

    return ngx_http_patient_guard_queried(ctx);
}


/* NGX_AGAIN, or NGX_OK: the tally is filled */

static ngx_int_t
ngx_http_patient_guard_count(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_patient_guard_store_t   *store;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;

    lookup->now = ngx_http_patient_guard_now(ctx);

    if (lookup->proof > lookup->now + NGX_PATIENT_GUARD_SKEW) {

        /* of the future: it would be good for more than one challenge */

        lookup->proof = 0;
    }

    store = ctx->policy->store;

    rc = store->count(store, &ctx->op);

    if (rc == NGX_ERROR) {
        ngx_memzero(&ctx->op.tally, sizeof(ngx_patient_guard_tally_t));
        ctx->op.tally.outage = 1;
        return NGX_OK;
    }

    return rc;
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

        return ngx_http_patient_guard_decided(r, ctx);
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

    return ngx_http_patient_guard_decided(r, ctx);
}


/* NGX_DECLINED if the room that is waited for comes too late */

static ngx_int_t
ngx_http_patient_guard_hold(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_msec_t  wait;

    if (ctx->decision.wait > ctx->patience) {
        return NGX_DECLINED;
    }

    wait = (ngx_msec_t) ctx->decision.wait;

    if ((ngx_msec_int_t) (ctx->until - ngx_current_msec - wait) < 0) {
        return NGX_DECLINED;
    }

    ctx->delayed = 1;
    ctx->held = ctx->decision.limit;

    ngx_add_timer(&ctx->hold, wait);

    return ngx_http_patient_guard_wait(ctx, ngx_http_patient_guard_ask);
}


static ngx_int_t
ngx_http_patient_guard_wait(ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_step_pt next)
{
    ctx->waiting = 1;
    ctx->next = next;

    return NGX_AGAIN;
}


static void
ngx_http_patient_guard_hold_handler(ngx_event_t *ev)
{
    ngx_http_patient_guard_ctx_t  *ctx = ev->data;

    ctx->waiting = 0;
    ctx->resume(ctx);
}


static void
ngx_http_patient_guard_done(ngx_patient_guard_op_t *op)
{
    ngx_http_patient_guard_ctx_t  *ctx = op->data;

    ctx->waiting = 0;
    ctx->resume(ctx);
}


void
ngx_http_patient_guard_verdict_forget(void *data)
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
    ngx_log_t                     log;
    ngx_str_t                     policy;
    ngx_uint_t                    level;
    ngx_patient_guard_decision_t *decision;

    decision = &ctx->decision;
    level = ctx->log_level;

    if (decision->verdict == NGX_PATIENT_GUARD_ALLOW) {

        if (ctx->delayed && !ctx->told) {
            level++;
            ctx->told = 1;

        } else if (!decision->over || ctx->op.lookup.exempt) {
            return;
        }
    }

    if (decision->limit >= 0) {
        ngx_http_patient_guard_log_limit(r, ctx, level, NULL);
        return;
    }

    log = *r->connection->log;
    log.handler = NULL;

    policy = ctx->policy->name;

    ngx_log_error(level, &log, 0,
                  "patient guard: %V%s by policy \"%V\": %s, client: %V",
                  ngx_patient_guard_verdict_name(decision->verdict),
                  ctx->dry_run ? " (dry run)" : "", &policy,
                  ctx->reason ? ctx->reason
                              : "its limit is no longer configured",
                  &r->connection->addr_text);
}


void
ngx_http_patient_guard_log_over(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, const char *what)
{
    ngx_http_patient_guard_log_limit(r, ctx, ctx->log_level, what);
}


/* what has become of the lookup, or "what" went over the limit */

static void
ngx_http_patient_guard_log_limit(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t level, const char *what)
{
    u_char                        account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_log_t                     log;
    ngx_str_t                     verdict, limit, policy;
    ngx_patient_guard_decision_t *decision;

    log = *r->connection->log;
    log.handler = NULL;

    decision = &ctx->decision;
    policy = ctx->policy->name;
    limit = ctx->op.lookup.limits[decision->limit].name;

    if (what) {
        verdict.data = (u_char *) what;
        verdict.len = ngx_strlen(what);

    } else {
        verdict = *ngx_patient_guard_verdict_name(decision->verdict);
    }

    ngx_patient_guard_account_hex(account, &ctx->op.lookup.account);

    ngx_log_error(level, &log, 0,
                  "patient guard: %V%s%s by limit \"%V\" of policy \"%V\", "
                  "counted %uD of %uD, account: %*s, client: %V",
                  &verdict, ctx->delayed && !what ? " after a delay" : "",
                  ctx->dry_run ? " (dry run)" : "", &limit, &policy,
                  ctx->op.tally.rooms[decision->limit].total,
                  ctx->op.tally.rooms[decision->limit].count,
                  sizeof(account), account, &r->connection->addr_text);
}
