
#include "ngx_http_patient_guard_answer.h"
#include "ngx_http_patient_guard_challenge.h"
#include "ngx_http_patient_guard_send.h"


#define NGX_HTTP_PATIENT_GUARD_TYPES                                         \
    "https://iana.org/assignments/http-problem-types#"


/* RFC 9457; draft-ietf-httpapi-ratelimit-headers-11, section on problems */

typedef struct {
    ngx_str_t  type;
    ngx_str_t  title;
} ngx_http_patient_guard_problem_t;


static ngx_int_t ngx_http_patient_guard_answer_challenge(
    ngx_http_request_t *r, ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_clear_headers(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_page(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_challenge_t *challenge);
static ngx_int_t ngx_http_patient_guard_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);
static ngx_uint_t ngx_http_patient_guard_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);
static ngx_int_t ngx_http_patient_guard_answer_problem(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);
static ngx_http_patient_guard_problem_t *ngx_http_patient_guard_problem(
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);


static ngx_http_patient_guard_problem_t  ngx_http_patient_guard_quota = {
    ngx_string(NGX_HTTP_PATIENT_GUARD_TYPES "quota-exceeded"),
    ngx_string("Request cannot be satisfied as assigned quota has been "
               "exceeded")
};


static ngx_http_patient_guard_problem_t  ngx_http_patient_guard_abnormal = {
    ngx_string(NGX_HTTP_PATIENT_GUARD_TYPES "abnormal-usage-detected"),
    ngx_string("Request not satisfied due to detection of abnormal request "
               "pattern")
};


static ngx_http_patient_guard_problem_t  ngx_http_patient_guard_capacity = {
    ngx_string(NGX_HTTP_PATIENT_GUARD_TYPES "temporary-reduced-capacity"),
    ngx_string("Request cannot be satisfied due to temporary server capacity "
               "constraints")
};


/* where the status says it all */

static struct {
    ngx_uint_t                        status;
    ngx_http_patient_guard_problem_t  problem;
} ngx_http_patient_guard_plain[] = {
    { NGX_HTTP_BAD_REQUEST,
      { ngx_string("about:blank"), ngx_string("Bad Request") } },
    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
      { ngx_string("about:blank"), ngx_string("Unsupported Media Type") } },
    { NGX_HTTP_BAD_GATEWAY,
      { ngx_string("about:blank"), ngx_string("Bad Gateway") } },
    { NGX_HTTP_FORBIDDEN,
      { ngx_string("about:blank"), ngx_string("Forbidden") } }
};


ngx_int_t
ngx_http_patient_guard_answer(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_str_t  value;

    /* no "100 Continue" for the body of a refused request, as in nginx */

    r->expect_tested = 1;

    ngx_http_patient_guard_clear_headers(r);

    ngx_str_set(&value, "no-store");

    if (ngx_http_patient_guard_header(r, "Cache-Control", &value) == NULL) {
        return ngx_http_patient_guard_failed(r);
    }

    if (ctx->decision.verdict == NGX_PATIENT_GUARD_VERDICT_CHALLENGE) {
        return ngx_http_patient_guard_answer_challenge(r, ctx);
    }

    if (ctx->decision.verdict == NGX_PATIENT_GUARD_VERDICT_THROTTLE) {
        ctx->status = NGX_HTTP_TOO_MANY_REQUESTS;

    } else if (ctx->status == 0) {
        ctx->status = NGX_HTTP_FORBIDDEN;
    }

    if (ctx->status == NGX_HTTP_TOO_MANY_REQUESTS
        || ctx->status == NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (value.data == NULL) {
            return ngx_http_patient_guard_failed(r);
        }

        value.len = ngx_sprintf(value.data, "%ui",
                           ngx_patient_guard_seconds(ctx->decision.wait))
                    - value.data;

        if (ngx_http_patient_guard_header(r, "Retry-After", &value) == NULL) {
            return ngx_http_patient_guard_failed(r);
        }
    }

    return ngx_http_patient_guard_refuse(r, ctx, ctx->status);
}


ngx_int_t
ngx_http_patient_guard_failed(ngx_http_request_t *r)
{
    r->error_page = 1;

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* what an X-Accel-Redirect has brought is the record's, which is not sent */

static void
ngx_http_patient_guard_clear_headers(ngx_http_request_t *r)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    static ngx_str_t  names[] = {
        ngx_string("Cache-Control"),
        ngx_string("Content-Disposition"),
        ngx_string("Content-Encoding"),
        ngx_string("Content-Language"),
        ngx_string("Expires")
    };

    r->headers_out.content_type.len = 0;

    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);

    for (part = &r->headers_out.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            for (n = 0; n < sizeof(names) / sizeof(names[0]); n++) {

                if (header[i].key.len == names[n].len
                    && ngx_strncasecmp(header[i].key.data, names[n].data,
                                       names[n].len)
                       == 0)
                {
                    header[i].hash = 0;
                }
            }
        }
    }
}


