
#include "ngx_http_patient_guard_value.h"


static ngx_int_t ngx_http_patient_guard_evaluate(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value);


#if (NGX_PCRE)

ngx_int_t
ngx_http_patient_guard_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value)
{
    int         offsets[32], *kept;
    size_t      size;
    u_char     *data;
    ngx_int_t   rc;
    ngx_uint_t  n;

    n = r->captures ? r->ncaptures : 0;
    data = r->captures_data;

    kept = offsets;
    size = n * sizeof(int);

    if (size > sizeof(offsets)) {
        kept = ngx_palloc(r->pool, size);
        if (kept == NULL) {
            return NGX_ERROR;
        }
    }

    /*
     * Copied, rather than kept from being written to by r->realloc_captures:
     * an expression that does not match would leave an array of garbage.
     */

    if (n) {
        ngx_memcpy(kept, r->captures, size);
    }

    rc = ngx_http_patient_guard_evaluate(r, cv, value);

    if (n) {
        ngx_memcpy(r->captures, kept, size);
    }

    r->ncaptures = n;
    r->captures_data = data;

    return rc;
}

#else

ngx_int_t
ngx_http_patient_guard_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value)
{
    return ngx_http_patient_guard_evaluate(r, cv, value);
}

#endif


/* a variable alone, as it mostly is, need not be copied */

static ngx_int_t
ngx_http_patient_guard_evaluate(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *value)
{
    ngx_http_variable_value_t      *vv;
    ngx_http_script_var_code_t     *code;

    code = cv->lengths;

    if (code == NULL
        || (void *) code->code != (void *) ngx_http_script_copy_var_len_code
        || *(uintptr_t *) (code + 1) != (uintptr_t) NULL)
    {
        return ngx_http_complex_value(r, cv, value);
    }

    vv = ngx_http_get_flushed_variable(r, code->index);

    if (vv == NULL || vv->not_found) {
        ngx_str_null(value);
        return NGX_OK;
    }

    value->len = vv->len;
    value->data = vv->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_number(ngx_str_t *value, uint32_t *number)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n < 1
        || (uint64_t) n > NGX_PATIENT_GUARD_COUNT_MAX)
    {
        return NGX_ERROR;
    }

    *number = (uint32_t) n;

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_window(ngx_str_t *value, uint64_t *window)
{
    ngx_int_t  seconds;

    seconds = ngx_parse_time(value, 1);

    if (seconds == NGX_ERROR) {
        return NGX_ERROR;
    }

    *window = (uint64_t) seconds * 1000;

    if (*window < NGX_PATIENT_GUARD_WINDOW_MIN
        || *window > NGX_PATIENT_GUARD_WINDOW_MAX)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
