
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_key.h"
#include "ngx_http_patient_guard_naming.h"
#include "ngx_http_patient_guard_value.h"


static ngx_uint_t ngx_http_patient_guard_from_client(ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_patients(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_loc_conf_t *lcf);
static ngx_int_t ngx_http_patient_guard_nobody(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_loc_conf_t *lcf);
static ngx_uint_t ngx_http_patient_guard_has_control(ngx_str_t *login);
static ngx_int_t ngx_http_patient_guard_claims(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static uint64_t ngx_http_patient_guard_time(ngx_str_t *value);


char *
ngx_http_patient_guard_account(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_str_t                         *value;
    ngx_uint_t                         i, n, trusted, varies;
    ngx_http_complex_value_t          *cv;
    ngx_http_compile_complex_value_t   ccv;

    if (policy->accounts) {
        return "is duplicate";
    }

    value = cf->args->elts;
    trusted = 0;

    for (n = cf->args->nelts; n > 1; n--) {

        if (ngx_strcmp(value[n - 1].data, "trusted") == 0) {
            trusted = 1;

        } else if (ngx_strcmp(value[n - 1].data, "fold") == 0) {
            policy->fold = 1;

        } else {
            break;
        }
    }

    if (n == 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no value in \"account\" of policy \"%V\", "
                           "expected one such as \"$portal_account\"",
                           &policy->name);
        return NGX_CONF_ERROR;
    }

    policy->accounts = ngx_array_create(cf->pool, n - 1,
                                        sizeof(ngx_http_complex_value_t));
    if (policy->accounts == NULL) {
        return NGX_CONF_ERROR;
    }

    varies = 0;

    for (i = 1; i < n; i++) {

        if (ngx_strcmp(value[i].data, "trusted") == 0
            || ngx_strcmp(value[i].data, "fold") == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of \"account\" in policy \"%V\" "
                               "stands before a value, expected it behind "
                               "all values", &value[i], &policy->name);
            return NGX_CONF_ERROR;
        }

        varies |= ngx_http_patient_guard_varies(&value[i]);

        if (!trusted && ngx_http_patient_guard_from_client(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"account %V\" is what the client says of "
                               "itself: take the account from what the "
                               "portal has verified, or add \"trusted\" if "
                               "another server in front has", &value[i]);
            return NGX_CONF_ERROR;
        }

        cv = ngx_array_push(policy->accounts);
        if (cv == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = cv;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (!varies) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"account %V\" in policy \"%V\" has no "
                           "variable: everybody is the same account",
                           &value[1], &policy->name);
    }

    return NGX_CONF_OK;
}


/* "proof" and "exempt": worth nothing if the client may say so of itself */

char *
ngx_http_patient_guard_claim(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_http_patient_guard_from_client(&value[1])) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"%V %V\" is what the client says of itself",
                           &value[0], &value[1]);
    }

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


char *
ngx_http_patient_guard_proof(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    char       *rv;
    ngx_str_t  *value;

    value = cf->args->elts;

    rv = ngx_http_patient_guard_claim(cf, cmd, conf);

    if (rv != NGX_CONF_OK || cf->args->nelts == 2) {
        return rv;
    }

    if (ngx_strcmp(value[2].data, "session") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"proof\" of policy "
                           "\"%V\", expected \"session\" or nothing",
                           &value[2], &policy->name);
        return NGX_CONF_ERROR;
    }

    policy->proof_session = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_clock(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                       "\"clock\" of policy \"%V\" is for replaying logs "
                       "only: whoever sets it sets the time that limits go by",
                       &policy->name);

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


