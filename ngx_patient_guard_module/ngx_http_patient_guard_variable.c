
#include "ngx_http_patient_guard_variable.h"


static ngx_int_t ngx_http_patient_guard_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_patient_guard_verdict(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_limit_decided(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_counted(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_allowance(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_totals(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_retry_after(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_account_alias(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_patient_alias(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_patient_aliases(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_policy_name(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_source(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_dry_run(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_print_number(ngx_pool_t *pool,
    uint64_t number, ngx_str_t *value);


/* NGX_DECLINED: there is no such value for this request */

static struct {
    ngx_str_t    name;
    ngx_int_t  (*get)(ngx_pool_t *pool, ngx_http_patient_guard_ctx_t *ctx,
                     ngx_str_t *value);
} ngx_http_patient_guard_variables[] = {
    { ngx_string("patient_guard_verdict"), ngx_http_patient_guard_verdict },
    { ngx_string("patient_guard_limit"),
      ngx_http_patient_guard_limit_decided },
    { ngx_string("patient_guard_count"), ngx_http_patient_guard_counted },
    { ngx_string("patient_guard_allowance"),
      ngx_http_patient_guard_allowance },
    { ngx_string("patient_guard_totals"), ngx_http_patient_guard_totals },
    { ngx_string("patient_guard_retry_after"),
      ngx_http_patient_guard_retry_after },
    { ngx_string("patient_guard_account"),
      ngx_http_patient_guard_account_alias },
    { ngx_string("patient_guard_patient"),
      ngx_http_patient_guard_patient_alias },
    { ngx_string("patient_guard_patients"),
      ngx_http_patient_guard_patient_aliases },
    { ngx_string("patient_guard_policy"),
      ngx_http_patient_guard_policy_name },
    { ngx_string("patient_guard_source"), ngx_http_patient_guard_source },
    { ngx_string("patient_guard_dry_run"), ngx_http_patient_guard_dry_run }
};


ngx_int_t
ngx_http_patient_guard_add_variables(ngx_conf_t *cf)
{
    ngx_uint_t            i, n;
    ngx_http_variable_t  *var;

    n = sizeof(ngx_http_patient_guard_variables)
        / sizeof(ngx_http_patient_guard_variables[0]);

    for (i = 0; i < n; i++) {

        var = ngx_http_add_variable(cf,
                                    &ngx_http_patient_guard_variables[i].name,
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_patient_guard_variable;
        var->data = i;
    }

    return NGX_OK;
}


void
ngx_http_patient_guard_ctx_cleanup(void *data)
{
    /* the request's own cleanup has let go of all that needs it */
}


ngx_http_patient_guard_ctx_t *
ngx_http_patient_guard_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_patient_guard_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_patient_guard_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_patient_guard_ctx_cleanup) {
            ngx_http_set_ctx(r, cln->data, ngx_patient_guard_module);
            return cln->data;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_patient_guard_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                      rc;
    ngx_str_t                      value;
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_http_patient_guard_get_ctx(r);

    if (ctx == NULL || !ctx->decided) {
        v->not_found = 1;
        return NGX_OK;
    }

    rc = ngx_http_patient_guard_variables[data].get(r->pool, ctx, &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = value.data;
    v->len = value.len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_verdict(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    ngx_patient_guard_verdict_e  verdict;

    verdict = ctx->decision.verdict;

    if (verdict == NGX_PATIENT_GUARD_ALLOW && ctx->delayed) {
        verdict = NGX_PATIENT_GUARD_VERDICT_THROTTLE;
    }

    *value = *ngx_patient_guard_verdict_name(verdict);

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_limit_decided(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->decision.limit < 0) {
        return NGX_DECLINED;
    }

    *value = ctx->op.lookup.limits[ctx->decision.limit].name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_counted(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->decision.limit < 0) {
        return NGX_DECLINED;
    }

    return ngx_http_patient_guard_print_number(pool,
                           ctx->op.tally.rooms[ctx->decision.limit].total,
                           value);
}


static ngx_int_t
ngx_http_patient_guard_allowance(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->decision.limit < 0) {
        return NGX_DECLINED;
    }

    return ngx_http_patient_guard_print_number(pool,
                           ctx->op.lookup.limits[ctx->decision.limit].count,
                           value);
}


/* name=total of each limit */

static ngx_int_t
ngx_http_patient_guard_totals(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    size_t                       size;
    u_char                      *p;
    ngx_uint_t                   i;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;

    if (lookup->nlimits == 0
        || ctx->op.tally.source == NGX_PATIENT_GUARD_FROM_NONE)
    {
        return NGX_DECLINED;
    }

    size = 0;

    for (i = 0; i < lookup->nlimits; i++) {
        size += lookup->limits[i].name.len + NGX_INT32_LEN + 2;
    }

    value->data = ngx_pnalloc(pool, size);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    p = value->data;

    for (i = 0; i < lookup->nlimits; i++) {
        p = ngx_sprintf(p, "%s%V=%uD", i ? "," : "",
                        &lookup->limits[i].name,
                        ctx->op.tally.rooms[i].total);
    }

    value->len = p - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_retry_after(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->decision.wait == 0) {
        return NGX_DECLINED;
    }

    return ngx_http_patient_guard_print_number(pool,
                              ngx_patient_guard_seconds(ctx->decision.wait),
                              value);
}


static ngx_int_t
ngx_http_patient_guard_account_alias(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    ngx_patient_guard_account_t  *account;

    account = &ctx->op.lookup.account;

    if (account->word[0] == 0 && account->word[1] == 0) {
        return NGX_DECLINED;
    }

    value->len = NGX_PATIENT_GUARD_ACCOUNT_HEX;
    value->data = ngx_pnalloc(pool, value->len);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    ngx_patient_guard_account_hex(value->data, account);

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_patient_alias(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    ngx_patient_guard_patient_t  patient;

    patient = ctx->patients.n ? ctx->patients.named[0].current
                              : ctx->uri.current;

    if (patient == 0) {
        return NGX_DECLINED;
    }

    value->len = NGX_PATIENT_GUARD_PATIENT_HEX;
    value->data = ngx_pnalloc(pool, value->len);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    ngx_patient_guard_patient_hex(value->data, patient);

    return NGX_OK;
}


/* of all that the request named and, as far as it went, the response */

static ngx_int_t
ngx_http_patient_guard_patient_aliases(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    u_char      *p;
    ngx_uint_t   i;

    if (ctx->patients.n == 0) {
        return ngx_http_patient_guard_patient_alias(pool, ctx, value);
    }

    p = ngx_pnalloc(pool,
                    ctx->patients.n * (NGX_PATIENT_GUARD_PATIENT_HEX + 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;

    for (i = 0; i < ctx->patients.n; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_patient_guard_patient_hex(p, ctx->patients.named[i].current);
    }

    value->len = p - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_policy_name(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    *value = ctx->policy->name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_source(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    *value = *ngx_patient_guard_source_name(ctx->op.tally.source);

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_dry_run(ngx_pool_t *pool,
    ngx_http_patient_guard_ctx_t *ctx, ngx_str_t *value)
{
    if (ctx->dry_run) {
        ngx_str_set(value, "1");

    } else {
        ngx_str_set(value, "0");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_print_number(ngx_pool_t *pool, uint64_t number,
    ngx_str_t *value)
{
    value->data = ngx_pnalloc(pool, NGX_INT64_LEN);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "%uL", number) - value->data;

    return NGX_OK;
}
