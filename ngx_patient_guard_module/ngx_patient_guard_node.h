
/*
 * The accounts that one node knows, in shared memory: found by their alias,
 * kept in the order of their last use, each with the queues of its limits.
 * A full zone frees the accounts idle longest.
 *
 *   account --> queue --> queue --> queue
 *
 * Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_NODE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NODE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_habit.h"
#include "ngx_patient_guard_memory.h"
#include "ngx_patient_guard_outbox.h"
#include "ngx_patient_guard_zone.h"


#define NGX_PATIENT_GUARD_SEED          32     /* bytes of a random secret */
#define NGX_PATIENT_GUARD_NODE_VERSION  7


/*
 * Queues beside those of the limits, whose ids are higher.  The entries of
 * DOUBTS are calls, those of SEEN whom Redis has to be told of, and none is of
 * a slice; FLEET, MEMORY and habits have none.
 */

#define NGX_PATIENT_GUARD_QUEUE_CHALLENGE  1   /* newest: since when, ms; */
                                               /*   total: the limit's id */
#define NGX_PATIENT_GUARD_QUEUE_GRANTS     2
#define NGX_PATIENT_GUARD_QUEUE_DOUBTS     3   /* newest: when it was */
                                               /*   cleared, ms       */
#define NGX_PATIENT_GUARD_QUEUE_FLEET      4
#define NGX_PATIENT_GUARD_QUEUE_MEMORY     5
#define NGX_PATIENT_GUARD_QUEUE_SEEN       6
#define NGX_PATIENT_GUARD_QUEUE_DUE        7   /* newest: proofs are due */
                                               /*   since, ms; total: the */
                                               /*   limit's id            */


typedef struct {
    ngx_patient_guard_account_t  alias;
    ngx_patient_guard_ref_t      chain;
    ngx_patient_guard_ref_t      older;
    ngx_patient_guard_ref_t      newer;
    ngx_patient_guard_ref_t      queues;
} ngx_patient_guard_member_t;


/*
 * What is known of an account beside Redis, in place of a queue without
 * entries; see ngx_patient_guard_fleet.h.
 */

typedef struct {
    /* ms, low 32 bits: when Redis last said ... */

    uint32_t                     heard;        /* anything of it */
    uint32_t                     confirmed;    /* that it is refused, or not */
                                               /*   of what is no account: */
                                               /*   when it last was used  */
    uint32_t                     id;
    uint32_t                     told;         /* who its patients are */
    ngx_patient_guard_ref_t      none;
    ngx_patient_guard_ref_t      letter;       /* in the outbox; 0: none */
    ngx_patient_guard_ref_t      next;
    uint32_t                     until;
} ngx_patient_guard_fleet_t;


/* the part of the head that changes: one block, saved like any other */

typedef struct {
    ngx_patient_guard_ref_t      oldest;       /* accounts by last use */
    ngx_patient_guard_ref_t      newest;
    uint64_t                     evicted;      /* accounts */
    uint64_t                     lost;         /* of them, before their time */
    uint64_t                     members;      /* accounts and other keys */
} ngx_patient_guard_ages_t;


typedef struct {
    ngx_patient_guard_zone_t     zone;         /* first: blocks are aligned */
    ngx_patient_guard_ages_t     ages;
    ngx_patient_guard_outbox_t   outbox;

    uint32_t                     version;
    uint32_t                     claims;       /* on letters: the last one */
    uint32_t                     member_mask;
    ngx_patient_guard_ref_t     *members;      /* heads of the chains */

    uint64_t                     id;           /* random: no other's */
    uint64_t                     number;       /* of calls: it only grows */

    u_char                       seed[NGX_PATIENT_GUARD_SEED];
} ngx_patient_guard_node_t;


/*
 * Lays a node out in all that the pool has left; NULL if that is too little.
 * The seed is secret, the id is not.
 */
ngx_patient_guard_node_t *ngx_patient_guard_node_create(ngx_slab_pool_t *pool,
    const u_char seed[NGX_PATIENT_GUARD_SEED], uint64_t id);

#define ngx_patient_guard_member(node, ref)                                  \
    ((ngx_patient_guard_member_t *)                                          \
     ngx_patient_guard_cell(&(node)->zone, ref))

/* 0 if the node does not know the account */
ngx_patient_guard_ref_t ngx_patient_guard_member_find(
    ngx_patient_guard_node_t *node, ngx_patient_guard_account_t *alias);

/* wants a cell in reserve */
ngx_patient_guard_ref_t ngx_patient_guard_member_add(
    ngx_patient_guard_node_t *node, ngx_patient_guard_account_t *alias);

void ngx_patient_guard_member_rename(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_account_t *alias);

/* the account's queue of that id; 0: none */

static ngx_inline ngx_patient_guard_ref_t
ngx_patient_guard_member_queue(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t id)
{
    return ngx_patient_guard_queue_find(&node->zone,
                                &ngx_patient_guard_member(node, ref)->queues,
                                id);
}


/* made if it is new: wants a cell in reserve */
ngx_patient_guard_ref_t ngx_patient_guard_member_queue_open(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t ref, uint32_t id);

/* nothing of it stays */
void ngx_patient_guard_member_forget(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);

void ngx_patient_guard_member_used(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);

/*
 * Frees what "keep" has of limits that are gone, then the accounts idle
 * longest, until n cells are free; now in ms since the epoch.  NGX_ERROR, and
 * nobody has to go, if an empty zone could not hold "keep" and n cells.
 */
ngx_int_t ngx_patient_guard_member_reserve(ngx_patient_guard_node_t *node,
    uint64_t n, ngx_patient_guard_ref_t *keep, ngx_uint_t nkeep,
    uint64_t now);


#endif /* _NGX_PATIENT_GUARD_NODE_H_INCLUDED_ */
