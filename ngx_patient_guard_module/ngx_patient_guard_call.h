
/*
 * One call of ngx_patient_guard_count.lua.  COUNT: a lookup to a command.
 * SYNC: what a node tells of an account.  Arguments are told in the script.
 * No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_CALL_H_INCLUDED_
#define _NGX_PATIENT_GUARD_CALL_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"


#define NGX_PATIENT_GUARD_CALL_DIGEST  40      /* hexadecimal digits */


/* the SHA-1 by which Redis knows the script */
void ngx_patient_guard_call_digest(
    u_char digest[NGX_PATIENT_GUARD_CALL_DIGEST]);

/*
 * Whose call it is: a worker's, or a node's when it tells what it counted.
 * Its calls bear numbers, the nonces, that only grow.  Needed where bare
 * counts are kept: sets can't be counted twice.
 */

typedef struct {
    u_char                      *session;      /* 8 bytes; NULL: none */
    uint64_t                     nonce;
} ngx_patient_guard_caller_t;


/* bytes that the command takes at the most; keys is "prefix:policy:" */
size_t ngx_patient_guard_call_size(ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup);
size_t ngx_patient_guard_call_sync_size(ngx_str_t *keys,
    ngx_patient_guard_parcel_t *parcel);

/* EVALSHA or, without a digest, EVAL with the whole script; returns its end */
u_char *ngx_patient_guard_call_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_caller_t *caller,
    const u_char *digest);
u_char *ngx_patient_guard_call_sync_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_caller_t *caller,
    const u_char *digest);

/* the key of an account, as an argument; returns its end */
u_char *ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p);


#endif /* _NGX_PATIENT_GUARD_CALL_H_INCLUDED_ */
