
#include "ngx_http_patient_guard_uncoded.h"


static ngx_int_t ngx_http_patient_guard_identity_only(ngx_http_request_t *r,
    ngx_table_elt_t *header);
static ngx_int_t ngx_http_patient_guard_drop_header(ngx_http_request_t *r,
    ngx_list_part_t *before, ngx_list_part_t *part, ngx_uint_t i);


ngx_int_t
ngx_http_patient_guard_uncoded(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part, *before;
    ngx_table_elt_t  *header;

    before = NULL;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; /* void */ ) {

            if (ngx_http_patient_guard_is(&header[i], "range")
                || ngx_http_patient_guard_is(&header[i], "if-range"))
            {
                if (ngx_http_patient_guard_drop_header(r, before, part, i)
                    != NGX_OK)
                {
                    return NGX_ERROR;
                }

                header = part->elts;
                continue;
            }

            if (ngx_http_patient_guard_is(&header[i], "accept-encoding")
                && ngx_http_patient_guard_identity_only(r, &header[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            i++;
        }

        if (part->nelts) {
            before = part;
        }
    }

    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;

    return NGX_OK;
}


/* for whoever reads the list; gzip looks at the pointer */

static ngx_int_t
ngx_http_patient_guard_identity_only(ngx_http_request_t *r,
    ngx_table_elt_t *header)
{
#if (NGX_HTTP_GZIP)

    ngx_table_elt_t  *copy;

    if (r->headers_in.accept_encoding == header) {

        copy = ngx_palloc(r->pool, sizeof(ngx_table_elt_t));
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = *header;

        r->headers_in.accept_encoding = copy;
    }

#endif

    ngx_str_set(&header->value, "identity");

    return NGX_OK;
}


/*
 * Others point to the headers, so none may move; and whoever walks the list
 * wants no empty part in it but the first.
 */

static ngx_int_t
ngx_http_patient_guard_drop_header(ngx_http_request_t *r,
    ngx_list_part_t *before, ngx_list_part_t *part, ngx_uint_t i)
{
    ngx_list_t       *list;
    ngx_list_part_t  *rest;

    list = &r->headers_in.headers;

    if (part->nelts == 1 && before) {

        before->next = part->next;
        part->nelts = 0;

        if (list->last == part) {
            list->last = before;
            list->nalloc = before->nelts;
        }

        return NGX_OK;
    }

    if (i == part->nelts - 1) {
        part->nelts--;
        return NGX_OK;
    }

    if (i == 0) {
        part->elts = (ngx_table_elt_t *) part->elts + 1;
        part->nelts--;

        if (list->last == part) {
            list->nalloc--;
        }

        return NGX_OK;
    }

    rest = ngx_palloc(r->pool, sizeof(ngx_list_part_t));
    if (rest == NULL) {
        return NGX_ERROR;
    }

    rest->elts = (ngx_table_elt_t *) part->elts + i + 1;
    rest->nelts = part->nelts - i - 1;
    rest->next = part->next;

    if (list->last == part) {
        list->last = rest;
        list->nalloc -= i + 1;
    }

    part->nelts = i;
    part->next = rest;

    return NGX_OK;
}


const char *
ngx_http_patient_guard_coded(ngx_http_request_t *r, ngx_uint_t body)
{
    ngx_table_elt_t  *encoding;

    if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        return "the response is a tunnel, and can't be counted";
    }

    /* each slice is a subrequest, sent when the one before has left */

    if (r->subrequest_ranges) {
        return "the response comes in slices, and can't be counted";
    }

    if (!body) {
        return NULL;
    }

    if (r->headers_out.status == NGX_HTTP_PARTIAL_CONTENT) {
        return "the response is a part, and can't be counted";
    }

    encoding = r->headers_out.content_encoding;

    if (encoding && encoding->hash && encoding->value.len
        && !ngx_http_patient_guard_says(encoding, "identity"))
    {
        return "the response is compressed, and can't be counted";
    }

    return NULL;
}
