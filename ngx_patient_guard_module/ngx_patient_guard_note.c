
#include "ngx_patient_guard_note.h"
#include "ngx_patient_guard_apart.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_fleet.h"


static ngx_uint_t ngx_patient_guard_note_undercut(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_tally_t *own);
static void ngx_patient_guard_note_usual(ngx_patient_guard_node_t *node,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_weighed_t *weighed);
static void ngx_patient_guard_note_raise(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_tally_t *own);
static void ngx_patient_guard_note_challenge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);
static void ngx_patient_guard_note_others(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_tally_t *own);


/*
 * Redis tells who is new, see ngx_patient_guard_floor_over(): does a limit on
 * them fit by its counts, and not by this node's?  Or has it forgotten that
 * proofs are due?
 */

static ngx_uint_t
ngx_patient_guard_note_undercut(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_tally_t *own)
{
    ngx_uint_t  i;

    if (own->unproved && !tally->unproved) {
        return tally->charged;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        if (ngx_patient_guard_follows(&lookup->limits[i])
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG
            && own->rooms[i].wait && tally->rooms[i].wait == 0)
        {
            return tally->charged;
        }
    }

    return 0;
}


static void
ngx_patient_guard_note_raise(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_tally_t *own)
{
    ngx_uint_t  i;

    for (i = 0; i < lookup->nlimits; i++) {
        if (ngx_patient_guard_follows(&lookup->limits[i])) {
            tally->rooms[i] = own->rooms[i];
        }
    }

    if (own->challenged && !tally->challenged) {
        tally->challenged = 1;
        tally->challenger = own->challenger;
        tally->since = own->since;
        tally->grants_wait = own->grants_wait;

    } else if (own->unproved && !tally->challenged) {
        tally->unproved = 1;
        tally->challenger = own->challenger;
    }
}


/* what Redis made of the account's habits: this node's counts go by it, too */

static void
ngx_patient_guard_note_usual(ngx_patient_guard_node_t *node,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_weighed_t *weighed)
{
    ngx_uint_t  i;

    for (i = 0; i < lookup->nlimits; i++) {
        if (weighed[i].habit) {
            ngx_patient_guard_habit_told(&node->zone, weighed[i].habit,
                                         tally->rooms[i].count, lookup->now);
        }
    }
}


/* what Redis knows of its challenges, and what became of them */

static void
ngx_patient_guard_note_challenge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_patient_guard_challenge_date(node, member, lookup);
    ngx_patient_guard_cleared_since(node, member, lookup, tally->cleared);
    ngx_patient_guard_due_told(node, member, lookup, &tally->due,
                               tally->challenged ? lookup->nlimits
                                                 : tally->challenger);

    if (tally->passed) {
        ngx_patient_guard_grant(node, member, lookup);
    }

    if (tally->challenged && tally->challenger < lookup->nlimits) {
        ngx_patient_guard_challenge(node, member, lookup, tally->challenger,
                                    tally->since);
    }
}


ngx_uint_t
ngx_patient_guard_note(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    uint32_t                     until, states[NGX_PATIENT_GUARD_KEYS];
    ngx_uint_t                   i, more, raised;
    ngx_patient_guard_ref_t      members[NGX_PATIENT_GUARD_KEYS];
    ngx_patient_guard_tally_t    own;
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_lookup_t   noted;
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    ngx_memzero(&own, sizeof(ngx_patient_guard_tally_t));

    for (i = 0; i < NGX_PATIENT_GUARD_KEYS; i++) {
        states[i] = ngx_patient_guard_apart(lookup, i)
                    ? NGX_PATIENT_GUARD_UNSENT : NGX_PATIENT_GUARD_SENT;
    }

    /* whom to challenge is the fleet's to say, not this node's counts' */

    noted = *lookup;
    noted.dry_run = 1;
    more = 0;
    raised = 0;

    noted.novel = tally->novel;
    noted.told = 1;

    if (ngx_patient_guard_shm_enter(shm, lookup, members) == NGX_OK) {
        until = ngx_patient_guard_lookup_until(lookup);

        ngx_patient_guard_note_challenge(shm->node, members[0], lookup, tally);

        noted.cleared = ngx_patient_guard_cleared(shm->node, members[0]);

        (void) ngx_patient_guard_weigh(shm->node, members, &noted, &own,
                                       weighed);

        if (!lookup->exempt
            && ngx_patient_guard_note_undercut(lookup, tally, &own))
        {
            /* Redis has lost some: below this node's floor nothing falls */

            noted.dry_run = lookup->dry_run;
            raised = 1;

            (void) ngx_patient_guard_weigh(shm->node, members, &noted, &own,
                                           weighed);

            ngx_patient_guard_note_raise(lookup, tally, &own);
        }

        ngx_patient_guard_note_usual(shm->node, lookup, tally, weighed);

        if (tally->charged) {
            ngx_patient_guard_charge(shm->node, members, &noted, &own,
                                     weighed, NGX_PATIENT_GUARD_SENT,
                                     states);
        }

        ngx_patient_guard_note_others(shm, members, lookup, tally, &own);

        fleet = ngx_patient_guard_fleet(shm->node, members[0], until);
        fleet->heard = (uint32_t) lookup->now;

        if (!tally->charged) {
            fleet->confirmed = fleet->heard;
        }

        for (i = 0; i < lookup->nlimits; i++) {
            more |= (tally->rooms[i].wait
                     && lookup->limits[i].key == 0
                     && tally->rooms[i].total > own.rooms[i].total);
        }

        if (more || raised) {
            ngx_patient_guard_outbox_post(shm->node, members, lookup, 0, more);
        }

        ngx_patient_guard_shm_asked(shm, lookup, members, tally);
    }

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return more;
}


/*
 * Of those keys that Redis was not asked for this node tells, and has it told;
 * of others that have much room it has Redis tell, if that is of use for the
 * next lookup.
 */

static void
ngx_patient_guard_note_others(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_tally_t *own)
{
    ngx_uint_t                  i, key, apart;
    ngx_patient_guard_fleet_t  *fleet;

    for (i = 0; i < lookup->nlimits; i++) {

        if (ngx_patient_guard_apart(lookup, lookup->limits[i].key)) {

            /* it fitted with much room to spare, or it was not asked for */

            tally->rooms[i].total = own->rooms[i].total;
            tally->rooms[i].count = own->rooms[i].count;
        }
    }

    for (key = 1; key < NGX_PATIENT_GUARD_KEYS && tally->charged; key++) {

        if (members[key] == 0) {
            continue;
        }

        apart = ngx_patient_guard_apart(lookup, key);

        if (!apart && !ngx_patient_guard_apart_wide(lookup, own, key)) {
            continue;
        }

        fleet = ngx_patient_guard_fleet(shm->node, members[key],
                                    ngx_patient_guard_lookup_until(lookup));

        if (apart
            || !ngx_patient_guard_fleet_older(fleet->confirmed, lookup,
                                              NGX_PATIENT_GUARD_FLEET_HOLDS))
        {
            ngx_patient_guard_outbox_post(shm->node, members, lookup, key, 0);
        }

        fleet->confirmed = (uint32_t) lookup->now;
    }
}
