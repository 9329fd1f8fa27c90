
/*
 * One sentinel, as a worker asks it: where is the master, and tell me when
 * that changes.
 * https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
 */


#ifndef _NGX_PATIENT_GUARD_WATCHMAN_H_INCLUDED_
#define _NGX_PATIENT_GUARD_WATCHMAN_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_finder.h"
#include "ngx_patient_guard_name.h"


typedef struct ngx_patient_guard_watchman_s  ngx_patient_guard_watchman_t;


/* zeroed to begin with, but for data and the two that are called */

struct ngx_patient_guard_watchman_s {
    ngx_patient_guard_link_t        link;      /* first */
    ngx_patient_guard_link_conf_t   conf;
    ngx_patient_guard_name_t        name;
    ngx_str_t                      *master;
    ngx_log_t                      *log;
    ngx_event_t                     late;
    ngx_msec_t                      timeout;
    unsigned                        told:1;    /* and it will tell changes */

    void                           *data;

    /* where the master is, as an answer or without being asked */
    void                          (*tells)(void *data, ngx_str_t *host,
                                      in_port_t port);

    /* it does not know, or does no longer tell; its connection is closed */
    void                          (*fails)(void *data, const char *reason,
                                      ngx_uint_t refused);
};


/* NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_watchman_init(
    ngx_patient_guard_watchman_t *watchman,
    ngx_patient_guard_finder_conf_t *conf,
    ngx_patient_guard_target_t *target, ngx_cycle_t *cycle);

/* asks; fails() may be called from within */
void ngx_patient_guard_watchman_ask(ngx_patient_guard_watchman_t *watchman);

/* nobody listens any more */
void ngx_patient_guard_watchman_hangup(
    ngx_patient_guard_watchman_t *watchman);

/* for good */
void ngx_patient_guard_watchman_destroy(
    ngx_patient_guard_watchman_t *watchman);


#endif /* _NGX_PATIENT_GUARD_WATCHMAN_H_INCLUDED_ */
