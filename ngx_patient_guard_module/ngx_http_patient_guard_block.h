
/* The block "patient_guard_policy name { ... }". */


#ifndef _NGX_HTTP_PATIENT_GUARD_BLOCK_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_BLOCK_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* conf is the main configuration */
char *ngx_http_patient_guard_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PATIENT_GUARD_BLOCK_H_INCLUDED_ */
