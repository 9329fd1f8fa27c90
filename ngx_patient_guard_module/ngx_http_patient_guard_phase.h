
/* The way of a request: identify, count, decide, go on, hold or refuse. */


#ifndef _NGX_HTTP_PATIENT_GUARD_PHASE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_PHASE_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* of PRECONTENT: auth_request has set the account, "satisfy any" is past */
ngx_int_t ngx_http_patient_guard_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_PATIENT_GUARD_PHASE_H_INCLUDED_ */
