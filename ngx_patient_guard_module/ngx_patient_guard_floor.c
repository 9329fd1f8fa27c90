
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_news.h"
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_parcel.h"


/*
 * How long a refusal holds without asking Redis whether it still does, and
 * how long who the patients are; ms.
 */

#define NGX_PATIENT_GUARD_FLOOR_ASK   500
#define NGX_PATIENT_GUARD_FLOOR_SETS  10000


static ngx_int_t ngx_patient_guard_floor_refused(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    ngx_uint_t flags, ngx_uint_t dry_run);
static uint32_t ngx_patient_guard_floor_until(
    ngx_patient_guard_lookup_t *lookup);
static ngx_uint_t ngx_patient_guard_floor_passes(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);
static ngx_uint_t ngx_patient_guard_floor_strangers(
    ngx_patient_guard_shm_t *shm, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);
static ngx_uint_t ngx_patient_guard_floor_known(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);
static ngx_uint_t ngx_patient_guard_floor_stale(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_weighed_t *weighed);


#define ngx_patient_guard_floor_older(then, lookup, ms)                      \
    ((uint32_t) (lookup)->now - (then) > (ms))


ngx_int_t
ngx_patient_guard_floor_answer(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_uint_t flags)
{
    ngx_int_t                    rc;
    ngx_uint_t                   dry_run;
    ngx_patient_guard_ref_t      member;
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));
    tally->source = NGX_PATIENT_GUARD_FROM_CACHE;

    lookup->since = 0;
    lookup->challenger = lookup->nlimits;

    member = ngx_patient_guard_shm_enter(shm, lookup);

    if (member == 0) {
        ngx_patient_guard_shm_leave(shm, lookup->now);
        return NGX_ERROR;
    }

    rc = NGX_AGAIN;

    ngx_patient_guard_challenge_date(shm->node, member, lookup);

    lookup->cleared = ngx_patient_guard_cleared(shm->node, member);

    if (!(flags & NGX_PATIENT_GUARD_AWAY)
        && ngx_patient_guard_in_doubt(shm->node, member))
    {
        /* a later call of the session would hide them from Redis */

        ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous, 0,
                                     ngx_patient_guard_floor_until(lookup));
        ngx_patient_guard_shm_leave(shm, lookup->now);

        return NGX_DECLINED;
    }

    /* no challenge is opened by what other nodes may know better */

    dry_run = lookup->dry_run;
    lookup->dry_run = 1;

    if (!ngx_patient_guard_weigh(shm->node, member, lookup, tally, weighed)) {

        if ((flags & NGX_PATIENT_GUARD_KNOWN)
            && ngx_patient_guard_floor_known(shm, member, lookup, tally,
                                             weighed))
        {
            rc = NGX_OK;
        }

        goto done;
    }

    if (ngx_patient_guard_floor_passes(lookup, tally)) {
        lookup->since = tally->since;
        lookup->challenger = tally->challenger;
        goto done;
    }

    if (lookup->exempt) {
        goto done;
    }

    rc = ngx_patient_guard_floor_refused(shm, member, lookup, tally, weighed,
                                         flags, dry_run);

done:

    lookup->dry_run = dry_run;

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return rc;
}


/* what becomes of a lookup that does not fit here */

