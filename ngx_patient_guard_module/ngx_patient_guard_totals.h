
/*
 * What has become of the lookups of a policy, for graphs and the desk: totals
 * in shared memory, of all workers of this node, which outlive reloads.  They
 * only grow, by atomic additions; nothing is decided by them.
 *
 * The zone also holds who was refused of late, and whom the desk has blocked.
 */


#ifndef _NGX_PATIENT_GUARD_TOTALS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_TOTALS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_blocks.h"
#include "ngx_patient_guard_events.h"
#include "ngx_patient_guard_recent.h"


#define NGX_PATIENT_GUARD_TOTALS_VERSION  1
#define NGX_PATIENT_GUARD_TOTALS_SIZE     (32 * ngx_pagesize)
#define NGX_PATIENT_GUARD_TOTALS_LIMITS   (2 * NGX_PATIENT_GUARD_LIMITS)
#define NGX_PATIENT_GUARD_TOTALS_WORKERS  64

/* s after which a worker that says nothing is taken to be gone */
#define NGX_PATIENT_GUARD_TOTALS_STALE    5


/* what became of a lookup */

typedef enum {
    NGX_PATIENT_GUARD_ALLOWED = 0,
    NGX_PATIENT_GUARD_DELAYED,                 /* and then allowed */
    NGX_PATIENT_GUARD_THROTTLED,
    NGX_PATIENT_GUARD_CHALLENGED,
    NGX_PATIENT_GUARD_DENIED,
    NGX_PATIENT_GUARD_UNAVAILABLE,             /* no store could answer */
    NGX_PATIENT_GUARD_OUTCOMES
} ngx_patient_guard_outcome_e;


/* what went wrong between this node and Redis */

typedef enum {
    NGX_PATIENT_GUARD_TIMED_OUT = 0,           /* no reply in time */
    NGX_PATIENT_GUARD_CLOSED,                  /* while somebody waited */
    NGX_PATIENT_GUARD_UNCONNECTED,
    NGX_PATIENT_GUARD_ODD_REPLY,               /* an error, or none of ours */
    NGX_PATIENT_GUARD_REFUSED,                 /* by password, ACL or TLS */
    NGX_PATIENT_GUARD_BUSY,                    /* too much was waiting here */
    NGX_PATIENT_GUARD_ERRORS
} ngx_patient_guard_error_e;


/* upper bounds of the histogram of calls, in us; the last is infinite */

#define NGX_PATIENT_GUARD_LATENCIES  12

extern const uint32_t  ngx_patient_guard_latencies[];


typedef struct {
    ngx_atomic_t                 id;           /* of the limit; 0: free */
    ngx_atomic_t                 outcomes[2][NGX_PATIENT_GUARD_OUTCOMES];
                                               /* real, and in a dry run */
} ngx_patient_guard_limit_totals_t;


/* how a worker stands, as it said last */

typedef struct {
    uint64_t                     when;         /* s since the epoch */
    uint32_t                     pid;
    uint32_t                     connections;  /* to Redis, that are well */
    uint32_t                     away;         /* servers: breaker is open */
    uint32_t                     waiting;      /* calls */
} ngx_patient_guard_worker_t;


/* what this node has heard of the list of the desk's orders, in Redis */

#define NGX_PATIENT_GUARD_LIST_ID  16

typedef struct {
    ngx_atomic_t                 polled;       /* ms, by some clock, or 0 */
    uint64_t                     heard;        /* number of the last order */
    u_char                       id[NGX_PATIENT_GUARD_LIST_ID];
} ngx_patient_guard_list_t;


typedef struct {
    uint64_t                          version;
    uint64_t                          born;       /* ms */

    ngx_atomic_t                      records;
    ngx_atomic_t                      outcomes[2][NGX_PATIENT_GUARD_OUTCOMES];
    ngx_atomic_t                      sources[4];
    ngx_atomic_t                      outages;    /* lookups */
    ngx_atomic_t                      errors[NGX_PATIENT_GUARD_ERRORS];
    ngx_atomic_t                      latencies[NGX_PATIENT_GUARD_LATENCIES];
    ngx_atomic_t                      latency;    /* us, sum of all */
    ngx_atomic_t                      orders[4];  /* by kind */

    ngx_patient_guard_limit_totals_t  limits[NGX_PATIENT_GUARD_TOTALS_LIMITS];
    ngx_patient_guard_worker_t        workers[
                                            NGX_PATIENT_GUARD_TOTALS_WORKERS];
    ngx_patient_guard_recent_t        recent;
    ngx_patient_guard_blocks_t        blocks;
    ngx_patient_guard_list_t          list;
    ngx_patient_guard_events_t        events;
} ngx_patient_guard_sums_t;


