
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>

#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_bytes.h"
#include "ngx_patient_guard_resp.h"


#include "ngx_patient_guard_count_lua.h"


/* arguments of EVALSHA beside the keys and the windows of SYNC */
#define NGX_PATIENT_GUARD_ARGS_COUNT   (3 + 6)
#define NGX_PATIENT_GUARD_ARGS_SYNC    (3 + 8)

/* bytes of the first one, and of a limit in the second without its state */
#define NGX_PATIENT_GUARD_CALL_HEAD    (6 * 8 + 5 * 4 + 8 + 4 * 8)
#define NGX_PATIENT_GUARD_CALL_LIMIT   (3 + 8 + 3 * 4 + 2)

/* flags: see the script */
#define NGX_PATIENT_GUARD_CALL_EXEMPT  2
#define NGX_PATIENT_GUARD_CALL_UNNAMED 4
#define NGX_PATIENT_GUARD_CALL_PROBE   8
#define NGX_PATIENT_GUARD_CALL_SYNC    16
#define NGX_PATIENT_GUARD_CALL_SETS    32
#define NGX_PATIENT_GUARD_CALL_OTHER   64
#define NGX_PATIENT_GUARD_CALL_SESSION 128
#define NGX_PATIENT_GUARD_CALL_DUE     256


/* what both kinds of call say first */

typedef struct {
    ngx_patient_guard_key_t       keys[NGX_PATIENT_GUARD_KEYS];
    ngx_uint_t                    nkeys;
    ngx_uint_t                    places[NGX_PATIENT_GUARD_KEYS];
                                              /* of a limit's key among */
                                              /*   them, from 1; 0: no  */
    ngx_patient_guard_grants_t   *grants;
    uint64_t                      memory;
    ngx_patient_guard_named_t     subjects[2];
    ngx_patient_guard_limit_t    *limits;
    ngx_uint_t                    nlimits;
    ngx_patient_guard_named_t    *patients;
    ngx_uint_t                    npatients;
    uint64_t                      now;
    uint64_t                      proof;
    uint64_t                      since;
    ngx_uint_t                    challenger;
    ngx_uint_t                    flags;
    uint32_t                      records;
} ngx_patient_guard_call_t;


static size_t ngx_patient_guard_call_most(ngx_str_t *keys,
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits,
    ngx_uint_t npatients);
static u_char *ngx_patient_guard_call_begin(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_call_t *call, ngx_patient_guard_caller_t *caller,
    const u_char *digest);
static void ngx_patient_guard_call_add_key(ngx_patient_guard_call_t *call,
    ngx_patient_guard_account_t *current,
    ngx_patient_guard_account_t *previous, ngx_uint_t key);
static u_char *ngx_patient_guard_call_head(u_char *p,
    ngx_patient_guard_call_t *call, ngx_patient_guard_caller_t *caller);
static u_char *ngx_patient_guard_call_limits(u_char *p,
    ngx_patient_guard_call_t *call);
static u_char *ngx_patient_guard_call_aliases(
    ngx_patient_guard_named_t *named, ngx_uint_t n, size_t alias, u_char *p);


void
ngx_patient_guard_call_digest(u_char digest[NGX_PATIENT_GUARD_CALL_DIGEST])
{
    u_char      sha1[20];
    ngx_sha1_t  ctx;

    ngx_sha1_init(&ctx);
    ngx_sha1_update(&ctx, ngx_patient_guard_count_script,
                    NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN);
    ngx_sha1_final(sha1, &ctx);

    ngx_hex_dump(digest, sha1, sizeof(sha1));
}


size_t
ngx_patient_guard_call_size(ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup)
{
    return ngx_patient_guard_call_most(keys, lookup->limits, lookup->nlimits,
                                       lookup->npatients);
}


