
/*
 * patient_guard_api: what the person on duty asks, below the prefix of a
 * location.
 *
 *   status, metrics, accounts/LOGIN
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_API_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_API_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directive of a location; conf is that of the location */
char *ngx_http_patient_guard_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* when all is merged: warns where anybody may ask */
ngx_int_t ngx_http_patient_guard_api_check(ngx_conf_t *cf);


#endif /* _NGX_HTTP_PATIENT_GUARD_API_H_INCLUDED_ */