static ngx_uint_t
ngx_http_patient_guard_from_client(ngx_str_t *value)
{
    size_t      i;
    u_char     *p, *last;
    ngx_uint_t  n;

    static ngx_str_t  prefixes[] = {
        ngx_string("http_"),
        ngx_string("arg_"),
        ngx_string("cookie_")
    };

    last = value->data + value->len;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] != '$') {
            continue;
        }

        p = value->data + i + 1;

        if (p < last && *p == '{') {
            p++;
        }

        for (n = 0; n < sizeof(prefixes) / sizeof(prefixes[0]); n++) {
            if ((size_t) (last - p) >= prefixes[n].len
                && ngx_strncasecmp(p, prefixes[n].data, prefixes[n].len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_patient_guard_identify(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_int_t                    rc;
    ngx_patient_guard_lookup_t  *lookup;

    rc = ngx_http_patient_guard_patients(r, ctx, lcf);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_patient_guard_login(r, ctx);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ctx->reason = "no account is given";
        return ctx->policy->account_missing
               == NGX_HTTP_PATIENT_GUARD_MISSING_ALLOW
               ? NGX_DECLINED : NGX_HTTP_FORBIDDEN;
    }

    lookup = &ctx->op.lookup;

    lookup->patients = ctx->patients.named;
    lookup->npatients = ctx->patients.n;
    lookup->records = (uint32_t) ctx->patients.n;

    if (ctx->patients.n == 0) {
        rc = ngx_http_patient_guard_nobody(r, ctx, lcf);

        if (rc != NGX_OK) {
            return rc;
        }

    } else if (ctx->watched) {
        ngx_http_patient_guard_name_uri(ctx, &r->unparsed_uri);
    }

    if (ngx_http_patient_guard_keys(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_patient_guard_claims(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    /* what is held back is charged as a whole, or not at all */

    ctx->gated = (ctx->watched && lcf->gate
                  && !ctx->dry_run && !lookup->exempt);

    lookup->probe |= ctx->gated;

    return NGX_OK;
}


/* a request that names no patient */

static ngx_int_t
ngx_http_patient_guard_nobody(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_uint_t                   ignore;
    ngx_patient_guard_lookup_t  *lookup;

    if (lcf->unmatched == NGX_HTTP_PATIENT_GUARD_UNMATCHED_DENY) {
        ctx->reason = "no patient is named";
        return NGX_HTTP_FORBIDDEN;
    }

    ignore = (lcf->unmatched == NGX_HTTP_PATIENT_GUARD_UNMATCHED_IGNORE);

    if (ignore && !ctx->watched) {
        return NGX_DECLINED;
    }

    ngx_http_patient_guard_name_uri(ctx, &r->unparsed_uri);

    lookup = &ctx->op.lookup;

    lookup->patients = &ctx->uri;
    lookup->npatients = 1;
    lookup->records = 1;

    /* whom it reads its response tells */

    lookup->unnamed = ctx->watched;
    lookup->probe = ignore;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_patients(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *cv;

    if (lcf->patients == NULL) {
        return NGX_OK;
    }

    cv = lcf->patients->elts;

    for (i = 0; i < lcf->patients->nelts; i++) {

        if (ngx_http_patient_guard_value(r, &cv[i], &value) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_http_patient_guard_name(ctx, &value,
                                  lcf->nir ? NGX_HTTP_PATIENT_GUARD_NIR_ASKED
                                           : NGX_HTTP_PATIENT_GUARD_ANY,
                                  NGX_PATIENT_GUARD_PATIENTS);

        if (rc == NGX_BUSY) {
            ctx->reason = "too many patients in one request";
            return NGX_HTTP_BAD_REQUEST;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_login(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    size_t                            i;
    ngx_str_t                         login;
    ngx_http_complex_value_t         *cv;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;
    cv = policy->accounts->elts;
    login.len = 0;

    for (i = 0; i < policy->accounts->nelts && login.len == 0; i++) {

        if (ngx_http_patient_guard_value(r, &cv[i], &login) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_patient_guard_trim(&login);
    }

    return ngx_http_patient_guard_login_alias(policy, &login,
                                              &ctx->op.lookup.account,
                                              &ctx->op.lookup.previous);
}


ngx_int_t
ngx_http_patient_guard_login_alias(ngx_http_patient_guard_policy_t *policy,
    ngx_str_t *login, ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous)
{
    u_char     folded[NGX_PATIENT_GUARD_ACCOUNT_LEN];
    ngx_str_t  text;

    text = *login;

    ngx_http_patient_guard_trim(&text);

    if (text.len == 0 || text.len > NGX_PATIENT_GUARD_ACCOUNT_LEN
        || ngx_http_patient_guard_has_control(&text))
    {
        return NGX_DECLINED;
    }

    if (policy->fold) {
        ngx_strlow(folded, text.data, text.len);
        text.data = folded;
    }

    ngx_patient_guard_account_alias(&policy->keys[0], &text, account);

    if (policy->nkeys > 1) {
        ngx_patient_guard_account_alias(&policy->keys[1], &text, previous);
    }

    return NGX_OK;
}


/* of ASCII, or U+0080 to U+009F in UTF-8 */

static ngx_uint_t
ngx_http_patient_guard_has_control(ngx_str_t *login)
{
    size_t   i;
    u_char  *p;

    p = login->data;

    for (i = 0; i < login->len; i++) {

        if (p[i] < 0x20 || p[i] == 0x7f
            || (p[i] == 0xc2 && i + 1 < login->len
                && (p[i + 1] & 0xe0) == 0x80))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_patient_guard_claims(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    uint64_t                          clock;
    ngx_str_t                         value;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    if (policy->clock) {

        if (ngx_http_patient_guard_value(r, policy->clock, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        clock = ngx_http_patient_guard_time(&value);

        if (clock == 0 || clock / 1000 > 0xffffffff) {
            ctx->reason = "the clock gives no time";
            return NGX_HTTP_BAD_REQUEST;
        }

        ctx->shift = (int64_t) (clock - ngx_http_patient_guard_now(ctx));
        policy->shm->shift = ctx->shift;
    }

    if (policy->proof) {

        if (ngx_http_patient_guard_value(r, policy->proof, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx->op.lookup.proof = ngx_http_patient_guard_time(&value);
        ctx->op.lookup.session = policy->proof_session;
    }

    if (policy->exempt) {

        if (ngx_http_patient_guard_value(r, policy->exempt, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ctx->op.lookup.exempt = value.len
                                && !(value.len == 1 && value.data[0] == '0');
    }

    return NGX_OK;
}


uint64_t
ngx_http_patient_guard_now(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec + ctx->shift;
}


/* Unix seconds, with a fraction or without, as ms; 0 if it is no such time */

static uint64_t
ngx_http_patient_guard_time(ngx_str_t *value)
{
    u_char     *p, *point, *last;
    ngx_int_t   ms;
    ngx_str_t   time;

    time = *value;

    ngx_http_patient_guard_trim(&time);

    last = time.data + time.len;
    point = ngx_strlchr(time.data, last, '.');

    /* neither 64 bits here nor a double in Redis may run over */

    if ((point ? (size_t) (point - time.data) : time.len)
        > sizeof("999999999999") - 1)
    {
        return 0;
    }

    if (point) {

        /* what is behind the microseconds must be digits, and is dropped */

        for (p = point + 7; p < last; last--) {
            if (last[-1] < '0' || last[-1] > '9') {
                return 0;
            }
        }

        time.len = last - time.data;

        ms = ngx_atofp(time.data, time.len, 6);

        return ms == NGX_ERROR ? 0 : (uint64_t) ms / 1000;
    }

    ms = ngx_atoi(time.data, time.len);

    return ms == NGX_ERROR ? 0 : (uint64_t) ms * 1000;
}
