
/*
 * One call of ngx_patient_guard_count.lua: a lookup to a command, the reply
 * to a tally.  Its arguments and its reply are told in the script.  No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_CALL_H_INCLUDED_
#define _NGX_PATIENT_GUARD_CALL_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_CALL_DIGEST  40      /* hexadecimal digits */


/* the SHA-1 by which Redis knows the script */
void ngx_patient_guard_call_digest(
    u_char digest[NGX_PATIENT_GUARD_CALL_DIGEST]);

/* bytes that the command takes at the most; keys is "prefix:policy:" */
size_t ngx_patient_guard_call_size(ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup);

/* EVALSHA or, without a digest, EVAL with the whole script; returns its end */
u_char *ngx_patient_guard_call_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup, uint64_t nonce, const u_char *digest);

/*
 * NGX_ERROR if the reply is not that to this call: decimal numbers between
 * single blanks, just as many as were asked for, and such as go together.
 */
ngx_int_t ngx_patient_guard_call_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);


#endif /* _NGX_PATIENT_GUARD_CALL_H_INCLUDED_ */
