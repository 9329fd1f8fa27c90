
#include "ngx_patient_guard_parcel.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_seen.h"


/* a call of a worker in one word: its number lies below */
#define NGX_PATIENT_GUARD_WORKER     53

/*
 * When it was, in place of its slice: 4 s each, below how many new patients.
 * Rounded up: nothing leaves its window too early.
 */
#define NGX_PATIENT_GUARD_WHEN_STEP  4000
#define NGX_PATIENT_GUARD_WHEN       0xfffff
#define NGX_PATIENT_GUARD_WHEN_BITS  20


static u_char *ngx_patient_guard_parcel_window(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    ngx_uint_t bare, ngx_uint_t frozen, u_char *p, u_char *last);
static void ngx_patient_guard_parcel_doubts(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel);
static ngx_uint_t ngx_patient_guard_parcel_claimed(
    ngx_patient_guard_node_t *node, ngx_patient_guard_fleet_t *fleet,
    ngx_patient_guard_parcel_t *parcel);


ngx_int_t
ngx_patient_guard_parcel_doubt(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, uint64_t number, ngx_uint_t worker,
    uint64_t when, uint32_t count, uint32_t novel, uint32_t until)
{
    ngx_uint_t                  n;
    ngx_patient_guard_ref_t     ref, entry;
    ngx_patient_guard_queue_t  *queue;

    ref = ngx_patient_guard_doubted_add(node, member);

    queue = ngx_patient_guard_queue(&node->zone, ref);
    n = 0;

    for (entry = queue->first;
         entry;
         entry = ngx_patient_guard_entry(&node->zone, entry)->next)
    {
        n++;
    }

    if (n == NGX_PATIENT_GUARD_DOUBTS) {
        return NGX_DECLINED;
    }

    when = (when + NGX_PATIENT_GUARD_WHEN_STEP - 1)
           / NGX_PATIENT_GUARD_WHEN_STEP;

    ngx_patient_guard_entry_push(&node->zone, ref,
                     number | (uint64_t) worker << NGX_PATIENT_GUARD_WORKER,
                     count,
                     (when & NGX_PATIENT_GUARD_WHEN)
                     | (uint64_t) novel << NGX_PATIENT_GUARD_WHEN_BITS,
                     NGX_PATIENT_GUARD_UNSENT);

    ngx_patient_guard_queue_mark(&node->zone, ref, queue->newest,
                                 queue->total, ngx_max(queue->until, until));

    return NGX_OK;
}


void
ngx_patient_guard_parcel_lookup(ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_lookup_t *lookup)
{
    ngx_memzero(lookup, sizeof(ngx_patient_guard_lookup_t));

    lookup->limits = parcel->limits;
    lookup->nlimits = parcel->nlimits;
    lookup->now = parcel->now;
    lookup->session = parcel->session;
}


void
ngx_patient_guard_parcel_take(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    u_char *sets, size_t size)
{
    u_char                           *p, *last;
    ngx_uint_t                        i, bare, frozen;
    ngx_patient_guard_ref_t           ref;
    ngx_patient_guard_fleet_t        *fleet;
    ngx_patient_guard_letter_t       *letter;
    ngx_patient_guard_limit_t        *limit;
    ngx_patient_guard_lookup_t        lookup;
    ngx_patient_guard_letter_more_t  *more;

    fleet = ngx_patient_guard_fleet_find(node, member);
    letter = ngx_patient_guard_letter(&node->zone, fleet->letter);
    more = ngx_patient_guard_letter_more(&node->zone, fleet->letter);

    if (more->waits) {
        ngx_patient_guard_letter_urge(&node->zone, &node->outbox,
                                      fleet->letter);
    }

    parcel->account = letter->account;
    parcel->previous = more->previous;
    parcel->key = more->key;
    parcel->sets = more->sets;
    parcel->cleared = ngx_patient_guard_cleared(node, member);
    parcel->number = 0;
    parcel->challenger = ngx_patient_guard_challenger(node, member,
                                               parcel->limits, parcel->nlimits,
                                               &parcel->since);
    parcel->due = 0;

    if (parcel->since == 0 && parcel->key == 0) {
        ngx_patient_guard_parcel_lookup(parcel, &lookup);

        parcel->since = ngx_patient_guard_due_since(node, member, &lookup,
                                                    &parcel->challenger);
        parcel->due = (parcel->since != 0);
    }

    p = sets;
    last = sets + size;
    frozen = (more->number != 0);

    for (i = 0; i < parcel->nlimits; i++) {

        limit = &parcel->limits[i];
        bare = !ngx_patient_guard_keeps_set(limit);

        ngx_memzero(&parcel->images[i], sizeof(ngx_patient_guard_image_t));

        if (limit->key != parcel->key
            || ngx_patient_guard_follows(limit)
            || ngx_patient_guard_member_queue(node, member, limit->id) == 0)
        {
            continue;
        }

        ref = ngx_patient_guard_queue_now(node, member, limit->id,
                                          parcel->now, limit->window);

        p = ngx_patient_guard_parcel_window(node, ref, &parcel->images[i],
                                            bare, frozen, p, last);

        if (bare && parcel->images[i].total) {
            parcel->number = 1;
        }
    }

    p = ngx_patient_guard_seen_take(node, member, parcel, p, last);

    ngx_patient_guard_parcel_doubts(node, member, parcel);

    /* what has been frozen is gone from its windows: another number then */

    if (parcel->number == 0) {
        more->number = 0;

    } else if (!frozen) {
        more->number = ++node->number;
    }

    parcel->number = more->number;
    more->again = (uint8_t) frozen;
    more->sets = 0;

    parcel->claim = ++node->claims;

    more->taken = parcel->claim;
    letter->claimed = (uint32_t) parcel->now | 1;
}


