
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_sha1.h>

#include "ngx_patient_guard_count_lua.h"


/* arguments of EVALSHA beside the keys and those of the limits */
#define NGX_PATIENT_GUARD_ARGS_FIXED   (3 + 11)
#define NGX_PATIENT_GUARD_ARGS_COUNT   1
#define NGX_PATIENT_GUARD_ARGS_SYNC    3
#define NGX_PATIENT_GUARD_ARGS_LIMIT   5

/* flags: see the script */
#define NGX_PATIENT_GUARD_CALL_EXEMPT  2
#define NGX_PATIENT_GUARD_CALL_UNNAMED 4
#define NGX_PATIENT_GUARD_CALL_PROBE   8
#define NGX_PATIENT_GUARD_CALL_SYNC    16
#define NGX_PATIENT_GUARD_CALL_SETS    32

#define NGX_PATIENT_GUARD_CHARGED      1
#define NGX_PATIENT_GUARD_CHALLENGED   2
#define NGX_PATIENT_GUARD_PASSED       4
#define NGX_PATIENT_GUARD_SUPERSEDED   8

/* with another node's clock ahead by a window */
#define NGX_PATIENT_GUARD_WAIT_MAX     (3 * NGX_PATIENT_GUARD_WINDOW_MAX)

/* Redis' Lua counts in doubles: up to here they are whole numbers */
#define NGX_PATIENT_GUARD_CALL_MAX     ((uint64_t) 1 << 53)


/* what both kinds of call say first */

typedef struct {
    ngx_patient_guard_account_t  *account;
    ngx_patient_guard_account_t  *previous;
    ngx_patient_guard_grants_t   *grants;
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


/* and what both replies say first */

typedef struct {
    uint64_t                      flags;
    uint64_t                      challenger;
    uint64_t                      grants;
    uint64_t                      since;
    uint64_t                      cleared;
} ngx_patient_guard_called_t;


static u_char *ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p);
static size_t ngx_patient_guard_call_most(ngx_str_t *keys,
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits,
    ngx_uint_t npatients);
static u_char *ngx_patient_guard_call_begin(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_call_t *call, ngx_patient_guard_caller_t *caller,
    const u_char *digest);
static u_char *ngx_patient_guard_call_limit(u_char *p,
    ngx_patient_guard_limit_t *limit);
static u_char *ngx_patient_guard_call_patients(ngx_patient_guard_call_t *call,
    size_t alias, u_char *p);
static ngx_int_t ngx_patient_guard_call_head(u_char **p, u_char *last,
    uint64_t nonce, ngx_uint_t nlimits, ngx_patient_guard_called_t *called);
