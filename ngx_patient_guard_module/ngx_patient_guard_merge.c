
#include "ngx_patient_guard_merge.h"
#include "ngx_patient_guard_note.h"
#include "ngx_patient_guard_post.h"
#include "ngx_patient_guard_parcel.h"
#include "ngx_patient_guard_reply.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_event.h>


#define NGX_PATIENT_GUARD_MERGE_BATCH  32      /* parcels */
#define NGX_PATIENT_GUARD_MERGE_MOST   128     /* under way */
#define NGX_PATIENT_GUARD_MERGE_SETS   4096    /* bytes of one's sets, */
#define NGX_PATIENT_GUARD_MERGE_TICK   8192    /*   and of a batch's   */

/* ms between two looks for what other workers have left behind */
#define NGX_PATIENT_GUARD_MERGE_IDLE   1000


typedef struct {
    ngx_patient_guard_command_t       command; /* first */
    ngx_queue_t                       queue;   /* under way, or free */
    ngx_queue_t                       waiters;
    ngx_patient_guard_merge_t        *merge;
    ngx_patient_guard_parcel_t        parcel;
} ngx_patient_guard_sync_t;


struct ngx_patient_guard_merge_s {
    ngx_patient_guard_script_conf_t  *conf;
    ngx_patient_guard_script_t       *script;
    ngx_msec_t                        interval;
    ngx_event_t                       tick;
    ngx_queue_t                       under_way;
    ngx_queue_t                       free;
    ngx_uint_t                        n;       /* under way */
    size_t                            told;    /* bytes of sets, this tick */
    ngx_pool_t                       *pool;
    u_char                            session[8];
    ngx_patient_guard_news_t          news;
    u_char                            sets[NGX_PATIENT_GUARD_MERGE_SETS];
};


static void ngx_patient_guard_merge_tick(ngx_event_t *ev);
static ngx_patient_guard_sync_t *ngx_patient_guard_merge_find(
    ngx_patient_guard_merge_t *merge, ngx_patient_guard_account_t *account);
static ngx_patient_guard_sync_t *ngx_patient_guard_merge_sync(
    ngx_patient_guard_merge_t *merge);
static ngx_int_t ngx_patient_guard_merge_send(
    ngx_patient_guard_merge_t *merge, ngx_patient_guard_account_t *account,
    uint64_t now, ngx_msec_t deadline, ngx_patient_guard_sync_t **sent);
static ngx_int_t ngx_patient_guard_sync_send(ngx_patient_guard_sync_t *sync,
    ngx_patient_guard_account_t *account);
static size_t ngx_patient_guard_sync_size(
    ngx_patient_guard_command_t *command);
static u_char *ngx_patient_guard_sync_write(
    ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest);
static ngx_int_t ngx_patient_guard_sync_answered(
    ngx_patient_guard_command_t *command, ngx_int_t rc, ngx_str_t *text);
static void ngx_patient_guard_sync_done(ngx_patient_guard_sync_t *sync,
    ngx_int_t rc);


ngx_patient_guard_merge_t *
ngx_patient_guard_merge_create(ngx_patient_guard_script_conf_t *conf,
    ngx_patient_guard_script_t *script, ngx_msec_t interval,
    ngx_cycle_t *cycle)
{
    ngx_patient_guard_merge_t  *merge;

    merge = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_merge_t));
    if (merge == NULL) {
        return NULL;
    }

    merge->conf = conf;
    merge->script = script;
    merge->interval = interval;
    merge->pool = cycle->pool;

    ngx_queue_init(&merge->under_way);
    ngx_queue_init(&merge->free);

    ngx_patient_guard_session(conf->shm->node, NGX_PATIENT_GUARD_SESSION_NODE,
                              merge->session);

    merge->tick.handler = ngx_patient_guard_merge_tick;
    merge->tick.data = merge;
    merge->tick.log = cycle->log;
    merge->tick.cancelable = 1;        /* other workers see to it then */

    ngx_add_timer(&merge->tick, NGX_PATIENT_GUARD_MERGE_IDLE);

    return merge;
}


void
ngx_patient_guard_merge_destroy(ngx_patient_guard_merge_t *merge)
{
    if (merge->tick.timer_set) {
        ngx_del_timer(&merge->tick);
    }
}


void
ngx_patient_guard_merge_soon(ngx_patient_guard_merge_t *merge)
{
    if (!merge->tick.timer_set) {

        /* it has been cancelled: the worker goes */

        return;
    }

    if ((ngx_msec_int_t) (merge->tick.timer.key - ngx_current_msec)
        > (ngx_msec_int_t) merge->interval)
    {
        ngx_del_timer(&merge->tick);
        ngx_add_timer(&merge->tick, merge->interval);
    }
}


