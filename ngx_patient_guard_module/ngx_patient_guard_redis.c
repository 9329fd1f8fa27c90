
#include "ngx_patient_guard_redis.h"
#include "ngx_patient_guard_bulkhead.h"
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_merge.h"
#include "ngx_patient_guard_outage.h"
#include "ngx_patient_guard_post.h"
#include "ngx_patient_guard_reply.h"

#include <ngx_event.h>


typedef struct {
    ngx_patient_guard_store_t         store;   /* first: the contract */
    ngx_patient_guard_redis_conf_t   *conf;
    ngx_patient_guard_shm_t          *shm;
    ngx_patient_guard_script_t       *script;
    ngx_patient_guard_merge_t        *merge;
    ngx_patient_guard_bulkhead_t      bulkhead;
    ngx_patient_guard_outage_t        outage;
    ngx_queue_t                       free;    /* asks */
    ngx_msec_t                        timeout; /* of a call */
    ngx_cycle_t                      *cycle;
} ngx_patient_guard_redis_t;


/*
 * A lookup on its way to Redis.  It belongs to the store, for a call that was
 * sent is answered even when the lookup is forgotten.
 */

typedef struct {
    ngx_patient_guard_command_t       command; /* first */
    ngx_patient_guard_waiter_t        waiter;
    ngx_patient_guard_redis_t        *redis;
    ngx_patient_guard_op_t           *op;      /* NULL: forgotten */
    ngx_patient_guard_lane_t         *lane;
    ngx_uint_t                        npatients;
    ngx_queue_t                       queue;   /* in line, or free */
    ngx_event_t                       late;    /* in line for too long */
    ngx_event_t                       answered;
    unsigned                          in_line:1;
} ngx_patient_guard_ask_t;


static ngx_int_t ngx_patient_guard_redis_count(
    ngx_patient_guard_store_t *store, ngx_patient_guard_op_t *op);
static ngx_int_t ngx_patient_guard_redis_charge(
    ngx_patient_guard_store_t *store, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);
static void ngx_patient_guard_redis_forget(ngx_patient_guard_op_t *op);
static ngx_int_t ngx_patient_guard_redis_ask(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_op_t *op, ngx_int_t rc);
static ngx_patient_guard_ask_t *ngx_patient_guard_ask_create(
    ngx_patient_guard_redis_t *redis);
static void ngx_patient_guard_ask_out_of_line(ngx_patient_guard_ask_t *ask);
static void ngx_patient_guard_ask_free(ngx_patient_guard_ask_t *ask);
static ngx_int_t ngx_patient_guard_ask_go(ngx_patient_guard_ask_t *ask,
    ngx_int_t rc);
static void ngx_patient_guard_ask_finish(ngx_patient_guard_ask_t *ask);
static void ngx_patient_guard_ask_next(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lane_t *lane);
static size_t ngx_patient_guard_ask_size(
    ngx_patient_guard_command_t *command);
static u_char *ngx_patient_guard_ask_write(
    ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest);
static ngx_int_t ngx_patient_guard_ask_answered(
    ngx_patient_guard_command_t *command, ngx_int_t rc, ngx_str_t *text);
static ngx_int_t ngx_patient_guard_ask_tally(ngx_patient_guard_ask_t *ask,
    ngx_str_t *text);
static void ngx_patient_guard_ask_checked(ngx_patient_guard_waiter_t *waiter,
    ngx_int_t rc);
static void ngx_patient_guard_ask_late_handler(ngx_event_t *ev);
static void ngx_patient_guard_ask_answered_handler(ngx_event_t *ev);


ngx_patient_guard_store_t *
ngx_patient_guard_redis_create(ngx_patient_guard_redis_conf_t *conf,
    ngx_cycle_t *cycle)
{
    ngx_patient_guard_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->store.count = ngx_patient_guard_redis_count;
    redis->store.charge = ngx_patient_guard_redis_charge;
    redis->store.forget = ngx_patient_guard_redis_forget;
    redis->conf = conf;
    redis->shm = conf->script.shm;
    redis->cycle = cycle;

    ngx_queue_init(&redis->free);

    redis->script = ngx_patient_guard_script_create(&conf->script, cycle);

    if (redis->script == NULL
        || ngx_patient_guard_bulkhead_init(&redis->bulkhead, cycle->pool)
           != NGX_OK)
    {
        return NULL;
    }

    redis->merge = ngx_patient_guard_merge_create(&conf->script, redis->script,
                                                  conf->interval, cycle);

    redis->timeout = ngx_patient_guard_script_timeout(&conf->script);
    redis->outage.mode = conf->outage;
    redis->outage.shm = redis->shm;
    redis->outage.merge = redis->merge;

    return redis->merge ? &redis->store : NULL;
}


