
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "ngx_patient_guard_token.h"


#define NGX_PATIENT_GUARD_TOKEN_VERSION  2
#define NGX_PATIENT_GUARD_TOKEN_IV       12
#define NGX_PATIENT_GUARD_TOKEN_TAG      16
#define NGX_PATIENT_GUARD_TOKEN_FIXED                                        \
    (2 * sizeof(uint64_t) + sizeof(ngx_patient_guard_account_t))

/* characters, with the longest path */
#define NGX_PATIENT_GUARD_TOKEN_MAX                                          \
    ngx_base64_encoded_length(1 + NGX_PATIENT_GUARD_TOKEN_IV                 \
                              + NGX_PATIENT_GUARD_TOKEN_FIXED                \
                              + NGX_PATIENT_GUARD_TOKEN_PATH                 \
                              + NGX_PATIENT_GUARD_TOKEN_TAG)


static ngx_uint_t ngx_patient_guard_token_loose(ngx_str_t *raw,
    ngx_str_t *token);
static ngx_int_t ngx_patient_guard_token_encrypt(const u_char key[32],
    ngx_str_t *policy, u_char *plain, size_t len, u_char *iv, u_char *out);
static ngx_int_t ngx_patient_guard_token_decrypt(const u_char key[32],
    ngx_str_t *policy, u_char *iv, u_char *sealed, size_t len, u_char *plain);


ngx_int_t
ngx_patient_guard_token_seal(const u_char key[32], ngx_str_t *policy,
    ngx_patient_guard_token_t *state, ngx_pool_t *pool, ngx_str_t *token)
{
    size_t     plain_len;
    u_char    *p, *plain;
    ngx_str_t  raw, path;

    path = state->path;

    if (path.len > NGX_PATIENT_GUARD_TOKEN_PATH) {
        ngx_str_set(&path, "/");
    }

    plain_len = NGX_PATIENT_GUARD_TOKEN_FIXED + path.len;

    raw.len = 1 + NGX_PATIENT_GUARD_TOKEN_IV + plain_len
              + NGX_PATIENT_GUARD_TOKEN_TAG;

    raw.data = ngx_pnalloc(pool, raw.len);
    plain = ngx_pnalloc(pool, plain_len);
    token->data = ngx_pnalloc(pool, ngx_base64_encoded_length(raw.len));

    if (raw.data == NULL || plain == NULL || token->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(plain, &state->expires, sizeof(uint64_t));
    p = ngx_cpymem(p, &state->account, sizeof(ngx_patient_guard_account_t));
    p = ngx_cpymem(p, &state->since, sizeof(uint64_t));
    ngx_memcpy(p, path.data, path.len);

    p = raw.data;
    *p++ = NGX_PATIENT_GUARD_TOKEN_VERSION;

    if (RAND_bytes(p, NGX_PATIENT_GUARD_TOKEN_IV) != 1) {
        return NGX_ERROR;
    }

    if (ngx_patient_guard_token_encrypt(key, policy, plain, plain_len, p,
                                        p + NGX_PATIENT_GUARD_TOKEN_IV)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_encode_base64url(token, &raw);

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_token_open(const u_char key[32], ngx_str_t *policy,
    ngx_str_t *token, ngx_pool_t *pool, ngx_patient_guard_token_t *state)
{
    size_t      len;
    u_char     *plain;
    ngx_int_t   rc;
    ngx_str_t   raw;

    if (token->len > NGX_PATIENT_GUARD_TOKEN_MAX) {
        return NGX_DECLINED;
    }

    raw.data = ngx_pnalloc(pool, ngx_base64_decoded_length(token->len));
    if (raw.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_decode_base64url(&raw, token) != NGX_OK
        || ngx_patient_guard_token_loose(&raw, token)
        || raw.len < 1 + NGX_PATIENT_GUARD_TOKEN_IV
                     + NGX_PATIENT_GUARD_TOKEN_FIXED
                     + NGX_PATIENT_GUARD_TOKEN_TAG
        || raw.data[0] != NGX_PATIENT_GUARD_TOKEN_VERSION)
    {
        return NGX_DECLINED;
    }

    len = raw.len - 1 - NGX_PATIENT_GUARD_TOKEN_IV
          - NGX_PATIENT_GUARD_TOKEN_TAG;

    plain = ngx_pnalloc(pool, len);
    if (plain == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_patient_guard_token_decrypt(key, policy, raw.data + 1,
                                 raw.data + 1 + NGX_PATIENT_GUARD_TOKEN_IV,
                                 len, plain);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memcpy(&state->expires, plain, sizeof(uint64_t));
    ngx_memcpy(&state->account, plain + sizeof(uint64_t),
               sizeof(ngx_patient_guard_account_t));
    ngx_memcpy(&state->since, plain + sizeof(uint64_t)
                              + sizeof(ngx_patient_guard_account_t),
               sizeof(uint64_t));

    state->path.data = plain + NGX_PATIENT_GUARD_TOKEN_FIXED;
    state->path.len = len - NGX_PATIENT_GUARD_TOKEN_FIXED;

    return NGX_OK;
}


ngx_uint_t
ngx_patient_guard_token_returns(ngx_str_t *path)
{
    size_t  i;

    if (path->len == 0 || path->data[0] != '/'
        || (path->len > 1 && path->data[1] == '/'))
    {
        return 0;
    }

    for (i = 0; i < path->len; i++) {
        if (path->data[i] <= ' ' || path->data[i] == 0x7f
            || path->data[i] == '\\')
        {
            return 0;
        }
    }

    return 1;
}


/*
 * The decoder lets bits that encode nothing pass, and whatever follows a "=":
 * a state shall have one spelling only.
 */

static ngx_uint_t
ngx_patient_guard_token_loose(ngx_str_t *raw, ngx_str_t *token)
{
    u_char     text[NGX_PATIENT_GUARD_TOKEN_MAX];
    ngx_str_t  again;

    again.data = text;
    ngx_encode_base64url(&again, raw);

    return again.len != token->len
           || ngx_memcmp(again.data, token->data, token->len) != 0;
}


/* the tag is written behind the sealed bytes */

static ngx_int_t
ngx_patient_guard_token_encrypt(const u_char key[32], ngx_str_t *policy,
    u_char *plain, size_t len, u_char *iv, u_char *out)
{
    int              n, ok;
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ok = EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) == 1
         && EVP_EncryptUpdate(ctx, NULL, &n, policy->data, policy->len) == 1
         && EVP_EncryptUpdate(ctx, out, &n, plain, len) == 1
         && EVP_EncryptFinal_ex(ctx, out + len, &n) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG,
                                NGX_PATIENT_GUARD_TOKEN_TAG, out + len) == 1;

    EVP_CIPHER_CTX_free(ctx);

    return ok ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_patient_guard_token_decrypt(const u_char key[32], ngx_str_t *policy,
    u_char *iv, u_char *sealed, size_t len, u_char *plain)
{
    int              n, ok;
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    /* the comparison of the tag takes constant time */

    ok = EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) == 1
         && EVP_DecryptUpdate(ctx, NULL, &n, policy->data, policy->len) == 1
         && EVP_DecryptUpdate(ctx, plain, &n, sealed, len) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG,
                                NGX_PATIENT_GUARD_TOKEN_TAG, sealed + len)
            == 1
         && EVP_DecryptFinal_ex(ctx, plain + len, &n) == 1;

    EVP_CIPHER_CTX_free(ctx);

    return ok ? NGX_OK : NGX_DECLINED;
}
