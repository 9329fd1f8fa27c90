
#include "ngx_patient_guard_stream.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_order.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_event.h>

#include "ngx_patient_guard_events_lua.h"


/* ms between two looks of a worker: others look in between */
#define NGX_PATIENT_GUARD_STREAM_TICK    100

#define NGX_PATIENT_GUARD_STREAM_FIELDS                                      \
    "id time policy account verdict limit count allowance until dry_run"
#define NGX_PATIENT_GUARD_STREAM_NFIELDS  10
#define NGX_PATIENT_GUARD_STREAM_FIELD    96   /* bytes, at most */


struct ngx_patient_guard_stream_s {
    ngx_patient_guard_command_t       command; /* first */
    ngx_patient_guard_stream_conf_t  *conf;
    ngx_patient_guard_script_conf_t  *script;
    ngx_patient_guard_account_t       none;    /* zero: no account's */
    ngx_event_t                       tick;
    ngx_uint_t                        under_way;
    ngx_uint_t                        n;
    uint64_t                          first;
    ngx_patient_guard_event_t         batch[NGX_PATIENT_GUARD_EVENTS_BATCH];
};


static void ngx_patient_guard_stream_tick(ngx_event_t *ev);
static void ngx_patient_guard_stream_send(ngx_patient_guard_stream_t *stream);
static void ngx_patient_guard_stream_done(ngx_patient_guard_stream_t *stream,
    uint64_t upto);
static size_t ngx_patient_guard_stream_size(
    ngx_patient_guard_command_t *command);
static u_char *ngx_patient_guard_stream_write(
    ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest);
static u_char *ngx_patient_guard_stream_event(u_char *p,
    ngx_patient_guard_stream_t *stream, ngx_uint_t i);
static u_char *ngx_patient_guard_stream_time(u_char *p, uint64_t ms);
static u_char *ngx_patient_guard_stream_limit(u_char *p,
    ngx_patient_guard_stream_t *stream, ngx_patient_guard_event_t *event);
static ngx_str_t *ngx_patient_guard_stream_what(ngx_uint_t what);
static ngx_int_t ngx_patient_guard_stream_answered(
    ngx_patient_guard_command_t *command, ngx_int_t rc, ngx_str_t *text);


ngx_patient_guard_stream_t *
ngx_patient_guard_stream_create(ngx_patient_guard_stream_conf_t *conf,
    ngx_patient_guard_script_conf_t *script, ngx_cycle_t *cycle)
{
    ngx_patient_guard_stream_t  *stream;

    stream = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_stream_t));
    if (stream == NULL) {
        return NULL;
    }

    stream->conf = conf;
    stream->script = script;

    stream->command.size = ngx_patient_guard_stream_size;
    stream->command.write = ngx_patient_guard_stream_write;
    stream->command.answered = ngx_patient_guard_stream_answered;
    stream->command.account = &stream->none;
    stream->command.most = NGX_PATIENT_GUARD_REPLY_MAX;

    stream->tick.handler = ngx_patient_guard_stream_tick;
    stream->tick.data = stream;
    stream->tick.log = cycle->log;
    stream->tick.cancelable = 1;       /* other workers see to it then */

    ngx_add_timer(&stream->tick, NGX_PATIENT_GUARD_STREAM_TICK);

    return stream;
}


void
ngx_patient_guard_stream_destroy(ngx_patient_guard_stream_t *stream)
{
    if (stream->tick.timer_set) {
        ngx_del_timer(&stream->tick);
    }
}


static void
ngx_patient_guard_stream_tick(ngx_event_t *ev)
{
    ngx_patient_guard_stream_t  *stream = ev->data;

    if (!stream->under_way) {
        ngx_patient_guard_stream_send(stream);
    }

    if (!ngx_exiting) {
        ngx_add_timer(ev, NGX_PATIENT_GUARD_STREAM_TICK);
    }
}


