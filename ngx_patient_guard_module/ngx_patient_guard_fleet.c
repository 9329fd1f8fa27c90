
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_challenge.h"


/* that may each keep as much to itself: see below */
#define NGX_PATIENT_GUARD_OUTBOX_NODES  16


static ngx_uint_t ngx_patient_guard_outbox_little(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_uint_t n);


ngx_patient_guard_fleet_t *
ngx_patient_guard_fleet_find(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_FLEET);
    return ref ? ngx_patient_guard_cell(&node->zone, ref) : NULL;
}


ngx_patient_guard_fleet_t *
ngx_patient_guard_fleet(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, uint32_t until)
{
    ngx_patient_guard_fleet_t  *fleet;

    fleet = ngx_patient_guard_cell(&node->zone,
                ngx_patient_guard_member_queue_open(node, member,
                                             NGX_PATIENT_GUARD_QUEUE_FLEET));

    /* one word: whole whenever a worker is killed */

    fleet->until = ngx_max(fleet->until, until);

    return fleet;
}


ngx_patient_guard_ref_t
ngx_patient_guard_doubted(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    return ngx_patient_guard_member_queue(node, member,
                                          NGX_PATIENT_GUARD_QUEUE_DOUBTS);
}


ngx_uint_t
ngx_patient_guard_in_doubt(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_doubted(node, member);

    return ref && ngx_patient_guard_queue(&node->zone, ref)->first;
}


ngx_patient_guard_ref_t
ngx_patient_guard_doubted_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    return ngx_patient_guard_member_queue_open(node, member,
                                              NGX_PATIENT_GUARD_QUEUE_DOUBTS);
}


uint64_t
ngx_patient_guard_cleared(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_doubted(node, member);

    return ref ? ngx_patient_guard_queue(&node->zone, ref)->newest : 0;
}


void
ngx_patient_guard_cleared_since(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    uint64_t cleared)
{
    uint32_t                    until;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *queue;

    /* nor is what was before any window: this node may have forgotten it */

    if (cleared <= ngx_patient_guard_cleared(node, member)
        || cleared + NGX_PATIENT_GUARD_WINDOW_MAX <= lookup->now)
    {
        return;
    }

    ngx_patient_guard_clear(node, member, lookup);

    ref = ngx_patient_guard_doubted_add(node, member);

    /* kept for as long as any window may last, and a clock may be set back */

    until = (uint32_t) ((lookup->now + 2 * NGX_PATIENT_GUARD_WINDOW_MAX)
                        / 1000);
    queue = ngx_patient_guard_queue(&node->zone, ref);

    ngx_patient_guard_queue_mark(&node->zone, ref, cleared, queue->total,
                                 ngx_max(queue->until, until));
}


void
ngx_patient_guard_outbox_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_account_t *previous,
    ngx_uint_t key, ngx_uint_t sets, uint32_t until)
{
    ngx_patient_guard_fleet_t        *fleet;
    ngx_patient_guard_letter_more_t  *more;

    fleet = ngx_patient_guard_fleet(node, member, until);

    if (fleet->letter == 0) {
        ngx_patient_guard_letter_add(&node->zone, &node->outbox,
                               &ngx_patient_guard_member(node, member)->alias,
                               &fleet->letter, 0, 0);
    }

    more = ngx_patient_guard_letter_more(&node->zone, fleet->letter);

    if (more->waits) {
        ngx_patient_guard_letter_urge(&node->zone, &node->outbox,
                                      fleet->letter);
    }

    ngx_patient_guard_save(&node->zone, more);

    more->previous = *previous;
    more->key = (uint8_t) key;
    more->sets |= (uint8_t) sets;

    ngx_patient_guard_commit(&node->zone);
}


void
ngx_patient_guard_outbox_post_later(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t                        waits;
    ngx_patient_guard_fleet_t        *fleet;
    ngx_patient_guard_letter_more_t  *more;

    fleet = ngx_patient_guard_fleet(node, members[0],
                                    ngx_patient_guard_lookup_until(lookup));

    more = fleet->letter
           ? ngx_patient_guard_letter_more(&node->zone, fleet->letter) : NULL;

    waits = ngx_max(ngx_max(lookup->records, lookup->npatients), 1)
            + (more ? more->waits : 0);

    if ((more && more->waits == 0)
        || !ngx_patient_guard_outbox_little(lookup, tally, waits))
    {
        ngx_patient_guard_outbox_post(node, members, lookup, 0, 0);
        return;
    }

    if (more == NULL) {
        ngx_patient_guard_letter_add(&node->zone, &node->outbox,
                           &ngx_patient_guard_member(node, members[0])->alias,
                           &fleet->letter, waits, lookup->now);

        more = ngx_patient_guard_letter_more(&node->zone, fleet->letter);
    }

    ngx_patient_guard_save(&node->zone, more);

    more->previous = lookup->previous;
    more->waits = (uint8_t) waits;

    ngx_patient_guard_commit(&node->zone);
}


/*
 * Is it so little beside the room that is left that 16 nodes may keep as much
 * to themselves, and no limit would be passed?
 */

static ngx_uint_t
ngx_patient_guard_outbox_little(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_patient_guard_room_t  *room;

    if (n > NGX_PATIENT_GUARD_LETTER_MOST) {
        return 0;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        room = &tally->rooms[i];

        if (lookup->limits[i].key == 0
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG
            && (room->wait
                || room->total + NGX_PATIENT_GUARD_OUTBOX_NODES * (uint64_t) n
                   > room->count))
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_patient_guard_outbox_post(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t key, ngx_uint_t sets)
{
    ngx_patient_guard_outbox_add(node, members[key],
                                 key ? &lookup->others[key - 1].previous
                                     : &lookup->previous,
                                 key, sets,
                                 ngx_patient_guard_lookup_until(lookup));
}


void
ngx_patient_guard_outbox_post_others(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup)
{
    ngx_uint_t  key;

    for (key = 1; key < NGX_PATIENT_GUARD_KEYS; key++) {
        if (members[key]) {
            ngx_patient_guard_outbox_post(node, members, lookup, key, 0);
        }
    }
}


uint32_t
ngx_patient_guard_lookup_until(ngx_patient_guard_lookup_t *lookup)
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


void
ngx_patient_guard_outbox_rename(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_account_t *alias)
{
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_letter_t  *letter;

    fleet = ngx_patient_guard_fleet_find(node, member);

    if (fleet && fleet->letter) {
        letter = ngx_patient_guard_letter(&node->zone, fleet->letter);

        ngx_patient_guard_save(&node->zone, letter);

        letter->account = *alias;
    }
}
