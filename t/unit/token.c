
/* rooms: ngx_patient_guard_token */


#include "ngx_patient_guard_token.h"
#include "tap.h"


#define FORGED  1000000


void ngx_stub_free(void);


static u_char     key[] = "0123456789abcdef0123456789abcdef";
static ngx_str_t  policy = ngx_string("practitioners");


static ngx_str_t
seal(const char *path, size_t len)
{
    ngx_str_t                  token;
    ngx_patient_guard_token_t  state;

    state.account.word[0] = 0x0123456789abcdefULL;
    state.account.word[1] = 0xfedcba9876543210ULL;
    state.expires = 1647000900;
    state.since = 1647000000123;
    state.path.data = (u_char *) path;
    state.path.len = len;

    if (ngx_patient_guard_token_seal(key, &policy, &state, NULL, &token)
        != NGX_OK)
    {
        abort();
    }

    return token;
}


static ngx_int_t
open_token(ngx_str_t token, ngx_patient_guard_token_t *state)
{
    return ngx_patient_guard_token_open(key, &policy, &token, NULL, state);
}


/* bounded by its own memory, so that nobody reads beyond */

static ngx_int_t
open_bytes(const u_char *data, size_t len)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ngx_str_t                   token;
    ngx_patient_guard_token_t   state;

    p = malloc(len ? len : 1);
    memcpy(p, data, len);

    token.data = p;
    token.len = len;
    rc = open_token(token, &state);

    free(p);

    return rc;
}


static void
what_is_sealed_is_opened(void)
{
    char                       path[NGX_PATIENT_GUARD_TOKEN_PATH];
    size_t                     len, wrong;
    ngx_str_t                  token;
    ngx_patient_guard_token_t  state;

    for (len = 0; len < sizeof(path); len++) {
        path[len] = "/fhir?a=%\xc3\xa9"[len % 11];
    }

    for (len = wrong = 0; len <= sizeof(path); len++) {
        token = seal(path, len);

        wrong += open_token(token, &state) != NGX_OK
                 || state.expires != 1647000900
                 || state.since != 1647000000123
                 || state.account.word[0] != 0x0123456789abcdefULL
                 || state.account.word[1] != 0xfedcba9876543210ULL
                 || state.path.len != len
                 || memcmp(state.path.data, path, len) != 0;
    }

    is(wrong, 0, "a path of any length up to 1024 comes back");
    ngx_stub_free();
}


static void
a_longer_path_is_left_out(void)
{
    char                       path[NGX_PATIENT_GUARD_TOKEN_PATH + 1];
    ngx_patient_guard_token_t  state;

    memset(path, 'p', sizeof(path));

    is(open_token(seal(path, sizeof(path)), &state), NGX_OK,
       "a path of 1025 bytes is sealed");
    ok(state.path.len == 1 && state.path.data[0] == '/', "as /");
}


static void
no_token_is_sealed_twice(void)
{
    ngx_str_t  one, two;

    one = seal("/", 1);
    two = seal("/", 1);

    ok(one.len == two.len && memcmp(one.data, two.data, one.len) != 0,
       "the same state is sealed otherwise the second time");
    ok(memchr(one.data, '+', one.len) == NULL
       && memchr(one.data, '/', one.len) == NULL
       && memchr(one.data, '=', one.len) == NULL, "and fit for a URL");
}


static void
another_key_or_policy_opens_nothing(void)
{
    u_char                     other[32];
    ngx_str_t                  token, prescribers = ngx_string("practitioner");
    ngx_patient_guard_token_t  state;

    token = seal("/patient/1", 10);
    memcpy(other, key, 32);
    other[31] ^= 1;

    is(ngx_patient_guard_token_open(other, &policy, &token, NULL, &state),
       NGX_DECLINED, "another key");
    is(ngx_patient_guard_token_open(key, &prescribers, &token, NULL, &state),
       NGX_DECLINED, "another policy");
}


static void
what_was_never_sealed_is_declined(void)
{
    u_char     text[2048];
    size_t     len, accepted;
    ngx_str_t  token;

    token = seal("/patient/1", 10);

    for (len = accepted = 0; len < token.len; len++) {
        accepted += open_bytes(token.data, len) != NGX_DECLINED;
    }

    is(accepted, 0, "any part of a token");

    memset(text, 'A', sizeof(text));

    for (len = accepted = 0; len <= sizeof(text); len++) {
        accepted += open_bytes(text, len) != NGX_DECLINED;
    }

    is(accepted, 0, "zeros of any length");
}


/* the decoder of base64 is lenient, the token shall not be */

