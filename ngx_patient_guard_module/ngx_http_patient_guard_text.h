
/* A text that grows as it is written: JSON, and what Prometheus reads. */


#ifndef _NGX_HTTP_PATIENT_GUARD_TEXT_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_TEXT_H_INCLUDED_


#include "ngx_http_patient_guard.h"


typedef struct {
    ngx_pool_t                  *pool;
    u_char                      *start;        /* NULL: nothing yet */
    u_char                      *last;
    u_char                      *end;
    ngx_uint_t                   failed;       /* memory was short */
} ngx_http_patient_guard_text_t;


/* as ngx_sprintf() does; once it has failed nothing is added any more */
void ngx_http_patient_guard_text_add(ngx_http_patient_guard_text_t *text,
    const char *format, ...);

/* between quotes, and escaped for JSON */
void ngx_http_patient_guard_text_string(ngx_http_patient_guard_text_t *text,
    ngx_str_t *string);

/* seconds, to the ms; "null" for 0 */
void ngx_http_patient_guard_text_time(ngx_http_patient_guard_text_t *text,
    uint64_t ms);

/* an account's alias between quotes */
void ngx_http_patient_guard_text_account(ngx_http_patient_guard_text_t *text,
    ngx_patient_guard_account_t *account);

/*
 * Sends it whole, not to be stored by anybody.  What a content handler is to
 * return.
 */
ngx_int_t ngx_http_patient_guard_text_send(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_http_patient_guard_text_t *text);


#endif /* _NGX_HTTP_PATIENT_GUARD_TEXT_H_INCLUDED_ */
