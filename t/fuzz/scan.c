
/*
 * What a pattern finds in a stream.  An input is the pattern, the cuts, and
 * the text:
 *
 *     regex 1 (of the list, or the last: the input's own, up to a LF)
 *     | pieces 1 | length of each 1 (of 200 and more: 20 times that)
 *     | text
 *
 * The finds are the same in one piece and in these, the last of which is the
 * rest; and, of a regex in the list and a short text, those of PCRE2 itself.
 * A limit may be met in pieces only, or in one only.
 */


#include "fuzz.h"
#include "ngx_patient_guard_scan.h"

#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>


#define REGEX  100                   /* bytes of the input's own */


/* each find, and a byte of its length in front */

typedef struct {
    ngx_int_t   rc;
    size_t      len;
    u_char      text[32768];
} finds_t;


static const char  *regexes[] = {
    "\"Patient/(?<patient>[A-Za-z0-9.-]{1,64})\"",
    "\\b(?<patient>[1-8]\\d{14})\\b", "x(?<patient>a+)b", "^(?<patient>a+)",
    "(?m)^(?<patient>[ab]+)$", "(?<patient>a+)$", "\\A(?<patient>ab?)",
    "(?<patient>b)\\z", "(?<patient>b)\\Z", "\\b(?<patient>a+)\\b",
    "(?<=b)(?<patient>a{1,3})", "(?<!b)(?<patient>a)",
    "(?<patient>a+?)(?=b)", "(?<patient>a)(?!.*b)",
    "(?<patient>a)b|b(?<patient>1+)", "([ab])(?<patient>1+)\\1",
    "(?s)a(?<patient>.+?)b", "(?<patient>\\x00+)1", "(?<patient>\\R{2})",
    "(?!$)(?<patient>\\n)", "(?m)$(?<patient>\\s+)^",
    "(?(?=a)(?<patient>ab)|(?<patient>b1))", "(?<patient>a(?R)?b)",
    "(?=(?<patient>[ab]+)1)[ab]", "x(?<patient>[^y]*)y",
    "(?s)x(?<patient>.+)b"
};

#define NREGEXES  (sizeof(regexes) / sizeof(regexes[0]))


typedef struct {
    ngx_patient_guard_pattern_t  *pattern;
    pcre2_code                   *code;
} both_t;


static both_t             list[NREGEXES];
static ngx_pool_t        *kept;
static pcre2_match_data  *match;


static ngx_int_t
find(void *data, ngx_str_t *value)
{
    finds_t  *finds = data;

    must(value->len > 0 && value->len <= NGX_PATIENT_GUARD_SCAN_MAX + 508);

    if (finds->len + value->len >= sizeof(finds->text)) {
        return NGX_ABORT;
    }

    finds->text[finds->len++] = (u_char) value->len;
    memcpy(finds->text + finds->len, value->data, value->len);
    finds->len += value->len;

    return NGX_OK;
}


static void
scan(ngx_patient_guard_pattern_t *pattern, ngx_str_t *text, input_t cuts,
    ngx_uint_t npieces, finds_t *finds)
{
    size_t                     len;
    input_t                    in;
    ngx_str_t                  piece;
    ngx_pool_t                *pool;
    ngx_patient_guard_scan_t  *stream;

    finds->len = 0;
    finds->rc = NGX_OK;

    pool = fuzz_pool();
    stream = ngx_patient_guard_scan_create(pattern, pool, find, finds);
    must(stream != NULL);

    in.p = text->data;
    in.last = in.p + text->len;

    while (in.p < in.last && finds->rc == NGX_OK) {
        len = text->len;

        if (npieces) {
            npieces--;
            len = input_byte(&cuts);
            len = (len < 200) ? len : 20 * len;
        }

        piece = input_copy(&in, len);
        finds->rc = ngx_patient_guard_scan_feed(stream, piece.data,
                                                piece.data + piece.len);
        free(piece.data);
    }

    if (finds->rc == NGX_OK) {
        finds->rc = ngx_patient_guard_scan_end(stream);
    }

    must(finds->rc == NGX_OK || finds->rc == NGX_ABORT
         || (finds->rc == NGX_DECLINED
             && *ngx_patient_guard_scan_why(stream)));

    ngx_destroy_pool(pool);
}


