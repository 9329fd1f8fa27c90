
/* How a policy counts: secret, consistency, and what goes together. */


#ifndef _NGX_HTTP_PATIENT_GUARD_BACKEND_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_BACKEND_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directives of the policy block; conf is the policy */
char *ngx_http_patient_guard_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_consistency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_events(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* when the block is read: what goes together, and the Redis store's own */
char *ngx_http_patient_guard_backend_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);


#endif /* _NGX_HTTP_PATIENT_GUARD_BACKEND_H_INCLUDED_ */
