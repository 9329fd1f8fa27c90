
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_window.h"


#define NGX_PATIENT_GUARD_FOREVER       0xffffffff     /* until it is passed */


static uint64_t ngx_patient_guard_grants_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);
static void ngx_patient_guard_queue_fold(ngx_patient_guard_node_t *node,
    ngx_patient_guard_queue_t *queue, uint64_t slice);
static void ngx_patient_guard_queue_expire(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t slice);
static uint64_t ngx_patient_guard_queue_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t room, uint32_t count, uint64_t now,
    uint64_t window);
static uint32_t ngx_patient_guard_cost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit);
static ngx_patient_guard_ref_t ngx_patient_guard_known(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t queue,
    ngx_patient_guard_named_t *named);
static void ngx_patient_guard_charge_count(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t count, uint64_t slice,
    uint32_t state);
static void ngx_patient_guard_charge_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    uint64_t cap, uint64_t slice, uint32_t state);


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
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed)
{
    ngx_int_t                   refuse;
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_limit_t  *limit;

    tally->grants_wait = ngx_patient_guard_grants_wait(node, member, lookup);

    tally->challenger = ngx_patient_guard_challenger(node, member,
                                               lookup->limits, lookup->nlimits,
                                               &tally->since);
    tally->challenged = (tally->since != 0);

    refuse = tally->challenged;

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];

        ref = ngx_patient_guard_queue_now(node, member, limit->id,
                                          lookup->now, limit->window);

        weighed[i].queue = ref;
        weighed[i].slice = ngx_patient_guard_queue(&node->zone, ref)->newest;
        weighed[i].cost = ngx_patient_guard_cost(node, ref, lookup, limit);

        tally->rooms[i].total = ngx_patient_guard_queue(&node->zone,
                                                        ref)->total;
        if (weighed[i].cost == 0) {
            continue;
        }

        tally->rooms[i].wait = ngx_patient_guard_queue_wait(node, ref,
                                          weighed[i].cost, limit->count,
                                          lookup->now, limit->window);

        if (tally->rooms[i].wait == 0
            || limit->action == NGX_PATIENT_GUARD_LOG)
        {
            continue;
        }

        refuse = 1;

        if (limit->action == NGX_PATIENT_GUARD_CHALLENGE
            && !tally->challenged
            && tally->grants_wait == 0
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

            ngx_patient_guard_challenge(node, member, lookup, i,
                                        tally->since);

            tally->challenged = 1;
            tally->challenger = i;
        }
    }

    return refuse;
}


void
ngx_patient_guard_charge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_weighed_t *weighed, uint32_t set_state,
    uint32_t count_state)
{
    ngx_uint_t                  i;
    ngx_patient_guard_limit_t  *limit;

    tally->charged = 1;

    if (lookup->probe) {
        return;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];

        if (limit->signal == NGX_PATIENT_GUARD_LOOKUPS) {
            ngx_patient_guard_charge_count(node, weighed[i].queue,
                                           lookup->records,
                                           weighed[i].slice, count_state);

        } else if (!lookup->unnamed) {
            ngx_patient_guard_charge_set(node, weighed[i].queue, lookup,
                                         ngx_patient_guard_set_cap(
                                                              limit->count),
                                         weighed[i].slice, set_state);
        }

        tally->rooms[i].total = ngx_patient_guard_queue(&node->zone,
                                                  weighed[i].queue)->total;
    }
}


/* ms until a pass is left */

static uint64_t
ngx_patient_guard_grants_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t  ref;

    if (ngx_patient_guard_member_queue(node, member,
                                       NGX_PATIENT_GUARD_QUEUE_GRANTS)
        == 0)
    {
        return 0;
    }

    ref = ngx_patient_guard_queue_now(node, member,
                                      NGX_PATIENT_GUARD_QUEUE_GRANTS,
                                      lookup->now, lookup->grants->window);

    return ngx_patient_guard_queue_wait(node, ref, 1, lookup->grants->count,
                                        lookup->now, lookup->grants->window);
}


