
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_sha1.h>

#include "ngx_patient_guard_count_lua.h"


/* arguments of EVALSHA beside the keys and those of the limits */
#define NGX_PATIENT_GUARD_ARGS_FIXED   (3 + 15)
#define NGX_PATIENT_GUARD_ARGS_COUNT   2
#define NGX_PATIENT_GUARD_ARGS_SYNC    4
#define NGX_PATIENT_GUARD_ARGS_LIMIT   8

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
static u_char *ngx_patient_guard_call_limit(u_char *p,
    ngx_patient_guard_call_t *call, ngx_uint_t i);
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
           + 2 * ngx_patient_guard_resp_size(NGX_INT64_LEN)
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
           + (NGX_PATIENT_GUARD_ARGS_FIXED + NGX_PATIENT_GUARD_ARGS_COUNT)
             * ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_CALL_DIGEST)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN)
           + 2 * NGX_PATIENT_GUARD_KEYS
             * ngx_patient_guard_resp_size(keys->len + 2
                                           + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + 2 * ngx_patient_guard_resp_size(npatients
                                       * sizeof(ngx_patient_guard_patient_t))
           + ngx_patient_guard_resp_size(npatients);

    longest = 0;

    for (i = 0; i < nlimits; i++) {
        longest = ngx_max(longest, limits[i].state.len);

        size += ngx_patient_guard_resp_size(limits[i].state.len)
                + (NGX_PATIENT_GUARD_ARGS_LIMIT - 1)
                  * ngx_patient_guard_resp_size(NGX_INT64_LEN);
    }

    /* one of the states, once more */

    return size + longest;
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
    call.since = lookup->since;
    call.challenger = lookup->challenger;
    call.flags = lookup->dry_run
                 + (lookup->exempt ? NGX_PATIENT_GUARD_CALL_EXEMPT : 0)
                 + (lookup->unnamed ? NGX_PATIENT_GUARD_CALL_UNNAMED : 0)
                 + (lookup->probe ? NGX_PATIENT_GUARD_CALL_PROBE : 0)
                 + (lookup->session ? NGX_PATIENT_GUARD_CALL_SESSION : 0)
                 + (lookup->due ? NGX_PATIENT_GUARD_CALL_DUE : 0);

    p = ngx_patient_guard_call_begin(p, keys, &call, caller, digest);

    p = ngx_patient_guard_resp_number(p, lookup->records);

    /* Redis may have lost who is known: this node may not */

    p = ngx_sprintf(p, "$%ui" CRLF, lookup->memory ? call.npatients : 0);

    for (i = 0; i < call.npatients && lookup->memory; i++) {
        *p++ = call.patients[i].known ? '1' : '0';
    }

    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    for (i = 0; i < lookup->nlimits; i++) {
        p = ngx_patient_guard_call_limit(p, &call, i);
    }

    return p;
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

    p = ngx_patient_guard_resp_number(p, parcel->cleared);
    p = ngx_patient_guard_resp_number(p, parcel->number);

    p = ngx_sprintf(p, "$%uz" CRLF,
                    parcel->ndoubts * NGX_PATIENT_GUARD_DOUBT_SIZE);

    for (i = 0; i < parcel->ndoubts; i++) {
        p = ngx_patient_guard_doubt_write(p, &parcel->doubts[i]);
    }

    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    p = ngx_patient_guard_resp_arg(p, parcel->seen,
                                   parcel->nseen
                                   * NGX_PATIENT_GUARD_SEEN_SIZE);

    for (i = 0; i < parcel->nlimits; i++) {
        p = ngx_patient_guard_call_limit(p, &call, i);

        image = &parcel->images[i];

        if (image->newest == 0) {
            p = ngx_patient_guard_resp_arg(p, "", 0);
            continue;
        }

        size = image->nset * sizeof(ngx_patient_guard_patient_t);

        p = ngx_sprintf(p, "$%uz" CRLF, NGX_PATIENT_GUARD_IMAGE_SIZE + size);
        p = ngx_patient_guard_image_write(p, image);
        p = ngx_cpymem(p, image->set, size);
        p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);
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
    nargs = NGX_PATIENT_GUARD_ARGS_FIXED + nkeys;

    if (call->flags & NGX_PATIENT_GUARD_CALL_SYNC) {
        nargs += NGX_PATIENT_GUARD_ARGS_SYNC
                 + (NGX_PATIENT_GUARD_ARGS_LIMIT + 1) * call->nlimits;
    } else {
        nargs += NGX_PATIENT_GUARD_ARGS_COUNT
                 + NGX_PATIENT_GUARD_ARGS_LIMIT * call->nlimits;
    }

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

    p = ngx_patient_guard_resp_number(p, caller->nonce);
    p = ngx_patient_guard_resp_number(p, call->now);
    p = ngx_patient_guard_resp_number(p, call->proof);
    p = ngx_patient_guard_resp_number(p, call->flags);
    p = ngx_patient_guard_resp_number(p, call->grants->count);
    p = ngx_patient_guard_resp_number(p, call->grants->window);

    p = ngx_patient_guard_call_aliases(call->patients, call->npatients,
                          offsetof(ngx_patient_guard_named_t, current), p);

    p = ngx_patient_guard_call_aliases(call->patients,
                          rotated ? call->npatients : 0,
                          offsetof(ngx_patient_guard_named_t, previous), p);

    ngx_str_set(&challenger, "");

    if (call->challenger < call->nlimits) {
        challenger = call->limits[call->challenger].state;
    }

    p = ngx_patient_guard_resp_number(p, call->since);
    p = ngx_patient_guard_resp_arg(p, challenger.data, challenger.len);

    p = ngx_patient_guard_resp_arg(p, caller->session ? caller->session
                                                      : (u_char *) "",
                                   caller->session ? 8 : 0);

    p = ngx_patient_guard_resp_number(p, call->nkeys);
    p = ngx_patient_guard_resp_number(p, call->memory);

    p = ngx_patient_guard_call_aliases(call->subjects, 2,
                          offsetof(ngx_patient_guard_named_t, current), p);

    return ngx_patient_guard_call_aliases(call->subjects, rotated ? 2 : 0,
                          offsetof(ngx_patient_guard_named_t, previous), p);
}


