
/*
 * Accounts that the desk has blocked, and until when.  They are few, and stay
 * whatever becomes of what an account has counted.
 *
 * In shared memory; every function but ngx_patient_guard_blocks_may() wants
 * the lock of its zone held.
 */


#ifndef _NGX_PATIENT_GUARD_BLOCKS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BLOCKS_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_BLOCKS  256


typedef struct {
    ngx_patient_guard_account_t  account;
    uint64_t                     until;        /* ms; 0: none */
} ngx_patient_guard_block_entry_t;


typedef struct {
    uint64_t                         latest;   /* no block lasts longer */
    ngx_patient_guard_block_entry_t  entries[NGX_PATIENT_GUARD_BLOCKS];
} ngx_patient_guard_blocks_t;


/* may anybody be blocked at all?  now in ms */
#define ngx_patient_guard_blocks_may(blocks, now)  ((blocks)->latest > (now))

/* NGX_DECLINED: as many as there may be are blocked already */
ngx_int_t ngx_patient_guard_blocks_set(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account, uint64_t until, uint64_t now);

/* lifts it, if there is one */
void ngx_patient_guard_blocks_lift(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account);

/* until when (ms); 0: it is not blocked */
uint64_t ngx_patient_guard_blocks_find(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account, uint64_t now);

/* copies those that last; room for NGX_PATIENT_GUARD_BLOCKS; how many */
ngx_uint_t ngx_patient_guard_blocks_list(ngx_patient_guard_blocks_t *blocks,
    uint64_t now, ngx_patient_guard_block_entry_t *to);


#endif /* _NGX_PATIENT_GUARD_BLOCKS_H_INCLUDED_ */
