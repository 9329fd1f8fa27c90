
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_seen.h"
#include "ngx_patient_guard_window.h"


static void ngx_patient_guard_weigh_limit(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t i,
    ngx_patient_guard_weighed_t *weighed);
static ngx_uint_t ngx_patient_guard_excused(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit);
static uint32_t ngx_patient_guard_novel(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);
static void ngx_patient_guard_charge_memory(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    uint32_t state);
static uint32_t ngx_patient_guard_cost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit, uint32_t novel);
static ngx_patient_guard_ref_t ngx_patient_guard_known(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t queue,
    ngx_patient_guard_named_t *named);
static void ngx_patient_guard_charge_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit, uint64_t slice, uint32_t state);
static uint32_t ngx_patient_guard_charge_state(
    ngx_patient_guard_entry_t *entry, uint32_t state);


uint64_t
ngx_patient_guard_set_cap(uint32_t count)
{
    return ngx_min((uint64_t) count * 2, NGX_PATIENT_GUARD_COUNT_MAX);
}


/*
 * Fills the tally as it is before any charge, and opens a challenge where a
 * limit calls for one.  Returns 1 if the lookup is to be refused.
 */

ngx_int_t
ngx_patient_guard_weigh(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed)
{
    uint64_t                    due;
    ngx_int_t                   refuse;
    ngx_uint_t                  i, proves;
    ngx_patient_guard_limit_t  *limit;

    tally->grants_wait = ngx_patient_guard_grants_wait(node, members[0],
                                                       lookup);

    tally->challenger = ngx_patient_guard_challenger(node, members[0],
                                               lookup->limits, lookup->nlimits,
                                               &tally->since);
    tally->challenged = (tally->since != 0);
    due = ngx_patient_guard_due_since(node, members[0], lookup, &proves);
    tally->unproved = !tally->challenged && due && lookup->proof <= due;

    if (tally->unproved) {
        tally->challenger = proves;
    }

    tally->novel = ngx_patient_guard_novel(node, members[0], lookup);

    refuse = tally->challenged || tally->unproved;

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];

        tally->rooms[i].wait = 0;
        tally->rooms[i].total = 0;
        tally->rooms[i].count = limit->count;

        ngx_memzero(&weighed[i], sizeof(ngx_patient_guard_weighed_t));

        if (members[limit->key] == 0) {
            continue;
        }

        ngx_patient_guard_weigh_limit(node, members, lookup, tally, i,
                                      &weighed[i]);

        if (tally->rooms[i].wait == 0
            || limit->action == NGX_PATIENT_GUARD_LOG)
        {
            continue;
        }

        refuse = 1;

        if (limit->action == NGX_PATIENT_GUARD_CHALLENGE
            && !tally->challenged
            && !tally->unproved
            && !lookup->exempt
            && !lookup->dry_run)
        {
            /*
             * A proof that was shown already is none of later; nor may it
             * seem to be passed, as it were by a clock that is behind.
             */

            tally->since = ngx_max(lookup->now, lookup->proof);

            if (lookup->cleared) {
                tally->since = ngx_max(tally->since, lookup->cleared + 1);
            }

            ngx_patient_guard_challenge(node, members[0], lookup, i,
                                        tally->since);

            tally->challenged = 1;
            tally->challenger = i;
        }
    }

    return refuse;
}


static void
ngx_patient_guard_weigh_limit(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t i,
    ngx_patient_guard_weighed_t *weighed)
{
    uint32_t                    room;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_limit_t  *limit;

    limit = &lookup->limits[i];

    ref = ngx_patient_guard_queue_now(node, members[limit->key], limit->id,
                                      lookup->now, limit->window);

    weighed->queue = ref;
    weighed->slice = ngx_patient_guard_queue(&node->zone, ref)->newest;
    weighed->cost = ngx_patient_guard_cost(node, ref, lookup, limit,
                                           tally->novel);

    tally->rooms[i].total = ngx_patient_guard_queue(&node->zone, ref)->total;

    if (limit->factor) {
        weighed->habit = ngx_patient_guard_member_queue_open(node, members[0],
                                           ngx_patient_guard_habit_id(limit));
        if (lookup->learns) {
            ngx_patient_guard_habit_now(&node->zone, weighed->habit,
                                        lookup->now);
        }

        tally->rooms[i].count = ngx_patient_guard_habit_count(&node->zone,
                                        weighed->habit, limit, lookup->now);
    }

    room = weighed->cost;

    if (limit->signal == NGX_PATIENT_GUARD_MISSES && !lookup->forced) {

        /* a miss shows in the response: room for one is wanted all the same */

        room = ngx_max(room, 1);
    }

    if (room && !ngx_patient_guard_excused(node, members[0], lookup, limit)) {
        tally->rooms[i].wait = ngx_patient_guard_queue_wait(node, ref, room,
                                          tally->rooms[i].count, lookup->now,
                                          limit->window);
    }
}


