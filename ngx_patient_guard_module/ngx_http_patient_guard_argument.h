
/* What directives of a policy are given: parameters, and files of secrets. */


#ifndef _NGX_HTTP_PATIENT_GUARD_ARGUMENT_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_ARGUMENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Is the argument the parameter "name=", and not empty?  Then *value is what
 * follows, terminated.
 */
ngx_uint_t ngx_http_patient_guard_given(ngx_str_t *argument,
    const char *name, ngx_str_t *value);

/* both return NGX_CONF_OK or, when it is logged what is wrong, ERROR */

/* no parameter, name=value, of the directive is given twice */
char *ngx_http_patient_guard_once(ngx_conf_t *cf);

/*
 * The first n lines of the directive's file that holds a secret, empty where
 * it has none; *file becomes its full name.
 */
char *ngx_http_patient_guard_read_lines(ngx_conf_t *cf,
    const char *directive, ngx_str_t *file, ngx_str_t *lines, ngx_uint_t n);


#endif /* _NGX_HTTP_PATIENT_GUARD_ARGUMENT_H_INCLUDED_ */
