
#include <openssl/rand.h>

#include "ngx_patient_guard_desk.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_event.h>

#include "ngx_patient_guard_desk_lua.h"


/* ms between two looks of a worker, and of a node */
#define NGX_PATIENT_GUARD_DESK_TICK   150
#define NGX_PATIENT_GUARD_DESK_POLL   300

#define NGX_PATIENT_GUARD_DESK_ARGS   (3 + 2 + 5 + NGX_PATIENT_GUARD_LIMITS)


/* what is said of one order, one after the other */

typedef enum {
    NGX_PATIENT_GUARD_ERRAND_ACCOUNT = 0,      /* to the account itself */
    NGX_PATIENT_GUARD_ERRAND_TELL,             /* to all nodes */
    NGX_PATIENT_GUARD_ERRAND_POLL              /* what others have ordered */
} ngx_patient_guard_step_e;


typedef struct {
    ngx_patient_guard_command_t   command;     /* first */
    ngx_patient_guard_desk_t     *desk;
    ngx_patient_guard_telling_t  *telling;     /* NULL: nobody waits */
    ngx_patient_guard_order_t     order;
    ngx_patient_guard_step_e      step;
    ngx_queue_t                   queue;       /* free */
    ngx_event_t                   answered;
    ngx_int_t                     rc;
    unsigned                      again:1;     /* after another node: the */
                                               /*   account only          */
} ngx_patient_guard_errand_t;


struct ngx_patient_guard_desk_s {
    ngx_patient_guard_script_conf_t  *conf;
    ngx_patient_guard_account_t       list;    /* zero: no account's */
    ngx_queue_t                       free;
    ngx_event_t                       tick;
    ngx_uint_t                        polls;   /* is it under way? */
    ngx_cycle_t                      *cycle;
};


static ngx_patient_guard_errand_t *ngx_patient_guard_desk_errand(
    ngx_patient_guard_desk_t *desk, ngx_patient_guard_order_t *order,
    ngx_patient_guard_step_e step);
static ngx_int_t ngx_patient_guard_errand_send(
    ngx_patient_guard_errand_t *errand);
static size_t ngx_patient_guard_errand_size(
    ngx_patient_guard_command_t *command);
static u_char *ngx_patient_guard_errand_write(
    ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest);
static u_char *ngx_patient_guard_errand_clear(
    ngx_patient_guard_errand_t *errand, u_char *p);
static ngx_int_t ngx_patient_guard_errand_answered(
    ngx_patient_guard_command_t *command, ngx_int_t rc, ngx_str_t *text);
static ngx_int_t ngx_patient_guard_errand_next(
    ngx_patient_guard_errand_t *errand, ngx_str_t *text);
static void ngx_patient_guard_errand_end(ngx_patient_guard_errand_t *errand,
    ngx_int_t rc);
static void ngx_patient_guard_errand_handler(ngx_event_t *ev);
static void ngx_patient_guard_desk_tick(ngx_event_t *ev);
static ngx_int_t ngx_patient_guard_desk_hear(ngx_patient_guard_desk_t *desk,
    u_char *p, u_char *last);
static void ngx_patient_guard_desk_obey(ngx_patient_guard_desk_t *desk,
    ngx_patient_guard_order_t *order, uint64_t now);


ngx_patient_guard_desk_t *
ngx_patient_guard_desk_create(ngx_patient_guard_script_conf_t *conf,
    ngx_cycle_t *cycle)
{
    ngx_patient_guard_desk_t  *desk;

    desk = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_desk_t));
    if (desk == NULL) {
        return NULL;
    }

    desk->conf = conf;
    desk->cycle = cycle;

    ngx_queue_init(&desk->free);

    desk->tick.handler = ngx_patient_guard_desk_tick;
    desk->tick.data = desk;
    desk->tick.log = cycle->log;
    desk->tick.cancelable = 1;

    ngx_add_timer(&desk->tick, NGX_PATIENT_GUARD_DESK_TICK);

    return desk;
}


void
ngx_patient_guard_desk_destroy(ngx_patient_guard_desk_t *desk)
{
    if (desk->tick.timer_set) {
        ngx_del_timer(&desk->tick);
    }
}


ngx_int_t
ngx_patient_guard_desk_tell(ngx_patient_guard_desk_t *desk,
    ngx_patient_guard_telling_t *telling)
{
    ngx_patient_guard_errand_t  *errand;

    telling->pending = NULL;

    errand = ngx_patient_guard_desk_errand(desk, &telling->order,
                     telling->order.kind == NGX_PATIENT_GUARD_ORDER_BLOCK
                     ? NGX_PATIENT_GUARD_ERRAND_TELL
                     : NGX_PATIENT_GUARD_ERRAND_ACCOUNT);
    if (errand == NULL) {
        return NGX_DECLINED;
    }

    errand->telling = telling;
    telling->pending = errand;

    return NGX_AGAIN;
}


