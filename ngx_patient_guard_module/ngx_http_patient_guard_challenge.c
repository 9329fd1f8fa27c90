
#include "ngx_http_patient_guard_challenge.h"
#include "ngx_http_patient_guard_value.h"
#include "ngx_patient_guard_token.h"


static char *ngx_http_patient_guard_challenge_redirect(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge);
static ngx_uint_t ngx_http_patient_guard_is_url(ngx_str_t *url);
static char *ngx_http_patient_guard_challenge_step_up(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge);
static char *ngx_http_patient_guard_challenge_page(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge);
static char *ngx_http_patient_guard_challenge_status(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge);
static ngx_uint_t ngx_http_patient_guard_bears_token(ngx_http_request_t *r);
static ngx_uint_t ngx_http_patient_guard_takes_html(ngx_http_request_t *r);
static ngx_uint_t ngx_http_patient_guard_accepts_html(ngx_str_t *accept);


static struct {
    ngx_str_t                            name;
    ngx_http_patient_guard_challenge_e   kind;
    char                              *(*set)(ngx_conf_t *cf,
                            ngx_http_patient_guard_challenge_t *challenge);
} ngx_http_patient_guard_kinds[] = {
    { ngx_string("redirect"), NGX_HTTP_PATIENT_GUARD_REDIRECT,
      ngx_http_patient_guard_challenge_redirect },
    { ngx_string("step_up"), NGX_HTTP_PATIENT_GUARD_STEP_UP,
      ngx_http_patient_guard_challenge_step_up },
    { ngx_string("page"), NGX_HTTP_PATIENT_GUARD_PAGE,
      ngx_http_patient_guard_challenge_page },
    { ngx_string("status"), NGX_HTTP_PATIENT_GUARD_STATUS,
      ngx_http_patient_guard_challenge_status }
};


