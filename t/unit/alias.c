
/* rooms: ngx_patient_guard_alias */


#include "ngx_patient_guard_alias.h"
#include "tap.h"
#include "vectors.h"


static ngx_patient_guard_keys_t
keys_of(const char *secret)
{
    ngx_str_t                 line = { strlen(secret), (u_char *) secret };
    ngx_patient_guard_keys_t  keys;

    memset(&keys, 0, sizeof(keys));

    if (ngx_patient_guard_keys_derive(&keys, &line) != NGX_OK) {
        abort();
    }

    return keys;
}


static void
the_authors_vectors(void)
{
    u_char                       message[64], key[16], hex[32];
    size_t                       len;
    uint64_t                     words[2];
    vectors_t                    v;
    ngx_uint_t                   i;
    ngx_patient_guard_account_t  account;

    for (i = 0; i < sizeof(message); i++) {
        message[i] = i;
    }

    for (i = 0; i < sizeof(key); i++) {
        key[i] = i;
    }

    memcpy(words, key, sizeof(words));

    vectors_open(&v, "t/unit/siphash.vectors");

    for (len = 0; vectors_next(&v); len++) {
        ngx_patient_guard_patient_hex(hex,
                  ngx_patient_guard_siphash(words, message, len, NULL));
        ok(memcmp(hex, v.words[0], 16) == 0, "64 bits of %zu bytes", len);

        (void) ngx_patient_guard_siphash(words, message, len, account.word);
        ngx_patient_guard_account_hex(hex, &account);
        ok(memcmp(hex, v.words[1], 32) == 0, "128 bits of %zu bytes", len);
    }

    is(len, 64, "all the vectors");
}


static void
each_use_has_a_key_of_its_own(void)
{
    u_char                    *bytes[4];
    size_t                     i, j;
    ngx_patient_guard_keys_t   keys;

    keys = keys_of("a secret of thirty-two characters");

    bytes[0] = (u_char *) keys.account;
    bytes[1] = (u_char *) keys.patient;
    bytes[2] = (u_char *) keys.uri;
    bytes[3] = keys.token;

    for (i = 0; i < 4; i++) {
        for (j = i + 1; j < 4; j++) {
            ok(memcmp(bytes[i], bytes[j], 16) != 0, "keys %zu and %zu differ",
               i, j);
        }
    }

    ok(memcmp(keys.token, keys.token + 16, 16) != 0,
       "the token's key is 256 bits");
}


/* HMAC-SHA-256, by openssl dgst -sha256 -hmac: stored aliases depend on it */

static void
derivation_is_for_ever(void)
{
    u_char                       hex[32];
    ngx_str_t                    login = ngx_string("dupont");
    ngx_patient_guard_keys_t     keys;
    ngx_patient_guard_account_t  account;

    static u_char  derived[] = {
        0x4b, 0x11, 0x1d, 0x76, 0x9b, 0x12, 0x22, 0x90,
        0xaa, 0x2b, 0x61, 0x54, 0xeb, 0x80, 0x7f, 0x4e
    };

    keys = keys_of("0123456789abcdef");

    ok(memcmp(keys.account, derived, 16) == 0, "a key is HMAC-SHA-256");

    ngx_patient_guard_account_alias(&keys, &login, &account);
    ngx_patient_guard_account_hex(hex, &account);

    ok(memcmp(hex, "e68198414c439882716c7b6f18395c28", 32) == 0,
       "an alias stays what it is");
}


static void
aliases_tell_what_differs(void)
{
    ngx_str_t                    a = ngx_string("1"), b = ngx_string("2");
    ngx_str_t                    none = ngx_null_string;
    ngx_patient_guard_keys_t     keys, other;
    ngx_patient_guard_account_t  one, two;

    keys = keys_of("0123456789abcdef");
    other = keys_of("0123456789abcdeg");

    ok(ngx_patient_guard_patient_alias(&keys, &a)
       == ngx_patient_guard_patient_alias(&keys, &a), "the same patient");
    ok(ngx_patient_guard_patient_alias(&keys, &a)
       != ngx_patient_guard_patient_alias(&keys, &b), "another patient");
    ok(ngx_patient_guard_patient_alias(&keys, &a)
       != ngx_patient_guard_patient_alias(&other, &a), "another secret");
    ok(ngx_patient_guard_patient_alias(&keys, &a)
       != ngx_patient_guard_uri_alias(&keys, &a),
       "a URI is no patient, though it is spelled like one");
    ok(ngx_patient_guard_patient_alias(&keys, &none) != 0,
       "an alias is never 0");

    ngx_patient_guard_account_alias(&keys, &a, &one);
    ngx_patient_guard_account_alias(&other, &a, &two);
    ok(memcmp(&one, &two, sizeof(one)) != 0, "another secret, the login");

    ngx_patient_guard_account_alias(&keys, &b, &two);
    ok(memcmp(&one, &two, sizeof(one)) != 0, "another login");
}


int
main(void)
{
    the_authors_vectors();
    each_use_has_a_key_of_its_own();
    derivation_is_for_ever();
    aliases_tell_what_differs();

    return done();
}
