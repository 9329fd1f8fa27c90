
/* /status: how the policies stand, as JSON, and what accounts are told of. */


#ifndef _NGX_HTTP_PATIENT_GUARD_STATUS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_STATUS_H_INCLUDED_


#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_text.h"


/* what a content handler is to return; may this location write? */
ngx_int_t ngx_http_patient_guard_status(ngx_http_request_t *r,
    ngx_uint_t writes);

/* "recent":[...] of the account, or of all with NULL */
void ngx_http_patient_guard_status_recent(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account);

/* the members of a limit's object that the configuration gives */
void ngx_http_patient_guard_status_limit(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, ngx_uint_t i);


#endif /* _NGX_HTTP_PATIENT_GUARD_STATUS_H_INCLUDED_ */
