
/* How a policy speaks TLS to its Redis: redis_tls. */


#ifndef _NGX_HTTP_PATIENT_GUARD_TLS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_TLS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directive of the policy block; conf is the policy */
char *ngx_http_patient_guard_redis_tls(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* when the block is read, and it has a Redis: loads what the files hold */
char *ngx_http_patient_guard_tls_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);


#endif /* _NGX_HTTP_PATIENT_GUARD_TLS_H_INCLUDED_ */
