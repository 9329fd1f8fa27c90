
/* rooms: ngx_patient_guard_scan */


/*
 * What is found in a stream does not depend on where it is cut; and it is
 * what PCRE2 itself finds in the whole text, interpreting.
 */


#include "ngx_patient_guard_scan.h"
#include "tap.h"

#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>
#include <stdlib.h>
#include <time.h>


#define ROUNDS  200000
#define TEXT    65536
#define MANY    ((size_t) -1)


/* a pool that counts, and may be short; cleanups run when it is destroyed */

static void                *blocks[1024];
static size_t               nblocks, nbytes, short_at;
static ngx_pool_cleanup_t  *cleanups;


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    if (nblocks == sizeof(blocks) / sizeof(blocks[0])) {
        abort();
    }

    if (short_at && --short_at == 0) {
        return NULL;
    }

    nbytes += size;

    return blocks[nblocks++] = malloc(size ? size : 1);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_pnalloc(pool, size);

    return p ? memset(p, 0, size) : NULL;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *cln;

    if (short_at && --short_at == 0) {
        return NULL;
    }

    cln = malloc(sizeof(ngx_pool_cleanup_t) + size);
    cln->data = cln + 1;
    cln->handler = NULL;
    cln->next = cleanups;
    cleanups = cln;

    return cln;
}


static void
free_blocks(void)
{
    while (nblocks) {
        free(blocks[--nblocks]);
    }

    nbytes = 0;
}


static void
free_patterns(void)
{
    ngx_pool_cleanup_t  *cln;

    while (cleanups) {
        cln = cleanups;
        cleanups = cln->next;

        if (cln->handler) {
            cln->handler(cln->data);
        }

        free(cln);
    }
}


/* "<find>" after "<find>" */

typedef struct {
    size_t      len;
    ngx_int_t   rc;
    u_char      text[2 * TEXT];
} finds_t;


static finds_t  whole, pieces, expected;


static ngx_int_t
find(void *data, ngx_str_t *value)
{
    finds_t  *finds = data;

    if (value->len == 0 || finds->len + value->len + 2 > sizeof(finds->text)) {
        abort();
    }

    finds->text[finds->len++] = '<';
    memcpy(finds->text + finds->len, value->data, value->len);
    finds->len += value->len;
    finds->text[finds->len++] = '>';

    return NGX_OK;
}


static int
differ(finds_t *a, finds_t *b)
{
    return a->rc != b->rc || a->len != b->len
           || memcmp(a->text, b->text, a->len) != 0;
}


/* the same expression twice: as the module has it, and for the reference */

typedef struct {
    const char                   *regex;
    ngx_patient_guard_pattern_t  *pattern;
    pcre2_code                   *code;
} both_t;


static pcre2_match_data  *match;


static void
compile(both_t *both, const char *regex)
{
    int          error;
    ngx_str_t    text, why;
    PCRE2_SIZE   offset;

    text.len = strlen(regex);
    text.data = (u_char *) regex;

    both->regex = regex;
    both->pattern = ngx_patient_guard_pattern_compile(NULL, &text, &why);
    both->code = pcre2_compile((PCRE2_SPTR) regex, PCRE2_ZERO_TERMINATED,
                               PCRE2_DUPNAMES, &error, &offset, NULL);

    if (both->pattern == NULL || both->code == NULL) {
        printf("Bail out! %s: %.*s\n", regex, (int) why.len, why.data);
        exit(1);
    }
}


static void
forget(both_t *both)
{
    pcre2_code_free(both->code);
    free_patterns();
}


/* the group that is set, by name */

static void
refer_take(both_t *both, const u_char *text, finds_t *finds)
{
    int          size;
    ngx_str_t    value;
    PCRE2_SPTR   first, last;
    PCRE2_SIZE  *v;

    size = pcre2_substring_nametable_scan(both->code, (PCRE2_SPTR) "patient",
                                          &first, &last);

    for ( /* void */ ; first <= last; first += size) {
        v = pcre2_get_ovector_pointer(match) + 2 * (first[0] << 8 | first[1]);

        if (v[0] != PCRE2_UNSET && v[1] > v[0]) {
            value.data = (u_char *) text + v[0];
            value.len = v[1] - v[0];
            find(finds, &value);
            return;
        }
    }
}


