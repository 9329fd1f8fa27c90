
#include "ngx_patient_guard_peer.h"
#include "ngx_patient_guard_breaker.h"


struct ngx_patient_guard_peer_s {
    ngx_patient_guard_link_t         link;       /* first */
    ngx_patient_guard_peer_conf_t   *conf;
    void                            *owner;
    ngx_event_t                      timer;      /* of the nearest deadline */
    ngx_event_t                      reconnect;
    ngx_msec_t                       deadline;   /* of the greeting */
    ngx_patient_guard_breaker_t      breaker;
};


static ngx_int_t ngx_patient_guard_peer_connect(
    ngx_patient_guard_peer_t *peer);
static ngx_int_t ngx_patient_guard_peer_replied(
    ngx_patient_guard_link_t *link, void *data,
    ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_peer_rested(ngx_patient_guard_link_t *link);
static void ngx_patient_guard_peer_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason);
static void ngx_patient_guard_peer_fail(ngx_patient_guard_peer_t *peer,
    ngx_err_t err, const char *reason);
static void ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_timer_handler(ngx_event_t *ev);
static void ngx_patient_guard_peer_reconnect_handler(ngx_event_t *ev);


void
ngx_patient_guard_peer_conf_init(ngx_patient_guard_peer_conf_t *conf)
{
    conf->link.replied = ngx_patient_guard_peer_replied;
    conf->link.rested = ngx_patient_guard_peer_rested;
    conf->link.ended = ngx_patient_guard_peer_ended;
}


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

    ngx_patient_guard_link_init(&peer->link, &conf->link, cycle);

    peer->breaker.log = &peer->link.log;
    peer->breaker.name = &conf->name;
    peer->breaker.outage = conf->outage;

    peer->timer.handler = ngx_patient_guard_peer_timer_handler;
    peer->timer.data = peer;
    peer->timer.log = &peer->link.log;

    peer->reconnect.handler = ngx_patient_guard_peer_reconnect_handler;
    peer->reconnect.data = peer;
    peer->reconnect.log = &peer->link.log;
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

    ngx_patient_guard_link_destroy(&peer->link);
}


ngx_uint_t
ngx_patient_guard_peer_there(ngx_patient_guard_peer_t *peer)
{
    if (peer->reconnect.timer_set) {
        return 0;
    }

    /* half-open: nobody waits for a greeting, and one asks at a time */

    return !peer->breaker.away
           || (peer->link.state == NGX_PATIENT_GUARD_LINK_READY
               && !ngx_patient_guard_link_waits(&peer->link));
}


