
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event_connect.h>

#include "ngx_patient_guard_socket.h"


static ngx_err_t ngx_patient_guard_socket_options(ngx_connection_t *c);


void
ngx_patient_guard_route_set(ngx_patient_guard_route_t *route,
    ngx_addr_t *addrs, ngx_uint_t naddrs)
{
    route->addrs = addrs;
    route->naddrs = naddrs;
    route->current = 0;
    route->untried = 0;
}


void
ngx_patient_guard_route_skip(ngx_patient_guard_route_t *route)
{
    if (route->naddrs == 0) {
        return;
    }

    route->current = (route->current + 1) % route->naddrs;
    route->untried = route->untried ? route->untried - 1 : 0;
}


ngx_connection_t *
ngx_patient_guard_socket_connect(ngx_patient_guard_route_t *route,
    ngx_log_t *log, ngx_err_t *err)
{
    ngx_int_t              rc;
    ngx_addr_t            *addr;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    while (route->untried) {

        addr = &route->addrs[route->current];

        ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

        pc.sockaddr = addr->sockaddr;
        pc.socklen = addr->socklen;
        pc.name = &addr->name;
        pc.get = ngx_event_get_peer;
        pc.log = log;
        pc.log_error = NGX_ERROR_ERR;

        ngx_set_errno(0);

        rc = ngx_event_connect_peer(&pc);

        *err = ngx_errno;

        c = pc.connection;

        if (rc == NGX_OK) {
            ngx_post_event(c->write, &ngx_posted_events);
        }

        if (rc == NGX_OK || rc == NGX_AGAIN) {
            c->sockaddr = addr->sockaddr;
            c->socklen = addr->socklen;
            return c;
        }

        ngx_patient_guard_route_skip(route);
    }

    return NULL;
}


ngx_err_t
ngx_patient_guard_socket_connected(ngx_connection_t *c,
    ngx_patient_guard_route_t *route)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err == 0 && c->sockaddr->sa_family != AF_UNIX) {
        err = ngx_patient_guard_socket_options(c);
    }

    if (err) {
        ngx_close_connection(c);
        ngx_patient_guard_route_skip(route);
    }

    return err;
}


static ngx_err_t
ngx_patient_guard_socket_options(ngx_connection_t *c)
{
    int  value;

    /* a second small write must not wait for a delayed ACK of the first */

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        return ngx_socket_errno;
    }

    /* what lies between may forget an idle connection and tell nobody */

    value = 1;

    if (setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, (const void *) &value,
                   sizeof(int))
        == -1)
    {
        return ngx_socket_errno;
    }

#if (NGX_HAVE_KEEPALIVE_TUNABLE)

    /* found within half a minute: asked after 15 s, and thrice 5 s apart */

    value = 15;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, (const void *) &value,
                      sizeof(int));
    value = 5;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL,
                      (const void *) &value, sizeof(int));
    value = 3;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, (const void *) &value,
                      sizeof(int));
#endif

    return 0;
}


ngx_int_t
ngx_patient_guard_socket_send(ngx_connection_t *c, u_char **pos, u_char *last)
{
    ssize_t  n;

    while (*pos < last) {

        n = c->send(c, *pos, last - *pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        *pos += n;
    }

    return ngx_handle_write_event(c->write, 0);
}


void
ngx_patient_guard_socket_watch(ngx_event_t *timer, ngx_msec_t deadline)
{
    if (timer->timer_set) {

        if ((ngx_msec_int_t) (deadline - timer->timer.key) >= 0) {
            return;
        }

        ngx_del_timer(timer);
    }

    ngx_add_timer(timer,
                  ngx_max((ngx_msec_int_t) (deadline - ngx_current_msec), 0));
}
