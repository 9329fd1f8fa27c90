
#include "ngx_patient_guard_greeting.h"


/* arguments in all: AUTH user password, SELECT db, PING message */
#define NGX_PATIENT_GUARD_GREETING_ARGS  7


ngx_int_t
ngx_patient_guard_greeting_init(ngx_patient_guard_greeting_t *greeting,
    ngx_str_t *user, ngx_str_t *password, ngx_uint_t db, ngx_pool_t *pool)
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


ngx_int_t
ngx_patient_guard_greeting_reply(ngx_patient_guard_greeting_t *greeting,
    ngx_patient_guard_greeted_t *greeted, ngx_patient_guard_reply_t *reply)
{
    ngx_str_t  *expect;

    if (greeted->said != greeting->hello.data + greeting->hello.len) {
        return NGX_DECLINED;
    }

    expect = &greeting->expect[greeted->nreplies];

    if (reply->type == NGX_PATIENT_GUARD_REPLY_ERROR
        || reply->text.len != expect->len
        || ngx_memcmp(reply->text.data, expect->data, expect->len) != 0)
    {
        return NGX_ERROR;
    }

    greeted->nreplies++;

    return greeted->nreplies == greeting->nsteps ? NGX_OK : NGX_AGAIN;
}
