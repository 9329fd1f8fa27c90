
#include "ngx_patient_guard_peer.h"
#include "ngx_patient_guard_breaker.h"
#include "ngx_patient_guard_socket.h"


typedef enum {
    NGX_PATIENT_GUARD_PEER_DOWN = 0,
    NGX_PATIENT_GUARD_PEER_CONNECTING,
    NGX_PATIENT_GUARD_PEER_GREETING,
    NGX_PATIENT_GUARD_PEER_READY
} ngx_patient_guard_peer_state_e;


struct ngx_patient_guard_peer_s {
    ngx_patient_guard_peer_conf_t   *conf;
    void                            *owner;
    ngx_patient_guard_peer_state_e   state;
    ngx_connection_t                *connection;
    ngx_patient_guard_resp_t        *resp;
    ngx_patient_guard_pipeline_t     pipeline;
    ngx_uint_t                       generation;
    ngx_patient_guard_route_t        route;
    ngx_patient_guard_greeted_t      greeted;
    ngx_event_t                      flush;      /* posted once a turn */
    ngx_event_t                      timer;      /* of the nearest deadline */
    ngx_event_t                      reconnect;
    ngx_msec_t                       deadline;   /* of the greeting */
    ngx_patient_guard_breaker_t      breaker;
    ngx_log_t                        log;
    ngx_log_t                        quiet;      /* we log it ourselves */
    unsigned                         fresh:1;    /* has rested, and nothing */
                                                 /*   was sent since then */
};


static ngx_int_t ngx_patient_guard_peer_connect(
    ngx_patient_guard_peer_t *peer);
static ngx_int_t ngx_patient_guard_peer_connect_next(
    ngx_patient_guard_peer_t *peer, ngx_err_t err);
