
/*
 * The embedded store: what one node counted, in shared memory, for all its
 * workers.  Alone it answers for a policy without Redis; beside Redis it holds
 * this node's own view, see ngx_patient_guard_floor.h.
 *
 * When the zone is full the account that was idle longest makes room.
 * A worker killed at any instruction leaves the zone usable: each change
 * saves what it is about to alter in a journal, and the next one to take
 * the lock rolls an unfinished change back.
 */


#ifndef _NGX_PATIENT_GUARD_SHM_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SHM_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_store.h"
#include "ngx_patient_guard_node.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_totals.h"


typedef struct {
    ngx_patient_guard_store_t    store;        /* first: the contract */
    ngx_slab_pool_t             *pool;         /* for its lock */
    ngx_patient_guard_node_t    *node;         /* in shared memory */
    ngx_str_t                    name;         /* of the zone */
    ngx_log_t                   *log;
    ngx_patient_guard_totals_t  *totals;       /* NULL: none are kept */

    ngx_patient_guard_limit_t   *limits;       /* of the policy */
    ngx_uint_t                   nlimits;
    ngx_patient_guard_grants_t  *grants;
    uint64_t                     memory;       /* ms; 0: none is kept */
    ngx_uint_t                   session;      /* proofs are of sessions */
    ngx_uint_t                   fleet;        /* it is kept beside Redis */
    uint32_t                     variable;     /* bits: whose count is one */
    uint32_t                     most;         /* count the zone can hold */

    /* with the largest counts that a lookup may bring */

    ngx_patient_guard_limit_t    widest[NGX_PATIENT_GUARD_LIMITS];

    int64_t                      shift;        /* ms, of a replayed clock */
    uint64_t                     lost;         /* accounts, when last looked */
    uint64_t                     warned;       /* minute since the epoch */
} ngx_patient_guard_shm_t;


/*
 * The init handler of the shared zone; zone->data is the
 * ngx_patient_guard_shm_t, with the limits of its policy.  Sets "most": the
 * largest count of patients, taken from a variable, that one account may
 * reach in this zone.
 */
ngx_int_t ngx_patient_guard_shm_init(ngx_shm_zone_t *zone, void *data);

/*
 * Bytes, NGX_PATIENT_GUARD_SEED of them, that were drawn when the zone was
 * made and stay as long as it does, reloads included.
 */
u_char *ngx_patient_guard_shm_seed(ngx_patient_guard_shm_t *shm);

/* NGX_OK; NGX_ERROR if even an empty zone could not hold the account */
ngx_int_t ngx_patient_guard_shm_count(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);

/*
 * Takes the lock.  The account and the other keys, NGX_PATIENT_GUARD_KEYS
 * members, made if they are new, with cells in reserve for all that this
 * lookup may add; NGX_ERROR if there can't be that many.
 */
ngx_int_t ngx_patient_guard_shm_enter(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_ref_t *members);

/*
 * With the lock held: one that "asks" leaves no account in the zone that it
 * has added, of whom nothing is known.
 */
void ngx_patient_guard_shm_asked(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_ref_t *members,
    ngx_patient_guard_tally_t *tally);

/* takes the lock, and no more */
void ngx_patient_guard_shm_lock(ngx_patient_guard_shm_t *shm);

/* gives the lock back; now in ms */
void ngx_patient_guard_shm_leave(ngx_patient_guard_shm_t *shm, uint64_t now);

/* accounts that had to make room since the zone was made */
uint64_t ngx_patient_guard_shm_evicted(ngx_patient_guard_shm_t *shm);


#endif /* _NGX_PATIENT_GUARD_SHM_H_INCLUDED_ */
