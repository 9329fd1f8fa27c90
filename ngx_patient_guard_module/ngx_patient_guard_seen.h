
/*
 * Whom an account has seen by what a node decided itself, until Redis is
 * told: an entry for each patient, of when and whether he was new here.  The
 * queue's "newest" is how many there are, its "total" how many were new.
 *
 * Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_SEEN_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SEEN_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_node.h"


/* of one account at the most: the first ones are left untold */
#define NGX_PATIENT_GUARD_SEEN       4096


/* at "now" (ms); wants two cells in reserve; "until" as of a queue */
void ngx_patient_guard_seen_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_patient_t patient,
    ngx_uint_t novel, uint64_t now, uint32_t until);

/* as many as the bytes hold join the parcel; returns where they end */
u_char *ngx_patient_guard_seen_take(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    u_char *p, u_char *last);

/* Redis has them: 1 if others are left to be told */
ngx_uint_t ngx_patient_guard_seen_told(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member);

/*
 * Takes those who were new here, and are not told, off the counts of a
 * window: what is left is what Redis knows of it.
 */
void ngx_patient_guard_seen_less(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_image_t *known,
    uint64_t now, uint64_t window);


#endif /* _NGX_PATIENT_GUARD_SEEN_H_INCLUDED_ */
