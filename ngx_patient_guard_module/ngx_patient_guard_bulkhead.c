
#include "ngx_patient_guard_bulkhead.h"


#define NGX_PATIENT_GUARD_LANES  1024          /* chains of the table */


ngx_int_t
ngx_patient_guard_bulkhead_init(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_pool_t *pool)
{
    ngx_uint_t  i;

    bulkhead->table = ngx_palloc(pool, NGX_PATIENT_GUARD_LANES
                                       * sizeof(ngx_queue_t));
    if (bulkhead->table == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_PATIENT_GUARD_LANES; i++) {
        ngx_queue_init(&bulkhead->table[i]);
    }

    ngx_queue_init(&bulkhead->free);

    bulkhead->waiting = 0;
    bulkhead->pool = pool;

    return NGX_OK;
}


ngx_patient_guard_lane_t *
ngx_patient_guard_lane(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_account_t *account)
{
    ngx_queue_t               *q, *chain;
    ngx_patient_guard_lane_t  *lane;

    chain = &bulkhead->table[account->word[0] % NGX_PATIENT_GUARD_LANES];

    for (q = ngx_queue_head(chain);
         q != ngx_queue_sentinel(chain);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_patient_guard_lane_t, queue);

        if (ngx_patient_guard_same(&lane->account, account)) {
            return lane;
        }
    }

    if (!ngx_queue_empty(&bulkhead->free)) {
        q = ngx_queue_head(&bulkhead->free);
        ngx_queue_remove(q);
        lane = ngx_queue_data(q, ngx_patient_guard_lane_t, queue);

    } else {
        lane = ngx_palloc(bulkhead->pool, sizeof(ngx_patient_guard_lane_t));
        if (lane == NULL) {
            return NULL;
        }
    }

    ngx_memzero(lane, sizeof(ngx_patient_guard_lane_t));

    lane->account = *account;

    ngx_queue_init(&lane->line);
    ngx_queue_insert_head(chain, &lane->queue);

    return lane;
}


ngx_int_t
ngx_patient_guard_lane_enter(ngx_patient_guard_lane_t *lane,
    ngx_uint_t npatients)
{
    if (lane->abreast
        && (lane->abreast == NGX_PATIENT_GUARD_ABREAST
            || lane->patients + npatients
               > NGX_PATIENT_GUARD_ABREAST_PATIENTS))
    {
        return NGX_DECLINED;
    }

    lane->abreast++;
    lane->patients += npatients;

    return NGX_OK;
}


void
ngx_patient_guard_lane_leave(ngx_patient_guard_lane_t *lane,
    ngx_uint_t npatients)
{
    lane->abreast--;
    lane->patients -= npatients;
}


ngx_int_t
ngx_patient_guard_lane_wait(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane, ngx_queue_t *link)
{
    if (lane->waiting == NGX_PATIENT_GUARD_LINE
        || bulkhead->waiting == NGX_PATIENT_GUARD_LINES)
    {
        return NGX_DECLINED;
    }

    lane->waiting++;
    bulkhead->waiting++;

    ngx_queue_insert_tail(&lane->line, link);

    return NGX_OK;
}


void
ngx_patient_guard_lane_give_up(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane, ngx_queue_t *link)
{
    ngx_queue_remove(link);

    lane->waiting--;
    bulkhead->waiting--;
}


void
ngx_patient_guard_lane_drop(ngx_patient_guard_bulkhead_t *bulkhead,
    ngx_patient_guard_lane_t *lane)
{
    if (lane->abreast == 0 && lane->waiting == 0) {
        ngx_queue_remove(&lane->queue);
        ngx_queue_insert_head(&bulkhead->free, &lane->queue);
    }
}
