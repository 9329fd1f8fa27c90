
/* Where a policy counts with other nodes: redis, redis_auth. */


#ifndef _NGX_HTTP_PATIENT_GUARD_REDIS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_REDIS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directives of the policy block; conf is the policy */
char *ngx_http_patient_guard_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_redis_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* when the block is read, and it has a Redis: what suits its mode */
char *ngx_http_patient_guard_redis_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);

/* when all is read: by whom its names are resolved */
void ngx_http_patient_guard_redis_resolver(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);


#endif /* _NGX_HTTP_PATIENT_GUARD_REDIS_H_INCLUDED_ */
