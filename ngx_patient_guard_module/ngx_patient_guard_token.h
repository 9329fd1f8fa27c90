
/*
 * The state of a challenge, on its way through the client and the portal's
 * single sign-on: who was challenged, since when, until when it may be
 * answered, and the path to return to.  AES-256-GCM (NIST SP 800-38D) under a
 * key derived from the secret: nobody can make one, alter one, or read the
 * path, which may name a patient.
 *
 *   base64url( version 1 | iv 12
 *              | sealed( expires 8 | account 16 | since 8 | path ) | tag 16 )
 *
 * The name of the policy is authenticated with it.
 */


#ifndef _NGX_PATIENT_GUARD_TOKEN_H_INCLUDED_
#define _NGX_PATIENT_GUARD_TOKEN_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_TOKEN_PATH   1024    /* bytes, longer is left out */
#define NGX_PATIENT_GUARD_TOKEN_TIME   900     /* seconds to answer it */


typedef struct {
    ngx_patient_guard_account_t  account;
    uint64_t                     expires;      /* seconds since the epoch */
    uint64_t                     since;        /* ms: which challenge it was */
    ngx_str_t                    path;
} ngx_patient_guard_token_t;


/*
 * token->data is allocated from the pool; NGX_ERROR if memory or random
 * bytes are short.
 */
ngx_int_t ngx_patient_guard_token_seal(const u_char key[32],
    ngx_str_t *policy, ngx_patient_guard_token_t *state, ngx_pool_t *pool,
    ngx_str_t *token);

/*
 * NGX_OK; NGX_DECLINED if it was not sealed under this key for this policy;
 * NGX_ERROR.  The caller checks account and expiry.
 */
ngx_int_t ngx_patient_guard_token_open(const u_char key[32],
    ngx_str_t *policy, ngx_str_t *token, ngx_pool_t *pool,
    ngx_patient_guard_token_t *state);

/*
 * Is it a path of this site, whatever a browser makes of it?  No "//host", no
 * backslash, which is as good as a slash, nor a control character or blank,
 * which browsers leave out.
 */
ngx_uint_t ngx_patient_guard_token_returns(ngx_str_t *path);


#endif /* _NGX_PATIENT_GUARD_TOKEN_H_INCLUDED_ */
