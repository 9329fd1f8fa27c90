
/*
 * Queues of what was counted, in shared memory, and the journal that keeps
 * them whole.
 *
 *   queue --> first <-> entry <-> entry <-> last       oldest slice first
 *
 * All are cells of 32 bytes out of one pool, linked by index: whatever is
 * freed serves for anything.  An entry that holds a patient is also found by
 * queue and patient, through a table of chains.
 *
 * A change saves each block of 32 bytes before it alters it, and commits
 * when all is done.  If the worker is killed in the midst, whoever takes the
 * lock next restores what was saved: the change was made whole or not at
 * all.  The functions on queues and entries are one change each; those on
 * cells are for building more of the kind.  All want the lock held.
 */


#ifndef _NGX_PATIENT_GUARD_ZONE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_ZONE_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_CELL     32          /* bytes, and their alignment */

/* blocks that one change may save, with room to spare */
#define NGX_PATIENT_GUARD_JOURNAL  16


typedef uint32_t  ngx_patient_guard_ref_t;     /* of a cell; 0: none */


typedef struct {
    u_char                       bytes[NGX_PATIENT_GUARD_CELL];
} ngx_patient_guard_block_t;


typedef struct {
    ngx_patient_guard_ref_t      free;         /* chained by the first word */
    uint32_t                     nfree;
    uint64_t                     fresh;        /* first cell never used */
    uint64_t                     unused[2];
} ngx_patient_guard_pool_t;


typedef struct {
    uint64_t                     newest;       /* slice last counted in */
    uint32_t                     id;           /* of the limit's state */
    uint32_t                     total;        /* of the entries' counts */
    ngx_patient_guard_ref_t      first;
    ngx_patient_guard_ref_t      last;
    ngx_patient_guard_ref_t      next;         /* queue of the account */
    uint32_t                     until;        /* s since the epoch, by then */
                                               /*   nothing of it is held */
} ngx_patient_guard_queue_t;


/*
 * Beside Redis: what it has not been told yet, what it is being told, and who
 * has been told, or is being so, and was read again since.  None of them: it
 * knows, or nobody has to be told.
 */

#define NGX_PATIENT_GUARD_SENT         0
#define NGX_PATIENT_GUARD_UNSENT       0x80000000
#define NGX_PATIENT_GUARD_SENDING      0x40000000
#define NGX_PATIENT_GUARD_AGAIN        0xc0000000

#define NGX_PATIENT_GUARD_ENTRY_SLICE  0x3fffffff

typedef struct {
    ngx_patient_guard_patient_t  patient;      /* 0: a bare count */
    uint32_t                     slice;        /* low 30 bits, and the state */
    uint32_t                     count;
    ngx_patient_guard_ref_t      chain;
    ngx_patient_guard_ref_t      prev;
    ngx_patient_guard_ref_t      next;
    ngx_patient_guard_ref_t      queue;
} ngx_patient_guard_entry_t;


typedef struct {
    ngx_patient_guard_pool_t     pool;         /* saved like any block */
    ngx_patient_guard_block_t    journal[NGX_PATIENT_GUARD_JOURNAL];

    void                        *places[NGX_PATIENT_GUARD_JOURNAL];
    uint64_t                     saved;        /* blocks in the journal */

    ngx_patient_guard_block_t   *cells;        /* the first is never used */
    uint64_t                     ncells;

    ngx_patient_guard_ref_t     *entries;      /* heads of the chains */
    uint32_t                     entry_mask;
    uint32_t                     unused;
    uint64_t                     unused2[3];
} __attribute__((aligned(NGX_PATIENT_GUARD_CELL))) ngx_patient_guard_zone_t;


#define ngx_patient_guard_cell(zone, ref)  ((void *) &(zone)->cells[ref])

#define ngx_patient_guard_queue(zone, ref)                                   \
    ((ngx_patient_guard_queue_t *) ngx_patient_guard_cell(zone, ref))

#define ngx_patient_guard_entry(zone, ref)                                   \
    ((ngx_patient_guard_entry_t *) ngx_patient_guard_cell(zone, ref))