static ngx_int_t ngx_patient_guard_call_field(u_char **p, u_char *last,
    uint64_t max, uint64_t *value);


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
                                         * NGX_PATIENT_GUARD_DOUBT_SIZE);

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
           + 2 * ngx_patient_guard_resp_size(keys->len + 2
                                             + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + 2 * ngx_patient_guard_resp_size(npatients
                                       * sizeof(ngx_patient_guard_patient_t));

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
    ngx_patient_guard_call_t  call;

    call.account = &lookup->account;
    call.previous = &lookup->previous;
    call.grants = lookup->grants;
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
                 + (lookup->probe ? NGX_PATIENT_GUARD_CALL_PROBE : 0);

    p = ngx_patient_guard_call_begin(p, keys, &call, caller, digest);

    p = ngx_patient_guard_resp_number(p, lookup->records);

    for (i = 0; i < lookup->nlimits; i++) {
        p = ngx_patient_guard_call_limit(p, &lookup->limits[i]);
    }

    return p;
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

    call.account = &parcel->account;
    call.previous = &parcel->previous;
    call.grants = parcel->grants;
    call.limits = parcel->limits;
    call.nlimits = parcel->nlimits;
    call.now = parcel->now;
    call.since = parcel->since;
    call.challenger = parcel->challenger;
    call.flags = NGX_PATIENT_GUARD_CALL_SYNC
                 + (parcel->sets ? NGX_PATIENT_GUARD_CALL_SETS : 0);

    p = ngx_patient_guard_call_begin(p, keys, &call, caller, digest);

    p = ngx_patient_guard_resp_number(p, parcel->cleared);
    p = ngx_patient_guard_resp_number(p, parcel->number);

    p = ngx_sprintf(p, "$%uz" CRLF,
                    parcel->ndoubts * NGX_PATIENT_GUARD_DOUBT_SIZE);

    for (i = 0; i < parcel->ndoubts; i++) {
        p = ngx_patient_guard_doubt_write(p, &parcel->doubts[i]);
    }

    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    for (i = 0; i < parcel->nlimits; i++) {
        p = ngx_patient_guard_call_limit(p, &parcel->limits[i]);

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
    ngx_uint_t  nkeys, nargs;

    nkeys = (call->previous->word[0] || call->previous->word[1]) ? 2 : 1;
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
    p = ngx_patient_guard_call_key(keys, call->account, p);

    if (nkeys == 2) {
        p = ngx_patient_guard_call_key(keys, call->previous, p);
    }

    p = ngx_patient_guard_resp_number(p, caller->nonce);
    p = ngx_patient_guard_resp_number(p, call->now);
    p = ngx_patient_guard_resp_number(p, call->proof);
    p = ngx_patient_guard_resp_number(p, call->flags);
    p = ngx_patient_guard_resp_number(p, call->grants->count);
    p = ngx_patient_guard_resp_number(p, call->grants->window);

    p = ngx_patient_guard_call_patients(call,
                          offsetof(ngx_patient_guard_named_t, current), p);

    if (nkeys == 2) {
        p = ngx_patient_guard_call_patients(call,
                          offsetof(ngx_patient_guard_named_t, previous), p);
    } else {
        p = ngx_patient_guard_resp_arg(p, "", 0);
    }

    ngx_str_set(&challenger, "");

    if (call->challenger < call->nlimits) {
        challenger = call->limits[call->challenger].state;
    }

    p = ngx_patient_guard_resp_number(p, call->since);
    p = ngx_patient_guard_resp_arg(p, challenger.data, challenger.len);

    if (caller->session == NULL) {
        return ngx_patient_guard_resp_arg(p, "", 0);
    }

    return ngx_patient_guard_resp_arg(p, caller->session, 8);
}


static u_char *
ngx_patient_guard_call_limit(u_char *p, ngx_patient_guard_limit_t *limit)
{
    p = ngx_patient_guard_resp_arg(p, limit->state.data, limit->state.len);
    p = ngx_patient_guard_resp_number(p, limit->signal
                                         == NGX_PATIENT_GUARD_PATIENTS_SEEN);
    p = ngx_patient_guard_resp_number(p, limit->action);
    p = ngx_patient_guard_resp_number(p, limit->window);

    return ngx_patient_guard_resp_number(p, limit->count);
}


/* all keys of an account lie in one slot of a cluster: { } is its tag */

static u_char *
ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p)
{
    p = ngx_sprintf(p, "$%uz" CRLF "%V{", keys->len
                    + NGX_PATIENT_GUARD_ACCOUNT_HEX + 2, keys);

    p = ngx_patient_guard_account_hex(p, account);

    return ngx_cpymem(p, "}" CRLF, sizeof("}" CRLF) - 1);
}


static u_char *
ngx_patient_guard_call_patients(ngx_patient_guard_call_t *call,
    size_t alias, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "$%uz" CRLF,
                    call->npatients * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < call->npatients; i++) {
        p = ngx_cpymem(p, (u_char *) &call->patients[i] + alias,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);
}


