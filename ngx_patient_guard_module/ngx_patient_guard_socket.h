
/*
 * One non-blocking socket of nginx' event loop, to a server that is no
 * upstream of a request.  What fails is told to the caller, not to the log.
 */


#ifndef _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <ngx_event.h>


/*
 * Starts to connect.  NGX_OK if that is done already, and NGX_AGAIN: *c is
 * set, without handlers.  NGX_ERROR: *err tells why, if it is known.  The
 * log must live as long as the connection.
 */
ngx_int_t ngx_patient_guard_socket_connect(ngx_addr_t *addr, ngx_log_t *log,
    ngx_connection_t **c, ngx_err_t *err);

/* when it may be written to for the first time: 0, or why not connected */
ngx_err_t ngx_patient_guard_socket_connected(ngx_connection_t *c);

/*
 * Sends from *pos up to last, as much as the socket takes, and moves *pos.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_patient_guard_socket_send(ngx_connection_t *c, u_char **pos,
    u_char *last);


#endif /* _NGX_PATIENT_GUARD_SOCKET_H_INCLUDED_ */
