
/*
 * Keyed one-way aliases of accounts and patients.
 *
 * SipHash-2-4 (Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012):
 * a pseudo-random function under a 128-bit key that costs some 150
 * instructions for an identifier where HMAC-SHA-256 costs thousands.  128
 * bits of output for an account, 64 for a patient, each under a key of its
 * own.  The keys are derived from a line of the secret file by HMAC-SHA-256,
 * with their use as the message.  Checked against the authors' vectors in
 * t/unit/alias.c.
 */


#ifndef _NGX_PATIENT_GUARD_ALIAS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_ALIAS_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_SECRET_MIN   16      /* bytes of a line */
#define NGX_PATIENT_GUARD_ACCOUNT_HEX  32
#define NGX_PATIENT_GUARD_PATIENT_HEX  16


typedef struct {
    uint64_t  account[2];                      /* SipHash keys */
    uint64_t  patient[2];
    uint64_t  uri[2];
    uint64_t  other[2];
    u_char    token[32];                       /* AES-256 key */
} ngx_patient_guard_keys_t;


/* 64 bits of SipHash-2-4, or 128 in out[0..1] where out is not NULL */
uint64_t ngx_patient_guard_siphash(const uint64_t key[2], const u_char *data,
    size_t len, uint64_t *out);

/* NGX_OK, or NGX_ERROR if libcrypto has no HMAC-SHA-256 for us */
ngx_int_t ngx_patient_guard_keys_derive(ngx_patient_guard_keys_t *keys,
    ngx_str_t *secret);

void ngx_patient_guard_account_alias(ngx_patient_guard_keys_t *keys,
    ngx_str_t *login, ngx_patient_guard_account_t *account);

ngx_patient_guard_patient_t ngx_patient_guard_patient_alias(
    ngx_patient_guard_keys_t *keys, ngx_str_t *identifier);

/* of a client's address, for those that an account comes from */
ngx_patient_guard_patient_t ngx_patient_guard_address_alias(
    ngx_patient_guard_keys_t *keys, ngx_str_t *address);

/* of what else limits count by: "per" tells what kind of value it is */
void ngx_patient_guard_other_alias(ngx_patient_guard_keys_t *keys,
    ngx_str_t *per, ngx_str_t *value, ngx_patient_guard_account_t *other);

/* of a request that names no patient: the URI as sent stands for one */
ngx_patient_guard_patient_t ngx_patient_guard_uri_alias(
    ngx_patient_guard_keys_t *keys, ngx_str_t *uri);

/* of a record of whom nothing is known but that URI, and its number there */
ngx_patient_guard_patient_t ngx_patient_guard_record_alias(
    ngx_patient_guard_keys_t *keys, ngx_patient_guard_patient_t uri,
    uint64_t number);

/* 32 lower-case hexadecimal digits, no terminator; returns their end */
u_char *ngx_patient_guard_account_hex(u_char *p,
    ngx_patient_guard_account_t *account);

/* what those digits say; NGX_DECLINED if they are none */
ngx_int_t ngx_patient_guard_account_read(ngx_str_t *hex,
    ngx_patient_guard_account_t *account);

/* 16 digits */
u_char *ngx_patient_guard_patient_hex(u_char *p,
    ngx_patient_guard_patient_t patient);


#endif /* _NGX_PATIENT_GUARD_ALIAS_H_INCLUDED_ */
