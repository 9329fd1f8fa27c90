
#include "ngx_http_patient_guard_naming.h"
#include "ngx_patient_guard_nir.h"


static u_char *ngx_http_patient_guard_comma(u_char *p, u_char *last,
    size_t *len);


/*
 * An argument comes as it was sent, so commas may be encoded: to split too
 * often counts one patient too many, never too few.
 */

ngx_int_t
ngx_http_patient_guard_name(ngx_http_patient_guard_ctx_t *ctx,
    ngx_str_t *value, ngx_http_patient_guard_kind_e kind, ngx_uint_t most)
{
    u_char                           *p, *last, *next;
    u_char                            nir[NGX_PATIENT_GUARD_NIR];
    ngx_int_t                         rc;
    ngx_str_t                         identifier;
    ngx_patient_guard_named_t         named;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    last = value->data + value->len;

    for (p = value->data; p < last; p = next) {

        identifier.data = p;

        next = ngx_http_patient_guard_comma(p, last, &identifier.len);

        ngx_http_patient_guard_trim(&identifier);

        if (identifier.len == 0) {
            continue;
        }

        if (kind != NGX_HTTP_PATIENT_GUARD_ANY) {

            if (ngx_patient_guard_nir(&identifier,
                                     kind == NGX_HTTP_PATIENT_GUARD_NIR_ASKED,
                                     nir)
                != NGX_OK)
            {
                ctx->malformed |= (kind == NGX_HTTP_PATIENT_GUARD_NIR_ASKED);
                continue;
            }

            identifier.data = nir;
            identifier.len = NGX_PATIENT_GUARD_NIR;
        }

        named.current = ngx_patient_guard_patient_alias(&policy->keys[0],
                                                        &identifier);
        named.known = 0;
        named.previous = policy->nkeys == 1 ? 0
                         : ngx_patient_guard_patient_alias(&policy->keys[1],
                                                           &identifier);

        rc = ngx_patient_guard_distinct_add(&ctx->patients, ctx->op.pool,
                                            &named, most);

        if (rc == NGX_BUSY || rc == NGX_ERROR) {
            return rc;
        }
    }

    return NGX_OK;
}


/* where the next one begins, and how long this one is */

static u_char *
ngx_http_patient_guard_comma(u_char *p, u_char *last, size_t *len)
{
    u_char  *start;

    for (start = p; p < last; p++) {

        if (*p == ',') {
            *len = p - start;
            return p + 1;
        }

        if (*p == '%' && last - p > 2 && p[1] == '2' && (p[2] | 0x20) == 'c')
        {
            *len = p - start;
            return p + 3;
        }
    }

    *len = last - start;

    return last;
}


void
ngx_http_patient_guard_name_uri(ngx_http_patient_guard_ctx_t *ctx,
    ngx_str_t *uri)
{
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    ctx->uri.current = ngx_patient_guard_uri_alias(&policy->keys[0], uri);
    ctx->uri.previous = policy->nkeys == 1 ? 0
                        : ngx_patient_guard_uri_alias(&policy->keys[1], uri);
}


void
ngx_http_patient_guard_name_record(ngx_http_patient_guard_ctx_t *ctx,
    uint64_t number, ngx_patient_guard_named_t *named)
{
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    named->current = ngx_patient_guard_record_alias(&policy->keys[0],
                                                    ctx->uri.current, number);
    named->known = 0;
    named->previous = policy->nkeys == 1 ? 0
                      : ngx_patient_guard_record_alias(&policy->keys[1],
                                                  ctx->uri.previous, number);
}


void
ngx_http_patient_guard_trim(ngx_str_t *value)
{
    while (value->len && (value->data[0] == ' ' || value->data[0] == '\t')) {
        value->data++;
        value->len--;
    }

    while (value->len && (value->data[value->len - 1] == ' '
                          || value->data[value->len - 1] == '\t'))
    {
        value->len--;
    }
}