size_t
ngx_patient_guard_call_sync_size(ngx_str_t *keys,
    ngx_patient_guard_parcel_t *parcel)
{
    size_t      size;
    ngx_uint_t  i;

    size = ngx_patient_guard_call_most(keys, parcel->limits, parcel->nlimits,
                                       0)
           + ngx_patient_guard_resp_size(2 * 8)
           + ngx_patient_guard_resp_size(parcel->ndoubts
                                         * NGX_PATIENT_GUARD_DOUBT_SIZE)
           + ngx_patient_guard_resp_size(parcel->nseen
                                         * NGX_PATIENT_GUARD_SEEN_SIZE);

    for (i = 0; i < parcel->nlimits; i++) {
        size += ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_IMAGE_SIZE
                                      + (size_t) parcel->images[i].nset
                                      * sizeof(ngx_patient_guard_patient_t));
    }

    return size;
}


static size_t
ngx_patient_guard_call_most(ngx_str_t *keys,
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits,
    ngx_uint_t npatients)
{
    size_t      size, longest;
    ngx_uint_t  i;

    size = NGX_PATIENT_GUARD_RESP_HEAD
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_CALL_DIGEST)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN)
           + ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + 2 * NGX_PATIENT_GUARD_KEYS
             * ngx_patient_guard_resp_size(keys->len + 2
                                           + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_CALL_HEAD)
           + 2 * ngx_patient_guard_resp_size(npatients
                                       * sizeof(ngx_patient_guard_patient_t))
           + ngx_patient_guard_resp_size(npatients);

    longest = 0;

    for (i = 0; i < nlimits; i++) {
        longest = ngx_max(longest, limits[i].state.len);

        size += NGX_PATIENT_GUARD_CALL_LIMIT + limits[i].state.len;
    }

    /* they are one argument; and one of the states, once more */

    return size + ngx_patient_guard_resp_size(longest)
           + ngx_patient_guard_resp_size(0);
}


u_char *
ngx_patient_guard_call_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_caller_t *caller,
    const u_char *digest)
{
    ngx_uint_t                i;
    ngx_patient_guard_key_t  *key;
    ngx_patient_guard_call_t  call;

    ngx_memzero(&call, sizeof(ngx_patient_guard_call_t));

    ngx_patient_guard_call_add_key(&call, &lookup->account, &lookup->previous,
                                   0);

    for (i = 1; i < NGX_PATIENT_GUARD_KEYS; i++) {
        key = &lookup->others[i - 1];

        if (!ngx_patient_guard_apart(lookup, i)) {
            ngx_patient_guard_call_add_key(&call, &key->current,
                                           &key->previous, i);
        }
    }

    call.grants = lookup->grants;
    call.memory = lookup->memory;
    call.subjects[0] = lookup->address;
    call.subjects[1] = lookup->who;
    call.limits = lookup->limits;
    call.nlimits = lookup->nlimits;
    call.patients = lookup->patients;
    call.npatients = lookup->npatients;
    call.now = lookup->now;
    call.proof = lookup->proof;
    call.records = lookup->records;
    call.since = lookup->since;
    call.challenger = lookup->challenger;
    call.flags = lookup->dry_run
                 + (lookup->exempt ? NGX_PATIENT_GUARD_CALL_EXEMPT : 0)
                 + (lookup->unnamed ? NGX_PATIENT_GUARD_CALL_UNNAMED : 0)
                 + (lookup->probe ? NGX_PATIENT_GUARD_CALL_PROBE : 0)
                 + (lookup->session ? NGX_PATIENT_GUARD_CALL_SESSION : 0)
                 + (lookup->due ? NGX_PATIENT_GUARD_CALL_DUE : 0);

    p = ngx_patient_guard_call_begin(p, keys, &call, caller, digest);

    /* Redis may have lost who is known: this node may not */

    p = ngx_patient_guard_resp_begin(p, lookup->memory ? call.npatients : 0);

    for (i = 0; i < call.npatients && lookup->memory; i++) {
        *p++ = call.patients[i].known ? '1' : '0';
    }

    return ngx_patient_guard_resp_end(p);
}


/* none, if it is zero */

static void
ngx_patient_guard_call_add_key(ngx_patient_guard_call_t *call,
    ngx_patient_guard_account_t *current,
    ngx_patient_guard_account_t *previous, ngx_uint_t key)
{
    if (current->word[0] == 0 && current->word[1] == 0) {
        return;
    }

    call->keys[call->nkeys].current = *current;
    call->keys[call->nkeys].previous = *previous;
    call->places[key] = ++call->nkeys;
}


