
/* The challenges of a policy, and the one that suits a client. */


#ifndef _NGX_HTTP_PATIENT_GUARD_CHALLENGE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_CHALLENGE_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directive of the policy block; conf is the policy */
char *ngx_http_patient_guard_challenge(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * The first that suits the client: redirect and page are for a person's
 * browser, step_up for a client that is none or bears a token, status for
 * all.  A browser that has no better gets step_up.  NULL if nothing suits:
 * a plain 403 then.
 */
ngx_http_patient_guard_challenge_t *ngx_http_patient_guard_challenge_choose(
    ngx_http_request_t *r, ngx_http_patient_guard_policy_t *policy);

/*
 * Of a redirect: its URL with the sealed state, which holds the path of a
 * GET to return to.  NGX_ERROR if memory or random bytes are short.
 */
ngx_int_t ngx_http_patient_guard_challenge_location(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_challenge_t *challenge, ngx_str_t *location);

char *ngx_http_patient_guard_challenge_grants(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_PATIENT_GUARD_CHALLENGE_H_INCLUDED_ */
