
/*
 * The words of the guard: what every room means by account, patient, lookup,
 * limit, tally and verdict.  Rank 0: includes nothing of ours.
 */


#ifndef _NGX_PATIENT_GUARD_H_INCLUDED_
#define _NGX_PATIENT_GUARD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/*
 * What is declared from here on is the module's own: calls are direct, and may
 * be inlined.  Headers of others are included before.
 */

#if (NGX_PATIENT_GUARD_MODULE)
#pragma GCC visibility push(hidden)
#endif


#define NGX_PATIENT_GUARD_LIMITS         16    /* of one policy, at most */
#define NGX_PATIENT_GUARD_KEYS           5     /* they count by, at most: */
                                               /*   that of the account,  */
                                               /*   and those of per=     */
#define NGX_PATIENT_GUARD_PATIENTS       512   /* named by one request */
#define NGX_PATIENT_GUARD_DISCLOSED      4096  /* by one response, at once */
#define NGX_PATIENT_GUARD_ACCOUNT_LEN    256   /* bytes, longer is missing */
#define NGX_PATIENT_GUARD_HOST_MAX       255   /* bytes, RFC 1035, 2.3.4 */

/* a window is kept in slices, each a 32nd of its length */
#define NGX_PATIENT_GUARD_SLICES         32

#define NGX_PATIENT_GUARD_WINDOW_MIN     10000ULL                /* 10s, ms */
#define NGX_PATIENT_GUARD_WINDOW_MAX     (90 * 86400 * 1000ULL)  /* 90d, ms */
#define NGX_PATIENT_GUARD_COUNT_MAX      4294967295ULL

/* by which two clocks may differ, for proofs and challenges */
#define NGX_PATIENT_GUARD_SKEW           300000ULL                /* 5m, ms */


/* keyed one-way aliases: all that is ever stored or logged of a person */

typedef struct {
    uint64_t                     word[2];      /* 128 bits, never both zero */
} ngx_patient_guard_account_t;

#define ngx_patient_guard_same(one, two)                                     \
    ((one)->word[0] == (two)->word[0] && (one)->word[1] == (two)->word[1])

typedef uint64_t                 ngx_patient_guard_patient_t;   /* never 0 */


/*
 * Aliases under the current key and, while a key is being rotated, under the
 * other one: what was counted under either is found.
 */

typedef struct {
    ngx_patient_guard_patient_t  current;
    ngx_patient_guard_patient_t  previous;     /* 0: no second key */
    ngx_uint_t                   known;        /* to the account, here */
} ngx_patient_guard_named_t;


/* in the order of their hardness: the hardest action wins */

typedef enum {
    NGX_PATIENT_GUARD_LOG = 0,
    NGX_PATIENT_GUARD_THROTTLE,
    NGX_PATIENT_GUARD_CHALLENGE,
    NGX_PATIENT_GUARD_DENY
} ngx_patient_guard_action_e;


typedef enum {
    NGX_PATIENT_GUARD_LOOKUPS = 0,             /* records read */
    NGX_PATIENT_GUARD_PATIENTS_SEEN,           /* distinct patients */
    NGX_PATIENT_GUARD_NEW_PATIENTS,            /* whom it does not know */
    NGX_PATIENT_GUARD_MISSES,                  /* that found no patient */
    NGX_PATIENT_GUARD_ADDRESSES,               /* distinct, of clients */
    NGX_PATIENT_GUARD_ACCOUNTS                 /* distinct accounts */
} ngx_patient_guard_signal_e;

/* are distinct ones told from each other, or is it a bare count? */

#define ngx_patient_guard_keeps_set(limit)                                   \
    ((limit)->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN                      \
     || (limit)->signal >= NGX_PATIENT_GUARD_ADDRESSES)

/* does it count patients? */

#define ngx_patient_guard_of_patients(limit)                                 \
    ((limit)->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN                      \
     || (limit)->signal == NGX_PATIENT_GUARD_NEW_PATIENTS)

/* is it a count that follows from whom the account has seen? */

#define ngx_patient_guard_follows(limit)                                     \
    ((limit)->signal == NGX_PATIENT_GUARD_NEW_PATIENTS && (limit)->key == 0)


typedef enum {
    NGX_PATIENT_GUARD_FROM_NONE = 0,
    NGX_PATIENT_GUARD_FROM_LOCAL,              /* what this node counted */
    NGX_PATIENT_GUARD_FROM_REDIS,
    NGX_PATIENT_GUARD_FROM_CACHE               /* what it knows of Redis */
} ngx_patient_guard_source_e;


/*
 * A limit as a store sees it.  What was counted is kept under the state's
 * name, which holds signal, window and an explicit name but neither count
 * nor action: these may be tuned without a reset.
 */

typedef struct {
    ngx_str_t                    name;         /* as the operator reads it */
    ngx_str_t                    state;        /* "patients/86400[/name]" */
    uint32_t                     id;           /* of the state, in memory */
    ngx_patient_guard_signal_e   signal;
    ngx_patient_guard_action_e   action;
    uint64_t                     window;       /* ms */
    uint32_t                     count;
    uint32_t                     key;          /* 0: the account; else of */
                                               /*   the lookup's others   */
    uint64_t                     factor;       /* of what is usual, in */
                                               /*   thousandths; 0: none */
    uint32_t                     floor;        /* and no less than that */
} ngx_patient_guard_limit_t;


/* how often a challenge may be passed before it turns into a denial */

typedef struct {
    uint32_t                     count;
    uint64_t                     window;       /* ms */
} ngx_patient_guard_grants_t;