static ngx_int_t ngx_patient_guard_peer_connected(
    ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_flush(ngx_event_t *ev);
static void ngx_patient_guard_peer_write_handler(ngx_event_t *wev);
static void ngx_patient_guard_peer_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_patient_guard_peer_replies(
    ngx_patient_guard_peer_t *peer);
static ngx_int_t ngx_patient_guard_peer_welcome(
    ngx_patient_guard_peer_t *peer, ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_peer_timer_handler(ngx_event_t *ev);
static void ngx_patient_guard_peer_reconnect_handler(ngx_event_t *ev);
static void ngx_patient_guard_peer_rest(ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_end(ngx_patient_guard_peer_t *peer,
    ngx_err_t err, const char *reason);
static void ngx_patient_guard_peer_fail(ngx_patient_guard_peer_t *peer,
    ngx_err_t err, const char *reason);


ngx_patient_guard_peer_t *
ngx_patient_guard_peer_create(ngx_patient_guard_peer_conf_t *conf,
    void *owner, ngx_cycle_t *cycle)
{
    ngx_patient_guard_peer_t  *peer;

    peer = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_peer_t));
    if (peer == NULL) {
        return NULL;
    }

    peer->conf = conf;
    peer->owner = owner;
    peer->route.addrs = conf->addrs;
    peer->route.naddrs = conf->naddrs;

    peer->log = *cycle->log;
    peer->quiet = *cycle->log;
    peer->quiet.log_level = NGX_LOG_EMERG;

    peer->breaker.log = &peer->log;
    peer->breaker.name = &conf->name;
    peer->breaker.outage = conf->outage;

    ngx_patient_guard_pipeline_init(&peer->pipeline, cycle->pool);

    peer->flush.handler = ngx_patient_guard_peer_flush;
    peer->flush.data = peer;
    peer->flush.log = &peer->log;

    peer->timer.handler = ngx_patient_guard_peer_timer_handler;
    peer->timer.data = peer;
    peer->timer.log = &peer->log;

    peer->reconnect.handler = ngx_patient_guard_peer_reconnect_handler;
    peer->reconnect.data = peer;
    peer->reconnect.log = &peer->log;
    peer->reconnect.cancelable = 1;    /* by then an exiting worker is gone */

    return peer;
}


void
ngx_patient_guard_peer_destroy(ngx_patient_guard_peer_t *peer)
{
    ngx_patient_guard_peer_close(peer);

    if (peer->reconnect.timer_set) {
        ngx_del_timer(&peer->reconnect);
    }

    ngx_patient_guard_pipeline_destroy(&peer->pipeline);
}


ngx_uint_t
ngx_patient_guard_peer_there(ngx_patient_guard_peer_t *peer)
{
    if (peer->reconnect.timer_set) {
        return 0;
    }

    /* half-open: nobody waits for a greeting, and one asks at a time */

    return !peer->breaker.away
           || (peer->state == NGX_PATIENT_GUARD_PEER_READY
               && ngx_queue_empty(&peer->pipeline.waiting));
}


ngx_int_t
ngx_patient_guard_peer_send(ngx_patient_guard_peer_t *peer, size_t size,
    u_char **p, ngx_uint_t *generation)
{
    if (!ngx_patient_guard_peer_there(peer)) {
        return NGX_DECLINED;
    }

    if (peer->state == NGX_PATIENT_GUARD_PEER_DOWN
        && ngx_patient_guard_peer_connect(peer) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_patient_guard_pipeline_room(&peer->pipeline, size) != NGX_OK) {
        return NGX_DECLINED;
    }

    *p = peer->pipeline.last;
    *generation = peer->generation;

    return NGX_OK;
}


ngx_patient_guard_slot_t *
ngx_patient_guard_peer_sent(ngx_patient_guard_peer_t *peer, u_char *end,
    ngx_msec_t deadline, size_t most, void *data)
{
    peer->connection->idle = 0;

    ngx_patient_guard_socket_watch(&peer->timer, deadline);

    if (peer->state == NGX_PATIENT_GUARD_PEER_READY) {
        ngx_post_event(&peer->flush, &ngx_posted_events);
    }

    return ngx_patient_guard_pipeline_push(&peer->pipeline, end, deadline,
                                           most, data);
}


static ngx_int_t
ngx_patient_guard_peer_connect(ngx_patient_guard_peer_t *peer)
{
    peer->resp = ngx_patient_guard_resp_create();

    if (peer->resp == NULL) {
        ngx_patient_guard_peer_fail(peer, 0, "out of memory");
        return NGX_ERROR;
    }

    /* before the deadline of what waits already */

    peer->deadline = ngx_patient_guard_pipeline_nearest(&peer->pipeline,
                                 ngx_patient_guard_peer_deadline(peer->conf));

    ngx_patient_guard_route_start(&peer->route);

    return ngx_patient_guard_peer_connect_next(peer, 0);
}


/* what waits need not know that the name has other addresses as well */

static ngx_int_t
ngx_patient_guard_peer_connect_next(ngx_patient_guard_peer_t *peer,
    ngx_err_t err)
{
    ngx_connection_t  *c;

    c = ngx_patient_guard_socket_connect(&peer->route, &peer->quiet, &err);

    if (c == NULL) {
        ngx_patient_guard_peer_fail(peer, err, "connect() failed");
        return NGX_ERROR;
    }

    c->data = peer;
    c->read->handler = ngx_patient_guard_peer_read_handler;
    c->write->handler = ngx_patient_guard_peer_write_handler;

    peer->connection = c;
    peer->state = NGX_PATIENT_GUARD_PEER_CONNECTING;
    peer->fresh = 0;
    peer->generation++;

    ngx_patient_guard_greeting_start(&peer->conf->greeting, &peer->greeted);

    ngx_patient_guard_socket_watch(&peer->timer, peer->deadline);

    return NGX_OK;
}


/* NGX_ERROR if it could not, and another address is tried or none is left */

static ngx_int_t
ngx_patient_guard_peer_connected(ngx_patient_guard_peer_t *peer)
{
    ngx_err_t  err;

    err = ngx_patient_guard_socket_connected(peer->connection, &peer->route);

    if (err == 0) {
        peer->state = NGX_PATIENT_GUARD_PEER_GREETING;
        return NGX_OK;
    }

    peer->connection = NULL;

    (void) ngx_patient_guard_peer_connect_next(peer, err);

    return NGX_ERROR;
}


static void
ngx_patient_guard_peer_flush(ngx_event_t *ev)
{
    ngx_patient_guard_peer_t  *peer = ev->data;

    u_char     **pos, *last, *start;
    ngx_int_t    rc;
    ngx_err_t    err;
    ngx_str_t   *hello;

    hello = &peer->conf->greeting.hello;

    if (peer->state == NGX_PATIENT_GUARD_PEER_GREETING) {
        pos = &peer->greeted.said;
        last = hello->data + hello->len;

    } else {
        pos = &peer->pipeline.pos;
        last = peer->pipeline.last;
    }

    start = *pos;

    rc = ngx_patient_guard_socket_send(peer->connection, pos, last);
    err = ngx_socket_errno;

    peer->fresh &= (*pos == start);

    if (rc != NGX_OK) {
        ngx_patient_guard_peer_end(peer, err, "send() failed");
    }
}


static void
ngx_patient_guard_peer_write_handler(ngx_event_t *wev)
{
    ngx_connection_t          *c = wev->data;
    ngx_patient_guard_peer_t  *peer = c->data;

    if (peer->state == NGX_PATIENT_GUARD_PEER_CONNECTING
        && ngx_patient_guard_peer_connected(peer) != NGX_OK)
    {
        return;
    }

    ngx_patient_guard_peer_flush(&peer->flush);
}


static void
ngx_patient_guard_peer_read_handler(ngx_event_t *rev)
{
    ngx_connection_t          *c = rev->data;
    ngx_patient_guard_peer_t  *peer = c->data;

    ssize_t  n;
    u_char   buf[16384];

    if (c->close) {

        /* the worker is told to go, or may wait no more */

        ngx_patient_guard_peer_end(peer, 0, "worker is shutting down");
        return;
    }

    if (peer->state == NGX_PATIENT_GUARD_PEER_CONNECTING
        && ngx_patient_guard_peer_connected(peer) != NGX_OK)
    {
        return;
    }

    for ( ;; ) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_patient_guard_peer_end(peer, ngx_socket_errno,
                                       "recv() failed");
            return;
        }

        if (n == 0) {

            /* Redis lets go of idle clients; the next lookup connects */

            ngx_patient_guard_peer_end(peer, 0, "connection closed by Redis");
            return;
        }

        if (ngx_patient_guard_resp_feed(peer->resp, buf, n) != NGX_OK) {
            ngx_patient_guard_peer_fail(peer, 0, "out of memory");
            return;
        }

        if (ngx_patient_guard_peer_replies(peer) != NGX_OK) {
            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_patient_guard_peer_fail(peer, 0, "event failed");

    } else if (peer->state == NGX_PATIENT_GUARD_PEER_READY
               && ngx_queue_empty(&peer->pipeline.waiting))
    {
        ngx_patient_guard_peer_rest(peer);
    }
}