void
ngx_patient_guard_desk_forget(ngx_patient_guard_telling_t *telling)
{
    ngx_patient_guard_errand_t  *errand = telling->pending;

    if (errand == NULL) {
        return;
    }

    telling->pending = NULL;
    errand->telling = NULL;
}


/* sent; order NULL: it is of none.  NULL: Redis is away, or memory is short */

static ngx_patient_guard_errand_t *
ngx_patient_guard_desk_errand(ngx_patient_guard_desk_t *desk,
    ngx_patient_guard_order_t *order, ngx_patient_guard_step_e step)
{
    ngx_queue_t                 *q;
    ngx_patient_guard_errand_t  *errand;

    if (ngx_queue_empty(&desk->free)) {

        errand = ngx_pcalloc(desk->cycle->pool,
                             sizeof(ngx_patient_guard_errand_t));
        if (errand == NULL) {
            return NULL;
        }

        errand->desk = desk;
        errand->command.size = ngx_patient_guard_errand_size;
        errand->command.write = ngx_patient_guard_errand_write;
        errand->command.answered = ngx_patient_guard_errand_answered;
        errand->command.most = NGX_PATIENT_GUARD_REPLY_HUGE;

        errand->answered.handler = ngx_patient_guard_errand_handler;
        errand->answered.data = errand;
        errand->answered.log = desk->cycle->log;

    } else {
        q = ngx_queue_head(&desk->free);
        ngx_queue_remove(q);
        errand = ngx_queue_data(q, ngx_patient_guard_errand_t, queue);
    }

    errand->telling = NULL;
    errand->step = step;
    errand->again = 0;

    if (order) {
        errand->order = *order;
    }

    if (ngx_patient_guard_errand_send(errand) == NGX_OK) {
        return errand;
    }

    ngx_queue_insert_head(&desk->free, &errand->queue);

    return NULL;
}


static ngx_int_t
ngx_patient_guard_errand_send(ngx_patient_guard_errand_t *errand)
{
    ngx_patient_guard_desk_t     *desk;
    ngx_patient_guard_command_t  *command;

    desk = errand->desk;
    command = &errand->command;

    command->account = errand->step == NGX_PATIENT_GUARD_ERRAND_ACCOUNT
                       ? &errand->order.account : &desk->list;

    ngx_patient_guard_command_begin(command,
                              ngx_patient_guard_script_deadline(desk->conf));

    if (!ngx_patient_guard_script_there(desk->conf->script,
                                        command->account))
    {
        return NGX_DECLINED;
    }

    return ngx_patient_guard_script_send(desk->conf->script, command);
}


static size_t
ngx_patient_guard_errand_size(ngx_patient_guard_command_t *command)
{
    size_t                            size;
    ngx_uint_t                        i;
    ngx_patient_guard_script_conf_t  *conf;

    conf = ((ngx_patient_guard_errand_t *) command)->desk->conf;

    size = NGX_PATIENT_GUARD_RESP_HEAD
           + NGX_PATIENT_GUARD_DESK_ARGS
             * ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_DESK_SCRIPT_LEN)
           + 2 * ngx_patient_guard_resp_size(conf->keys.len + 2
                                             + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_ORDER_SIZE);

    for (i = 0; i < conf->shm->nlimits; i++) {
        size += ngx_patient_guard_resp_size(conf->shm->limits[i].state.len);
    }

    return size;
}


/* the script goes along each time: orders are few, and it is small */

