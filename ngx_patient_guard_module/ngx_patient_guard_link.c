
#include "ngx_patient_guard_link.h"


#define NGX_PATIENT_GUARD_LINK_POOL  1024      /* bytes, of a target */


static ngx_int_t ngx_patient_guard_link_connect_next(
    ngx_patient_guard_link_t *link, ngx_err_t err);
static ngx_int_t ngx_patient_guard_link_connected(
    ngx_patient_guard_link_t *link);
static void ngx_patient_guard_link_secured(ngx_connection_t *c);
static void ngx_patient_guard_link_flush(ngx_event_t *ev);
static void ngx_patient_guard_link_write_handler(ngx_event_t *wev);
static void ngx_patient_guard_link_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_patient_guard_link_replies(
    ngx_patient_guard_link_t *link);
static ngx_int_t ngx_patient_guard_link_welcome(
    ngx_patient_guard_link_t *link, ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_link_broken(ngx_patient_guard_link_t *link,
    ngx_err_t err, const char *reason);
static void ngx_patient_guard_link_failed(ngx_patient_guard_link_t *link,
    ngx_err_t err, const char *reason);


void
ngx_patient_guard_link_init(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_conf_t *conf, ngx_pool_t *pool, ngx_log_t *log)
{
    link->conf = conf;

    link->log = *log;
    link->quiet = *log;
    link->quiet.log_level = NGX_LOG_EMERG;

    ngx_patient_guard_pipeline_init(&link->pipeline, pool);
    ngx_patient_guard_tls_init(&link->tls, log);

    link->flush.handler = ngx_patient_guard_link_flush;
    link->flush.data = link;
    link->flush.log = &link->log;
}


ngx_int_t
ngx_patient_guard_link_aim(ngx_patient_guard_link_t *link,
    ngx_patient_guard_target_t *target)
{
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    ngx_connection_t            *c;
    ngx_patient_guard_target_t   copy;

    pool = ngx_create_pool(NGX_PATIENT_GUARD_LINK_POOL, &link->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_patient_guard_target_copy(&copy, target, pool) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_patient_guard_route_set(&link->route, copy.addrs, copy.naddrs);

    c = link->connection;
    i = c ? ngx_patient_guard_target_at(&copy, c->sockaddr, c->socklen)
          : copy.naddrs;

    if (i < copy.naddrs) {
        c->sockaddr = copy.addrs[i].sockaddr;
        link->route.current = i;
    }

    if (link->whereabouts) {
        ngx_destroy_pool(link->whereabouts);
    }

    link->whereabouts = pool;
    link->target = copy;

    return NGX_OK;
}


ngx_uint_t
ngx_patient_guard_link_elsewhere(ngx_patient_guard_link_t *link,
    ngx_patient_guard_target_t *target)
{
    ngx_connection_t  *c;

    c = link->connection;

    return c && ngx_patient_guard_target_at(target, c->sockaddr, c->socklen)
                == target->naddrs;
}


void
ngx_patient_guard_link_destroy(ngx_patient_guard_link_t *link)
{
    ngx_patient_guard_link_close(link);
    ngx_patient_guard_tls_forget(&link->tls);
    ngx_patient_guard_pipeline_destroy(&link->pipeline);

    if (link->whereabouts) {
        ngx_destroy_pool(link->whereabouts);
    }
}


ngx_int_t
ngx_patient_guard_link_connect(ngx_patient_guard_link_t *link)
{
    link->resp = ngx_patient_guard_resp_create();

    if (link->resp == NULL) {
        ngx_patient_guard_link_failed(link, 0, "out of memory");
        return NGX_ERROR;
    }

    ngx_patient_guard_route_start(&link->route);

    return ngx_patient_guard_link_connect_next(link, 0);
}


/* what waits need not know that the name has other addresses as well */

static ngx_int_t
ngx_patient_guard_link_connect_next(ngx_patient_guard_link_t *link,
    ngx_err_t err)
{
    ngx_connection_t  *c;

    c = ngx_patient_guard_socket_connect(&link->route, &link->quiet, &err);

    if (c == NULL) {
        ngx_patient_guard_link_failed(link, err, "connect() failed");
        return NGX_ERROR;
    }

    c->data = link;
    c->read->handler = ngx_patient_guard_link_read_handler;
    c->write->handler = ngx_patient_guard_link_write_handler;

    link->connection = c;
    link->state = NGX_PATIENT_GUARD_LINK_CONNECTING;
    link->fresh = 0;
    link->generation++;

    ngx_patient_guard_greeting_start(&link->conf->greeting, &link->greeted);

    return NGX_OK;
}


/*
 * NGX_AGAIN while TLS is agreed upon; NGX_ERROR if it could not connect, and
 * another address is tried or none is left.
 */

static ngx_int_t
ngx_patient_guard_link_connected(ngx_patient_guard_link_t *link)
{
    ngx_err_t          err;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = link->connection;

    err = ngx_patient_guard_socket_connected(c, &link->route);

    if (err) {
        link->connection = NULL;

        (void) ngx_patient_guard_link_connect_next(link, err);

        return NGX_ERROR;
    }

    if (link->conf->tls.ssl == NULL) {
        link->state = NGX_PATIENT_GUARD_LINK_GREETING;
        return NGX_OK;
    }

    link->state = NGX_PATIENT_GUARD_LINK_HANDSHAKE;

    rc = ngx_patient_guard_tls_start(&link->tls, &link->conf->tls, c,
                                     ngx_patient_guard_link_secured);
    if (rc == NGX_OK) {
        ngx_patient_guard_link_secured(c);

    } else if (rc == NGX_ERROR) {
        ngx_patient_guard_link_failed(link, 0,
                           ngx_patient_guard_tls_said(&link->tls,
                                                     "TLS handshake failed"));
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* or not: the handshake is over */

static void
ngx_patient_guard_link_secured(ngx_connection_t *c)
{
    const char                *wrong;
    ngx_patient_guard_link_t  *link = c->data;

    c->read->handler = ngx_patient_guard_link_read_handler;
    c->write->handler = ngx_patient_guard_link_write_handler;

    if (c->close) {
        link->conf->ended(link, NGX_PATIENT_GUARD_LINK_LET_GO, 0,
                          "worker is shutting down");
        return;
    }

    wrong = ngx_patient_guard_tls_wrong(&link->tls, &link->conf->tls, c);

    if (wrong) {
        link->conf->ended(link, c->ssl->handshaked
                                ? NGX_PATIENT_GUARD_LINK_REFUSED
                                : NGX_PATIENT_GUARD_LINK_FAILED, 0, wrong);
        return;
    }

    link->state = NGX_PATIENT_GUARD_LINK_GREETING;

    ngx_post_event(&link->flush, &ngx_posted_events);
}


void
ngx_patient_guard_link_sent(ngx_patient_guard_link_t *link)
{
    if (link->connection) {
        link->connection->idle = 0;
    }

    if (link->state == NGX_PATIENT_GUARD_LINK_READY) {
        ngx_post_event(&link->flush, &ngx_posted_events);
    }
}


static void
ngx_patient_guard_link_flush(ngx_event_t *ev)
{
    ngx_patient_guard_link_t  *link = ev->data;

    u_char     **pos, *last, *start, buf[64];
    ngx_int_t    rc;
    ngx_err_t    err;
    ngx_str_t   *hello;

    hello = &link->conf->greeting.hello;

    if (link->state == NGX_PATIENT_GUARD_LINK_GREETING) {
        pos = &link->greeted.said;
        last = hello->data + hello->len;

    } else {
        pos = &link->pipeline.pos;
        last = link->pipeline.last;
    }

    start = *pos;

    rc = ngx_patient_guard_socket_send(link->connection, pos, last);
    err = ngx_socket_errno;

    link->fresh &= (*pos == start);

    if (rc != NGX_OK) {

        if (link->conf->tls.ssl) {

            /* the server may have said why before it closed */

            (void) link->connection->recv(link->connection, buf, sizeof(buf));
        }

        ngx_patient_guard_link_broken(link, err, "send() failed");
    }
}


static void
ngx_patient_guard_link_write_handler(ngx_event_t *wev)
{
    ngx_connection_t          *c = wev->data;
    ngx_patient_guard_link_t  *link = c->data;

    if (link->state == NGX_PATIENT_GUARD_LINK_CONNECTING
        && ngx_patient_guard_link_connected(link) != NGX_OK)
    {
        return;
    }

    ngx_patient_guard_link_flush(&link->flush);
}


static void
ngx_patient_guard_link_read_handler(ngx_event_t *rev)
{
    ngx_connection_t          *c = rev->data;
    ngx_patient_guard_link_t  *link = c->data;

    ssize_t  n;
    u_char   buf[16384];

    if (c->close) {

        /* the worker is told to go, or may wait no more */

        link->conf->ended(link, NGX_PATIENT_GUARD_LINK_LET_GO, 0,
                          "worker is shutting down");
        return;
    }

    if (link->state == NGX_PATIENT_GUARD_LINK_CONNECTING
        && ngx_patient_guard_link_connected(link) != NGX_OK)
    {
        return;
    }

    for ( ;; ) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_patient_guard_link_broken(link, ngx_socket_errno,
                                          "recv() failed");
            return;
        }

        if (n == 0) {

            /* Redis lets go of idle clients; the next lookup connects */

            ngx_patient_guard_link_broken(link, 0,
                                          "connection closed by Redis");
            return;
        }

        if (ngx_patient_guard_resp_feed(link->resp, buf, n) != NGX_OK) {
            ngx_patient_guard_link_failed(link, 0, "out of memory");
            return;
        }

        if (ngx_patient_guard_link_replies(link) != NGX_OK) {
            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_patient_guard_link_failed(link, 0, "event failed");

    } else if (link->state == NGX_PATIENT_GUARD_LINK_READY
               && !ngx_patient_guard_link_waits(link))
    {
        link->fresh = 1;
        link->conf->rested(link);
    }
}


/* NGX_ERROR if the connection is gone */

static ngx_int_t
ngx_patient_guard_link_replies(ngx_patient_guard_link_t *link)
{
    size_t                     most;
    ngx_int_t                  rc;
    ngx_patient_guard_slot_t  *slot;
    ngx_patient_guard_reply_t  reply;

    for ( ;; ) {

        if (link->state != NGX_PATIENT_GUARD_LINK_READY) {
            most = ngx_patient_guard_greeting_most(&link->conf->greeting,
                                                   &link->greeted);

        } else if (ngx_patient_guard_link_waits(link)) {
            most = ngx_patient_guard_pipeline_most(&link->pipeline);

        } else {
            most = link->conf->pushed ? NGX_PATIENT_GUARD_REPLY_TREE : 0;
        }

        rc = ngx_patient_guard_resp_next(link->resp, &reply, most);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc == NGX_ERROR) {
            ngx_patient_guard_link_failed(link, 0, "invalid reply");
            return NGX_ERROR;
        }

        if (link->state != NGX_PATIENT_GUARD_LINK_READY) {

            if (ngx_patient_guard_link_welcome(link, &reply) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        slot = ngx_patient_guard_pipeline_shift(&link->pipeline);

        if (slot == NULL && link->conf->pushed) {

            if (link->conf->pushed(link, &reply) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (slot == NULL) {
            ngx_patient_guard_link_failed(link, 0, "unsolicited reply");
            return NGX_ERROR;
        }

        if (link->conf->replied(link, slot->data, &reply) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_patient_guard_link_welcome(ngx_patient_guard_link_t *link,
    ngx_patient_guard_reply_t *reply)
{
    switch (ngx_patient_guard_greeting_reply(&link->conf->greeting,
                                             &link->greeted, reply))
    {

    case NGX_OK:
        link->state = NGX_PATIENT_GUARD_LINK_READY;
        ngx_post_event(&link->flush, &ngx_posted_events);
        return NGX_OK;

    case NGX_AGAIN:
        return NGX_OK;

    case NGX_DECLINED:
        ngx_patient_guard_link_failed(link, 0, "spoke before it was asked");
        return NGX_ERROR;

    default: /* NGX_ERROR */
        link->conf->ended(link, ngx_patient_guard_resp_refused(reply)
                                ? NGX_PATIENT_GUARD_LINK_REFUSED
                                : NGX_PATIENT_GUARD_LINK_FAILED, 0,
                          reply->type == NGX_PATIENT_GUARD_REPLY_ARRAY
                          ? "it is no master"
                          : ngx_patient_guard_resp_printable(&reply->text));
        return NGX_ERROR;
    }
}


/* OpenSSL knows better why */

static void
ngx_patient_guard_link_broken(ngx_patient_guard_link_t *link, ngx_err_t err,
    const char *reason)
{
    const char  *said;

    said = ngx_patient_guard_tls_said(&link->tls, reason);

    link->conf->ended(link, NGX_PATIENT_GUARD_LINK_LET_GO,
                      said == reason ? err : 0, said);
}


static void
ngx_patient_guard_link_failed(ngx_patient_guard_link_t *link, ngx_err_t err,
    const char *reason)
{
    link->conf->ended(link, NGX_PATIENT_GUARD_LINK_FAILED, err, reason);
}


void
ngx_patient_guard_link_close(ngx_patient_guard_link_t *link)
{
    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
    }

    if (link->connection) {
        ngx_patient_guard_tls_close(link->connection);
        link->connection = NULL;
    }

    if (link->resp) {
        ngx_patient_guard_resp_destroy(link->resp);
        link->resp = NULL;
    }

    link->state = NGX_PATIENT_GUARD_LINK_DOWN;
    link->tls.said[0] = '\0';
}
