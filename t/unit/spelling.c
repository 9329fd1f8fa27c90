
/* Spellings undone: by examples, cut anywhere, and beside a plain decoder. */


/* rooms: ngx_patient_guard_spelling */

#include "ngx_patient_guard_spelling.h"
#include "tap.h"

#include <stdlib.h>


#define MOST  64
#define FORM  NGX_PATIENT_GUARD_FORM
#define JSON  NGX_PATIENT_GUARD_JSON


static const struct {
    ngx_patient_guard_spelling_e  kind;
    const char                   *spelt;
    const char                   *plain;
} examples[] = {
    { FORM, "", "" },
    { FORM, "_id=%31%32&x=a+b", "_id=12&x=a b" },
    { FORM, "%2C%2c%25%32%35", ",,%25" },
    { FORM, "%2531", "%31" },
    { FORM, "%2B+%20", "+  " },
    { FORM, "%", "%" },
    { FORM, "%3", "%3" },
    { FORM, "%%%", "%%%" },
    { FORM, "%zz%3g%%31%3%31", "%zz%3g%1%31" },
    { FORM, "%+%3+", "% %3 " },
    { FORM, "%C3%A9\xc3\xa9", "\xc3\xa9\xc3\xa9" },
    { FORM, "%u0031", "%u0031" },
    { FORM, "\\u0031\\/", "\\u0031\\/" },
    { JSON, "", "" },
    { JSON, "\"Patient\\/\\u0031\\u002F\"", "\"Patient/1/\"" },
    { JSON, "\\u0020\\u007e\\u007E\\u004a\\u004A", " ~~JJ" },
    { JSON, "\\\\u0031 \\\\\\u0031", "\\\\u0031 \\\\1" },
    { JSON, "\\\\/ \\\\\\/ \\\\\\\\/", "\\\\/ \\\\/ \\\\\\\\/" },
    { JSON, "\\u0022\\u005c\\u005C\\u000a", "\\u0022\\u005c\\u005C\\u000a" },
    { JSON, "\\u00e9\\u007f\\u001f\\ud83d", "\\u00e9\\u007f\\u001f\\ud83d" },
    { JSON, "\\u005cu0031", "\\u005cu0031" },
    { JSON, "\\n\\\"\\U0031\\x31", "\\n\\\"\\U0031\\x31" },
    { JSON, "\\u00\\u0031", "\\u001" },
    { JSON, "\\u\\u\\\\u0031", "\\u\\u\\\\u0031" },
    { JSON, "\\u003g\\u003", "\\u003g\\u003" },
    { JSON, "\\u00\"\\u0031", "\\u00\"1" },
    { JSON, "\\u", "\\u" },
    { JSON, "\\", "\\" },
    { JSON, "%31+", "%31+" }
};


/* more than it may write at once was written, or held */
static int  too_much;


/* in pieces that end at those places, each in memory of just its size */

static size_t
decode(ngx_patient_guard_spelling_e kind, const char *text, size_t len,
    const size_t *cuts, size_t ncuts, char *plain)
{
    size_t                         i, from, n;
    u_char                        *piece, *room, *end;
    char                          *dst = plain;
    ngx_patient_guard_spelling_t   spelling;

    ngx_patient_guard_spelling_init(&spelling, kind);

    for (i = from = 0; i <= ncuts; i++) {
        n = (i < ncuts ? cuts[i] : len) - from;

        piece = malloc(n ? n : 1);
        room = malloc(n + NGX_PATIENT_GUARD_SPELLING_HELD);
        memcpy(piece, text + from, n);

        end = ngx_patient_guard_spelling_decode(&spelling, piece, piece + n,
                                                room);
        memcpy(dst, room, end - room);
        dst += end - room;
        from += n;

        too_much += end > room + n + NGX_PATIENT_GUARD_SPELLING_HELD
                    || spelling.n > NGX_PATIENT_GUARD_SPELLING_HELD;

        free(piece);
        free(room);
    }

    room = malloc(NGX_PATIENT_GUARD_SPELLING_HELD);
    end = ngx_patient_guard_spelling_end(&spelling, room);
    memcpy(dst, room, end - room);
    dst += end - room;

    /* nothing is said twice */

    too_much += ngx_patient_guard_spelling_end(&spelling, room) != room;

    free(room);

    return dst - plain;
}


static int
number(const char *p, const char *last, int digits)
{
    char  hex[8], *end;
    int   i;

    if (last - p < digits) {
        return -1;
    }

    for (i = 0; i < digits; i++) {
        if (p[i] == '\0' || !strchr("0123456789abcdefABCDEF", p[i])) {
            return -1;
        }
    }

    memcpy(hex, p, digits);
    hex[digits] = '\0';

    return strtol(hex, &end, 16);
}


/* the same, with the whole before its eyes */

