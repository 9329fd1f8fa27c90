
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_bytes.h"


#define ngx_patient_guard_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define ngx_patient_guard_sipround()                                         \
    do {                                                                     \
        v0 += v1;                                                            \
        v1 = ngx_patient_guard_rotl(v1, 13) ^ v0;                            \
        v0 = ngx_patient_guard_rotl(v0, 32);                                 \
        v2 += v3;                                                            \
        v3 = ngx_patient_guard_rotl(v3, 16) ^ v2;                            \
        v0 += v3;                                                            \
        v3 = ngx_patient_guard_rotl(v3, 21) ^ v0;                            \
        v2 += v1;                                                            \
        v1 = ngx_patient_guard_rotl(v1, 17) ^ v2;                            \
        v2 = ngx_patient_guard_rotl(v2, 32);                                 \
    } while (0)


static ngx_int_t ngx_patient_guard_derive(ngx_str_t *secret, const char *use,
    u_char out[32]);
static uint64_t ngx_patient_guard_alias64(const uint64_t key[2],
    ngx_str_t *value);
static void ngx_patient_guard_alias128(const uint64_t key[2],
    ngx_str_t *value, ngx_patient_guard_account_t *alias);
static u_char *ngx_patient_guard_hex64(u_char *p, uint64_t word);


uint64_t
ngx_patient_guard_siphash(const uint64_t key[2], const u_char *data,
    size_t len, uint64_t *out)
{
    size_t         i;
    uint64_t       v0, v1, v2, v3, m;
    const u_char  *last;

    v0 = key[0] ^ 0x736f6d6570736575ULL;
    v1 = key[1] ^ 0x646f72616e646f6dULL;
    v2 = key[0] ^ 0x6c7967656e657261ULL;
    v3 = key[1] ^ 0x7465646279746573ULL;

    if (out) {
        v1 ^= 0xee;
    }

    for (last = data + (len & ~(size_t) 7); data < last; data += 8) {
        m = ngx_patient_guard_word(data);
        v3 ^= m;
        ngx_patient_guard_sipround();
        ngx_patient_guard_sipround();
        v0 ^= m;
    }

    m = (uint64_t) (len & 0xff) << 56;

    for (i = 0; i < (len & 7); i++) {
        m |= (uint64_t) data[i] << (8 * i);
    }

    v3 ^= m;
    ngx_patient_guard_sipround();
    ngx_patient_guard_sipround();
    v0 ^= m;

    v2 ^= out ? 0xee : 0xff;

    for (i = 0; i < 4; i++) {
        ngx_patient_guard_sipround();
    }

    m = v0 ^ v1 ^ v2 ^ v3;

    if (out) {
        out[0] = m;

        v1 ^= 0xdd;

        for (i = 0; i < 4; i++) {
            ngx_patient_guard_sipround();
        }

        out[1] = v0 ^ v1 ^ v2 ^ v3;
    }

    return m;
}


ngx_int_t
ngx_patient_guard_keys_derive(ngx_patient_guard_keys_t *keys,
    ngx_str_t *secret)
{
    u_char       buf[32];
    uint64_t    *key;
    ngx_uint_t   i;

    static struct {
        const char  *use;
        size_t       offset;
    } uses[] = {
        { "patient_guard account", offsetof(ngx_patient_guard_keys_t,
                                            account) },
        { "patient_guard patient", offsetof(ngx_patient_guard_keys_t,
                                            patient) },
        { "patient_guard uri",     offsetof(ngx_patient_guard_keys_t, uri) },
        { "patient_guard other",   offsetof(ngx_patient_guard_keys_t, other) }
    };

    for (i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        if (ngx_patient_guard_derive(secret, uses[i].use, buf) != NGX_OK) {
            return NGX_ERROR;
        }

        key = (uint64_t *) ((u_char *) keys + uses[i].offset);

        key[0] = ngx_patient_guard_word(buf);
        key[1] = ngx_patient_guard_word(buf + 8);
    }

    ngx_explicit_memzero(buf, sizeof(buf));

    return ngx_patient_guard_derive(secret, "patient_guard token",
                                    keys->token);
}