/* start by start, if a match might be cut off; else as PCRE2 goes */

static void
refer(both_t *both, const u_char *text, size_t len, finds_t *finds)
{
    int       rc;
    size_t    start, end;
    uint32_t  options;

    finds->len = 0;
    finds->rc = NGX_OK;

    for (start = 0; start < len; /* void */ ) {
        options = PCRE2_NOTEMPTY;
        end = len;

        if (len - start >= NGX_PATIENT_GUARD_SCAN_MAX) {
            options |= PCRE2_ANCHORED|PCRE2_NOTEOL;
            end = start + NGX_PATIENT_GUARD_SCAN_MAX;
        }

        rc = pcre2_match(both->code, text, end, start, options, match, NULL);

        if (rc > 0) {
            refer_take(both, text, finds);
            start = pcre2_get_ovector_pointer(match)[1];

        } else if (options & PCRE2_ANCHORED) {
            start++;

        } else {
            break;
        }
    }
}


static ngx_int_t
feed(ngx_patient_guard_scan_t *scan, const u_char *p, size_t len)
{
    u_char     *piece;
    ngx_int_t   rc;

    /* in memory of just its size, and gone afterwards */

    piece = malloc(len ? len : 1);
    memcpy(piece, p, len);
    rc = ngx_patient_guard_scan_feed(scan, piece, piece + len);
    free(piece);

    return rc;
}


/* in pieces that end at cuts, or each of "each" bytes */

static void
scan(both_t *both, const u_char *text, size_t len, size_t *cuts, size_t n,
    size_t each, finds_t *finds)
{
    size_t                     i, from, to;
    ngx_patient_guard_scan_t  *stream;

    finds->len = 0;
    finds->rc = NGX_OK;

    stream = ngx_patient_guard_scan_create(both->pattern, NULL, find, finds);

    for (i = 0, from = 0; from < len && finds->rc == NGX_OK; from = to) {
        to = (i < n) ? cuts[i++] : len;
        to = (to - from > each) ? from + each : to;
        finds->rc = feed(stream, text + from, to - from);
    }

    if (finds->rc == NGX_OK) {
        finds->rc = ngx_patient_guard_scan_end(stream);
    }

    free_blocks();
}


static void
patterns_are_refused(void)
{
    size_t                        i;
    ngx_str_t                     regex, why;
    ngx_patient_guard_pattern_t  *pattern;

    static const char             ten[] = "(?<patient>a)|(?<patient>b)|"
        "(?<patient>c)|(?<patient>d)|(?<patient>e)|(?<patient>f)|"
        "(?<patient>g)|(?<patient>h)|(?<patient>i)";

    static struct {
        const char  *regex;
        const char  *why;
    } wrong[] = {
        { "(?<patient>a", "\"(?<patient>a\" has a fault at byte 12: "
                          "missing closing parenthesis" },
        { "(?<patient>[z-a])", "range out of order" },
        { "", "may match where there is nothing; let it match a byte" },
        { "(?<patient>a*)", "may match where there is nothing" },
        { "(?<patient>a)?(?=b)", "may match where there is nothing" },
        { "a", "has no group \"patient\"; write \"(?<patient>...)\"" },
        { "(?<Patient>a)", "has no group \"patient\"" },
        { ten, "has more than 8 groups \"patient\"; split it" },
        { "(?<=[ab]{128})(?<patient>c)", "looks behind too far" },
        { "(?<=a{120})(?<=b{2})(?<=c)(?<=d)(?<!e)(?<patient>f)",
          "one look-behind may be of 127 bytes, and all together of 508" },
        { "(?<patient>\\C)", "has \\C, \\G or \\K, of no use in a stream; "
                             "write \".\", \"^\" or \"(?<=...)\"" },
        { "\\G(?<patient>a)", "has \\C, \\G or \\K" },
        { "a\\\\\\K(?<patient>a)", "has \\C, \\G or \\K" },
        { "\\cA\\G(?<patient>a)", "has \\C, \\G or \\K" },
        { "\\c\\\\G(?<patient>a)", "has \"\\c\\\"; write \"\\x1c\"" },
        { "(*COMMIT)(?<patient>a)", "write \"\\(*\" or \"[*(]\"" },
        { "(*UTF)(?<patient>a)", "has \"(*\", a verb" },
        { "(*pla:b)(?<patient>a)", "\"(?=\" for \"(*pla:\"" },
        { "\\", "has a fault at byte 1: \\ at end of pattern" },
        { "\\c", "has a fault at byte 2" }
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        regex.len = strlen(wrong[i].regex);
        regex.data = malloc(regex.len ? regex.len : 1);
        memcpy(regex.data, wrong[i].regex, regex.len);

        pattern = ngx_patient_guard_pattern_compile(NULL, &regex, &why);

        ok(pattern == NULL && why.len
           && memmem(why.data, why.len, wrong[i].why, strlen(wrong[i].why)),
           "refused: %.*s", (int) why.len, why.len ? (char *) why.data : "");

        free(regex.data);
        free_patterns();
        free_blocks();
    }
}


