
#include "ngx_patient_guard_nir.h"


#define NGX_PATIENT_GUARD_NIR_KEYLESS  13

/* where the second character of the departement stands */
#define NGX_PATIENT_GUARD_NIR_CORSICA  6


static ngx_uint_t ngx_patient_guard_nir_read(ngx_str_t *text,
    u_char nir[NGX_PATIENT_GUARD_NIR]);
static ngx_int_t ngx_patient_guard_nir_byte(u_char **p, u_char *last);
static ngx_uint_t ngx_patient_guard_nir_formed(
    u_char nir[NGX_PATIENT_GUARD_NIR], ngx_uint_t n);
static ngx_uint_t ngx_patient_guard_nir_space(u_char ch);
static ngx_uint_t ngx_patient_guard_nir_key(
    u_char nir[NGX_PATIENT_GUARD_NIR]);


ngx_int_t
ngx_patient_guard_nir(ngx_str_t *text, ngx_uint_t keyless,
    u_char nir[NGX_PATIENT_GUARD_NIR])
{
    ngx_uint_t  n, key;

    n = ngx_patient_guard_nir_read(text, nir);

    if (n != NGX_PATIENT_GUARD_NIR
        && !(keyless && n == NGX_PATIENT_GUARD_NIR_KEYLESS))
    {
        return NGX_DECLINED;
    }

    if (!ngx_patient_guard_nir_formed(nir, n)) {
        return NGX_DECLINED;
    }

    key = ngx_patient_guard_nir_key(nir);

    if (n == NGX_PATIENT_GUARD_NIR_KEYLESS) {
        nir[13] = '0' + key / 10;
        nir[14] = '0' + key % 10;
        return NGX_OK;
    }

    return key == (ngx_uint_t) (nir[13] - '0') * 10 + (nir[14] - '0')
           ? NGX_OK : NGX_DECLINED;
}


/* how many characters there are; one too many for more than 15 */

static ngx_uint_t
ngx_patient_guard_nir_read(ngx_str_t *text,
    u_char nir[NGX_PATIENT_GUARD_NIR])
{
    u_char      *p, *last;
    ngx_int_t    ch;
    ngx_uint_t   n;

    p = text->data;
    last = p + text->len;
    n = 0;

    while (p < last) {

        ch = ngx_patient_guard_nir_byte(&p, last);

        if (ch == NGX_DECLINED) {
            continue;
        }

        if (n == NGX_PATIENT_GUARD_NIR) {
            return n + 1;
        }

        nir[n++] = (u_char) ch;
    }

    return n;
}


/* the next character, in capitals; NGX_DECLINED if it is a separator */

static ngx_int_t
ngx_patient_guard_nir_byte(u_char **p, u_char *last)
{
    u_char      bytes[3];
    ngx_int_t   n;
    ngx_uint_t  i;
    u_char     *ends[3], *s;

    s = *p;
    i = 0;

    do {
        bytes[i] = *s++;

        if (bytes[i] == '%' && last - s >= 2) {
            n = ngx_hextoi(s, 2);

            if (n != NGX_ERROR) {
                bytes[i] = (u_char) n;
                s += 2;
            }
        }

        ends[i++] = s;

    } while (i < 3 && s < last);

    *p = ends[0];

    /* U+00A0, U+202F */

    if (i >= 2 && bytes[0] == 0xc2 && bytes[1] == 0xa0) {
        *p = ends[1];
        return NGX_DECLINED;
    }

    if (i == 3 && bytes[0] == 0xe2 && bytes[1] == 0x80 && bytes[2] == 0xaf) {
        *p = ends[2];
        return NGX_DECLINED;
    }

    return ngx_patient_guard_nir_space(bytes[0]) ? NGX_DECLINED
                                                 : ngx_toupper(bytes[0]);
}


static ngx_uint_t
ngx_patient_guard_nir_space(u_char ch)
{
    switch (ch) {

    case ' ':
    case '\t':
    case '.':
    case '-':
    case '_':
    case '/':
    case '+':
        return 1;

    default:
        return 0;
    }
}


/* digits, but for Corsica's letter, and the first one no 0 and no 9 */

static ngx_uint_t
ngx_patient_guard_nir_formed(u_char nir[NGX_PATIENT_GUARD_NIR], ngx_uint_t n)
{
    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        ch = nir[i];

        if (i == NGX_PATIENT_GUARD_NIR_CORSICA && nir[i - 1] == '2'
            && (ch == 'A' || ch == 'B'))
        {
            continue;
        }

        if (ch < '0' || ch > '9') {
            return 0;
        }
    }

    return nir[0] != '0' && nir[0] != '9';
}


static ngx_uint_t
ngx_patient_guard_nir_key(u_char nir[NGX_PATIENT_GUARD_NIR])
{
    u_char      digits[NGX_PATIENT_GUARD_NIR_KEYLESS];
    uint64_t    number;
    ngx_uint_t  i;

    ngx_memcpy(digits, nir, NGX_PATIENT_GUARD_NIR_KEYLESS);

    switch (digits[NGX_PATIENT_GUARD_NIR_CORSICA]) {

    case 'A':
        digits[NGX_PATIENT_GUARD_NIR_CORSICA - 1] = '1';
        digits[NGX_PATIENT_GUARD_NIR_CORSICA] = '9';
        break;

    case 'B':
        digits[NGX_PATIENT_GUARD_NIR_CORSICA - 1] = '1';
        digits[NGX_PATIENT_GUARD_NIR_CORSICA] = '8';
        break;
    }

    number = 0;

    for (i = 0; i < NGX_PATIENT_GUARD_NIR_KEYLESS; i++) {
        number = number * 10 + (digits[i] - '0');
    }

    return (ngx_uint_t) (97 - number % 97);
}
