
/*
 * TLS to Redis, by nginx' own OpenSSL glue.  nginx logs what OpenSSL says;
 * here the last such words are kept instead, for whoever says that the server
 * is away.
 */


#ifndef _NGX_PATIENT_GUARD_TLS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_TLS_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <ngx_event.h>


/* without nginx' glue nothing of this is ever used */

#if (NGX_SSL)
typedef ngx_ssl_session_t  ngx_patient_guard_session_t;
#else
typedef void  ngx_patient_guard_session_t;
typedef struct ngx_ssl_s  ngx_ssl_t;
#endif


/* read-only once the configuration is loaded; zeroed: no TLS */

typedef struct {
    ngx_ssl_t                     *ssl;
    ngx_str_t                      name;       /* terminated; of the server */
    unsigned                       verify:1;
    unsigned                       address:1;  /* the name is one */
} ngx_patient_guard_tls_conf_t;


/* of one connection after another to one server; zeroed to begin with */

typedef struct {
    ngx_patient_guard_session_t   *session;    /* to be resumed */
    ngx_log_t                      log;        /* of the connection: keeps */
    u_char                         said[256];  /*   what OpenSSL says      */
} ngx_patient_guard_tls_t;


/* where no name was given, it is the host's; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_tls_named(ngx_patient_guard_tls_conf_t *conf,
    ngx_str_t *host, ngx_pool_t *pool);

/* the log is the worker's; whatever is logged to tls->log goes to "said" */
void ngx_patient_guard_tls_init(ngx_patient_guard_tls_t *tls, ngx_log_t *log);

/*
 * Starts the handshake; c->data is untouched.  NGX_OK: it is done already;
 * NGX_AGAIN: done(c) will be called, whatever becomes of it, and the handlers
 * of the connection's events are nginx' own until then; NGX_ERROR.
 */
ngx_int_t ngx_patient_guard_tls_start(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c,
    void (*done)(ngx_connection_t *c));

/* when it is done: NULL if this is the server, else what is wrong */
const char *ngx_patient_guard_tls_wrong(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c);

/* what OpenSSL said last, or what nginx did without it */
const char *ngx_patient_guard_tls_said(ngx_patient_guard_tls_t *tls,
    const char *otherwise);

/* closes a connection, with TLS or without */
void ngx_patient_guard_tls_close(ngx_connection_t *c);

/* no session is kept any more */
void ngx_patient_guard_tls_forget(ngx_patient_guard_tls_t *tls);


#endif /* _NGX_PATIENT_GUARD_TLS_H_INCLUDED_ */
