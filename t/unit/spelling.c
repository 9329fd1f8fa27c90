
/* Spellings undone: by examples, cut anywhere, and beside a plain decoder. */


/* rooms: ngx_patient_guard_spelling */

#include "ngx_patient_guard_spelling.h"
#include "tap.h"

#include <stdlib.h>


#define MOST  64


static const struct {
    ngx_patient_guard_spelling_e  kind;
    const char                   *spelt;
    const char                   *plain;
} examples[] = {
    { NGX_PATIENT_GUARD_FORM, "_id=%31%32&x=a+b", "_id=12&x=a b" },
    { NGX_PATIENT_GUARD_FORM, "%2C%2c%25%32%35", ",,%25" },
    { NGX_PATIENT_GUARD_FORM, "%", "%" },
    { NGX_PATIENT_GUARD_FORM, "%3", "%3" },
    { NGX_PATIENT_GUARD_FORM, "%zz%3g%%31%3%31", "%zz%3g%1%31" },
    { NGX_PATIENT_GUARD_FORM, "%+%3+", "% %3 " },
    { NGX_PATIENT_GUARD_FORM, "\\u0031", "\\u0031" },
    { NGX_PATIENT_GUARD_JSON, "\"Patient\\/\\u0031\\u002F\"",
                              "\"Patient/1/\"" },
    { NGX_PATIENT_GUARD_JSON, "\\\\u0031 \\\\\\u0031", "\\\\u0031 \\\\1" },
    { NGX_PATIENT_GUARD_JSON, "\\u0022\\u005c\\u005C\\u000a\\u00e9\\u007f",
                              "\\u0022\\u005c\\u005C\\u000a\\u00e9\\u007f" },
    { NGX_PATIENT_GUARD_JSON, "\\n\\\"\\U0031", "\\n\\\"\\U0031" },
    { NGX_PATIENT_GUARD_JSON, "\\u00\\u0031", "\\u001" },
    { NGX_PATIENT_GUARD_JSON, "\\u003", "\\u003" },
    { NGX_PATIENT_GUARD_JSON, "\\", "\\" },
    { NGX_PATIENT_GUARD_JSON, "%31+", "%31+" },
    { NGX_PATIENT_GUARD_JSON, "", "" }
};


/* in pieces that end at those places */

static size_t
decode(ngx_patient_guard_spelling_e kind, const char *text, size_t len,
    size_t *cuts, int ncuts, u_char *plain)
{
    int                            i;
    u_char                        *p, *next, *last, *end;
    ngx_patient_guard_spelling_t   spelling;

    ngx_patient_guard_spelling_init(&spelling, kind);

    p = (u_char *) text;
    last = p + len;
    end = plain;

    for (i = 0; i <= ncuts; i++) {
        next = i < ncuts ? (u_char *) text + cuts[i] : last;
        end = ngx_patient_guard_spelling_decode(&spelling, p, next, end);
        p = next;
    }

    return ngx_patient_guard_spelling_end(&spelling, end) - plain;
}


static int
hex(int ch)
{
    return ch >= '0' && ch <= '9' ? ch - '0'
           : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : -1;
}


static int
number(const char *p, const char *last, int digits)
{
    int  n = 0;

    if (last - p < digits) {
        return -1;
    }

    while (digits--) {
        if (hex(*p) < 0) {
            return -1;
        }
        n = 16 * n + hex(*p++);
    }

    return n;
}


/* the same, with the whole before its eyes */

static size_t
reference(ngx_patient_guard_spelling_e kind, const char *p, size_t len,
    u_char *plain)
{
    int          n;
    u_char      *dst = plain;
    const char  *last = p + len;

    while (p < last) {

        if (kind == NGX_PATIENT_GUARD_FORM) {
            n = *p == '%' ? number(p + 1, last, 2) : -1;
            *dst++ = n >= 0 ? n : *p == '+' ? ' ' : *p;
            p += n >= 0 ? 3 : 1;
            continue;
        }

        if (*p != '\\' || last - p < 2) {
            *dst++ = *p++;
            continue;
        }

        n = p[1] == 'u' ? number(p + 2, last, 4) : -1;

        if (p[1] == '/') {
            *dst++ = '/';
            p += 2;

        } else if (n >= 0x20 && n <= 0x7e && n != '"' && n != '\\') {
            *dst++ = n;
            p += 6;

        } else if (p[1] == 'u') {
            *dst++ = *p++;

        } else {
            *dst++ = *p++;
            *dst++ = *p++;
        }
    }

    return dst - plain;
}


static int
same_however_cut(ngx_patient_guard_spelling_e kind, const char *text,
    size_t len)
{
    size_t  n, i, cuts[2], all[MOST];
    u_char  plain[MOST + 8], other[MOST + 8];

    n = reference(kind, text, len, plain);

    for (i = 0; i < len; i++) {
        all[i] = i;
    }

    if (decode(kind, text, len, all, len, other) != n
        || memcmp(plain, other, n) != 0)
    {
        return 0;
    }

    for (cuts[0] = 0; cuts[0] <= len; cuts[0]++) {
        for (cuts[1] = cuts[0]; cuts[1] <= len; cuts[1]++) {

            if (decode(kind, text, len, cuts, 2, other) != n
                || memcmp(plain, other, n) != 0)
            {
                return 0;
            }
        }
    }

    return 1;
}


int
main(void)
{
    int          wrong, round;
    char         text[16];
    size_t       i, n;
    u_char       plain[MOST];

    static const char  letters[] = "\\\\u%/03aF+\"x";

    for (i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {

        n = decode(examples[i].kind, examples[i].spelt,
                   strlen(examples[i].spelt), NULL, 0, plain);

        ok(n == strlen(examples[i].plain)
           && memcmp(plain, examples[i].plain, n) == 0,
           "%s is %.*s", examples[i].spelt, (int) n, plain);

        ok(same_however_cut(examples[i].kind, examples[i].spelt,
                            strlen(examples[i].spelt)),
           "however it is cut");
    }

    wrong = 0;
    srandom(1);

    for (round = 0; round < 100000; round++) {
        n = random() % sizeof(text);

        for (i = 0; i < n; i++) {
            text[i] = letters[random() % (sizeof(letters) - 1)];
        }

        wrong += !same_however_cut(round & 1, text, n);
    }

    is(wrong, 0, "as the plain decoder has it, whatever is written");

    return done();
}
