
/*
 * Has the upstream send the whole in plain text: what is compressed, or cut
 * into ranges, can't be looked into.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_UNCODED_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_UNCODED_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/*
 * What goes to the upstream says "Accept-Encoding: identity", if it said
 * anything, and has no Range.  What nginx itself makes of the client's
 * Accept-Encoding, by "gzip on", stays as it is.  NGX_ERROR if memory is
 * short.
 */
ngx_int_t ngx_http_patient_guard_uncoded(ngx_http_request_t *r);

/*
 * Of a response: NULL, or why it can't be counted; if its "body" is not to be
 * looked into, whether there is any.
 */
const char *ngx_http_patient_guard_coded(ngx_http_request_t *r,
    ngx_uint_t body);


#endif /* _NGX_HTTP_PATIENT_GUARD_UNCODED_H_INCLUDED_ */