static ngx_int_t
ngx_patient_guard_derive(ngx_str_t *secret, const char *use, u_char out[32])
{
    unsigned int  len;

    len = 32;

    if (HMAC(EVP_sha256(), secret->data, (int) secret->len,
             (const u_char *) use, ngx_strlen(use), out, &len)
        == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_patient_guard_account_alias(ngx_patient_guard_keys_t *keys,
    ngx_str_t *login, ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_alias128(keys->account, login, account);
}


ngx_patient_guard_patient_t
ngx_patient_guard_patient_alias(ngx_patient_guard_keys_t *keys,
    ngx_str_t *identifier)
{
    return ngx_patient_guard_alias64(keys->patient, identifier);
}


ngx_patient_guard_patient_t
ngx_patient_guard_address_alias(ngx_patient_guard_keys_t *keys,
    ngx_str_t *address)
{
    return ngx_patient_guard_alias64(keys->other, address);
}


/* the value under a key that is made of what "per" is */

void
ngx_patient_guard_other_alias(ngx_patient_guard_keys_t *keys, ngx_str_t *per,
    ngx_str_t *value, ngx_patient_guard_account_t *other)
{
    uint64_t  key[2];

    (void) ngx_patient_guard_siphash(keys->other, per->data, per->len, key);

    ngx_patient_guard_alias128(key, value, other);
}


ngx_patient_guard_patient_t
ngx_patient_guard_uri_alias(ngx_patient_guard_keys_t *keys, ngx_str_t *uri)
{
    return ngx_patient_guard_alias64(keys->uri, uri);
}


ngx_patient_guard_patient_t
ngx_patient_guard_record_alias(ngx_patient_guard_keys_t *keys,
    ngx_patient_guard_patient_t uri, uint64_t number)
{
    uint64_t   record[2];
    ngx_str_t  value;

    record[0] = uri;
    record[1] = number;

    value.data = (u_char *) record;
    value.len = sizeof(record);

    return ngx_patient_guard_alias64(keys->uri, &value);
}


/* never 0, which stands for none */

static uint64_t
ngx_patient_guard_alias64(const uint64_t key[2], ngx_str_t *value)
{
    uint64_t  alias;

    alias = ngx_patient_guard_siphash(key, value->data, value->len, NULL);

    return alias ? alias : 1;
}


static void
ngx_patient_guard_alias128(const uint64_t key[2], ngx_str_t *value,
    ngx_patient_guard_account_t *alias)
{
    (void) ngx_patient_guard_siphash(key, value->data, value->len,
                                     alias->word);

    if (alias->word[0] == 0 && alias->word[1] == 0) {
        alias->word[0] = 1;
    }
}


u_char *
ngx_patient_guard_account_hex(u_char *p, ngx_patient_guard_account_t *account)
{
    p = ngx_patient_guard_hex64(p, account->word[0]);

    return ngx_patient_guard_hex64(p, account->word[1]);
}


ngx_int_t
ngx_patient_guard_account_read(ngx_str_t *hex,
    ngx_patient_guard_account_t *account)
{
    u_char      bytes[sizeof(ngx_patient_guard_account_t)];
    ngx_int_t   byte;
    ngx_uint_t  i, word;

    if (hex->len != NGX_PATIENT_GUARD_ACCOUNT_HEX) {
        return NGX_DECLINED;
    }

    for (i = 0; i < sizeof(bytes); i++) {

        byte = ngx_hextoi(hex->data + 2 * i, 2);

        if (byte == NGX_ERROR) {
            return NGX_DECLINED;
        }

        bytes[i] = (u_char) byte;
    }

    for (word = 0; word < 2; word++) {

        account->word[word] = 0;

        for (i = 8; i; i--) {
            account->word[word] = account->word[word] << 8
                                  | bytes[8 * word + i - 1];
        }
    }

    return account->word[0] || account->word[1] ? NGX_OK : NGX_DECLINED;
}


u_char *
ngx_patient_guard_patient_hex(u_char *p, ngx_patient_guard_patient_t patient)
{
    return ngx_patient_guard_hex64(p, patient);
}


/*
 * The bytes in the order of the reference implementation: least first.  Four
 * of them at a time, each half a byte in a byte of its own; those above 9 get
 * the distance from ':' to 'a' as well.
 */

static u_char *
ngx_patient_guard_hex64(u_char *p, uint64_t word)
{
    uint64_t    x, letters;
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {

        x = word & 0xffffffff;
        word >>= 32;

        x = (x | x << 16) & 0x0000ffff0000ffffULL;
        x = (x | x << 8) & 0x00ff00ff00ff00ffULL;
        x = (x >> 4 & 0x000f000f000f000fULL)
            | (x << 8 & 0x0f000f000f000f00ULL);

        letters = (x + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL;
        x += 0x3030303030303030ULL + letters * ('a' - '0' - 10);

        p = ngx_patient_guard_put64(p, x);
    }

    return p;
}
