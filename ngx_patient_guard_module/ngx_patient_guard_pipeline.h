
/*
 * Commands on their way through one connection: the bytes still to be sent,
 * and who waits for which reply, in order.  No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_PIPELINE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_PIPELINE_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_PIPELINE_BYTES     (1024 * 1024)   /* at most */
#define NGX_PATIENT_GUARD_PIPELINE_COMMANDS  4096


/* a command that waits; data may be set to NULL by who sent it */

typedef struct {
    ngx_queue_t                  queue;
    ngx_msec_t                   deadline;
    size_t                       most;         /* bytes of the reply */
    void                        *data;
} ngx_patient_guard_slot_t;


typedef struct {
    u_char                      *start;
    u_char                      *pos;          /* sent up to here */
    u_char                      *last;
    u_char                      *end;

    ngx_queue_t                  waiting;      /* slots, as sent */
    ngx_queue_t                  free;
    ngx_uint_t                   nslots;       /* in both */

    ngx_pool_t                  *pool;         /* for the slots */
} ngx_patient_guard_pipeline_t;


void ngx_patient_guard_pipeline_init(ngx_patient_guard_pipeline_t *pipeline,
    ngx_pool_t *pool);

void ngx_patient_guard_pipeline_destroy(
    ngx_patient_guard_pipeline_t *pipeline);

/* room for a command; NGX_DECLINED if too much is waiting already */
ngx_int_t ngx_patient_guard_pipeline_room(
    ngx_patient_guard_pipeline_t *pipeline, size_t size);

/* takes the command that was written from pipeline->last up to "end" */
ngx_patient_guard_slot_t *ngx_patient_guard_pipeline_push(
    ngx_patient_guard_pipeline_t *pipeline, u_char *end, ngx_msec_t deadline,
    size_t most, void *data);

/* bytes that the next reply may have; 0: nobody waits */
size_t ngx_patient_guard_pipeline_most(
    ngx_patient_guard_pipeline_t *pipeline);

/* whose reply comes next: NULL if nobody waits */
ngx_patient_guard_slot_t *ngx_patient_guard_pipeline_shift(
    ngx_patient_guard_pipeline_t *pipeline);

/* the nearest deadline, or "none" */
ngx_msec_t ngx_patient_guard_pipeline_nearest(
    ngx_patient_guard_pipeline_t *pipeline, ngx_msec_t none);

/* forgets the bytes; who waited moves to "failed", an initialized queue */
void ngx_patient_guard_pipeline_break(ngx_patient_guard_pipeline_t *pipeline,
    ngx_queue_t *failed);
ngx_patient_guard_slot_t *ngx_patient_guard_pipeline_failed(
    ngx_patient_guard_pipeline_t *pipeline, ngx_queue_t *failed);


#endif /* _NGX_PATIENT_GUARD_PIPELINE_H_INCLUDED_ */
