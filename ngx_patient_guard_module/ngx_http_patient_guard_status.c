
#include "ngx_http_patient_guard_status.h"
#include "ngx_patient_guard_survey.h"


static void ngx_http_patient_guard_status_policy(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now);
static void ngx_http_patient_guard_status_totals(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy);
static void ngx_http_patient_guard_status_limits(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy);
static uint64_t ngx_http_patient_guard_status_refused(
    ngx_patient_guard_limit_totals_t *totals, ngx_uint_t dry_run);
static void ngx_http_patient_guard_status_redis(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy);
static void ngx_http_patient_guard_status_quantile(
    ngx_http_patient_guard_text_t *text, ngx_patient_guard_sums_t *sums,
    const char *name, uint64_t thousandths);
static void ngx_http_patient_guard_status_accounts(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now);
static void ngx_http_patient_guard_status_blocked(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now);
static ngx_str_t *ngx_http_patient_guard_status_name(
    ngx_http_patient_guard_policy_t *policy, uint32_t id);


ngx_int_t
ngx_http_patient_guard_status(ngx_http_request_t *r, ngx_uint_t writes)
{
    uint64_t                              now;
    ngx_uint_t                            i;
    ngx_time_t                           *tp;
    ngx_http_patient_guard_text_t         text;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_patient_guard_module);
    policies = mcf->policies.elts;

    ngx_memzero(&text, sizeof(ngx_http_patient_guard_text_t));
    text.pool = r->pool;

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    ngx_http_patient_guard_text_add(&text, "{\"time\":");
    ngx_http_patient_guard_text_time(&text, now);
    ngx_http_patient_guard_text_add(&text, ",\"write\":%s,\"policies\":[",
                                    writes ? "true" : "false");

    for (i = 0; i < mcf->policies.nelts; i++) {
        ngx_http_patient_guard_text_add(&text, i ? "," : "");
        ngx_http_patient_guard_status_policy(&text, policies[i], now);
    }

    ngx_http_patient_guard_text_add(&text, "]}");

    return ngx_http_patient_guard_text_send(r, NGX_HTTP_OK,
                                            "application/json", &text);
}


static void
ngx_http_patient_guard_status_policy(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now)
{
    ngx_http_patient_guard_text_add(text, "{\"name\":\"%V\"", &policy->name);

    if (policy->redis) {
        ngx_http_patient_guard_text_add(text,
                            ",\"consistency\":\"%s\",\"on_outage\":\"%s\"",
                            policy->redis->local ? "local" : "strict",
                            policy->redis->script.finder.peer.outage);
    } else {
        ngx_http_patient_guard_text_add(text,
                                ",\"consistency\":null,\"on_outage\":null");
    }

    /* a policy that replays a log goes by the log's clock */

    now += policy->shm->shift;

    ngx_http_patient_guard_status_totals(text, policy);
    ngx_http_patient_guard_status_limits(text, policy);
    ngx_http_patient_guard_status_redis(text, policy);
    ngx_http_patient_guard_status_accounts(text, policy, now);
    ngx_http_patient_guard_status_blocked(text, policy, now);
    ngx_http_patient_guard_text_add(text, ",");
    ngx_http_patient_guard_status_recent(text, policy, NULL);
    ngx_http_patient_guard_text_add(text, "}");
}


static void
ngx_http_patient_guard_status_totals(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                 i, dry;
    ngx_patient_guard_sums_t  *sums;

    sums = policy->shm->totals->sums;

    ngx_http_patient_guard_text_add(text,
                        ",\"lookups\":%uL,\"records\":%uL",
                        ngx_patient_guard_totals_lookups(sums),
                        (uint64_t) sums->records);

    for (dry = 0; dry < 2; dry++) {

        ngx_http_patient_guard_text_add(text, dry ? ",\"dry_run\":{"
                                                  : ",\"verdicts\":{");

        for (i = 0; i < NGX_PATIENT_GUARD_OUTCOMES; i++) {
            ngx_http_patient_guard_text_add(text, "%s\"%V\":%uL",
                                i ? "," : "",
                                ngx_patient_guard_outcome_name(i),
                                (uint64_t) sums->outcomes[dry][i]);
        }

        ngx_http_patient_guard_text_add(text, "}");
    }

    ngx_http_patient_guard_text_add(text, ",\"sources\":{");

    for (i = 0; i < 4; i++) {
        ngx_http_patient_guard_text_add(text, "%s\"%V\":%uL", i ? "," : "",
                                        ngx_patient_guard_source_name(i),
                                        (uint64_t) sums->sources[i]);
    }

    ngx_http_patient_guard_text_add(text, "}");
}


