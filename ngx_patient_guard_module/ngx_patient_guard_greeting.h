
/*
 * What a new connection to Redis says first: AUTH, SELECT, a PING that tells
 * Redis from whatever else says "+OK" to a stranger, and ROLE where it has to
 * be a master.  Later INFO, for what it does when its memory is full.  No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_
#define _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_resp.h"


#define NGX_PATIENT_GUARD_GREETING_STEPS  4



/* all commands at once, and what must come back for each */

typedef struct {
    ngx_str_t                    hello;
    ngx_str_t                    expect[NGX_PATIENT_GUARD_GREETING_STEPS];
    ngx_uint_t                   nsteps;
} ngx_patient_guard_greeting_t;


/* user and password may be empty, db 0; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_greeting_init(
    ngx_patient_guard_greeting_t *greeting, ngx_str_t *user,
    ngx_str_t *password, ngx_uint_t db, ngx_uint_t master, ngx_pool_t *pool);

/* how far one connection has come */

typedef struct {
    u_char                      *said;         /* up to here */
    ngx_uint_t                   nreplies;
} ngx_patient_guard_greeted_t;


/* bytes that the next reply may have */
size_t ngx_patient_guard_greeting_most(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted);

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

/*
 * INFO memory: the command, and whether the reply tells that the server may
 * evict our keys; then *policy is its maxmemory-policy, as long as the reply.
 */

#define NGX_PATIENT_GUARD_MEMORY_SIZE                                        \
    (NGX_PATIENT_GUARD_RESP_HEAD + 2 * ngx_patient_guard_resp_size(6))

u_char *ngx_patient_guard_memory_write(u_char *p);
ngx_uint_t ngx_patient_guard_memory_evicts(ngx_patient_guard_reply_t *reply,
    ngx_str_t *policy);


#endif /* _NGX_PATIENT_GUARD_GREETING_H_INCLUDED_ */
