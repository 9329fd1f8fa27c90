
/*
 * accounts/LOGIN of the desk: how an account stands, in every policy or in
 * one; and what is ordered of it.
 *
 *   GET accounts/LOGIN
 *   POST accounts/LOGIN/clear, POST accounts/LOGIN/block?for=1h
 *   DELETE accounts/LOGIN
 *
 * Arguments: policy=NAME, by=alias.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_ACCOUNTS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_ACCOUNTS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/*
 * path is what is behind "accounts/", as it was sent.  What a content handler
 * is to return.
 */
ngx_int_t ngx_http_patient_guard_accounts(ngx_http_request_t *r,
    ngx_str_t *path, ngx_uint_t writes);


#endif /* _NGX_HTTP_PATIENT_GUARD_ACCOUNTS_H_INCLUDED_ */