static void
ngx_patient_guard_stream_send(ngx_patient_guard_stream_t *stream)
{
    ngx_patient_guard_totals_t  *totals;

    totals = stream->script->shm->totals;

    if (totals->sums->events.first == totals->sums->events.next
        || !ngx_patient_guard_script_there(stream->script->script,
                                           &stream->none))
    {
        return;
    }

    ngx_patient_guard_totals_lock(totals);
    stream->n = ngx_patient_guard_events_take(&totals->sums->events,
                                              ngx_current_msec + 1,
                                              stream->batch, &stream->first);
    ngx_patient_guard_totals_unlock(totals);

    if (stream->n == 0) {
        return;
    }

    ngx_patient_guard_command_begin(&stream->command,
                          ngx_patient_guard_script_deadline(stream->script));

    if (ngx_patient_guard_script_send(stream->script->script,
                                      &stream->command)
        != NGX_OK)
    {
        ngx_patient_guard_stream_done(stream, 0);
        return;
    }

    stream->under_way = 1;
}


static void
ngx_patient_guard_stream_done(ngx_patient_guard_stream_t *stream,
    uint64_t upto)
{
    ngx_patient_guard_totals_t  *totals;

    totals = stream->script->shm->totals;
    stream->under_way = 0;

    ngx_patient_guard_totals_lock(totals);
    ngx_patient_guard_events_done(&totals->sums->events, upto);
    ngx_patient_guard_totals_unlock(totals);
}


static size_t
ngx_patient_guard_stream_size(ngx_patient_guard_command_t *command)
{
    ngx_patient_guard_stream_t  *stream;

    stream = (ngx_patient_guard_stream_t *) command;

    return NGX_PATIENT_GUARD_RESP_HEAD
           + 5 * ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_EVENTS_SCRIPT_LEN)
           + ngx_patient_guard_resp_size(stream->conf->key.len)
           + ngx_patient_guard_resp_size(
                                 sizeof(NGX_PATIENT_GUARD_STREAM_FIELDS))
           + stream->n * NGX_PATIENT_GUARD_STREAM_NFIELDS
             * ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_STREAM_FIELD);
}


static u_char *
ngx_patient_guard_stream_write(ngx_patient_guard_command_t *command, u_char *p,
    ngx_patient_guard_caller_t *caller, const u_char *digest)
{
    ngx_uint_t                   i;
    ngx_patient_guard_stream_t  *stream;

    stream = (ngx_patient_guard_stream_t *) command;

    p = ngx_patient_guard_resp_command(p,
               4 + 3 + stream->n * NGX_PATIENT_GUARD_STREAM_NFIELDS);

    p = ngx_patient_guard_script_eval(command, p, digest,
                                      ngx_patient_guard_events_script,
                                      NGX_PATIENT_GUARD_EVENTS_SCRIPT_LEN);
    p = ngx_patient_guard_resp_number(p, 1);
    p = ngx_patient_guard_resp_arg(p, stream->conf->key.data,
                                   stream->conf->key.len);
    p = ngx_patient_guard_resp_number(p, caller->nonce);
    p = ngx_patient_guard_resp_number(p, stream->conf->most);
    p = ngx_patient_guard_resp_arg(p, NGX_PATIENT_GUARD_STREAM_FIELDS,
                                 sizeof(NGX_PATIENT_GUARD_STREAM_FIELDS) - 1);

    for (i = 0; i < stream->n; i++) {
        p = ngx_patient_guard_stream_event(p, stream, i);
    }

    return p;
}


/* a value for each field; "id" tells one that was sent twice */