void
ngx_patient_guard_redis_close(ngx_patient_guard_store_t *store)
{
    ngx_patient_guard_redis_t  *redis = (ngx_patient_guard_redis_t *) store;

    ngx_patient_guard_merge_destroy(redis->merge);
    ngx_patient_guard_script_destroy(redis->script);
}


static ngx_int_t
ngx_patient_guard_redis_count(ngx_patient_guard_store_t *store,
    ngx_patient_guard_op_t *op)
{
    ngx_patient_guard_redis_t  *redis = (ngx_patient_guard_redis_t *) store;

    ngx_int_t  rc;

    if (!ngx_patient_guard_script_there(redis->script,
                                        &op->lookup.account)) {
        ngx_patient_guard_outage(&redis->outage, op, 0);
        return NGX_OK;
    }

    rc = redis->conf->local && !op->lookup.asks
         ? ngx_patient_guard_floor_count(redis->shm, &op->lookup, &op->tally,
                                         NULL, 1)
         : ngx_patient_guard_floor_answer(redis->shm, &op->lookup, &op->tally,
                                          NGX_PATIENT_GUARD_KNOWN);

    if (rc == NGX_OK) {
        if (ngx_patient_guard_post_owes(redis->shm)) {
            ngx_patient_guard_merge_soon(redis->merge);
        }
        return NGX_OK;
    }

    return rc == NGX_ERROR ? NGX_ERROR
                           : ngx_patient_guard_redis_ask(redis, op, rc);
}


/* rc is what the floor has said: NGX_AGAIN or NGX_DECLINED */

static ngx_int_t
ngx_patient_guard_redis_ask(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_op_t *op, ngx_int_t rc)
{
    ngx_patient_guard_ask_t  *ask;

    ask = ngx_patient_guard_ask_create(redis);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->lane = ngx_patient_guard_lane(&redis->bulkhead, &op->lookup.account);
    if (ask->lane == NULL) {
        ngx_patient_guard_ask_free(ask);
        return NGX_ERROR;
    }

    ask->op = op;
    ask->npatients = op->lookup.npatients;
    ask->command.account = &ask->lane->account;
    ngx_patient_guard_command_begin(&ask->command,
                                    ngx_current_msec + redis->timeout);

    if (ngx_queue_empty(&ask->lane->line)
        && ngx_patient_guard_lane_enter(ask->lane, ask->npatients) == NGX_OK)
    {
        if (ngx_patient_guard_ask_go(ask, rc) == NGX_OK) {
            op->pending = ask;
            return NGX_AGAIN;
        }

        ngx_patient_guard_lane_leave(ask->lane, ask->npatients);

    } else if (ngx_patient_guard_lane_wait(&redis->bulkhead, ask->lane,
                                           &ask->queue)
               == NGX_OK)
    {
        ask->in_line = 1;
        op->pending = ask;

        ngx_add_timer(&ask->late, redis->timeout / 2 + 1);
        return NGX_AGAIN;

    } else {
        ngx_patient_guard_outage(&redis->outage, op, 0);
    }

    ngx_patient_guard_lane_drop(&redis->bulkhead, ask->lane);
    ngx_patient_guard_ask_free(ask);

    return NGX_OK;
}


static ngx_int_t
ngx_patient_guard_redis_charge(ngx_patient_guard_store_t *store,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    ngx_patient_guard_redis_t  *redis = (ngx_patient_guard_redis_t *) store;

    ngx_patient_guard_merge_soon(redis->merge);

    return ngx_patient_guard_floor_count(redis->shm, lookup, tally, NULL, 0);
}


static void
ngx_patient_guard_redis_forget(ngx_patient_guard_op_t *op)
{
    ngx_patient_guard_ask_t  *ask = op->pending;

    if (ask == NULL) {
        return;
    }

    op->pending = NULL;
    ask->op = NULL;

    if (ask->in_line) {
        ngx_patient_guard_ask_out_of_line(ask);
        ngx_patient_guard_lane_drop(&ask->redis->bulkhead, ask->lane);
        ngx_patient_guard_ask_free(ask);

    } else if (ask->answered.posted) {
        ngx_delete_posted_event(&ask->answered);
        ngx_patient_guard_ask_free(ask);
    }
}