static ngx_int_t
ngx_http_patient_guard_answer_challenge(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_str_t                            location;
    ngx_http_patient_guard_challenge_t  *challenge;

    challenge = ngx_http_patient_guard_challenge_choose(r, ctx->policy);

    if (challenge == NULL) {
        return ngx_http_patient_guard_refuse(r, ctx, NGX_HTTP_FORBIDDEN);
    }

    switch (challenge->kind) {

    case NGX_HTTP_PATIENT_GUARD_PAGE:
        return ngx_http_patient_guard_page(r, ctx, challenge);

    case NGX_HTTP_PATIENT_GUARD_REDIRECT:

        if (ngx_http_patient_guard_challenge_location(r, ctx, challenge,
                                                      &location)
            != NGX_OK)
        {
            return ngx_http_patient_guard_failed(r);
        }

        r->headers_out.location =
                     ngx_http_patient_guard_header(r, "Location", &location);

        if (r->headers_out.location == NULL) {
            return ngx_http_patient_guard_failed(r);
        }

        break;

    case NGX_HTTP_PATIENT_GUARD_STEP_UP:

        r->headers_out.www_authenticate =
                      ngx_http_patient_guard_header(r, "WWW-Authenticate",
                                                    &challenge->authenticate);

        if (r->headers_out.www_authenticate == NULL) {
            return ngx_http_patient_guard_failed(r);
        }

        break;

    case NGX_HTTP_PATIENT_GUARD_STATUS:
        break;
    }

    return ngx_http_patient_guard_refuse(r, ctx, challenge->status);
}


/* as error_page does, and with the status of a refusal */

static ngx_int_t
ngx_http_patient_guard_page(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_challenge_t *challenge)
{
    ngx_str_t                  uri, args;
    ngx_http_core_loc_conf_t  *clcf;

    /* who waits for "100 Continue" would never send what a page may read */

    if (r->headers_in.expect
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return ngx_http_patient_guard_refuse(r, ctx, challenge->status);
    }

    if (ngx_http_complex_value(r, &challenge->target, &uri) != NGX_OK) {
        return ngx_http_patient_guard_failed(r);
    }

    r->err_status = challenge->status;

    /* if the page fails, an error_page of it might lead to the record */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!clcf->recursive_error_pages) {
        r->error_page = 1;
    }

    if (uri.data[0] == '@') {
        ngx_http_finalize_request(r, ngx_http_named_location(r, &uri));
        return NGX_DONE;
    }

    ngx_http_split_args(r, &uri, &args);

    if (r->method != NGX_HTTP_HEAD) {
        r->method = NGX_HTTP_GET;
        r->method_name = ngx_http_core_get_method;
    }

    ngx_http_finalize_request(r, ngx_http_internal_redirect(r, &uri, &args));

    return NGX_DONE;
}


static ngx_int_t
ngx_http_patient_guard_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    ctx->status = status;

    if (status == NGX_HTTP_CLOSE
        || ngx_http_patient_guard_has_error_page(r, status))
    {
        return status;
    }

    ngx_http_finalize_request(r,
                              ngx_http_patient_guard_answer_problem(r, ctx,
                                                                    status));

    return NGX_DONE;
}


static ngx_uint_t
ngx_http_patient_guard_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL || r->error_page || r->uri_changes == 0) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if ((ngx_uint_t) page[i].status == status) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_patient_guard_answer_problem(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    u_char                            *p;
    ngx_buf_t                         *b;
    ngx_str_t                         *limit;
    ngx_http_patient_guard_problem_t  *problem;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    problem = ngx_http_patient_guard_problem(ctx, status);

    limit = ctx->decision.limit >= 0
            ? &ctx->op.lookup.limits[ctx->decision.limit].name : NULL;

    b = ngx_create_temp_buf(r->pool,
                            sizeof("{\"type\":\"\",\"title\":\"\","
                                   "\"status\":000,"
                                   "\"violated-policies\":[\"\"]}")
                            + problem->type.len + problem->title.len
                            + NGX_INT_T_LEN + (limit ? limit->len : 0));
    if (b == NULL) {
        return ngx_http_patient_guard_failed(r);
    }

    /* a limit's name has no character that JSON would want escaped */

    p = ngx_sprintf(b->last, "{\"type\":\"%V\",\"title\":\"%V\","
                             "\"status\":%ui",
                    &problem->type, &problem->title, status);

    if (limit) {
        p = ngx_sprintf(p, ",\"violated-policies\":[\"%V\"]", limit);
    }

    *p++ = '}';

    b->last = p;

    return ngx_http_patient_guard_send(r, status, "application/problem+json",
                                       b);
}


static ngx_http_patient_guard_problem_t *
ngx_http_patient_guard_problem(ngx_http_patient_guard_ctx_t *ctx,
    ngx_uint_t status)
{
    ngx_uint_t  i;

    if (ctx->op.tally.outage || status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return &ngx_http_patient_guard_capacity;
    }

    if (ctx->decision.verdict == NGX_PATIENT_GUARD_VERDICT_THROTTLE) {
        return &ngx_http_patient_guard_quota;
    }

    if (ctx->decision.limit >= 0
        || ctx->decision.verdict == NGX_PATIENT_GUARD_VERDICT_CHALLENGE)
    {
        return &ngx_http_patient_guard_abnormal;
    }

    /* the last one is for all others */

    for (i = 0;
         i < sizeof(ngx_http_patient_guard_plain)
             / sizeof(ngx_http_patient_guard_plain[0]) - 1;
         i++)
    {
        if (ngx_http_patient_guard_plain[i].status == status) {
            break;
        }
    }

    return &ngx_http_patient_guard_plain[i].problem;
}
