
/* Who is looking at whom: a request's account and patients, as aliases. */


#ifndef _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directives of the policy block; conf is the policy */
char *ngx_http_patient_guard_account(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_clock(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_proof(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_claim(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Fills the lookup but for its limits and its time.
 *
 * NGX_OK        it is to be counted;
 * NGX_DECLINED  it is let through uncounted;
 * NGX_ERROR     memory is short;
 * 403, 400      no account or no patient, where that is refused; more
 *               patients than one lookup may name; ctx->reason tells.
 */
ngx_int_t ngx_http_patient_guard_identify(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_loc_conf_t *lcf);

/*
 * Whose the request is: the account of the lookup, by the first value that is
 * not empty.  NGX_DECLINED if there is none fit, NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_patient_guard_login(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);

/*
 * The aliases of a login, trimmed, and folded if the policy folds; the
 * previous one is zero without a second key.  NGX_DECLINED: it is none.
 */
ngx_int_t ngx_http_patient_guard_login_alias(
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *login,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous);

/* ms since the epoch, by the clock of the request */
uint64_t ngx_http_patient_guard_now(ngx_http_patient_guard_ctx_t *ctx);


#endif /* _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_ */
