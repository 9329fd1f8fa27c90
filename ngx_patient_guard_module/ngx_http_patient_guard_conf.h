
/* What a location says: who guards it, whose records it shows. */


#ifndef _NGX_HTTP_PATIENT_GUARD_CONF_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_CONF_H_INCLUDED_


#include "ngx_http_patient_guard.h"


extern ngx_conf_enum_t  ngx_http_patient_guard_unmatched_values[];
extern ngx_conf_enum_t  ngx_http_patient_guard_log_levels[];


void *ngx_http_patient_guard_create_main_conf(ngx_conf_t *cf);
void *ngx_http_patient_guard_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_patient_guard_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* directives; conf is the location's */
char *ngx_http_patient_guard_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_patient(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_methods(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PATIENT_GUARD_CONF_H_INCLUDED_ */
