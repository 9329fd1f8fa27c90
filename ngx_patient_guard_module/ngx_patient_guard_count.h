
/*
 * Check and charge: what a lookup costs against each limit of its account,
 * whether it fits, and the charge.  The same steps are written for Redis in
 * ngx_patient_guard_count.lua; t/unit/trace.c shows that both give the same
 * verdicts.
 *
 * Every function wants the lock of the zone held, and cells in reserve for
 * all that it may add: two for challenge and grants, one for each limit, and
 * one for each limit and patient.
 */


#ifndef _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_node.h"


/* a limit's queue while one lookup is weighed */

typedef struct {
    ngx_patient_guard_ref_t      queue;
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
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed);

/*
 * Charges what was weighed, whether it fits or not; the states are those of
 * the entries of sets and of bare counts.
 */
void ngx_patient_guard_charge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_weighed_t *weighed, uint32_t set_state,
    uint32_t count_state);

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

/*
 * A challenge of the future, opened while a clock ran ahead, is one of now:
 * else no true proof would pass it.  An old proof is not good for it.
 */
void ngx_patient_guard_challenge_date(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);

/* since then (ms); no matter if the account is challenged already */
void ngx_patient_guard_challenge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t limit, uint64_t since);

/* 0 if the account is not challenged; the queue's "newest" is since when */
ngx_patient_guard_ref_t ngx_patient_guard_challenge_find(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member);

/* which limit it was, or nlimits; *since is 0 if there is no challenge */
ngx_uint_t ngx_patient_guard_challenger(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_limit_t *limits,
    ngx_uint_t nlimits, uint64_t *since);

/* no challenge any more, and the limits that challenge start afresh */
void ngx_patient_guard_clear(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);

/* one pass fewer is left */
void ngx_patient_guard_grant(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);

/* the same, if the account has proved itself since, and a grant is left */
void ngx_patient_guard_pass_by_proof(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);


#endif /* _NGX_PATIENT_GUARD_COUNT_H_INCLUDED_ */
