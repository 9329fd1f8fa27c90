
/*
 * Has Redis told what this node counted by itself: in batches, one an
 * interval, and at once where a lookup waits for how its account stands.
 */


#ifndef _NGX_PATIENT_GUARD_MERGE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_MERGE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_script.h"


typedef struct ngx_patient_guard_merge_s  ngx_patient_guard_merge_t;


/* who waits until his account's parcel is answered */

typedef struct ngx_patient_guard_waiter_s  ngx_patient_guard_waiter_t;

struct ngx_patient_guard_waiter_s {
    ngx_queue_t                  queue;

    /* NGX_OK, or NGX_ERROR if there is no answer; must not resume a request */
    void                       (*done)(ngx_patient_guard_waiter_t *waiter,
                                    ngx_int_t rc);
};


/* a worker's; interval in ms; NULL if memory is short */
ngx_patient_guard_merge_t *ngx_patient_guard_merge_create(
    ngx_patient_guard_script_conf_t *conf, ngx_patient_guard_script_t *script,
    ngx_msec_t interval, ngx_cycle_t *cycle);
void ngx_patient_guard_merge_destroy(ngx_patient_guard_merge_t *merge);

/* there may be something in the outbox */
void ngx_patient_guard_merge_soon(ngx_patient_guard_merge_t *merge);

/*
 * Takes over what Redis decided of a lookup, and has it told at once what the
 * node knows, where the fleet seems to know more.
 */
void ngx_patient_guard_merge_note(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);

/*
 * The parcel that Redis has to be told of first, at once; the waiter may be
 * NULL.  NGX_OK: done() will be called, but not from within; NGX_DONE: there
 * is none; NGX_DECLINED: Redis is away, or too much is waiting.
 */
ngx_int_t ngx_patient_guard_merge_now(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_lookup_t *lookup, ngx_msec_t deadline,
    ngx_patient_guard_waiter_t *waiter);


#endif /* _NGX_PATIENT_GUARD_MERGE_H_INCLUDED_ */