static size_t
reference(ngx_patient_guard_spelling_e kind, const char *p, size_t len,
    char *plain)
{
    int          n;
    char        *dst = plain;
    const char  *last = p + len;

    while (p < last) {

        if (kind == FORM) {
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
is_plain(ngx_patient_guard_spelling_e kind, const char *text, size_t len,
    const size_t *cuts, size_t ncuts, const char *plain, size_t n)
{
    char  other[MOST + 8];

    return decode(kind, text, len, cuts, ncuts, other) == n
           && memcmp(plain, other, n) == 0;
}


/* whole, byte by byte, cut at each place, and at each two */

static int
same_however_cut(ngx_patient_guard_spelling_e kind, const char *text,
    size_t len)
{
    char    plain[MOST + 8];
    size_t  n, i, cuts[2], all[MOST];

    n = reference(kind, text, len, plain);

    for (i = 0; i < len; i++) {
        all[i] = i;
    }

    if (!is_plain(kind, text, len, NULL, 0, plain, n)
        || !is_plain(kind, text, len, all, len, plain, n))
    {
        return 0;
    }

    for (cuts[0] = 0; cuts[0] <= len; cuts[0]++) {
        for (cuts[1] = cuts[0]; cuts[1] <= len; cuts[1]++) {
            if (!is_plain(kind, text, len, cuts, 2, plain, n)) {
                return 0;
            }
        }
    }

    return 1;
}


static void
examples_hold(void)
{
    char    plain[MOST + 8];
    size_t  i, n;

    for (i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {

        n = decode(examples[i].kind, examples[i].spelt,
                   strlen(examples[i].spelt), NULL, 0, plain);

        ok(n == strlen(examples[i].plain)
           && memcmp(plain, examples[i].plain, n) == 0,
           "\"%s\" is \"%.*s\"", examples[i].spelt, (int) n, plain);

        ok(same_however_cut(examples[i].kind, examples[i].spelt,
                            strlen(examples[i].spelt)),
           "however it is cut");
    }
}


/* %XX of each byte, \uXXXX of each number, in small and in capitals */

static void
all_escapes_are_known(void)
{
    int     i, capital, wrong, decoded;
    char    text[8], plain[MOST], expected[8];
    size_t  n;

    for (i = wrong = 0; i < 512; i++) {
        sprintf(text, i & 1 ? "%%%02X" : "%%%02x", i >> 1);
        n = decode(FORM, text, 3, NULL, 0, plain);
        wrong += n != 1 || (u_char) plain[0] != i >> 1;
    }

    is(wrong, 0, "each %%XX is its byte");

    for (i = wrong = decoded = 0; i < 0x20000; i++) {
        capital = i & 1;
        sprintf(text, capital ? "\\u%04X" : "\\u%04x", i >> 1);
        n = decode(JSON, text, 6, NULL, 0, plain);

        strcpy(expected, text);

        if (i >> 1 >= 0x20 && i >> 1 <= 0x7e && i >> 1 != '"'
            && i >> 1 != '\\')
        {
            sprintf(expected, "%c", i >> 1);
            decoded++;
        }

        wrong += n != strlen(expected) || memcmp(plain, expected, n) != 0;
    }

    is(wrong, 0, "each \\uXXXX is its character, or stays");
    is(decoded, 2 * (95 - 2), "93 of them are characters");
}


/* all that can be written with these letters, byte by byte and whole */

static int
wrong_ones(ngx_patient_guard_spelling_e kind, const char *letters, size_t len)
{
    char    text[MOST], plain[MOST];
    size_t  i, n, k, all[MOST], total;
    int     wrong = 0;

    k = strlen(letters);

    for (i = 0, total = 1; i < len; i++) {
        all[i] = i;
        total *= k;
    }

    while (total--) {
        for (i = 0, n = total; i < len; i++, n /= k) {
            text[i] = letters[n % k];
        }

        n = reference(kind, text, len, plain);

        wrong += !is_plain(kind, text, len, NULL, 0, plain, n)
                 || !is_plain(kind, text, len, all, len, plain, n);
    }

    return wrong;
}


static void
all_short_texts_are_right(void)
{
    is(wrong_ones(FORM, "%+3cG", 6), 0, "all forms of 6 letters of these");
    is(wrong_ones(JSON, "\\u03", 8), 0, "all JSON of 8 letters of these");
    is(wrong_ones(JSON, "\\u/\"a", 5), 0, "all JSON of 5 letters of those");
}


static void
random_texts_are_right(void)
{
    int     round, wrong;
    char    text[24];
    size_t  i, n;

    static const char  letters[] = "\\\\\\uu%%/0037aFg+\"\xc3";

    for (round = wrong = 0; round < 5000; round++) {
        n = random() % sizeof(text);

        for (i = 0; i < n; i++) {

            /* any byte, NUL too, now and then; and \u00 is worth a try */

            text[i] = random() % 16 == 0 ? random()
                      : letters[random() % (sizeof(letters) - 1)];

            if (text[i] == '\\' && i + 6 < n && random() % 2) {
                memcpy(text + i, "\\u00", 4);
                i += 3;
            }
        }

        wrong += !same_however_cut(round & 1 ? JSON : FORM, text, n);
    }

    is(wrong, 0, "random ones are as the plain decoder has them");
}


int
main(void)
{
    srandom(1);

    examples_hold();
    all_escapes_are_known();
    all_short_texts_are_right();
    random_texts_are_right();

    is(too_much, 0, "never is more held or written than may be");

    return done();
}
