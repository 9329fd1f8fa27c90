
#include "ngx_patient_guard_spelling.h"


static u_char *ngx_patient_guard_spelling_more(
    ngx_patient_guard_spelling_t *spelling, u_char ch, u_char *dst);
static ngx_int_t ngx_patient_guard_spelling_form(u_char *escape,
    ngx_uint_t n);
static ngx_int_t ngx_patient_guard_spelling_json(u_char *escape,
    ngx_uint_t n);


void
ngx_patient_guard_spelling_init(ngx_patient_guard_spelling_t *spelling,
    ngx_patient_guard_spelling_e kind)
{
    spelling->kind = kind;
    spelling->n = 0;
}


u_char *
ngx_patient_guard_spelling_decode(ngx_patient_guard_spelling_t *spelling,
    u_char *p, u_char *last, u_char *dst)
{
    u_char  first;

    first = (spelling->kind == NGX_PATIENT_GUARD_FORM) ? '%' : '\\';

    for ( /* void */ ; p < last; p++) {

        if (spelling->n || *p == first) {
            dst = ngx_patient_guard_spelling_more(spelling, *p, dst);
            continue;
        }

        *dst++ = (*p == '+' && first == '%') ? ' ' : *p;
    }

    return dst;
}


u_char *
ngx_patient_guard_spelling_end(ngx_patient_guard_spelling_t *spelling,
    u_char *dst)
{
    dst = ngx_cpymem(dst, spelling->held, spelling->n);

    spelling->n = 0;

    return dst;
}


/* one more byte of what may be an escape */

static u_char *
ngx_patient_guard_spelling_more(ngx_patient_guard_spelling_t *spelling,
    u_char ch, u_char *dst)
{
    u_char      escape[NGX_PATIENT_GUARD_SPELLING_HELD + 1];
    ngx_int_t   rc;
    ngx_uint_t  n;

    n = spelling->n;

    ngx_memcpy(escape, spelling->held, n);
    escape[n++] = ch;

    rc = (spelling->kind == NGX_PATIENT_GUARD_FORM)
         ? ngx_patient_guard_spelling_form(escape, n)
         : ngx_patient_guard_spelling_json(escape, n);

    if (rc == NGX_AGAIN) {
        ngx_memcpy(spelling->held, escape, n);
        spelling->n = n;
        return dst;
    }

    spelling->n = 0;

    if (rc >= 0) {
        *dst++ = (u_char) rc;
        return dst;
    }

    if (rc == NGX_DONE) {
        return ngx_cpymem(dst, escape, n);
    }

    /* the byte that does not belong to it may begin another one */

    dst = ngx_cpymem(dst, escape, n - 1);

    return ngx_patient_guard_spelling_decode(spelling, &ch, &ch + 1, dst);
}


/*
 * The character; NGX_AGAIN: it is not complete; NGX_DONE: it stays as it is;
 * NGX_DECLINED: so does it, without its last byte.
 */

static ngx_int_t
ngx_patient_guard_spelling_form(u_char *escape, ngx_uint_t n)
{
    u_char  *p;

    for (p = escape + 1; p < escape + n; p++) {
        if (ngx_hextoi(p, 1) == NGX_ERROR) {
            return NGX_DECLINED;
        }
    }

    return n == 3 ? ngx_hextoi(escape + 1, 2) : NGX_AGAIN;
}


static ngx_int_t
ngx_patient_guard_spelling_json(u_char *escape, ngx_uint_t n)
{
    u_char     *p;
    ngx_int_t   ch;

    if (n == 1) {
        return NGX_AGAIN;
    }

    if (escape[1] == '/') {
        return '/';
    }

    if (escape[1] != 'u') {
        return NGX_DONE;
    }

    for (p = escape + 2; p < escape + n; p++) {
        if (ngx_hextoi(p, 1) == NGX_ERROR) {
            return NGX_DECLINED;
        }
    }

    if (n < 6) {
        return NGX_AGAIN;
    }

    ch = ngx_hextoi(escape + 2, 4);

    return ch < 0x20 || ch > 0x7e || ch == '"' || ch == '\\' ? NGX_DONE : ch;
}
