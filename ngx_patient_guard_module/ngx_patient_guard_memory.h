
/*
 * Whom an account knows: patients that it has looked up within "memory", so
 * that the others are new to it.  Some 5 bytes for each, in cells of a zone.
 *
 * A patient lies in one of 16 buckets, by the low 4 bits of his alias: of him
 * bits 8 to 31 are kept, and the 32nd of "memory" that he was last seen in,
 * modulo 256.  So of 10,000 known patients one new one in 25,000 is taken for
 * known, which nobody without the secret can foresee; nobody who is known is
 * ever taken for new.  A full bucket forgets who was not seen for longest.
 * ngx_patient_guard_count.lua keeps the same.
 *
 * All functions want the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_MEMORY_H_INCLUDED_
#define _NGX_PATIENT_GUARD_MEMORY_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_zone.h"


#define NGX_PATIENT_GUARD_MEMORY_BUCKETS  16
#define NGX_PATIENT_GUARD_MEMORY_CELL     7    /* patients in one cell, */
#define NGX_PATIENT_GUARD_MEMORY_CHAIN    110  /*   and cells in a bucket */

/* cells that it may take at the most, and those that come with the first */
#define NGX_PATIENT_GUARD_MEMORY_HEAD     3
#define NGX_PATIENT_GUARD_MEMORY_CELLS                                       \
    (NGX_PATIENT_GUARD_MEMORY_HEAD                                           \
     + NGX_PATIENT_GUARD_MEMORY_BUCKETS * NGX_PATIENT_GUARD_MEMORY_CHAIN)


/* in place of a queue without entries */

typedef struct {
    uint32_t                     newest;       /* slice; 0: it is new */
    uint32_t                     cells;        /* of its buckets */
    uint32_t                     id;
    ngx_patient_guard_ref_t      high;         /* buckets 8 to 15 */
    ngx_patient_guard_ref_t      none;
    ngx_patient_guard_ref_t      low;          /* and 0 to 7 */
    ngx_patient_guard_ref_t      next;
    uint32_t                     until;
} ngx_patient_guard_memory_t;


/*
 * The memory that lies at "ref", a queue just made or one of these, moved to
 * the present: without whom it has not seen for "memory" ms.  Wants
 * MEMORY_HEAD cells in reserve.
 */
void ngx_patient_guard_memory_now(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t now, uint64_t memory);

/* in which slice the patient was last seen; 0: he is not known */
uint32_t ngx_patient_guard_memory_seen(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient);

/*
 * He is seen at that time, or again; wants a cell in reserve.  Returns in
 * which slice he was last seen before, or 0.
 */
uint32_t ngx_patient_guard_memory_see(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_patient_t patient,
    uint64_t now, uint64_t memory);

/* frees all of its cells but the one at "ref" */
void ngx_patient_guard_memory_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);


#endif /* _NGX_PATIENT_GUARD_MEMORY_H_INCLUDED_ */
