
#include "ngx_http_patient_guard_body.h"
#include "ngx_http_patient_guard_naming.h"
#include "ngx_patient_guard_scan.h"
#include "ngx_patient_guard_spelling.h"


#define NGX_HTTP_PATIENT_GUARD_BODY_PIECE  4096


struct ngx_http_patient_guard_body_s {
    ngx_patient_guard_scan_t            *scan;
    ngx_patient_guard_spelling_t         spelling;
    ngx_http_patient_guard_ctx_t        *ctx;
    ngx_int_t                            rc;         /* of what was seen */
};


static ngx_int_t ngx_http_patient_guard_body_coding(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_uint_t ngx_http_patient_guard_body_is_form(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_body_again(ngx_http_request_t *r,
    ngx_http_patient_guard_body_t *body);
static ngx_int_t ngx_http_patient_guard_body_file(
    ngx_http_patient_guard_body_t *body, ngx_buf_t *b);
static ngx_int_t ngx_http_patient_guard_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_patient_guard_body_look(
    ngx_http_patient_guard_body_t *body, u_char *p, u_char *last);
static ngx_int_t ngx_http_patient_guard_body_found(void *data,
    ngx_str_t *value);


static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


ngx_int_t
ngx_http_patient_guard_body_read(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_client_body_handler_pt done)
{
    ngx_int_t                        rc;
    ngx_http_patient_guard_body_t   *body;
    ngx_http_patient_guard_match_t  *match;

    rc = ngx_http_patient_guard_body_coding(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    match = ctx->location->request;

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_body_t));
    if (body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->scan = ngx_patient_guard_scan_create(match->pattern, r->pool,
                                   ngx_http_patient_guard_body_found, body);
    if (body->scan == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_patient_guard_scan_strict(body->scan);

    ngx_patient_guard_spelling_init(&body->spelling,
                                    ngx_http_patient_guard_body_is_form(r)
                                    ? NGX_PATIENT_GUARD_FORM
                                    : NGX_PATIENT_GUARD_JSON);
    body->ctx = ctx;
    ctx->body = body;

    /* it has been read already, before an internal redirect say */

    if (r->request_body
        && ngx_http_patient_guard_body_again(r, body) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_read_client_request_body(r, done);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_OK;
}


/* what can't be read can't be counted */

static ngx_int_t
ngx_http_patient_guard_body_coding(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ngx_http_patient_guard_is(&header[i], "content-encoding")
                && !ngx_http_patient_guard_says(&header[i], "identity"))
            {
                ctx->reason = "the body is compressed";
                return NGX_HTTP_UNSUPPORTED_MEDIA_TYPE;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_patient_guard_body_is_form(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    static ngx_str_t  form = ngx_string("application/x-www-form-urlencoded");

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len >= form.len
           && ngx_strncasecmp(type->data, form.data, form.len) == 0;
}


static ngx_int_t
ngx_http_patient_guard_body_again(ngx_http_request_t *r,
    ngx_http_patient_guard_body_t *body)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            ngx_http_patient_guard_body_look(body, b->pos, b->last);

        } else if (b->in_file
                   && ngx_http_patient_guard_body_file(body, b) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_body_file(ngx_http_patient_guard_body_t *body,
    ngx_buf_t *b)
{
    off_t    offset;
    size_t   size;
    u_char   piece[NGX_HTTP_PATIENT_GUARD_BODY_PIECE];
    ssize_t  n;

    for (offset = b->file_pos; offset < b->file_last; offset += n) {

        size = (size_t) ngx_min(b->file_last - offset,
                                NGX_HTTP_PATIENT_GUARD_BODY_PIECE);

        n = ngx_read_file(b->file, piece, size, offset);

        if (n <= 0) {
            return NGX_ERROR;
        }

        ngx_http_patient_guard_body_look(body, piece, piece + n);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_body_verdict(ngx_http_patient_guard_ctx_t *ctx)
{
    u_char                          held[NGX_PATIENT_GUARD_SPELLING_HELD];
    u_char                         *last;
    ngx_http_patient_guard_body_t  *body;

    body = ctx->body;
    ctx->body = NULL;

    last = ngx_patient_guard_spelling_end(&body->spelling, held);

    if (body->rc == NGX_OK) {
        body->rc = ngx_patient_guard_scan_feed(body->scan, held, last);
    }

    if (body->rc == NGX_OK) {
        body->rc = ngx_patient_guard_scan_end(body->scan);
    }

    switch (body->rc) {

    case NGX_OK:
        return NGX_OK;

    case NGX_BUSY:
        ctx->reason = "too many patients in one request";
        return NGX_HTTP_BAD_REQUEST;

    case NGX_ABORT:
        ctx->reason = "the body is no text";
        return NGX_HTTP_BAD_REQUEST;

    case NGX_DECLINED:
        ctx->reason = "the body takes too long to be looked into";
        return NGX_HTTP_BAD_REQUEST;

    default:
        return NGX_ERROR;
    }
}


void
ngx_http_patient_guard_body_init(void)
{
    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_patient_guard_body_filter;
}


static ngx_int_t
ngx_http_patient_guard_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                     *b;
    ngx_chain_t                   *cl;
    ngx_http_patient_guard_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_patient_guard_module);

    if (r == r->main && ctx && ctx->body) {

        for (cl = in; cl; cl = cl->next) {
            b = cl->buf;

            if (ngx_buf_in_memory(b)) {
                ngx_http_patient_guard_body_look(ctx->body, b->pos, b->last);
            }
        }
    }

    return ngx_http_next_request_body_filter(r, in);
}


/* a NUL is in no form and no JSON, but in every JSON that is UTF-16 */

static void
ngx_http_patient_guard_body_look(ngx_http_patient_guard_body_t *body,
    u_char *p, u_char *last)
{
    u_char  *next, *end;
    u_char   plain[NGX_HTTP_PATIENT_GUARD_BODY_PIECE
                   + NGX_PATIENT_GUARD_SPELLING_HELD];

    for ( /* void */ ; p < last && body->rc == NGX_OK; p = next) {

        next = ngx_min(last, p + NGX_HTTP_PATIENT_GUARD_BODY_PIECE);

        end = ngx_patient_guard_spelling_decode(&body->spelling, p, next,
                                                plain);

        body->rc = ngx_strlchr(plain, end, '\0') ? NGX_ABORT
                   : ngx_patient_guard_scan_feed(body->scan, plain, end);
    }
}


static ngx_int_t
ngx_http_patient_guard_body_found(void *data, ngx_str_t *value)
{
    ngx_http_patient_guard_body_t  *body = data;

    return ngx_http_patient_guard_name(body->ctx, value,
                                       body->ctx->location->request->nir
                                       ? NGX_HTTP_PATIENT_GUARD_NIR_ASKED
                                       : NGX_HTTP_PATIENT_GUARD_ANY,
                                       NGX_PATIENT_GUARD_PATIENTS);
}
