
/* When a server that failed is tried again. */


#ifndef _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_


#include "ngx_patient_guard.h"


/* ms; 0 to begin with and after each success */
typedef ngx_msec_t  ngx_patient_guard_backoff_t;


/*
 * ms until the next try: 50 ms, doubled at each failure up to a second, less
 * up to a half of it at random, lest all workers come at once.  A server that
 * refused us gets more than a second: a wrong password does not get right
 * by trying it again soon.
 */
ngx_msec_t ngx_patient_guard_backoff_next(
    ngx_patient_guard_backoff_t *backoff, ngx_uint_t refused);


#endif /* _NGX_PATIENT_GUARD_BACKOFF_H_INCLUDED_ */
