
/*
 * What a node knows of an account beside Redis, apart from its windows: when
 * it was last heard of, what is in doubt, and its letter in the outbox.
 * Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_FLEET_H_INCLUDED_
#define _NGX_PATIENT_GUARD_FLEET_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_node.h"


/* cells that an account may take beside those of its windows */
#define NGX_PATIENT_GUARD_FLEET_CELLS  (1 + 1 + 2 + NGX_PATIENT_GUARD_DOUBTS)

/* and those that one lookup may add */
#define NGX_PATIENT_GUARD_FLEET_ADDS   (1 + 1 + 2 + 1)


/* ms that what Redis has said of an account, or another key, is relied upon */
#define NGX_PATIENT_GUARD_FLEET_HOLDS  500

/* is a time, ms, low 32 bits, longer ago for the lookup than that? */
#define ngx_patient_guard_fleet_older(then, lookup, ms)                      \
    ((uint32_t) (lookup)->now - (then) > (ms))


/* made if it is new; "until" as of a queue */
ngx_patient_guard_fleet_t *ngx_patient_guard_fleet(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member,
    uint32_t until);

/* NULL if there is none */
ngx_patient_guard_fleet_t *ngx_patient_guard_fleet_find(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member);

/* when Redis last saw the account pass a challenge, as far as is known here */
uint64_t ngx_patient_guard_cleared(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member);

/* learns when it passed a challenge; what this node counted before is past */
void ngx_patient_guard_cleared_since(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    uint64_t cleared);

/*
 * The account, or by what else that key counts, has something to be told, or
 * "sets" to be asked for.  The previous alias may be zero.
 */
void ngx_patient_guard_outbox_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_account_t *previous,
    ngx_uint_t key, ngx_uint_t sets, uint32_t until);

/* the same, of a lookup's account (0) or another key; or of all others */
void ngx_patient_guard_outbox_post(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t key, ngx_uint_t sets);
void ngx_patient_guard_outbox_post_others(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup);

/*
 * The account has something to be told: at once or, while it is little beside
 * the room that is left in each limit, after 400 ms and with what comes then.
 */
void ngx_patient_guard_outbox_post_later(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);

/* s since the epoch, when nothing that it is counted in is held any more */
uint32_t ngx_patient_guard_lookup_until(ngx_patient_guard_lookup_t *lookup);

/*
 * The account is about to go by another alias: its letter as well.  Part of
 * that change, and committed with it.
 */
void ngx_patient_guard_outbox_rename(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_account_t *alias);

/* the queue whose entries are the charges in doubt; 0: none */
ngx_patient_guard_ref_t ngx_patient_guard_doubted(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member);

/* are there any? */
ngx_uint_t ngx_patient_guard_in_doubt(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member);
ngx_patient_guard_ref_t ngx_patient_guard_doubted_add(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member);


#endif /* _NGX_PATIENT_GUARD_FLEET_H_INCLUDED_ */