static void
ngx_patient_guard_merge_tick(ngx_event_t *ev)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_time_t                 *tp;
    ngx_msec_t                  delay;
    ngx_patient_guard_sync_t   *sync;
    ngx_patient_guard_merge_t  *merge = ev->data;

    delay = NGX_PATIENT_GUARD_MERGE_IDLE;

    if (ngx_patient_guard_post_owes(merge->conf->shm)) {

        tp = ngx_timeofday();

        for (i = 0, merge->told = 0;
             i < NGX_PATIENT_GUARD_MERGE_BATCH
             && merge->n < NGX_PATIENT_GUARD_MERGE_BATCH
             && merge->told < NGX_PATIENT_GUARD_MERGE_TICK;
             i++)
        {
            rc = ngx_patient_guard_merge_send(merge, NULL,
                              (uint64_t) tp->sec * 1000 + tp->msec
                              + merge->conf->shm->shift,
                              ngx_patient_guard_script_deadline(merge->conf),
                              &sync);

            /* of a cluster, another server may be there for the next one */

            if (rc == NGX_DONE) {
                break;
            }
        }

        delay = merge->interval;
    }

    ngx_patient_guard_script_state(merge->script);

    if (!ngx_exiting) {
        ngx_add_timer(&merge->tick, delay);
    }
}


void
ngx_patient_guard_merge_note(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    if (ngx_patient_guard_note(merge->conf->shm, lookup, tally)) {
        lookup->tell = 0;

        (void) ngx_patient_guard_merge_now(merge, lookup,
                          ngx_patient_guard_script_deadline(merge->conf),
                          NULL);
    }

    if (ngx_patient_guard_post_owes(merge->conf->shm)) {
        ngx_patient_guard_merge_soon(merge);
    }
}


ngx_int_t
ngx_patient_guard_merge_now(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_lookup_t *lookup, ngx_msec_t deadline,
    ngx_patient_guard_waiter_t *waiter)
{
    ngx_int_t                     rc;
    ngx_patient_guard_sync_t     *sync;
    ngx_patient_guard_account_t  *account;

    account = ngx_patient_guard_told_first(lookup);
    sync = ngx_patient_guard_merge_find(merge, account);

    if (sync == NULL) {
        rc = ngx_patient_guard_merge_send(merge, account, lookup->now,
                                          deadline, &sync);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (waiter) {
        ngx_queue_insert_tail(&sync->waiters, &waiter->queue);
    }

    return NGX_OK;
}


static ngx_patient_guard_sync_t *
ngx_patient_guard_merge_find(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_account_t *account)
{
    ngx_queue_t               *q;
    ngx_patient_guard_sync_t  *sync;

    for (q = ngx_queue_head(&merge->under_way);
         q != ngx_queue_sentinel(&merge->under_way);
         q = ngx_queue_next(q))
    {
        sync = ngx_queue_data(q, ngx_patient_guard_sync_t, queue);

        if (ngx_patient_guard_same(&sync->parcel.account, account)) {
            return sync;
        }
    }

    return NULL;
}


static ngx_patient_guard_sync_t *
ngx_patient_guard_merge_sync(ngx_patient_guard_merge_t *merge)
{
    ngx_queue_t               *q;
    ngx_patient_guard_sync_t  *sync;

    if (merge->n == NGX_PATIENT_GUARD_MERGE_MOST) {
        return NULL;
    }

    if (ngx_queue_empty(&merge->free)) {

        sync = ngx_pcalloc(merge->pool, sizeof(ngx_patient_guard_sync_t));
        if (sync == NULL) {
            return NULL;
        }

        sync->merge = merge;
        sync->command.size = ngx_patient_guard_sync_size;
        sync->command.write = ngx_patient_guard_sync_write;
        sync->command.answered = ngx_patient_guard_sync_answered;
        sync->command.account = &sync->parcel.account;

        ngx_queue_init(&sync->waiters);
        ngx_queue_insert_head(&merge->free, &sync->queue);
    }

    q = ngx_queue_head(&merge->free);

    return ngx_queue_data(q, ngx_patient_guard_sync_t, queue);
}


/* account NULL: whose turn it is; NGX_DONE: there is no such parcel */

static ngx_int_t
ngx_patient_guard_merge_send(ngx_patient_guard_merge_t *merge,
    ngx_patient_guard_account_t *account, uint64_t now, ngx_msec_t deadline,
    ngx_patient_guard_sync_t **sent)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_patient_guard_sync_t  *sync;

    sync = ngx_patient_guard_script_there(merge->script, account)
           ? ngx_patient_guard_merge_sync(merge) : NULL;

    if (sync == NULL) {
        return NGX_DECLINED;
    }

    sync->parcel.now = now;
    sync->command.most = NGX_PATIENT_GUARD_REPLY_HUGE;
    ngx_patient_guard_command_begin(&sync->command, deadline);

    rc = ngx_patient_guard_sync_send(sync, account);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_queue_remove(&sync->queue);
    ngx_queue_insert_tail(&merge->under_way, &sync->queue);

    merge->n++;

    for (i = 0; i < sync->parcel.nlimits; i++) {
        merge->told += sync->parcel.images[i].nset
                       * sizeof(ngx_patient_guard_patient_t);
    }

    *sent = sync;

    return NGX_OK;
}


