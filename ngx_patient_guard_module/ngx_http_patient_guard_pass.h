
/*
 * patient_guard_pass: who comes here has passed the portal's own step-up.  The
 * state that the challenge's redirect has sent along says which challenge it
 * was, and where to return to.
 *
 *   record --302, state--> single sign-on --state--> here --303--> record
 *
 * A state is good for the challenge that it was made for, and for no other:
 * once that is passed, on whatever node, the state is worth nothing.
 */


#ifndef _NGX_HTTP_PATIENT_GUARD_PASS_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_PASS_H_INCLUDED_


#include "ngx_http_patient_guard.h"


/* directive of a location; conf is that of the location */
char *ngx_http_patient_guard_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_PATIENT_GUARD_PASS_H_INCLUDED_ */
