
/*
 * What a new connection to Redis says first: AUTH, SELECT, and a PING that
 * tells Redis from whatever else says "+OK" to a stranger.  No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_
#define _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_resp.h"


#define NGX_PATIENT_GUARD_GREETING_STEPS  3


/* all commands at once, and what must come back for each */

typedef struct {
    ngx_str_t                    hello;
    ngx_str_t                    expect[NGX_PATIENT_GUARD_GREETING_STEPS];
    ngx_uint_t                   nsteps;
} ngx_patient_guard_greeting_t;


/* user and password may be empty, db 0; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_greeting_init(
    ngx_patient_guard_greeting_t *greeting, ngx_str_t *user,
    ngx_str_t *password, ngx_uint_t db, ngx_pool_t *pool);

/* NGX_OK, or NGX_ERROR if this is no right reply to the step, from 0 */
ngx_int_t ngx_patient_guard_greeting_accept(
    ngx_patient_guard_greeting_t *greeting, ngx_uint_t step,
    ngx_patient_guard_reply_t *reply);


#endif /* _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_ */
