
/*
 * The Redis store: the counts of the whole fleet.  Check and charge run in
 * ngx_patient_guard_count.lua, one call a lookup.  What Redis decided is
 * noted in this node's shared memory, which answers while Redis is away.
 */


#ifndef _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_store.h"
#include "ngx_patient_guard_shm.h"
#include "ngx_patient_guard_peer.h"


typedef enum {
    NGX_PATIENT_GUARD_OUTAGE_LOCAL = 0,
    NGX_PATIENT_GUARD_OUTAGE_DENY,
    NGX_PATIENT_GUARD_OUTAGE_ALLOW
} ngx_patient_guard_outage_e;


/* read-only once the configuration is loaded */

typedef struct {
    ngx_patient_guard_peer_conf_t   peer;
    ngx_str_t                       keys;      /* "prefix:policy:" */
    ngx_str_t                       user;
    ngx_str_t                       password;
    ngx_uint_t                      db;
    ngx_patient_guard_outage_e      outage;
    ngx_patient_guard_shm_t        *shm;
    u_char                          digest[NGX_PATIENT_GUARD_CALL_DIGEST];
} ngx_patient_guard_redis_conf_t;


/* completes conf->peer and the digest; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_redis_conf_init(
    ngx_patient_guard_redis_conf_t *conf, ngx_pool_t *pool);

/* a worker's; NULL if memory is short */
ngx_patient_guard_store_t *ngx_patient_guard_redis_create(
    ngx_patient_guard_redis_conf_t *conf, ngx_cycle_t *cycle);

/* when the worker goes: nobody waits any more */
void ngx_patient_guard_redis_close(ngx_patient_guard_store_t *store);


#endif /* _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_ */