static void
a_token_has_one_spelling(void)
{
    u_char     text[256];
    size_t     n, bit, accepted;
    ngx_str_t  token;

    accepted = 0;

    for (n = 1; n <= 3; n++) {
        token = seal("/abc", n);
        memcpy(text, token.data, token.len);
        memcpy(text + token.len, "=A%?", 4);

        for (bit = 1; bit <= 4; bit++) {
            accepted += open_bytes(text, token.len + bit) != NGX_DECLINED;
        }

        for (bit = 0; bit < 256; bit++) {
            text[token.len - 1] = bit;
            accepted += bit != token.data[token.len - 1]
                        && open_bytes(text, token.len) != NGX_DECLINED;
        }
    }

    is(accepted, 0, "no other last character, nothing behind it");
}


static void
forge(u_char *text, size_t *len, ngx_str_t *token)
{
    size_t  i, at;

    memcpy(text, token->data, token->len);
    *len = token->len;
    at = random() % *len;

    switch (random() % 6) {

    case 0:                                    /* a bit */
        text[at] ^= 1 << random() % 8;
        break;

    case 1:                                    /* another digit */
        text[at] = "ABCabc019-_"[random() % 11];
        break;

    case 2:                                    /* a part */
        *len = at;
        break;

    case 3:                                    /* one byte is missing */
        memmove(text + at, text + at + 1, *len - at - 1);
        *len -= 1;
        break;

    case 4:                                    /* the end of another one */
        *token = seal("/patient/2", 10);
        memcpy(text + at, token->data + at, token->len - at);
        break;

    default:                                   /* all of it but the version */
        for (i = 2; i < *len; i++) {
            text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                      "0123456789-_"[random() % 64];
        }
    }
}


static void
a_forged_token_is_declined(void)
{
    int        i, accepted;
    u_char     text[256];
    size_t     len;
    ngx_str_t  token, last;

    for (i = accepted = 0; i < FORGED; /* void */ ) {

        if (i % 100 == 0) {
            ngx_stub_free();
            token = seal("/patient/1", 10);
        }

        last = token;
        forge(text, &len, &last);

        /* what came out as it was is no forgery: nor is all of another */

        if (len == token.len
            && (memcmp(text, token.data, len) == 0
                || memcmp(text, last.data, len) == 0))
        {
            continue;
        }

        accepted += open_bytes(text, len) != NGX_DECLINED;
        i++;
    }

    is(accepted, 0, "of %d forged tokens", FORGED);
}


/* what browsers make of an odd spelling of "//", and what hides it */

static void
no_other_site_is_returned_to(void)
{
    size_t      h, s, t;
    ngx_int_t   n, accepted;
    ngx_str_t   path;
    char        text[128];

    static const char  *heads[] = {
        "", "/", "\\", "//", "/\\", "\\/", "\\\\", "///",
        "/\t/", "/\n/", "/\r/",
        "/ /", " //", "\t//", "/\x0b/", "\x01//", "/\x7f/", "/a\\", "http:",
        "https:", "http:/", "http://", "https://", "https:/\\", "javascript:",
        "data:", "vbscript:", "JavaScript:", "file:///", "ftp://", "?", "#",
        "a:", ".", "..", ";//", "@", "x/"
    };
    static const char  *sites[] = {
        "evil.example", "evil.example/", "www.evil.example\\@portal",
        "portal@evil.example", "evil.example:80/%2f..", "[::1]/"
    };

    n = accepted = 0;

    for (h = 0; h < sizeof(heads) / sizeof(heads[0]); h++) {
        for (s = 0; s < sizeof(sites) / sizeof(sites[0]); s++) {

            if (strcmp(heads[h], "/") == 0) {
                continue;
            }

            path.data = (u_char *) text;
            path.len = snprintf(text, sizeof(text), "%s%s", heads[h],
                                sites[s]);
            n++;
            accepted += ngx_patient_guard_token_returns(&path) != 0;
        }
    }

    ok(n >= 200, "%d spellings of another site", (int) n);
    is(accepted, 0, "none is returned to");

    static const char  *own[] = {
        "/", "/a", "/fhir/Patient/1?_format=json&x=//evil.example", "/%5c/x",
        "/%2f%2fevil.example", "/a//b", "/a/../b", "/@evil.example",
        "/evil.example", "/\xc3\xa9"
    };

    for (t = accepted = 0; t < sizeof(own) / sizeof(own[0]); t++) {
        path.data = (u_char *) own[t];
        path.len = strlen(own[t]);
        accepted += ngx_patient_guard_token_returns(&path) != 0;
    }

    is(accepted, sizeof(own) / sizeof(own[0]), "a path of this one is");
}


int
main(void)
{
    unsigned int  seed;

    seed = (unsigned int) time(NULL);
    srandom(seed);
    printf("# seed %u\n", seed);

    what_is_sealed_is_opened();
    a_longer_path_is_left_out();
    no_token_is_sealed_twice();
    another_key_or_policy_opens_nothing();
    what_was_never_sealed_is_declined();
    a_token_has_one_spelling();
    a_forged_token_is_declined();
    no_other_site_is_returned_to();

    return done();
}
