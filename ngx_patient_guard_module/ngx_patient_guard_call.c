
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_sha1.h>

#include "ngx_patient_guard_count_lua.h"


/* arguments of EVALSHA beside the keys and those of the limits */
#define NGX_PATIENT_GUARD_ARGS_FIXED   (3 + 8)
#define NGX_PATIENT_GUARD_ARGS_LIMIT   5

/* with another node's clock ahead by a window */
#define NGX_PATIENT_GUARD_WAIT_MAX     (3 * NGX_PATIENT_GUARD_WINDOW_MAX)

/* ten times this still fits in 64 bits */
#define NGX_PATIENT_GUARD_NONCE_MAX    999999999999999999ULL


static u_char *ngx_patient_guard_call_key(ngx_str_t *keys,
    ngx_patient_guard_account_t *account, u_char *p);
static u_char *ngx_patient_guard_call_patients(
    ngx_patient_guard_lookup_t *lookup, size_t alias, u_char *p);
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
    size_t      size;
    ngx_uint_t  i;

    size = NGX_PATIENT_GUARD_RESP_HEAD
           + NGX_PATIENT_GUARD_ARGS_FIXED
             * ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_CALL_DIGEST)
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN)
           + 2 * ngx_patient_guard_resp_size(keys->len + 2
                                             + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + 2 * ngx_patient_guard_resp_size(lookup->npatients
                                       * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < lookup->nlimits; i++) {
        size += ngx_patient_guard_resp_size(lookup->limits[i].state.len)
                + (NGX_PATIENT_GUARD_ARGS_LIMIT - 1)
                  * ngx_patient_guard_resp_size(NGX_INT64_LEN);
    }

    return size;
}


u_char *
ngx_patient_guard_call_write(u_char *p, ngx_str_t *keys,
    ngx_patient_guard_lookup_t *lookup, uint64_t nonce, const u_char *digest)
{
    ngx_uint_t                  i, nkeys;
    ngx_patient_guard_limit_t  *limit;

    nkeys = (lookup->previous.word[0] || lookup->previous.word[1]) ? 2 : 1;

    p = ngx_patient_guard_resp_command(p, NGX_PATIENT_GUARD_ARGS_FIXED + nkeys
                                          + NGX_PATIENT_GUARD_ARGS_LIMIT
                                            * lookup->nlimits);

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
    p = ngx_patient_guard_call_key(keys, &lookup->account, p);

    if (nkeys == 2) {
        p = ngx_patient_guard_call_key(keys, &lookup->previous, p);
    }

    p = ngx_patient_guard_resp_number(p, nonce);
    p = ngx_patient_guard_resp_number(p, lookup->now);
    p = ngx_patient_guard_resp_number(p, lookup->proof);
    p = ngx_patient_guard_resp_number(p, lookup->dry_run
                                         + 2 * lookup->exempt);
    p = ngx_patient_guard_resp_number(p, lookup->grants->count);
    p = ngx_patient_guard_resp_number(p, lookup->grants->window);

    p = ngx_patient_guard_call_patients(lookup,
                          offsetof(ngx_patient_guard_named_t, current), p);

    if (nkeys == 2) {
        p = ngx_patient_guard_call_patients(lookup,
                          offsetof(ngx_patient_guard_named_t, previous), p);
    } else {
        p = ngx_patient_guard_resp_arg(p, "", 0);
    }

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];

        p = ngx_patient_guard_resp_arg(p, limit->state.data,
                                       limit->state.len);
        p = ngx_patient_guard_resp_number(p, limit->signal
                                          == NGX_PATIENT_GUARD_PATIENTS_SEEN);
        p = ngx_patient_guard_resp_number(p, limit->action);
        p = ngx_patient_guard_resp_number(p, limit->window);
        p = ngx_patient_guard_resp_number(p, limit->count);
    }

    return p;
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
ngx_patient_guard_call_patients(ngx_patient_guard_lookup_t *lookup,
    size_t alias, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "$%uz" CRLF,
                    lookup->npatients * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < lookup->npatients; i++) {
        p = ngx_cpymem(p, (u_char *) &lookup->patients[i] + alias,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);
}


ngx_int_t
ngx_patient_guard_call_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    u_char      *p, *last;
    uint64_t     value, flags, challenger, grants, total;
    ngx_uint_t   i, refuse;

    p = text->data;
    last = p + text->len;

    if (ngx_patient_guard_call_field(&p, last, NGX_PATIENT_GUARD_NONCE_MAX,
                                      &value)
        != NGX_OK
        || value != nonce
        || ngx_patient_guard_call_field(&p, last, 7, &flags) != NGX_OK
        || ngx_patient_guard_call_field(&p, last, lookup->nlimits,
                                         &challenger) != NGX_OK
        || ngx_patient_guard_call_field(&p, last,
                                         NGX_PATIENT_GUARD_WAIT_MAX,
                                         &grants) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));

    tally->source = NGX_PATIENT_GUARD_FROM_REDIS;
    tally->charged = (flags & 1) ? 1 : 0;
    tally->challenged = (flags & 2) ? 1 : 0;
    tally->passed = (flags & 4) ? 1 : 0;
    tally->challenger = challenger;
    tally->grants_wait = grants;

    refuse = tally->challenged;

    for (i = 0; i < lookup->nlimits; i++) {

        if (ngx_patient_guard_call_field(&p, last,
                                          NGX_PATIENT_GUARD_COUNT_MAX,
                                          &total) != NGX_OK
            || ngx_patient_guard_call_field(&p, last,
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

    /* what fits was charged, what does not was not: else it is no answer */

    if (p != last + 1 || tally->charged == (refuse && !lookup->exempt)) {
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
