
#include "ngx_patient_guard_totals.h"


const uint32_t  ngx_patient_guard_latencies[NGX_PATIENT_GUARD_LATENCIES] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
    0xffffffff
};


static void ngx_patient_guard_totals_place(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_totals_t *old);
static ngx_uint_t ngx_patient_guard_totals_has(
    ngx_patient_guard_totals_t *totals, ngx_atomic_uint_t id);


ngx_int_t
ngx_patient_guard_totals_init(ngx_shm_zone_t *zone,
    ngx_patient_guard_totals_t *old)
{
    ngx_patient_guard_totals_t  *totals;

    totals = zone->data;
    totals->pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (old || zone->shm.exists) {
        totals->sums = old ? old->sums : totals->pool->data;

        if (totals->sums == NULL
            || totals->sums->version != NGX_PATIENT_GUARD_TOTALS_VERSION)
        {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "zone \"%V\" was made by another version of the "
                          "module, restart nginx", &zone->shm.name);
            return NGX_ERROR;
        }

        ngx_patient_guard_totals_place(totals, old);

        return NGX_OK;
    }

    totals->sums = ngx_slab_calloc(totals->pool,
                                   sizeof(ngx_patient_guard_sums_t));
    if (totals->sums == NULL) {
        return NGX_ERROR;
    }

    totals->sums->born = (uint64_t) ngx_time() * 1000;
    totals->sums->version = NGX_PATIENT_GUARD_TOTALS_VERSION;
    totals->pool->data = totals->sums;

    ngx_patient_guard_totals_place(totals, NULL);

    return NGX_OK;
}


/*
 * A limit keeps its totals as long as it keeps its state.  A new one takes the
 * place of one that neither this configuration has nor the one before, whose
 * workers may still be there.
 */

static void
ngx_patient_guard_totals_place(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_totals_t *old)
{
    ngx_uint_t                         i, n, place;
    ngx_atomic_uint_t                  id;
    ngx_patient_guard_limit_totals_t  *limits;

    limits = totals->sums->limits;

    for (i = 0; i < totals->nlimits; i++) {

        id = totals->limits[i].id;
        place = NGX_PATIENT_GUARD_TOTALS_LIMITS;

        for (n = 0; n < NGX_PATIENT_GUARD_TOTALS_LIMITS; n++) {

            if (limits[n].id == id) {
                place = n;
                break;
            }

            if (place == NGX_PATIENT_GUARD_TOTALS_LIMITS
                && !ngx_patient_guard_totals_has(totals, limits[n].id)
                && !(old && ngx_patient_guard_totals_has(old, limits[n].id)))
            {
                place = n;
            }
        }

        if (limits[place].id != id) {
            ngx_memzero(&limits[place],
                        sizeof(ngx_patient_guard_limit_totals_t));
            limits[place].id = id;
        }

        totals->places[i] = place;
    }
}


static ngx_uint_t
ngx_patient_guard_totals_has(ngx_patient_guard_totals_t *totals,
    ngx_atomic_uint_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < totals->nlimits; i++) {
        if (totals->limits[i].id == id) {
            return 1;
        }
    }

    return 0;
}


void
ngx_patient_guard_totals_add(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_decided_t *decided)
{
    ngx_uint_t                    n;
    ngx_patient_guard_sums_t     *sums;
    ngx_patient_guard_event_t     event;
    ngx_patient_guard_refusal_t   refusal;

    sums = totals->sums;

    (void) ngx_atomic_fetch_add(
                     &sums->outcomes[decided->dry_run][decided->outcome], 1);
    (void) ngx_atomic_fetch_add(&sums->records, decided->records);
    (void) ngx_atomic_fetch_add(&sums->sources[decided->source], 1);

    if (decided->passed) {
        ngx_patient_guard_totals_event(totals, &decided->account,
                                       NGX_PATIENT_GUARD_EVENT_PASSED,
                                       decided->now, 0);
    }

    if (decided->outcome == NGX_PATIENT_GUARD_ALLOWED) {
        return;
    }

    if (decided->limit >= 0) {
        n = totals->places[decided->limit];
        (void) ngx_atomic_fetch_add(
           &sums->limits[n].outcomes[decided->dry_run][decided->outcome], 1);
    }

    refusal.account = decided->account;
    refusal.time = decided->now;
    refusal.until = decided->wait ? decided->now + decided->wait : 0;
    refusal.limit = decided->limit < 0 ? 0 : totals->limits[decided->limit].id;
    refusal.count = decided->count;
    refusal.allowance = decided->allowance;
    refusal.times = 1;
    refusal.verdict = (uint16_t) decided->outcome;
    refusal.dry_run = decided->dry_run;

    event.account = refusal.account;
    event.time = refusal.time;
    event.until = refusal.until;
    event.limit = refusal.limit;
    event.count = refusal.count;
    event.allowance = refusal.allowance;
    event.what = refusal.verdict;
    event.dry_run = refusal.dry_run;

    ngx_patient_guard_totals_lock(totals);

    if (decided->outcome != NGX_PATIENT_GUARD_UNAVAILABLE) {
        ngx_patient_guard_recent_add(&sums->recent, &refusal);
    }

    if (totals->streams) {
        ngx_patient_guard_events_push(&sums->events, &event);
    }

    ngx_patient_guard_totals_unlock(totals);
}


