
/* wraps: RAND_bytes */


/*
 * The sealed state of a challenge.  An input is what is sealed, and how the
 * token is forged:
 *
 *     expires 8 | account 16 | length of the path 2 | path
 *     | ( kind 1 | place 2 | byte 1 ) ...
 *
 * What opens is what was sealed; what is forged never opens, nor do the
 * bytes of the input itself.
 */


#include "fuzz.h"
#include "ngx_patient_guard_token.h"

#include <openssl/rand.h>


#define EDITS  32


int __wrap_RAND_bytes(unsigned char *buf, int num);


static u_char       key[] = "0123456789abcdef0123456789abcdef";
static u_char       other_key[] = "0123456789abcdef0123456789abcdee";
static ngx_str_t    policy = ngx_string("practitioners");
static ngx_str_t    other_policy = ngx_string("practitioner");
static unsigned int drawn;


/* the same for the same input, and never twice in one */

int
__wrap_RAND_bytes(unsigned char *buf, int num)
{
    memset(buf, 0x5a, num);
    memcpy(buf, &drawn, sizeof(drawn));
    drawn++;

    return 1;
}


static void
opens(ngx_str_t *token, ngx_patient_guard_token_t *sealed, ngx_pool_t *pool)
{
    ngx_str_t                  path;
    ngx_patient_guard_token_t  state;

    path = sealed->path;

    if (path.len > NGX_PATIENT_GUARD_TOKEN_PATH) {
        ngx_str_set(&path, "/");
    }

    must(ngx_patient_guard_token_open(key, &policy, token, pool, &state)
         == NGX_OK);
    must(state.expires == sealed->expires);
    must(state.since == sealed->since);
    must(memcmp(&state.account, &sealed->account, sizeof(state.account))
         == 0);
    must(state.path.len == path.len);
    must(memcmp(state.path.data, path.data, path.len) == 0);

    must(ngx_patient_guard_token_open(other_key, &policy, token, pool, &state)
         == NGX_DECLINED);
    must(ngx_patient_guard_token_open(key, &other_policy, token, pool, &state)
         == NGX_DECLINED);
}


static void
declines(ngx_str_t *token, ngx_pool_t *pool)
{
    ngx_patient_guard_token_t  state;

    must(ngx_patient_guard_token_open(key, &policy, token, pool, &state)
         == NGX_DECLINED);
}


static ngx_str_t
seal(ngx_patient_guard_token_t *state, ngx_pool_t *pool)
{
    ngx_str_t  token;

    must(ngx_patient_guard_token_seal(key, &policy, state, pool, &token)
         == NGX_OK);

    return token;
}


/* one change of a text that has room for one byte more */

static void
edit(ngx_str_t *text, ngx_str_t *second, input_t *in)
{
    u_char   kind, byte;
    size_t   place;
    u_char  *p;

    kind = input_byte(in);
    place = input_short(in) % (text->len + 1);
    byte = input_byte(in);

    p = text->data + place;

    switch (kind % 7) {

    case 0:                                    /* another byte */
        if (place < text->len) {
            *p = byte;
        }
        break;

    case 1:                                    /* other bits */
        if (place < text->len) {
            *p ^= byte;
        }
        break;

    case 2:                                    /* one is missing */
        if (place < text->len) {
            text->len--;
            memmove(p, p + 1, text->len - place);
        }
        break;

    case 3:                                    /* one more */
        memmove(p + 1, p, text->len - place);
        *p = byte;
        text->len++;
        break;

    case 4:                                    /* a part */
        text->len = place;
        break;

    case 5:                                    /* the end of another one */
        if (second->len > place) {
            memcpy(p, second->data + place, ngx_min(text->len, second->len)
                                            - place);
        }
        break;

    default:                                   /* two change places */
        if (place + 1 < text->len) {
            byte = p[0];
            p[0] = p[1];
            p[1] = byte;
        }
    }
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init();

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t                     in;
    ngx_str_t                   raw, text, token, second;
    ngx_uint_t                  i;
    ngx_pool_t                 *pool;
    ngx_patient_guard_token_t   state;

    in.p = data;
    in.last = data + size;
    drawn = 0;

    pool = fuzz_pool();

    raw = input_copy(&in, size);
    declines(&raw, pool);

    in.p = data;
    memset(&state, 0, sizeof(state));

    for (i = 0; i < sizeof(state.expires); i++) {
        state.expires = state.expires << 8 | input_byte(&in);
    }

    for (i = 0; i < sizeof(state.account); i++) {
        ((u_char *) &state.account)[i] = input_byte(&in);
    }

    state.since = state.expires ^ state.account.word[0];
    state.path = input_copy(&in, input_short(&in)
                                 % (NGX_PATIENT_GUARD_TOKEN_PATH + 64));

    token = seal(&state, pool);
    second = seal(&state, pool);

    opens(&token, &state, pool);
    opens(&second, &state, pool);

    /* forged, and in memory of just its size */

    text.data = malloc(token.len + EDITS);
    must(text.data != NULL);
    memcpy(text.data, token.data, token.len);
    text.len = token.len;

    for (i = 0; i < EDITS && in.p < in.last; i++) {
        edit(&text, &second, &in);
    }

    text.data = realloc(text.data, text.len ? text.len : 1);
    must(text.data != NULL);

    if ((text.len == token.len
         && memcmp(text.data, token.data, text.len) == 0)
        || (text.len == second.len
            && memcmp(text.data, second.data, text.len) == 0))
    {
        opens(&text, &state, pool);

    } else {
        declines(&text, pool);
    }

    free(text.data);
    free(state.path.data);
    free(raw.data);
    ngx_destroy_pool(pool);

    return 0;
}