static ngx_int_t
ngx_patient_guard_sync_send(ngx_patient_guard_sync_t *sync,
    ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_merge_t  *merge;

    merge = sync->merge;

    if (ngx_patient_guard_post_take(merge->conf->shm, account, &sync->parcel,
                                     merge->sets,
                                     NGX_PATIENT_GUARD_MERGE_SETS)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    if (ngx_patient_guard_script_send(merge->script, &sync->command)
        != NGX_OK)
    {
        ngx_patient_guard_post_lost(merge->conf->shm, &sync->parcel);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static size_t
ngx_patient_guard_sync_size(ngx_patient_guard_command_t *command)
{
    ngx_patient_guard_sync_t  *sync = (ngx_patient_guard_sync_t *) command;

    return ngx_patient_guard_call_sync_size(&sync->merge->conf->keys,
                                            &sync->parcel);
}


static u_char *
ngx_patient_guard_sync_write(ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest)
{
    ngx_patient_guard_sync_t  *sync = (ngx_patient_guard_sync_t *) command;

    caller->session = sync->merge->session;

    return ngx_patient_guard_call_sync_write(p, &sync->merge->conf->keys,
                                             &sync->parcel, caller, digest);
}


static ngx_int_t
ngx_patient_guard_sync_answered(ngx_patient_guard_command_t *command,
    ngx_int_t rc, ngx_str_t *text)
{
    ngx_patient_guard_sync_t   *sync = (ngx_patient_guard_sync_t *) command;

    ngx_patient_guard_shm_t    *shm;
    ngx_patient_guard_news_t   *news;

    shm = sync->merge->conf->shm;
    news = &sync->merge->news;

    if (rc == NGX_AGAIN) {

        /* it is taken anew: the bytes of its sets are gone */

        ngx_patient_guard_post_lost(shm, &sync->parcel);

        if (ngx_patient_guard_sync_send(sync, &sync->parcel.account)
            == NGX_OK)
        {
            return NGX_OK;
        }

        rc = NGX_DECLINED;
    }

    if (rc == NGX_OK) {
        rc = ngx_patient_guard_reply_news(text, command->nonce, &sync->parcel,
                                         news);
    }

    if (rc == NGX_OK) {
        ngx_patient_guard_post_news(shm, &sync->parcel, news);

    } else if (rc == NGX_ERROR) {
        ngx_patient_guard_post_lost(shm, &sync->parcel);
    }

    ngx_patient_guard_sync_done(sync, rc == NGX_OK ? NGX_OK : NGX_ERROR);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static void
ngx_patient_guard_sync_done(ngx_patient_guard_sync_t *sync, ngx_int_t rc)
{
    ngx_queue_t                  waiters, *q;
    ngx_patient_guard_waiter_t  *waiter;

    ngx_queue_remove(&sync->queue);
    ngx_queue_insert_head(&sync->merge->free, &sync->queue);

    sync->merge->n--;

    /* a waiter may send anew, by this very sync */

    ngx_queue_init(&waiters);

    if (!ngx_queue_empty(&sync->waiters)) {
        ngx_queue_add(&waiters, &sync->waiters);
        ngx_queue_init(&sync->waiters);
    }

    while (!ngx_queue_empty(&waiters)) {

        q = ngx_queue_head(&waiters);
        ngx_queue_remove(q);

        waiter = ngx_queue_data(q, ngx_patient_guard_waiter_t, queue);
        waiter->done(waiter, rc);
    }
}