static u_char *
ngx_patient_guard_stream_event(u_char *p, ngx_patient_guard_stream_t *stream,
    ngx_uint_t i)
{
    u_char                      text[NGX_PATIENT_GUARD_STREAM_FIELD], *last;
    ngx_str_t                  *what;
    ngx_patient_guard_event_t  *event;

    event = &stream->batch[i];
    what = ngx_patient_guard_stream_what(event->what);

    last = ngx_sprintf(text, "%016xL-%uL", stream->script->shm->node->id,
                       stream->first + i);
    p = ngx_patient_guard_resp_arg(p, text, last - text);
    p = ngx_patient_guard_stream_time(p, event->time);
    p = ngx_patient_guard_resp_arg(p, stream->conf->policy->data,
                                   stream->conf->policy->len);

    last = text;

    if (event->account.word[0] || event->account.word[1]) {
        last = ngx_patient_guard_account_hex(text, &event->account);
    }

    p = ngx_patient_guard_resp_arg(p, text, last - text);
    p = ngx_patient_guard_resp_arg(p, what->data, what->len);
    p = ngx_patient_guard_stream_limit(p, stream, event);
    p = ngx_patient_guard_stream_time(p, event->until);

    return ngx_patient_guard_resp_arg(p, event->dry_run ? "1" : "0", 1);
}


/* Unix seconds; empty for 0 */

static u_char *
ngx_patient_guard_stream_time(u_char *p, uint64_t ms)
{
    u_char  text[NGX_INT64_LEN + 8], *last;

    last = ms ? ngx_sprintf(text, "%uL.%03uL", ms / 1000, ms % 1000) : text;

    return ngx_patient_guard_resp_arg(p, text, last - text);
}


/* its name, what it had counted, and its count */

static u_char *
ngx_patient_guard_stream_limit(u_char *p, ngx_patient_guard_stream_t *stream,
    ngx_patient_guard_event_t *event)
{
    ngx_uint_t                i;
    ngx_patient_guard_shm_t  *shm;

    shm = stream->script->shm;

    for (i = 0; i < shm->nlimits; i++) {

        if (shm->limits[i].id == event->limit) {
            p = ngx_patient_guard_resp_arg(p, shm->limits[i].name.data,
                                           shm->limits[i].name.len);
            p = ngx_patient_guard_resp_number(p, event->count);

            return ngx_patient_guard_resp_number(p, event->allowance);
        }
    }

    p = ngx_patient_guard_resp_arg(p, "", 0);
    p = ngx_patient_guard_resp_arg(p, "", 0);

    return ngx_patient_guard_resp_arg(p, "", 0);
}


static ngx_str_t *
ngx_patient_guard_stream_what(ngx_uint_t what)
{
    static ngx_str_t  passed = ngx_string("pass");

    if (what == NGX_PATIENT_GUARD_EVENT_PASSED) {
        return &passed;
    }

    if (what > NGX_PATIENT_GUARD_EVENT_ORDER) {
        return ngx_patient_guard_order_name(what
                                            - NGX_PATIENT_GUARD_EVENT_ORDER);
    }

    return ngx_patient_guard_outcome_name(what);
}


static ngx_int_t
ngx_patient_guard_stream_answered(ngx_patient_guard_command_t *command,
    ngx_int_t rc, ngx_str_t *text)
{
    ngx_patient_guard_stream_t  *stream;

    stream = (ngx_patient_guard_stream_t *) command;

    if (rc == NGX_AGAIN
        && ngx_patient_guard_script_send(stream->script->script, command)
           == NGX_OK)
    {
        return NGX_OK;
    }

    if (rc == NGX_OK
        && ngx_patient_guard_script_replied(command, text)
           != text->data + text->len)
    {
        ngx_patient_guard_stream_done(stream, 0);
        return NGX_ERROR;
    }

    /* what was not heard of is sent once more: see "id" */

    ngx_patient_guard_stream_done(stream, rc == NGX_OK
                                          ? stream->first + stream->n : 0);

    if (rc == NGX_OK && stream->n == NGX_PATIENT_GUARD_EVENTS_BATCH) {
        ngx_patient_guard_stream_send(stream);
    }

    return NGX_OK;
}
