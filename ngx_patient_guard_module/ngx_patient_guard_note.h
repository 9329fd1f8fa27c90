
/* What Redis decided of a lookup, as this node's own memory takes it over. */


#ifndef _NGX_PATIENT_GUARD_NOTE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NOTE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_shm.h"


/*
 * Takes over what Redis decided of a lookup.  1 if the fleet knows more of
 * the account than this node does: that parcel waits in the outbox.  Where
 * Redis has lost some of it, the tally becomes what this node knows.
 */
ngx_uint_t ngx_patient_guard_note(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);


#endif /* _NGX_PATIENT_GUARD_NOTE_H_INCLUDED_ */
