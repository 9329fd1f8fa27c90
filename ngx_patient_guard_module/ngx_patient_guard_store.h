
/*
 * The store contract: what the embedded store and Redis both keep.
 *
 * Check and charge are one atomic step: 200 lookups at once at limit minus
 * one admit exactly one.  A refused lookup is not charged.  The verdict
 * follows from the tally alone.
 */


#ifndef _NGX_PATIENT_GUARD_STORE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_STORE_H_INCLUDED_


#include "ngx_patient_guard.h"


typedef struct ngx_patient_guard_op_s     ngx_patient_guard_op_t;
typedef struct ngx_patient_guard_store_s  ngx_patient_guard_store_t;


/* one lookup on its way; owned by the caller, as is all that it points to */

struct ngx_patient_guard_op_s {
    ngx_patient_guard_lookup_t   lookup;
    ngx_patient_guard_tally_t    tally;

    void                       (*done)(ngx_patient_guard_op_t *op);
    void                        *data;         /* the caller's */

    ngx_pool_t                  *pool;         /* outlives the op */
    void                        *pending;      /* the store's, else NULL */
};


struct ngx_patient_guard_store_s {

    /*
     * NGX_OK     the tally is filled, done() is not called;
     * NGX_AGAIN  done() is called exactly once, from the event loop and
     *            never from within count(), unless forget() comes first;
     * NGX_ERROR  nothing was counted.
     */
    ngx_int_t                  (*count)(ngx_patient_guard_store_t *store,
                                    ngx_patient_guard_op_t *op);

    /*
     * What has left already, or is leaving: charged at once.  With "forced"
     * it is, whether it fits or not, and the tally tells whether it did; the
     * fleet is told within an interval.  NGX_ERROR: no room, or no store.
     */
    ngx_int_t                  (*charge)(ngx_patient_guard_store_t *store,
                                    ngx_patient_guard_lookup_t *lookup,
                                    ngx_patient_guard_tally_t *tally);

    /* the caller goes away: may be called at any time, any number of times */
    void                       (*forget)(ngx_patient_guard_op_t *op);
};


#endif /* _NGX_PATIENT_GUARD_STORE_H_INCLUDED_ */
