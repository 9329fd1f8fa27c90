
/*
 * What the targets of t/fuzz share.  A target is one file; it is linked with
 * the objects of a real nginx which has the module in it, and says in its
 * first line which functions of theirs, or of libc, it takes the place of:
 * a call of NAME goes to __wrap_NAME(), and __real_NAME() is the original.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);


/* what must hold whatever the input is */

#define must(condition)                                                      \
    ((condition) ? (void) 0 : fuzz_broken(#condition, __FILE__, __LINE__))


static inline void
fuzz_broken(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}


/* an input is read from its front: zeros where it ends */

typedef struct {
    const u_char  *p;
    const u_char  *last;
} input_t;


static inline uint8_t
input_byte(input_t *in)
{
    return in->p < in->last ? *in->p++ : 0;
}


static inline uint16_t
input_short(input_t *in)
{
    uint16_t  high;

    high = input_byte(in) << 8;

    return high | input_byte(in);
}


/* a copy of at most len bytes, the end of which AddressSanitizer knows */

static inline ngx_str_t
input_copy(input_t *in, size_t len)
{
    ngx_str_t  copy;

    copy.len = ngx_min(len, (size_t) (in->last - in->p));
    copy.data = malloc(copy.len ? copy.len : 1);
    must(copy.data != NULL);
    memcpy(copy.data, in->p, copy.len);
    in->p += copy.len;

    return copy;
}


/* ... up to a separator, which is left out */

static inline ngx_str_t
input_until(input_t *in, u_char separator)
{
    ngx_str_t      copy;
    const u_char  *end;

    end = memchr(in->p, separator, in->last - in->p);
    copy = input_copy(in, (end ? end : in->last) - in->p);

    if (end) {
        in->p++;
    }

    return copy;
}


/* nginx' log: every line is written, and only counted */

static ngx_uint_t  fuzz_lines;


static inline void
fuzz_line(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    must(len <= NGX_MAX_ERROR_STR);
    fuzz_lines += level <= NGX_LOG_ERR;
}


static ngx_log_t  fuzz_log = {
    .log_level = NGX_LOG_INFO,
    .writer = fuzz_line
};


static inline void
fuzz_init(void)
{
    ngx_use_stderr = 0;
    ngx_pagesize = getpagesize();

    for (ngx_pagesize_shift = 0;
         (ngx_uint_t) 1 << ngx_pagesize_shift < ngx_pagesize;
         ngx_pagesize_shift++)
    {
        /* void */
    }

    ngx_cacheline_size = 64;
}


static inline ngx_pool_t *
fuzz_pool(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, &fuzz_log);
    must(pool != NULL);

    return pool;
}


#endif /* _FUZZ_H_INCLUDED_ */