static void
ngx_http_patient_guard_status_limits(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                         i;
    ngx_patient_guard_totals_t        *totals;
    ngx_patient_guard_limit_totals_t  *limit;

    totals = policy->shm->totals;

    ngx_http_patient_guard_text_add(text, ",\"limits\":[");

    for (i = 0; i < policy->nlimits; i++) {
        limit = &totals->sums->limits[totals->places[i]];

        ngx_http_patient_guard_text_add(text, i ? ",{" : "{");
        ngx_http_patient_guard_status_limit(text, policy, i);
        ngx_http_patient_guard_text_add(text,
                    ",\"count\":%uD,\"refused\":%uL,\"dry_run\":%uL}",
                    policy->limits[i].count,
                    ngx_http_patient_guard_status_refused(limit, 0),
                    ngx_http_patient_guard_status_refused(limit, 1));
    }

    ngx_http_patient_guard_text_add(text, "]");
}


void
ngx_http_patient_guard_status_limit(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, ngx_uint_t i)
{
    ngx_patient_guard_limit_t  *limit;

    limit = &policy->limits[i];

    ngx_http_patient_guard_text_add(text,
                    "\"name\":\"%V\",\"signal\":\"%V\",\"window\":%uL,"
                    "\"action\":\"%V\",\"per\":",
                    &limit->name,
                    &ngx_patient_guard_signal_names[limit->signal],
                    limit->window / 1000,
                    &ngx_patient_guard_action_names[limit->action]);

    if (limit->key) {
        ngx_http_patient_guard_text_string(text,
                                           &policy->pers[limit->key - 1].text);
    } else {
        ngx_http_patient_guard_text_add(text, "null");
    }
}


static uint64_t
ngx_http_patient_guard_status_refused(
    ngx_patient_guard_limit_totals_t *totals, ngx_uint_t dry_run)
{
    return (uint64_t) totals->outcomes[dry_run][NGX_PATIENT_GUARD_THROTTLED]
           + totals->outcomes[dry_run][NGX_PATIENT_GUARD_CHALLENGED]
           + totals->outcomes[dry_run][NGX_PATIENT_GUARD_DENIED];
}


static void
ngx_http_patient_guard_status_redis(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy)
{
    uint64_t                          calls;
    ngx_uint_t                        i;
    ngx_patient_guard_sums_t         *sums;
    ngx_patient_guard_target_t       *targets;
    ngx_patient_guard_worker_t        workers;
    ngx_patient_guard_finder_conf_t  *finder;

    static const char  *modes[] = { "standalone", "sentinel", "cluster" };

    if (policy->redis == NULL) {
        ngx_http_patient_guard_text_add(text, ",\"redis\":null");
        return;
    }

    finder = &policy->redis->script.finder;
    targets = finder->targets->elts;
    sums = policy->shm->totals->sums;

    ngx_http_patient_guard_text_add(text,
                                    ",\"redis\":{\"mode\":\"%s\","
                                    "\"servers\":[", modes[finder->mode]);

    for (i = 0; i < finder->targets->nelts; i++) {
        ngx_http_patient_guard_text_add(text, i ? "," : "");
        ngx_http_patient_guard_text_string(text, &targets[i].name);
    }

    for (i = 0, calls = 0; i < NGX_PATIENT_GUARD_LATENCIES; i++) {
        calls += sums->latencies[i];
    }

    ngx_patient_guard_totals_workers(policy->shm->totals, &workers);

    ngx_http_patient_guard_text_add(text,
                    "],\"breaker\":\"%s\",\"workers_open\":%uD,"
                    "\"connections\":%uD,\"waiting\":%uD,"
                    "\"outage_lookups\":%uL,\"calls\":%uL",
                    workers.away ? "open" : "closed", workers.away,
                    workers.connections, workers.waiting,
                    (uint64_t) sums->outages, calls);

    ngx_http_patient_guard_status_quantile(text, sums, ",\"latency\":{\"p50\"",
                                           500);
    ngx_http_patient_guard_status_quantile(text, sums, ",\"p99\"", 990);

    ngx_http_patient_guard_text_add(text, "},\"errors\":{");

    for (i = 0; i < NGX_PATIENT_GUARD_ERRORS; i++) {
        ngx_http_patient_guard_text_add(text, "%s\"%V\":%uL", i ? "," : "",
                                        ngx_patient_guard_error_name(i),
                                        (uint64_t) sums->errors[i]);
    }

    ngx_http_patient_guard_text_add(text, "}}");
}


/* the bound of the histogram that so many calls were below, in seconds */

static void
ngx_http_patient_guard_status_quantile(ngx_http_patient_guard_text_t *text,
    ngx_patient_guard_sums_t *sums, const char *name, uint64_t thousandths)
{
    uint64_t    all, below;
    uint32_t    us;
    ngx_uint_t  i;

    for (i = 0, all = 0; i < NGX_PATIENT_GUARD_LATENCIES; i++) {
        all += sums->latencies[i];
    }

    if (all == 0) {
        ngx_http_patient_guard_text_add(text, "%s:null", name);
        return;
    }

    for (i = 0, below = 0; i < NGX_PATIENT_GUARD_LATENCIES - 2; i++) {

        below += sums->latencies[i];

        if (below * 1000 >= all * thousandths) {
            break;
        }
    }

    us = ngx_patient_guard_latencies[i];

    ngx_http_patient_guard_text_add(text, "%s:%uD.%06uD", name, us / 1000000,
                                    us % 1000000);
}


