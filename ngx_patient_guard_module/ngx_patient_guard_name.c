
#include "ngx_patient_guard_name.h"


/* ms: whatever their time to live, and after a failure */
#define NGX_PATIENT_GUARD_NAME_MIN     1000
#define NGX_PATIENT_GUARD_NAME_MAX     60000

#define NGX_PATIENT_GUARD_NAME_ADDRS   16      /* of one name, at most */


static void ngx_patient_guard_name_ask(ngx_event_t *ev);
static void ngx_patient_guard_name_answered(ngx_resolver_ctx_t *ctx);
static void ngx_patient_guard_name_found(ngx_patient_guard_name_t *name,
    ngx_resolver_ctx_t *ctx);
static void ngx_patient_guard_name_again(ngx_patient_guard_name_t *name,
    ngx_msec_int_t delay);


ngx_str_t
ngx_patient_guard_name_bare(ngx_str_t *host)
{
    ngx_str_t  bare;

    bare = *host;

    if (bare.len > 2 && bare.data[0] == '[' && bare.data[bare.len - 1] == ']')
    {
        bare.data++;
        bare.len -= 2;
    }

    return bare;
}


ngx_uint_t
ngx_patient_guard_name_literal(ngx_str_t *host)
{
    ngx_str_t  bare;

    bare = ngx_patient_guard_name_bare(host);

#if (NGX_HAVE_INET6)
    {
    u_char  address[16];

    if (ngx_inet6_addr(bare.data, bare.len, address) == NGX_OK) {
        return 1;
    }
    }
#endif

    return ngx_inet_addr(bare.data, bare.len) != INADDR_NONE;
}


ngx_int_t
ngx_patient_guard_name_follow(ngx_patient_guard_name_t *name,
    ngx_patient_guard_resolve_t *resolve, ngx_str_t *host, in_port_t port,
    ngx_log_t *log)
{
    if (host->len == 0 || ngx_patient_guard_name_literal(host)) {
        return NGX_OK;
    }

    if (resolve->resolver == NULL) {
        return NGX_DECLINED;
    }

    name->resolve = resolve;
    name->host = *host;
    name->port = port;
    name->log = log;

    name->timer.handler = ngx_patient_guard_name_ask;
    name->timer.data = name;
    name->timer.log = log;
    name->timer.cancelable = 1;

    ngx_patient_guard_name_ask(&name->timer);

    return NGX_OK;
}


void
ngx_patient_guard_name_stop(ngx_patient_guard_name_t *name)
{
    if (name->ctx) {
        ngx_resolve_name_done(name->ctx);
        name->ctx = NULL;
    }

    if (name->timer.timer_set) {
        ngx_del_timer(&name->timer);
    }
}


static void
ngx_patient_guard_name_ask(ngx_event_t *ev)
{
    ngx_resolver_ctx_t        *ctx;
    ngx_patient_guard_name_t  *name = ev->data;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    ctx = ngx_resolve_start(name->resolve->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_patient_guard_name_again(name, NGX_PATIENT_GUARD_NAME_MIN);
        return;
    }

    ctx->name = name->host;
    ctx->handler = ngx_patient_guard_name_answered;
    ctx->data = name;
    ctx->timeout = name->resolve->timeout;
    ctx->cancelable = 1;

    name->ctx = ctx;

    /* the handler may be called from within; after an error there is no ctx */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        name->ctx = NULL;
        ngx_patient_guard_name_again(name, NGX_PATIENT_GUARD_NAME_MIN);
    }
}


static void
ngx_patient_guard_name_answered(ngx_resolver_ctx_t *ctx)
{
    ngx_msec_int_t             delay;
    ngx_patient_guard_name_t  *name = ctx->data;

    name->ctx = NULL;

    if (ctx->state == NGX_OK) {

        if (name->unknown) {
            name->unknown = 0;

            ngx_log_error(NGX_LOG_NOTICE, name->log, 0,
                          "patient guard: redis host \"%V\" is resolved "
                          "again", &name->host);
        }

        delay = (ngx_msec_int_t) (ctx->valid - ngx_time()) * 1000;

        ngx_patient_guard_name_found(name, ctx);

    } else {

        if (!name->unknown) {
            name->unknown = 1;

            ngx_log_error(NGX_LOG_WARN, name->log, 0,
                          "patient guard: redis host \"%V\" could not be "
                          "resolved (%i: %s); its last addresses are kept",
                          &name->host, ctx->state,
                          ngx_resolver_strerror(ctx->state));
        }

        delay = NGX_PATIENT_GUARD_NAME_MIN;
    }

    ngx_resolve_name_done(ctx);

    ngx_patient_guard_name_again(name, delay);
}


/* with the port that the resolver does not know */

static void
ngx_patient_guard_name_found(ngx_patient_guard_name_t *name,
    ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t       i, n;
    ngx_addr_t       addrs[NGX_PATIENT_GUARD_NAME_ADDRS];
    ngx_sockaddr_t   sockaddrs[NGX_PATIENT_GUARD_NAME_ADDRS];

    n = ngx_min(ctx->naddrs, NGX_PATIENT_GUARD_NAME_ADDRS);

    for (i = 0; i < n; i++) {
        ngx_memcpy(&sockaddrs[i], ctx->addrs[i].sockaddr,
                   ctx->addrs[i].socklen);

        ngx_inet_set_port(&sockaddrs[i].sockaddr, name->port);

        addrs[i].sockaddr = &sockaddrs[i].sockaddr;
        addrs[i].socklen = ctx->addrs[i].socklen;
        addrs[i].name = name->host;
    }

    name->handler(name->data, addrs, n);
}


/* half a second of chance, lest all workers ask at once */

static void
ngx_patient_guard_name_again(ngx_patient_guard_name_t *name,
    ngx_msec_int_t delay)
{
    delay = ngx_max(delay, NGX_PATIENT_GUARD_NAME_MIN);
    delay = ngx_min(delay, NGX_PATIENT_GUARD_NAME_MAX);

    ngx_add_timer(&name->timer, delay + ngx_random() % 500);
}
