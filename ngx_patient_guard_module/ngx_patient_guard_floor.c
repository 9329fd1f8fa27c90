
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_apart.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_parcel.h"


/* ms that a refusal holds without asking Redis who the patients are */

#define NGX_PATIENT_GUARD_FLOOR_SETS  10000


static ngx_int_t ngx_patient_guard_floor_refused(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    ngx_uint_t flags, ngx_uint_t dry_run);
static void ngx_patient_guard_floor_asks(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);
static ngx_uint_t ngx_patient_guard_floor_doubted(
    ngx_patient_guard_shm_t *shm, ngx_patient_guard_ref_t *members,
    ngx_patient_guard_lookup_t *lookup);
static ngx_uint_t ngx_patient_guard_floor_over(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);
static void ngx_patient_guard_floor_doubts(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_unanswered_t *call,
    uint32_t *states);
static ngx_uint_t ngx_patient_guard_floor_passes(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);
static ngx_uint_t ngx_patient_guard_floor_strangers(
    ngx_patient_guard_shm_t *shm, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);
static ngx_uint_t ngx_patient_guard_floor_known(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);


static uint32_t  ngx_patient_guard_floor_unsent[NGX_PATIENT_GUARD_KEYS] = {
    NGX_PATIENT_GUARD_UNSENT, NGX_PATIENT_GUARD_UNSENT,
    NGX_PATIENT_GUARD_UNSENT, NGX_PATIENT_GUARD_UNSENT,
    NGX_PATIENT_GUARD_UNSENT
};


