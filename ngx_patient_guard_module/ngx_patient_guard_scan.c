
#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>

#include "ngx_patient_guard_scan.h"

/* bytes; what look-behinds reach must be less than what is kept for them */
#define NGX_PATIENT_GUARD_SCAN_BEHIND      512
#define NGX_PATIENT_GUARD_SCAN_SLICE       8192
#define NGX_PATIENT_GUARD_SCAN_LOOKBEHIND  127

#define NGX_PATIENT_GUARD_SCAN_BUFFER                                        \
    (NGX_PATIENT_GUARD_SCAN_BEHIND + NGX_PATIENT_GUARD_SCAN_MAX              \
     + NGX_PATIENT_GUARD_SCAN_SLICE)

#define NGX_PATIENT_GUARD_SCAN_OPTIONS                                       \
    (PCRE2_NEVER_UTF|PCRE2_NEVER_UCP|PCRE2_NEVER_BACKSLASH_C|PCRE2_DUPNAMES)

/* of PCRE2: bytes of stack for JIT, KiB of heap where it interprets */
#define NGX_PATIENT_GUARD_SCAN_STACK_MIN   (32 * 1024)
#define NGX_PATIENT_GUARD_SCAN_STACK_MAX   (256 * 1024)
#define NGX_PATIENT_GUARD_SCAN_HEAP        4096

/* steps: PCRE2 counts them, with JIT or without, for each start anew */
#define NGX_PATIENT_GUARD_SCAN_STEPS       10000

/*
 * A start whose match is still open after SCAN_MAX bytes costs as many steps,
 * and so may the next: there may be so many up to a byte of the stream.
 */
#define ngx_patient_guard_scan_open(offset)  (128 + (offset) / 128)


struct ngx_patient_guard_pattern_s {
    pcre2_code                   *code;
    pcre2_code                   *anchored;    /* the same, at one start */
    pcre2_match_context          *context;
    pcre2_match_data             *match;
    pcre2_jit_stack              *stack;
    ngx_uint_t                    groups[NGX_PATIENT_GUARD_SCAN_GROUPS];
    ngx_uint_t                    ngroups;
};


struct ngx_patient_guard_scan_s {
    ngx_patient_guard_pattern_t  *pattern;
    ngx_pool_t                   *pool;
    ngx_patient_guard_found_pt    found;
    void                         *data;

    u_char                       *buffer;
    u_char                       *pos;         /* the next start to try */
    u_char                       *last;

    size_t                        want;        /* from pos, to try again */
    uint64_t                      gone;        /* bytes before the buffer */
    uint64_t                      nopen;       /* starts of open matches */
    u_char                        why[128];
    unsigned                      strict:1;    /* no match may be cut off */
};


static void ngx_patient_guard_pattern_cleanup(void *data);
static const char *ngx_patient_guard_pattern_unfit(ngx_str_t *regex,
    ngx_uint_t *behinds);
static pcre2_code *ngx_patient_guard_pattern_code(ngx_pool_t *pool,
    ngx_str_t *regex, uint32_t options, ngx_str_t *why);
static const char *ngx_patient_guard_pattern_useless(
    ngx_patient_guard_pattern_t *pattern, ngx_uint_t behinds);
static ngx_int_t ngx_patient_guard_pattern_scratch(
    ngx_patient_guard_pattern_t *pattern);
static void *ngx_patient_guard_pattern_refuse(ngx_pool_t *pool,
    ngx_str_t *why, ngx_str_t *regex, const char *text);

static ngx_int_t ngx_patient_guard_scan_run(ngx_patient_guard_scan_t *scan,
    ngx_uint_t final);
static ngx_int_t ngx_patient_guard_scan_pending(
    ngx_patient_guard_scan_t *scan, u_char *end, size_t start);
static ngx_int_t ngx_patient_guard_scan_match(ngx_patient_guard_scan_t *scan,
    pcre2_code *code, u_char *end, uint32_t options);
static ngx_int_t ngx_patient_guard_scan_take(ngx_patient_guard_scan_t *scan);


ngx_patient_guard_pattern_t *
ngx_patient_guard_pattern_compile(ngx_pool_t *pool, ngx_str_t *regex,
    ngx_str_t *why)
{
    ngx_uint_t                    behinds;
    const char                   *fault;
    ngx_pool_cleanup_t           *cln;
    ngx_patient_guard_pattern_t  *pattern;

    ngx_str_null(why);

    fault = ngx_patient_guard_pattern_unfit(regex, &behinds);
    if (fault) {
        return ngx_patient_guard_pattern_refuse(pool, why, regex, fault);
    }

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_patient_guard_pattern_t));
    if (cln == NULL) {
        return NULL;
    }

    pattern = cln->data;
    ngx_memzero(pattern, sizeof(ngx_patient_guard_pattern_t));

    cln->handler = ngx_patient_guard_pattern_cleanup;

    pattern->code = ngx_patient_guard_pattern_code(pool, regex, 0, why);
    if (pattern->code == NULL) {
        return NULL;
    }

    fault = ngx_patient_guard_pattern_useless(pattern, behinds);
    if (fault) {
        return ngx_patient_guard_pattern_refuse(pool, why, regex, fault);
    }

    pattern->anchored = ngx_patient_guard_pattern_code(pool, regex,
                                                       PCRE2_ANCHORED, why);
    if (pattern->anchored == NULL
        || ngx_patient_guard_pattern_scratch(pattern) != NGX_OK)
    {
        return NULL;
    }

    return pattern;
}