/*
 * What all share and an account can't make room in: who has passed a challenge
 * is not challenged by it again, as long as that grant is held, here or by
 * what was heard of another node.
 */

static ngx_uint_t
ngx_patient_guard_excused(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit)
{
    uint64_t                 window;
    ngx_patient_guard_ref_t  ref;

    if (limit->key == 0 || limit->action != NGX_PATIENT_GUARD_CHALLENGE) {
        return 0;
    }

    window = lookup->grants->window;

    if (lookup->cleared
        && ngx_patient_guard_slice_held(
                          ngx_patient_guard_slice(lookup->cleared, window),
                          ngx_patient_guard_slice(lookup->now, window)))
    {
        return 1;
    }

    ref = ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_GRANTS);

    return ref && ngx_patient_guard_queue(&node->zone, ref)->total;
}


/* how many of the patients are new to the account */

static uint32_t
ngx_patient_guard_novel(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    uint32_t                    novel;
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_named_t  *named;

    if (lookup->memory == 0) {
        return 0;
    }

    ref = ngx_patient_guard_member_queue_open(node, member,
                                              NGX_PATIENT_GUARD_QUEUE_MEMORY);

    ngx_patient_guard_memory_now(&node->zone, ref, lookup->now,
                                 lookup->memory);
    novel = 0;

    for (i = 0; i < lookup->npatients; i++) {
        named = &lookup->patients[i];

        named->known = (ngx_patient_guard_memory_seen(&node->zone, ref,
                                                      named->current)
                        || (named->previous
                            && ngx_patient_guard_memory_seen(&node->zone, ref,
                                                         named->previous)));
        novel += !named->known;
    }

    return lookup->told ? lookup->novel : novel;
}


void
ngx_patient_guard_charge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    uint32_t set_state, uint32_t *count_states)
{
    uint32_t                    state;
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_limit_t  *limit;

    tally->charged = 1;

    if (lookup->probe) {
        return;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];
        ref = weighed[i].queue;

        if (ref == 0
            || (lookup->unnamed && ngx_patient_guard_of_patients(limit)))
        {
            continue;
        }

        if (ngx_patient_guard_keeps_set(limit)) {
            ngx_patient_guard_charge_set(node, ref, lookup, limit,
                                         weighed[i].slice, set_state);

        } else {
            state = ngx_patient_guard_follows(limit)
                    ? NGX_PATIENT_GUARD_SENT : count_states[limit->key];

            ngx_patient_guard_queue_count(node, ref, weighed[i].cost,
                                          weighed[i].slice, state);
        }

        tally->rooms[i].total = ngx_patient_guard_queue(&node->zone,
                                                        ref)->total;

        if (weighed[i].habit && lookup->learns) {
            ngx_patient_guard_habit_reached(&node->zone, weighed[i].habit,
                                            tally->rooms[i].total);
        }
    }

    if (lookup->memory && !lookup->unnamed) {
        ngx_patient_guard_charge_memory(node, members[0], lookup, set_state);
    }
}


static void
ngx_patient_guard_charge_memory(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    uint32_t state)
{
    uint32_t                     slice;
    ngx_uint_t                   i;
    ngx_patient_guard_ref_t      ref;
    ngx_patient_guard_named_t   *named;
    ngx_patient_guard_memory_t  *memory;

    ref = ngx_patient_guard_member_queue_open(node, member,
                                              NGX_PATIENT_GUARD_QUEUE_MEMORY);
    memory = ngx_patient_guard_cell(&node->zone, ref);

    for (i = 0; i < lookup->npatients; i++) {
        named = &lookup->patients[i];

        slice = ngx_patient_guard_memory_see(&node->zone, ref, named->current,
                                             lookup->now, lookup->memory);

        if (state != NGX_PATIENT_GUARD_SENT && slice < memory->newest) {
            ngx_patient_guard_seen_add(node, member, named->current,
                                       !named->known, lookup->now,
                                       memory->until);
        }
    }
}


