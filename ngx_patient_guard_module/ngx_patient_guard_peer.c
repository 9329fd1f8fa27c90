
#include "ngx_patient_guard_peer.h"


#define NGX_PATIENT_GUARD_PEER_POOL  1024

/* ms that a connection lasts before it is asked whether the server evicts */
#define NGX_PATIENT_GUARD_PEER_WONDER  1000


static ngx_int_t ngx_patient_guard_peer_connect(
    ngx_patient_guard_peer_t *peer);
static ngx_int_t ngx_patient_guard_peer_replied(
    ngx_patient_guard_link_t *link, void *data,
    ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_peer_gone_handler(ngx_event_t *ev);
static void ngx_patient_guard_peer_destroy(ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_rested(ngx_patient_guard_link_t *link);
static void ngx_patient_guard_peer_wonder_handler(ngx_event_t *ev);
static ngx_int_t ngx_patient_guard_peer_memory(
    ngx_patient_guard_asked_t *asked, ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_peer_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason);
static void ngx_patient_guard_peer_fail(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_error_e error, ngx_err_t err, const char *reason);
static void ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer);
static void ngx_patient_guard_peer_timer_handler(ngx_event_t *ev);
static void ngx_patient_guard_peer_reconnect_handler(ngx_event_t *ev);


ngx_patient_guard_peer_t *
ngx_patient_guard_peer_create(ngx_patient_guard_peer_conf_t *conf,
    ngx_patient_guard_target_t *target, void (*failed)(void *data),
    void *data, ngx_queue_t *peers, ngx_cycle_t *cycle)
{
    ngx_pool_t                *pool;
    ngx_patient_guard_peer_t  *peer;

    pool = ngx_create_pool(NGX_PATIENT_GUARD_PEER_POOL, cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    peer = ngx_pcalloc(pool, sizeof(ngx_patient_guard_peer_t));
    if (peer == NULL) {
        goto failed;
    }

    peer->pool = pool;
    peer->failed = failed;
    peer->data = data;
    peer->conf = *conf;

    peer->conf.link.replied = ngx_patient_guard_peer_replied;
    peer->conf.link.rested = ngx_patient_guard_peer_rested;
    peer->conf.link.ended = ngx_patient_guard_peer_ended;

    ngx_patient_guard_link_init(&peer->link, &peer->conf.link, pool,
                                cycle->log);

    peer->breaker.log = &peer->link.log;
    peer->breaker.name = &peer->link.target.name;
    peer->breaker.outage = conf->outage;

    peer->timer.handler = ngx_patient_guard_peer_timer_handler;
    peer->timer.data = peer;
    peer->timer.log = &peer->link.log;

    peer->reconnect.handler = ngx_patient_guard_peer_reconnect_handler;
    peer->reconnect.data = peer;
    peer->reconnect.log = &peer->link.log;
    peer->reconnect.cancelable = 1;    /* by then an exiting worker is gone */

    peer->wonder.handler = ngx_patient_guard_peer_wonder_handler;
    peer->wonder.data = peer;
    peer->wonder.log = &peer->link.log;
    peer->wonder.cancelable = 1;

    peer->memory.handler = ngx_patient_guard_peer_memory;

    peer->gone.handler = ngx_patient_guard_peer_gone_handler;
    peer->gone.data = peer;
    peer->gone.log = &peer->link.log;

    if (ngx_patient_guard_peer_found(peer, target) != NGX_OK) {
        ngx_patient_guard_link_destroy(&peer->link);
        goto failed;
    }

    ngx_queue_insert_tail(peers, &peer->queue);

    return peer;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_int_t
ngx_patient_guard_peer_found(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_target_t *target)
{
    if (ngx_patient_guard_link_aim(&peer->link, target) != NGX_OK
        || ngx_patient_guard_tls_named(&peer->conf.link.tls, &target->host,
                                       peer->pool)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (peer->seeking && target->naddrs) {
        peer->seeking = 0;
        (void) ngx_patient_guard_link_connect(&peer->link);
    }

    return NGX_OK;
}


void
ngx_patient_guard_peer_inherit(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_peer_t *old)
{
    peer->breaker.away = old->breaker.away;
    peer->breaker.told = old->breaker.told;
    peer->breaker.delay = old->breaker.delay;
    peer->evicts = old->evicts;

    if (peer->breaker.away) {
        ngx_add_timer(&peer->reconnect, 1);
    }
}


void
ngx_patient_guard_peer_retire(ngx_patient_guard_peer_t *peer)
{
    peer->retired = 1;
    peer->failed = NULL;
    peer->breaker.log = &peer->link.quiet;

    if (peer->reconnect.timer_set) {
        ngx_del_timer(&peer->reconnect);
    }

    if (!ngx_patient_guard_link_waits(&peer->link)) {

        /* not now: it may be this very peer that is being read from */

        ngx_post_event(&peer->gone, &ngx_posted_events);
    }
}


static void
ngx_patient_guard_peer_gone_handler(ngx_event_t *ev)
{
    ngx_patient_guard_peer_destroy(ev->data);
}


static void
ngx_patient_guard_peer_destroy(ngx_patient_guard_peer_t *peer)
{
    ngx_patient_guard_peer_close(peer);

    if (peer->reconnect.timer_set) {
        ngx_del_timer(&peer->reconnect);
    }

    if (peer->gone.posted) {
        ngx_delete_posted_event(&peer->gone);
    }

    ngx_queue_remove(&peer->queue);
    ngx_patient_guard_link_destroy(&peer->link);
    ngx_destroy_pool(peer->pool);
}


void
ngx_patient_guard_peers_destroy(ngx_queue_t *peers)
{
    while (!ngx_queue_empty(peers)) {
        ngx_patient_guard_peer_destroy(ngx_queue_data(ngx_queue_head(peers),
                                           ngx_patient_guard_peer_t, queue));
    }
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
    u_char **p, uint64_t **told)
{
    if (peer->retired || !ngx_patient_guard_peer_there(peer)) {
        return NGX_DECLINED;
    }

    if (peer->link.state == NGX_PATIENT_GUARD_LINK_DOWN && !peer->seeking
        && ngx_patient_guard_peer_connect(peer) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_patient_guard_pipeline_room(&peer->link.pipeline, size)
        != NGX_OK)
    {
        ngx_patient_guard_total(peer->conf.totals,
                                errors[NGX_PATIENT_GUARD_BUSY]);
        return NGX_DECLINED;
    }

    if (peer->generation != peer->link.generation) {
        peer->generation = peer->link.generation;
        peer->told = 0;
    }

    *p = peer->link.pipeline.last;
    *told = &peer->told;

    return NGX_OK;
}


void
ngx_patient_guard_peer_sent(ngx_patient_guard_peer_t *peer, u_char *end,
    ngx_msec_t deadline, size_t most, ngx_patient_guard_asked_t *asked)
{
    ngx_patient_guard_socket_watch(&peer->timer, deadline);

    ngx_patient_guard_link_sent(&peer->link);

    (void) ngx_patient_guard_pipeline_push(&peer->link.pipeline, end,
                                           deadline, most, asked);
}


static ngx_int_t
ngx_patient_guard_peer_connect(ngx_patient_guard_peer_t *peer)
{
    /* before the deadline of what waits already */

    peer->deadline = ngx_patient_guard_pipeline_nearest(
                                &peer->link.pipeline,
                                ngx_patient_guard_peer_deadline(&peer->conf));

    if (peer->link.target.naddrs == 0) {
        peer->seeking = 1;

    } else if (ngx_patient_guard_link_connect(&peer->link) != NGX_OK) {
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

    ngx_int_t                   rc;
    ngx_msec_t                  delay;
    ngx_patient_guard_asked_t  *asked = data;

    rc = asked->handler(asked, reply);

    if (rc == NGX_AGAIN) {
        return NGX_OK;
    }

    if (rc == NGX_OK) {

        /* a greeting is not enough; an error of one account's is an answer */

        ngx_patient_guard_breaker_answered(&peer->breaker);

        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ngx_patient_guard_total(peer->conf.totals,
                                errors[NGX_PATIENT_GUARD_ODD_REPLY]);

        delay = ngx_patient_guard_breaker_error(&peer->breaker,
                             ngx_patient_guard_resp_printable(&reply->text));

        if (delay && !peer->reconnect.timer_set && !peer->retired) {
            ngx_add_timer(&peer->reconnect, delay);
        }

        if (delay && peer->failed) {
            peer->failed(peer->data);
        }

        return NGX_OK;
    }

    peer->breaker.refused = (rc == NGX_ABORT);

    ngx_patient_guard_peer_fail(peer, NGX_PATIENT_GUARD_ODD_REPLY, 0,
                             reply->type == NGX_PATIENT_GUARD_REPLY_ERROR
                             ? ngx_patient_guard_resp_printable(&reply->text)
                             : "invalid reply");
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

    if (!peer->known && !peer->wonder.timer_set && ngx_worker == 0) {
        ngx_add_timer(&peer->wonder, NGX_PATIENT_GUARD_PEER_WONDER);
    }

    if (peer->retired) {
        ngx_post_event(&peer->gone, &ngx_posted_events);

    } else if (ngx_exiting || ngx_terminate) {
        ngx_patient_guard_peer_close(peer);

    } else {
        link->connection->idle = 1;
    }
}


/* once in each connection of one worker: the server may be configured anew */

static void
ngx_patient_guard_peer_wonder_handler(ngx_event_t *ev)
{
    ngx_patient_guard_peer_t  *peer = ev->data;

    u_char    *p;
    uint64_t  *told;

    if (peer->link.state != NGX_PATIENT_GUARD_LINK_READY || ngx_exiting
        || ngx_patient_guard_peer_send(peer, NGX_PATIENT_GUARD_MEMORY_SIZE,
                                       &p, &told)
           != NGX_OK)
    {
        return;
    }

    peer->known = 1;

    ngx_patient_guard_peer_sent(peer, ngx_patient_guard_memory_write(p),
                                ngx_patient_guard_peer_deadline(&peer->conf),
                                NGX_PATIENT_GUARD_REPLY_HUGE, &peer->memory);
}


static ngx_int_t
ngx_patient_guard_peer_memory(ngx_patient_guard_asked_t *asked,
    ngx_patient_guard_reply_t *reply)
{
    ngx_str_t                  policy;
    ngx_uint_t                 evicts;
    ngx_patient_guard_peer_t  *peer;

    if (reply == NULL) {
        return NGX_OK;
    }

    peer = (ngx_patient_guard_peer_t *)
           ((u_char *) asked - offsetof(ngx_patient_guard_peer_t, memory));

    evicts = ngx_patient_guard_memory_evicts(reply, &policy);

    if (evicts && !peer->evicts) {
        ngx_log_error(NGX_LOG_WARN, &peer->link.log, 0,
                      "patient guard: redis \"%V\" may evict what is counted "
                      "when its memory is full: its maxmemory-policy is "
                      "\"%s\", \"noeviction\" is safe",
                      &peer->link.target.name,
                      ngx_patient_guard_resp_printable(&policy));
    }

    peer->evicts = evicts;

    return NGX_AGAIN;
}


/* no failure, unless a command is on its way, or the breaker half-open */

static void
ngx_patient_guard_peer_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason)
{
    ngx_patient_guard_peer_t  *peer = (ngx_patient_guard_peer_t *) link;

    ngx_uint_t                 idle;
    ngx_patient_guard_error_e  error;

    error = (how == NGX_PATIENT_GUARD_LINK_LET_GO)
            ? NGX_PATIENT_GUARD_CLOSED : NGX_PATIENT_GUARD_ODD_REPLY;

    idle = !ngx_patient_guard_link_waits(link);

    if (how != NGX_PATIENT_GUARD_LINK_LET_GO
        || link->state != NGX_PATIENT_GUARD_LINK_READY)
    {
        peer->breaker.refused = (how == NGX_PATIENT_GUARD_LINK_REFUSED);
        ngx_patient_guard_peer_fail(peer, error, err, reason);

    } else if (idle && (!peer->breaker.away || link->connection->close)) {
        ngx_patient_guard_peer_close(peer);

        if (peer->retired) {
            ngx_post_event(&peer->gone, &ngx_posted_events);
        }

    } else if (!idle && link->fresh && !link->connection->close) {
        /* Redis lets go of idle clients: it is sent by another connection */
        ngx_patient_guard_peer_close(peer);
        (void) ngx_patient_guard_peer_connect(peer);

    } else {
        ngx_patient_guard_peer_fail(peer, error, err, reason);
    }
}


static void
ngx_patient_guard_peer_fail(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_error_e error, ngx_err_t err, const char *reason)
{
    ngx_msec_t                  delay;
    ngx_queue_t                 failed;
    ngx_patient_guard_slot_t   *slot;
    ngx_patient_guard_asked_t  *asked;

    if (peer->breaker.refused) {
        error = NGX_PATIENT_GUARD_REFUSED;

    } else if (peer->link.state != NGX_PATIENT_GUARD_LINK_READY) {
        error = NGX_PATIENT_GUARD_UNCONNECTED;
    }

    ngx_patient_guard_total(peer->conf.totals, errors[error]);

    delay = ngx_patient_guard_breaker_failed(&peer->breaker, err, reason);

    ngx_patient_guard_peer_close(peer);

    ngx_patient_guard_route_skip(&peer->link.route);

    if (!peer->reconnect.timer_set && !peer->retired) {
        ngx_add_timer(&peer->reconnect, delay);
    }

    /* the handler may send anew: what failed is taken off first */

    ngx_queue_init(&failed);

    ngx_patient_guard_pipeline_break(&peer->link.pipeline, &failed);

    while ((slot = ngx_patient_guard_pipeline_failed(&peer->link.pipeline,
                                                     &failed)))
    {
        asked = slot->data;
        (void) asked->handler(asked, NULL);
    }

    if (peer->retired) {
        ngx_post_event(&peer->gone, &ngx_posted_events);

    } else if (peer->failed) {
        peer->failed(peer->data);
    }
}


ngx_uint_t
ngx_patient_guard_peer_waiting(ngx_patient_guard_peer_t *peer)
{
    ngx_uint_t    n;
    ngx_queue_t  *q, *waiting;

    waiting = &peer->link.pipeline.waiting;

    for (q = ngx_queue_head(waiting), n = 0;
         q != ngx_queue_sentinel(waiting);
         q = ngx_queue_next(q))
    {
        n++;
    }

    return n;
}


static void
ngx_patient_guard_peer_close(ngx_patient_guard_peer_t *peer)
{
    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    if (peer->wonder.timer_set) {
        ngx_del_timer(&peer->wonder);
    }

    peer->seeking = 0;
    peer->known = 0;

    ngx_patient_guard_link_close(&peer->link);
}


static void
ngx_patient_guard_peer_timer_handler(ngx_event_t *ev)
{
    ngx_msec_t                 nearest;
    ngx_patient_guard_peer_t  *peer = ev->data;

    nearest = peer->link.state == NGX_PATIENT_GUARD_LINK_READY
              ? ngx_patient_guard_peer_deadline(&peer->conf) : peer->deadline;

    nearest = ngx_patient_guard_pipeline_nearest(&peer->link.pipeline,
                                                 nearest);

    if ((ngx_msec_int_t) (nearest - ngx_current_msec) <= 0) {
        ngx_patient_guard_peer_fail(peer, NGX_PATIENT_GUARD_TIMED_OUT,
                                    NGX_ETIMEDOUT,
                                    peer->seeking ? "nobody knows where it is"
                                                  : "no reply in time");
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

    if (ngx_exiting || ngx_terminate || ngx_quit) {

        /* the next command connects, if there is one */

        peer->breaker.away = 0;
        return;
    }

    if (peer->link.state == NGX_PATIENT_GUARD_LINK_DOWN && !peer->seeking) {
        (void) ngx_patient_guard_peer_connect(peer);
    }
}
