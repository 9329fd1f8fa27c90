
#include "ngx_http_patient_guard_api.h"
#include "ngx_http_patient_guard_accounts.h"
#include "ngx_http_patient_guard_metrics.h"
#include "ngx_http_patient_guard_send.h"
#include "ngx_http_patient_guard_status.h"

#include "ngx_patient_guard_board_html.h"


#define NGX_HTTP_PATIENT_GUARD_API_ON     1
#define NGX_HTTP_PATIENT_GUARD_API_WRITE  2


static ngx_int_t ngx_http_patient_guard_api_handler(ngx_http_request_t *r);
static ngx_str_t ngx_http_patient_guard_api_path(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_api_slash(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_api_accounts(ngx_http_request_t *r,
    ngx_uint_t writes);
static ngx_int_t ngx_http_patient_guard_api_board(ngx_http_request_t *r);
static ngx_uint_t ngx_http_patient_guard_api_guarded(ngx_conf_t *cf,
    void **loc_conf);


#define ngx_http_patient_guard_api_is(path, text)                            \
    ((path)->len == sizeof(text) - 1                                         \
     && ngx_strncmp((path)->data, text, sizeof(text) - 1) == 0)


char *
ngx_http_patient_guard_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t                           *value;
    ngx_http_core_loc_conf_t            *clcf;
    ngx_http_patient_guard_api_t        *api;
    ngx_http_patient_guard_main_conf_t  *mcf;

    if (lcf->api) {
        return "is duplicate";
    }

    if (lcf->handler) {
        return "is in a location with \"patient_guard_pass\"";
    }

    value = cf->args->elts;
    lcf->api = NGX_HTTP_PATIENT_GUARD_API_ON;

    if (cf->args->nelts == 2) {

        if (ngx_strcmp(value[1].data, "write") != 0) {
            return ngx_http_patient_guard_invalid(cf, "patient_guard_api",
                                              &value[1],
                                              "\"write\" or nothing");
        }

        lcf->api = NGX_HTTP_PATIENT_GUARD_API_WRITE;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match || clcf->named || clcf->noname
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"patient_guard_api\" in location \"%V\", "
                           "expected it in one that is a prefix, such as "
                           "\"location /guard/\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    clcf->handler = ngx_http_patient_guard_api_handler;
    lcf->handler = clcf->handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);

    api = ngx_array_push(&mcf->apis);
    if (api == NULL) {
        return NGX_CONF_ERROR;
    }

    api->name = clcf->name;
    api->file = cf->conf_file->file.name;
    api->line = cf->conf_file->line;
    api->loc_conf = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_patient_guard_api_check(ngx_conf_t *cf)
{
    ngx_uint_t                           i;
    ngx_http_patient_guard_api_t        *api;
    ngx_http_patient_guard_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);
    api = mcf->apis.elts;

    for (i = 0; i < mcf->apis.nelts; i++) {

        if (ngx_http_patient_guard_api_guarded(cf, api[i].loc_conf)) {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "anybody may ask \"patient_guard_api\" in location "
                      "\"%V\": add \"allow\" and \"deny\", \"auth_basic\" or "
                      "\"auth_request\" in %V:%ui",
                      &api[i].name, &api[i].file, api[i].line);
    }

    return NGX_OK;
}


/*
 * Each of these modules has first in its configuration what is zero where
 * nothing is asked of a client: an array of rules, a realm, a URI.
 */

static ngx_uint_t
ngx_http_patient_guard_api_guarded(ngx_conf_t *cf, void **loc_conf)
{
    void          *conf;
    ngx_uint_t     i, n;
    ngx_module_t  *module;

    static const char  *names[] = {
        "ngx_http_access_module",
        "ngx_http_auth_basic_module",
        "ngx_http_auth_request_module"
    };

    for (i = 0; cf->cycle->modules[i]; i++) {

        module = cf->cycle->modules[i];

        for (n = 0; n < sizeof(names) / sizeof(names[0]); n++) {

            if (ngx_strcmp(module->name, names[n]) != 0) {
                continue;
            }

            conf = loc_conf[module->ctx_index];

            if (conf && *(uintptr_t *) conf
                && *(uintptr_t *) conf != (uintptr_t) NGX_CONF_UNSET_PTR)
            {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_patient_guard_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_str_t                           path;
    ngx_uint_t                          writes;
    ngx_http_patient_guard_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_patient_guard_module);

    path = ngx_http_patient_guard_api_path(r);
    writes = (lcf->api == NGX_HTTP_PATIENT_GUARD_API_WRITE);

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (path.len >= sizeof("accounts/") - 1
        && ngx_strncmp(path.data, "accounts/", sizeof("accounts/") - 1) == 0)
    {
        return ngx_http_patient_guard_api_accounts(r, writes);
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_patient_guard_send_problem(r, NGX_HTTP_NOT_ALLOWED,
                                           "this is read by GET or HEAD");
    }

    if (path.len == 0 && r->uri.data[r->uri.len - 1] != '/') {
        return ngx_http_patient_guard_api_slash(r);
    }

    if (path.len == 0) {
        return ngx_http_patient_guard_api_board(r);
    }

    if (ngx_http_patient_guard_api_is(&path, "status")) {
        return ngx_http_patient_guard_status(r, writes);
    }

    if (ngx_http_patient_guard_api_is(&path, "metrics")) {
        return ngx_http_patient_guard_metrics(r);
    }

    return ngx_http_patient_guard_send_problem(r, NGX_HTTP_NOT_FOUND,
                                    "there are \\\"status\\\", "
                                    "\\\"metrics\\\" and "
                                    "\\\"accounts/LOGIN\\\"");
}


/* what is behind the location's prefix, and a slash */

static ngx_str_t
ngx_http_patient_guard_api_path(ngx_http_request_t *r)
{
    ngx_str_t                  path;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path.len = r->uri.len - ngx_min(clcf->name.len, r->uri.len);
    path.data = r->uri.data + r->uri.len - path.len;

    while (path.len && path.data[0] == '/') {
        path.data++;
        path.len--;
    }

    return path;
}


/* so that the links of the dashboard, which are relative, lead here */

static ngx_int_t
ngx_http_patient_guard_api_slash(ngx_http_request_t *r)
{
    ngx_str_t  location;

    location.len = r->uri.len + 1;
    location.data = ngx_pnalloc(r->pool, location.len);

    if (location.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_sprintf(location.data, "%V/", &r->uri);

    r->headers_out.location = ngx_http_patient_guard_header(r, "Location",
                                                            &location);
    if (r->headers_out.location == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_MOVED_PERMANENTLY;
}


/*
 * A login may have a slash, sent as %2F: it is taken from the URI as it was
 * sent, behind a prefix that is spelled as in the configuration.
 */

static ngx_int_t
ngx_http_patient_guard_api_accounts(ngx_http_request_t *r, ngx_uint_t writes)
{
    u_char                    *p, *last, *args;
    size_t                     len;
    ngx_str_t                  path, *prefix;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    prefix = &clcf->name;

    p = r->unparsed_uri.data;
    last = p + r->unparsed_uri.len;
    args = ngx_strlchr(p, last, '?');

    if (args) {
        last = args;
    }

    len = prefix->len;

    if ((size_t) (last - p) >= len && ngx_memcmp(p, prefix->data, len) == 0) {

        p += len;

        while (p < last && *p == '/') {
            p++;
        }

        len = sizeof("accounts/") - 1;

        if ((size_t) (last - p) > len
            && ngx_memcmp(p, "accounts/", len) == 0)
        {
            path.data = p + len;
            path.len = last - path.data;

            return ngx_http_patient_guard_accounts(r, &path, writes);
        }
    }

    return ngx_http_patient_guard_send_problem(r, NGX_HTTP_NOT_FOUND,
                          "it is accounts/LOGIN, spelled as plainly as that");
}


static ngx_int_t
ngx_http_patient_guard_api_board(ngx_http_request_t *r)
{
    ngx_buf_t   *b;
    ngx_uint_t   i;

    static struct {
        const char  *name;
        ngx_str_t    value;
    } headers[] = {
        { "Cache-Control", ngx_string("no-store") },
        { "Content-Security-Policy",
          ngx_string(NGX_PATIENT_GUARD_BOARD_CSP) },
        { "Referrer-Policy", ngx_string("no-referrer") },
        { "X-Content-Type-Options", ngx_string("nosniff") },
        { "X-Frame-Options", ngx_string("DENY") }
    };

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (ngx_http_patient_guard_header(r, headers[i].name,
                                          &headers[i].value)
            == NULL)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    b->pos = ngx_patient_guard_board_page;
    b->last = b->pos + NGX_PATIENT_GUARD_BOARD_PAGE_LEN;
    b->memory = 1;

    return ngx_http_patient_guard_send(r, NGX_HTTP_OK,
                                       "text/html; charset=utf-8", b);
}