ngx_uint_t
ngx_patient_guard_stale(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_weighed_t *weighed)
{
    ngx_uint_t                   i, n, subjects;
    ngx_patient_guard_ref_t      ref;
    ngx_patient_guard_zone_t    *zone;
    ngx_patient_guard_named_t   *named;
    ngx_patient_guard_memory_t  *memory;

    zone = &node->zone;

    if (lookup->unnamed || lookup->probe) {
        return 0;
    }

    for (i = 0; i < lookup->nlimits; i++) {

        if (weighed[i].queue == 0
            || !ngx_patient_guard_keeps_set(&lookup->limits[i]))
        {
            continue;
        }

        named = ngx_patient_guard_subjects(lookup, &lookup->limits[i],
                                           &subjects);

        for (n = 0; n < subjects; n++) {

            ref = ngx_patient_guard_entry_find(zone, weighed[i].queue,
                                               named[n].current);

            if (ref == 0
                || !ngx_patient_guard_entry_is_in(
                                         ngx_patient_guard_entry(zone, ref),
                                         weighed[i].slice))
            {
                return 1;
            }
        }
    }

    if (lookup->memory == 0) {
        return 0;
    }

    ref = ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_MEMORY);
    memory = ngx_patient_guard_cell(zone, ref);

    for (n = 0; n < lookup->npatients; n++) {
        if (ngx_patient_guard_memory_seen(zone, ref,
                                          lookup->patients[n].current)
            < memory->newest)
        {
            return 1;
        }
    }

    return 0;
}


static uint32_t
ngx_patient_guard_cost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit, uint32_t novel)
{
    uint32_t                    cost;
    ngx_uint_t                  i, n;
    ngx_patient_guard_named_t  *subjects;

    switch (limit->signal) {

    case NGX_PATIENT_GUARD_LOOKUPS:
        return lookup->records;

    case NGX_PATIENT_GUARD_NEW_PATIENTS:
        return novel;

    case NGX_PATIENT_GUARD_MISSES:
        return lookup->misses;

    default:
        break;
    }

    subjects = ngx_patient_guard_subjects(lookup, limit, &n);
    cost = 0;

    for (i = 0; i < n; i++) {
        if (ngx_patient_guard_known(node, queue, &subjects[i]) == 0) {
            cost++;
        }
    }

    return cost;
}


/* whom a limit tells from each other */

ngx_patient_guard_named_t *
ngx_patient_guard_subjects(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit, ngx_uint_t *n)
{
    if (limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN) {
        *n = lookup->npatients;
        return lookup->patients;
    }

    *n = (lookup->records || lookup->npatients);

    return limit->signal == NGX_PATIENT_GUARD_ADDRESSES ? &lookup->address
                                                        : &lookup->who;
}


/* under either key */

static ngx_patient_guard_ref_t
ngx_patient_guard_known(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_named_t *named)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_entry_find(&node->zone, queue, named->current);

    if (ref == 0 && named->previous) {
        ref = ngx_patient_guard_entry_find(&node->zone, queue,
                                           named->previous);
    }

    return ref;
}


static void
ngx_patient_guard_charge_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit, uint64_t slice, uint32_t state)
{
    uint32_t                    now;
    uint64_t                    cap;
    ngx_uint_t                  i, n;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_named_t  *named;

    cap = ngx_patient_guard_set_cap(limit->count);
    named = ngx_patient_guard_subjects(lookup, limit, &n);

    for (i = 0; i < n; i++, named++) {

        ref = ngx_patient_guard_known(node, queue, named);

        if (ref) {
            entry = ngx_patient_guard_entry(&node->zone, ref);

            if (entry->patient != named->current) {
                ngx_patient_guard_entry_rename(&node->zone, ref,
                                               named->current);
            }

            now = ngx_patient_guard_charge_state(entry, state);

            if (!ngx_patient_guard_entry_is_in(entry, slice)) {
                ngx_patient_guard_entry_renew(&node->zone, ref, 0, slice, now);

            } else if (ngx_patient_guard_entry_state(entry) != now) {
                ngx_patient_guard_entry_mark(&node->zone, ref, now);
            }

            continue;
        }

        if (ngx_patient_guard_queue(&node->zone, queue)->total < cap) {
            ngx_patient_guard_entry_push(&node->zone, queue, named->current,
                                         1, slice, state);
        }
    }
}


/* of a patient of the set who is read once more */

static uint32_t
ngx_patient_guard_charge_state(ngx_patient_guard_entry_t *entry,
    uint32_t state)
{
    if (state == NGX_PATIENT_GUARD_UNSENT
        && ngx_patient_guard_entry_state(entry) != NGX_PATIENT_GUARD_UNSENT)
    {
        return NGX_PATIENT_GUARD_AGAIN;
    }

    return state;
}
