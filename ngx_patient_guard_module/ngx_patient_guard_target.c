
#include "ngx_patient_guard_target.h"


static ngx_int_t ngx_patient_guard_target_text(ngx_str_t *to,
    ngx_str_t *from, ngx_pool_t *pool);


ngx_int_t
ngx_patient_guard_target_copy(ngx_patient_guard_target_t *to,
    ngx_patient_guard_target_t *from, ngx_pool_t *pool)
{
    ngx_uint_t   i;
    ngx_addr_t  *addrs;

    if (ngx_patient_guard_target_text(&to->name, &from->name, pool) != NGX_OK
        || ngx_patient_guard_target_text(&to->host, &from->host, pool)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    to->port = from->port;

    addrs = ngx_palloc(pool, from->naddrs * sizeof(ngx_addr_t));
    if (addrs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < from->naddrs; i++) {
        addrs[i].name = to->name;
        addrs[i].socklen = from->addrs[i].socklen;
        addrs[i].sockaddr = ngx_palloc(pool, addrs[i].socklen);

        if (addrs[i].sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(addrs[i].sockaddr, from->addrs[i].sockaddr,
                   addrs[i].socklen);
    }

    to->addrs = addrs;
    to->naddrs = from->naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_patient_guard_target_text(ngx_str_t *to, ngx_str_t *from,
    ngx_pool_t *pool)
{
    u_char  *p;

    p = ngx_pnalloc(pool, from->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    /* it may be the same one */

    if (from->len) {
        ngx_memcpy(p, from->data, from->len);
    }

    to->data = p;
    to->len = from->len;

    return NGX_OK;
}


void
ngx_patient_guard_target_set(ngx_patient_guard_target_t *target,
    ngx_str_t *host, in_port_t port, u_char *name)
{
    u_char  *colon;

    ngx_memzero(target, sizeof(ngx_patient_guard_target_t));

    target->host.data = host->data;
    target->host.len = ngx_min(host->len, NGX_PATIENT_GUARD_HOST_MAX);
    target->port = port;

    colon = ngx_strlchr(host->data, host->data + target->host.len, ':');

    target->name.data = name;
    target->name.len = ngx_sprintf(name, colon && host->data[0] != '['
                                         ? "[%V]:%d" : "%V:%d",
                                   &target->host, (int) port)
                       - name;
}


ngx_int_t
ngx_patient_guard_target_literal(ngx_patient_guard_target_t *target,
    ngx_pool_t *pool)
{
    ngx_str_t    host;
    ngx_addr_t  *addr;

    addr = ngx_palloc(pool, sizeof(ngx_addr_t));
    if (addr == NULL) {
        return NGX_ERROR;
    }

    host = ngx_patient_guard_name_bare(&target->host);

    if (ngx_parse_addr(pool, addr, host.data, host.len) != NGX_OK) {
        return NGX_ERROR;
    }

    addr->name = target->name;
    ngx_inet_set_port(addr->sockaddr, target->port);

    target->addrs = addr;
    target->naddrs = 1;

    return NGX_OK;
}


ngx_uint_t
ngx_patient_guard_target_at(ngx_patient_guard_target_t *target,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    ngx_uint_t  i;

    for (i = 0; i < target->naddrs; i++) {
        if (ngx_cmp_sockaddr(target->addrs[i].sockaddr,
                             target->addrs[i].socklen, sockaddr, socklen, 1)
            == NGX_OK)
        {
            break;
        }
    }

    return i;
}


ngx_uint_t
ngx_patient_guard_target_has(ngx_patient_guard_target_t *target,
    ngx_addr_t *addrs, ngx_uint_t naddrs)
{
    ngx_uint_t  i;

    if (target->naddrs != naddrs) {
        return 0;
    }

    for (i = 0; i < naddrs; i++) {
        if (ngx_patient_guard_target_at(target, addrs[i].sockaddr,
                                        addrs[i].socklen)
            == naddrs)
        {
            return 0;
        }
    }

    return 1;
}
