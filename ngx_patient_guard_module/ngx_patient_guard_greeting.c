
#include "ngx_patient_guard_greeting.h"


/* arguments in all: AUTH user password, SELECT db, PING message, ROLE */
#define NGX_PATIENT_GUARD_GREETING_ARGS  8


/* an array, that is, which begins by this */
static ngx_str_t  ngx_patient_guard_greeting_role = ngx_string("master");


static ngx_uint_t ngx_patient_guard_greeting_master(
    ngx_patient_guard_reply_t *reply);
static ngx_uint_t ngx_patient_guard_memory_line(ngx_str_t *text,
    const char *name, ngx_str_t *value);


ngx_int_t
ngx_patient_guard_greeting_init(ngx_patient_guard_greeting_t *greeting,
    ngx_str_t *user, ngx_str_t *password, ngx_uint_t db, ngx_uint_t master,
    ngx_pool_t *pool)
{
    u_char     *p;
    ngx_str_t  *expect;

    static ngx_str_t  ping = ngx_string("patient_guard");

    p = ngx_pnalloc(pool, NGX_PATIENT_GUARD_GREETING_STEPS
                          * NGX_PATIENT_GUARD_RESP_HEAD
                          + NGX_PATIENT_GUARD_GREETING_ARGS
                            * ngx_patient_guard_resp_size(NGX_INT64_LEN)
                          + user->len + password->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    greeting->hello.data = p;
    expect = greeting->expect;

    if (password->len) {
        p = ngx_patient_guard_resp_command(p, user->len ? 3 : 2);
        p = ngx_patient_guard_resp_arg(p, "AUTH", 4);

        if (user->len) {
            p = ngx_patient_guard_resp_arg(p, user->data, user->len);
        }

        p = ngx_patient_guard_resp_arg(p, password->data, password->len);

        ngx_str_set(expect, "OK");
        expect++;
    }

    if (db) {
        p = ngx_patient_guard_resp_command(p, 2);
        p = ngx_patient_guard_resp_arg(p, "SELECT", 6);
        p = ngx_patient_guard_resp_number(p, db);

        ngx_str_set(expect, "OK");
        expect++;
    }

    p = ngx_patient_guard_resp_command(p, 2);
    p = ngx_patient_guard_resp_arg(p, "PING", 4);
    p = ngx_patient_guard_resp_arg(p, ping.data, ping.len);

    *expect++ = ping;

    if (master) {
        p = ngx_patient_guard_resp_command(p, 1);
        p = ngx_patient_guard_resp_arg(p, "ROLE", 4);

        *expect++ = ngx_patient_guard_greeting_role;
    }

    greeting->nsteps = expect - greeting->expect;
    greeting->hello.len = p - greeting->hello.data;

    return NGX_OK;
}


void
ngx_patient_guard_greeting_start(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted)
{
    greeted->said = greeting->hello.data;
    greeted->nreplies = 0;
}


size_t
ngx_patient_guard_greeting_most(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted)
{
    return greeting->expect[greeted->nreplies].data
           == ngx_patient_guard_greeting_role.data
           ? NGX_PATIENT_GUARD_REPLY_TREE : 0;
}


ngx_int_t
ngx_patient_guard_greeting_reply(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted, ngx_patient_guard_reply_t *reply)
{
    ngx_str_t  *expect;

    if (greeted->said != greeting->hello.data + greeting->hello.len) {
        return NGX_DECLINED;
    }

    expect = &greeting->expect[greeted->nreplies];

    if (expect->data == ngx_patient_guard_greeting_role.data) {

        if (!ngx_patient_guard_greeting_master(reply)) {
            return NGX_ERROR;
        }

    } else if (reply->type == NGX_PATIENT_GUARD_REPLY_ERROR
               || reply->text.len != expect->len
               || ngx_memcmp(reply->text.data, expect->data, expect->len)
                  != 0)
    {
        return NGX_ERROR;
    }

    greeted->nreplies++;

    return greeted->nreplies == greeting->nsteps ? NGX_OK : NGX_AGAIN;
}


static ngx_uint_t
ngx_patient_guard_greeting_master(ngx_patient_guard_reply_t *reply)
{
    ngx_str_t  *role;

    if (reply->type != NGX_PATIENT_GUARD_REPLY_ARRAY || reply->nitems < 2) {
        return 0;
    }

    role = &reply->items[1].text;

    return role->len == ngx_patient_guard_greeting_role.len
           && ngx_memcmp(role->data, ngx_patient_guard_greeting_role.data,
                         role->len)
              == 0;
}


u_char *
ngx_patient_guard_memory_write(u_char *p)
{
    p = ngx_patient_guard_resp_command(p, 2);
    p = ngx_patient_guard_resp_arg(p, "INFO", 4);

    return ngx_patient_guard_resp_arg(p, "memory", 6);
}


/*
 * All our keys have a time to live, so that any other policy may take them.
 * Who may not know does not: an error is no news.
 */

ngx_uint_t
ngx_patient_guard_memory_evicts(ngx_patient_guard_reply_t *reply,
    ngx_str_t *policy)
{
    ngx_str_t  max;

    return reply->type == NGX_PATIENT_GUARD_REPLY_STRING
           && ngx_patient_guard_memory_line(&reply->text,
                                            CRLF "maxmemory_policy:", policy)
           && ngx_patient_guard_memory_line(&reply->text, CRLF "maxmemory:",
                                            &max)
           && !(max.len == 1 && max.data[0] == '0')
           && !(policy->len == sizeof("noeviction") - 1
                && ngx_memcmp(policy->data, "noeviction", policy->len) == 0);
}


/* what is behind it on the same line */

static ngx_uint_t
ngx_patient_guard_memory_line(ngx_str_t *text, const char *name,
    ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *last, *eol;

    len = ngx_strlen(name);
    last = text->data + text->len;

    for (p = text->data; p + len <= last; p++) {

        if (ngx_memcmp(p, name, len) != 0) {
            continue;
        }

        p += len;
        eol = ngx_strlchr(p, last, CR);

        value->data = p;
        value->len = (eol ? eol : last) - p;

        return 1;
    }

    return 0;
}
