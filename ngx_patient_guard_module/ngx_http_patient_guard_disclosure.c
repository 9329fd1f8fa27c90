
#include "ngx_http_patient_guard_disclosure.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_naming.h"
#include "ngx_http_patient_guard_value.h"
#include "ngx_http_patient_guard_verdict.h"


#define NGX_HTTP_PATIENT_GUARD_GONE  410


static ngx_int_t ngx_http_patient_guard_said_number(ngx_str_t *value,
    uint64_t *said);
static ngx_int_t ngx_http_patient_guard_disclose_rest(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d);
static ngx_int_t ngx_http_patient_guard_disclose_some(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_named_t *named, ngx_uint_t n);
static void ngx_http_patient_guard_disclosed(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);
static uint32_t ngx_http_patient_guard_owed(
    ngx_http_patient_guard_disclosure_t *d, uint64_t patients);
static uint64_t ngx_http_patient_guard_unknown(
    ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_lookup_t *lookup);
static ngx_uint_t ngx_http_patient_guard_nobody_found(
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d);


void
ngx_http_patient_guard_disclosure_init(ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d)
{
    d->forced = !ctx->gated;

    if (!ctx->op.lookup.probe) {
        d->charged = ctx->patients.n;
        d->patients = ctx->patients.n;
        d->records = ctx->op.lookup.records;
    }
}


