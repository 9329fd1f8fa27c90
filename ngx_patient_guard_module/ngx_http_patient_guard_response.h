
/*
 * What leaves is counted.  Without a gate each buffer is, before it goes on;
 * with one the response is held until the whole has been, and a verdict that
 * is none to allow it takes its place.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_RESPONSE_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* where some location counts responses; called at postconfiguration */
void ngx_http_patient_guard_response_init(void);


#endif /* _NGX_HTTP_PATIENT_GUARD_RESPONSE_H_INCLUDED_ */