static void
ngx_http_patient_guard_status_accounts(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now)
{
    ngx_uint_t                     i;
    ngx_patient_guard_survey_t     survey;
    ngx_patient_guard_standing_t  *standing;

    ngx_patient_guard_survey(policy->shm, now, &survey);

    ngx_http_patient_guard_text_add(text,
                    ",\"zone\":{\"size\":%uz,\"used\":%uz,\"accounts\":%uL,"
                    "\"evicted\":%uL,\"evicted_early\":%uL},\"accounts\":[",
                    survey.size, survey.used, survey.known, survey.evicted,
                    survey.lost);

    for (i = 0; i < survey.n; i++) {
        standing = &survey.accounts[i];

        ngx_http_patient_guard_text_add(text, i ? ",{\"account\":"
                                                : "{\"account\":");
        ngx_http_patient_guard_text_account(text, &standing->account);

        ngx_http_patient_guard_text_add(text, ",\"verdict\":\"%V\"",
                         ngx_patient_guard_verdict_name(standing->verdict));

        if (standing->limit < policy->nlimits) {
            ngx_http_patient_guard_text_add(text,
                        ",\"limit\":\"%V\",\"count\":%uD,\"allowance\":%uD,"
                        "\"share\":%uD.%03uD",
                        &policy->limits[standing->limit].name,
                        standing->count,
                        policy->limits[standing->limit].count,
                        standing->share / 1000, standing->share % 1000);
        } else {
            ngx_http_patient_guard_text_add(text,
                        ",\"limit\":null,\"count\":null,\"allowance\":null,"
                        "\"share\":null");
        }

        ngx_http_patient_guard_text_add(text, ",\"until\":");
        ngx_http_patient_guard_text_time(text, standing->wait
                                               ? now + standing->wait : 0);
        ngx_http_patient_guard_text_add(text, "}");
    }

    ngx_http_patient_guard_text_add(text, "]");
}


static void
ngx_http_patient_guard_status_blocked(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, uint64_t now)
{
    ngx_uint_t                       i, n;
    ngx_patient_guard_block_entry_t  blocked[NGX_PATIENT_GUARD_BLOCKS];

    n = ngx_patient_guard_totals_blocked(policy->shm->totals, now, blocked);

    ngx_http_patient_guard_text_add(text, ",\"blocked\":[");

    for (i = 0; i < n; i++) {
        ngx_http_patient_guard_text_add(text, i ? ",{\"account\":"
                                                : "{\"account\":");
        ngx_http_patient_guard_text_account(text, &blocked[i].account);
        ngx_http_patient_guard_text_add(text, ",\"until\":");
        ngx_http_patient_guard_text_time(text, blocked[i].until);
        ngx_http_patient_guard_text_add(text, "}");
    }

    ngx_http_patient_guard_text_add(text, "]");
}


void
ngx_http_patient_guard_status_recent(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account)
{
    ngx_str_t                    *limit;
    ngx_uint_t                    i, n;
    ngx_patient_guard_refusal_t  *entry, recent[NGX_PATIENT_GUARD_RECENT];

    n = ngx_patient_guard_totals_recent(policy->shm->totals, account, recent);

    ngx_http_patient_guard_text_add(text, "\"recent\":[");

    for (i = 0; i < n; i++) {
        entry = &recent[i];

        ngx_http_patient_guard_text_add(text, i ? ",{\"time\":"
                                                : "{\"time\":");
        ngx_http_patient_guard_text_time(text, entry->time);

        /* a request without an account has none to tell */

        ngx_http_patient_guard_text_add(text, ",\"account\":");

        if (entry->account.word[0] || entry->account.word[1]) {
            ngx_http_patient_guard_text_account(text, &entry->account);
        } else {
            ngx_http_patient_guard_text_add(text, "null");
        }

        ngx_http_patient_guard_text_add(text, ",\"verdict\":\"%V\"",
                             ngx_patient_guard_outcome_name(entry->verdict));

        limit = ngx_http_patient_guard_status_name(policy, entry->limit);

        if (limit) {
            ngx_http_patient_guard_text_add(text,
                        ",\"limit\":\"%V\",\"count\":%uD,\"allowance\":%uD",
                        limit, entry->count, entry->allowance);
        } else {
            ngx_http_patient_guard_text_add(text,
                        ",\"limit\":null,\"count\":null,\"allowance\":null");
        }

        ngx_http_patient_guard_text_add(text, ",\"until\":");
        ngx_http_patient_guard_text_time(text, entry->until);
        ngx_http_patient_guard_text_add(text,
                                    ",\"dry_run\":%s,\"times\":%uD}",
                                    entry->dry_run ? "true" : "false",
                                    entry->times);
    }

    ngx_http_patient_guard_text_add(text, "]");
}


/* NULL: it was none, or is no longer configured */

static ngx_str_t *
ngx_http_patient_guard_status_name(ngx_http_patient_guard_policy_t *policy,
    uint32_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < policy->nlimits; i++) {
        if (policy->limits[i].id == id) {
            return &policy->limits[i].name;
        }
    }

    return NULL;
}