/* of one configuration; the sums are in shared memory */

typedef struct {
    ngx_patient_guard_sums_t    *sums;
    ngx_slab_pool_t             *pool;         /* for its lock */
    ngx_patient_guard_limit_t   *limits;       /* of the policy */
    ngx_uint_t                   nlimits;
    ngx_uint_t                   streams;      /* events are kept */
    ngx_uint_t                   places[NGX_PATIENT_GUARD_LIMITS];
                                               /* of them, in sums->limits */
} ngx_patient_guard_totals_t;


/*
 * One more of "what", a field of the sums.  Without totals, as in tests of
 * other rooms, nothing is done.
 */
#define ngx_patient_guard_total(totals, what)                                \
    ((totals) ? (void) ngx_atomic_fetch_add(&(totals)->sums->what, 1)        \
              : (void) 0)

/* a lookup that was decided */

typedef struct {
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_outcome_e  outcome;
    ngx_int_t                    limit;        /* that decided; -1: none */
    ngx_patient_guard_source_e   source;
    uint64_t                     now;          /* ms */
    uint64_t                     wait;         /* ms; 0: none */
    uint32_t                     records;
    uint32_t                     count;        /* of the limit */
    uint32_t                     allowance;
    unsigned                     dry_run:1;
    unsigned                     passed:1;     /* a challenge before it */
} ngx_patient_guard_decided_t;


/*
 * The init handler of the zone, whose data are the totals with their limits;
 * old are those of the configuration before, or NULL.
 */
ngx_int_t ngx_patient_guard_totals_init(ngx_shm_zone_t *zone,
    ngx_patient_guard_totals_t *old);

void ngx_patient_guard_totals_add(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_decided_t *decided);

/* what is no lookup's: for the stream, where there is one */
void ngx_patient_guard_totals_event(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account, ngx_uint_t what, uint64_t now,
    uint64_t until);

/* a call to Redis was answered after so many us */
void ngx_patient_guard_totals_answered(ngx_patient_guard_totals_t *totals,
    uint64_t us);

/* how this worker stands: when and pid are filled in */
void ngx_patient_guard_totals_worker(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_worker_t *worker);

/* the sum over all workers that are there */
void ngx_patient_guard_totals_workers(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_worker_t *sum);

/* lookups that were decided */
uint64_t ngx_patient_guard_totals_lookups(ngx_patient_guard_sums_t *sums);

/*
 * The lists of the zone, under its lock: see ngx_patient_guard_recent.h and
 * ngx_patient_guard_blocks.h.  Until when (ms) an account is blocked, 0: it is
 * not; a block under the alias of the other secret is renamed.
 */
ngx_uint_t ngx_patient_guard_totals_recent(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account, ngx_patient_guard_refusal_t *to);
ngx_uint_t ngx_patient_guard_totals_blocked(
    ngx_patient_guard_totals_t *totals, uint64_t now,
    ngx_patient_guard_block_entry_t *to);
uint64_t ngx_patient_guard_totals_blocks(ngx_patient_guard_totals_t *totals,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous, uint64_t now);

/* as they are called in what is told */
ngx_str_t *ngx_patient_guard_outcome_name(ngx_uint_t outcome);
ngx_str_t *ngx_patient_guard_error_name(ngx_uint_t error);

#define ngx_patient_guard_totals_lock(totals)                                \
    ngx_shmtx_lock(&(totals)->pool->mutex)
#define ngx_patient_guard_totals_unlock(totals)                              \
    ngx_shmtx_unlock(&(totals)->pool->mutex)


#endif /* _NGX_PATIENT_GUARD_TOTALS_H_INCLUDED_ */
