
/* A server that fails: what the log says of it, and when it is tried again. */


#ifndef _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_


#include "ngx_patient_guard.h"


/* zeroed to begin with */

typedef struct {
    ngx_msec_t                   delay;        /* of the last try, ms */
    unsigned                     away:1;       /* and it has been logged */
    unsigned                     refused:1;    /* set it before the failure */
} ngx_patient_guard_backoff_t;


/*
 * ms until the next try: 50 ms, doubled at each failure up to a second, less
 * up to a half of it at random, lest all workers come at once.  A server that
 * refused us gets more than a second: a wrong password does not get right
 * by trying it again soon.  Only the first failure is logged, and none in a
 * worker that is told to go.
 */
ngx_msec_t ngx_patient_guard_backoff_failed(
    ngx_patient_guard_backoff_t *backoff, ngx_log_t *log, ngx_err_t err,
    ngx_str_t *name, const char *reason, const char *outage);

/* it serves again */
void ngx_patient_guard_backoff_over(ngx_patient_guard_backoff_t *backoff,
    ngx_log_t *log, ngx_str_t *name);


#endif /* _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_ */
