
/*
 * The little of nginx' core that rooms without a request call.  Everything
 * is weak: a test that wants to see a call defines its own.  Memory comes
 * from malloc(), so that AddressSanitizer sees its bounds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>

#include <inttypes.h>
#include <openssl/sha.h>


#define weak  __attribute__((weak))


/* a moment in November 2020 */

static ngx_time_t           ngx_stub_time = { 1606000000, 0, 0 };
weak volatile ngx_time_t   *ngx_cached_time = &ngx_stub_time;


/* one line of TAP comment for each message that is not debug */

weak void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    u_char   text[NGX_MAX_ERROR_STR], *p;
    va_list  args;

    if (level >= NGX_LOG_DEBUG) {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    fprintf(stderr, "# log %d: %.*s\n", (int) level, (int) (p - text), text);
}


/* a test has one thread: a lock that is taken twice would hang for ever */

weak void
ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
    if (*mtx->lock) {
        fprintf(stderr, "# a lock that is held is taken again\n");
        abort();
    }

    *mtx->lock = 1;
}


weak ngx_uint_t
ngx_shmtx_trylock(ngx_shmtx_t *mtx)
{
    return *mtx->lock ? 0 : (*mtx->lock = 1);
}


weak void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    *mtx->lock = 0;
}


weak void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    return malloc(size);
}


weak void *
ngx_slab_alloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    return malloc(size);
}


weak void *
ngx_slab_calloc(ngx_slab_pool_t *pool, size_t size)
{
    return calloc(1, size);
}


weak void *
ngx_slab_calloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    return calloc(1, size);
}


weak void
ngx_slab_free(ngx_slab_pool_t *pool, void *p)
{
    free(p);
}


weak void
ngx_slab_free_locked(ngx_slab_pool_t *pool, void *p)
{
    free(p);
}


weak void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}


weak void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return calloc(1, size);
}


/* what a pool gives lives until ngx_stub_free(), or the program, ends it */

void ngx_stub_free(void);

static void  **given;
static size_t  ngiven, room;


__attribute__((destructor)) void
ngx_stub_free(void)
{
    while (ngiven) {
        free(given[--ngiven]);
    }

    free(given);

    given = NULL;
    room = 0;
}


weak void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    if (ngiven == room) {
        room = room ? 2 * room : 64;
        given = realloc(given, room * sizeof(void *));
    }

    p = malloc(size);

    if (p == NULL || given == NULL) {
        abort();
    }

    given[ngiven++] = p;

    return p;
}


weak void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    return ngx_pnalloc(pool, size);
}


weak void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    return memset(ngx_pnalloc(pool, size), 0, size);
}


/* %[0][width][u][x]{d D i l z T M L p} and %[*]{V s c Z N %} */

static u_char *
text(u_char *buf, u_char *last, const void *data, size_t len)
{
    return ngx_cpymem(buf, data, ngx_min(len, (size_t) (last - buf)));
}


static int64_t
number(char type, int sign, va_list args)
{
    int64_t  value;

    switch (type) {

    case 'd':
    case 'D':
        value = va_arg(args, int);
        return sign ? value : (uint32_t) value;

    case 'i':
    case 'l':
    case 'z':
    case 'T':
    case 'M':
    case 'L':
    case 'p':
        return va_arg(args, int64_t);
    }

    fprintf(stderr, "# the stub knows no %%%c\n", type);
    abort();
}