ngx_int_t
ngx_patient_guard_peer_send(ngx_patient_guard_peer_t *peer, size_t size,
    u_char **p, ngx_uint_t *generation)
{
    if (!ngx_patient_guard_peer_there(peer)) {
        return NGX_DECLINED;
    }

    if (peer->link.state == NGX_PATIENT_GUARD_LINK_DOWN
        && ngx_patient_guard_peer_connect(peer) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_patient_guard_pipeline_room(&peer->link.pipeline, size)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *p = peer->link.pipeline.last;
    *generation = peer->link.generation;

    return NGX_OK;
}


ngx_patient_guard_slot_t *
ngx_patient_guard_peer_sent(ngx_patient_guard_peer_t *peer, u_char *end,
    ngx_msec_t deadline, size_t most, void *data)
{
    ngx_patient_guard_socket_watch(&peer->timer, deadline);

    ngx_patient_guard_link_sent(&peer->link);

    return ngx_patient_guard_pipeline_push(&peer->link.pipeline, end,
                                           deadline, most, data);
}


static ngx_int_t
ngx_patient_guard_peer_connect(ngx_patient_guard_peer_t *peer)
{
    /* before the deadline of what waits already */

    peer->deadline = ngx_patient_guard_pipeline_nearest(
                                 &peer->link.pipeline,
                                 ngx_patient_guard_peer_deadline(peer->conf));

    if (ngx_patient_guard_link_connect(&peer->link) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_patient_guard_socket_watch(&peer->timer, peer->deadline);

    return NGX_OK;
}


static ngx_int_t
ngx_patient_guard_peer_replied(ngx_patient_guard_link_t *link, void *data,
    ngx_patient_guard_reply_t *reply)
{
    ngx_patient_guard_peer_t  *peer = (ngx_patient_guard_peer_t *) link;

    ngx_int_t   rc;
    ngx_msec_t  delay;

    rc = peer->conf->handler(peer->owner, data, reply);

    if (rc == NGX_OK) {

        /* a greeting is not enough; an error of one account's is an answer */

        ngx_patient_guard_breaker_answered(&peer->breaker);

        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        delay = ngx_patient_guard_breaker_error(&peer->breaker,
                             ngx_patient_guard_resp_printable(&reply->text));

        if (delay && !peer->reconnect.timer_set) {
            ngx_add_timer(&peer->reconnect, delay);
        }

        return NGX_OK;
    }

    peer->breaker.refused = (rc == NGX_ABORT);

    ngx_patient_guard_peer_fail(peer, 0,
                             ngx_patient_guard_resp_printable(&reply->text));
    return NGX_ERROR;
}


/* nothing is in flight: the worker may go when it is told to */

static void
ngx_patient_guard_peer_rested(ngx_patient_guard_link_t *link)
{
    ngx_patient_guard_peer_t  *peer = (ngx_patient_guard_peer_t *) link;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (ngx_exiting || ngx_terminate) {
        ngx_patient_guard_peer_close(peer);

    } else {
        link->connection->idle = 1;
    }
}


/* no failure, unless a command is on its way, or the breaker half-open */

static void
ngx_patient_guard_peer_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason)
{
    ngx_patient_guard_peer_t  *peer = (ngx_patient_guard_peer_t *) link;

    ngx_uint_t  idle;

    idle = !ngx_patient_guard_link_waits(link);

    if (how != NGX_PATIENT_GUARD_LINK_LET_GO
        || link->state != NGX_PATIENT_GUARD_LINK_READY)
    {
        peer->breaker.refused = (how == NGX_PATIENT_GUARD_LINK_REFUSED);
        ngx_patient_guard_peer_fail(peer, err, reason);

    } else if (idle && (!peer->breaker.away || link->connection->close)) {
        ngx_patient_guard_peer_close(peer);

    } else if (!idle && link->fresh && !link->connection->close) {
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

    ngx_patient_guard_route_skip(&peer->link.route);

    if (!peer->reconnect.timer_set) {
        ngx_add_timer(&peer->reconnect, delay);
    }

    /* the handler may send anew: what failed is taken off first */

    ngx_queue_init(&failed);

    ngx_patient_guard_pipeline_break(&peer->link.pipeline, &failed);

    while ((slot = ngx_patient_guard_pipeline_failed(&peer->link.pipeline,
                                                     &failed)))
    {
        (void) peer->conf->handler(peer->owner, slot->data, NULL);
    }
}


static void
ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer)
{
    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    ngx_patient_guard_link_close(&peer->link);
}


static void
ngx_patient_guard_peer_timer_handler(ngx_event_t *ev)
{
    ngx_msec_t                 nearest;
    ngx_patient_guard_peer_t  *peer = ev->data;

    nearest = peer->link.state == NGX_PATIENT_GUARD_LINK_READY
              ? ngx_patient_guard_peer_deadline(peer->conf) : peer->deadline;

    nearest = ngx_patient_guard_pipeline_nearest(&peer->link.pipeline,
                                                 nearest);

    if ((ngx_msec_int_t) (nearest - ngx_current_msec) <= 0) {
        ngx_patient_guard_peer_fail(peer, NGX_ETIMEDOUT, "no reply in time");
        return;
    }

    if (ngx_patient_guard_link_waits(&peer->link)
        || peer->link.state != NGX_PATIENT_GUARD_LINK_READY)
    {
        ngx_patient_guard_socket_watch(&peer->timer, nearest);
    }
}


static void
ngx_patient_guard_peer_reconnect_handler(ngx_event_t *ev)
{
    ngx_patient_guard_peer_t  *peer = ev->data;

    if (peer->link.state == NGX_PATIENT_GUARD_LINK_DOWN
        && !(ngx_exiting || ngx_terminate || ngx_quit))
    {
        (void) ngx_patient_guard_peer_connect(peer);
    }
}