static void
ngx_patient_guard_pattern_cleanup(void *data)
{
    ngx_patient_guard_pattern_t  *pattern = data;

    pcre2_match_data_free(pattern->match);
    pcre2_match_context_free(pattern->context);
    pcre2_jit_stack_free(pattern->stack);
    pcre2_code_free(pattern->anchored);
    pcre2_code_free(pattern->code);
}


/*
 * What has no meaning in a stream, or another one: by its looks, so that it
 * is also refused in a comment or in \Q...\E, but never overlooked.  Counts
 * the look-behinds.
 */

static const char *
ngx_patient_guard_pattern_unfit(ngx_str_t *regex, ngx_uint_t *behinds)
{
    u_char  *p, *last;

    *behinds = 0;

    p = regex->data;
    last = p + regex->len;

    for ( /* void */ ; last - p > 1; p++) {

        if (p[0] == '(' && p[1] == '*') {
            return "has \"(*\", a verb of no use in a stream; write \"\\(*\" "
                   "or \"[*(]\" for the characters, \"(?=\" for \"(*pla:\"";
        }

        if (last - p > 3 && p[0] == '(' && p[1] == '?' && p[2] == '<'
            && (p[3] == '=' || p[3] == '!'))
        {
            (*behinds)++;
        }

        if (p[0] != '\\') {
            continue;
        }

        switch (*++p) {

        case 'C':
        case 'G':
        case 'K':
            return "has \\C, \\G or \\K, of no use in a stream; write \".\", "
                   "\"^\" or \"(?<=...)\"";

        case 'c':

            /* a backslash behind it would hide or feign the next escape */

            if (last - p > 1 && p[1] == '\\') {
                return "has \"\\c\\\"; write \"\\x1c\"";
            }
        }
    }

    return NULL;
}


static pcre2_code *
ngx_patient_guard_pattern_code(ngx_pool_t *pool, ngx_str_t *regex,
    uint32_t options, ngx_str_t *why)
{
    int                     error;
    u_char                  said[128], text[256];
    pcre2_code             *code;
    PCRE2_SIZE              offset;
    pcre2_compile_context  *context;

    context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return NULL;
    }

    (void) pcre2_set_newline(context, PCRE2_NEWLINE_LF);

    code = pcre2_compile(regex->data, regex->len,
                         NGX_PATIENT_GUARD_SCAN_OPTIONS|options, &error,
                         &offset, context);

    pcre2_compile_context_free(context);

    if (code) {

        /* where it cannot be, it is interpreted */

        (void) pcre2_jit_compile(code, options ? PCRE2_JIT_COMPLETE
                                : PCRE2_JIT_COMPLETE|PCRE2_JIT_PARTIAL_HARD);
        return code;
    }

    if (error == PCRE2_ERROR_HEAP_FAILED) {
        return NULL;
    }

    (void) pcre2_get_error_message(error, said, sizeof(said));
    ngx_sprintf(text, "has a fault at byte %uz: %s%Z", (size_t) offset, said);

    return ngx_patient_guard_pattern_refuse(pool, why, regex, (char *) text);
}


/* of a pattern that is well-formed; notes the groups */

static const char *
ngx_patient_guard_pattern_useless(ngx_patient_guard_pattern_t *pattern,
    ngx_uint_t behinds)
{
    int         size;
    uint32_t    behind, empty;
    PCRE2_SPTR  first, last;

    (void) pcre2_pattern_info(pattern->code, PCRE2_INFO_MATCHEMPTY, &empty);
    (void) pcre2_pattern_info(pattern->code, PCRE2_INFO_MAXLOOKBEHIND,
                              &behind);
    if (empty) {
        return "may match where there is nothing; let it match a byte";
    }

    /* one inside another reaches further: all of them, if it comes to that */

    if (behind > NGX_PATIENT_GUARD_SCAN_LOOKBEHIND
        || behind * behinds > 4 * NGX_PATIENT_GUARD_SCAN_LOOKBEHIND)
    {
        return "looks behind too far; one look-behind may be of 127 bytes, "
               "and all together of 508";
    }

    size = pcre2_substring_nametable_scan(pattern->code,
                                          (PCRE2_SPTR) "patient", &first,
                                          &last);
    if (size <= 0) {
        return "has no group \"patient\"; write \"(?<patient>...)\" around "
               "what names one";
    }

    for ( /* void */ ; first <= last; first += size) {

        if (pattern->ngroups == NGX_PATIENT_GUARD_SCAN_GROUPS) {
            return "has more than 8 groups \"patient\"; split it";
        }

        pattern->groups[pattern->ngroups++] = first[0] << 8 | first[1];
    }

    return NULL;
}