void
ngx_patient_guard_pass_by_proof(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref
        && lookup->proof > ngx_patient_guard_queue(&node->zone, ref)->newest
        && ngx_patient_guard_grants_wait(node, member, lookup) == 0)
    {
        ngx_patient_guard_clear(node, member, lookup);
        ngx_patient_guard_grant(node, member, lookup);
        tally->passed = 1;
    }
}


void
ngx_patient_guard_clear(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_uint_t               i;
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref) {
        ngx_patient_guard_queue_drop(&node->zone,
                             &ngx_patient_guard_member(node, member)->queues,
                             ref);
    }

    for (i = 0; i < lookup->nlimits; i++) {

        if (lookup->limits[i].action != NGX_PATIENT_GUARD_CHALLENGE) {
            continue;
        }

        ref = ngx_patient_guard_member_queue(node, member,
                                             lookup->limits[i].id);
        if (ref) {
            ngx_patient_guard_queue_empty(&node->zone, ref);
        }
    }
}


void
ngx_patient_guard_grant(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_queue_now(node, member,
                                      NGX_PATIENT_GUARD_QUEUE_GRANTS,
                                      lookup->now, lookup->grants->window);

    ngx_patient_guard_charge_count(node, ref, 1,
                       ngx_patient_guard_queue(&node->zone, ref)->newest,
                       NGX_PATIENT_GUARD_SENT);
}


void
ngx_patient_guard_challenge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t limit, uint64_t since)
{
    ngx_patient_guard_ref_t  ref;

    if (ngx_patient_guard_challenge_find(node, member)) {
        return;
    }

    ref = ngx_patient_guard_member_queue_open(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_CHALLENGE);

    ngx_patient_guard_queue_mark(&node->zone, ref, since,
                                 lookup->limits[limit].id,
                                 NGX_PATIENT_GUARD_FOREVER);
}


void
ngx_patient_guard_challenge_date(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *challenge;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref == 0) {
        return;
    }

    challenge = ngx_patient_guard_queue(&node->zone, ref);

    if (challenge->newest > lookup->now + NGX_PATIENT_GUARD_SKEW) {
        ngx_patient_guard_queue_mark(&node->zone, ref,
                                     ngx_max(lookup->now, lookup->proof),
                                     challenge->total,
                                     NGX_PATIENT_GUARD_FOREVER);
    }
}


ngx_patient_guard_ref_t
ngx_patient_guard_challenge_find(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    return ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_CHALLENGE);
}


ngx_uint_t
ngx_patient_guard_challenger(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_limit_t *limits,
    ngx_uint_t nlimits, uint64_t *since)
{
    uint32_t                 id;
    ngx_uint_t               i;
    ngx_patient_guard_ref_t  ref;

    *since = 0;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref == 0) {
        return nlimits;
    }

    *since = ngx_patient_guard_queue(&node->zone, ref)->newest;

    id = ngx_patient_guard_queue(&node->zone, ref)->total;

    for (i = 0; i < nlimits; i++) {
        if (limits[i].id == id) {
            break;
        }
    }

    return i;
}


ngx_patient_guard_ref_t
ngx_patient_guard_queue_now(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, uint32_t id, uint64_t now,
    uint64_t window)
{
    uint64_t                    slice;
    ngx_uint_t                  fold;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *queue;

    slice = ngx_patient_guard_slice(now, window);
    ref = ngx_patient_guard_member_queue_open(node, member, id);
    queue = ngx_patient_guard_queue(&node->zone, ref);

    if (queue->newest == slice) {
        return ref;
    }

    if (queue->first) {
        slice = ngx_patient_guard_slice_advance(queue->newest, slice, &fold);

        if (fold) {
            ngx_patient_guard_queue_fold(node, queue, slice);

        } else {
            ngx_patient_guard_queue_expire(node, ref, slice);
        }
    }

    ngx_patient_guard_queue_mark(&node->zone, ref, slice, queue->total,
                                ngx_patient_guard_slice_until(slice, window));

    return ref;
}


/* from the first on: they are in order whenever it is interrupted */

