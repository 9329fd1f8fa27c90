
#include "ngx_http_patient_guard_ledger.h"
#include "ngx_http_patient_guard_variable.h"


static ngx_int_t ngx_http_patient_guard_ledger_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_patient_guard_outcome_e ngx_http_patient_guard_outcome(
    ngx_http_patient_guard_ctx_t *ctx);


char *
ngx_http_patient_guard_ledger_zone(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    /* no policy's name has a colon: no other zone bears this one */

    name.len = sizeof("patient_guard_:totals") - 1 + policy->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);

    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(name.data, "patient_guard_%V:totals", &policy->name);

    zone = ngx_shared_memory_add(cf, &name, NGX_PATIENT_GUARD_TOTALS_SIZE,
                                 &ngx_patient_guard_module);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->shm->totals->limits = policy->limits;
    policy->shm->totals->nlimits = policy->nlimits;
    policy->shm->totals->streams = (policy->events.key.len != 0);

    zone->init = ngx_http_patient_guard_ledger_init;
    zone->data = policy->shm->totals;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_patient_guard_ledger_init(ngx_shm_zone_t *zone, void *data)
{
    return ngx_patient_guard_totals_init(zone, data);
}


ngx_int_t
ngx_http_patient_guard_ledger_handler(ngx_http_request_t *r)
{
    ngx_http_patient_guard_ctx_t  *ctx;
    ngx_patient_guard_decided_t    decided;

    /* "log_subrequest" has subrequests logged, too */

    ctx = (r == r->main) ? ngx_http_patient_guard_get_ctx(r) : NULL;

    /* a client that hung up in time has no verdict */

    if (ctx == NULL || !ctx->decided || ctx->uncounted) {
        return NGX_OK;
    }

    ngx_memzero(&decided, sizeof(ngx_patient_guard_decided_t));

    decided.account = ctx->op.lookup.account;
    decided.outcome = ngx_http_patient_guard_outcome(ctx);
    decided.limit = ctx->decision.limit;
    decided.source = ctx->op.tally.source;
    decided.now = ctx->op.lookup.now ? ctx->op.lookup.now
                                     : (uint64_t) ngx_time() * 1000;
    decided.wait = ctx->decision.wait;
    decided.records = ctx->op.lookup.records;
    decided.dry_run = ctx->dry_run;
    decided.passed = ctx->op.tally.passed;

    if (decided.limit >= 0) {
        decided.count = ctx->op.tally.rooms[decided.limit].total;
        decided.allowance = ctx->op.lookup.limits[decided.limit].count;
    }

    ngx_patient_guard_totals_add(ctx->policy->shm->totals, &decided);

    return NGX_OK;
}


static ngx_patient_guard_outcome_e
ngx_http_patient_guard_outcome(ngx_http_patient_guard_ctx_t *ctx)
{
    switch (ctx->decision.verdict) {

    case NGX_PATIENT_GUARD_VERDICT_THROTTLE:
        return NGX_PATIENT_GUARD_THROTTLED;

    case NGX_PATIENT_GUARD_VERDICT_CHALLENGE:
        return NGX_PATIENT_GUARD_CHALLENGED;

    case NGX_PATIENT_GUARD_VERDICT_DENY:
        return ctx->status == NGX_HTTP_SERVICE_UNAVAILABLE
               ? NGX_PATIENT_GUARD_UNAVAILABLE : NGX_PATIENT_GUARD_DENIED;

    default: /* NGX_PATIENT_GUARD_ALLOW */
        return ctx->delayed ? NGX_PATIENT_GUARD_DELAYED
                            : NGX_PATIENT_GUARD_ALLOWED;
    }
}