static void
patterns_are_accepted(void)
{
    size_t  i;
    both_t  both;

    static const char  *right[] = {
        "(?<patient>\\\\G)", "\\\\(?<patient>K)", "(?<patient>\\cC)",
        "\\((?<patient>[*(]+)", "(?<=[ab]{127})(?<patient>c)",
        "(?P<patient>a)", "(?'patient'a)", "(?<patient>a)|(?<patient>b)",
        "(?|(?<patient>a)|(?<patient>b))", "(?<patient>\\d\\B\\b.)",
        "(?<=a{120})(?<=b{2})(?<=c)(?<!d)(?<patient>e)"
    };

    for (i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        compile(&both, right[i]);
        ok(both.pattern, "accepted: %s", right[i]);
        forget(&both);
    }
}


static void
memory_may_be_short(void)
{
    size_t                        n;
    u_char                        a[] = "a";
    ngx_str_t                     why, regex = ngx_string("(?<patient>a)");
    ngx_patient_guard_scan_t     *stream;
    ngx_patient_guard_pattern_t  *pattern;

    short_at = 1;
    pattern = ngx_patient_guard_pattern_compile(NULL, &regex, &why);
    ok(pattern == NULL && why.len == 0, "none for a pattern");

    regex.len--;
    short_at = 2;
    pattern = ngx_patient_guard_pattern_compile(NULL, &regex, &why);
    ok(pattern == NULL && why.len == 0, "none to tell why");

    regex.len++;
    short_at = 0;
    pattern = ngx_patient_guard_pattern_compile(NULL, &regex, &why);

    short_at = 1;
    stream = ngx_patient_guard_scan_create(pattern, NULL, find, &whole);
    ok(stream == NULL, "none for a scan");

    stream = ngx_patient_guard_scan_create(pattern, NULL, find, &whole);
    n = nbytes;
    short_at = 1;
    is(ngx_patient_guard_scan_feed(stream, a, a + 1), NGX_ERROR,
       "none for its buffer");
    is(nbytes, n, "nothing was taken");

    free_blocks();
    free_patterns();
}


