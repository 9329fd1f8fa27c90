
#include "ngx_patient_guard_zone.h"


static ngx_patient_guard_ref_t *ngx_patient_guard_entry_head(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t queue,
    ngx_patient_guard_patient_t patient);
static void ngx_patient_guard_entry_chain(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_entry_unchain(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_entry_unlink(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_entry_link(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t before);


ngx_int_t
ngx_patient_guard_zone_init(ngx_patient_guard_zone_t *zone, u_char *data,
    size_t size)
{
    uint32_t  entries;

    /* a chain for two to four cells */

    for (entries = 8;
         (size_t) entries * 4 * NGX_PATIENT_GUARD_CELL <= size;
         entries *= 2)
    {
        /* void */
    }

    if (size < entries * sizeof(ngx_patient_guard_ref_t)
               + 64 * NGX_PATIENT_GUARD_CELL)
    {
        return NGX_ERROR;
    }

    ngx_memzero(zone, sizeof(ngx_patient_guard_zone_t));
    ngx_memzero(data, entries * sizeof(ngx_patient_guard_ref_t));

    zone->entries = (ngx_patient_guard_ref_t *) data;
    zone->entry_mask = entries - 1;

    data += entries * sizeof(ngx_patient_guard_ref_t);
    size -= entries * sizeof(ngx_patient_guard_ref_t);

    zone->cells = (ngx_patient_guard_block_t *) data;
    zone->ncells = ngx_min(size / NGX_PATIENT_GUARD_CELL, 0xffffffff);

    zone->pool.fresh = 1;
    zone->pool.nfree = (uint32_t) zone->ncells - 1;

    return NGX_OK;
}


ngx_patient_guard_ref_t
ngx_patient_guard_cell_take(ngx_patient_guard_zone_t *zone)
{
    ngx_patient_guard_ref_t  ref;

    ngx_patient_guard_save(zone, &zone->pool);

    ref = zone->pool.free;

    if (ref) {
        zone->pool.free = *(ngx_patient_guard_ref_t *) &zone->cells[ref];

    } else {
        ref = zone->pool.fresh++;
    }

    zone->pool.nfree--;

    ngx_patient_guard_save(zone, &zone->cells[ref]);
    ngx_memzero(&zone->cells[ref], NGX_PATIENT_GUARD_CELL);

    return ref;
}


void
ngx_patient_guard_cell_free(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_save(zone, &zone->pool);
    ngx_patient_guard_save(zone, &zone->cells[ref]);

    *(ngx_patient_guard_ref_t *) &zone->cells[ref] = zone->pool.free;

    zone->pool.free = ref;
    zone->pool.nfree++;
}


void
ngx_patient_guard_recover(ngx_patient_guard_zone_t *zone)
{
    uint64_t  i;

    /* backwards: a block that was saved twice ends as it was first */

    for (i = zone->saved; i > 0; i--) {
        ngx_memcpy(zone->places[i - 1], &zone->journal[i - 1],
                   NGX_PATIENT_GUARD_CELL);
    }

    ngx_patient_guard_commit(zone);
}


ngx_patient_guard_ref_t
ngx_patient_guard_queue_add(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t *queues, uint32_t id)
{
    ngx_patient_guard_ref_t     ref, *link;
    ngx_patient_guard_queue_t  *queue;

    ref = ngx_patient_guard_cell_take(zone);

    queue = ngx_patient_guard_queue(zone, ref);
    link = queues;

    while (*link && ngx_patient_guard_queue(zone, *link)->id < id) {
        link = &ngx_patient_guard_queue(zone, *link)->next;
    }

    ngx_patient_guard_save(zone, link);

    queue->id = id;
    queue->next = *link;
    *link = ref;

    ngx_patient_guard_commit(zone);

    return ref;
}


void
ngx_patient_guard_queue_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t *queues, ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t  *link;

    ngx_patient_guard_queue_empty(zone, ref);

    link = queues;

    while (*link != ref) {
        link = &ngx_patient_guard_queue(zone, *link)->next;
    }

    ngx_patient_guard_save(zone, link);

    *link = ngx_patient_guard_queue(zone, ref)->next;

    ngx_patient_guard_cell_free(zone, ref);
    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_queue_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    while (ngx_patient_guard_queue(zone, ref)->first) {
        ngx_patient_guard_entry_drop(zone,
                                   ngx_patient_guard_queue(zone, ref)->first);
    }
}


void
ngx_patient_guard_queue_mark(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t newest, uint32_t total,
    uint32_t until)
{
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(zone, ref);

    ngx_patient_guard_save(zone, queue);

    queue->newest = newest;
    queue->total = total;
    queue->until = until;

    ngx_patient_guard_commit(zone);
}


static ngx_patient_guard_ref_t *
ngx_patient_guard_entry_head(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_patient_t patient)
{
    uint64_t  hash;

    hash = patient ^ queue * 0x9e3779b97f4a7c15ULL;

    return &zone->entries[(hash ^ hash >> 32) & zone->entry_mask];
}


ngx_patient_guard_ref_t
ngx_patient_guard_entry_find(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_patient_t patient)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;

    for (ref = *ngx_patient_guard_entry_head(zone, queue, patient);
         ref;
         ref = entry->chain)
    {
        entry = ngx_patient_guard_entry(zone, ref);

        if (entry->patient == patient && entry->queue == queue) {
            return ref;
        }
    }

    return 0;
}


void
ngx_patient_guard_entry_push(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_patient_t patient,
    uint32_t count, uint64_t slice, uint32_t state)
{
    ngx_patient_guard_entry_insert(zone, queue, 0, patient, count, slice,
                                   state);
}


void
ngx_patient_guard_entry_insert(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_ref_t before,
    ngx_patient_guard_patient_t patient, uint32_t count, uint64_t slice,
    uint32_t state)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_entry_t  *entry;

    ref = ngx_patient_guard_cell_take(zone);
    entry = ngx_patient_guard_entry(zone, ref);

    entry->patient = patient;
    entry->queue = queue;
    entry->count = count;
    entry->slice = ((uint32_t) slice & NGX_PATIENT_GUARD_ENTRY_SLICE) | state;

    if (patient) {
        ngx_patient_guard_entry_chain(zone, ref);
    }

    ngx_patient_guard_entry_link(zone, ref, before);

    ngx_patient_guard_queue(zone, queue)->total += count;

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);

    if (entry->patient) {
        ngx_patient_guard_entry_unchain(zone, ref);
    }

    ngx_patient_guard_entry_unlink(zone, ref);

    ngx_patient_guard_queue(zone, entry->queue)->total -= entry->count;

    ngx_patient_guard_cell_free(zone, ref);
    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_join(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_entry_t  *entry, *prev;

    entry = ngx_patient_guard_entry(zone, ref);
    prev = ngx_patient_guard_entry(zone, entry->prev);

    ngx_patient_guard_save(zone, prev);

    prev->count += entry->count;

    ngx_patient_guard_entry_unlink(zone, ref);
    ngx_patient_guard_cell_free(zone, ref);
    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_more(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t count)
{
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    entry = ngx_patient_guard_entry(zone, ref);
    queue = ngx_patient_guard_queue(zone, entry->queue);

    ngx_patient_guard_save(zone, entry);
    ngx_patient_guard_save(zone, queue);

    entry->count += count;
    queue->total += count;

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_renew(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t before,
    uint64_t slice, uint32_t state)
{
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);

    ngx_patient_guard_entry_unlink(zone, ref);
    ngx_patient_guard_entry_link(zone, ref, before);

    entry->slice = ((uint32_t) slice & NGX_PATIENT_GUARD_ENTRY_SLICE) | state;

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_reslice(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t slice)
{
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);

    ngx_patient_guard_save(zone, entry);

    entry->slice = ((uint32_t) slice & NGX_PATIENT_GUARD_ENTRY_SLICE)
                   | ngx_patient_guard_entry_state(entry);

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_mark(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t state)
{
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);

    ngx_patient_guard_save(zone, entry);

    entry->slice = (entry->slice & NGX_PATIENT_GUARD_ENTRY_SLICE) | state;

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_entry_rename(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient)
{
    ngx_patient_guard_entry_unchain(zone, ref);

    ngx_patient_guard_save(zone, ngx_patient_guard_entry(zone, ref));

    ngx_patient_guard_entry(zone, ref)->patient = patient;

    ngx_patient_guard_entry_chain(zone, ref);
    ngx_patient_guard_commit(zone);
}


/* the cell itself is saved by whoever calls the next four */

static void
ngx_patient_guard_entry_chain(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t    *head;
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);
    head = ngx_patient_guard_entry_head(zone, entry->queue, entry->patient);

    ngx_patient_guard_save(zone, head);

    entry->chain = *head;
    *head = ref;
}


static void
ngx_patient_guard_entry_unchain(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t    *link;
    ngx_patient_guard_entry_t  *entry;

    entry = ngx_patient_guard_entry(zone, ref);
    link = ngx_patient_guard_entry_head(zone, entry->queue, entry->patient);

    while (*link != ref) {
        link = &ngx_patient_guard_entry(zone, *link)->chain;
    }

    ngx_patient_guard_save(zone, link);

    *link = entry->chain;
}


static void
ngx_patient_guard_entry_unlink(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t    *prev, *next;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    entry = ngx_patient_guard_entry(zone, ref);
    queue = ngx_patient_guard_queue(zone, entry->queue);

    prev = entry->prev ? &ngx_patient_guard_entry(zone, entry->prev)->next
                       : &queue->first;

    next = entry->next ? &ngx_patient_guard_entry(zone, entry->next)->prev
                       : &queue->last;

    ngx_patient_guard_save(zone, queue);
    ngx_patient_guard_save(zone, prev);
    ngx_patient_guard_save(zone, next);

    *prev = entry->next;
    *next = entry->prev;
}


static void
ngx_patient_guard_entry_link(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t before)
{
    ngx_patient_guard_ref_t    *prev, *next;
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    entry = ngx_patient_guard_entry(zone, ref);
    queue = ngx_patient_guard_queue(zone, entry->queue);

    next = before ? &ngx_patient_guard_entry(zone, before)->prev
                  : &queue->last;

    prev = *next ? &ngx_patient_guard_entry(zone, *next)->next
                 : &queue->first;

    ngx_patient_guard_save(zone, entry);
    ngx_patient_guard_save(zone, queue);
    ngx_patient_guard_save(zone, prev);
    ngx_patient_guard_save(zone, next);

    entry->prev = *next;
    entry->next = before;

    *prev = ref;
    *next = ref;
}
