
#include "ngx_patient_guard_queue.h"
#include "ngx_patient_guard_window.h"


static void ngx_patient_guard_queue_fold(ngx_patient_guard_node_t *node,
    ngx_patient_guard_queue_t *queue, uint64_t slice);
static void ngx_patient_guard_queue_expire(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t slice);


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


uint64_t
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


void
ngx_patient_guard_queue_count(ngx_patient_guard_node_t *node,
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
