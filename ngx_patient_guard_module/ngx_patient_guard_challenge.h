
/*
 * An account's challenge: opened by a limit, passed by a proof as often as
 * there are grants.  Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_CHALLENGE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_CHALLENGE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_queue.h"


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

/* proofs are due, if any, since "limit" challenged; nlimits: unknown */
void ngx_patient_guard_due_told(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_due_t *due, ngx_uint_t limit);

/*
 * Since when (ms) sessions have to have proved themselves, and which limit it
 * was, or nlimits; 0: they have not.
 */
uint64_t ngx_patient_guard_due_since(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t *limit);

/* ms until a pass is left */
uint64_t ngx_patient_guard_grants_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup);


#endif /* _NGX_PATIENT_GUARD_CHALLENGE_H_INCLUDED_ */
