
#include "ngx_patient_guard_pipeline.h"


#define NGX_PATIENT_GUARD_PIPELINE_BUFFER  4096      /* to begin with */


static ngx_int_t ngx_patient_guard_pipeline_grow(
    ngx_patient_guard_pipeline_t *pipeline, size_t size);


void
ngx_patient_guard_pipeline_init(ngx_patient_guard_pipeline_t *pipeline,
    ngx_pool_t *pool)
{
    ngx_memzero(pipeline, sizeof(ngx_patient_guard_pipeline_t));

    ngx_queue_init(&pipeline->waiting);
    ngx_queue_init(&pipeline->free);

    pipeline->pool = pool;
}


void
ngx_patient_guard_pipeline_destroy(ngx_patient_guard_pipeline_t *pipeline)
{
    if (pipeline->start) {
        ngx_free(pipeline->start);
    }

    pipeline->start = pipeline->pos = NULL;
    pipeline->last = pipeline->end = NULL;
}


ngx_int_t
ngx_patient_guard_pipeline_room(ngx_patient_guard_pipeline_t *pipeline,
    size_t size)
{
    ngx_patient_guard_slot_t  *slot;

    if (ngx_queue_empty(&pipeline->free)) {

        if (pipeline->nslots == NGX_PATIENT_GUARD_PIPELINE_COMMANDS) {
            return NGX_DECLINED;
        }

        slot = ngx_palloc(pipeline->pool, sizeof(ngx_patient_guard_slot_t));
        if (slot == NULL) {
            return NGX_DECLINED;
        }

        ngx_queue_insert_head(&pipeline->free, &slot->queue);
        pipeline->nslots++;
    }

    if (pipeline->pos == pipeline->last) {
        pipeline->pos = pipeline->start;
        pipeline->last = pipeline->start;
    }

    if ((size_t) (pipeline->end - pipeline->last) >= size) {
        return NGX_OK;
    }

    return ngx_patient_guard_pipeline_grow(pipeline, size);
}


static ngx_int_t
ngx_patient_guard_pipeline_grow(ngx_patient_guard_pipeline_t *pipeline,
    size_t size)
{
    size_t   used, length;
    u_char  *start;

    used = pipeline->last - pipeline->pos;

    if (used + size > NGX_PATIENT_GUARD_PIPELINE_BYTES) {
        return NGX_DECLINED;
    }

    length = ngx_max(pipeline->end - pipeline->start,
                     NGX_PATIENT_GUARD_PIPELINE_BUFFER);

    while (length < used + size) {
        length *= 2;
    }

    start = ngx_alloc(length, pipeline->pool->log);
    if (start == NULL) {
        return NGX_DECLINED;
    }

    if (used) {
        ngx_memcpy(start, pipeline->pos, used);
    }

    if (pipeline->start) {
        ngx_free(pipeline->start);
    }

    pipeline->start = start;
    pipeline->pos = start;
    pipeline->last = start + used;
    pipeline->end = start + length;

    return NGX_OK;
}


ngx_patient_guard_slot_t *
ngx_patient_guard_pipeline_push(ngx_patient_guard_pipeline_t *pipeline,
    u_char *end, ngx_msec_t deadline, size_t most, void *data)
{
    ngx_queue_t               *q;
    ngx_patient_guard_slot_t  *slot;

    q = ngx_queue_head(&pipeline->free);
    ngx_queue_remove(q);

    slot = ngx_queue_data(q, ngx_patient_guard_slot_t, queue);

    slot->data = data;
    slot->deadline = deadline;
    slot->most = most;

    ngx_queue_insert_tail(&pipeline->waiting, q);

    pipeline->last = end;

    return slot;
}


size_t
ngx_patient_guard_pipeline_most(ngx_patient_guard_pipeline_t *pipeline)
{
    ngx_queue_t               *q;
    ngx_patient_guard_slot_t  *slot;

    if (ngx_queue_empty(&pipeline->waiting)) {
        return 0;
    }

    q = ngx_queue_head(&pipeline->waiting);
    slot = ngx_queue_data(q, ngx_patient_guard_slot_t, queue);

    return slot->most;
}


ngx_patient_guard_slot_t *
ngx_patient_guard_pipeline_shift(ngx_patient_guard_pipeline_t *pipeline)
{
    return ngx_patient_guard_pipeline_failed(pipeline, &pipeline->waiting);
}


ngx_msec_t
ngx_patient_guard_pipeline_nearest(ngx_patient_guard_pipeline_t *pipeline,
    ngx_msec_t none)
{
    ngx_queue_t               *q;
    ngx_msec_t                 nearest;
    ngx_patient_guard_slot_t  *slot;

    nearest = none;

    /* mostly in order, but a command that is sent again keeps its deadline */

    for (q = ngx_queue_head(&pipeline->waiting);
         q != ngx_queue_sentinel(&pipeline->waiting);
         q = ngx_queue_next(q))
    {
        slot = ngx_queue_data(q, ngx_patient_guard_slot_t, queue);

        if ((ngx_msec_int_t) (slot->deadline - nearest) < 0) {
            nearest = slot->deadline;
        }
    }

    return nearest;
}


void
ngx_patient_guard_pipeline_break(ngx_patient_guard_pipeline_t *pipeline,
    ngx_queue_t *failed)
{
    pipeline->pos = pipeline->start;
    pipeline->last = pipeline->start;

    if (!ngx_queue_empty(&pipeline->waiting)) {
        ngx_queue_add(failed, &pipeline->waiting);
        ngx_queue_init(&pipeline->waiting);
    }
}


/* the slot is free to be used again: read it before anything is pushed */

ngx_patient_guard_slot_t *
ngx_patient_guard_pipeline_failed(ngx_patient_guard_pipeline_t *pipeline,
    ngx_queue_t *failed)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(failed)) {
        return NULL;
    }

    q = ngx_queue_head(failed);

    ngx_queue_remove(q);
    ngx_queue_insert_head(&pipeline->free, q);

    return ngx_queue_data(q, ngx_patient_guard_slot_t, queue);
}
