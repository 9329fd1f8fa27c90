
#include "ngx_http_patient_guard_metrics.h"
#include "ngx_http_patient_guard_text.h"
#include "ngx_patient_guard_survey.h"


/* what a family is given to print the samples of one policy */

typedef struct {
    ngx_http_patient_guard_text_t    *text;
    ngx_http_patient_guard_policy_t  *policy;
    ngx_patient_guard_sums_t         *sums;
    ngx_patient_guard_survey_t       *survey;
    ngx_patient_guard_worker_t       *workers;
    const char                       *name;    /* of the family */
    uint64_t                          now;     /* ms */
} ngx_http_patient_guard_sample_t;


typedef struct {
    const char   *name;
    const char   *type;
    const char   *help;
    void        (*print)(ngx_http_patient_guard_sample_t *sample);
} ngx_http_patient_guard_family_t;


static void ngx_http_patient_guard_metric_lookups(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_records(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_verdicts(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_sources(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_accounts(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_evictions(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_early_evictions(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_zone_size(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_zone_used(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_latency(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_errors(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_outages(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_open(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_connections(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_waiting(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_blocked(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_events(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_dropped(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric_orders(
    ngx_http_patient_guard_sample_t *sample);
static void ngx_http_patient_guard_metric(
    ngx_http_patient_guard_sample_t *sample, uint64_t value);


static ngx_http_patient_guard_family_t  ngx_http_patient_guard_families[] = {
    { "patient_guard_lookups_total", "counter",
      "Lookups that were decided.",
      ngx_http_patient_guard_metric_lookups },
    { "patient_guard_records_total", "counter",
      "Records that lookups asked for.",
      ngx_http_patient_guard_metric_records },
    { "patient_guard_verdicts_total", "counter",
      "Lookups by verdict, and by the limit that decided other than allow.",
      ngx_http_patient_guard_metric_verdicts },
    { "patient_guard_sources_total", "counter",
      "Lookups by who answered: Redis, this node alone, what it knows of "
      "Redis, or nobody.",
      ngx_http_patient_guard_metric_sources },
    { "patient_guard_accounts", "gauge",
      "Accounts, and other keys that limits count by, known to this node.",
      ngx_http_patient_guard_metric_accounts },
    { "patient_guard_evictions_total", "counter",
      "Accounts that made room in the zone.",
      ngx_http_patient_guard_metric_evictions },
    { "patient_guard_early_evictions_total", "counter",
      "Accounts that made room before their windows were over: the zone is "
      "too small.",
      ngx_http_patient_guard_metric_early_evictions },
    { "patient_guard_zone_size_bytes", "gauge",
      "Shared memory for what is counted.",
      ngx_http_patient_guard_metric_zone_size },
    { "patient_guard_zone_used_bytes", "gauge",
      "Shared memory that is used.",
      ngx_http_patient_guard_metric_zone_used },
    { "patient_guard_redis_latency_seconds", "histogram",
      "Time from a call to its reply, the loop of the worker included.",
      ngx_http_patient_guard_metric_latency },
    { "patient_guard_errors_total", "counter",
      "What went wrong between this node and Redis.",
      ngx_http_patient_guard_metric_errors },
    { "patient_guard_outage_lookups_total", "counter",
      "Lookups that on_outage answered.",
      ngx_http_patient_guard_metric_outages },
    { "patient_guard_redis_breaker_open", "gauge",
      "Servers that a worker does not ask for now, over all workers.",
      ngx_http_patient_guard_metric_open },
    { "patient_guard_redis_connections", "gauge",
      "Connections to Redis that are well, over all workers.",
      ngx_http_patient_guard_metric_connections },
    { "patient_guard_redis_waiting", "gauge",
      "Calls that wait for a reply, over all workers.",
      ngx_http_patient_guard_metric_waiting },
    { "patient_guard_blocked_accounts", "gauge",
      "Accounts that the desk has blocked.",
      ngx_http_patient_guard_metric_blocked },
    { "patient_guard_events_total", "counter",
      "Events for the stream of \"events\".",
      ngx_http_patient_guard_metric_events },
    { "patient_guard_events_dropped_total", "counter",
      "Events that were dropped, for Redis took none.",
      ngx_http_patient_guard_metric_dropped },
    { "patient_guard_desk_operations_total", "counter",
      "What the desk has ordered, as carried out on this node.",
      ngx_http_patient_guard_metric_orders }
};


ngx_int_t
ngx_http_patient_guard_metrics(ngx_http_request_t *r)
{
    ngx_uint_t                            i, n;
    ngx_patient_guard_survey_t           *surveys;
    ngx_patient_guard_worker_t           *workers;
    ngx_http_patient_guard_text_t         text;
    ngx_http_patient_guard_sample_t       sample;
    ngx_http_patient_guard_family_t      *family;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_patient_guard_module);
    policies = mcf->policies.elts;

    ngx_memzero(&text, sizeof(ngx_http_patient_guard_text_t));
    text.pool = r->pool;

    surveys = ngx_palloc(r->pool, (mcf->policies.nelts + 1)
                                  * sizeof(ngx_patient_guard_survey_t));
    workers = ngx_palloc(r->pool, (mcf->policies.nelts + 1)
                                  * sizeof(ngx_patient_guard_worker_t));

    if (surveys == NULL || workers == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (n = 0; n < mcf->policies.nelts; n++) {
        ngx_patient_guard_survey_zone(policies[n]->shm, &surveys[n]);
        ngx_patient_guard_totals_workers(policies[n]->shm->totals,
                                         &workers[n]);
    }

    sample.text = &text;
    sample.now = (uint64_t) ngx_time() * 1000;

    for (i = 0; i < sizeof(ngx_http_patient_guard_families)
                    / sizeof(ngx_http_patient_guard_families[0]); i++)
    {
        family = &ngx_http_patient_guard_families[i];
        sample.name = family->name;

        ngx_http_patient_guard_text_add(&text,
                                        "# HELP %s %s\n# TYPE %s %s\n",
                                        family->name, family->help,
                                        family->name, family->type);

        for (n = 0; n < mcf->policies.nelts; n++) {
            sample.policy = policies[n];
            sample.sums = policies[n]->shm->totals->sums;
            sample.survey = &surveys[n];
            sample.workers = &workers[n];

            family->print(&sample);
        }
    }

    return ngx_http_patient_guard_text_send(r, NGX_HTTP_OK,
                         "text/plain; version=0.0.4; charset=utf-8", &text);
}


static void
ngx_http_patient_guard_metric(ngx_http_patient_guard_sample_t *sample,
    uint64_t value)
{
    ngx_http_patient_guard_text_add(sample->text, "%s{policy=\"%V\"} %uL\n",
                                    sample->name, &sample->policy->name,
                                    value);
}


static void
ngx_http_patient_guard_metric_lookups(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample,
                             ngx_patient_guard_totals_lookups(sample->sums));
}


static void
ngx_http_patient_guard_metric_records(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->sums->records);
}


/* those that no limit has decided are what the limits leave of all */

static void
ngx_http_patient_guard_metric_verdicts(
    ngx_http_patient_guard_sample_t *sample)
{
    uint64_t                           n, left;
    ngx_uint_t                         i, dry, outcome;
    ngx_str_t                         *action;
    ngx_patient_guard_limit_t         *limit;
    ngx_patient_guard_limit_totals_t  *totals;

    for (dry = 0; dry < 2; dry++) {
        for (outcome = 0; outcome < NGX_PATIENT_GUARD_OUTCOMES; outcome++) {

            left = sample->sums->outcomes[dry][outcome];

            for (i = 0; i < sample->policy->nlimits; i++) {

                if (outcome == NGX_PATIENT_GUARD_ALLOWED
                    || outcome == NGX_PATIENT_GUARD_UNAVAILABLE)
                {
                    break;
                }

                limit = &sample->policy->limits[i];
                action = &ngx_patient_guard_action_names[limit->action];
                totals = &sample->sums->limits[
                                 sample->policy->shm->totals->places[i]];

                n = totals->outcomes[dry][outcome];
                left -= ngx_min(n, left);

                ngx_http_patient_guard_text_add(sample->text,
                    "%s{policy=\"%V\",verdict=\"%V\",limit=\"%V\","
                    "action=\"%V\",dry_run=\"%ui\"} %uL\n",
                    sample->name, &sample->policy->name,
                    ngx_patient_guard_outcome_name(outcome),
                    &limit->name, action, dry, n);
            }

            ngx_http_patient_guard_text_add(sample->text,
                "%s{policy=\"%V\",verdict=\"%V\",limit=\"\",action=\"\","
                "dry_run=\"%ui\"} %uL\n",
                sample->name, &sample->policy->name,
                ngx_patient_guard_outcome_name(outcome), dry, left);
        }
    }
}


static void
ngx_http_patient_guard_metric_sources(ngx_http_patient_guard_sample_t *sample)
{
    ngx_uint_t  i;

    for (i = 0; i < 4; i++) {
        ngx_http_patient_guard_text_add(sample->text,
            "%s{policy=\"%V\",source=\"%V\"} %uL\n",
            sample->name, &sample->policy->name,
            ngx_patient_guard_source_name(i),
            (uint64_t) sample->sums->sources[i]);
    }
}


static void
ngx_http_patient_guard_metric_accounts(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->survey->known);
}


static void
ngx_http_patient_guard_metric_evictions(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->survey->evicted);
}


static void
ngx_http_patient_guard_metric_early_evictions(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->survey->lost);
}


static void
ngx_http_patient_guard_metric_zone_size(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->survey->size);
}


static void
ngx_http_patient_guard_metric_zone_used(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->survey->used);
}


static void
ngx_http_patient_guard_metric_latency(ngx_http_patient_guard_sample_t *sample)
{
    uint64_t    n, us;
    ngx_uint_t  i;

    for (i = 0, n = 0; i < NGX_PATIENT_GUARD_LATENCIES; i++) {

        n += sample->sums->latencies[i];

        ngx_http_patient_guard_text_add(sample->text,
                                        "%s_bucket{policy=\"%V\",le=\"",
                                        sample->name, &sample->policy->name);

        if (i < NGX_PATIENT_GUARD_LATENCIES - 1) {
            us = ngx_patient_guard_latencies[i];
            ngx_http_patient_guard_text_add(sample->text, "%uL.%06uL",
                                            us / 1000000, us % 1000000);
        } else {
            ngx_http_patient_guard_text_add(sample->text, "+Inf");
        }

        ngx_http_patient_guard_text_add(sample->text, "\"} %uL\n", n);
    }

    us = sample->sums->latency;

    ngx_http_patient_guard_text_add(sample->text,
                                    "%s_sum{policy=\"%V\"} %uL.%06uL\n"
                                    "%s_count{policy=\"%V\"} %uL\n",
                                    sample->name, &sample->policy->name,
                                    us / 1000000, us % 1000000,
                                    sample->name, &sample->policy->name, n);
}


static void
ngx_http_patient_guard_metric_errors(ngx_http_patient_guard_sample_t *sample)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_PATIENT_GUARD_ERRORS; i++) {
        ngx_http_patient_guard_text_add(sample->text,
            "%s{policy=\"%V\",kind=\"%V\"} %uL\n",
            sample->name, &sample->policy->name,
            ngx_patient_guard_error_name(i),
            (uint64_t) sample->sums->errors[i]);
    }
}


static void
ngx_http_patient_guard_metric_outages(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->sums->outages);
}


static void
ngx_http_patient_guard_metric_open(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->workers->away);
}


static void
ngx_http_patient_guard_metric_connections(
    ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->workers->connections);
}


static void
ngx_http_patient_guard_metric_waiting(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->workers->waiting);
}


static void
ngx_http_patient_guard_metric_blocked(ngx_http_patient_guard_sample_t *sample)
{
    ngx_patient_guard_block_entry_t  blocked[NGX_PATIENT_GUARD_BLOCKS];

    ngx_http_patient_guard_metric(sample,
            ngx_patient_guard_totals_blocked(sample->policy->shm->totals,
                                             sample->now, blocked));
}


static void
ngx_http_patient_guard_metric_events(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->sums->events.next);
}


static void
ngx_http_patient_guard_metric_dropped(ngx_http_patient_guard_sample_t *sample)
{
    ngx_http_patient_guard_metric(sample, sample->sums->events.dropped);
}


static void
ngx_http_patient_guard_metric_orders(ngx_http_patient_guard_sample_t *sample)
{
    ngx_uint_t  kind;

    for (kind = NGX_PATIENT_GUARD_ORDER_CLEAR;
         kind <= NGX_PATIENT_GUARD_ORDER_FORGET;
         kind++)
    {
        ngx_http_patient_guard_text_add(sample->text,
            "%s{policy=\"%V\",operation=\"%V\"} %uL\n",
            sample->name, &sample->policy->name,
            ngx_patient_guard_order_name(kind),
            (uint64_t) sample->sums->orders[kind]);
    }
}
