
/*
 * Who is looking at whom.  An input is lines:
 *
 *     letters: f fold, k two keys, a account_missing allow,
 *              i or d patient_guard_unmatched ignore or deny
 *     two values of "account"
 *     two values of "patient_guard_patient"
 *     those of "proof" and "exempt"
 *     the URI
 *
 * and the account and the patients are what the README says: here again, by
 * other means.
 */


#include "fuzz.h"
#include "ngx_http_patient_guard_identity.h"

#include <ctype.h>


#define VALUES  7

#define ACCOUNT   0
#define PATIENTS  2
#define PROOF     4
#define EXEMPT    5
#define URI       6


/* what the values say */

typedef struct {
    ngx_str_t    login;              /* len 0: missing */
    ngx_str_t   *patients;           /* distinct, in their order */
    ngx_uint_t   npatients;          /* may be more than are allowed */
    uint64_t     proof;
    ngx_uint_t   exempt;
} said_t;


static ngx_patient_guard_keys_t  keys[2];


static int
is_blank(u_char ch)
{
    return ch == ' ' || ch == '\t';
}


static ngx_str_t
trimmed(ngx_str_t value)
{
    size_t  from, to;

    for (from = 0; from < value.len && is_blank(value.data[from]); from++) {
        /* void */
    }

    for (to = value.len; to > from && is_blank(value.data[to - 1]); to--) {
        /* void */
    }

    value.data += from;
    value.len = to - from;

    return value;
}


static int
same(ngx_str_t a, ngx_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}


static void
say_patient(said_t *said, ngx_str_t name)
{
    ngx_uint_t  i;

    name = trimmed(name);

    for (i = 0; i < said->npatients; i++) {
        if (same(said->patients[i], name)) {
            return;
        }
    }

    if (name.len) {
        said->patients[said->npatients++] = name;
    }
}


static void
say_patients(said_t *said, ngx_str_t value)
{
    size_t     i, comma;
    ngx_str_t  name;

    name.data = value.data;
    name.len = 0;

    for (i = 0; i < value.len; i += comma ? comma : 1) {

        comma = value.data[i] == ',' ? 1
                : value.len - i >= 3
                  && strncasecmp((char *) value.data + i, "%2c", 3) == 0
                  ? 3 : 0;

        if (comma) {
            say_patient(said, name);
            name.data = value.data + i + comma;
            name.len = 0;

        } else {
            name.len++;
        }
    }

    say_patient(said, name);
}


static void
say_login(said_t *said, ngx_str_t *values, int fold)
{
    size_t  i;

    said->login = trimmed(values[0]);

    if (said->login.len == 0) {
        said->login = trimmed(values[1]);
    }

    if (said->login.len > 256) {
        said->login.len = 0;
    }

    for (i = 0; i < said->login.len; i++) {
        if (iscntrl(said->login.data[i])
            || (i && said->login.data[i - 1] == 0xc2
                && said->login.data[i] >= 0x80 && said->login.data[i] < 0xa0))
        {
            said->login.len = 0;
        }
    }

    for (i = 0; fold && i < said->login.len; i++) {
        said->login.data[i] = tolower(said->login.data[i]);
    }
}


/* digits, one point at the most among them; thousandths are heard */

static uint64_t
say_time(ngx_str_t value)
{
    size_t    i, whole, behind;
    uint64_t  ms;

    value = trimmed(value);
    ms = 0;
    whole = 0;
    behind = 0;

    for (i = 0; i < value.len; i++) {

        if (value.data[i] == '.' && behind == 0) {
            behind = 1;
            continue;
        }

        if (!isdigit(value.data[i])) {
            return 0;
        }

        whole += !behind;

        if (behind <= 3) {
            ms = ms * 10 + value.data[i] - '0';
            behind += behind != 0;
        }

        if (whole > 12) {
            return 0;
        }
    }

    for (behind = ngx_max(behind, 1); behind <= 3; behind++) {
        ms *= 10;
    }

    return ms;
}


