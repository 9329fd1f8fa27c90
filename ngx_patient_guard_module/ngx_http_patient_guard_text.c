
#include "ngx_http_patient_guard_text.h"
#include "ngx_http_patient_guard_send.h"


#define NGX_HTTP_PATIENT_GUARD_TEXT_SIZE  4096


static void ngx_http_patient_guard_text_grow(
    ngx_http_patient_guard_text_t *text, size_t size);


void
ngx_http_patient_guard_text_add(ngx_http_patient_guard_text_t *text,
    const char *format, ...)
{
    u_char   *p;
    va_list   args;

    if (text->start == NULL) {
        ngx_http_patient_guard_text_grow(text,
                                         NGX_HTTP_PATIENT_GUARD_TEXT_SIZE);
    }

    while (!text->failed) {

        va_start(args, format);
        p = ngx_vslprintf(text->last, text->end, format, args);
        va_end(args);

        if (p < text->end) {
            text->last = p;
            return;
        }

        ngx_http_patient_guard_text_grow(text, 2 * (text->end - text->start));
    }
}


static void
ngx_http_patient_guard_text_grow(ngx_http_patient_guard_text_t *text,
    size_t size)
{
    u_char  *p;
    size_t   len;

    if (text->failed) {
        return;
    }

    p = ngx_pnalloc(text->pool, size);

    if (p == NULL) {
        text->failed = 1;
        return;
    }

    len = text->last - text->start;

    if (len) {
        ngx_memcpy(p, text->start, len);
        (void) ngx_pfree(text->pool, text->start);
    }

    text->start = p;
    text->last = p + len;
    text->end = p + size;
}


void
ngx_http_patient_guard_text_string(ngx_http_patient_guard_text_t *text,
    ngx_str_t *string)
{
    size_t     more;
    ngx_str_t  escaped;

    more = ngx_escape_json(NULL, string->data, string->len);

    escaped.len = string->len + more;
    escaped.data = ngx_pnalloc(text->pool, escaped.len + 1);

    if (escaped.data == NULL) {
        text->failed = 1;
        return;
    }

    (void) ngx_escape_json(escaped.data, string->data, string->len);

    ngx_http_patient_guard_text_add(text, "\"%V\"", &escaped);
}


void
ngx_http_patient_guard_text_time(ngx_http_patient_guard_text_t *text,
    uint64_t ms)
{
    if (ms == 0) {
        ngx_http_patient_guard_text_add(text, "null");
        return;
    }

    ngx_http_patient_guard_text_add(text, "%uL.%03uL", ms / 1000, ms % 1000);
}


void
ngx_http_patient_guard_text_account(ngx_http_patient_guard_text_t *text,
    ngx_patient_guard_account_t *account)
{
    u_char  hex[NGX_PATIENT_GUARD_ACCOUNT_HEX];

    ngx_patient_guard_account_hex(hex, account);

    ngx_http_patient_guard_text_add(text, "\"%*s\"", sizeof(hex), hex);
}


ngx_int_t
ngx_http_patient_guard_text_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_http_patient_guard_text_t *text)
{
    ngx_buf_t  *b;
    ngx_str_t   value;

    b = ngx_calloc_buf(r->pool);

    if (b == NULL || text->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = text->start;
    b->last = text->last;
    b->memory = 1;

    ngx_str_set(&value, "no-store");

    if (ngx_http_patient_guard_header(r, "Cache-Control", &value) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&value, "nosniff");

    if (ngx_http_patient_guard_header(r, "X-Content-Type-Options", &value)
        == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_patient_guard_send(r, status, type, b);
}