/* nothing is in flight: the worker may go when it is told to */

static void
ngx_patient_guard_peer_rest(ngx_patient_guard_peer_t *peer)
{
    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    peer->fresh = 1;

    if (ngx_exiting || ngx_terminate) {
        ngx_patient_guard_peer_close(peer);

    } else {
        peer->connection->idle = 1;
    }
}


/* NGX_ERROR if the connection is gone */

static ngx_int_t
ngx_patient_guard_peer_replies(ngx_patient_guard_peer_t *peer)
{
    ngx_int_t                  rc;
    ngx_msec_t                 delay;
    ngx_patient_guard_slot_t  *slot;
    ngx_patient_guard_reply_t  reply;

    for ( ;; ) {

        rc = ngx_patient_guard_resp_next(peer->resp, &reply,
                      ngx_patient_guard_pipeline_most(&peer->pipeline));

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc == NGX_ERROR) {
            ngx_patient_guard_peer_fail(peer, 0, "invalid reply");
            return NGX_ERROR;
        }

        if (peer->state != NGX_PATIENT_GUARD_PEER_READY) {

            if (ngx_patient_guard_peer_welcome(peer, &reply) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        slot = ngx_patient_guard_pipeline_shift(&peer->pipeline);

        if (slot == NULL) {
            ngx_patient_guard_peer_fail(peer, 0, "unsolicited reply");
            return NGX_ERROR;
        }

        rc = peer->conf->handler(peer->owner, slot->data, &reply);

        if (rc == NGX_DECLINED) {
            delay = ngx_patient_guard_breaker_error(&peer->breaker,
                              ngx_patient_guard_resp_printable(&reply.text));

            if (delay && !peer->reconnect.timer_set) {
                ngx_add_timer(&peer->reconnect, delay);
            }

            continue;
        }

        if (rc != NGX_OK) {
            peer->breaker.refused = (rc == NGX_ABORT);

            ngx_patient_guard_peer_fail(peer, 0,
                              ngx_patient_guard_resp_printable(&reply.text));
            return NGX_ERROR;
        }

        /* a greeting is not enough; an error of one account's is an answer */

        ngx_patient_guard_breaker_answered(&peer->breaker);
    }
}


static ngx_int_t
ngx_patient_guard_peer_welcome(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_reply_t *reply)
{
    switch (ngx_patient_guard_greeting_reply(&peer->conf->greeting,
                                             &peer->greeted, reply))
    {

    case NGX_OK:
        peer->state = NGX_PATIENT_GUARD_PEER_READY;
        ngx_post_event(&peer->flush, &ngx_posted_events);
        return NGX_OK;

    case NGX_AGAIN:
        return NGX_OK;

    case NGX_DECLINED:
        ngx_patient_guard_peer_fail(peer, 0, "spoke before it was asked");
        return NGX_ERROR;

    default: /* NGX_ERROR */
        peer->breaker.refused = ngx_patient_guard_resp_refused(reply);

        ngx_patient_guard_peer_fail(peer, 0,
                             ngx_patient_guard_resp_printable(&reply->text));
        return NGX_ERROR;
    }
}


static void
ngx_patient_guard_peer_timer_handler(ngx_event_t *ev)
{
    ngx_msec_t                 nearest;
    ngx_patient_guard_peer_t  *peer = ev->data;

    nearest = peer->state == NGX_PATIENT_GUARD_PEER_READY
              ? ngx_patient_guard_peer_deadline(peer->conf) : peer->deadline;

    nearest = ngx_patient_guard_pipeline_nearest(&peer->pipeline, nearest);

    if ((ngx_msec_int_t) (nearest - ngx_current_msec) <= 0) {
        ngx_patient_guard_peer_fail(peer, NGX_ETIMEDOUT, "no reply in time");
        return;
    }

    if (!ngx_queue_empty(&peer->pipeline.waiting)
        || peer->state != NGX_PATIENT_GUARD_PEER_READY)
    {
        ngx_patient_guard_socket_watch(&peer->timer, nearest);
    }
}


static void
ngx_patient_guard_peer_reconnect_handler(ngx_event_t *ev)
{
    ngx_patient_guard_peer_t  *peer = ev->data;

    if (peer->state == NGX_PATIENT_GUARD_PEER_DOWN
        && !(ngx_exiting || ngx_terminate || ngx_quit))
    {
        (void) ngx_patient_guard_peer_connect(peer);
    }
}


static void
ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer)
{
    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->flush.posted) {
        ngx_delete_posted_event(&peer->flush);
    }

    if (peer->connection) {
        ngx_close_connection(peer->connection);
        peer->connection = NULL;
    }

    if (peer->resp) {
        ngx_patient_guard_resp_destroy(peer->resp);
        peer->resp = NULL;
    }

    peer->state = NGX_PATIENT_GUARD_PEER_DOWN;
}