/* marks what it puts into the image; returns the end of the set */

static u_char *
ngx_patient_guard_parcel_window(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_image_t *image,
    ngx_uint_t bare, ngx_uint_t frozen, u_char *p, u_char *last)
{
    uint32_t                    state;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);

    image->set = p;

    for (ref = queue->first; ref; ref = entry->next) {

        entry = ngx_patient_guard_entry(&node->zone, ref);
        state = ngx_patient_guard_entry_state(entry);

        if (state == NGX_PATIENT_GUARD_SENT
            || (bare && frozen && state == NGX_PATIENT_GUARD_UNSENT))
        {
            continue;
        }

        if (!bare) {
            if ((size_t) (last - p) < sizeof(ngx_patient_guard_patient_t)) {
                break;
            }

            p = ngx_cpymem(p, &entry->patient,
                           sizeof(ngx_patient_guard_patient_t));
            image->nset++;
        }

        if (state != NGX_PATIENT_GUARD_SENDING) {
            ngx_patient_guard_entry_mark(&node->zone, ref,
                                         NGX_PATIENT_GUARD_SENDING);
        }

        ngx_patient_guard_image_count(image,
                            ngx_patient_guard_entry_slice(queue, entry))
                                                              += entry->count;
        image->total += entry->count;
    }

    if (image->total) {
        image->newest = queue->newest;
    }

    return p;
}


static void
ngx_patient_guard_parcel_doubts(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel)
{
    uint64_t                    now;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_doubt_t  *doubt;
    ngx_patient_guard_entry_t  *entry;

    parcel->ndoubts = 0;
    ref = ngx_patient_guard_doubted(node, member);

    if (ref == 0) {
        return;
    }

    now = parcel->now / NGX_PATIENT_GUARD_WHEN_STEP + 1;

    for (ref = ngx_patient_guard_queue(&node->zone, ref)->first;
         ref && parcel->ndoubts < NGX_PATIENT_GUARD_DOUBTS;
         ref = entry->next)
    {
        entry = ngx_patient_guard_entry(&node->zone, ref);
        doubt = &parcel->doubts[parcel->ndoubts++];

        ngx_patient_guard_session(node,
                           entry->patient >> NGX_PATIENT_GUARD_WORKER,
                           doubt->session);

        doubt->number = entry->patient
                        & (((uint64_t) 1 << NGX_PATIENT_GUARD_WORKER) - 1);
        doubt->when = NGX_PATIENT_GUARD_WHEN_STEP
                      * (now - (((uint32_t) now - entry->slice)
                                & NGX_PATIENT_GUARD_WHEN));
        doubt->count = entry->count;
        doubt->novel = (entry->slice & NGX_PATIENT_GUARD_ENTRY_SLICE)
                       >> NGX_PATIENT_GUARD_WHEN_BITS;

        ngx_patient_guard_entry_mark(&node->zone, ref,
                                     NGX_PATIENT_GUARD_SENDING);
    }
}