u_char *
ngx_patient_guard_call_sync_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_caller_t *caller,
    const u_char *digest)
{
    size_t                      size;
    ngx_uint_t                  i;
    ngx_patient_guard_call_t    call;
    ngx_patient_guard_image_t  *image;

    ngx_memzero(&call, sizeof(ngx_patient_guard_call_t));

    ngx_patient_guard_call_add_key(&call, &parcel->account, &parcel->previous,
                                   parcel->key);

    call.grants = parcel->grants;
    call.memory = parcel->key ? 0 : parcel->memory;
    call.limits = parcel->limits;
    call.nlimits = parcel->nlimits;
    call.now = parcel->now;
    call.since = parcel->since;
    call.challenger = parcel->challenger;
    call.flags = NGX_PATIENT_GUARD_CALL_SYNC
                 + (parcel->sets ? NGX_PATIENT_GUARD_CALL_SETS : 0)
                 + (parcel->key ? NGX_PATIENT_GUARD_CALL_OTHER : 0)
                 + (parcel->session && parcel->key == 0
                        ? NGX_PATIENT_GUARD_CALL_SESSION : 0)
                 + (parcel->due ? NGX_PATIENT_GUARD_CALL_DUE : 0);

    p = ngx_patient_guard_call_begin(p, keys, &call, caller, digest);

    p = ngx_patient_guard_resp_begin(p, 2 * 8);
    p = ngx_patient_guard_put64(p, parcel->cleared);
    p = ngx_patient_guard_put64(p, parcel->number);
    p = ngx_patient_guard_resp_end(p);

    p = ngx_patient_guard_resp_begin(p, parcel->ndoubts
                                        * NGX_PATIENT_GUARD_DOUBT_SIZE);

    for (i = 0; i < parcel->ndoubts; i++) {
        p = ngx_patient_guard_doubt_write(p, &parcel->doubts[i]);
    }

    p = ngx_patient_guard_resp_end(p);

    p = ngx_patient_guard_resp_arg(p, parcel->seen,
                                   parcel->nseen
                                   * NGX_PATIENT_GUARD_SEEN_SIZE);

    for (i = 0; i < parcel->nlimits; i++) {
        image = &parcel->images[i];

        if (image->newest == 0) {
            p = ngx_patient_guard_resp_arg(p, "", 0);
            continue;
        }

        size = image->nset * sizeof(ngx_patient_guard_patient_t);

        p = ngx_patient_guard_resp_begin(p, NGX_PATIENT_GUARD_IMAGE_SIZE
                                            + size);
        p = ngx_patient_guard_image_write(p, image);
        p = ngx_cpymem(p, image->set, size);
        p = ngx_patient_guard_resp_end(p);
    }

    return p;
}


static u_char *
ngx_patient_guard_call_begin(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_call_t *call, ngx_patient_guard_caller_t *caller,
    const u_char *digest)
{
    ngx_str_t   challenger;
    ngx_uint_t  i, nkeys, nargs, rotated;

    rotated = call->keys[0].previous.word[0]
              || call->keys[0].previous.word[1];

    nkeys = rotated ? 2 * call->nkeys : call->nkeys;
    nargs = nkeys + ((call->flags & NGX_PATIENT_GUARD_CALL_SYNC)
                     ? NGX_PATIENT_GUARD_ARGS_SYNC + call->nlimits
                     : NGX_PATIENT_GUARD_ARGS_COUNT);

    p = ngx_patient_guard_resp_command(p, nargs);

    if (digest) {
        p = ngx_patient_guard_resp_arg(p, "EVALSHA", 7);
        p = ngx_patient_guard_resp_arg(p, digest,
                                       NGX_PATIENT_GUARD_CALL_DIGEST);

    } else {
        p = ngx_patient_guard_resp_arg(p, "EVAL", 4);
        p = ngx_patient_guard_resp_arg(p, ngx_patient_guard_count_script,
                                       NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN);
    }

    p = ngx_patient_guard_resp_number(p, nkeys);

    for (i = 0; i < call->nkeys; i++) {
        p = ngx_patient_guard_call_key(keys, &call->keys[i].current, p);
    }

    for (i = 0; i < call->nkeys && rotated; i++) {
        p = ngx_patient_guard_call_key(keys, &call->keys[i].previous, p);
    }

    p = ngx_patient_guard_call_head(p, call, caller);
    p = ngx_patient_guard_call_limits(p, call);

    p = ngx_patient_guard_call_aliases(call->patients, call->npatients,
                          offsetof(ngx_patient_guard_named_t, current), p);

    p = ngx_patient_guard_call_aliases(call->patients,
                          rotated ? call->npatients : 0,
                          offsetof(ngx_patient_guard_named_t, previous), p);

    ngx_str_set(&challenger, "");

    if (call->challenger < call->nlimits) {
        challenger = call->limits[call->challenger].state;
    }

    return ngx_patient_guard_resp_arg(p, challenger.data, challenger.len);
}


