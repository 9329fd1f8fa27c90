
/*
 * A walk through all that a node keeps in shared memory: whatever was killed,
 * the structure is whole.  Also for scripts/endure, which walks through that
 * of a running nginx.
 */


#ifndef _WALK_H_INCLUDED_
#define _WALK_H_INCLUDED_


#include "ngx_patient_guard_node.h"


enum { NOWHERE = 0, FREE, MEMBER, QUEUE, ENTRY, LETTER, KNOWN };


/* a walk through all of a node, and the first thing that is wrong */

typedef struct {
    ngx_patient_guard_node_t  *node;
    u_char                    *where;          /* each cell is found */
    uint64_t                   found;
    uint64_t                   members;
    uint64_t                   patients;
} walk_t;


static inline int
find_cell(walk_t *walk, ngx_patient_guard_ref_t ref, u_char where)
{
    if (ref == 0 || ref >= walk->node->zone.pool.fresh
        || walk->where[ref] != NOWHERE)
    {
        return 0;
    }

    walk->where[ref] = where;
    walk->found++;

    return 1;
}


static inline const char *
walk_free(walk_t *walk)
{
    ngx_patient_guard_ref_t    ref;
    ngx_patient_guard_zone_t  *zone;

    zone = &walk->node->zone;

    if (zone->pool.fresh > zone->ncells) {
        return "cells are used that are not there";
    }

    for (ref = zone->pool.free;
         ref;
         ref = *(ngx_patient_guard_ref_t *) &zone->cells[ref])
    {
        if (!find_cell(walk, ref, FREE)) {
            return "a free cell is in two places";
        }
    }

    if (walk->found + zone->ncells - zone->pool.fresh != zone->pool.nfree) {
        return "free cells are miscounted";
    }

    return NULL;
}


static inline const char *
walk_entries(walk_t *walk, ngx_patient_guard_ref_t ref)
{
    uint32_t                    total, age, before;
    ngx_patient_guard_ref_t     next, prev;
    ngx_patient_guard_zone_t   *zone;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    zone = &walk->node->zone;
    queue = ngx_patient_guard_queue(zone, ref);

    total = 0;
    before = 0xffffffff;
    prev = 0;

    for (next = queue->first; next; next = entry->next) {

        if (!find_cell(walk, next, ENTRY)) {
            return "an entry is in two places";
        }

        entry = ngx_patient_guard_entry(zone, next);
        age = ((uint32_t) queue->newest - entry->slice)
              & NGX_PATIENT_GUARD_ENTRY_SLICE;

        if (entry->prev != prev || entry->queue != ref) {
            return "an entry does not know where it is";
        }

        if (age > before && queue->id != NGX_PATIENT_GUARD_QUEUE_DOUBTS
            && queue->id != NGX_PATIENT_GUARD_QUEUE_SEEN)
        {
            return "entries are out of order";
        }

        if (entry->patient) {
            walk->patients++;

            if (ngx_patient_guard_entry_find(zone, ref, entry->patient)
                != next)
            {
                return "a patient is not found";
            }
        }

        total += entry->count;
        before = age;
        prev = next;
    }

    if (queue->last != prev) {
        return "the last entry is not the last";
    }

    if (queue->total != total
        && queue->id != NGX_PATIENT_GUARD_QUEUE_CHALLENGE
        && queue->id != NGX_PATIENT_GUARD_QUEUE_DUE)
    {
        return "a total is wrong";
    }

    return NULL;
}


/* whom an account knows: eight buckets in each of two cells */

static inline const char *
walk_memory(walk_t *walk, ngx_patient_guard_ref_t ref)
{
    uint32_t                     cells;
    ngx_uint_t                   half, n;
    ngx_patient_guard_ref_t     *heads;
    ngx_patient_guard_zone_t    *zone;
    ngx_patient_guard_memory_t  *memory;

    zone = &walk->node->zone;
    memory = ngx_patient_guard_cell(zone, ref);
    cells = 0;

    if (memory->none) {
        return "a memory has entries";
    }

    if (memory->low == 0 && memory->high == 0 && memory->cells == 0) {
        return NULL;
    }

    for (half = 0; half < 2; half++) {

        ref = half ? memory->high : memory->low;

        if (!find_cell(walk, ref, KNOWN)) {
            return "the buckets of a memory are in two places";
        }

        heads = ngx_patient_guard_cell(zone, ref);

        for (n = 0; n < 8; n++) {
            for (ref = heads[n];
                 ref;
                 ref = *(ngx_patient_guard_ref_t *) &zone->cells[ref])
            {
                if (!find_cell(walk, ref, KNOWN)) {
                    return "a bucket is in two places";
                }

                cells++;
            }
        }
    }

    return cells == memory->cells ? NULL : "a memory is miscounted";
}