static void
vectors_hold(void)
{
    size_t  i;
    both_t  both;

    static struct {
        const char  *regex;
        const char  *text;
        const char  *finds;
    } vectors[] = {
        { "\"Patient/(?<patient>[A-Za-z0-9.-]{1,64})\"",
          "{\"reference\":\"Patient/a-1\",\"subject\":\"Patient/b.2\"}",
          "<a-1><b.2>" },
        { "\\b(?<patient>[1-8]\\d{14})\\b",
          "185057800608436 2850578006084362 285057800608491",
          "<185057800608436><285057800608491>" },
        { "x(?<patient>a)?(?<other>b)", "xab xb xab", "<a><a>" },
        { "x(?<patient>a*)b", "xb xab", "<a>" },
        { "(?<patient>a)1|(?<patient>b)2", "a1b2a2b1a1", "<a><b><a>" },
        { "(?|(?<patient>a)1|(?<patient>b)2)", "a1b2", "<a><b>" },
        { "^(?<patient>a)", "aaa", "<a>" },
        { "(?m)^(?<patient>a)", "aa\na", "<a><a>" },
        { "(?<patient>a)$", "a\na\n", "<a>" },
        { "(?<patient>aa)", "aaaaa", "<aa><aa>" },
        { "(?<patient>a)", "", "" }
    };

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        compile(&both, vectors[i].regex);
        scan(&both, (u_char *) vectors[i].text, strlen(vectors[i].text), NULL,
             0, MANY, &whole);
        ok(whole.rc == NGX_OK && whole.len == strlen(vectors[i].finds)
           && memcmp(whole.text, vectors[i].finds, whole.len) == 0,
           "%s finds %s", vectors[i].regex, vectors[i].finds);
        forget(&both);
    }
}


static const char  *regexes[] = {
    "1(?<patient>a+)b", "^(?<patient>a+)", "(?m)^(?<patient>[ab]+)$",
    "(?<patient>a+)$", "\\A(?<patient>ab?)", "(?<patient>b)\\z",
    "(?<patient>b)\\Z", "\\b(?<patient>a+)\\b", "\\B(?<patient>[ab])",
    "(?<=b)(?<patient>a{1,3})", "(?<!b)(?<patient>a)",
    "(?<=\\Ab)(?<patient>a)", "(?<=^|1)(?<patient>[ab])",
    "(?<patient>a+?)(?=b)", "(?<patient>a)(?!b)", "(?<patient>a)(?!.*b)",
    "(?<patient>a)b|b(?<patient>1+)", "(?<patient>a|ab|aba)(?>b*)",
    "(?<patient>a*?b)", "(?<patient>[ab]+)1", "([ab])(?<patient>1+)\\1",
    "(?<patient>([ab]+)1\\2)", "(?i)(?<patient>AB+)(?-i)a",
    "(?s)a(?<patient>.+?)b", "(?s)a(?<patient>.+)b", "a++(?<patient>.)",
    "(?<patient>(?:ab|ba)+)", "(?<patient>\\x00+)1", "(?<patient>\\R)1",
    "(?<patient>\\R{2})", "(?<patient>\\R+)a", "$(?<patient>\\n)",
    "(?!$)(?<patient>\\n)", "(?!\\Z)(?<patient>\\s)", "\\Z(?<patient>\\n)",
    "(?m)(?<patient>a)$\\n(?=b)", "(?m)$(?<patient>\\s+)^",
    "(?(?=a)(?<patient>ab)|(?<patient>b1))", "(?<patient>a(?R)?b)",
    "(?<patient>\\w+)\\W", "(?<patient>\\X)1", "(?<patient>.*)1",
    "(?<patient>\\N+)(?:1|\\z)", "(?<patient>a{2,}+)(?<!aaaa)",
    "(?=(?<patient>[ab]+)1)[ab]", "(?>a+|b)(?<patient>a|b)$"
};

#define NREGEXES  (sizeof(regexes) / sizeof(regexes[0]))


static void
cuts_make_no_difference(void)
{
    int     wrong;
    size_t  i, j, len, cuts[2];
    both_t  both;

    static struct {
        size_t       len;
        const char  *text;
    } texts[] = {
#define t(text)  { sizeof(text) - 1, text }
        t("1aab aaba\nab\nbaab1\n"), t("aabab1ba1abA1\r\n\r\r\n1a\n\nb1a\n"),
        t("\0\0001ab\0\0a1\0 Ab b11b a1a aaaa\n\n"), t("baba\n"), t("\n"),
        t("a1baab\r\na\nb")
#undef t
    };

    for (i = 0; i < NREGEXES; i++) {
        compile(&both, regexes[i]);
        wrong = 0;

        for (j = 0; j < sizeof(texts) / sizeof(texts[0]); j++) {
            const u_char  *text = (u_char *) texts[j].text;

            len = texts[j].len;
            refer(&both, text, len, &expected);

            for (cuts[0] = 0; cuts[0] <= len; cuts[0]++) {
                for (cuts[1] = cuts[0]; cuts[1] <= len; cuts[1]++) {
                    scan(&both, text, len, cuts, 2, MANY, &pieces);
                    wrong += differ(&pieces, &expected);
                }
            }

            scan(&both, text, len, NULL, 0, 1, &pieces);
            wrong += differ(&pieces, &expected);
        }

        is(wrong, 0, "any two cuts, or a byte at a time: %s", both.regex);
        forget(&both);
    }
}


