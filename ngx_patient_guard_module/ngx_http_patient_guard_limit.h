
/* The limits of a policy: from nginx.conf, and as they hold for a request. */


#ifndef _NGX_HTTP_PATIENT_GUARD_LIMIT_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_LIMIT_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directives of the policy block; conf is the policy */
char *ngx_http_patient_guard_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * The limits with the counts that hold for this request: the policy's own
 * where none is taken from a variable.  NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_patient_guard_limits(ngx_http_request_t *r,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_lookup_t *lookup);


#endif /* _NGX_HTTP_PATIENT_GUARD_LIMIT_H_INCLUDED_ */
