
/*
 * One non-blocking socket of nginx' event loop, to a server that is no
 * upstream of a request.  What fails is told to the caller, not to the log.
 */


#ifndef _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <ngx_event.h>


/* the addresses of one server, tried in turn */

typedef struct {
    ngx_addr_t                  *addrs;
    ngx_uint_t                   naddrs;
    ngx_uint_t                   current;
    ngx_uint_t                   untried;      /* the current one included */
} ngx_patient_guard_route_t;


/* whatever it was before */
void ngx_patient_guard_route_set(ngx_patient_guard_route_t *route,
    ngx_addr_t *addrs, ngx_uint_t naddrs);

/* all addresses may be tried again, from the current one on */
#define ngx_patient_guard_route_start(route)                                 \
    (route)->untried = (route)->naddrs

/* the current address does not serve */
void ngx_patient_guard_route_skip(ngx_patient_guard_route_t *route);

/*
 * Starts to connect to the current address, or to the next untried one that
 * does not fail at once.  The connection wants handlers: an event will come
 * when it is there or has failed, never before the caller returns to the
 * loop.  NULL: no address is left, *err tells why the last one failed; it is
 * left alone if there was none to try.  The log must live as long as the
 * connection.
 */
ngx_connection_t *ngx_patient_guard_socket_connect(
    ngx_patient_guard_route_t *route, ngx_log_t *log, ngx_err_t *err);

/*
 * When the first event has come: 0, or why it is not connected; it is closed
 * then, and its address skipped.
 */
ngx_err_t ngx_patient_guard_socket_connected(ngx_connection_t *c,
    ngx_patient_guard_route_t *route);

/*
 * Sends from *pos up to last, as much as the socket takes, and moves *pos.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_patient_guard_socket_send(ngx_connection_t *c, u_char **pos,
    u_char *last);


/* the timer goes off at that moment, ms, unless it does so before */
void ngx_patient_guard_socket_watch(ngx_event_t *timer, ngx_msec_t deadline);


#endif /* _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_ */