static u_char *
ngx_patient_guard_errand_write(ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest)
{
    u_char                         order[NGX_PATIENT_GUARD_ORDER_SIZE],
                                   id[NGX_PATIENT_GUARD_LIST_ID];
    ngx_uint_t                     rotated, nargs;
    ngx_patient_guard_errand_t    *errand;
    ngx_patient_guard_desk_t      *desk;
    ngx_patient_guard_list_t      *list;
    ngx_patient_guard_account_t   *other;

    static const ngx_uint_t        more[] = { 0, 5, 2 };   /* by step */

    errand = (ngx_patient_guard_errand_t *) command;
    desk = errand->desk;
    list = &desk->conf->shm->totals->sums->list;

    other = &errand->order.previous;
    rotated = errand->step == NGX_PATIENT_GUARD_ERRAND_ACCOUNT
              && (other->word[0] || other->word[1]);

    nargs = 3 + 1 + rotated + 2 + more[errand->step];

    if (errand->step == NGX_PATIENT_GUARD_ERRAND_ACCOUNT
        && errand->order.kind == NGX_PATIENT_GUARD_ORDER_CLEAR)
    {
        nargs += 1 + desk->conf->shm->nlimits;
    }

    p = ngx_patient_guard_resp_command(p, nargs);
    p = ngx_patient_guard_script_eval(command, p, digest,
                                      ngx_patient_guard_desk_script,
                                      NGX_PATIENT_GUARD_DESK_SCRIPT_LEN);
    p = ngx_patient_guard_resp_number(p, 1 + rotated);
    p = ngx_patient_guard_call_key(&desk->conf->keys, command->account, p);

    if (rotated) {
        p = ngx_patient_guard_call_key(&desk->conf->keys, other, p);
    }

    p = ngx_patient_guard_resp_number(p, caller->nonce);

    switch (errand->step) {

    case NGX_PATIENT_GUARD_ERRAND_ACCOUNT:

        if (errand->order.kind == NGX_PATIENT_GUARD_ORDER_CLEAR) {
            return ngx_patient_guard_errand_clear(errand, p);
        }

        return ngx_patient_guard_resp_arg(p, "forget", 6);

    case NGX_PATIENT_GUARD_ERRAND_TELL:

        /* of a list that is new; a node that heard of another starts anew */

        if (RAND_bytes(id, sizeof(id)) != 1) {
            ngx_memcpy(id, &caller->nonce, sizeof(caller->nonce));
        }

        (void) ngx_patient_guard_order_write(order, &errand->order);

        p = ngx_patient_guard_resp_arg(p, "tell", 4);
        p = ngx_patient_guard_resp_number(p, list->heard);
        p = ngx_patient_guard_resp_arg(p, list->id, sizeof(list->id));
        p = ngx_patient_guard_resp_number(p, errand->order.time);
        p = ngx_patient_guard_resp_arg(p, id, sizeof(id));

        return ngx_patient_guard_resp_arg(p, order, sizeof(order));

    default: /* NGX_PATIENT_GUARD_ERRAND_POLL */
        p = ngx_patient_guard_resp_arg(p, "poll", 4);
        p = ngx_patient_guard_resp_number(p, list->heard);

        return ngx_patient_guard_resp_arg(p, list->id, sizeof(list->id));
    }
}


static u_char *
ngx_patient_guard_errand_clear(ngx_patient_guard_errand_t *errand, u_char *p)
{
    ngx_uint_t                i;
    ngx_patient_guard_shm_t  *shm;

    shm = errand->desk->conf->shm;

    p = ngx_patient_guard_resp_arg(p, "clear", 5);
    p = ngx_patient_guard_resp_number(p, errand->order.time);

    for (i = 0; i < shm->nlimits; i++) {
        p = ngx_patient_guard_resp_arg(p, shm->limits[i].state.data,
                                       shm->limits[i].state.len);
    }

    return p;
}