static ngx_int_t
ngx_patient_guard_floor_refused(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    ngx_uint_t flags, ngx_uint_t dry_run)
{
    uint32_t                    until;
    ngx_uint_t                  sets;
    ngx_patient_guard_fleet_t  *fleet;

    until = ngx_patient_guard_floor_until(lookup);
    fleet = ngx_patient_guard_fleet(shm->node, member, until);

    sets = !tally->challenged
           && (ngx_patient_guard_floor_strangers(shm, lookup, tally, weighed)
               || ngx_patient_guard_floor_older(fleet->told, lookup,
                                               NGX_PATIENT_GUARD_FLOOR_SETS));

    if (!(flags & (NGX_PATIENT_GUARD_CHECKED|NGX_PATIENT_GUARD_AWAY))
        && (ngx_patient_guard_floor_older(fleet->confirmed, lookup,
                                          NGX_PATIENT_GUARD_FLOOR_ASK)
            || (sets && ngx_patient_guard_floor_older(fleet->told, lookup,
                                          NGX_PATIENT_GUARD_FLOOR_ASK))))
    {
        ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous,
                                     sets, until);
        return NGX_DECLINED;
    }

    if (!tally->challenged) {

        /* Redis hears of a challenge at once */

        lookup->dry_run = dry_run;

        (void) ngx_patient_guard_weigh(shm->node, member, lookup, tally,
                                       weighed);

        if (tally->challenged && (flags & NGX_PATIENT_GUARD_AWAY)) {
            ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous,
                                         0, until);

        } else if (tally->challenged) {
            lookup->since = tally->since;
            lookup->challenger = tally->challenger;
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* s since the epoch, when nothing that is counted now is held any more */

static uint32_t
ngx_patient_guard_floor_until(ngx_patient_guard_lookup_t *lookup)
{
    uint64_t    window;
    ngx_uint_t  i;

    window = 0;

    for (i = 0; i < lookup->nlimits; i++) {
        window = ngx_max(window, lookup->limits[i].window);
    }

    return (uint32_t) ((lookup->now + window
                        + window / NGX_PATIENT_GUARD_SLICES) / 1000 + 1);
}


/* may the proof pass the challenge? */

static ngx_uint_t
ngx_patient_guard_floor_passes(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    return tally->challenged
           && lookup->proof > tally->since
           && tally->grants_wait == 0;
}


/* is a limit full of patients of whom this node does not know who they are? */

static ngx_uint_t
ngx_patient_guard_floor_strangers(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_weighed_t *weighed)
{
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_zone_t   *zone;
    ngx_patient_guard_entry_t  *entry;

    zone = &shm->node->zone;

    for (i = 0; i < lookup->nlimits; i++) {

        if (tally->rooms[i].wait == 0
            || lookup->limits[i].signal != NGX_PATIENT_GUARD_PATIENTS_SEEN)
        {
            continue;
        }

        for (ref = ngx_patient_guard_queue(zone, weighed[i].queue)->first;
             ref;
             ref = entry->next)
        {
            entry = ngx_patient_guard_entry(zone, ref);

            if (entry->patient == 0) {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * A lookup that can raise no count is charged in passing: what changes is
 * when its patients were last seen.
 */

static ngx_uint_t
ngx_patient_guard_floor_known(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed)
{
    uint32_t                    until;
    ngx_uint_t                  i, stale;
    ngx_patient_guard_fleet_t  *fleet;

    for (i = 0; i < lookup->nlimits; i++) {

        if (weighed[i].cost) {
            return 0;
        }
    }

    stale = ngx_patient_guard_floor_stale(shm, lookup, weighed);

    if (stale) {
        ngx_patient_guard_charge(shm->node, lookup, tally, weighed,
                                 NGX_PATIENT_GUARD_UNSENT,
                                 NGX_PATIENT_GUARD_UNSENT);
    }

    tally->charged = 1;

    until = ngx_patient_guard_floor_until(lookup);
    fleet = ngx_patient_guard_fleet(shm->node, member, until);

    /* lest a challenge of another node's go unnoticed here */

    if (stale || ngx_patient_guard_floor_older(fleet->heard, lookup,
                                               NGX_PATIENT_GUARD_FLOOR_ASK))
    {
        ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous, 0,
                                     until);
    }

    return 1;
}


/* has a patient not been seen yet in the present slice of a window? */

static ngx_uint_t
ngx_patient_guard_floor_stale(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_weighed_t *weighed)
{
    ngx_uint_t                i, n;
    ngx_patient_guard_ref_t   ref;
    ngx_patient_guard_zone_t *zone;

    zone = &shm->node->zone;

    if (lookup->unnamed || lookup->probe) {
        return 0;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        for (n = 0; n < lookup->npatients; n++) {

            ref = ngx_patient_guard_entry_find(zone, weighed[i].queue,
                                               lookup->patients[n].current);

            if (ref == 0
                || !ngx_patient_guard_entry_is_in(
                                         ngx_patient_guard_entry(zone, ref),
                                         weighed[i].slice))
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_patient_guard_floor_count(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_unanswered_t *call, ngx_uint_t there)
{
    uint32_t                     until, state;
    ngx_uint_t                   refuse, challenged;
    ngx_patient_guard_ref_t      member;
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));
    tally->source = NGX_PATIENT_GUARD_FROM_LOCAL;

    member = ngx_patient_guard_shm_enter(shm, lookup);

    if (member == 0) {
        ngx_patient_guard_shm_leave(shm, lookup->now);
        return NGX_ERROR;
    }

    until = ngx_patient_guard_floor_until(lookup);

    ngx_patient_guard_challenge_date(shm->node, member, lookup);

    lookup->cleared = ngx_patient_guard_cleared(shm->node, member);
    lookup->challenger = ngx_patient_guard_challenger(shm->node, member,
                                               lookup->limits, lookup->nlimits,
                                               &lookup->since);
    challenged = (lookup->since != 0);

    if (there && challenged && lookup->proof > lookup->since) {

        /* what is in doubt is told first: it waits in the outbox */

        refuse = ngx_patient_guard_in_doubt(shm->node, member);

        ngx_patient_guard_shm_leave(shm, lookup->now);

        return refuse ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_patient_guard_pass_by_proof(shm->node, member, lookup, tally);

    refuse = ngx_patient_guard_weigh(shm->node, member, lookup, tally,
                                     weighed);

    if (!refuse || lookup->exempt || lookup->forced) {
        state = NGX_PATIENT_GUARD_UNSENT;

        if (call && call->number && !lookup->probe
            && ngx_patient_guard_parcel_doubt(shm->node, member,
                                 call->number, call->worker, lookup->now,
                                 lookup->records, until)
               == NGX_OK)
        {
            state = NGX_PATIENT_GUARD_SENT;
        }

        ngx_patient_guard_charge(shm->node, lookup, tally, weighed,
                                 NGX_PATIENT_GUARD_UNSENT, state);
    }

    fleet = ngx_patient_guard_fleet(shm->node, member, until);

    if ((tally->charged && !lookup->probe)
        || (tally->challenged && !challenged)
        || ngx_patient_guard_floor_older(fleet->heard, lookup,
                                         NGX_PATIENT_GUARD_FLOOR_ASK))
    {
        ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous,
                         refuse && ngx_patient_guard_floor_strangers(shm,
                                                  lookup, tally, weighed),
                         until);
    }

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return NGX_OK;
}


ngx_uint_t
ngx_patient_guard_floor_note(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    uint32_t                     until;
    ngx_uint_t                   i, more;
    ngx_patient_guard_ref_t      member;
    ngx_patient_guard_tally_t    own;
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_lookup_t   noted;
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(&own, sizeof(ngx_patient_guard_tally_t));

    /* whom to challenge is the fleet's to say, not this node's counts' */

    noted = *lookup;
    noted.dry_run = 1;
    more = 0;

    member = ngx_patient_guard_shm_enter(shm, lookup);

    if (member) {
        until = ngx_patient_guard_floor_until(lookup);

        ngx_patient_guard_challenge_date(shm->node, member, lookup);
        ngx_patient_guard_cleared_since(shm->node, member, lookup,
                                        tally->cleared);

        if (tally->passed) {
            ngx_patient_guard_grant(shm->node, member, lookup);
        }

        if (tally->challenged && tally->challenger < lookup->nlimits) {
            ngx_patient_guard_challenge(shm->node, member, lookup,
                                        tally->challenger, tally->since);
        }

        (void) ngx_patient_guard_weigh(shm->node, member, &noted, &own,
                                       weighed);

        if (tally->charged) {
            ngx_patient_guard_charge(shm->node, &noted, &own, weighed,
                                     NGX_PATIENT_GUARD_SENT,
                                     NGX_PATIENT_GUARD_SENT);
        }

        fleet = ngx_patient_guard_fleet(shm->node, member, until);
        fleet->heard = (uint32_t) lookup->now;

        if (!tally->charged) {
            fleet->confirmed = fleet->heard;
        }

        for (i = 0; i < lookup->nlimits; i++) {
            more |= (tally->rooms[i].wait
                     && tally->rooms[i].total > own.rooms[i].total);
        }

        if (more) {
            ngx_patient_guard_outbox_add(shm->node, member, &lookup->previous,
                                         1, until);
        }
    }

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return more;
}


ngx_int_t
ngx_patient_guard_floor_take(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_account_t *account, ngx_patient_guard_parcel_t *parcel,
    u_char *sets, size_t size)
{
    ngx_patient_guard_ref_t     ref, member;
    ngx_patient_guard_fleet_t  *fleet;

    parcel->limits = shm->widest;
    parcel->nlimits = shm->nlimits;
    parcel->grants = shm->grants;

    ngx_patient_guard_shm_lock(shm);

    if (account) {
        member = ngx_patient_guard_member_find(shm->node, account);

        fleet = member ? ngx_patient_guard_fleet_find(shm->node, member)
                       : NULL;

        if (fleet == NULL || fleet->letter == 0) {
            member = 0;
        }

    } else {
        ref = ngx_patient_guard_letter_next(&shm->node->zone,
                                            &shm->node->outbox, parcel->now);

        member = ref ? ngx_patient_guard_member_find(shm->node,
                              &ngx_patient_guard_letter(&shm->node->zone,
                                                        ref)->account) : 0;
    }

    if (member) {
        ngx_patient_guard_parcel_take(shm->node, member, parcel, sets, size);
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);

    return member ? NGX_OK : NGX_DECLINED;
}


void
ngx_patient_guard_floor_news(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news)
{
    ngx_patient_guard_ref_t  member;

    ngx_patient_guard_shm_lock(shm);

    member = ngx_patient_guard_member_find(shm->node, &parcel->account);

    if (member) {
        ngx_patient_guard_parcel_sent(shm->node, member, parcel, news);

        if (ngx_patient_guard_member_reserve(shm->node,
                              ngx_patient_guard_news_cells(parcel, news),
                              member, parcel->now)
            == NGX_OK)
        {
            ngx_patient_guard_news(shm->node, member, parcel, news);
        }
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);
}


void
ngx_patient_guard_floor_lost(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel)
{
    ngx_patient_guard_ref_t  member;

    ngx_patient_guard_shm_lock(shm);

    member = ngx_patient_guard_member_find(shm->node, &parcel->account);

    if (member) {
        ngx_patient_guard_parcel_lost(shm->node, member, parcel);
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);
}


uint64_t
ngx_patient_guard_floor_numbers(ngx_patient_guard_shm_t *shm)
{
    uint64_t                   first;
    ngx_patient_guard_node_t  *node;

    node = shm->node;

    ngx_patient_guard_shm_lock(shm);

    first = node->number + 1;
    node->number = first + NGX_PATIENT_GUARD_NUMBERS;

    ngx_shmtx_unlock(&shm->pool->mutex);

    return first;
}
