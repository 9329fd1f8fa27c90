
/*
 * Bulkheads: no account takes more than its share of the connection to Redis.
 * Of its lookups a few are under way, the others wait in line, and beyond the
 * line's length there is no waiting.  Of one worker; no I/O, no clock.
 */


#ifndef _NGX_PATIENT_GUARD_BULKHEAD_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BULKHEAD_H_INCLUDED_


#include "ngx_patient_guard.h"


/* of one account, under way at once: lookups, and patients in all of them */
#define NGX_PATIENT_GUARD_ABREAST           8
#define NGX_PATIENT_GUARD_ABREAST_PATIENTS  512

#define NGX_PATIENT_GUARD_LINE              512    /* of one account */
#define NGX_PATIENT_GUARD_LINES             4096   /* of all */


typedef struct {
    ngx_queue_t                  queue;        /* in the table, or free */
    ngx_patient_guard_account_t  account;
    ngx_uint_t                   abreast;
    ngx_uint_t                   patients;     /* of those */
    ngx_queue_t                  line;
    ngx_uint_t                   waiting;      /* in the line */
} ngx_patient_guard_lane_t;


typedef struct {
    ngx_queue_t                 *table;
    ngx_queue_t                  free;
    ngx_uint_t                   waiting;      /* in all lines */
    ngx_pool_t                  *pool;
} ngx_patient_guard_bulkhead_t;


/* NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_bulkhead_init(
    ngx_patient_guard_bulkhead_t *bulkhead, ngx_pool_t *pool);

/* the account's lane; NULL if memory is short.  Enter, wait, or drop it. */
ngx_patient_guard_lane_t *ngx_patient_guard_lane(
    ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_account_t *account);

/* NGX_OK: a lookup of so many patients is under way; NGX_DECLINED: not now */
ngx_int_t ngx_patient_guard_lane_enter(ngx_patient_guard_lane_t *lane,
    ngx_uint_t npatients);
void ngx_patient_guard_lane_leave(ngx_patient_guard_lane_t *lane,
    ngx_uint_t npatients);

/* in line, by "link"; NGX_DECLINED if the line is too long */
ngx_int_t ngx_patient_guard_lane_wait(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane, ngx_queue_t *link);
void ngx_patient_guard_lane_give_up(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane, ngx_queue_t *link);

/* the lane is given back if nobody is in it any more */
void ngx_patient_guard_lane_drop(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane);


#endif /* _NGX_PATIENT_GUARD_BULKHEAD_H_INCLUDED_ */
