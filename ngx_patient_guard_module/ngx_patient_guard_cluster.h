
/*
 * The finder of a Redis Cluster:
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
 *
 * CLUSTER SLOTS tells which master has which hash slots.  It is asked for when
 * a worker starts, when a call meets MOVED, and as long as a master is away.
 * Until the first answer calls go to a seed, which sends them on.
 */


#ifndef _NGX_PATIENT_GUARD_CLUSTER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_CLUSTER_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_finder.h"


/* NULL if memory is short */
ngx_patient_guard_finder_t *ngx_patient_guard_cluster_finder(
    ngx_patient_guard_finder_conf_t *conf, ngx_queue_t *peers,
    ngx_cycle_t *cycle);


#endif /* _NGX_PATIENT_GUARD_CLUSTER_H_INCLUDED_ */