static void
random_texts_in_random_pieces(void)
{
    int            wrong;
    size_t         i, j, len, n, cuts[16];
    u_char         text[48];
    both_t         both[NREGEXES];
    pcre2_code    *codes[NREGEXES];
    both_t        *one;

    static const char  letters[] = "aaabb1\n\r\n \0A";

    srandom(7);

    for (i = 0; i < NREGEXES; i++) {
        compile(&both[i], regexes[i]);
        codes[i] = both[i].code;
    }

    for (i = 0, wrong = 0; i < ROUNDS; i++) {
        one = &both[random() % NREGEXES];
        len = random() % sizeof(text);
        n = random() % 2 ? 5 : sizeof(letters) - 1;

        for (j = 0; j < len; j++) {
            text[j] = letters[random() % n + (n == 5 ? 2 : 0)];
        }

        for (j = 0, n = 0; n < 16 && j < len; n++) {
            j += random() % 6;
            cuts[n] = ngx_min(j, len);
        }

        scan(one, text, len, cuts, n, MANY, &pieces);
        refer(one, text, len, &expected);

        if (differ(&pieces, &expected) && wrong++ < 5) {
            printf("# %s: %.*s, not %.*s\n", one->regex, (int) pieces.len,
                   pieces.text, (int) expected.len, expected.text);
        }
    }

    is(wrong, 0, "%d random texts", ROUNDS);

    for (i = 0; i < NREGEXES; i++) {
        pcre2_code_free(codes[i]);
    }

    free_patterns();
}


/* "bb xaaa...ay" of a match of n bytes, and more of the kind */

static size_t
long_text(u_char *text, size_t n)
{
    u_char  *p;

    p = ngx_cpymem(text, "bb x", 4);
    memset(p, 'a', n - 2);
    p = ngx_cpymem(p + n - 2, "yxaay\nb", 7);
    memset(p, 'c', 3000);
    p = ngx_cpymem(p + 3000, "xaby", 4);
    memset(p, 'a', 5000);

    return p + 5000 - text;
}


static void
a_match_sees_so_far(void)
{
    int      wrong;
    size_t   i, n, len, cut, cuts[2];
    both_t   both;

    static u_char       text[TEXT];

    static const char  *seen[] = {
        "x(?<patient>[^y]+)y", "x(?<patient>a)(?=a*y)", "(?s)x(?<patient>.*)a",
        "x(?<patient>a)(?!a*y)", "(?<=b )x(?<patient>a+)", "x(?<patient>a+)$",
        "(?m)x(?<patient>a+y?)$", "(?s)x(?<patient>.+)b", "x(?<patient>.+)\n",
        "(?s)x(?<patient>.)(?!.*y)", "(?<=x)(?<patient>a+)y\\b",
        "(?<patient>x.+?)[yb]", "x(?<patient>a)|y(?<patient>.)(?=.*\\z)"
    };

    for (i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
        compile(&both, seen[i]);
        wrong = 0;

        for (n = NGX_PATIENT_GUARD_SCAN_MAX - 4;
             n < NGX_PATIENT_GUARD_SCAN_MAX + 4;
             n++)
        {
            len = long_text(text, n);
            refer(&both, text, len, &expected);

            scan(&both, text, len, NULL, 0, MANY, &whole);
            wrong += differ(&whole, &expected);

            for (cut = 1; cut < len; cut += 1 + cut % 191) {
                cuts[0] = cut;
                cuts[1] = cut + 4090 + n % 7;
                cuts[1] = ngx_min(cuts[1], len);
                scan(&both, text, len, cuts, 2, MANY, &pieces);
                wrong += differ(&pieces, &expected);
            }

            scan(&both, text, len, NULL, 0, n % 8 ? 1000 + n % 8 : 1, &pieces);
            wrong += differ(&pieces, &expected);
        }

        is(wrong, 0, "matches of 4092 to 4100 bytes: %s", both.regex);
        forget(&both);
    }
}


