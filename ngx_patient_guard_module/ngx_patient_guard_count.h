
/*
 * Check and charge: what a lookup costs against each limit of its account,
 * whether it fits, and the charge.  The same steps are written for Redis in
 * ngx_patient_guard_count.lua; t/unit/trace.c shows that both give the same
 * verdicts.
 *
 * The members are the account, first, and the other keys that limits count
 * by, 0 where there is none.
 *
 * Every function wants the lock of the zone held, and cells in reserve for
 * all that it may add: see ngx_patient_guard_shm_reserve().
 */


#ifndef _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_challenge.h"
#include "ngx_patient_guard_queue.h"


/* a limit's queue while one lookup is weighed */

typedef struct {
    ngx_patient_guard_ref_t      queue;        /* 0: it does not apply */
    ngx_patient_guard_ref_t      habit;        /* 0: it goes by none */
    uint64_t                     slice;
    uint32_t                     cost;
} ngx_patient_guard_weighed_t;


/*
 * The most that the set of a limit on patients grows to.  It passes the
 * count only by lookups that are counted but not refused: of an exempt
 * account, or where the limit only logs.
 */
uint64_t ngx_patient_guard_set_cap(uint32_t count);

/*
 * Fills the tally as it is before any charge, and opens a challenge where a
 * limit calls for one.  Returns 1 if the lookup is to be refused.
 */
ngx_int_t ngx_patient_guard_weigh(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);

/*
 * Charges what was weighed, whether it fits or not; the states are those of
 * the entries of sets, and of the bare counts of each key.
 */
void ngx_patient_guard_charge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    uint32_t set_state, uint32_t *count_states);

/*
 * Of a lookup that was weighed and raises no count: has one of those it counts
 * not been seen yet in the present slice of a window, or of the memory?
 */
ngx_uint_t ngx_patient_guard_stale(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_weighed_t *weighed);

/* whom a limit that keeps a set tells from each other, and how many */
ngx_patient_guard_named_t *ngx_patient_guard_subjects(
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_limit_t *limit,
    ngx_uint_t *n);


#endif /* _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_ */
