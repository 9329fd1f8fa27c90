
#include "ngx_patient_guard_memory.h"
#include "ngx_patient_guard_window.h"


#define NGX_PATIENT_GUARD_MEMORY_AGE   0xff


typedef struct {
    ngx_patient_guard_ref_t      next;

    /* 24 bits of the alias, never all zero, and 8 of the slice; 0: free */

    uint32_t                     patients[NGX_PATIENT_GUARD_MEMORY_CELL];
} ngx_patient_guard_known_t;


static ngx_patient_guard_memory_t *ngx_patient_guard_memory(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t ref);
static ngx_patient_guard_ref_t *ngx_patient_guard_memory_bucket(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_memory_t *memory,
    ngx_uint_t n);
static void ngx_patient_guard_memory_age(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, uint32_t slice);
static void ngx_patient_guard_memory_age_cell(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_known_t *known, uint32_t newest, uint32_t slice);
static void ngx_patient_guard_memory_trim(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_patient_guard_ref_t *head);
static uint32_t *ngx_patient_guard_memory_find(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_patient_guard_patient_t patient);
static uint32_t *ngx_patient_guard_memory_place(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_memory_t *memory,
    ngx_patient_guard_patient_t patient);
static uint32_t ngx_patient_guard_memory_print(
    ngx_patient_guard_patient_t patient);


#define ngx_patient_guard_memory_last(newest, entry)                         \
    ((newest) - (((newest) - (entry)) & NGX_PATIENT_GUARD_MEMORY_AGE))

#define ngx_patient_guard_memory_slice(now, memory)                          \
    (uint32_t) ((now) * NGX_PATIENT_GUARD_SLICES / (memory))


void
ngx_patient_guard_memory_now(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t now, uint64_t time)
{
    uint32_t                     slice;
    ngx_patient_guard_memory_t  *memory;

    memory = ngx_patient_guard_memory(zone, ref);
    slice = ngx_patient_guard_memory_slice(now, time);

    if (memory->low == 0) {
        ngx_patient_guard_save(zone, memory);

        memory->low = ngx_patient_guard_cell_take(zone);
        memory->high = ngx_patient_guard_cell_take(zone);

        ngx_patient_guard_commit(zone);
    }

    if (memory->newest == 0
        || memory->newest == slice
        || (slice < memory->newest
            && memory->newest - slice <= NGX_PATIENT_GUARD_SLICES))
    {
        return;
    }

    ngx_patient_guard_memory_age(zone, memory, slice);

    /* one word: whole whenever a worker is killed */

    memory->newest = slice;
}


uint32_t
ngx_patient_guard_memory_seen(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient)
{
    uint32_t                    *entry;
    ngx_patient_guard_memory_t  *memory;

    memory = ngx_patient_guard_memory(zone, ref);
    entry = ngx_patient_guard_memory_find(zone, memory, patient);

    return entry ? ngx_patient_guard_memory_last(memory->newest, *entry) : 0;
}


uint32_t
ngx_patient_guard_memory_see(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient,
    uint64_t now, uint64_t time)
{
    uint32_t                    *entry, slice, before;
    ngx_patient_guard_memory_t  *memory;

    memory = ngx_patient_guard_memory(zone, ref);

    /* a clock that is behind has seen him in the newest slice as well */

    slice = ngx_max(memory->newest,
                    ngx_patient_guard_memory_slice(now, time));

    if (memory->newest != slice) {
        memory->newest = slice;
    }

    memory->until = ngx_patient_guard_slice_until(slice, time);

    entry = ngx_patient_guard_memory_find(zone, memory, patient);

    if (entry) {
        before = ngx_patient_guard_memory_last(slice, *entry);

    } else {
        before = 0;
        entry = ngx_patient_guard_memory_place(zone, memory, patient);
    }

    *entry = ngx_patient_guard_memory_print(patient)
             | (slice & NGX_PATIENT_GUARD_MEMORY_AGE);

    ngx_patient_guard_commit(zone);

    return before;
}


void
ngx_patient_guard_memory_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_uint_t                   n;
    ngx_patient_guard_ref_t     *head, cell;
    ngx_patient_guard_memory_t  *memory;

    memory = ngx_patient_guard_memory(zone, ref);

    if (memory->low == 0) {
        return;
    }

    for (n = 0; n < NGX_PATIENT_GUARD_MEMORY_BUCKETS; n++) {

        head = ngx_patient_guard_memory_bucket(zone, memory, n);

        while (*head) {
            cell = *head;

            ngx_patient_guard_save(zone, head);

            *head = ((ngx_patient_guard_known_t *)
                     ngx_patient_guard_cell(zone, cell))->next;

            ngx_patient_guard_cell_free(zone, cell);
            ngx_patient_guard_commit(zone);
        }
    }

    ngx_patient_guard_save(zone, memory);

    ngx_patient_guard_cell_free(zone, memory->low);
    ngx_patient_guard_cell_free(zone, memory->high);

    memory->low = 0;
    memory->high = 0;
    memory->cells = 0;

    ngx_patient_guard_commit(zone);
}


static ngx_patient_guard_memory_t *
ngx_patient_guard_memory(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    return ngx_patient_guard_cell(zone, ref);
}


/* where the first cell of a bucket is kept */

static ngx_patient_guard_ref_t *
ngx_patient_guard_memory_bucket(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_uint_t n)
{
    ngx_patient_guard_ref_t  *heads;

    heads = ngx_patient_guard_cell(zone, n < 8 ? memory->low : memory->high);

    return &heads[n & 7];
}