static ngx_int_t
ngx_patient_guard_pattern_scratch(ngx_patient_guard_pattern_t *pattern)
{
    pattern->match = pcre2_match_data_create_from_pattern(pattern->code,
                                                          NULL);
    pattern->context = pcre2_match_context_create(NULL);

    if (pattern->match == NULL || pattern->context == NULL) {
        return NGX_ERROR;
    }

    (void) pcre2_set_match_limit(pattern->context,
                                 NGX_PATIENT_GUARD_SCAN_STEPS);
    (void) pcre2_set_heap_limit(pattern->context, NGX_PATIENT_GUARD_SCAN_HEAP);

    pattern->stack = pcre2_jit_stack_create(NGX_PATIENT_GUARD_SCAN_STACK_MIN,
                                            NGX_PATIENT_GUARD_SCAN_STACK_MAX,
                                            NULL);

    /* NULL without JIT; or if memory is short: 32 KiB must do */

    pcre2_jit_stack_assign(pattern->context, NULL, pattern->stack);

    return NGX_OK;
}


/* NULL for its caller to return */

static void *
ngx_patient_guard_pattern_refuse(ngx_pool_t *pool, ngx_str_t *why,
    ngx_str_t *regex, const char *text)
{
    size_t  len;

    len = sizeof("the expression \"\" ") - 1 + regex->len + ngx_strlen(text);

    why->data = ngx_pnalloc(pool, len);
    if (why->data == NULL) {
        return NULL;
    }

    why->len = ngx_snprintf(why->data, len, "the expression \"%V\" %s", regex,
                            text)
               - why->data;
    return NULL;
}


ngx_patient_guard_scan_t *
ngx_patient_guard_scan_create(ngx_patient_guard_pattern_t *pattern,
    ngx_pool_t *pool, ngx_patient_guard_found_pt found, void *data)
{
    ngx_patient_guard_scan_t  *scan;

    scan = ngx_pcalloc(pool, sizeof(ngx_patient_guard_scan_t));
    if (scan == NULL) {
        return NULL;
    }

    scan->pattern = pattern;
    scan->pool = pool;
    scan->found = found;
    scan->data = data;

    return scan;
}