static ngx_int_t
ngx_patient_guard_errand_answered(ngx_patient_guard_command_t *command,
    ngx_int_t rc, ngx_str_t *text)
{
    ngx_patient_guard_errand_t  *errand;

    errand = (ngx_patient_guard_errand_t *) command;

    if (rc == NGX_AGAIN
        && ngx_patient_guard_script_send(errand->desk->conf->script, command)
           == NGX_OK)
    {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        ngx_patient_guard_errand_end(errand, NGX_ERROR);
        return NGX_OK;
    }

    rc = ngx_patient_guard_errand_next(errand, text);

    if (rc != NGX_AGAIN) {
        ngx_patient_guard_errand_end(errand, rc);
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/*
 * NGX_OK: that was all; NGX_AGAIN: the next step is under way; NGX_DECLINED:
 * it can't be; NGX_ERROR: it is no answer.
 */

static ngx_int_t
ngx_patient_guard_errand_next(ngx_patient_guard_errand_t *errand,
    ngx_str_t *text)
{
    u_char  *p, *last;

    p = ngx_patient_guard_script_replied(&errand->command, text);

    if (p == NULL) {
        return NGX_ERROR;
    }

    last = text->data + text->len;

    if (errand->step != NGX_PATIENT_GUARD_ERRAND_ACCOUNT) {
        return ngx_patient_guard_desk_hear(errand->desk, p, last);
    }

    if (p != last) {
        return NGX_ERROR;
    }

    if (errand->again) {
        return NGX_OK;
    }

    errand->step = NGX_PATIENT_GUARD_ERRAND_TELL;

    return ngx_patient_guard_errand_send(errand) == NGX_OK ? NGX_AGAIN
                                                           : NGX_DECLINED;
}


static void
ngx_patient_guard_errand_end(ngx_patient_guard_errand_t *errand, ngx_int_t rc)
{
    if (errand->step == NGX_PATIENT_GUARD_ERRAND_POLL) {
        errand->desk->polls = 0;
    }

    errand->rc = (rc == NGX_OK) ? NGX_OK : NGX_ERROR;

    /* a request goes on by an event of its own */

    ngx_post_event(&errand->answered, &ngx_posted_events);
}


static void
ngx_patient_guard_errand_handler(ngx_event_t *ev)
{
    ngx_int_t                     rc;
    ngx_patient_guard_errand_t   *errand = ev->data;
    ngx_patient_guard_telling_t  *telling;

    rc = errand->rc;
    telling = errand->telling;

    ngx_queue_insert_head(&errand->desk->free, &errand->queue);

    if (telling) {
        telling->pending = NULL;
        telling->done(telling, rc);
    }
}


static void
ngx_patient_guard_desk_tick(ngx_event_t *ev)
{
    ngx_msec_t                   now;
    ngx_atomic_uint_t            polled;
    ngx_patient_guard_desk_t    *desk = ev->data;
    ngx_patient_guard_list_t    *list;
    ngx_patient_guard_errand_t  *errand;

    list = &desk->conf->shm->totals->sums->list;

    now = ngx_current_msec;
    polled = list->polled;         /* by one worker of the node at a time */

    if (!desk->polls
        && (polled == 0
            || now - polled >= NGX_PATIENT_GUARD_DESK_POLL)
        && ngx_atomic_cmp_set(&list->polled, polled, now))
    {
        errand = ngx_patient_guard_desk_errand(desk, NULL,
                                             NGX_PATIENT_GUARD_ERRAND_POLL);
        desk->polls = (errand != NULL);
    }

    if (!ngx_exiting) {
        ngx_add_timer(ev, NGX_PATIENT_GUARD_DESK_TICK);
    }
}


/* " number id orders" */

static ngx_int_t
ngx_patient_guard_desk_hear(ngx_patient_guard_desk_t *desk, u_char *p,
    u_char *last)
{
    u_char                      *digits;
    uint64_t                     now;
    ngx_int_t                    number;
    ngx_time_t                  *tp;
    ngx_patient_guard_list_t    *list;
    ngx_patient_guard_order_t    order;
    ngx_patient_guard_totals_t  *totals;

    if (p == last || *p++ != ' ') {
        return NGX_ERROR;
    }

    digits = p;

    while (p < last && *p != ' ') {
        p++;
    }

    number = ngx_atoi(digits, p - digits);

    if (number == NGX_ERROR
        || last - p < 1 + NGX_PATIENT_GUARD_LIST_ID
        || (last - p - 1 - NGX_PATIENT_GUARD_LIST_ID)
           % NGX_PATIENT_GUARD_ORDER_TOLD)
    {
        return NGX_ERROR;
    }

    p++;
    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec + desk->conf->shm->shift;

    totals = desk->conf->shm->totals;
    list = &totals->sums->list;

    ngx_patient_guard_totals_lock(totals);

    if (ngx_memcmp(list->id, p, NGX_PATIENT_GUARD_LIST_ID) != 0) {
        ngx_memcpy(list->id, p, NGX_PATIENT_GUARD_LIST_ID);
        list->heard = 0;
    }

    ngx_patient_guard_totals_unlock(totals);

    for (p += NGX_PATIENT_GUARD_LIST_ID;
         p < last;
         p += NGX_PATIENT_GUARD_ORDER_TOLD)
    {
        if (ngx_patient_guard_order_read(p, &order) == NGX_OK) {
            ngx_patient_guard_desk_obey(desk, &order, now);
        }
    }

    /* those that are not kept any more are as good as heard */

    ngx_patient_guard_totals_lock(totals);
    list->heard = ngx_max(list->heard, (uint64_t) number);
    ngx_patient_guard_totals_unlock(totals);

    return NGX_OK;
}


static void
ngx_patient_guard_desk_obey(ngx_patient_guard_desk_t *desk,
    ngx_patient_guard_order_t *order, uint64_t now)
{
    ngx_patient_guard_errand_t  *errand;

    if (ngx_patient_guard_order_heard(desk->conf->shm, order, now) != NGX_OK
        || order->kind != NGX_PATIENT_GUARD_ORDER_FORGET
        || order->time + NGX_PATIENT_GUARD_SKEW < now)
    {
        return;
    }

    /* what was on its way to Redis when it was forgotten may be there now */

    errand = ngx_patient_guard_desk_errand(desk, order,
                                          NGX_PATIENT_GUARD_ERRAND_ACCOUNT);
    if (errand) {
        errand->again = 1;
    }
}
