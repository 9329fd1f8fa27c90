
/*
 * A circuit breaker: a server that fails is not asked for a while.
 *
 *   closed --a failure, or errors in a row--> open --time--> half-open
 *     ^                                        ^                |
 *     |                                        +----failure-----+
 *     +----------------------an answer--------------------------+
 *
 * Half-open it is asked one thing at a time.  The breaker also says in the
 * log what has become of the server, once for each change; that it refuses
 * us is one, even if it was away before: nobody could guess why it stays so.
 */


#ifndef _NGX_PATIENT_GUARD_BREAKER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BREAKER_H_INCLUDED_


#include "ngx_patient_guard.h"


/* error replies in a row that are as good as none */
#define NGX_PATIENT_GUARD_BREAKER_ERRORS  5


/* zeroed to begin with, but for the first three */

typedef struct {
    ngx_log_t                   *log;
    ngx_str_t                   *name;         /* of the server */
    const char                  *outage;       /* what holds meanwhile */
    ngx_msec_t                   delay;        /* of the last try, ms */
    ngx_uint_t                   errors;       /* in a row */
    unsigned                     away:1;       /* open or half-open, and it */
                                               /*   has been logged         */
    unsigned                     refused:1;    /* set it before the failure */
    unsigned                     told:1;       /* and that was logged */
} ngx_patient_guard_breaker_t;


/*
 * Opens.  ms until the next try: 50 ms, doubled at each failure up to half a
 * second, less up to a half of it at random, lest all workers come at once.
 * A server that refused us gets more than a second: a wrong password does not
 * get right by trying it again soon.  Nothing is logged in a worker that is
 * told to go.
 */
ngx_msec_t ngx_patient_guard_breaker_failed(
    ngx_patient_guard_breaker_t *breaker, ngx_err_t err, const char *reason);

/* an error reply, no fault of the question's; 0 if it may be asked again */
ngx_msec_t ngx_patient_guard_breaker_error(
    ngx_patient_guard_breaker_t *breaker, const char *reason);

/* closes: it has answered */
void ngx_patient_guard_breaker_answered(
    ngx_patient_guard_breaker_t *breaker);


#endif /* _NGX_PATIENT_GUARD_BREAKER_H_INCLUDED_ */
