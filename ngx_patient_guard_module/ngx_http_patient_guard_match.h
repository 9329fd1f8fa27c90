
/*
 * What a location looks for beside the request's head: patients in the body,
 * patients and records in the response, and whether that is held meanwhile.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_MATCH_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_MATCH_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* patient_guard_request_match, patient_guard_response_match */
char *ngx_http_patient_guard_match(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

char *ngx_http_patient_guard_records(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_gate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PATIENT_GUARD_MATCH_H_INCLUDED_ */
