
/*
 * Parcels: what a node tells Redis of one account, and what becomes of it.
 *
 * Sets are told twice without harm.  Bare counts bear a number, and keep it
 * when they are sent again: Redis counts them once.  A charge by a call that
 * was sent and not answered is in doubt: it is told under the number of that
 * call, and counted unless the call itself was.
 *
 * Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_PARCEL_H_INCLUDED_
#define _NGX_PATIENT_GUARD_PARCEL_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_fleet.h"


#define NGX_PATIENT_GUARD_SESSION_NODE  0x7ff  /* above any worker's */


/* the session of a worker's calls, or of the node's own; 8 bytes */
void ngx_patient_guard_session(ngx_patient_guard_node_t *node,
    ngx_uint_t worker, u_char session[8]);

/*
 * A charge of "count" records, and of new patients, by the call of that number
 * of that worker; when in ms.  NGX_DECLINED if too much is in doubt already.
 */
ngx_int_t ngx_patient_guard_parcel_doubt(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, uint64_t number, ngx_uint_t worker,
    uint64_t when, uint32_t count, uint32_t novel, uint32_t until);

/* what a lookup of the same moment would bring, but who and whom */
void ngx_patient_guard_parcel_lookup(ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_lookup_t *lookup);

/*
 * Fills the parcel, whose limits and "now" are set, and claims the account.
 * Sets are written to "sets", as many as fit in "size" bytes.
 */
void ngx_patient_guard_parcel_take(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    u_char *sets, size_t size);

/*
 * Redis has it; bare counts only if they were counted, else they wait on.
 * Nothing happens if the letter has been taken by somebody else since.
 */
void ngx_patient_guard_parcel_sent(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news);

/* there was no answer: it waits to be sent again.  As above */
void ngx_patient_guard_parcel_lost(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel);

/*
 * What was being sent gets that state; neighbours in one slice and state
 * become one.  Returns 1 if anything of the queue is left to be sent.
 */
ngx_uint_t ngx_patient_guard_parcel_settle(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, uint32_t state);


#endif /* _NGX_PATIENT_GUARD_PARCEL_H_INCLUDED_ */