/* whoever is older than "memory" goes; nobody is of a later slice than now */

static void
ngx_patient_guard_memory_age(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, uint32_t slice)
{
    ngx_uint_t                  n;
    ngx_patient_guard_ref_t     ref, *head;
    ngx_patient_guard_known_t  *known;

    for (n = 0; n < NGX_PATIENT_GUARD_MEMORY_BUCKETS; n++) {

        head = ngx_patient_guard_memory_bucket(zone, memory, n);

        for (ref = *head; ref; ref = known->next) {
            known = ngx_patient_guard_cell(zone, ref);

            ngx_patient_guard_memory_age_cell(zone, known, memory->newest,
                                              slice);
        }

        ngx_patient_guard_memory_trim(zone, memory, head);
    }
}


static void
ngx_patient_guard_memory_age_cell(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_known_t *known, uint32_t newest, uint32_t slice)
{
    uint32_t    last;
    ngx_uint_t  i;

    ngx_patient_guard_save(zone, known);

    for (i = 0; i < NGX_PATIENT_GUARD_MEMORY_CELL; i++) {

        if (known->patients[i] == 0) {
            continue;
        }

        last = ngx_patient_guard_memory_last(newest, known->patients[i]);

        if (last > slice) {
            known->patients[i] &= ~(uint32_t) NGX_PATIENT_GUARD_MEMORY_AGE;
            known->patients[i] |= slice & NGX_PATIENT_GUARD_MEMORY_AGE;

        } else if (last + NGX_PATIENT_GUARD_SLICES < slice) {
            known->patients[i] = 0;
        }
    }

    ngx_patient_guard_commit(zone);
}


/* cells that hold nobody any more are freed */

static void
ngx_patient_guard_memory_trim(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_patient_guard_ref_t *head)
{
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_known_t  *known;

    while (*head) {

        ref = *head;
        known = ngx_patient_guard_cell(zone, ref);

        for (i = 0;
             i < NGX_PATIENT_GUARD_MEMORY_CELL && known->patients[i] == 0;
             i++)
        {
            /* void */
        }

        if (i < NGX_PATIENT_GUARD_MEMORY_CELL) {
            head = &known->next;
            continue;
        }

        ngx_patient_guard_save(zone, head);
        ngx_patient_guard_save(zone, memory);

        *head = known->next;
        memory->cells--;

        ngx_patient_guard_cell_free(zone, ref);
        ngx_patient_guard_commit(zone);
    }
}


static uint32_t *
ngx_patient_guard_memory_find(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_patient_guard_patient_t patient)
{
    uint32_t                    print;
    ngx_uint_t                  i;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_known_t  *known;

    print = ngx_patient_guard_memory_print(patient);

    ref = *ngx_patient_guard_memory_bucket(zone, memory, patient
                                     % NGX_PATIENT_GUARD_MEMORY_BUCKETS);

    for ( /* void */ ; ref; ref = known->next) {

        known = ngx_patient_guard_cell(zone, ref);

        for (i = 0; i < NGX_PATIENT_GUARD_MEMORY_CELL; i++) {

            if ((known->patients[i]
                 & ~(uint32_t) NGX_PATIENT_GUARD_MEMORY_AGE) == print)
            {
                return &known->patients[i];
            }
        }
    }

    return NULL;
}


/*
 * A free place in the patient's bucket, or that of who was seen least lately,
 * saved already; behind the last cell, if there is room for another one.
 */

static uint32_t *
ngx_patient_guard_memory_place(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_memory_t *memory, ngx_patient_guard_patient_t patient)
{
    uint32_t                    age, oldest, *place;
    ngx_uint_t                  i, n;
    ngx_patient_guard_ref_t    *link;
    ngx_patient_guard_known_t  *known;

    place = NULL;
    oldest = 0;
    n = 0;

    for (link = ngx_patient_guard_memory_bucket(zone, memory, patient
                                          % NGX_PATIENT_GUARD_MEMORY_BUCKETS);
         *link;
         link = &known->next)
    {
        known = ngx_patient_guard_cell(zone, *link);
        n++;

        for (i = 0; i < NGX_PATIENT_GUARD_MEMORY_CELL; i++) {

            age = known->patients[i]
                  ? 1 + ((memory->newest - known->patients[i])
                         & NGX_PATIENT_GUARD_MEMORY_AGE)
                  : NGX_PATIENT_GUARD_MEMORY_AGE + 2;

            if (age > oldest) {
                oldest = age;
                place = &known->patients[i];
            }
        }
    }

    if (oldest > NGX_PATIENT_GUARD_MEMORY_AGE + 1
        || n == NGX_PATIENT_GUARD_MEMORY_CHAIN)
    {
        ngx_patient_guard_save(zone, place);
        return place;
    }

    ngx_patient_guard_save(zone, link);
    ngx_patient_guard_save(zone, memory);

    *link = ngx_patient_guard_cell_take(zone);
    memory->cells++;

    known = ngx_patient_guard_cell(zone, *link);

    return &known->patients[0];
}


static uint32_t
ngx_patient_guard_memory_print(ngx_patient_guard_patient_t patient)
{
    uint32_t  print;

    print = (uint32_t) patient & ~(uint32_t) NGX_PATIENT_GUARD_MEMORY_AGE;

    return print ? print : NGX_PATIENT_GUARD_MEMORY_AGE + 1;
}
