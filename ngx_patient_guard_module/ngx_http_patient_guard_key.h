
/*
 * What limits count beside patients, and by what else than the account: the
 * client's address, the account itself, and the values of "per=".
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_KEY_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_KEY_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* the key of a "per=", the policy's new one or that of the same text */
ngx_int_t ngx_http_patient_guard_key_add(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *text, uint32_t *key);

/* those of the lookup, whose account is known; NGX_ERROR: memory is short */
ngx_int_t ngx_http_patient_guard_keys(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);


#endif /* _NGX_HTTP_PATIENT_GUARD_KEY_H_INCLUDED_ */
