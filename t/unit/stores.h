
/* The two stores, asked the same. */


#ifndef _STORES_H_INCLUDED_
#define _STORES_H_INCLUDED_


#include "embedded.h"
#include "redis.h"


static ngx_patient_guard_shm_t  *shm;
static int                       with_redis;


static inline void
stores_open(void)
{
    shm = embedded(1024);
    with_redis = redis_open();
}


static inline void
stores_close(void)
{
    if (with_redis) {
        redis_close();
    }
}


/* names a limit's state as the configuration does */

static inline void
stores_limit(ngx_patient_guard_limit_t *limit,
    ngx_patient_guard_signal_e signal, uint64_t window,
    ngx_patient_guard_action_e action, uint32_t count, const char *name)
{
    u_char  *p;

    p = ngx_pnalloc(NULL, 128);

    limit->state.data = p;
    limit->state.len = ngx_sprintf(p, "%s/%uL%s%s%Z",
                              signal == NGX_PATIENT_GUARD_LOOKUPS
                              ? "lookups" : "patients", window,
                              *name ? "/" : "", name) - p - 1;

    limit->name = limit->state;
    limit->signal = signal;
    limit->action = action;
    limit->window = window;
    limit->count = count;
}


/* one lookup, at once */

static inline void
stores_embedded(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    if (ngx_patient_guard_shm_count(shm, lookup, tally) != NGX_OK) {
        abort();
    }
}


static inline void
stores_redis(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    redis_ask(lookup, tally);
    redis_answer();
}


#endif /* _STORES_H_INCLUDED_ */
