
/*
 * A Redis server by its host and port, wherever that name leads to: its peer
 * is replaced when the name moves, and answers who waits before it goes.
 */


#ifndef _NGX_PATIENT_GUARD_SERVER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SERVER_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_finder.h"
#include "ngx_patient_guard_name.h"


typedef struct {
    ngx_patient_guard_finder_conf_t  *conf;
    ngx_patient_guard_target_t        target;
    ngx_patient_guard_name_t          name;
    ngx_patient_guard_peer_t         *peer;
    ngx_queue_t                      *peers;   /* of the worker */
    ngx_pool_t                       *pool;
    ngx_cycle_t                      *cycle;
    void                            (*failed)(void *data);
    void                             *data;
} ngx_patient_guard_server_t;


/*
 * Nobody knows yet where it is.  failed, which may be NULL, is that of
 * ngx_patient_guard_peer_create().  NULL if memory is short; what it takes
 * comes from the pool, which must outlive it.
 */
ngx_patient_guard_server_t *ngx_patient_guard_server_create(
    ngx_patient_guard_finder_conf_t *conf, ngx_str_t *name,
    void (*failed)(void *data), void *data, ngx_queue_t *peers,
    ngx_pool_t *pool, ngx_cycle_t *cycle);

/*
 * Now it is known, for good.  The target is copied, but for its addresses:
 * where it has none, its host is one, or is resolved.  NGX_ERROR if memory is
 * short or the host can't be one.
 */
ngx_int_t ngx_patient_guard_server_aim(ngx_patient_guard_server_t *server,
    ngx_patient_guard_target_t *target);

/* its peer retires */
void ngx_patient_guard_server_destroy(ngx_patient_guard_server_t *server);

/* the finder where one server has all accounts */
ngx_patient_guard_finder_t *ngx_patient_guard_server_finder(
    ngx_patient_guard_finder_conf_t *conf, ngx_queue_t *peers,
    ngx_cycle_t *cycle);


#endif /* _NGX_PATIENT_GUARD_SERVER_H_INCLUDED_ */
