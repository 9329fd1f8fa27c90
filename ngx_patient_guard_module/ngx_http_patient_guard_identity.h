
/* Who is looking at whom: a request's account and patients, as aliases. */


#ifndef _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directives of the policy block; conf is the policy */
char *ngx_http_patient_guard_account(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_claim(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * A regular expression behind a value, in a map, overwrites the numbered
 * captures that the location's patient, or its proxy_pass, is made of: they
 * are kept, and put back.
 */

typedef struct {
#if (NGX_PCRE)
    int                         *captures;
    u_char                      *data;
    ngx_uint_t                   n;
#endif
} ngx_http_patient_guard_captures_t;

void ngx_http_patient_guard_keep_captures(ngx_http_request_t *r,
    ngx_http_patient_guard_captures_t *kept);
void ngx_http_patient_guard_restore_captures(ngx_http_request_t *r,
    ngx_http_patient_guard_captures_t *kept);

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


#endif /* _NGX_HTTP_PATIENT_GUARD_IDENTITY_H_INCLUDED_ */
