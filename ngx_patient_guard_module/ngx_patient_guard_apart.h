
/*
 * What many share, counted by keys that are not the account's, and told apart
 * from the lookups: the call of a lookup then names one key fewer.
 */


#ifndef _NGX_PATIENT_GUARD_APART_H_INCLUDED_
#define _NGX_PATIENT_GUARD_APART_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_shm.h"


/*
 * Fills "apart" of a lookup that was weighed.  A key is left out as long as
 * this node has just heard that there is much room: it is told soon after,
 * many lookups in one call.
 */
void ngx_patient_guard_apart_keys(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);

/*
 * Are all limits that count by that key bare counts, and have they much room
 * by the tally: a quarter of 4,000 or more?  So much is not looked up between
 * two times that this node tells of it.
 */
ngx_uint_t ngx_patient_guard_apart_wide(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t key);


#endif /* _NGX_PATIENT_GUARD_APART_H_INCLUDED_ */
