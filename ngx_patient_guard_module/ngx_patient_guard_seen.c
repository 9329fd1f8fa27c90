
#include "ngx_patient_guard_seen.h"
#include "ngx_patient_guard_window.h"


static ngx_patient_guard_ref_t ngx_patient_guard_seen_first(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member);
static void ngx_patient_guard_seen_drop(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_ref_t entry);
static uint64_t ngx_patient_guard_seen_when(ngx_patient_guard_entry_t *entry,
    uint64_t now);


void
ngx_patient_guard_seen_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_patient_t patient,
    ngx_uint_t novel, uint64_t now, uint32_t until)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *queue;

    ref = ngx_patient_guard_member_queue_open(node, member,
                                              NGX_PATIENT_GUARD_QUEUE_SEEN);

    if (ngx_patient_guard_entry_find(&node->zone, ref, patient)) {

        /* he waits already: when he was seen first is what counts */

        return;
    }

    queue = ngx_patient_guard_queue(&node->zone, ref);

    if (queue->newest >= NGX_PATIENT_GUARD_SEEN) {
        ngx_patient_guard_seen_drop(node, ref, queue->first);
    }

    ngx_patient_guard_entry_push(&node->zone, ref, patient, novel ? 1 : 0,
                                 now / 1000, NGX_PATIENT_GUARD_UNSENT);

    ngx_patient_guard_queue_mark(&node->zone, ref, queue->newest + 1,
                                 queue->total, ngx_max(queue->until, until));
}


u_char *
ngx_patient_guard_seen_take(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    u_char *p, u_char *last)
{
    uint32_t                    state;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;

    parcel->seen = p;
    parcel->nseen = 0;
    parcel->novel = 0;

    for (ref = ngx_patient_guard_seen_first(node, member);
         ref;
         ref = entry->next)
    {
        entry = ngx_patient_guard_entry(&node->zone, ref);
        state = NGX_PATIENT_GUARD_UNSENT;

        if (last - p >= NGX_PATIENT_GUARD_SEEN_SIZE) {
            state = NGX_PATIENT_GUARD_SENDING;

            p = ngx_patient_guard_seen_write(p, entry->patient,
                             (uint32_t) (ngx_patient_guard_seen_when(entry,
                                                     parcel->now) / 1000),
                             entry->count);
            parcel->nseen++;
            parcel->novel += entry->count;
        }

        if (ngx_patient_guard_entry_state(entry) != state) {
            ngx_patient_guard_entry_mark(&node->zone, ref, state);
        }
    }

    return p;
}


ngx_uint_t
ngx_patient_guard_seen_told(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    ngx_patient_guard_ref_t     ref, next;
    ngx_patient_guard_entry_t  *entry;

    for (ref = ngx_patient_guard_seen_first(node, member); ref; ref = next) {

        entry = ngx_patient_guard_entry(&node->zone, ref);
        next = entry->next;

        if (ngx_patient_guard_entry_state(entry) == NGX_PATIENT_GUARD_SENDING)
        {
            ngx_patient_guard_seen_drop(node, entry->queue, ref);
        }
    }

    return ngx_patient_guard_seen_first(node, member) != 0;
}


void
ngx_patient_guard_seen_less(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_image_t *known,
    uint64_t now, uint64_t window)
{
    uint64_t                    slice;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;

    for (ref = ngx_patient_guard_seen_first(node, member);
         ref;
         ref = entry->next)
    {
        entry = ngx_patient_guard_entry(&node->zone, ref);

        slice = ngx_patient_guard_slice(ngx_patient_guard_seen_when(entry,
                                                                    now),
                                        window);

        if (entry->count && ngx_patient_guard_image_count(known, slice)) {
            ngx_patient_guard_image_count(known, slice)--;
            known->total--;
        }
    }
}


static ngx_patient_guard_ref_t
ngx_patient_guard_seen_first(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_SEEN);

    return ref ? ngx_patient_guard_queue(&node->zone, ref)->first : 0;
}


static void
ngx_patient_guard_seen_drop(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t entry)
{
    ngx_patient_guard_queue_t  *queue;

    ngx_patient_guard_entry_drop(&node->zone, entry);

    queue = ngx_patient_guard_queue(&node->zone, ref);

    ngx_patient_guard_queue_mark(&node->zone, ref,
                                 queue->newest - ngx_min(queue->newest, 1),
                                 queue->total, queue->until);
}


/* ms since the epoch, to the second */

static uint64_t
ngx_patient_guard_seen_when(ngx_patient_guard_entry_t *entry, uint64_t now)
{
    now /= 1000;

    return 1000 * (now - (((uint32_t) now - entry->slice)
                          & NGX_PATIENT_GUARD_ENTRY_SLICE));
}
