
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

/* how far one connection has come */

typedef struct {
    u_char                      *said;         /* up to here */
    ngx_uint_t                   nreplies;
} ngx_patient_guard_greeted_t;


void ngx_patient_guard_greeting_start(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted);

/*
 * NGX_OK        all is said and answered;
 * NGX_AGAIN     the right reply, more are to come;
 * NGX_DECLINED  a reply before all was said;
 * NGX_ERROR     not the right one.
 */
ngx_int_t ngx_patient_guard_greeting_reply(
    ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted, ngx_patient_guard_reply_t *reply);


#endif /* _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_ */