ngx_int_t
ngx_patient_guard_call_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    u_char                      *p, *end;
    uint64_t                     total;
    ngx_uint_t                   i, refuse;
    ngx_patient_guard_called_t   called;

    p = text->data;
    end = p + text->len;

    if (ngx_patient_guard_call_head(&p, end, nonce, lookup->nlimits, &called)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));

    tally->source = NGX_PATIENT_GUARD_FROM_REDIS;
    tally->charged = (called.flags & NGX_PATIENT_GUARD_CHARGED) ? 1 : 0;
    tally->challenged = (called.flags & NGX_PATIENT_GUARD_CHALLENGED) ? 1 : 0;
    tally->passed = (called.flags & NGX_PATIENT_GUARD_PASSED) ? 1 : 0;
    tally->challenger = called.challenger;
    tally->grants_wait = called.grants;
    tally->since = called.since;
    tally->cleared = called.cleared;

    refuse = tally->challenged;

    for (i = 0; i < lookup->nlimits; i++) {

        if (ngx_patient_guard_call_field(&p, end, NGX_PATIENT_GUARD_COUNT_MAX,
                                         &total) != NGX_OK
            || ngx_patient_guard_call_field(&p, end,
                                            NGX_PATIENT_GUARD_WAIT_MAX,
                                            &tally->rooms[i].wait) != NGX_OK)
        {
            return NGX_ERROR;
        }

        tally->rooms[i].total = (uint32_t) total;

        if (tally->rooms[i].wait
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG)
        {
            refuse = 1;
        }
    }

    if (p != end + 1) {
        return NGX_ERROR;
    }

    if (called.flags & NGX_PATIENT_GUARD_SUPERSEDED) {
        return called.flags == NGX_PATIENT_GUARD_SUPERSEDED ? NGX_DECLINED
                                                            : NGX_ERROR;
    }

    /* what fits was charged, what does not was not: else it is no answer */

    if (tally->charged == (refuse && !lookup->exempt)
        || tally->challenged != (tally->since != 0))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_call_news(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news)
{
    u_char                      *p, *end;
    ngx_uint_t                   i;
    ngx_patient_guard_image_t   *image;
    ngx_patient_guard_called_t   called;

    p = text->data;
    end = p + text->len;

    if (ngx_patient_guard_call_head(&p, end, nonce, parcel->nlimits, &called)
        != NGX_OK
        || (called.flags & (NGX_PATIENT_GUARD_CHARGED
                            | NGX_PATIENT_GUARD_PASSED)))
    {
        return NGX_ERROR;
    }

    news->challenged = (called.flags & NGX_PATIENT_GUARD_CHALLENGED) ? 1 : 0;
    news->superseded = (called.flags & NGX_PATIENT_GUARD_SUPERSEDED) ? 1 : 0;
    news->challenger = called.challenger;
    news->since = called.since;
    news->cleared = called.cleared;

    if (news->challenged != (news->since != 0)
        || (news->superseded && parcel->number == 0))
    {
        return NGX_ERROR;
    }

    for (i = 0; i < parcel->nlimits; i++) {
        image = &news->images[i];

        if (ngx_patient_guard_image_read(&p, end, image) != NGX_OK
            || (image->nset && (!parcel->sets || parcel->limits[i].signal
                                          != NGX_PATIENT_GUARD_PATIENTS_SEEN)))
        {
            return NGX_ERROR;
        }
    }

    return p == end ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_patient_guard_call_head(u_char **p, u_char *last, uint64_t nonce,
    ngx_uint_t nlimits, ngx_patient_guard_called_t *called)
{
    uint64_t  value;

    if (ngx_patient_guard_call_field(p, last, NGX_PATIENT_GUARD_CALL_MAX,
                                     &value) != NGX_OK
        || value != nonce
        || ngx_patient_guard_call_field(p, last, 15, &called->flags) != NGX_OK
        || ngx_patient_guard_call_field(p, last, nlimits,
                                        &called->challenger) != NGX_OK
        || ngx_patient_guard_call_field(p, last, NGX_PATIENT_GUARD_WAIT_MAX,
                                        &called->grants) != NGX_OK
        || ngx_patient_guard_call_field(p, last, NGX_PATIENT_GUARD_CALL_MAX,
                                        &called->since) != NGX_OK
        || ngx_patient_guard_call_field(p, last, NGX_PATIENT_GUARD_CALL_MAX,
                                        &called->cleared) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* one number and the blank behind it, or the end: *p is then last + 1 */

static ngx_int_t
ngx_patient_guard_call_field(u_char **p, u_char *last, uint64_t max,
    uint64_t *value)
{
    u_char    *s;
    uint64_t   n;

    s = *p;
    n = 0;

    if (s >= last) {
        return NGX_ERROR;
    }

    for ( /* void */ ; s < last && *s != ' '; s++) {

        if (*s < '0' || *s > '9') {
            return NGX_ERROR;
        }

        n = n * 10 + (*s - '0');

        if (n > max) {
            return NGX_ERROR;
        }
    }

    if (s == *p) {
        return NGX_ERROR;
    }

    *p = s + 1;
    *value = n;

    return NGX_OK;
}
