
/*
 * Events that are to go into a stream, in the order of their numbers: a ring
 * in shared memory that any worker fills, and one empties.  If nobody takes
 * them the oldest make room, and are counted.
 *
 * Every function wants the lock of its zone held.
 */


#ifndef _NGX_PATIENT_GUARD_EVENTS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_EVENTS_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_EVENTS        1024
#define NGX_PATIENT_GUARD_EVENTS_BATCH  64

/* ms that who has taken a batch may be silent */
#define NGX_PATIENT_GUARD_EVENTS_CLAIM  5000


/* what has happened: outcomes of lookups are below, see pg_totals */

#define NGX_PATIENT_GUARD_EVENT_PASSED  16     /* a challenge */
#define NGX_PATIENT_GUARD_EVENT_ORDER   16     /* and an order's kind */


typedef struct {
    ngx_patient_guard_account_t  account;      /* zero: none was given */
    uint64_t                     time;         /* ms */
    uint64_t                     until;        /* ms; 0: not told */
    uint32_t                     limit;        /* its id; 0: none decided */
    uint32_t                     count;
    uint32_t                     allowance;
    uint16_t                     what;
    uint16_t                     dry_run;
} ngx_patient_guard_event_t;


typedef struct {
    uint64_t                     first;        /* number of the oldest */
    uint64_t                     next;         /* and of the one to come */
    uint64_t                     dropped;
    uint64_t                     claimed;      /* ms, when a batch was */
                                               /*   taken; 0: none is  */
    ngx_patient_guard_event_t    ring[NGX_PATIENT_GUARD_EVENTS];
} ngx_patient_guard_events_t;


void ngx_patient_guard_events_push(ngx_patient_guard_events_t *events,
    ngx_patient_guard_event_t *event);

/*
 * Takes a batch: copies up to EVENTS_BATCH of the oldest, the first of which
 * has the number *first; now in ms, by some clock that only goes on.  0: there
 * is none, or somebody else has taken one.
 */
ngx_uint_t ngx_patient_guard_events_take(ngx_patient_guard_events_t *events,
    uint64_t now, ngx_patient_guard_event_t *batch, uint64_t *first);

/* those below "upto" are in the stream, or none if it is 0 */
void ngx_patient_guard_events_done(ngx_patient_guard_events_t *events,
    uint64_t upto);


#endif /* _NGX_PATIENT_GUARD_EVENTS_H_INCLUDED_ */
