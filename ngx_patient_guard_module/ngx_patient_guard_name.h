
/*
 * A host name that is followed while nginx runs: asked anew, by nginx' own
 * resolver, whenever its addresses are no longer valid.  Never getaddrinfo()
 * in a worker.
 */


#ifndef _NGX_PATIENT_GUARD_NAME_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NAME_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <ngx_event.h>


typedef struct ngx_patient_guard_name_s  ngx_patient_guard_name_t;


/*
 * What it stands for, each time that it was asked; the addresses have their
 * port, and live until the handler returns.  Called from the event loop, or
 * from within ngx_patient_guard_name_follow(); it must not stop the name.
 */
typedef void (*ngx_patient_guard_name_pt)(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs);


/* by whom names are resolved; read-only once the configuration is loaded */

typedef struct {
    ngx_resolver_t              *resolver;     /* NULL: none */
    ngx_msec_t                   timeout;
} ngx_patient_guard_resolve_t;


/* zeroed to begin with, but for the first two */

struct ngx_patient_guard_name_s {
    ngx_patient_guard_name_pt    handler;
    void                        *data;

    ngx_patient_guard_resolve_t *resolve;
    ngx_str_t                    host;
    in_port_t                    port;

    ngx_resolver_ctx_t          *ctx;          /* asked now */
    ngx_event_t                  timer;        /* until it is asked again */
    ngx_log_t                   *log;
    unsigned                     unknown:1;    /* and that was logged */
};


/* the host without the [] of an IPv6 address */
ngx_str_t ngx_patient_guard_name_bare(ngx_str_t *host);

/* is the text an address, which nobody needs to resolve? */
ngx_uint_t ngx_patient_guard_name_literal(ngx_str_t *host);

/*
 * The host must outlive the name.  NGX_OK also if there is nothing to follow,
 * as it is an address, or empty; NGX_DECLINED: there is no resolver, and what
 * was found when nginx started has to do.
 */
ngx_int_t ngx_patient_guard_name_follow(ngx_patient_guard_name_t *name,
    ngx_patient_guard_resolve_t *resolve, ngx_str_t *host, in_port_t port,
    ngx_log_t *log);

/* also if it was never followed */
void ngx_patient_guard_name_stop(ngx_patient_guard_name_t *name);


#endif /* _NGX_PATIENT_GUARD_NAME_H_INCLUDED_ */