static ngx_patient_guard_ask_t *
ngx_patient_guard_ask_create(ngx_patient_guard_redis_t *redis)
{
    ngx_queue_t              *q;
    ngx_patient_guard_ask_t  *ask;

    if (!ngx_queue_empty(&redis->free)) {
        q = ngx_queue_head(&redis->free);
        ngx_queue_remove(q);

        return ngx_queue_data(q, ngx_patient_guard_ask_t, queue);
    }

    ask = ngx_pcalloc(redis->cycle->pool, sizeof(ngx_patient_guard_ask_t));
    if (ask == NULL) {
        return NULL;
    }

    ask->redis = redis;

    ask->command.size = ngx_patient_guard_ask_size;
    ask->command.write = ngx_patient_guard_ask_write;
    ask->command.answered = ngx_patient_guard_ask_answered;
    ask->command.most = NGX_PATIENT_GUARD_REPLY_MAX;

    ask->waiter.done = ngx_patient_guard_ask_checked;

    ask->late.handler = ngx_patient_guard_ask_late_handler;
    ask->late.data = ask;
    ask->late.log = redis->cycle->log;

    ask->answered.handler = ngx_patient_guard_ask_answered_handler;
    ask->answered.data = ask;
    ask->answered.log = redis->cycle->log;

    return ask;
}


static void
ngx_patient_guard_ask_out_of_line(ngx_patient_guard_ask_t *ask)
{
    ask->in_line = 0;

    if (ask->late.timer_set) {
        ngx_del_timer(&ask->late);
    }

    ngx_patient_guard_lane_give_up(&ask->redis->bulkhead, ask->lane,
                                   &ask->queue);
}


static void
ngx_patient_guard_ask_free(ngx_patient_guard_ask_t *ask)
{
    ask->op = NULL;

    ngx_queue_insert_head(&ask->redis->free, &ask->queue);
}


/*
 * By what the floor has said.  NGX_OK: it is under way; NGX_DONE: the tally is
 * filled.  The ask is in its lane, and stays there.
 */

static ngx_int_t
ngx_patient_guard_ask_go(ngx_patient_guard_ask_t *ask, ngx_int_t rc)
{
    ngx_int_t                   sent;
    ngx_patient_guard_op_t     *op;
    ngx_patient_guard_redis_t  *redis;

    op = ask->op;
    redis = ask->redis;

    /* a call that must be late would be an outage for everybody */

    if ((ngx_msec_int_t) (ask->command.deadline - ngx_current_msec)
        <= (ngx_msec_int_t) redis->timeout / 4)
    {
        ngx_patient_guard_outage(&redis->outage, op, 0);
        return NGX_DONE;
    }

    if (rc == NGX_DECLINED) {

        sent = ngx_patient_guard_merge_now(redis->merge, &op->lookup,
                                           ask->command.deadline,
                                           &ask->waiter);
        if (sent == NGX_OK) {
            return NGX_OK;
        }

        if (sent == NGX_DECLINED) {
            ngx_patient_guard_outage(&redis->outage, op, 0);
            return NGX_DONE;
        }

        /* another worker has just heard how it stands */

        rc = ngx_patient_guard_floor_answer(redis->shm, &op->lookup,
                                  &op->tally, NGX_PATIENT_GUARD_CHECKED);
    }

    if (rc == NGX_AGAIN
        && ngx_patient_guard_script_send(redis->script, &ask->command)
           == NGX_OK)
    {
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        ngx_patient_guard_outage_tally(op);

    } else if (rc != NGX_OK) {
        ngx_patient_guard_outage(&redis->outage, op, 0);
    }

    return NGX_DONE;
}


/* its answer is there: the next one in line may go */

static void
ngx_patient_guard_ask_finish(ngx_patient_guard_ask_t *ask)
{
    ngx_patient_guard_lane_t   *lane;
    ngx_patient_guard_redis_t  *redis;

    lane = ask->lane;
    redis = ask->redis;

    ngx_patient_guard_lane_leave(lane, ask->npatients);

    if (ask->op) {

        /* the request goes on by an event of its own */

        ngx_post_event(&ask->answered, &ngx_posted_events);

    } else {
        ngx_patient_guard_ask_free(ask);
    }

    ngx_patient_guard_ask_next(redis, lane);
}


static void
ngx_patient_guard_ask_next(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lane_t *lane)
{
    ngx_int_t                 rc;
    ngx_uint_t                flags;
    ngx_queue_t              *q;
    ngx_patient_guard_ask_t  *ask;

    while (!ngx_queue_empty(&lane->line)) {

        q = ngx_queue_head(&lane->line);
        ask = ngx_queue_data(q, ngx_patient_guard_ask_t, queue);

        if (ngx_patient_guard_lane_enter(lane, ask->npatients) != NGX_OK) {
            return;
        }

        ngx_patient_guard_ask_out_of_line(ask);

        /* much may be known by now */

        flags = ngx_patient_guard_script_there(redis->script,
                                               &ask->op->lookup.account)
                ? NGX_PATIENT_GUARD_KNOWN : 0;

        rc = ngx_patient_guard_floor_answer(redis->shm, &ask->op->lookup,
                                            &ask->op->tally, flags);

        if (rc == NGX_OK || ngx_patient_guard_ask_go(ask, rc) != NGX_OK) {
            ngx_patient_guard_lane_leave(lane, ask->npatients);
            ngx_post_event(&ask->answered, &ngx_posted_events);
        }
    }

    ngx_patient_guard_lane_drop(&redis->bulkhead, lane);
}