void
ngx_patient_guard_parcel_sent(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news)
{
    uint32_t                          state;
    ngx_uint_t                        i, unsent;
    ngx_patient_guard_ref_t           next, queue;
    ngx_patient_guard_fleet_t        *fleet;
    ngx_patient_guard_letter_more_t  *more;

    fleet = ngx_patient_guard_fleet_find(node, member);

    if (!ngx_patient_guard_parcel_claimed(node, fleet, parcel)) {
        return;
    }

    more = ngx_patient_guard_letter_more(&node->zone, fleet->letter);

    /* this clock is behind one that told under this name before */

    state = NGX_PATIENT_GUARD_SENT;

    if (news->superseded && !more->again) {
        state = NGX_PATIENT_GUARD_UNSENT;
    }

    unsent = 0;

    for (i = 0; i < parcel->nlimits; i++) {

        queue = ngx_patient_guard_member_queue(node, member,
                                               parcel->limits[i].id);

        if (queue && !ngx_patient_guard_follows(&parcel->limits[i])) {
            unsent |= ngx_patient_guard_parcel_settle(node, queue,
                        ngx_patient_guard_keeps_set(&parcel->limits[i])
                        ? NGX_PATIENT_GUARD_SENT : state);
        }
    }

    unsent |= ngx_patient_guard_seen_told(node, member);

    queue = ngx_patient_guard_doubted(node, member);
    next = queue ? ngx_patient_guard_queue(&node->zone, queue)->first : 0;

    while (next) {
        queue = next;
        next = ngx_patient_guard_entry(&node->zone, queue)->next;

        if (ngx_patient_guard_entry_state(
                              ngx_patient_guard_entry(&node->zone, queue))
            == NGX_PATIENT_GUARD_SENDING)
        {
            ngx_patient_guard_entry_drop(&node->zone, queue);
        } else {
            unsent = 1;
        }
    }

    more->number = 0;

    if (unsent || more->sets) {
        ngx_patient_guard_letter_back(&node->zone, &node->outbox,
                                      fleet->letter);
        return;
    }

    ngx_patient_guard_letter_drop(&node->zone, &node->outbox, &fleet->letter);
}


void
ngx_patient_guard_parcel_lost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel)
{
    ngx_patient_guard_fleet_t  *fleet;

    fleet = ngx_patient_guard_fleet_find(node, member);

    if (!ngx_patient_guard_parcel_claimed(node, fleet, parcel)) {
        return;
    }

    if (parcel->sets) {
        ngx_patient_guard_letter_more(&node->zone, fleet->letter)->sets = 1;
    }

    ngx_patient_guard_letter_back(&node->zone, &node->outbox, fleet->letter);
}


/* is the letter still there, and taken by nobody since? */

static ngx_uint_t
ngx_patient_guard_parcel_claimed(ngx_patient_guard_node_t *node,
    ngx_patient_guard_fleet_t *fleet, ngx_patient_guard_parcel_t *parcel)
{
    return fleet
           && fleet->letter
           && ngx_patient_guard_letter_more(&node->zone,
                                            fleet->letter)->taken
              == parcel->claim;
}


ngx_uint_t
ngx_patient_guard_parcel_settle(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t state)
{
    ngx_uint_t                  unsent;
    ngx_patient_guard_ref_t     next;
    ngx_patient_guard_zone_t   *zone;
    ngx_patient_guard_entry_t  *entry, *prev;

    zone = &node->zone;
    unsent = 0;

    for (ref = ngx_patient_guard_queue(zone, ref)->first; ref; ref = next) {

        entry = ngx_patient_guard_entry(zone, ref);
        next = entry->next;

        if (ngx_patient_guard_entry_state(entry) == NGX_PATIENT_GUARD_SENDING)
        {
            ngx_patient_guard_entry_mark(zone, ref, state);
        }

        if (ngx_patient_guard_entry_state(entry) != NGX_PATIENT_GUARD_SENT) {
            unsent = 1;
        }

        if (entry->patient || entry->prev == 0) {
            continue;
        }

        prev = ngx_patient_guard_entry(zone, entry->prev);

        if (prev->patient == 0 && prev->slice == entry->slice) {
            ngx_patient_guard_entry_join(zone, ref);
        }
    }

    return unsent;
}


void
ngx_patient_guard_session(ngx_patient_guard_node_t *node, ngx_uint_t worker,
    u_char session[8])
{
    uint64_t  id;

    id = node->id ^ worker;

    ngx_memcpy(session, &id, 8);
}
