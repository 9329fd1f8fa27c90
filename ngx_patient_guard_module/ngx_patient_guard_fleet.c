
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_challenge.h"


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
                               &fleet->letter);
    }

    more = ngx_patient_guard_letter_more(&node->zone, fleet->letter);

    ngx_patient_guard_save(&node->zone, more);

    more->previous = *previous;
    more->key = (uint8_t) key;
    more->sets |= (uint8_t) sets;

    ngx_patient_guard_commit(&node->zone);
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
