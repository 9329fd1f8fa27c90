
/*
 * What a node knows by itself beside Redis, in shared memory: below this
 * floor no verdict falls.  It refuses whom it has seen refused, without
 * asking; it decides alone while Redis is away, or where it need not be asked
 * first; and it tells Redis afterwards what it has charged meanwhile.
 */


#ifndef _NGX_PATIENT_GUARD_FLOOR_H_INCLUDED_
#define _NGX_PATIENT_GUARD_FLOOR_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_shm.h"


#define NGX_PATIENT_GUARD_KNOWN    1           /* known patients may pass */
#define NGX_PATIENT_GUARD_CHECKED  2           /* see NGX_DECLINED */
#define NGX_PATIENT_GUARD_AWAY     4           /* Redis can't be asked */

/*
 * NGX_OK        answered: the lookup is refused, and that has been heard of
 *               Redis within half a second; or its patients are known and no
 *               count can rise;
 * NGX_AGAIN     Redis has to be asked; a challenge that this node knows of,
 *               or has just opened, goes with the lookup;
 * NGX_DECLINED  refused as far as is known here, but Redis is to be asked how
 *               the account stands; or charges are in doubt, which Redis has
 *               to be told first.  That parcel waits in the outbox: come
 *               back with CHECKED when it is answered.  Then again only if
 *               more has come into doubt meanwhile;
 * NGX_ERROR     no room in the zone.
 */
ngx_int_t ngx_patient_guard_floor_answer(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_uint_t flags);

/* a call to Redis that was sent and not answered; 0 or NULL: none was sent */

typedef struct {
    uint64_t                     number;
    ngx_uint_t                   worker;
} ngx_patient_guard_unanswered_t;

/*
 * Decides by what this node knows, charges, and has Redis told.  NGX_AGAIN or
 * NGX_DECLINED, as above, if Redis is "there": a challenge may be passed.
 * NGX_ERROR if there is no room in the zone.
 */
ngx_int_t ngx_patient_guard_floor_count(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally,
    ngx_patient_guard_unanswered_t *call, ngx_uint_t there);


#endif /* _NGX_PATIENT_GUARD_FLOOR_H_INCLUDED_ */
