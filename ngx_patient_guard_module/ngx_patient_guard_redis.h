
/*
 * The Redis store: the counts of the whole fleet, and this node's floor.
 *
 *   count --> floor --refused as known, or known patients--> answered
 *               |
 *               +--> lane of the account --> COUNT --> noted, answered
 *               |                   |
 *               |                   +--> SYNC: how does it stand? --> floor
 *               +--> Redis is away: on_outage
 *
 * Check and charge run in ngx_patient_guard_count.lua, one call a lookup.
 */


#ifndef _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_outage.h"
#include "ngx_patient_guard_script.h"
#include "ngx_patient_guard_store.h"
#include "ngx_patient_guard_shm.h"


/* read-only once the configuration is loaded */

typedef struct {
    ngx_patient_guard_script_conf_t  script;
    ngx_str_t                        user;
    ngx_str_t                        password;
    ngx_str_t                        sentinel_user;
    ngx_str_t                        sentinel_password;
    ngx_uint_t                       db;
    ngx_patient_guard_outage_e       outage;
    ngx_uint_t                       local;    /* consistency */
    ngx_msec_t                       interval; /* between two merges */
} ngx_patient_guard_redis_conf_t;


/* a worker's; NULL if memory is short */
ngx_patient_guard_store_t *ngx_patient_guard_redis_create(
    ngx_patient_guard_redis_conf_t *conf, ngx_cycle_t *cycle);

/* when the worker goes: nobody waits any more */
void ngx_patient_guard_redis_close(ngx_patient_guard_store_t *store);


#endif /* _NGX_PATIENT_GUARD_REDIS_H_INCLUDED_ */