static size_t
ngx_patient_guard_ask_size(ngx_patient_guard_command_t *command)
{
    ngx_patient_guard_ask_t  *ask = (ngx_patient_guard_ask_t *) command;

    return ngx_patient_guard_call_size(&ask->redis->conf->script.keys,
                                       &ask->op->lookup);
}


static u_char *
ngx_patient_guard_ask_write(ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest)
{
    ngx_patient_guard_ask_t  *ask = (ngx_patient_guard_ask_t *) command;

    return ngx_patient_guard_call_write(p, &ask->redis->conf->script.keys,
                                        &ask->op->lookup, caller, digest);
}


static ngx_int_t
ngx_patient_guard_ask_answered(ngx_patient_guard_command_t *command,
    ngx_int_t rc, ngx_str_t *text)
{
    ngx_patient_guard_ask_t  *ask = (ngx_patient_guard_ask_t *) command;

    if (ask->op == NULL) {

        /* what was counted is counted; nobody waits any more */

        ngx_patient_guard_ask_finish(ask);
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        rc = ngx_patient_guard_ask_tally(ask, text);
    }

    if (rc == NGX_AGAIN
        && ngx_patient_guard_script_send(ask->redis->script, command)
           == NGX_OK)
    {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        ngx_patient_guard_outage(&ask->redis->outage, ask->op,
                                 rc == NGX_ERROR ? command->nonce : 0);
    }

    ngx_patient_guard_ask_finish(ask);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* NGX_OK, NGX_AGAIN: to be sent again; NGX_DECLINED, NGX_ERROR: as answered */

static ngx_int_t
ngx_patient_guard_ask_tally(ngx_patient_guard_ask_t *ask, ngx_str_t *text)
{
    ngx_int_t                   rc;
    ngx_patient_guard_op_t     *op;
    ngx_patient_guard_redis_t  *redis;

    op = ask->op;
    redis = ask->redis;

    rc = ngx_patient_guard_reply_tally(text, ask->command.nonce, &op->lookup,
                                      &op->tally);

    if (rc == NGX_OK) {
        ngx_patient_guard_merge_note(redis->merge, &op->lookup, &op->tally);
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ngx_patient_guard_script_renumber(redis->script);

        rc = ask->command.again ? NGX_DECLINED : NGX_AGAIN;
        ask->command.again = 1;
    }

    return rc;
}


static void
ngx_patient_guard_ask_checked(ngx_patient_guard_waiter_t *waiter,
    ngx_int_t rc)
{
    ngx_patient_guard_op_t     *op;
    ngx_patient_guard_ask_t    *ask;
    ngx_patient_guard_redis_t  *redis;

    ask = (ngx_patient_guard_ask_t *)
              ((u_char *) waiter - offsetof(ngx_patient_guard_ask_t, waiter));
    op = ask->op;
    redis = ask->redis;

    if (op && rc != NGX_OK) {
        ngx_patient_guard_outage(&redis->outage, op, 0);
    } else if (op) {
        rc = ngx_patient_guard_floor_answer(redis->shm, &op->lookup,
                                            &op->tally,
                                            NGX_PATIENT_GUARD_CHECKED);

        op->tally.source = NGX_PATIENT_GUARD_FROM_REDIS;

        if (rc != NGX_OK && ngx_patient_guard_ask_go(ask, rc) == NGX_OK) {
            return;
        }
    }

    ngx_patient_guard_ask_finish(ask);
}


/* Redis is there, and the account has too much under way: it alone waits */

static void
ngx_patient_guard_ask_late_handler(ngx_event_t *ev)
{
    ngx_patient_guard_op_t     *op;
    ngx_patient_guard_ask_t    *ask = ev->data;
    ngx_patient_guard_redis_t  *redis;

    op = ask->op;
    redis = ask->redis;

    ngx_patient_guard_ask_out_of_line(ask);
    ngx_patient_guard_lane_drop(&redis->bulkhead, ask->lane);
    ngx_patient_guard_ask_free(ask);

    op->pending = NULL;

    ngx_patient_guard_outage(&redis->outage, op, 0);

    op->done(op);
}


static void
ngx_patient_guard_ask_answered_handler(ngx_event_t *ev)
{
    ngx_patient_guard_op_t   *op;
    ngx_patient_guard_ask_t  *ask = ev->data;

    op = ask->op;
    op->pending = NULL;

    ngx_patient_guard_ask_free(ask);

    op->done(op);
}
