
#include "ngx_patient_guard_policy.h"


ngx_str_t  ngx_patient_guard_signal_names[] = {
    ngx_string("lookups"),
    ngx_string("patients"),
    ngx_string("new_patients"),
    ngx_string("misses"),
    ngx_string("addresses"),
    ngx_string("accounts"),
    ngx_null_string
};


ngx_str_t  ngx_patient_guard_action_names[] = {
    ngx_string("log"),
    ngx_string("throttle"),
    ngx_string("challenge"),
    ngx_string("deny"),
    ngx_null_string
};


static ngx_patient_guard_verdict_e ngx_patient_guard_limit_verdict(
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_tally_t *tally,
    uint64_t *wait);
static ngx_int_t ngx_patient_guard_least_room(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);


static ngx_str_t  ngx_patient_guard_verdicts[] = {
    ngx_string("allow"),
    ngx_string("throttle"),
    ngx_string("challenge"),
    ngx_string("deny")
};


void
ngx_patient_guard_decide(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_decision_t *decision)
{
    uint64_t                     wait;
    ngx_uint_t                   i;
    ngx_patient_guard_verdict_e  verdict;

    decision->verdict = NGX_PATIENT_GUARD_ALLOW;
    decision->limit = -1;
    decision->wait = 0;
    decision->over = 0;

    if (tally->challenged) {
        decision->verdict = tally->grants_wait
                                ? NGX_PATIENT_GUARD_VERDICT_DENY
                                : NGX_PATIENT_GUARD_VERDICT_CHALLENGE;
        decision->wait = tally->grants_wait;
        decision->over = 1;

    } else if (tally->unproved) {

        /* it takes no grant */

        decision->verdict = NGX_PATIENT_GUARD_VERDICT_CHALLENGE;
        decision->over = 1;
    }

    if (decision->over && tally->challenger < lookup->nlimits) {
        decision->limit = tally->challenger;
    }

    for (i = 0; i < lookup->nlimits; i++) {

        wait = tally->rooms[i].wait;

        if (wait == 0) {
            continue;
        }

        decision->over = 1;

        verdict = ngx_patient_guard_limit_verdict(&lookup->limits[i], tally,
                                                  &wait);

        if (verdict == NGX_PATIENT_GUARD_ALLOW) {
            continue;
        }

        if (verdict > decision->verdict
            || (verdict == decision->verdict && wait > decision->wait))
        {
            decision->verdict = verdict;
            decision->limit = i;
            decision->wait = wait;
        }
    }

    if (lookup->exempt) {
        decision->verdict = NGX_PATIENT_GUARD_ALLOW;
    }

    if (decision->verdict == NGX_PATIENT_GUARD_ALLOW) {
        decision->limit = ngx_patient_guard_least_room(lookup, tally);
        decision->wait = 0;
    }
}


/* the verdict of a limit that does not fit; *wait becomes 0 if none helps */

static ngx_patient_guard_verdict_e
ngx_patient_guard_limit_verdict(ngx_patient_guard_limit_t *limit,
    ngx_patient_guard_tally_t *tally, uint64_t *wait)
{
    switch (limit->action) {

    case NGX_PATIENT_GUARD_THROTTLE:
        return NGX_PATIENT_GUARD_VERDICT_THROTTLE;

    case NGX_PATIENT_GUARD_CHALLENGE:

        if (tally->grants_wait) {
            *wait = ngx_min(*wait, tally->grants_wait);
            return NGX_PATIENT_GUARD_VERDICT_DENY;
        }

        *wait = 0;
        return NGX_PATIENT_GUARD_VERDICT_CHALLENGE;

    case NGX_PATIENT_GUARD_DENY:
        return NGX_PATIENT_GUARD_VERDICT_DENY;

    default: /* NGX_PATIENT_GUARD_LOG */
        return NGX_PATIENT_GUARD_ALLOW;
    }
}


static ngx_int_t
ngx_patient_guard_least_room(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    int64_t     room, least;
    ngx_int_t   limit;
    ngx_uint_t  i;

    if (tally->outage) {
        return -1;
    }

    limit = -1;
    least = 0;

    for (i = 0; i < lookup->nlimits; i++) {
        room = (int64_t) tally->rooms[i].count
               - (int64_t) tally->rooms[i].total;

        if (limit == -1 || room < least) {
            limit = i;
            least = room;
        }
    }

    return limit;
}


ngx_uint_t
ngx_patient_guard_seconds(uint64_t wait)
{
    return (ngx_uint_t) ((wait + 999) / 1000);
}


ngx_str_t *
ngx_patient_guard_verdict_name(ngx_patient_guard_verdict_e verdict)
{
    return &ngx_patient_guard_verdicts[verdict];
}


ngx_str_t *
ngx_patient_guard_source_name(ngx_patient_guard_source_e source)
{
    static ngx_str_t  names[] = {
        ngx_string("none"),
        ngx_string("local"),
        ngx_string("redis"),
        ngx_string("cache")
    };

    return &names[source];
}
