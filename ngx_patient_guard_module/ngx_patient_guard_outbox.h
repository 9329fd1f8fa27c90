
/*
 * The outbox: accounts of which Redis has not been told yet what this node
 * counted by itself, oldest first.  Those of which little is to be told wait
 * for more of it, in a line of their own.
 *
 * A worker takes an account's letter and tells Redis; meanwhile it is
 * claimed, lest others do the same.  When there was no answer it is put back;
 * when the worker has gone, or Redis refused it, the claim lapses.  Then
 * anybody sends it again.  Every function wants the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_OUTBOX_H_INCLUDED_
#define _NGX_PATIENT_GUARD_OUTBOX_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_zone.h"


/* an account in the outbox: one cell, and the one that it goes on in */

typedef struct {
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_ref_t      older;
    ngx_patient_guard_ref_t      newer;
    ngx_patient_guard_ref_t      more;
    uint32_t                     claimed;      /* ms, low 32 bits; 0: no */
                                               /*   of one that waits:    */
                                               /*   since when            */
} ngx_patient_guard_letter_t;

typedef struct {
    ngx_patient_guard_account_t  previous;
    uint64_t                     number;       /* of what is SENDING, or 0 */
    uint32_t                     taken;        /* by whom last: his claim */
    uint8_t                      sets;         /* ask for them */
    uint8_t                      again;        /* it has been sent before */
    uint8_t                      key;          /* 0: it is an account's */
    uint8_t                      waits;        /* patients or records, of */
                                               /*   which it is to tell   */
                                               /*   later; 0: at once     */
} ngx_patient_guard_letter_more_t;


/* one block, saved like any other */

typedef struct {
    ngx_patient_guard_ref_t      first;
    ngx_patient_guard_ref_t      last;
    ngx_patient_guard_ref_t      first_waits;
    ngx_patient_guard_ref_t      last_waits;
    uint64_t                     unused[2];
} ngx_patient_guard_outbox_t;


/* ms that a letter waits, and of how many it may tell then */
#define NGX_PATIENT_GUARD_LETTER_WAITS  400
#define NGX_PATIENT_GUARD_LETTER_MOST   255


ngx_patient_guard_letter_t *ngx_patient_guard_letter(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t ref);
ngx_patient_guard_letter_more_t *ngx_patient_guard_letter_more(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t ref);

/*
 * A new letter, the last one, which waits from "now" on, in ms, unless "waits"
 * is 0; "place", which will hold it, is altered in the same step.  Wants two
 * cells in reserve.
 */
void ngx_patient_guard_letter_add(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_account_t *account,
    ngx_patient_guard_ref_t *place, ngx_uint_t waits, uint64_t now);

/* one that waits does so no longer: the last of the others */
void ngx_patient_guard_letter_urge(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref);

/* "place" no longer holds it */
void ngx_patient_guard_letter_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t *place);

/* behind all others, and claimed by nobody any more */
void ngx_patient_guard_letter_back(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref);

/*
 * The oldest that is not claimed, or the first of those that wait, if it has
 * waited long enough; of "now" in ms; 0: none.
 */
ngx_patient_guard_ref_t ngx_patient_guard_letter_next(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_outbox_t *outbox,
    uint64_t now);


#endif /* _NGX_PATIENT_GUARD_OUTBOX_H_INCLUDED_ */