static u_char *
ngx_patient_guard_call_limit(u_char *p, ngx_patient_guard_call_t *call,
    ngx_uint_t i)
{
    ngx_patient_guard_limit_t  *limit;

    limit = &call->limits[i];

    p = ngx_patient_guard_resp_arg(p, limit->state.data, limit->state.len);
    p = ngx_patient_guard_resp_number(p, limit->signal);
    p = ngx_patient_guard_resp_number(p, limit->action);
    p = ngx_patient_guard_resp_number(p, limit->window);
    p = ngx_patient_guard_resp_number(p, limit->count);

    p = ngx_patient_guard_resp_number(p, call->places[limit->key]);
    p = ngx_patient_guard_resp_number(p, limit->factor);

    return ngx_patient_guard_resp_number(p, limit->floor);
}


/* all keys of an account lie in one slot of a cluster: { } is its tag */

u_char *
ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p)
{
    p = ngx_sprintf(p, "$%uz" CRLF "%V{", keys->len
                    + NGX_PATIENT_GUARD_ACCOUNT_HEX + 2, keys);

    p = ngx_patient_guard_account_hex(p, account);

    return ngx_cpymem(p, "}" CRLF, sizeof("}" CRLF) - 1);
}


static u_char *
ngx_patient_guard_call_aliases(ngx_patient_guard_named_t *named, ngx_uint_t n,
    size_t alias, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "$%uz" CRLF,
                    n * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, (u_char *) &named[i] + alias,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);
}