static void
ngx_patient_guard_queue_fold(ngx_patient_guard_node_t *node,
    ngx_patient_guard_queue_t *queue, uint64_t slice)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;

    for (ref = queue->first; ref; ref = entry->next) {

        entry = ngx_patient_guard_entry(&node->zone, ref);

        if (ngx_patient_guard_entry_slice(queue, entry) > slice) {
            ngx_patient_guard_entry_reslice(&node->zone, ref, slice);
        }
    }
}


static void
ngx_patient_guard_queue_expire(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t slice)
{
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);

    while (queue->first) {
        entry = ngx_patient_guard_entry(&node->zone, queue->first);

        if (ngx_patient_guard_slice_held(
                        ngx_patient_guard_entry_slice(queue, entry), slice))
        {
            return;
        }

        ngx_patient_guard_entry_drop(&node->zone, queue->first);
    }
}


/* all that is held lies within a window of "newest": 30 bits suffice */

uint64_t
ngx_patient_guard_entry_slice(ngx_patient_guard_queue_t *queue,
    ngx_patient_guard_entry_t *entry)
{
    return queue->newest - (((uint32_t) queue->newest - entry->slice)
                            & NGX_PATIENT_GUARD_ENTRY_SLICE);
}


/* ms until "room" more fit under the count */

static uint64_t
ngx_patient_guard_queue_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t room, uint32_t count, uint64_t now,
    uint64_t window)
{
    uint64_t                    excess;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);

    if ((uint64_t) queue->total + room <= count) {
        return 0;
    }

    if (room > count) {
        return window;
    }

    excess = (uint64_t) queue->total + room - count;
    entry = ngx_patient_guard_entry(&node->zone, queue->first);

    while (entry->count < excess) {
        excess -= entry->count;
        entry = ngx_patient_guard_entry(&node->zone, entry->next);
    }

    return ngx_patient_guard_slice_wait(
                                ngx_patient_guard_entry_slice(queue, entry),
                                now, window);
}


static uint32_t
ngx_patient_guard_cost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_limit_t *limit)
{
    uint32_t    cost;
    ngx_uint_t  i;

    if (limit->signal == NGX_PATIENT_GUARD_LOOKUPS) {
        return lookup->records;
    }

    cost = 0;

    for (i = 0; i < lookup->npatients; i++) {
        if (ngx_patient_guard_known(node, queue, &lookup->patients[i]) == 0) {
            cost++;
        }
    }

    return cost;
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
ngx_patient_guard_charge_count(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t count, uint64_t slice,
    uint32_t state)
{
    uint64_t                    left;
    ngx_patient_guard_entry_t  *last;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);
    left = NGX_PATIENT_GUARD_COUNT_MAX - queue->total;

    if (count > left) {
        count = (uint32_t) left;
    }

    if (count == 0) {
        return;
    }

    last = ngx_patient_guard_entry(&node->zone, queue->last);

    if (queue->last && ngx_patient_guard_entry_is_in(last, slice)
        && ngx_patient_guard_entry_state(last) == state)
    {
        ngx_patient_guard_entry_more(&node->zone, queue->last, count);

    } else {
        ngx_patient_guard_entry_push(&node->zone, ref, 0, count, slice,
                                     state);
    }
}


static void
ngx_patient_guard_charge_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_lookup_t *lookup,
    uint64_t cap, uint64_t slice, uint32_t state)
{
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_named_t  *named;

    for (i = 0; i < lookup->npatients; i++) {
        named = &lookup->patients[i];

        ref = ngx_patient_guard_known(node, queue, named);

        if (ref) {
            entry = ngx_patient_guard_entry(&node->zone, ref);

            if (entry->patient != named->current) {
                ngx_patient_guard_entry_rename(&node->zone, ref,
                                               named->current);
            }

            if (!ngx_patient_guard_entry_is_in(entry, slice)) {
                ngx_patient_guard_entry_renew(&node->zone, ref, 0, slice,
                                              state);

            } else if (ngx_patient_guard_entry_state(entry) != state) {
                ngx_patient_guard_entry_mark(&node->zone, ref, state);
            }

            continue;
        }

        if (ngx_patient_guard_queue(&node->zone, queue)->total < cap) {
            ngx_patient_guard_entry_push(&node->zone, queue, named->current,
                                         1, slice, state);
        }
    }
}