ngx_int_t
ngx_patient_guard_scan_feed(ngx_patient_guard_scan_t *scan, u_char *p,
    u_char *last)
{
    size_t     len, gone;
    ngx_int_t  rc;

    if (scan->buffer == NULL) {
        scan->buffer = ngx_pnalloc(scan->pool, NGX_PATIENT_GUARD_SCAN_BUFFER);
        if (scan->buffer == NULL) {
            return NGX_ERROR;
        }

        scan->pos = scan->buffer;
        scan->last = scan->buffer;
    }

    for ( /* void */ ; p < last; p += len) {
        len = ngx_min(last - p, NGX_PATIENT_GUARD_SCAN_SLICE);

        /* fewer than SCAN_MAX bytes from pos, and BEHIND before it, if there
           are as many: a start of the buffer that is not the stream's is out
           of reach, and "^" and "\A" do not match there */

        if (scan->last + len > scan->buffer + NGX_PATIENT_GUARD_SCAN_BUFFER) {
            gone = scan->pos - scan->buffer;
            gone -= ngx_min(gone, NGX_PATIENT_GUARD_SCAN_BEHIND);

            ngx_memmove(scan->buffer, scan->buffer + gone,
                        scan->last - scan->buffer - gone);
            scan->pos -= gone;
            scan->last -= gone;
            scan->gone += gone;
        }

        scan->last = ngx_cpymem(scan->last, p, len);

        rc = ngx_patient_guard_scan_run(scan, 0);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_scan_end(ngx_patient_guard_scan_t *scan)
{
    return ngx_patient_guard_scan_run(scan, 1);
}


void
ngx_patient_guard_scan_strict(ngx_patient_guard_scan_t *scan)
{
    scan->strict = 1;
}


const char *
ngx_patient_guard_scan_why(ngx_patient_guard_scan_t *scan)
{
    return (char *) scan->why;
}


/*
 * Each try sees SCAN_MAX bytes from the first start that it tries.  A start
 * is settled by a try that does not see its end, or sees all that the start
 * may see: so the finds do not depend on where the stream is cut.
 */

static ngx_int_t
ngx_patient_guard_scan_run(ngx_patient_guard_scan_t *scan, ngx_uint_t final)
{
    size_t       left;
    u_char      *end;
    ngx_int_t    rc;
    ngx_uint_t   whole;
    PCRE2_SIZE  *offsets;

    offsets = pcre2_get_ovector_pointer(scan->pattern->match);

    for ( ;; ) {
        left = scan->last - scan->pos;

        if (left == 0 || (left < scan->want && !final)) {
            return NGX_OK;
        }

        end = scan->pos + ngx_min(left, NGX_PATIENT_GUARD_SCAN_MAX);
        whole = (final && end == scan->last);
        scan->want = 0;

        rc = ngx_patient_guard_scan_match(scan, scan->pattern->code, end,
                                          whole ? 0 : PCRE2_PARTIAL_HARD);

        /* a match that ends here might be longer, of "\R{2}" for one, though
           PCRE2 does not say so */

        if (rc == NGX_OK && !whole && scan->buffer + offsets[1] == end) {
            rc = NGX_AGAIN;
        }

        switch (rc) {

        case NGX_OK:
            rc = ngx_patient_guard_scan_take(scan);
            break;

        case NGX_AGAIN:
            rc = ngx_patient_guard_scan_pending(scan, end, offsets[0]);
            break;

        case NGX_DONE:
            rc = NGX_OK;
            scan->pos = end;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


/*
 * A match begins at start, but what follows end may change it.  If that is
 * all that the start may see it matches so, or not at all.
 */

static ngx_int_t
ngx_patient_guard_scan_pending(ngx_patient_guard_scan_t *scan, u_char *end,
    size_t start)
{
    size_t     len;
    ngx_int_t  rc;

    scan->pos = scan->buffer + start;
    len = end - scan->pos;

    if (len < NGX_PATIENT_GUARD_SCAN_MAX) {

        /* not at each byte of a stream that dribbles: its square in all */

        if (end == scan->last) {
            len += len / 8 + 1;
            scan->want = ngx_min(len, NGX_PATIENT_GUARD_SCAN_MAX);
        }

        return NGX_OK;
    }

    if (scan->strict) {
        ngx_sprintf(scan->why, "a match is too long%Z");
        return NGX_DECLINED;
    }

    if (++scan->nopen > ngx_patient_guard_scan_open(scan->gone + start)) {
        ngx_sprintf(scan->why, "too many matches are begun that do not end "
                    "within %d bytes%Z", NGX_PATIENT_GUARD_SCAN_MAX);
        return NGX_DECLINED;
    }

    rc = ngx_patient_guard_scan_match(scan, scan->pattern->anchored, end,
                                      PCRE2_NOTEOL);
    if (rc == NGX_DONE) {
        scan->pos++;
        return NGX_OK;
    }

    return rc == NGX_OK ? ngx_patient_guard_scan_take(scan) : rc;
}


/*
 * From pos to end: NGX_OK, the match data tells what matches; NGX_AGAIN, a
 * match begins; NGX_DONE, none does; NGX_DECLINED.
 */

static ngx_int_t
ngx_patient_guard_scan_match(ngx_patient_guard_scan_t *scan, pcre2_code *code,
    u_char *end, uint32_t options)
{
    int                           rc;
    ngx_patient_guard_pattern_t  *pattern;

    pattern = scan->pattern;

    rc = pcre2_match(code, scan->buffer, end - scan->buffer,
                     scan->pos - scan->buffer, options|PCRE2_NOTEMPTY,
                     pattern->match, pattern->context);
    if (rc >= 0) {
        return NGX_OK;
    }

    switch (rc) {

    case PCRE2_ERROR_PARTIAL:
        return NGX_AGAIN;

    case PCRE2_ERROR_NOMATCH:
        return NGX_DONE;
    }

    (void) pcre2_get_error_message(rc, scan->why, sizeof(scan->why));

    return NGX_DECLINED;
}


/* found() may use the pattern, and its match data, for another scan */

static ngx_int_t
ngx_patient_guard_scan_take(ngx_patient_guard_scan_t *scan)
{
    ngx_str_t                     value;
    ngx_uint_t                    i;
    PCRE2_SIZE                   *offsets, *group;
    ngx_patient_guard_pattern_t  *pattern;

    pattern = scan->pattern;
    offsets = pcre2_get_ovector_pointer(pattern->match);

    scan->pos = scan->buffer + offsets[1];

    for (i = 0; i < pattern->ngroups; i++) {
        group = &offsets[2 * pattern->groups[i]];

        if (group[0] != PCRE2_UNSET && group[0] < group[1]) {
            value.data = scan->buffer + group[0];
            value.len = group[1] - group[0];

            return scan->found(scan->data, &value);
        }
    }

    return NGX_OK;
}
