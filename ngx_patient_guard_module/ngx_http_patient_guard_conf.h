
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

/* NULL: there is none of that name */
ngx_http_patient_guard_policy_t *ngx_http_patient_guard_find_policy(
    ngx_http_patient_guard_main_conf_t *mcf, ngx_str_t *name);

/*
 * One of the names of an ngx_conf_enum_t at cmd->post, for an ngx_uint_t at
 * cmd->offset of conf; says what would be right, as nginx' own does not.
 */
char *ngx_http_patient_guard_choice(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* directives; conf is the location's */
char *ngx_http_patient_guard_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_patient(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_patient_guard_methods(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* is the request's method one that reads records? */
ngx_uint_t ngx_http_patient_guard_is_lookup(ngx_http_request_t *r,
    ngx_http_patient_guard_loc_conf_t *lcf);


#endif /* _NGX_HTTP_PATIENT_GUARD_CONF_H_INCLUDED_ */
