
/* Whom a text names: identifiers to the aliases of patients. */


#ifndef _NGX_HTTP_PATIENT_GUARD_NAMING_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_NAMING_H_INCLUDED_


#include "ngx_http_patient_guard.h"


typedef enum {
    NGX_HTTP_PATIENT_GUARD_ANY = 0,
    NGX_HTTP_PATIENT_GUARD_NIR,                /* 15 characters, */
    NGX_HTTP_PATIENT_GUARD_NIR_ASKED           /*   or 13 of who asks */
} ngx_http_patient_guard_kind_e;


/*
 * Adds to ctx->patients whom the value names; commas separate several, and
 * what is not of the kind names nobody.
 *
 * NGX_BUSY   there are "most" of them already;
 * NGX_ERROR  memory is short.
 */
ngx_int_t ngx_http_patient_guard_name(ngx_http_patient_guard_ctx_t *ctx,
    ngx_str_t *value, ngx_http_patient_guard_kind_e kind, ngx_uint_t most);

/* ctx->uri: the URI as sent, which stands for a patient */
void ngx_http_patient_guard_name_uri(ngx_http_patient_guard_ctx_t *ctx,
    ngx_str_t *uri);

/* and for those records of its response of whom nothing but that is known */
void ngx_http_patient_guard_name_record(ngx_http_patient_guard_ctx_t *ctx,
    uint64_t number, ngx_patient_guard_named_t *named);

/* without blanks around it */
void ngx_http_patient_guard_trim(ngx_str_t *value);


#endif /* _NGX_HTTP_PATIENT_GUARD_NAMING_H_INCLUDED_ */