static u_char *
ngx_patient_guard_call_head(u_char *p, ngx_patient_guard_call_t *call,
    ngx_patient_guard_caller_t *caller)
{
    ngx_uint_t  i;

    p = ngx_patient_guard_resp_begin(p, NGX_PATIENT_GUARD_CALL_HEAD);

    p = ngx_patient_guard_put64(p, caller->nonce);
    p = ngx_patient_guard_put64(p, call->now);
    p = ngx_patient_guard_put64(p, call->proof);
    p = ngx_patient_guard_put64(p, call->since);
    p = ngx_patient_guard_put64(p, call->grants->window);
    p = ngx_patient_guard_put64(p, call->memory);

    p = ngx_patient_guard_put32(p, (uint32_t) call->flags);
    p = ngx_patient_guard_put32(p, call->grants->count);
    p = ngx_patient_guard_put32(p, (uint32_t) call->nkeys);
    p = ngx_patient_guard_put32(p, (uint32_t) call->nlimits);
    p = ngx_patient_guard_put32(p, call->records);

    if (caller->session) {
        p = ngx_cpymem(p, caller->session, 8);

    } else {
        p = ngx_patient_guard_put64(p, 0);
    }

    /* an alias is bytes to Redis */

    for (i = 0; i < 2; i++) {
        p = ngx_cpymem(p, &call->subjects[i].current,
                       sizeof(ngx_patient_guard_patient_t));
    }

    for (i = 0; i < 2; i++) {
        p = ngx_cpymem(p, &call->subjects[i].previous,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_patient_guard_resp_end(p);
}


static u_char *
ngx_patient_guard_call_limits(u_char *p, ngx_patient_guard_call_t *call)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_patient_guard_limit_t  *limit;

    len = call->nlimits * NGX_PATIENT_GUARD_CALL_LIMIT;

    for (i = 0; i < call->nlimits; i++) {
        len += call->limits[i].state.len;
    }

    p = ngx_patient_guard_resp_begin(p, len);

    for (i = 0; i < call->nlimits; i++) {
        limit = &call->limits[i];

        *p++ = (u_char) limit->signal;
        *p++ = (u_char) limit->action;
        *p++ = (u_char) call->places[limit->key];

        p = ngx_patient_guard_put64(p, limit->window);
        p = ngx_patient_guard_put32(p, limit->count);
        p = ngx_patient_guard_put32(p, (uint32_t) limit->factor);
        p = ngx_patient_guard_put32(p, limit->floor);

        *p++ = (u_char) limit->state.len;
        *p++ = (u_char) (limit->state.len >> 8);

        p = ngx_cpymem(p, limit->state.data, limit->state.len);
    }

    return ngx_patient_guard_resp_end(p);
}


/* all keys of an account lie in one slot of a cluster: { } is its tag */

u_char *
ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p)
{
    p = ngx_patient_guard_resp_begin(p, keys->len
                                        + NGX_PATIENT_GUARD_ACCOUNT_HEX + 2);

    p = ngx_cpymem(p, keys->data, keys->len);
    *p++ = '{';
    p = ngx_patient_guard_account_hex(p, account);
    *p++ = '}';

    return ngx_patient_guard_resp_end(p);
}


static u_char *
ngx_patient_guard_call_aliases(ngx_patient_guard_named_t *named, ngx_uint_t n,
    size_t alias, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_patient_guard_resp_begin(p,
                                     n * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, (u_char *) &named[i] + alias,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_patient_guard_resp_end(p);
}
