
#include "ngx_patient_guard_order.h"
#include "ngx_patient_guard_bytes.h"
#include "ngx_patient_guard_fleet.h"


static void ngx_patient_guard_order_members(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, ngx_patient_guard_account_t **names,
    uint64_t now);
static void ngx_patient_guard_order_clear(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, uint64_t now);
static ngx_uint_t ngx_patient_guard_order_drops(ngx_patient_guard_shm_t *shm,
    uint32_t id);


u_char *
ngx_patient_guard_order_write(u_char *p, ngx_patient_guard_order_t *order)
{
    p = ngx_patient_guard_put64(p, order->time);
    p = ngx_patient_guard_put64(p, order->until);
    p = ngx_patient_guard_put64(p, order->node);
    *p++ = (u_char) order->kind;

    p = ngx_cpymem(p, &order->account, sizeof(ngx_patient_guard_account_t));

    return ngx_cpymem(p, &order->previous,
                      sizeof(ngx_patient_guard_account_t));
}


ngx_int_t
ngx_patient_guard_order_read(u_char *p, ngx_patient_guard_order_t *order)
{
    order->number = ngx_patient_guard_get64(&p);
    order->time = ngx_patient_guard_get64(&p);
    order->until = ngx_patient_guard_get64(&p);
    order->node = ngx_patient_guard_get64(&p);
    order->kind = *p++;

    ngx_memcpy(&order->account, p, sizeof(ngx_patient_guard_account_t));
    p += sizeof(ngx_patient_guard_account_t);
    ngx_memcpy(&order->previous, p, sizeof(ngx_patient_guard_account_t));

    if (order->kind < NGX_PATIENT_GUARD_ORDER_CLEAR
        || order->kind > NGX_PATIENT_GUARD_ORDER_FORGET
        || (order->account.word[0] == 0 && order->account.word[1] == 0))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_order_obey(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, uint64_t now, ngx_uint_t counted)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_patient_guard_sums_t     *sums;
    ngx_patient_guard_account_t  *names[2];

    sums = shm->totals->sums;
    names[0] = &order->account;
    names[1] = &order->previous;
    rc = NGX_OK;

    ngx_patient_guard_totals_lock(shm->totals);

    if (order->number) {

        if (order->number <= sums->list.heard) {
            ngx_patient_guard_totals_unlock(shm->totals);
            return NGX_DONE;
        }

        sums->list.heard = order->number;
    }

    if (order->kind == NGX_PATIENT_GUARD_ORDER_BLOCK && order->until > now) {
        rc = ngx_patient_guard_blocks_set(&sums->blocks, names[0],
                                          order->until, now);
        ngx_patient_guard_blocks_lift(&sums->blocks, names[1]);

    } else {
        for (i = 0; i < 2; i++) {
            ngx_patient_guard_blocks_lift(&sums->blocks, names[i]);
        }
    }

    for (i = 0;
         i < 2 && counted && order->kind == NGX_PATIENT_GUARD_ORDER_FORGET;
         i++)
    {
        if (names[i]->word[0] || names[i]->word[1]) {
            ngx_patient_guard_recent_forget(&sums->recent, names[i]);
        }
    }

    ngx_patient_guard_totals_unlock(shm->totals);

    if (rc == NGX_OK && counted) {
        (void) ngx_atomic_fetch_add(&sums->orders[order->kind], 1);
        ngx_patient_guard_order_members(shm, order, names, now);
    }

    return rc;
}


ngx_int_t
ngx_patient_guard_order_heard(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, uint64_t now)
{
    ngx_int_t   rc;
    ngx_uint_t  counted;

    counted = order->node != shm->node->id
              && order->time + NGX_PATIENT_GUARD_SKEW
                 >= shm->totals->sums->born;

    rc = ngx_patient_guard_order_obey(shm, order, now, counted);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_WARN, shm->log, 0,
                      "patient guard: zone \"%V\" blocks as many accounts as "
                      "it can: one that was blocked elsewhere is not here",
                      &shm->name);
    }

    return rc;
}


/* what was counted of it */

static void
ngx_patient_guard_order_members(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, ngx_patient_guard_account_t **names,
    uint64_t now)
{
    ngx_uint_t               i;
    ngx_patient_guard_ref_t  member;

    if (order->kind == NGX_PATIENT_GUARD_ORDER_BLOCK) {
        return;
    }

    ngx_patient_guard_shm_lock(shm);

    for (i = 0; i < 2; i++) {

        member = ngx_patient_guard_member_find(shm->node, names[i]);

        if (member == 0) {
            continue;
        }

        if (order->kind == NGX_PATIENT_GUARD_ORDER_FORGET) {
            ngx_patient_guard_member_forget(shm->node, member);

        } else {
            ngx_patient_guard_order_clear(shm, member,
                                          ngx_max(now, order->time));
        }
    }

    ngx_patient_guard_shm_leave(shm, now);
}


/* whom it knows, and what is usual for it, stays */

static void
ngx_patient_guard_order_clear(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, uint64_t now)
{
    uint32_t                    until;
    ngx_patient_guard_ref_t     ref, next;
    ngx_patient_guard_node_t   *node;
    ngx_patient_guard_queue_t  *queue;

    node = shm->node;

    for (ref = ngx_patient_guard_member(node, member)->queues;
         ref;
         ref = next)
    {
        queue = ngx_patient_guard_queue(&node->zone, ref);
        next = queue->next;

        if (queue->id == NGX_PATIENT_GUARD_QUEUE_DOUBTS) {

            /* a challenge of before is told by nobody any more */

            until = queue->until;
            ngx_patient_guard_queue_empty(&node->zone, ref);
            ngx_patient_guard_queue_mark(&node->zone, ref,
                                         ngx_max(now, queue->newest), 0,
                                         until);

        } else if (ngx_patient_guard_order_drops(shm, queue->id)) {
            ngx_patient_guard_queue_drop(&node->zone,
                             &ngx_patient_guard_member(node, member)->queues,
                             ref);
        }
    }
}


static ngx_uint_t
ngx_patient_guard_order_drops(ngx_patient_guard_shm_t *shm, uint32_t id)
{
    ngx_uint_t  i;

    if (id == NGX_PATIENT_GUARD_QUEUE_CHALLENGE
        || id == NGX_PATIENT_GUARD_QUEUE_GRANTS
        || id == NGX_PATIENT_GUARD_QUEUE_DUE)
    {
        return 1;
    }

    for (i = 0; i < shm->nlimits; i++) {
        if (shm->limits[i].id == id) {
            return 1;
        }
    }

    return 0;
}


ngx_str_t *
ngx_patient_guard_order_name(ngx_patient_guard_order_e kind)
{
    static ngx_str_t  names[] = {
        ngx_string("clear"),
        ngx_string("block"),
        ngx_string("forget")
    };

    return &names[kind - NGX_PATIENT_GUARD_ORDER_CLEAR];
}
