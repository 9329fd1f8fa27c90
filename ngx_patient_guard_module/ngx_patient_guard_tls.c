
#include "ngx_patient_guard_tls.h"
#include "ngx_patient_guard_name.h"


#define NGX_PATIENT_GUARD_TLS_POOL  512        /* bytes, of a connection */


static void ngx_patient_guard_tls_writer(ngx_log_t *log, ngx_uint_t level,
    u_char *buf, size_t len);

#if (NGX_SSL)
static void ngx_patient_guard_tls_save(ngx_connection_t *c);
static ngx_int_t ngx_patient_guard_tls_match(
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c);
#endif


ngx_int_t
ngx_patient_guard_tls_named(ngx_patient_guard_tls_conf_t *conf,
    ngx_str_t *host, ngx_pool_t *pool)
{
    ngx_str_t  name;

    if (conf->name.len == 0) {

        name = ngx_patient_guard_name_bare(host);

        /* the dot that ends a full name: RFC 6066, 3 */

        if (name.len > 1 && name.data[name.len - 1] == '.') {
            name.len--;
        }

        conf->name.len = name.len;
        conf->name.data = ngx_pnalloc(pool, name.len + 1);

        if (conf->name.data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(conf->name.data, name.data, name.len + 1);
    }

    conf->address = ngx_patient_guard_name_literal(&conf->name);

    return NGX_OK;
}


void
ngx_patient_guard_tls_init(ngx_patient_guard_tls_t *tls, ngx_log_t *log)
{
    tls->log = *log;
    tls->log.next = NULL;
    tls->log.handler = NULL;
    tls->log.log_level = NGX_LOG_INFO;
    tls->log.writer = ngx_patient_guard_tls_writer;
    tls->log.wdata = tls;
}


/* "time [level] pid#tid: *connection SSL_function() failed (SSL: why)" */

static void
ngx_patient_guard_tls_writer(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len)
{
    ngx_patient_guard_tls_t  *tls = log->wdata;

    u_char  *p, *last;

    last = buf + len;
    p = ngx_strlcasestrn(buf, last, (u_char *) "SSL_", 3);

    if (p == NULL) {
        return;
    }

    while (last > p && (last[-1] == LF || last[-1] == CR)) {
        last--;
    }

    p = ngx_cpymem(tls->said, p,
                   ngx_min((size_t) (last - p), sizeof(tls->said) - 1));
    *p = '\0';
}


const char *
ngx_patient_guard_tls_said(ngx_patient_guard_tls_t *tls,
    const char *otherwise)
{
    return tls->said[0] ? (const char *) tls->said : otherwise;
}


#if (NGX_SSL)

ngx_int_t
ngx_patient_guard_tls_start(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c,
    void (*done)(ngx_connection_t *c))
{
    ngx_int_t  rc;

    /* nginx takes what it needs of the connection's pool */

    c->pool = ngx_create_pool(NGX_PATIENT_GUARD_TLS_POOL, &tls->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    c->log = &tls->log;
    c->read->log = &tls->log;
    c->write->log = &tls->log;

    if (ngx_ssl_create_connection(conf->ssl, c, NGX_SSL_CLIENT) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the pipeline may move what is still to be sent, and counts what was */

    SSL_set_mode(c->ssl->connection, SSL_MODE_ENABLE_PARTIAL_WRITE
                                     |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    /* an address is no name that a server could be asked for: RFC 6066, 3 */

    if (conf->name.len && !conf->address
        && SSL_set_tlsext_host_name(c->ssl->connection,
                                    (char *) conf->name.data)
           == 0)
    {
        return NGX_ERROR;
    }

    c->ssl->save_session = ngx_patient_guard_tls_save;
    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;

    if (tls->session) {
        (void) ngx_ssl_set_session(c, tls->session);
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = done;
    }

    return rc;
}


/* of those that the server offers, the last one is kept */

static void
ngx_patient_guard_tls_save(ngx_connection_t *c)
{
    ngx_ssl_session_t        *session;
    ngx_patient_guard_tls_t  *tls;

    tls = c->log->wdata;
    session = ngx_ssl_get_session(c);

    if (session) {
        ngx_patient_guard_tls_forget(tls);
        tls->session = session;
    }
}


void
ngx_patient_guard_tls_forget(ngx_patient_guard_tls_t *tls)
{
    if (tls->session) {
        ngx_ssl_free_session(tls->session);
        tls->session = NULL;
    }
}


const char *
ngx_patient_guard_tls_wrong(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c)
{
    long    rc;
    u_char  *p;

    if (!c->ssl->handshaked) {
        return ngx_patient_guard_tls_said(tls, "TLS handshake failed");
    }

    if (!conf->verify) {
        return NULL;
    }

    rc = SSL_get_verify_result(c->ssl->connection);

    if (rc != X509_V_OK) {
        p = ngx_snprintf(tls->said, sizeof(tls->said) - 1,
                         "its certificate: %s",
                         X509_verify_cert_error_string(rc));

    } else if (ngx_patient_guard_tls_match(conf, c) != NGX_OK) {
        p = ngx_snprintf(tls->said, sizeof(tls->said) - 1,
                         "its certificate is not for \"%V\"", &conf->name);

    } else {
        return NULL;
    }

    *p = '\0';

    /* nobody is to resume what was not verified */

    ngx_patient_guard_tls_forget(tls);

    return (const char *) tls->said;
}


static ngx_int_t
ngx_patient_guard_tls_match(ngx_patient_guard_tls_conf_t *conf,
    ngx_connection_t *c)
{
    int    rc;
    X509  *certificate;

    if (!conf->address) {
        return ngx_ssl_check_host(c, &conf->name);
    }

    certificate = SSL_get_peer_certificate(c->ssl->connection);

    if (certificate == NULL) {
        return NGX_ERROR;
    }

    rc = X509_check_ip_asc(certificate, (char *) conf->name.data, 0);

    X509_free(certificate);

    return rc == 1 ? NGX_OK : NGX_ERROR;
}


#else

ngx_int_t
ngx_patient_guard_tls_start(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c,
    void (*done)(ngx_connection_t *c))
{
    return NGX_ERROR;
}


const char *
ngx_patient_guard_tls_wrong(ngx_patient_guard_tls_t *tls,
    ngx_patient_guard_tls_conf_t *conf, ngx_connection_t *c)
{
    return "nginx is built without TLS";
}


void
ngx_patient_guard_tls_forget(ngx_patient_guard_tls_t *tls)
{
}

#endif


void
ngx_patient_guard_tls_close(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_SSL)

    if (c->ssl) {
        /* quiet: it neither sends nor waits */

        (void) ngx_ssl_shutdown(c);
    }

#endif

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}