static void
refer(pcre2_code *code, ngx_str_t *text, finds_t *finds)
{
    int          size;
    size_t       start;
    ngx_str_t    value;
    PCRE2_SPTR   p, first, last;
    PCRE2_SIZE  *v;

    finds->len = 0;
    finds->rc = NGX_OK;

    size = pcre2_substring_nametable_scan(code, (PCRE2_SPTR) "patient",
                                          &first, &last);
    must(size > 0);

    for (start = 0; finds->rc == NGX_OK; start = v[1]) {

        v = pcre2_get_ovector_pointer(match);

        if (pcre2_match(code, text->data, text->len, start, PCRE2_NOTEMPTY,
                        match, NULL)
            < 0)
        {
            break;
        }

        for (p = first; p <= last; p += size) {
            PCRE2_SIZE  *group = v + 2 * (p[0] << 8 | p[1]);

            if (group[0] != PCRE2_UNSET && group[0] < group[1]) {
                value.data = text->data + group[0];
                value.len = group[1] - group[0];
                finds->rc = find(finds, &value);
                break;
            }
        }
    }
}


static void
same(finds_t *a, finds_t *b)
{
    if (a->rc != NGX_OK || b->rc != NGX_OK) {
        return;
    }

    must(a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}


static void
heard(ngx_patient_guard_pattern_t *pattern, pcre2_code *code, input_t *in)
{
    input_t         cuts;
    ngx_str_t       text;
    ngx_uint_t      npieces;

    static finds_t  whole, pieces, expected;

    npieces = input_byte(in);
    cuts = *in;
    in->p += ngx_min(npieces, (size_t) (in->last - in->p));

    text = input_copy(in, (size_t) -1);

    scan(pattern, &text, cuts, 0, &whole);
    scan(pattern, &text, cuts, npieces, &pieces);
    same(&whole, &pieces);

    if (code && text.len < NGX_PATIENT_GUARD_SCAN_MAX) {
        refer(code, &text, &expected);
        same(&whole, &expected);
    }

    free(text.data);
}


static both_t *
listed(ngx_uint_t n)
{
    int          error;
    both_t      *both;
    ngx_str_t    regex, why;
    PCRE2_SIZE   offset;

    both = &list[n];

    if (both->pattern == NULL) {
        regex.data = (u_char *) regexes[n];
        regex.len = strlen(regexes[n]);
        both->pattern = ngx_patient_guard_pattern_compile(kept, &regex, &why);
        both->code = pcre2_compile(regex.data, regex.len, PCRE2_DUPNAMES,
                                   &error, &offset, NULL);
        must(both->pattern != NULL && both->code != NULL);
    }

    return both;
}


static void
own(input_t *in)
{
    ngx_str_t                     line, regex, why;
    ngx_pool_t                   *pool;
    ngx_patient_guard_pattern_t  *pattern;

    line = input_until(in, '\n');
    regex.data = line.data;
    regex.len = ngx_min(line.len, REGEX);

    pool = fuzz_pool();
    pattern = ngx_patient_guard_pattern_compile(pool, &regex, &why);
    free(line.data);

    if (pattern) {
        must(why.len == 0);
        heard(pattern, NULL, in);

    } else {
        must(why.len > 0);
    }

    ngx_destroy_pool(pool);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init();

    kept = fuzz_pool();
    match = pcre2_match_data_create(64, NULL);
    must(match != NULL);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t     in;
    both_t     *both;
    ngx_uint_t  n;

    in.p = data;
    in.last = data + size;
    n = input_byte(&in) % (NREGEXES + 1);

    if (n == NREGEXES) {
        own(&in);
        return 0;
    }

    both = listed(n);
    heard(both->pattern, both->code, &in);

    return 0;
}
