
/* Answers that the guard gives itself: header fields, texts, problems. */


#ifndef _NGX_HTTP_PATIENT_GUARD_SEND_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_SEND_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* does the request have that field, in small letters, with that value? */
ngx_uint_t ngx_http_patient_guard_sends(ngx_http_request_t *r,
    const char *name, const char *value);

/* one more field of the response; NULL if memory is short */
ngx_table_elt_t *ngx_http_patient_guard_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/*
 * Sends the response whole; b is all of its body.  What a content or phase
 * handler is to return, or to finalize the request by.
 */
ngx_int_t ngx_http_patient_guard_send(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_buf_t *b);

/*
 * RFC 9457, of type "about:blank": the status says what it is, the detail, a
 * text that JSON need not escape, what is to be done about it.  It is not to
 * be stored.
 */
ngx_int_t ngx_http_patient_guard_send_problem(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail);


#endif /* _NGX_HTTP_PATIENT_GUARD_SEND_H_INCLUDED_ */