ngx_int_t
ngx_patient_guard_floor_answer(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_uint_t flags)
{
    ngx_int_t                    rc;
    ngx_uint_t                   dry_run;
    ngx_patient_guard_ref_t      members[NGX_PATIENT_GUARD_KEYS];
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));
    tally->source = NGX_PATIENT_GUARD_FROM_CACHE;

    lookup->since = 0;
    lookup->challenger = lookup->nlimits;
    lookup->due = 0;
    lookup->tell = 0;

    if (ngx_patient_guard_shm_enter(shm, lookup, members) != NGX_OK) {
        ngx_patient_guard_shm_leave(shm, lookup->now);
        return NGX_ERROR;
    }

    rc = NGX_AGAIN;

    ngx_patient_guard_challenge_date(shm->node, members[0], lookup);

    lookup->cleared = ngx_patient_guard_cleared(shm->node, members[0]);

    if (!(flags & NGX_PATIENT_GUARD_AWAY)
        && ngx_patient_guard_floor_doubted(shm, members, lookup))
    {
        /* a later call of the session would hide them from Redis */

        ngx_patient_guard_outbox_post(shm->node, members, lookup,
                                      lookup->tell, 0);
        ngx_patient_guard_shm_leave(shm, lookup->now);

        return NGX_DECLINED;
    }

    /* no challenge is opened by what other nodes may know better */

    dry_run = lookup->dry_run;
    lookup->dry_run = 1;

    if (!ngx_patient_guard_weigh(shm->node, members, lookup, tally,
                                 weighed))
    {
        if ((flags & NGX_PATIENT_GUARD_KNOWN)
            && ngx_patient_guard_floor_known(shm, members, lookup, tally,
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

    if (lookup->exempt
        || (!(flags & NGX_PATIENT_GUARD_AWAY)
            && !ngx_patient_guard_floor_over(lookup, tally)))
    {
        goto done;
    }

    rc = ngx_patient_guard_floor_refused(shm, members, lookup, tally, weighed,
                                         flags, dry_run);

done:

    if (rc == NGX_AGAIN) {
        ngx_patient_guard_floor_asks(shm, members, lookup, tally);
    }

    lookup->dry_run = dry_run;

    ngx_patient_guard_shm_asked(shm, lookup, members, tally);
    ngx_patient_guard_shm_leave(shm, lookup->now);

    return rc;
}


/* what the call to Redis says besides */

static void
ngx_patient_guard_floor_asks(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_patient_guard_apart_keys(shm, members, lookup, tally);

    /* Redis may have lost it */

    if (lookup->since == 0) {
        lookup->since = ngx_patient_guard_due_since(shm->node, members[0],
                                                    lookup,
                                                    &lookup->challenger);
        lookup->due = (lookup->since != 0);
    }
}


/* which key has charges in doubt: lookup->tell; 0 if none has */

static ngx_uint_t
ngx_patient_guard_floor_doubted(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup)
{
    for (lookup->tell = 0;
         lookup->tell < NGX_PATIENT_GUARD_KEYS;
         lookup->tell++)
    {
        if (members[lookup->tell]
            && ngx_patient_guard_in_doubt(shm->node, members[lookup->tell]))
        {
            return 1;
        }
    }

    lookup->tell = 0;

    return 0;
}


/*
 * Is the account challenged, or over a limit that this node can tell of?  How
 * those of other keys stand, which many share, who is new to the account, and
 * what is usual for it, Redis is asked.
 */

static ngx_uint_t
ngx_patient_guard_floor_over(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t  i;

    if (tally->challenged || tally->unproved) {
        return 1;
    }

    for (i = 0; i < lookup->nlimits; i++) {

        if (tally->rooms[i].wait
            && lookup->limits[i].key == 0
            && lookup->limits[i].factor == 0
            && lookup->limits[i].signal != NGX_PATIENT_GUARD_NEW_PATIENTS
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG)
        {
            return 1;
        }
    }

    return 0;
}


/* what becomes of a lookup that does not fit here */

static ngx_int_t
ngx_patient_guard_floor_refused(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    ngx_uint_t flags, ngx_uint_t dry_run)
{
    uint32_t                    until;
    ngx_uint_t                  sets;
    ngx_patient_guard_fleet_t  *fleet;

    until = ngx_patient_guard_lookup_until(lookup);
    fleet = ngx_patient_guard_fleet(shm->node, members[0], until);

    sets = !tally->challenged && !tally->unproved
           && (ngx_patient_guard_floor_strangers(shm, lookup, tally, weighed)
               || ngx_patient_guard_fleet_older(fleet->told, lookup,
                                               NGX_PATIENT_GUARD_FLOOR_SETS));

    if (!(flags & (NGX_PATIENT_GUARD_CHECKED|NGX_PATIENT_GUARD_AWAY))
        && (ngx_patient_guard_fleet_older(fleet->confirmed, lookup,
                                          NGX_PATIENT_GUARD_FLEET_HOLDS)
            || (sets && ngx_patient_guard_fleet_older(fleet->told, lookup,
                                          NGX_PATIENT_GUARD_FLEET_HOLDS))))
    {
        ngx_patient_guard_outbox_post(shm->node, members, lookup, 0, sets);
        return NGX_DECLINED;
    }

    if (!tally->challenged && !tally->unproved) {

        /* Redis hears of a challenge at once */

        lookup->dry_run = dry_run;

        (void) ngx_patient_guard_weigh(shm->node, members, lookup, tally,
                                       weighed);

        if (tally->challenged && (flags & NGX_PATIENT_GUARD_AWAY)) {
            ngx_patient_guard_outbox_post(shm->node, members, lookup, 0, 0);

        } else if (tally->challenged) {
            lookup->since = tally->since;
            lookup->challenger = tally->challenger;
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
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
            || !ngx_patient_guard_keeps_set(&lookup->limits[i]))
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
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed)
{
    uint32_t                    until;
    ngx_uint_t                  i, stale;
    ngx_patient_guard_fleet_t  *fleet;

    if (lookup->asks) {
        return 0;
    }

    for (i = 0; i < lookup->nlimits; i++) {

        if (weighed[i].cost) {
            return 0;
        }
    }

    until = ngx_patient_guard_lookup_until(lookup);
    fleet = ngx_patient_guard_fleet(shm->node, members[0], until);

    stale = ngx_patient_guard_stale(shm->node, members[0], lookup, weighed);

    if (stale) {
        ngx_patient_guard_charge(shm->node, members, lookup, tally, weighed,
                                 NGX_PATIENT_GUARD_UNSENT,
                                 ngx_patient_guard_floor_unsent);
        ngx_patient_guard_outbox_post_others(shm->node, members, lookup);
    }

    tally->charged = 1;

    if (stale && !lookup->probe) {
        ngx_patient_guard_outbox_post_later(shm->node, members, lookup,
                                            tally);

    } else if (ngx_patient_guard_fleet_older(fleet->heard, lookup,
                                             NGX_PATIENT_GUARD_FLEET_HOLDS))
    {
        /* lest a challenge of another node's go unnoticed here */

        ngx_patient_guard_outbox_post(shm->node, members, lookup, 0, 0);
    }

    return 1;
}


ngx_int_t
ngx_patient_guard_floor_count(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_unanswered_t *call, ngx_uint_t there)
{
    uint32_t                     until, states[NGX_PATIENT_GUARD_KEYS];
    ngx_uint_t                   refuse, challenged;
    ngx_patient_guard_ref_t      members[NGX_PATIENT_GUARD_KEYS];
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));
    tally->source = NGX_PATIENT_GUARD_FROM_LOCAL;

    if (ngx_patient_guard_shm_enter(shm, lookup, members) != NGX_OK) {
        ngx_patient_guard_shm_leave(shm, lookup->now);
        return NGX_ERROR;
    }

    until = ngx_patient_guard_lookup_until(lookup);

    ngx_patient_guard_challenge_date(shm->node, members[0], lookup);

    lookup->cleared = ngx_patient_guard_cleared(shm->node, members[0]);
    lookup->challenger = ngx_patient_guard_challenger(shm->node, members[0],
                                               lookup->limits, lookup->nlimits,
                                               &lookup->since);
    lookup->due = 0;
    challenged = (lookup->since != 0);

    if (there && challenged && lookup->proof > lookup->since) {

        /* what is in doubt is told first: it waits in the outbox */

        refuse = ngx_patient_guard_floor_doubted(shm, members, lookup);

        ngx_patient_guard_shm_leave(shm, lookup->now);

        return refuse ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_patient_guard_pass_by_proof(shm->node, members[0], lookup, tally);

    refuse = ngx_patient_guard_weigh(shm->node, members, lookup, tally,
                                     weighed);

    if (!refuse || lookup->exempt || lookup->forced) {
        ngx_patient_guard_floor_doubts(shm, members, lookup, tally, call,
                                       states);

        ngx_patient_guard_charge(shm->node, members, lookup, tally, weighed,
                                 NGX_PATIENT_GUARD_UNSENT, states);

        if (!lookup->probe) {
            ngx_patient_guard_outbox_post_others(shm->node, members, lookup);
        }
    }

    fleet = ngx_patient_guard_fleet(shm->node, members[0], until);

    if (tally->charged && !lookup->probe && !refuse && !lookup->forced
        && !tally->passed)
    {
        ngx_patient_guard_outbox_post_later(shm->node, members, lookup,
                                            tally);

    } else if ((tally->charged && !lookup->probe)
               || tally->passed
               || (tally->challenged && !challenged)
               || ngx_patient_guard_fleet_older(fleet->heard, lookup,
                                               NGX_PATIENT_GUARD_FLEET_HOLDS))
    {
        ngx_patient_guard_outbox_post(shm->node, members, lookup, 0,
                         refuse && ngx_patient_guard_floor_strangers(shm,
                                                  lookup, tally, weighed));
    }

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return NGX_OK;
}


/*
 * A charge by a call that may have been made as well is told as one in doubt,
 * by each key; else, or if there are too many, it is told as counted here.
 */

static void
ngx_patient_guard_floor_doubts(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_unanswered_t *call,
    uint32_t *states)
{
    ngx_uint_t  key;

    for (key = 0; key < NGX_PATIENT_GUARD_KEYS; key++) {

        states[key] = NGX_PATIENT_GUARD_UNSENT;

        if (members[key] && call && call->number && !lookup->probe
            && !ngx_patient_guard_apart(lookup, key)
            && ngx_patient_guard_parcel_doubt(shm->node, members[key],
                                 call->number, call->worker, lookup->now,
                                 lookup->records, tally->novel,
                                 ngx_patient_guard_lookup_until(lookup))
               == NGX_OK)
        {
            states[key] = NGX_PATIENT_GUARD_SENT;
        }
    }
}