/* no failure, unless a command is on its way, or the breaker half-open */

static void
ngx_patient_guard_peer_end(ngx_patient_guard_peer_t *peer, ngx_err_t err,
    const char *reason)
{
    ngx_uint_t  idle;

    idle = ngx_queue_empty(&peer->pipeline.waiting);

    if (peer->state != NGX_PATIENT_GUARD_PEER_READY) {
        ngx_patient_guard_peer_fail(peer, err, reason);

    } else if (idle && (!peer->breaker.away || peer->connection->close)) {
        ngx_patient_guard_peer_close(peer);

    } else if (!idle && peer->fresh && !peer->connection->close) {
        /* Redis lets go of idle clients: it is sent by another connection */
        ngx_patient_guard_peer_close(peer);
        (void) ngx_patient_guard_peer_connect(peer);

    } else {
        ngx_patient_guard_peer_fail(peer, err, reason);
    }
}


static void
ngx_patient_guard_peer_fail(ngx_patient_guard_peer_t *peer, ngx_err_t err,
    const char *reason)
{
    ngx_msec_t                 delay;
    ngx_queue_t                failed;
    ngx_patient_guard_slot_t  *slot;

    delay = ngx_patient_guard_breaker_failed(&peer->breaker, err, reason);

    ngx_patient_guard_peer_close(peer);

    ngx_patient_guard_route_skip(&peer->route);

    if (!peer->reconnect.timer_set) {
        ngx_add_timer(&peer->reconnect, delay);
    }

    /* the handler may send anew: what failed is taken off first */

    ngx_queue_init(&failed);

    ngx_patient_guard_pipeline_break(&peer->pipeline, &failed);

    while ((slot = ngx_patient_guard_pipeline_failed(&peer->pipeline,
                                                     &failed)))
    {
        (void) peer->conf->handler(peer->owner, slot->data, NULL);
    }
}
