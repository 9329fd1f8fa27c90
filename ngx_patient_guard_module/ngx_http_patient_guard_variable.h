
/* What the guard decided, as variables. */


#ifndef _NGX_HTTP_PATIENT_GUARD_VARIABLE_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_VARIABLE_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* before the configuration is read */
ngx_int_t ngx_http_patient_guard_add_variables(ngx_conf_t *cf);

/*
 * The context of the main request, found again after an internal redirect,
 * which clears r->ctx.  NULL if no guarded location was reached yet.
 */
ngx_http_patient_guard_ctx_t *ngx_http_patient_guard_get_ctx(
    ngx_http_request_t *r);

/* whose data is the context: how it is found again */
void ngx_http_patient_guard_ctx_cleanup(void *data);


#endif /* _NGX_HTTP_PATIENT_GUARD_VARIABLE_H_INCLUDED_ */