/*
 * Lays the cells out in "size" bytes at "data", both multiples of a cell.
 * NGX_ERROR if the bytes are too few.
 */
ngx_int_t ngx_patient_guard_zone_init(ngx_patient_guard_zone_t *zone,
    u_char *data, size_t size);

/* a zeroed cell, saved already; the caller knows that nfree is not 0 */
ngx_patient_guard_ref_t ngx_patient_guard_cell_take(
    ngx_patient_guard_zone_t *zone);
void ngx_patient_guard_cell_free(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);

/*
 * Keeps the compiler from moving a store across.  A killed process needs no
 * more: its stores become visible in the order of the program.
 */

#define ngx_patient_guard_fence()  __atomic_signal_fence(__ATOMIC_SEQ_CST)


/* the block that "place" lies in is about to be altered */

static ngx_inline void
ngx_patient_guard_save(ngx_patient_guard_zone_t *zone, void *place)
{
    place = (void *) ((uintptr_t) place
                      & ~(uintptr_t) (NGX_PATIENT_GUARD_CELL - 1));

    ngx_memcpy(&zone->journal[zone->saved], place, NGX_PATIENT_GUARD_CELL);
    zone->places[zone->saved] = place;

    ngx_patient_guard_fence();

    zone->saved++;

    ngx_patient_guard_fence();
}


static ngx_inline void
ngx_patient_guard_commit(ngx_patient_guard_zone_t *zone)
{
    ngx_patient_guard_fence();

    zone->saved = 0;

    ngx_patient_guard_fence();
}


/* call with the lock just taken */
void ngx_patient_guard_recover(ngx_patient_guard_zone_t *zone);

/*
 * Queues; "queues" is where their owner keeps the first of them, the others
 * follow by id: what is not there is soon known.
 */

static ngx_inline ngx_patient_guard_ref_t
ngx_patient_guard_queue_find(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t *queues, uint32_t id)
{
    ngx_patient_guard_ref_t  ref;

    ref = *queues;

    while (ref && ngx_patient_guard_queue(zone, ref)->id < id) {
        ref = ngx_patient_guard_queue(zone, ref)->next;
    }

    return ref && ngx_patient_guard_queue(zone, ref)->id == id ? ref : 0;
}


ngx_patient_guard_ref_t ngx_patient_guard_queue_add(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t *queues,
    uint32_t id);
void ngx_patient_guard_queue_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t *queues, ngx_patient_guard_ref_t queue);
void ngx_patient_guard_queue_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue);
void ngx_patient_guard_queue_mark(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, uint64_t newest, uint32_t total,
    uint32_t until);

/* entries; "state" is NGX_PATIENT_GUARD_SENT, UNSENT, SENDING or AGAIN */

#define ngx_patient_guard_entry_state(entry)                                 \
    ((entry)->slice & ~(uint32_t) NGX_PATIENT_GUARD_ENTRY_SLICE)

#define ngx_patient_guard_entry_is_in(entry, of)                             \
    ((((entry)->slice ^ (uint32_t) (of))                                     \
      & NGX_PATIENT_GUARD_ENTRY_SLICE) == 0)

ngx_patient_guard_ref_t ngx_patient_guard_entry_find(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t queue,
    ngx_patient_guard_patient_t patient);
void ngx_patient_guard_entry_push(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_patient_t patient,
    uint32_t count, uint64_t slice, uint32_t state);
void ngx_patient_guard_entry_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);
void ngx_patient_guard_entry_more(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t count);
void ngx_patient_guard_entry_mark(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t state);

/* its count joins that of the entry before it */
void ngx_patient_guard_entry_join(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);

/* among the others, before "before", or behind all of them with 0 */
void ngx_patient_guard_entry_insert(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_ref_t before,
    ngx_patient_guard_patient_t patient, uint32_t count, uint64_t slice,
    uint32_t state);
void ngx_patient_guard_entry_renew(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t before,
    uint64_t slice, uint32_t state);

void ngx_patient_guard_entry_reslice(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t slice);
void ngx_patient_guard_entry_rename(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient);


#endif /* _NGX_PATIENT_GUARD_ZONE_H_INCLUDED_ */