char *
ngx_http_patient_guard_challenge(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_str_t                           *value;
    ngx_uint_t                           i;
    ngx_http_patient_guard_challenge_t  *challenge;

    value = cf->args->elts;

    if (policy->challenges == NULL) {
        policy->challenges = ngx_array_create(cf->pool, 2,
                                  sizeof(ngx_http_patient_guard_challenge_t));
        if (policy->challenges == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    challenge = ngx_array_push(policy->challenges);
    if (challenge == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(challenge, sizeof(ngx_http_patient_guard_challenge_t));

    for (i = 0; i < 4; i++) {

        if (ngx_strcmp(value[1].data,
                       ngx_http_patient_guard_kinds[i].name.data)
            == 0)
        {
            challenge->kind = ngx_http_patient_guard_kinds[i].kind;
            return ngx_http_patient_guard_kinds[i].set(cf, challenge);
        }
    }

    return ngx_http_patient_guard_invalid(cf, "challenge", &value[1],
                     "\"redirect\", \"step_up\", \"page\" or \"status\"");
}


static char *
ngx_http_patient_guard_challenge_redirect(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge)
{
    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    challenge->status = NGX_HTTP_MOVED_TEMPORARILY;

    if (cf->args->nelts != 3
        || !ngx_http_patient_guard_is_url(&value[2]))
    {
        return ngx_http_patient_guard_invalid(cf, "challenge redirect",
                         &value[cf->args->nelts - 1],
                         "one URL without a fragment, such as "
                         "\"https://sso.example/step-up\"");
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &challenge->target;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* such as the state may be added to, with a host of its own or this one's */

static ngx_uint_t
ngx_http_patient_guard_is_url(ngx_str_t *url)
{
    size_t   i;
    u_char  *host;

    for (i = 0; i < url->len; i++) {
        if (url->data[i] <= 0x20 || url->data[i] == '#') {
            return 0;
        }
    }

    if (ngx_strncasecmp(url->data, (u_char *) "https://", 8) == 0) {
        host = url->data + 8;

    } else if (ngx_strncasecmp(url->data, (u_char *) "http://", 7) == 0) {
        host = url->data + 7;

    } else {
        return url->data[0] == '$'
               || (url->data[0] == '/' && url->data[1] != '/');
    }

    /* it has a terminator */

    return *host != '\0' && *host != '/' && *host != '?';
}


/* RFC 9470, section 3 */

static char *
ngx_http_patient_guard_challenge_step_up(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge)
{
    u_char      *p;
    size_t       i, n, len;
    time_t       age;
    ngx_str_t   *value, acr, max_age;

    static char  error[] = "Bearer "
                           "error=\"insufficient_user_authentication\", "
                           "error_description=\"Too many patients were looked "
                           "up, prove that it is you\"";

    value = cf->args->elts;
    challenge->status = NGX_HTTP_UNAUTHORIZED;

    ngx_str_null(&acr);
    ngx_str_null(&max_age);

    for (n = 2; n < cf->args->nelts; n++) {

        if (value[n].len > 4 && ngx_strncmp(value[n].data, "acr=", 4) == 0
            && acr.len == 0)
        {
            acr.data = value[n].data + 4;
            acr.len = value[n].len - 4;

            for (i = 0; i < acr.len; i++) {
                if (acr.data[i] < 0x20 || acr.data[i] > 0x7e
                    || ngx_strchr("\"\\$", acr.data[i]))
                {
                    return ngx_http_patient_guard_invalid(cf, "acr", &acr,
                                    "printable ASCII without \", \\ and $");
                }
            }

            continue;
        }

        if (value[n].len > 8 && ngx_strncmp(value[n].data, "max_age=", 8) == 0
            && max_age.len == 0)
        {
            max_age.data = value[n].data + 8;
            max_age.len = value[n].len - 8;

            age = ngx_atotm(max_age.data, max_age.len);

            if (age == NGX_ERROR) {
                return ngx_http_patient_guard_invalid(cf, "max_age", &max_age,
                                        "a number of seconds such as \"300\"");
            }

            continue;
        }

        return ngx_http_patient_guard_invalid(cf, "challenge step_up",
                                      &value[n],
                                      "\"acr=\" and \"max_age=\", once each");
    }

    len = sizeof(error) - 1 + acr.len + max_age.len
          + sizeof(", acr_values=\"\", max_age=\"\"") - 1;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    challenge->authenticate.data = p;

    p = ngx_cpymem(p, error, sizeof(error) - 1);

    if (acr.len) {
        p = ngx_sprintf(p, ", acr_values=\"%V\"", &acr);
    }

    if (max_age.len) {
        p = ngx_sprintf(p, ", max_age=\"%V\"", &max_age);
    }

    challenge->authenticate.len = p - challenge->authenticate.data;

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_challenge_page(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge)
{
    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;
    challenge->status = NGX_HTTP_FORBIDDEN;

    if (cf->args->nelts != 3
        || (value[2].data[0] != '/' && value[2].data[0] != '@'))
    {
        return ngx_http_patient_guard_invalid(cf, "challenge page",
                       &value[cf->args->nelts - 1],
                       "one URI of this server or a named location, such as "
                       "\"/prove-it.html\" or \"@prove_it\"");
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &challenge->target;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_challenge_status(ngx_conf_t *cf,
    ngx_http_patient_guard_challenge_t *challenge)
{
    ngx_int_t   status;
    ngx_str_t  *value;

    value = cf->args->elts;

    status = cf->args->nelts == 3 ? ngx_atoi(value[2].data, value[2].len)
                                  : NGX_ERROR;

    /* nginx' own, for a client that was too slow, or has hung up */

    if (status < 400 || status > 599 || status == NGX_HTTP_REQUEST_TIME_OUT
        || status == NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        return ngx_http_patient_guard_invalid(cf, "challenge status",
                               &value[cf->args->nelts - 1],
                               "one status from 400 to 599, not 408 and 499");
    }

    challenge->status = status;

    return NGX_CONF_OK;
}


ngx_http_patient_guard_challenge_t *
ngx_http_patient_guard_challenge_choose(ngx_http_request_t *r,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                           i, html, token;
    ngx_http_patient_guard_challenge_t  *challenge, *second;

    if (policy->challenges == NULL) {
        return NULL;
    }

    html = ngx_http_patient_guard_takes_html(r);
    token = ngx_http_patient_guard_bears_token(r);

    second = NULL;
    challenge = policy->challenges->elts;

    for (i = 0; i < policy->challenges->nelts; i++) {

        switch (challenge[i].kind) {

        case NGX_HTTP_PATIENT_GUARD_REDIRECT:
        case NGX_HTTP_PATIENT_GUARD_PAGE:

            if (html) {
                return &challenge[i];
            }

            break;

        case NGX_HTTP_PATIENT_GUARD_STEP_UP:

            if (!html || token) {
                return &challenge[i];
            }

            if (second == NULL) {
                second = &challenge[i];
            }

            break;

        case NGX_HTTP_PATIENT_GUARD_STATUS:
            return &challenge[i];
        }
    }

    return second;
}


/* RFC 6750, RFC 9449; a browser may well send "Basic" */

static ngx_uint_t
ngx_http_patient_guard_bears_token(ngx_http_request_t *r)
{
    ngx_str_t  *value;

    if (r->headers_in.authorization == NULL) {
        return 0;
    }

    value = &r->headers_in.authorization->value;

    return (value->len > 7
            && ngx_strncasecmp(value->data, (u_char *) "Bearer ", 7) == 0)
           || (value->len > 5
               && ngx_strncasecmp(value->data, (u_char *) "DPoP ", 5) == 0);
}


static ngx_uint_t
ngx_http_patient_guard_takes_html(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.len == sizeof("Sec-Fetch-Mode") - 1
            && ngx_strncasecmp(header[i].key.data,
                               (u_char *) "Sec-Fetch-Mode",
                               sizeof("Sec-Fetch-Mode") - 1)
               == 0
            && header[i].value.len == sizeof("navigate") - 1
            && ngx_strncmp(header[i].value.data, "navigate",
                           sizeof("navigate") - 1)
               == 0)
        {
            return 1;
        }

        if (header[i].key.len == sizeof("Accept") - 1
            && ngx_strncasecmp(header[i].key.data, (u_char *) "Accept",
                               sizeof("Accept") - 1)
               == 0
            && ngx_http_patient_guard_accepts_html(&header[i].value))
        {
            return 1;
        }
    }
}


/* lists text/html, and not with a weight of zero */

static ngx_uint_t
ngx_http_patient_guard_accepts_html(ngx_str_t *accept)
{
    u_char  *p, *last;

    p = accept->data;
    last = p + accept->len;

    do {
        p = ngx_strlcasestrn(p, last, (u_char *) "text/html",
                             sizeof("text/html") - 2);
        if (p == NULL) {
            return 0;
        }

        p += sizeof("text/html") - 1;

        /* not one of "text/html+fragment" and its like */

    } while (p < last && *p != ',' && *p != ';' && *p != ' ');

    for ( /* void */ ; p < last && *p != ','; p++) {

        if ((*p == 'q' || *p == 'Q') && last - p > 2 && p[1] == '=') {

            for (p += 2; p < last && *p != ',' && *p != ';'; p++) {
                if (*p >= '1' && *p <= '9') {
                    return 1;
                }
            }

            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_patient_guard_challenge_location(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx,
    ngx_http_patient_guard_challenge_t *challenge, ngx_str_t *location)
{
    u_char                           *p;
    ngx_str_t                         url, token;
    ngx_patient_guard_token_t         state;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    if (ngx_http_complex_value(r, &challenge->target, &url) != NGX_OK) {
        return NGX_ERROR;
    }

    state.account = ctx->op.lookup.account;
    state.expires = ngx_time() + NGX_PATIENT_GUARD_TOKEN_TIME;
    state.since = ctx->op.tally.challenged ? ctx->op.tally.since
                                           : ctx->op.tally.due.since;
    state.path = r->unparsed_uri;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
        || !ngx_patient_guard_token_returns(&state.path))
    {
        ngx_str_set(&state.path, "/");
    }

    if (ngx_patient_guard_token_seal(policy->keys[0].token, &policy->name,
                                     &state, r->pool, &token)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    location->len = url.len + sizeof("?state=") - 1 + token.len;

    p = ngx_pnalloc(r->pool, location->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    location->data = p;

    p = ngx_cpymem(p, url.data, url.len);
    *p++ = ngx_strlchr(url.data, url.data + url.len, '?') ? '&' : '?';
    ngx_sprintf(p, "state=%V", &token);

    return NGX_OK;
}


char *
ngx_http_patient_guard_challenge_grants(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    u_char     *slash;
    ngx_str_t  *value, count, window;

    if (policy->grants.count) {
        return "is duplicate";
    }

    value = cf->args->elts;

    slash = ngx_strlchr(value[1].data, value[1].data + value[1].len, '/');

    if (slash) {
        count.data = value[1].data;
        count.len = slash - value[1].data;

        window.data = slash + 1;
        window.len = value[1].len - count.len - 1;

        if (ngx_http_patient_guard_number(&count, &policy->grants.count)
            == NGX_OK
            && ngx_http_patient_guard_window(&window, &policy->grants.window)
               == NGX_OK)
        {
            return NGX_CONF_OK;
        }
    }

    return ngx_http_patient_guard_invalid(cf, "challenge_grants", &value[1],
               "n/window such as \"3/1d\", with a window from 10s to 90d");
}
