
#include "ngx_http_patient_guard_response.h"
#include "ngx_http_patient_guard_disclosure.h"
#include "ngx_http_patient_guard_gate.h"
#include "ngx_http_patient_guard_naming.h"
#include "ngx_http_patient_guard_uncoded.h"
#include "ngx_http_patient_guard_variable.h"
#include "ngx_http_patient_guard_verdict.h"
#include "ngx_patient_guard_scan.h"


struct ngx_http_patient_guard_response_s {
    ngx_http_patient_guard_disclosure_t  disclosure;
    ngx_patient_guard_scan_t            *scan;       /* NULL: none, or over */
    ngx_http_patient_guard_ctx_t        *ctx;
};


static ngx_int_t ngx_http_patient_guard_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_begin_part(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_begin_gated(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_begin_open(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_uncountable(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);
static ngx_uint_t ngx_http_patient_guard_tolerated(
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_tolerate(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_uint_t ngx_http_patient_guard_bodyless(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_output_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_patient_guard_output_main(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in);
static ngx_int_t ngx_http_patient_guard_output_part(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in);
static ngx_int_t ngx_http_patient_guard_look(ngx_http_patient_guard_ctx_t *ctx,
    ngx_patient_guard_scan_t **scan, ngx_chain_t *in);
static ngx_int_t ngx_http_patient_guard_pass(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_scan_t **scan,
    ngx_chain_t *in);
static ngx_int_t ngx_http_patient_guard_cut_off(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_found(void *data, ngx_str_t *value);
static void ngx_http_patient_guard_response_end(void *data);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;

static ngx_http_patient_guard_way_t  ngx_http_patient_guard_way;


void
ngx_http_patient_guard_response_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_patient_guard_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_patient_guard_output_filter;

    ngx_http_patient_guard_way.header = ngx_http_next_header_filter;
    ngx_http_patient_guard_way.body = ngx_http_next_body_filter;
}


static ngx_int_t
ngx_http_patient_guard_header_filter(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_http_patient_guard_get_ctx(r);

    if (ctx == NULL || !ctx->decided) {
        return ngx_http_next_header_filter(r);
    }

    if (r == r->main) {
        ngx_http_patient_guard_miss(r, ctx);
    }

    if (!ctx->watched) {
        return ngx_http_next_header_filter(r);
    }

    rc = (r == r->main) ? ngx_http_patient_guard_begin(r, ctx)
                        : ngx_http_patient_guard_begin_part(r, ctx);

    if (rc == NGX_DONE) {

        /* it is held back */

        return NGX_OK;
    }

    return rc == NGX_OK ? ngx_http_next_header_filter(r) : rc;
}


/* NGX_DONE: the response is held back, or will be replaced */

static ngx_int_t
ngx_http_patient_guard_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_patient_guard_match_t     *match;
    ngx_http_patient_guard_response_t  *response;

    if (ctx->response) {

        /* a later filter has put another one in its place */

        return NGX_OK;
    }

    response = ngx_pcalloc(r->pool,
                           sizeof(ngx_http_patient_guard_response_t));
    if (response == NULL) {
        return NGX_ERROR;
    }

    ngx_http_patient_guard_disclosure_init(ctx, &response->disclosure);

    response->ctx = ctx;
    ctx->response = response;

    if (ngx_http_patient_guard_bodyless(r)) {

        if (ctx->gated) {
            return ngx_http_patient_guard_begin_gated(r, ctx);
        }

        (void) ngx_http_patient_guard_disclose(r, ctx, &response->disclosure,
                                               1);
        ctx->watched = 0;

        return NGX_OK;
    }

    if (ngx_http_patient_guard_disclosure_said(r, ctx, &response->disclosure)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    match = ctx->location->response;

    if (match || ctx->gated) {
        ctx->reason = ngx_http_patient_guard_coded(r, match != NULL);

        if (ctx->reason) {
            return ngx_http_patient_guard_uncountable(r, ctx,
                                                      NGX_HTTP_BAD_GATEWAY);
        }
    }

    if (match) {
        response->scan = ngx_patient_guard_scan_create(match->pattern,
                                  r->pool, ngx_http_patient_guard_found, ctx);
        if (response->scan == NULL) {
            return NGX_ERROR;
        }

        r->filter_need_in_memory = 1;

        /* an identifier may lie across the end of a range */

        ngx_http_clear_accept_ranges(r);
    }

    return ctx->gated ? ngx_http_patient_guard_begin_gated(r, ctx)
                      : ngx_http_patient_guard_begin_open(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_begin_gated(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_patient_guard_response_t  *response;

    response = ctx->response;

    if (ngx_http_patient_guard_gate_close(r, ctx, &response->disclosure,
                                          &ngx_http_patient_guard_way)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->filter_need_in_memory = 1;

    /* by the time that ranges are chosen the body has passed their filter */

    ngx_http_clear_accept_ranges(r);

    /* where only a number is said it can be asked for at once */

    if (response->scan == NULL
        && ngx_http_patient_guard_gate_ask(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_patient_guard_begin_open(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                           rc;
    ngx_http_cleanup_t                 *cln;
    ngx_http_patient_guard_response_t  *response;

    response = ctx->response;

    rc = ngx_http_patient_guard_disclose(r, ctx, &response->disclosure,
                                         response->scan == NULL);

    if (rc == NGX_ERROR) {
        return ngx_http_patient_guard_uncountable(r, ctx,
                                               NGX_HTTP_SERVICE_UNAVAILABLE);
    }

    if (response->scan == NULL) {
        ctx->watched = 0;
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_patient_guard_response_end;
    cln->data = response;

    return NGX_OK;
}


/* a subrequest's, which goes into the same response */

static ngx_int_t
ngx_http_patient_guard_begin_part(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    const char  *reason;

    if (ctx->location->response == NULL || ctx->response == NULL
        || r->header_only)
    {
        return NGX_OK;
    }

    reason = ngx_http_patient_guard_coded(r, 1);

    if (reason) {
        ctx->reason = reason;
        return ngx_http_patient_guard_cut_off(r, ctx);
    }

    r->filter_need_in_memory = 1;

    return NGX_OK;
}


/* before anything of it has left: it is replaced */

static ngx_int_t
ngx_http_patient_guard_uncountable(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    ctx->response->scan = NULL;

    if (ngx_http_patient_guard_tolerated(ctx)) {
        ngx_http_patient_guard_tolerate(r, ctx);
        return NGX_OK;
    }

    if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS
        || r->subrequest_ranges)
    {
        /* what comes through a tunnel, or later, can't be waited for here */

        ngx_http_patient_guard_verdict_refuse(r, ctx, status);
        ctx->watched = 0;

        return ngx_http_filter_finalize_request(r, &ngx_patient_guard_module,
                                                status);
    }

    if (ngx_http_patient_guard_gate_close(r, ctx, &ctx->response->disclosure,
                                          &ngx_http_patient_guard_way)
        != NGX_OK
        || ngx_http_patient_guard_gate_refuse(r, ctx, status) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


/* is what can't be counted to be sent nevertheless? */

static ngx_uint_t
ngx_http_patient_guard_tolerated(ngx_http_patient_guard_ctx_t *ctx)
{
    return ctx->dry_run || ctx->op.lookup.exempt
           || (ctx->policy->redis
               && ctx->policy->outage == NGX_PATIENT_GUARD_OUTAGE_ALLOW);
}


static void
ngx_http_patient_guard_tolerate(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_patient_guard_verdict_refuse(r, ctx, 0);

    ctx->watched = 0;

    if (!ctx->dry_run) {
        ctx->decision.verdict = NGX_PATIENT_GUARD_ALLOW;
    }
}


static ngx_uint_t
ngx_http_patient_guard_bodyless(ngx_http_request_t *r)
{
    return r->header_only
           || r->method == NGX_HTTP_HEAD
           || r->headers_out.status == NGX_HTTP_NO_CONTENT
           || r->headers_out.status == NGX_HTTP_NOT_MODIFIED;
}


static ngx_int_t
ngx_http_patient_guard_output_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_http_patient_guard_get_ctx(r);

    if (ctx == NULL || !ctx->watched || ctx->response == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    return r == r->main ? ngx_http_patient_guard_output_main(r, ctx, in)
                        : ngx_http_patient_guard_output_part(r, ctx, in);
}


static ngx_int_t
ngx_http_patient_guard_output_main(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t                           rc;
    ngx_http_patient_guard_response_t  *response;

    if (ctx->held_back == NULL) {
        rc = ngx_http_patient_guard_pass(r, ctx, &ctx->response->scan, in);

        return rc == NGX_OK ? ngx_http_next_body_filter(r, in) : rc;
    }

    if (ngx_http_patient_guard_gate_asked(ctx)) {
        return ngx_http_patient_guard_gate_filter(r, ctx, in);
    }

    response = ctx->response;

    rc = ngx_http_patient_guard_look(ctx, &response->scan, in);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK
        && ngx_http_patient_guard_gate_refuse(r, ctx,
                                              rc == NGX_BUSY
                                              ? NGX_HTTP_FORBIDDEN
                                              : NGX_HTTP_BAD_GATEWAY)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_patient_guard_gate_filter(r, ctx, in);

    if (rc == NGX_ERROR || response->scan
        || ngx_http_patient_guard_gate_asked(ctx))
    {
        return rc;
    }

    return ngx_http_patient_guard_gate_ask(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_output_part(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t                  rc;
    ngx_patient_guard_scan_t  *scan;

    if (ctx->location->response == NULL || r->header_only) {
        return ngx_http_next_body_filter(r, in);
    }

    scan = ngx_http_get_module_ctx(r, ngx_patient_guard_module);

    if (scan == NULL && in) {
        scan = ngx_patient_guard_scan_create(ctx->location->response->pattern,
                                  r->pool, ngx_http_patient_guard_found, ctx);
        if (scan == NULL) {
            return NGX_ERROR;
        }
    }

    rc = ngx_http_patient_guard_pass(r, ctx, &scan, in);

    ngx_http_set_ctx(r, scan, ngx_patient_guard_module);

    return rc == NGX_OK ? ngx_http_next_body_filter(r, in) : rc;
}


/* *scan is NULL when it has come to its end, or has failed */

static ngx_int_t
ngx_http_patient_guard_look(ngx_http_patient_guard_ctx_t *ctx,
    ngx_patient_guard_scan_t **scan, ngx_chain_t *in)
{
    ngx_int_t   rc;
    ngx_buf_t  *b;

    for ( /* void */ ; in && *scan; in = in->next) {

        b = in->buf;
        rc = NGX_OK;

        if (ngx_buf_in_memory(b)) {
            rc = ngx_patient_guard_scan_feed(*scan, b->pos, b->last);
        }

        /* of a subrequest none is the last_buf */

        if (rc == NGX_OK && (b->last_buf || b->last_in_chain)) {
            rc = ngx_patient_guard_scan_end(*scan);
            *scan = NULL;
        }

        if (rc != NGX_OK) {
            *scan = NULL;

            switch (rc) {

            case NGX_BUSY:
                ctx->reason = "too many patients in one response";
                return NGX_BUSY;

            case NGX_DECLINED:
                ctx->reason = "the response takes too long to be looked into";
                return NGX_DECLINED;

            default:
                ctx->reason = "the response can't be counted, for want of "
                              "memory";
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* counts what is leaving: NGX_OK if it may */

static ngx_int_t
ngx_http_patient_guard_pass(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_scan_t **scan,
    ngx_chain_t *in)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_look(ctx, scan, in);

    if (rc != NGX_OK) {
        return ngx_http_patient_guard_cut_off(r, ctx);
    }

    rc = ngx_http_patient_guard_disclose(r, ctx, &ctx->response->disclosure,
                                         0);

    if (rc == NGX_DECLINED) {

        /* the part of a response whose first part has been released */

        return NGX_ERROR;
    }

    return rc == NGX_OK ? NGX_OK : ngx_http_patient_guard_cut_off(r, ctx);
}


static ngx_int_t
ngx_http_patient_guard_cut_off(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    if (ngx_http_patient_guard_tolerated(ctx)) {
        ngx_http_patient_guard_tolerate(r, ctx);
        return NGX_OK;
    }

    ngx_http_patient_guard_verdict_refuse(r, ctx, 0);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_patient_guard_found(void *data, ngx_str_t *value)
{
    ngx_http_patient_guard_ctx_t  *ctx = data;

    ngx_int_t                            rc;
    ngx_uint_t                           kind;
    ngx_http_patient_guard_disclosure_t *d;

    kind = ctx->location->response->nir ? NGX_HTTP_PATIENT_GUARD_NIR
                                        : NGX_HTTP_PATIENT_GUARD_ANY;

    rc = ngx_http_patient_guard_name(ctx, value, kind,
                                     NGX_PATIENT_GUARD_DISCLOSED);

    if (rc != NGX_BUSY || ctx->held_back) {
        return rc;
    }

    /* who comes again after so many others is counted again */

    d = &ctx->response->disclosure;

    rc = ngx_http_patient_guard_disclose(ctx->request, ctx, d, 0);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_patient_guard_distinct_clear(&ctx->patients);
    d->charged = 0;

    return ngx_http_patient_guard_name(ctx, value, kind,
                                       NGX_PATIENT_GUARD_DISCLOSED);
}


/* the request ends; its response may have had several parts */

static void
ngx_http_patient_guard_response_end(void *data)
{
    ngx_http_patient_guard_response_t  *response = data;

    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = response->ctx;

    if (!ctx->watched || ctx->held_back) {
        return;
    }

    /* cut short: what the last bytes could have become they are */

    if (response->scan) {
        (void) ngx_patient_guard_scan_end(response->scan);
        response->scan = NULL;
    }

    (void) ngx_http_patient_guard_disclose(ctx->request, ctx,
                                           &response->disclosure, 1);
}