ngx_int_t
ngx_http_patient_guard_disclosure_said(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d)
{
    ngx_log_t  log;
    ngx_str_t  value, policy;

    if (ctx->location->records == NULL) {
        return NGX_OK;
    }

    if (ngx_http_patient_guard_value(r, ctx->location->records, &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_patient_guard_said_number(&value, &d->said) == NGX_OK) {
        return NGX_OK;
    }

    log = *r->connection->log;
    log.handler = NULL;

    policy = ctx->policy->name;

    ngx_log_error(NGX_LOG_ERR, &log, 0,
                  "patient guard: \"patient_guard_records\" is no number in "
                  "a response of policy \"%V\", client: %V",
                  &policy, &r->connection->addr_text);

    return NGX_OK;
}


/* header fields of the same name come joined by commas: all of them count */

static ngx_int_t
ngx_http_patient_guard_said_number(ngx_str_t *value, uint64_t *said)
{
    u_char     *p, *last, *comma;
    ngx_str_t   part;
    ngx_int_t   n;

    last = value->data + value->len;

    for (p = value->data; p < last; p = comma + 1) {

        comma = ngx_strlchr(p, last, ',');

        if (comma == NULL) {
            comma = last;
        }

        part.data = p;
        part.len = comma - p;

        ngx_http_patient_guard_trim(&part);

        if (part.len == 0) {
            continue;
        }

        n = ngx_atoi(part.data, part.len);

        if (n == NGX_ERROR) {
            *said = 0;
            return NGX_ERROR;
        }

        *said = ngx_min(*said + ngx_min((uint64_t) n,
                                        NGX_PATIENT_GUARD_COUNT_MAX),
                        NGX_PATIENT_GUARD_COUNT_MAX);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_disclose(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_uint_t last)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    while (d->charged < ctx->patients.n) {

        n = ngx_min(ctx->patients.n - d->charged, NGX_PATIENT_GUARD_PATIENTS);

        rc = ngx_http_patient_guard_disclose_some(r, ctx, d,
                                      &ctx->patients.named[d->charged], n);
        if (rc != NGX_OK) {
            return rc;
        }

        d->charged += n;
    }

    if (last) {
        return ngx_http_patient_guard_disclose_rest(r, ctx, d);
    }

    return ngx_http_patient_guard_owed(d, d->patients)
           ? ngx_http_patient_guard_disclose_some(r, ctx, d, NULL, 0)
           : NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_disclose_rest(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d)
{
    uint64_t                   number, unknown;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_patient_guard_named_t  named[NGX_PATIENT_GUARD_PATIENTS];

    if (ngx_http_patient_guard_nobody_found(ctx, d)) {
        return ngx_http_patient_guard_disclose_some(r, ctx, d, &ctx->uri, 1);
    }

    unknown = ngx_http_patient_guard_unknown(d, &ctx->op.lookup);

    for (number = 0; number < unknown; /* void */ ) {

        for (n = 0;
             n < NGX_PATIENT_GUARD_PATIENTS && number < unknown;
             n++, number++)
        {
            ngx_http_patient_guard_name_record(ctx, number, &named[n]);
        }

        rc = ngx_http_patient_guard_disclose_some(r, ctx, d, named, n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_patient_guard_owed(d, d->patients)
           ? ngx_http_patient_guard_disclose_some(r, ctx, d, NULL, 0)
           : NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_disclose_some(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_named_t *named, ngx_uint_t n)
{
    ngx_patient_guard_store_t   *store;
    ngx_patient_guard_tally_t    tally;
    ngx_patient_guard_lookup_t   lookup;

    lookup = ctx->op.lookup;

    lookup.patients = named;
    lookup.npatients = n;
    lookup.records = ngx_http_patient_guard_owed(d, d->patients + n);
    lookup.now = ngx_http_patient_guard_now(ctx);
    lookup.proof = 0;
    lookup.session = 0;
    lookup.forced = d->forced;
    lookup.unnamed = 0;
    lookup.probe = 0;

    store = ctx->policy->store;

    if (store->charge(store, &lookup, &tally) != NGX_OK) {
        ctx->reason = "the response can't be counted, for want of room";
        return NGX_ERROR;
    }

    ngx_http_patient_guard_disclosed(r, ctx, d, &lookup, &tally);

    if (!tally.charged) {
        return NGX_DECLINED;
    }

    d->patients += n;
    d->records += lookup.records;

    return NGX_OK;
}


static void
ngx_http_patient_guard_disclosed(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t                     i;
    ngx_patient_guard_room_t      *room;
    ngx_patient_guard_decision_t   decision;

    ngx_patient_guard_decide(lookup, tally, &decision);

    /* what the fleet has counted this node may not know */

    for (i = 0; i < lookup->nlimits; i++) {
        room = &ctx->op.tally.rooms[i];
        room->total = ngx_max(room->total, tally->rooms[i].total);
        room->count = tally->rooms[i].count;
    }

    if (decision.limit < 0) {
        return;
    }

    ctx->decision.limit = decision.limit;

    /* what a gate would have done, or has */

    if (ctx->location->gate && !lookup->exempt
        && decision.verdict > ctx->decision.verdict)
    {
        ctx->decision.verdict = decision.verdict;
        ctx->decision.wait = decision.wait;
    }

    if (decision.over && !d->over && !lookup->exempt) {
        d->over = 1;
        ngx_http_patient_guard_log_over(r, ctx, "over with a response");
    }
}


ngx_int_t
ngx_http_patient_guard_disclosure_lookup(ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d)
{
    uint64_t                     number, unknown;
    ngx_int_t                    rc;
    ngx_patient_guard_named_t    named;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;

    d->patients += ctx->patients.n - d->charged;

    if (ngx_http_patient_guard_nobody_found(ctx, d)) {
        d->patients = 1;

        lookup->patients = &ctx->uri;
        lookup->npatients = 1;

    } else {
        unknown = ngx_http_patient_guard_unknown(d, lookup);

        for (number = 0; number < unknown; number++) {

            ngx_http_patient_guard_name_record(ctx, number, &named);

            rc = ngx_patient_guard_distinct_add(&ctx->patients, ctx->op.pool,
                                                &named,
                                                NGX_PATIENT_GUARD_DISCLOSED);
            if (rc == NGX_BUSY || rc == NGX_ERROR) {
                return rc;
            }
        }

        lookup->npatients = ctx->patients.n - d->charged;

        if (lookup->npatients) {
            lookup->patients = &ctx->patients.named[d->charged];
        }
    }

    lookup->records = ngx_http_patient_guard_owed(d, d->patients);
    lookup->unnamed = 0;
    lookup->probe = 0;

    d->charged = ctx->patients.n;
    d->records += lookup->records;

    return lookup->npatients || lookup->records ? NGX_OK : NGX_DECLINED;
}


/* what "lookups" is to be charged once so many patients are disclosed */

static uint32_t
ngx_http_patient_guard_owed(ngx_http_patient_guard_disclosure_t *d,
    uint64_t patients)
{
    uint64_t  records;

    records = ngx_max(patients, d->said);

    if (records <= d->records) {
        return 0;
    }

    return (uint32_t) ngx_min(records - d->records,
                              NGX_PATIENT_GUARD_COUNT_MAX);
}


/* records of whom nothing is known; more than a set can have do not matter */

static uint64_t
ngx_http_patient_guard_unknown(ngx_http_patient_guard_disclosure_t *d,
    ngx_patient_guard_lookup_t *lookup)
{
    uint64_t    most;
    ngx_uint_t  i;

    if (d->said <= d->patients) {
        return 0;
    }

    most = 0;

    for (i = 0; i < lookup->nlimits; i++) {
        if (ngx_patient_guard_of_patients(&lookup->limits[i])) {
            most = ngx_max(most, ngx_patient_guard_set_cap(
                                                 lookup->limits[i].count));
        }
    }

    return ngx_min(d->said - d->patients, most);
}


/* then it is counted under its URI as sent, unless that is to be ignored */

static ngx_uint_t
ngx_http_patient_guard_nobody_found(ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_disclosure_t *d)
{
    return d->patients == 0 && d->said == 0
           && ctx->location->unmatched
              == NGX_HTTP_PATIENT_GUARD_UNMATCHED_URI;
}


void
ngx_http_patient_guard_miss(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_uint_t                     i;
    ngx_patient_guard_store_t     *store;
    ngx_patient_guard_tally_t      tally;
    ngx_patient_guard_lookup_t     lookup;
    ngx_patient_guard_decision_t   decision;

    if (ctx->missed || ctx->uncounted
        || ctx->decision.verdict != NGX_PATIENT_GUARD_ALLOW
        || !ngx_http_patient_guard_counts(ctx->policy,
                                          NGX_PATIENT_GUARD_MISSES))
    {
        return;
    }

    if (r->headers_out.status != NGX_HTTP_NOT_FOUND
        && r->headers_out.status != NGX_HTTP_PATIENT_GUARD_GONE
        && !ctx->malformed)
    {
        return;
    }

    ctx->missed = 1;

    lookup = ctx->op.lookup;

    lookup.npatients = 0;
    lookup.records = 0;
    lookup.misses = 1;
    lookup.now = ngx_http_patient_guard_now(ctx);
    lookup.proof = 0;
    lookup.session = 0;
    lookup.forced = 1;
    lookup.unnamed = 0;
    lookup.probe = 0;

    store = ctx->policy->store;

    if (store->charge(store, &lookup, &tally) != NGX_OK) {
        return;
    }

    ngx_patient_guard_decide(&lookup, &tally, &decision);

    for (i = 0; i < lookup.nlimits; i++) {

        if (lookup.limits[i].signal == NGX_PATIENT_GUARD_MISSES) {
            ctx->op.tally.rooms[i].total = tally.rooms[i].total;
            ctx->op.tally.rooms[i].count = tally.rooms[i].count;
        }
    }

    if (decision.over && decision.limit >= 0 && !lookup.exempt) {
        ctx->decision.limit = decision.limit;
        ngx_http_patient_guard_log_over(r, ctx, "over with a miss");
    }
}