/* what a limit counts by beside the account; zero: it does not apply */

typedef struct {
    ngx_patient_guard_account_t  current;
    ngx_patient_guard_account_t  previous;     /* zero: no second key */
} ngx_patient_guard_key_t;


/* one request that reads records, as a store gets it */

typedef struct {
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_account_t  previous;     /* zero: no second key */
    ngx_patient_guard_key_t      others[NGX_PATIENT_GUARD_KEYS - 1];

    ngx_patient_guard_named_t   *patients;     /* distinct */
    ngx_uint_t                   npatients;
    uint32_t                     records;      /* read, for "lookups" */
    uint32_t                     misses;       /* of a response */
    uint32_t                     novel;        /* as Redis has said */

    ngx_patient_guard_named_t    address;      /* of the client */
    ngx_patient_guard_named_t    who;          /* the account, for a set */
    uint64_t                     memory;       /* ms; 0: none is kept */

    ngx_patient_guard_limit_t   *limits;       /* with the counts that hold */
    ngx_uint_t                   nlimits;      /*   for this lookup         */
    ngx_patient_guard_grants_t  *grants;

    uint64_t                     now;          /* ms since the epoch */
    uint64_t                     proof;        /* ms; 0: none */

    ngx_uint_t                   tell;         /* key that Redis has to be */
                                               /*   told of first          */

    uint32_t                     apart;        /* bits: keys that the call */
                                               /*   leaves out, for they   */
                                               /*   are told of apart      */

    uint64_t                     cleared;      /* as in the tally, as far as */
                                               /*   this node knows; or 0    */

    /* a challenge that this node knows of, for Redis to keep as well */

    uint64_t                     since;        /* ms; 0: none */
    ngx_uint_t                   challenger;   /* as in the tally */
    unsigned                     due:1;        /* or one that was passed */

    unsigned                     dry_run:1;    /* opens no challenge */
    unsigned                     exempt:1;     /* counted, never refused */
    unsigned                     forced:1;     /* counted, for it has left */

    /*
     * The response will tell who they are: room for them is wanted, but only
     * the records are charged.  Or it is charged by another lookup, which
     * knows the whole of it: this one charges nothing.
     */

    unsigned                     unnamed:1;
    unsigned                     probe:1;

    unsigned                     asks:1;       /* Redis is asked, whatever */
                                               /*   is known here          */
    unsigned                     learns:1;     /* what is usual: of a node */
                                               /*   alone                  */
    unsigned                     told:1;       /* "novel" is, by Redis, */
                                               /*   and what is usual    */
    unsigned                     session:1;    /* the proof is that of the */
                                               /*   session that asks      */
    unsigned                     added:1;      /* the zone did not know the */
                                               /*   account before          */
} ngx_patient_guard_lookup_t;


#define ngx_patient_guard_apart(lookup, key)  ((lookup)->apart >> (key) & 1)

/* the alias of what Redis has to be told of first */

#define ngx_patient_guard_told_first(lookup)                                 \
    ((lookup)->tell ? &(lookup)->others[(lookup)->tell - 1].current          \
                    : &(lookup)->account)


/*
 * A challenge that was passed: until then each session of the account has to
 * have proved itself after it.
 */

typedef struct {
    uint64_t                     since;        /* ms; 0: none */
    uint32_t                     until;        /* s since the epoch */
} ngx_patient_guard_due_t;


/* what a store answers of one limit */

typedef struct {
    uint32_t                     total;        /* counted, after the charge */
    uint32_t                     count;        /* that holds for it */
    uint64_t                     wait;         /* ms until it fits, 0: fits */
} ngx_patient_guard_room_t;


typedef struct {
    ngx_patient_guard_room_t     rooms[NGX_PATIENT_GUARD_LIMITS];

    /* which limit challenged the account; the number of limits if it is
     * no longer configured; meaningful with "challenged" and "unproved" */
    ngx_uint_t                   challenger;
    uint64_t                     since;        /* ms; 0: not challenged */

    uint32_t                     novel;        /* of the patients */
    uint64_t                     grants_wait;  /* ms until a pass is left */
    uint64_t                     cleared;      /* ms; when Redis last saw a */
                                               /*   challenge passed        */
    ngx_patient_guard_due_t      due;          /* as Redis says */

    ngx_patient_guard_source_e   source;

    unsigned                     charged:1;
    unsigned                     challenged:1; /* until it is passed */
    unsigned                     passed:1;     /* this proof cleared it */
    unsigned                     unproved:1;   /* others passed it, not this */
                                               /*   session                  */
    unsigned                     outage:1;     /* no store could answer */
} ngx_patient_guard_tally_t;


typedef enum {
    NGX_PATIENT_GUARD_ALLOW = 0,
    NGX_PATIENT_GUARD_VERDICT_THROTTLE,
    NGX_PATIENT_GUARD_VERDICT_CHALLENGE,
    NGX_PATIENT_GUARD_VERDICT_DENY
} ngx_patient_guard_verdict_e;


typedef struct {
    ngx_patient_guard_verdict_e  verdict;

    /* the limit that decided; with allow, the one with the least room;
     * -1 if no limit did */
    ngx_int_t                    limit;

    uint64_t                     wait;         /* ms, 0: none */

    unsigned                     over:1;       /* a limit did not fit, */
                                               /*   even one that only logs */
} ngx_patient_guard_decision_t;


#endif /* _NGX_PATIENT_GUARD_H_INCLUDED_ */
