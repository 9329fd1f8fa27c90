
#include "ngx_http_patient_guard_asking.h"
#include "ngx_http_patient_guard_conf.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_send.h"


#define NGX_HTTP_PATIENT_GUARD_BLOCK_MAX  (90 * 86400)       /* s */


static ngx_int_t ngx_http_patient_guard_asking_order(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes);
static ngx_int_t ngx_http_patient_guard_asking_id(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path);
static ngx_int_t ngx_http_patient_guard_asking_policies(
    ngx_http_request_t *r, ngx_http_patient_guard_asking_t *asking);


/* a status, and what is wrong */
#define ngx_http_patient_guard_wrong(asking, status, what)                   \
    ((asking)->detail = (what), (ngx_int_t) (status))


ngx_int_t
ngx_http_patient_guard_asking_read(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_asking_order(r, asking, path, writes);

    if (rc == NGX_OK) {
        rc = ngx_http_patient_guard_asking_id(r, asking, path);
    }

    return rc == NGX_OK ? ngx_http_patient_guard_asking_policies(r, asking)
                        : rc;
}


/* what is to be done; leaves the ID in the path */

static ngx_int_t
ngx_http_patient_guard_asking_order(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes)
{
    u_char     *slash;
    time_t      lasts;
    ngx_str_t   value, what;

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return NGX_OK;
    }

    if (!writes) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_ALLOWED,
                   "this location only answers: it has no \\\"write\\\"");
    }

    /* a page of another origin can't send it, see "preflight" in CORS */

    if (!ngx_http_patient_guard_sends(r, "x-patient-guard", "write")) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_FORBIDDEN,
                   "a write bears the header X-Patient-Guard: write");
    }

    if (r->method == NGX_HTTP_DELETE) {
        asking->order = NGX_PATIENT_GUARD_ORDER_FORGET;
        return NGX_OK;
    }

    slash = ngx_strlchr(path->data, path->data + path->len, '/');

    if (r->method != NGX_HTTP_POST || slash == NULL) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_ALLOWED,
                   "there are GET and DELETE, and POST of clear and block");
    }

    what.data = slash + 1;
    what.len = path->data + path->len - what.data;
    path->len = slash - path->data;

    if (what.len == 5 && ngx_strncmp(what.data, "clear", 5) == 0) {
        asking->order = NGX_PATIENT_GUARD_ORDER_CLEAR;
        return NGX_OK;
    }

    if (what.len != 5 || ngx_strncmp(what.data, "block", 5) != 0) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "there are \\\"clear\\\" and \\\"block\\\"");
    }

    asking->order = NGX_PATIENT_GUARD_ORDER_BLOCK;

    lasts = ngx_http_arg(r, (u_char *) "for", 3, &value) == NGX_OK
            ? ngx_parse_time(&value, 1) : 0;

    if (lasts <= 0 || lasts > NGX_HTTP_PATIENT_GUARD_BLOCK_MAX) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   "for= is how long: from 1s to 90d, such as \\\"1h\\\"");
    }

    asking->lasts = (uint64_t) lasts * 1000;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_asking_id(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path)
{
    size_t      i;
    u_char     *dst, *src;
    ngx_str_t   value;

    dst = ngx_pnalloc(r->pool, path->len + 1);
    if (dst == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    asking->id.data = dst;
    src = path->data;

    for (i = 0; i < path->len; i++) {
        if (src[i] == '/') {
            return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "in a login a slash is sent as %2F");
        }
    }

    ngx_unescape_uri(&dst, &src, path->len, 0);

    asking->id.len = dst - asking->id.data;

    if (ngx_http_arg(r, (u_char *) "by", 2, &value) == NGX_OK) {

        if (value.len != 5 || ngx_strncmp(value.data, "alias", 5) != 0) {
            return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   "by= is \\\"alias\\\", or not there");
        }

        asking->by_alias = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_asking_policies(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking)
{
    ngx_str_t                            name;
    ngx_patient_guard_account_t          account, previous;
    ngx_http_patient_guard_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_patient_guard_module);

    asking->policies = mcf->policies.elts;
    asking->npolicies = mcf->policies.nelts;

    if (ngx_http_arg(r, (u_char *) "policy", 6, &name) == NGX_OK) {

        asking->named = ngx_http_patient_guard_find_policy(mcf, &name);
        asking->policies = &asking->named;
        asking->npolicies = (asking->named != NULL);
    }

    if (asking->npolicies == 0) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "there is no such policy");
    }

    if (ngx_http_patient_guard_asking_alias(asking, asking->policies[0],
                                              &account, &previous)
        != NGX_OK)
    {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   asking->by_alias
                   ? "an alias has 32 hexadecimal digits"
                   : "a login has 1 to 256 bytes, none of them a control");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_asking_alias(ngx_http_patient_guard_asking_t *asking,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous)
{
    ngx_memzero(previous, sizeof(ngx_patient_guard_account_t));

    if (!asking->by_alias) {
        return ngx_http_patient_guard_login_alias(policy, &asking->id,
                                                  account, previous);
    }

    return ngx_patient_guard_account_read(&asking->id, account);
}
