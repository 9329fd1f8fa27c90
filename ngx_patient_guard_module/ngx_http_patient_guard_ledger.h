
/* The totals of a policy: their zone, and what each lookup adds to them. */


#ifndef _NGX_HTTP_PATIENT_GUARD_LEDGER_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_LEDGER_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* when the policy is whole: NGX_CONF_OK or NGX_CONF_ERROR */
char *ngx_http_patient_guard_ledger_zone(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);

/* of the log phase */
ngx_int_t ngx_http_patient_guard_ledger_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_PATIENT_GUARD_LEDGER_H_INCLUDED_ */
