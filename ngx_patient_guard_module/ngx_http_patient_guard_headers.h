
/*
 * RateLimit-Policy and RateLimit: how the account stands, in the response
 * (draft-ietf-httpapi-ratelimit-headers-11).
 *
 *   RateLimit-Policy: "patients/1d";q=600;w=86400, "lookups/1d";q=...
 *   RateLimit: "patients/1d";r=12, "lookups/1d";r=0;t=3600
 *
 * Only of limits that count the account itself and may refuse: what others
 * share says what they do.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_HEADERS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_HEADERS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* puts the filter before those that are there already */
void ngx_http_patient_guard_headers_init(void);


#endif /* _NGX_HTTP_PATIENT_GUARD_HEADERS_H_INCLUDED_ */
