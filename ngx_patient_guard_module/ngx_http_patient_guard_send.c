
#include "ngx_http_patient_guard_send.h"


static const char *ngx_http_patient_guard_status_title(ngx_uint_t status);


ngx_uint_t
ngx_http_patient_guard_sends(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (header[i].key.len == ngx_strlen(name)
                && ngx_strncmp(header[i].lowcase_key, name, header[i].key.len)
                   == 0
                && header[i].value.len == ngx_strlen(value)
                && ngx_strncmp(header[i].value.data, value,
                               header[i].value.len)
                   == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_table_elt_t *
ngx_http_patient_guard_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *header;

    header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL) {
        return NULL;
    }

    header->hash = 1;
    header->key.data = (u_char *) name;
    header->key.len = ngx_strlen(name);
    header->value = *value;

#if (nginx_version >= 1023000)
    header->next = NULL;
#endif

    return header;
}


ngx_int_t
ngx_http_patient_guard_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    /* that of an error_page which led here */
    r->err_status = 0;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_patient_guard_send_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    ngx_buf_t  *b;
    ngx_str_t   value;

    ngx_str_set(&value, "no-store");

    b = ngx_create_temp_buf(r->pool,
                            sizeof("{\"type\":\"about:blank\",\"title\":\"\","
                                   "\"status\":000,\"detail\":\"\"}")
                            + sizeof("Service Unavailable")
                            + NGX_INT_T_LEN + ngx_strlen(detail));

    if (b == NULL
        || ngx_http_patient_guard_header(r, "Cache-Control", &value) == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last,
                          "{\"type\":\"about:blank\",\"title\":\"%s\","
                          "\"status\":%ui,\"detail\":\"%s\"}",
                          ngx_http_patient_guard_status_title(status), status,
                          detail);

    return ngx_http_patient_guard_send(r, status, "application/problem+json",
                                       b);
}


static const char *
ngx_http_patient_guard_status_title(ngx_uint_t status)
{
    ngx_uint_t  i;

    static struct {
        ngx_uint_t   status;
        const char  *title;
    } titles[] = {
        { NGX_HTTP_BAD_REQUEST, "Bad Request" },
        { NGX_HTTP_FORBIDDEN, "Forbidden" },
        { NGX_HTTP_NOT_FOUND, "Not Found" },
        { NGX_HTTP_NOT_ALLOWED, "Method Not Allowed" },
        { NGX_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable" }
    };

    for (i = 0; i < sizeof(titles) / sizeof(titles[0]) - 1; i++) {
        if (titles[i].status == status) {
            break;
        }
    }

    return titles[i].title;
}
