
/*
 * Who was refused of late, for the person on duty: one entry for an account, a
 * limit and a verdict, which counts how often.  A robot that is refused a
 * thousand times a second takes one of them, and pushes nobody out.
 *
 * In shared memory; every function wants the lock of its zone held.
 */


#ifndef _NGX_PATIENT_GUARD_RECENT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_RECENT_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_RECENT  64


typedef struct {
    ngx_patient_guard_account_t  account;
    uint64_t                     time;         /* ms, of the last time; */
                                               /*   0: none             */
    uint64_t                     until;        /* ms; 0: not told */
    uint32_t                     limit;        /* its id; 0: none decided */
    uint32_t                     count;
    uint32_t                     allowance;
    uint32_t                     times;
    uint16_t                     verdict;      /* an outcome */
    uint16_t                     dry_run;
} ngx_patient_guard_refusal_t;


typedef struct {
    ngx_patient_guard_refusal_t  entries[NGX_PATIENT_GUARD_RECENT];
} ngx_patient_guard_recent_t;


/* one more; the entry that was touched last longest ago makes room */
void ngx_patient_guard_recent_add(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_refusal_t *refusal);

/*
 * Copies them, newest first: those of the account, or of all with NULL.
 * "to" has room for NGX_PATIENT_GUARD_RECENT; returns how many there are.
 */
ngx_uint_t ngx_patient_guard_recent_list(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_account_t *account, ngx_patient_guard_refusal_t *to);

/* nothing is known of the account any more */
void ngx_patient_guard_recent_forget(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_account_t *account);


#endif /* _NGX_PATIENT_GUARD_RECENT_H_INCLUDED_ */