static void
a_match_is_4096_bytes_at_most(void)
{
    both_t  both;

    static u_char  text[TEXT];

    compile(&both, "x(?<patient>a+)y");
    memset(text, 'a', sizeof(text));
    text[9] = 'x';
    text[9 + 4095] = 'y';

    scan(&both, text, sizeof(text), NULL, 0, MANY, &whole);
    is(whole.len, 4094 + 2, "4096 bytes match");

    text[9 + 4095] = 'a';
    text[9 + 4096] = 'y';

    scan(&both, text, sizeof(text), NULL, 0, MANY, &whole);
    is(whole.len, 0, "4097 do not");
    forget(&both);
}


/* what is kept is moved now and then, with what may be looked behind at */

static void
long_streams_are_one(void)
{
    int      wrong;
    size_t   i, j, each;
    both_t   both;

    static u_char      text[TEXT];
    static const char  letters[] = "aaaaabbbb111  \n\r";

    for (i = 0; i < NREGEXES; i++) {
        compile(&both, regexes[i]);
        wrong = 0;

        for (j = 0; j < TEXT; j++) {
            text[j] = letters[random() % (sizeof(letters) - 1)];
        }

        refer(&both, text, TEXT, &expected);

        for (each = 1; each < 2 * TEXT; each = 3 * each + 1) {
            scan(&both, text, TEXT, NULL, 0, each, &pieces);
            wrong += differ(&pieces, &expected);
        }

        is(wrong, 0, "64 KB: %s", both.regex);
        forget(&both);
    }

    compile(&both, "(?<=[^b]{127})(?<!b.{100})(?<=(?<!b.{99})a{100})"
                   "(?<patient>b)");
    memset(text, 'a', sizeof(text));

    for (j = 200; j < TEXT; j += 220 + random() % 40) {
        text[j] = 'b';
    }

    refer(&both, text, TEXT, &expected);

    for (each = 1, wrong = 0; each < TEXT; each += 1 + each / 8) {
        scan(&both, text, TEXT, NULL, 0, each, &pieces);
        wrong += differ(&pieces, &expected);
    }

    ok(wrong == 0 && expected.len > 500, "64 KB: %s", both.regex);
    forget(&both);
}


static ngx_int_t
count(void *data, ngx_str_t *value)
{
    (*(size_t *) data)++;
    return NGX_OK;
}


static void
memory_is_bounded(void)
{
    size_t                     i, n, taken;
    both_t                     both;
    ngx_patient_guard_scan_t  *stream;

    static u_char              piece[8192];

    compile(&both, "\"Patient/(?<patient>[A-Za-z0-9.-]{1,64})\"");
    memset(piece, ' ', sizeof(piece));
    memcpy(piece, "7\"", 2);
    memcpy(piece + sizeof(piece) - 10, "\"Patient/1", 10);

    n = 0;
    stream = ngx_patient_guard_scan_create(both.pattern, NULL, count, &n);
    (void) ngx_patient_guard_scan_feed(stream, piece, piece + 8192);
    taken = nbytes;

    for (i = 1; i < 8192; i++) {
        (void) ngx_patient_guard_scan_feed(stream, piece, piece + 8192);
    }

    is(n, 8191, "64 MB fed, all is found");
    is(nbytes, taken, "and no memory taken");
    ok(taken < 13500, "%d bytes in all", (int) taken);

    free_blocks();
    forget(&both);
}


