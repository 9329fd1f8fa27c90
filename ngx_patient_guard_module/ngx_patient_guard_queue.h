
/*
 * Queues as sliding windows: what an account has counted of one limit, and
 * until when it holds.
 *
 * Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_QUEUE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_QUEUE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_node.h"


/*
 * The queue of a state, made if it is new, moved to the present: without what
 * is past its window.
 */
ngx_patient_guard_ref_t ngx_patient_guard_queue_now(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member,
    uint32_t id, uint64_t now, uint64_t window);

/* the slice that the entry of this queue was counted in */
uint64_t ngx_patient_guard_entry_slice(ngx_patient_guard_queue_t *queue,
    ngx_patient_guard_entry_t *entry);

/* ms until "room" more fit under the count */
uint64_t ngx_patient_guard_queue_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t room, uint32_t count, uint64_t now,
    uint64_t window);

/* so many more, of whom nothing else is known; wants a cell in reserve */
void ngx_patient_guard_queue_count(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t count, uint64_t slice,
    uint32_t state);


#endif /* _NGX_PATIENT_GUARD_QUEUE_H_INCLUDED_ */