static void
say(said_t *said, ngx_str_t *values, int fold)
{
    said->patients = malloc((values[PATIENTS].len + values[PATIENTS + 1].len
                             + 2) * sizeof(ngx_str_t));
    must(said->patients != NULL);
    said->npatients = 0;

    say_patients(said, values[PATIENTS]);
    say_patients(said, values[PATIENTS + 1]);
    say_login(said, &values[ACCOUNT], fold);

    said->proof = say_time(values[PROOF]);
    said->exempt = values[EXEMPT].len
                   && !(values[EXEMPT].len == 1
                        && values[EXEMPT].data[0] == '0');
}


/* with "later" the patients come in the other order */

static ngx_int_t
identify(ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *values,
    const char *letters, ngx_uint_t later, ngx_pool_t *pool)
{
    ngx_uint_t                         i;
    ngx_array_t                        accounts, patients;
    ngx_http_request_t                 r;
    ngx_http_complex_value_t           cv[VALUES];
    ngx_http_patient_guard_policy_t    policy;

    static ngx_patient_guard_shm_t     shm;
    ngx_http_patient_guard_loc_conf_t  lcf;

    memset(cv, 0, sizeof(cv));
    memset(&policy, 0, sizeof(policy));
    memset(&lcf, 0, sizeof(lcf));
    memset(&r, 0, sizeof(r));
    memset(ctx, 0, sizeof(*ctx));

    for (i = 0; i < VALUES; i++) {
        cv[i].value = values[i];
    }

    if (later) {
        cv[PATIENTS].value = values[PATIENTS + 1];
        cv[PATIENTS + 1].value = values[PATIENTS];
    }

    accounts.elts = &cv[ACCOUNT];
    accounts.nelts = 2;
    patients.elts = &cv[PATIENTS];
    patients.nelts = 2;

    policy.shm = &shm;
    policy.accounts = &accounts;
    policy.proof = &cv[PROOF];
    policy.exempt = &cv[EXEMPT];
    policy.fold = strchr(letters, 'f') != NULL;
    policy.nkeys = strchr(letters, 'k') ? 2 : 1;
    policy.account_missing = strchr(letters, 'a')
                             ? NGX_HTTP_PATIENT_GUARD_MISSING_ALLOW
                             : NGX_HTTP_PATIENT_GUARD_MISSING_DENY;
    memcpy(policy.keys, keys, sizeof(keys));

    lcf.patients = &patients;
    lcf.unmatched = strchr(letters, 'i')
                    ? NGX_HTTP_PATIENT_GUARD_UNMATCHED_IGNORE
                    : strchr(letters, 'd')
                      ? NGX_HTTP_PATIENT_GUARD_UNMATCHED_DENY
                      : NGX_HTTP_PATIENT_GUARD_UNMATCHED_URI;

    r.pool = pool;
    r.unparsed_uri = values[URI];

    ctx->policy = &policy;
    ctx->op.pool = pool;

    return ngx_http_patient_guard_identify(&r, ctx, &lcf);
}


static ngx_int_t
expected(said_t *said, const char *letters)
{
    if (said->npatients > 512) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (said->login.len == 0) {
        return strchr(letters, 'a') ? NGX_DECLINED : NGX_HTTP_FORBIDDEN;
    }

    if (said->npatients == 0 && strchr(letters, 'i')) {
        return NGX_DECLINED;
    }

    if (said->npatients == 0 && strchr(letters, 'd')) {
        return NGX_HTTP_FORBIDDEN;
    }

    return NGX_OK;
}


/* the hexadecimal digits of an alias are its bytes */

static void
reads_as(const u_char *hex, const void *bytes, size_t n)
{
    size_t  i;
    char    digits[3];

    for (i = 0; i < n; i++) {
        sprintf(digits, "%02x", ((const u_char *) bytes)[i]);
        must(memcmp(hex + 2 * i, digits, 2) == 0);
    }
}


