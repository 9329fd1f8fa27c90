
/* What a directive's value is for a request. */


#ifndef _NGX_HTTP_PATIENT_GUARD_VALUE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_VALUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_patient_guard.h"


/*
 * As ngx_http_complex_value(), but the numbered captures stay as they are: a
 * regular expression behind a variable, in a map, overwrites those that the
 * location's patient, or its proxy_pass, is made of.  The text may be the
 * variable's own: it is not to be written to.
 */
ngx_int_t ngx_http_patient_guard_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value);

/* a count from 1 to 4294967295, digits alone; else NGX_ERROR */
ngx_int_t ngx_http_patient_guard_number(ngx_str_t *value, uint32_t *number);

/* a window from 10s to 90d, in ms; else NGX_ERROR */
ngx_int_t ngx_http_patient_guard_window(ngx_str_t *value, uint64_t *window);


#endif /* _NGX_HTTP_PATIENT_GUARD_VALUE_H_INCLUDED_ */