weak u_char *
ngx_vslprintf(u_char *buf, u_char *last, const char *fmt, va_list args)
{
    int         width, zero, sign, hex;
    char        digits[64], c;
    size_t      len;
    int64_t     value;
    ngx_str_t  *v;

    for ( /* void */ ; *fmt && buf < last; fmt++) {

        if (*fmt != '%') {
            *buf++ = *fmt;
            continue;
        }

        zero = (*++fmt == '0');
        width = strtol(fmt, (char **) &fmt, 10);
        sign = 1;
        hex = 0;
        len = (size_t) -1;

        for ( /* void */ ; *fmt == 'u' || *fmt == 'x' || *fmt == '*'; fmt++) {
            len = (*fmt == '*') ? va_arg(args, size_t) : len;
            hex |= (*fmt == 'x');
            sign &= (*fmt != 'u');
        }

        switch (*fmt) {

        case 'V':
            v = va_arg(args, ngx_str_t *);
            buf = text(buf, last, v->data, v->len);
            continue;

        case 's':
            v = &(ngx_str_t) { len, va_arg(args, u_char *) };
            buf = text(buf, last, v->data,
                       len == (size_t) -1 ? ngx_strlen(v->data) : len);
            continue;

        case 'c':
            c = va_arg(args, int);
            buf = text(buf, last, &c, 1);
            continue;

        case 'Z':
            buf = text(buf, last, "", 1);
            continue;

        case 'N':
            buf = text(buf, last, "\n", 1);
            continue;

        case '%':
            buf = text(buf, last, "%", 1);
            continue;
        }

        value = number(*fmt, sign, args);
        hex |= (*fmt == 'p');
        len = snprintf(digits, sizeof(digits),
                       hex ? (zero ? "%0*" PRIx64 : "%*" PRIx64)
                           : sign ? (zero ? "%0*" PRId64 : "%*" PRId64)
                                  : (zero ? "%0*" PRIu64 : "%*" PRIu64),
                       width, value);
        buf = text(buf, last, digits, len);
    }

    return buf;
}


weak u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return p;
}


weak u_char *
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return p;
}


weak u_char *
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return p;
}


weak void
ngx_explicit_memzero(void *buf, size_t n)
{
    ngx_memzero(buf, n);
}


weak u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    while (len--) {
        dst = ngx_sprintf(dst, "%02xd", *src++);
    }

    return dst;
}


/* of what one ngx_sha1_update() is given */

weak void
ngx_sha1_init(ngx_sha1_t *ctx)
{
    ctx->bytes = 0;
}


weak void
ngx_sha1_update(ngx_sha1_t *ctx, const void *data, size_t size)
{
    if (ctx->bytes) {
        abort();
    }

    ctx->bytes = size;
    SHA1(data, size, ctx->buffer);
}


weak void
ngx_sha1_final(u_char result[20], ngx_sha1_t *ctx)
{
    ngx_memcpy(result, ctx->buffer, 20);
}


static const char  base64url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


weak void
ngx_encode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    size_t    i, bits;
    uint32_t  held;

    dst->len = 0;
    held = 0;
    bits = 0;

    for (i = 0; i < src->len; i++) {
        held = held << 8 | src->data[i];

        for (bits += 8; bits >= 6; bits -= 6) {
            dst->data[dst->len++] = base64url[held >> (bits - 6) & 63];
        }
    }

    if (bits) {
        dst->data[dst->len++] = base64url[held << (6 - bits) & 63];
    }
}


/* as lenient as nginx' own: ends at a "=", ignores the last few bits */

weak ngx_int_t
ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    size_t       i, bits;
    uint32_t     held;
    const char  *digit;

    dst->len = 0;
    held = 0;
    bits = 0;

    for (i = 0; i < src->len && src->data[i] != '='; i++) {
        digit = strchr(base64url, src->data[i]);

        if (digit == NULL || *digit == '\0') {
            return NGX_ERROR;
        }

        held = held << 6 | (digit - base64url);
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            dst->data[dst->len++] = (u_char) (held >> bits);
        }
    }

    return i % 4 == 1 ? NGX_ERROR : NGX_OK;
}


ngx_uint_t  ngx_pagesize = 4096;


weak ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {

        if (*line < '0' || *line > '9'
            || value > (NGX_MAX_INT_T_VALUE - (*line - '0')) / 10)
        {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


weak ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char     c;
    ngx_int_t  value;

    for (value = 0; n--; line++) {
        c = *line | 0x20;

        if (*line >= '0' && *line <= '9') {
            value = value * 16 + (*line - '0');

        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (c - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return value;
}


/* until ngx_stub_free() */

weak ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    return NGX_DECLINED;
}