static inline const char *
walk_queues(walk_t *walk, ngx_patient_guard_ref_t *queues)
{
    const char                 *wrong;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_zone_t   *zone;
    ngx_patient_guard_habit_t  *habit;

    zone = &walk->node->zone;

    for (ref = *queues; ref; ref = ngx_patient_guard_queue(zone, ref)->next) {

        if (!find_cell(walk, ref, QUEUE)) {
            return "a queue is in two places";
        }

        if (ngx_patient_guard_queue_find(zone, queues,
                             ngx_patient_guard_queue(zone, ref)->id) != ref)
        {
            return "two queues have one id";
        }

        /* what is known beside Redis, in place of entries */

        if (ngx_patient_guard_queue(zone, ref)->id
            == NGX_PATIENT_GUARD_QUEUE_FLEET)
        {
            continue;
        }

        if (ngx_patient_guard_is_habit(ngx_patient_guard_queue(zone, ref)->id))
        {
            habit = ngx_patient_guard_cell(zone, ref);

            if (habit->weeks && !find_cell(walk, habit->weeks, KNOWN)) {
                return "a habit is in two places";
            }

            continue;
        }

        wrong = (ngx_patient_guard_queue(zone, ref)->id
                 == NGX_PATIENT_GUARD_QUEUE_MEMORY)
                ? walk_memory(walk, ref) : walk_entries(walk, ref);
        if (wrong) {
            return wrong;
        }
    }

    return NULL;
}


static inline const char *
walk_letters(walk_t *walk, ngx_patient_guard_ref_t first,
    ngx_patient_guard_ref_t last, int waits)
{
    ngx_patient_guard_ref_t      ref, older;
    ngx_patient_guard_letter_t  *letter;

    older = 0;

    for (ref = first; ref; ref = letter->newer) {

        letter = ngx_patient_guard_letter(&walk->node->zone, ref);

        if (!find_cell(walk, ref, LETTER)
            || !find_cell(walk, letter->more, LETTER))
        {
            return "a letter is in two places";
        }

        if (letter->older != older) {
            return "a letter does not know who is older";
        }

        if ((ngx_patient_guard_letter_more(&walk->node->zone, ref)->waits != 0)
            != waits)
        {
            return "a letter is in the wrong line";
        }

        older = ref;
    }

    return last == older ? NULL : "the last letter is not the last";
}


static inline const char *
walk_outbox(walk_t *walk)
{
    const char                  *wrong;
    ngx_patient_guard_outbox_t  *outbox;

    outbox = &walk->node->outbox;

    wrong = walk_letters(walk, outbox->first, outbox->last, 0);

    return wrong ? wrong : walk_letters(walk, outbox->first_waits,
                                        outbox->last_waits, 1);
}


static inline const char *
walk_members(walk_t *walk)
{
    const char                  *wrong;
    ngx_patient_guard_ref_t      ref, older;
    ngx_patient_guard_node_t    *node;
    ngx_patient_guard_member_t  *member;

    node = walk->node;
    older = 0;

    for (ref = node->ages.oldest; ref; ref = member->newer) {

        if (!find_cell(walk, ref, MEMBER)) {
            return "an account is in two places";
        }

        walk->members++;
        member = ngx_patient_guard_member(node, ref);

        if (member->older != older) {
            return "an account does not know who is older";
        }

        if (ngx_patient_guard_member_find(node, &member->alias) != ref) {
            return "an account is not found";
        }

        wrong = walk_queues(walk, &member->queues);
        if (wrong) {
            return wrong;
        }

        older = ref;
    }

    return node->ages.newest == older ? NULL : "the newest is not the last";
}


/* whoever is found in a chain was found before; none is there twice */

static inline const char *
walk_chains(walk_t *walk, ngx_patient_guard_ref_t *heads, uint32_t mask,
    u_char where, size_t link, uint64_t n)
{
    uint32_t                  i;
    ngx_patient_guard_ref_t   ref;

    for (i = 0; i <= mask; i++) {
        for (ref = heads[i];
             ref;
             ref = *(ngx_patient_guard_ref_t *)
                   (walk->node->zone.cells[ref].bytes + link))
        {
            if (ref >= walk->node->zone.ncells || walk->where[ref] != where
                || n-- == 0)
            {
                return "a chain leads astray";
            }
        }
    }

    return n == 0 ? NULL : "a chain is too short";
}


static inline const char *
walk_node(ngx_patient_guard_node_t *node)
{
    walk_t       walk = { .node = node };
    const char  *wrong;

    walk.where = calloc(node->zone.ncells, 1);

    wrong = walk_free(&walk);

    if (wrong == NULL) {
        wrong = walk_members(&walk);
    }

    if (wrong == NULL) {
        wrong = walk_outbox(&walk);
    }

    if (wrong == NULL) {
        wrong = walk_chains(&walk, node->members, node->member_mask, MEMBER,
                            offsetof(ngx_patient_guard_member_t, chain),
                            walk.members);
    }

    if (wrong == NULL) {
        wrong = walk_chains(&walk, node->zone.entries, node->zone.entry_mask,
                            ENTRY, offsetof(ngx_patient_guard_entry_t, chain),
                            walk.patients);
    }

    if (wrong == NULL && walk.found + 1 != node->zone.pool.fresh) {
        wrong = "a cell is lost";
    }

    free(walk.where);

    return wrong;
}


#endif /* _WALK_H_INCLUDED_ */
