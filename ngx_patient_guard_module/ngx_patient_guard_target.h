
/* Where a Redis server is: host and port, and the addresses they stand for. */


#ifndef _NGX_PATIENT_GUARD_TARGET_H_INCLUDED_
#define _NGX_PATIENT_GUARD_TARGET_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_name.h"


typedef struct {
    ngx_str_t                    name;         /* for the log */
    ngx_str_t                    host;         /* empty: a unix socket */
    in_port_t                    port;
    ngx_addr_t                  *addrs;
    ngx_uint_t                   naddrs;       /* 0: nobody knows yet */
} ngx_patient_guard_target_t;


/* all of it, into the pool; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_target_copy(ngx_patient_guard_target_t *to,
    ngx_patient_guard_target_t *from, ngx_pool_t *pool);

/* bytes of "[host]:65535", and more */
#define NGX_PATIENT_GUARD_TARGET_NAME  (NGX_PATIENT_GUARD_HOST_MAX + 16)

/*
 * By host and port, without addresses.  Its name, as it would be written in
 * the configuration, goes to "name".
 */
void ngx_patient_guard_target_set(ngx_patient_guard_target_t *target,
    ngx_str_t *host, in_port_t port, u_char *name);

/* its host is an address: NGX_ERROR if memory is short, or it is none */
ngx_int_t ngx_patient_guard_target_literal(
    ngx_patient_guard_target_t *target, ngx_pool_t *pool);

/* which of its addresses this is, or naddrs */
ngx_uint_t ngx_patient_guard_target_at(ngx_patient_guard_target_t *target,
    struct sockaddr *sockaddr, socklen_t socklen);

/* has it these addresses and no others, in whatever order? */
ngx_uint_t ngx_patient_guard_target_has(ngx_patient_guard_target_t *target,
    ngx_addr_t *addrs, ngx_uint_t naddrs);


#endif /* _NGX_PATIENT_GUARD_TARGET_H_INCLUDED_ */