static void
aliases(ngx_patient_guard_lookup_t *lookup, said_t *said, ngx_str_t *uri,
    int two)
{
    ngx_uint_t                    i;
    u_char                        hex[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_patient_guard_named_t     named;
    ngx_patient_guard_account_t   account[2];

    memset(account, 0, sizeof(account));
    ngx_patient_guard_account_alias(&keys[0], &said->login, &account[0]);

    if (two) {
        ngx_patient_guard_account_alias(&keys[1], &said->login, &account[1]);
    }

    must(memcmp(&lookup->account, &account[0], sizeof(account[0])) == 0);
    must(memcmp(&lookup->previous, &account[1], sizeof(account[1])) == 0);

    must(ngx_patient_guard_account_hex(hex, &account[0])
         == hex + NGX_PATIENT_GUARD_ACCOUNT_HEX);
    reads_as(hex, &account[0], sizeof(account[0]));

    must(lookup->npatients == ngx_max(said->npatients, 1));

    for (i = 0; i < lookup->npatients; i++) {

        named.previous = 0;

        if (said->npatients) {
            named.current = ngx_patient_guard_patient_alias(&keys[0],
                                                         &said->patients[i]);
            if (two) {
                named.previous = ngx_patient_guard_patient_alias(&keys[1],
                                                         &said->patients[i]);
            }

        } else {
            named.current = ngx_patient_guard_uri_alias(&keys[0], uri);

            if (two) {
                named.previous = ngx_patient_guard_uri_alias(&keys[1], uri);
            }
        }

        must(named.current != 0);
        must(lookup->patients[i].current == named.current);
        must(lookup->patients[i].previous == named.previous);
    }

    must(ngx_patient_guard_patient_hex(hex, lookup->patients[0].current)
         == hex + NGX_PATIENT_GUARD_PATIENT_HEX);
    reads_as(hex, &lookup->patients[0].current,
             sizeof(ngx_patient_guard_patient_t));
}


static void
is_same_set(ngx_patient_guard_lookup_t *one, ngx_patient_guard_lookup_t *two)
{
    ngx_uint_t  i, n;

    must(one->npatients == two->npatients);

    for (i = 0; i < one->npatients; i++) {

        for (n = 0; one->patients[i].current != two->patients[n].current; n++)
        {
            must(n + 1 < two->npatients);
        }
    }
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ngx_str_t  one = ngx_string("0123456789abcdef"),
               two = ngx_string("fedcba9876543210");

    fuzz_init();

    must(ngx_patient_guard_keys_derive(&keys[0], &one) == NGX_OK);
    must(ngx_patient_guard_keys_derive(&keys[1], &two) == NGX_OK);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                           letters[8];
    said_t                         said;
    input_t                        in;
    ngx_str_t                      line, values[VALUES];
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_pool_t                    *pool;
    ngx_http_patient_guard_ctx_t   ctx, reversed;

    in.p = data;
    in.last = data + size;

    line = input_until(&in, '\n');
    memset(letters, 0, sizeof(letters));
    memcpy(letters, line.data, ngx_min(line.len, sizeof(letters) - 1));
    free(line.data);

    for (i = 0; i < VALUES; i++) {
        values[i] = input_until(&in, '\n');
    }

    pool = fuzz_pool();

    rc = identify(&ctx, values, letters, 0, pool);

    must(ctx.op.lookup.npatients <= 512);
    must(ctx.op.lookup.records == ctx.op.lookup.npatients);
    must((rc >= NGX_HTTP_SPECIAL_RESPONSE) <= (ctx.reason != NULL));
    must(identify(&reversed, values, letters, 1, pool) == rc);

    /* folds the account, as the last thing that happens to it */
    say(&said, values, strchr(letters, 'f') != NULL);

    must(rc == expected(&said, letters));

    if (rc == NGX_OK) {
        aliases(&ctx.op.lookup, &said, &values[URI],
                strchr(letters, 'k') != NULL);
        is_same_set(&ctx.op.lookup, &reversed.op.lookup);

        must(ctx.op.lookup.proof == said.proof);
        must(ctx.op.lookup.exempt == said.exempt);
    }

    ngx_destroy_pool(pool);
    free(said.patients);

    for (i = 0; i < VALUES; i++) {
        free(values[i].data);
    }

    return 0;
}
