
/*
 * The finder of the master that sentinels agree upon:
 * https://redis.io/docs/latest/develop/reference/sentinel-clients/
 *
 * They are asked in turn until one knows; that one also tells when it changes
 * (+switch-master).  The others are asked whenever the master fails, or says
 * that it is none: each connection to it begins with ROLE.
 */


#ifndef _NGX_PATIENT_GUARD_SENTINEL_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SENTINEL_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_finder.h"


/* NULL if memory is short */
ngx_patient_guard_finder_t *ngx_patient_guard_sentinel_finder(
    ngx_patient_guard_finder_conf_t *conf, ngx_queue_t *peers,
    ngx_cycle_t *cycle);


#endif /* _NGX_PATIENT_GUARD_SENTINEL_H_INCLUDED_ */