void
ngx_patient_guard_totals_event(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account, ngx_uint_t what, uint64_t now,
    uint64_t until)
{
    ngx_patient_guard_event_t  event;

    if (!totals->streams) {
        return;
    }

    ngx_memzero(&event, sizeof(ngx_patient_guard_event_t));

    event.account = *account;
    event.time = now;
    event.until = until;
    event.what = (uint16_t) what;

    ngx_patient_guard_totals_lock(totals);
    ngx_patient_guard_events_push(&totals->sums->events, &event);
    ngx_patient_guard_totals_unlock(totals);
}


void
ngx_patient_guard_totals_answered(ngx_patient_guard_totals_t *totals,
    uint64_t us)
{
    ngx_uint_t  i;

    if (totals == NULL) {
        return;
    }

    for (i = 0; i < NGX_PATIENT_GUARD_LATENCIES - 1; i++) {
        if (us <= ngx_patient_guard_latencies[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&totals->sums->latencies[i], 1);
    (void) ngx_atomic_fetch_add(&totals->sums->latency, us);
}


void
ngx_patient_guard_totals_worker(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_worker_t *worker)
{
    if (totals == NULL) {
        return;
    }

    worker->when = ngx_time();
    worker->pid = (uint32_t) ngx_pid;

    totals->sums->workers[ngx_worker % NGX_PATIENT_GUARD_TOTALS_WORKERS]
        = *worker;
}


void
ngx_patient_guard_totals_workers(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_worker_t *sum)
{
    ngx_uint_t                   i;
    ngx_patient_guard_worker_t  *worker;

    ngx_memzero(sum, sizeof(ngx_patient_guard_worker_t));

    for (i = 0; i < NGX_PATIENT_GUARD_TOTALS_WORKERS; i++) {
        worker = &totals->sums->workers[i];

        if (worker->when + NGX_PATIENT_GUARD_TOTALS_STALE
            < (uint64_t) ngx_time())
        {
            continue;
        }

        sum->connections += worker->connections;
        sum->away += worker->away;
        sum->waiting += worker->waiting;
    }
}


uint64_t
ngx_patient_guard_totals_lookups(ngx_patient_guard_sums_t *sums)
{
    uint64_t    n;
    ngx_uint_t  i;

    for (i = 0, n = 0; i < NGX_PATIENT_GUARD_OUTCOMES; i++) {
        n += sums->outcomes[0][i] + sums->outcomes[1][i];
    }

    return n;
}


ngx_uint_t
ngx_patient_guard_totals_recent(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account, ngx_patient_guard_refusal_t *to)
{
    ngx_uint_t  n;

    ngx_patient_guard_totals_lock(totals);
    n = ngx_patient_guard_recent_list(&totals->sums->recent, account, to);
    ngx_patient_guard_totals_unlock(totals);

    return n;
}


ngx_uint_t
ngx_patient_guard_totals_blocked(ngx_patient_guard_totals_t *totals,
    uint64_t now, ngx_patient_guard_block_entry_t *to)
{
    ngx_uint_t  n;

    ngx_patient_guard_totals_lock(totals);
    n = ngx_patient_guard_blocks_list(&totals->sums->blocks, now, to);
    ngx_patient_guard_totals_unlock(totals);

    return n;
}


uint64_t
ngx_patient_guard_totals_blocks(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous, uint64_t now)
{
    uint64_t                     until;
    ngx_patient_guard_blocks_t  *blocks;

    blocks = &totals->sums->blocks;

    if (!ngx_patient_guard_blocks_may(blocks, now)) {
        return 0;
    }

    ngx_patient_guard_totals_lock(totals);

    until = ngx_patient_guard_blocks_find(blocks, account, now);

    if (until == 0) {
        until = ngx_patient_guard_blocks_find(blocks, previous, now);

        if (until) {
            ngx_patient_guard_blocks_lift(blocks, previous);
            (void) ngx_patient_guard_blocks_set(blocks, account, until, now);
        }
    }

    ngx_patient_guard_totals_unlock(totals);

    return until;
}


ngx_str_t *
ngx_patient_guard_outcome_name(ngx_uint_t outcome)
{
    static ngx_str_t  names[] = {
        ngx_string("allow"),
        ngx_string("delay"),
        ngx_string("throttle"),
        ngx_string("challenge"),
        ngx_string("deny"),
        ngx_string("unavailable")
    };

    return &names[outcome];
}


ngx_str_t *
ngx_patient_guard_error_name(ngx_uint_t error)
{
    static ngx_str_t  names[] = {
        ngx_string("timeout"),
        ngx_string("closed"),
        ngx_string("connect"),
        ngx_string("reply"),
        ngx_string("refused"),
        ngx_string("busy")
    };

    return &names[error];
}
