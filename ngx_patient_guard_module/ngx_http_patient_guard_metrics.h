
/*
 * /metrics: the totals of all policies, as Prometheus reads them (text format
 * 0.0.4).  No account is in a label.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_METRICS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_METRICS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* what a content handler is to return */
ngx_int_t ngx_http_patient_guard_metrics(ngx_http_request_t *r);


#endif /* _NGX_HTTP_PATIENT_GUARD_METRICS_H_INCLUDED_ */