static void
limits_end_a_scan(void)
{
    size_t           i;
    both_t           both;
    clock_t          began;
    ngx_str_t        why, regex;

    static u_char    text[8192];

    static struct {
        const char  *regex;
        size_t       len;
        const char  *why;
    } heavy[] = {
        { "(?<patient>(a+)+)[bc]", 8192, "match limit exceeded" },
        { "(?<patient>(a+)+)[bc]", 30, "match limit exceeded" },
        { "(?<patient>(a+)+)b", 8192, "too many matches are begun" },
        { "(?<patient>a+)b", 8192,
          "too many matches are begun that do not end within 4096 bytes" }
    };

    memset(text, 'a', sizeof(text));

    for (i = 0; i < sizeof(heavy) / sizeof(heavy[0]); i++) {
        ngx_int_t                  rc;
        ngx_patient_guard_scan_t  *stream;

        regex.data = (u_char *) heavy[i].regex;
        regex.len = strlen(heavy[i].regex);
        both.pattern = ngx_patient_guard_pattern_compile(NULL, &regex, &why);

        began = clock();
        stream = ngx_patient_guard_scan_create(both.pattern, NULL, find,
                                               &whole);
        rc = feed(stream, text, heavy[i].len);

        if (rc == NGX_OK) {
            rc = ngx_patient_guard_scan_end(stream);
        }

        ok(rc == NGX_DECLINED
           && strstr(ngx_patient_guard_scan_why(stream), heavy[i].why),
           "%s, %d bytes: %s (%.1f ms)", heavy[i].regex, (int) heavy[i].len,
           ngx_patient_guard_scan_why(stream),
           (clock() - began) * 1000.0 / CLOCKS_PER_SEC);

        free_blocks();
        free_patterns();
    }
}


static ngx_int_t
stop(void *data, ngx_str_t *value)
{
    return ++*(int *) data == 2 ? NGX_ABORT : NGX_OK;
}


static void
a_find_may_end_a_scan(void)
{
    int                        n;
    both_t                     both;
    u_char                     text[] = "aaaa";
    ngx_patient_guard_scan_t  *stream;

    compile(&both, "(?<patient>a)");
    n = 0;
    stream = ngx_patient_guard_scan_create(both.pattern, NULL, stop, &n);
    is(feed(stream, text, 4), NGX_ABORT, "what found() returns");
    is(n, 2, "the second find ended it");

    n = 1;
    stream = ngx_patient_guard_scan_create(both.pattern, NULL, stop, &n);
    is(feed(stream, text, 1), NGX_OK, "a find that may be longer waits");
    is(ngx_patient_guard_scan_end(stream), NGX_ABORT, "for the end");

    free_blocks();
    forget(&both);
}


static both_t  nested;


static ngx_int_t
nest(void *data, ngx_str_t *value)
{
    static finds_t  inner;

    ngx_patient_guard_scan_t  *stream;

    inner.len = 0;
    stream = ngx_patient_guard_scan_create(nested.pattern, NULL, find, &inner);
    (void) feed(stream, (u_char *) "..........ab", 12);
    (void) ngx_patient_guard_scan_end(stream);

    return find(data, value);
}


static void
scans_may_nest(void)
{
    ngx_patient_guard_scan_t  *stream;

    compile(&nested, "(?<patient>a+)b");
    whole.len = 0;
    stream = ngx_patient_guard_scan_create(nested.pattern, NULL, nest, &whole);
    (void) feed(stream, (u_char *) "ab aab aaab ", 12);
    (void) ngx_patient_guard_scan_end(stream);

    ok(whole.len == 12 && memcmp(whole.text, "<a><aa><aaa>", 12) == 0,
       "a find is scanned by the same pattern");

    free_blocks();
    forget(&nested);
}


int
main(void)
{
    match = pcre2_match_data_create(64, NULL);

    patterns_are_refused();
    patterns_are_accepted();
    memory_may_be_short();
    vectors_hold();
    cuts_make_no_difference();
    random_texts_in_random_pieces();
    a_match_sees_so_far();
    a_match_is_4096_bytes_at_most();
    long_streams_are_one();
    memory_is_bounded();
    limits_end_a_scan();
    a_find_may_end_a_scan();
    scans_may_nest();

    pcre2_match_data_free(match);

    return done();
}
