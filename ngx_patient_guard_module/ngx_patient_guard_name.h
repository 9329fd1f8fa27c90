
/*
 * A host name that is followed while nginx runs: asked anew, by nginx' own
 * resolver, whenever its addresses are no longer valid.  Never getaddrinfo()
 * in a worker.
 */


#ifndef _NGX_PATIENT_GUARD_NAME_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NAME_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <ngx_event.h>


#define NGX_PATIENT_GUARD_HOST_MAX  255        /* bytes, RFC 1035, 2.3.4 */


typedef struct ngx_patient_guard_name_s  ngx_patient_guard_name_t;


/*
 * What it stands for, each time that it was asked; the addresses have their
 * port, and live until the handler returns.  Called from the event loop, or
 * from within ngx_patient_guard_name_follow(); it must not stop the name.
 */
typedef void (*ngx_patient_guard_name_pt)(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs);


/* zeroed to begin with */

struct ngx_patient_guard_name_s {
    ngx_resolver_t              *resolver;
    ngx_msec_t                   timeout;
    ngx_str_t                    host;
    in_port_t                    port;

    ngx_patient_guard_name_pt    handler;
    void                        *data;

    ngx_resolver_ctx_t          *ctx;          /* asked now */
    ngx_event_t                  timer;        /* until it is asked again */
    ngx_log_t                   *log;
    unsigned                     unknown:1;    /* and that was logged */
};


/* is the text an address, which nobody needs to resolve? */
ngx_uint_t ngx_patient_guard_name_literal(ngx_str_t *host);

/*
 * All but the last four are set.  NGX_DECLINED: there is no resolver; what was
 * found when nginx started has to do.
 */
ngx_int_t ngx_patient_guard_name_follow(ngx_patient_guard_name_t *name,
    ngx_log_t *log);

/* also if it was never followed */
void ngx_patient_guard_name_stop(ngx_patient_guard_name_t *name);


#endif /* _NGX_PATIENT_GUARD_NAME_H_INCLUDED_ */
