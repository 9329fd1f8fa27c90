
/*
 * What a regular expression's group "patient" captures in a stream of bytes
 * that comes in pieces cut anywhere: the same finds as in one piece, in a
 * work buffer of 12.5 KiB.  The only room that knows PCRE2.
 *
 * Matches follow each other from left to right and do not overlap.  One that
 * begins at a byte sees NGX_PATIENT_GUARD_SCAN_MAX bytes from there at most,
 * what it looks ahead to included: the rest is to it as if it were not, but
 * that "$" does not match before it.  Bytes are no characters: no UTF, and
 * lines end with LF.
 */


#ifndef _NGX_PATIENT_GUARD_SCAN_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SCAN_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_SCAN_MAX     4096    /* bytes of a match */
#define NGX_PATIENT_GUARD_SCAN_GROUPS  8       /* of the name "patient" */


/* of the configuration; with scratch memory of which each worker has its own,
   since it forked: one thread at a time */

typedef struct ngx_patient_guard_pattern_s  ngx_patient_guard_pattern_t;

/* one stream */

typedef struct ngx_patient_guard_scan_s  ngx_patient_guard_scan_t;

/*
 * A find, never empty; it lies in the scan's buffer, and is gone when the
 * handler returns.  Anything but NGX_OK ends the scan.  The handler may feed
 * another scan, not this one.
 */
typedef ngx_int_t (*ngx_patient_guard_found_pt)(void *data, ngx_str_t *value);


/*
 * Lives as long as the pool, which frees what PCRE2 allocates.  NULL: *why
 * tells what is wrong with the expression, and what would be right, in the
 * pool; it is empty if memory is short.
 */
ngx_patient_guard_pattern_t *ngx_patient_guard_pattern_compile(
    ngx_pool_t *pool, ngx_str_t *regex, ngx_str_t *why);

/*
 * NULL if memory is short.  The pattern must outlive the pool; the buffer is
 * taken from the pool when the first byte is fed.
 */
ngx_patient_guard_scan_t *ngx_patient_guard_scan_create(
    ngx_patient_guard_pattern_t *pattern, ngx_pool_t *pool,
    ngx_patient_guard_found_pt found, void *data);

/*
 * NGX_OK; NGX_ERROR if memory is short; NGX_DECLINED: the pattern ran into a
 * limit, and the stream cannot be scanned; or what found() returned.  After
 * anything but NGX_OK the scan is over, and neither may be called again.  A
 * match may be told of late, when more is fed or by scan_end().
 */
ngx_int_t ngx_patient_guard_scan_feed(ngx_patient_guard_scan_t *scan,
    u_char *p, u_char *last);
ngx_int_t ngx_patient_guard_scan_end(ngx_patient_guard_scan_t *scan);

/* what may be longer than SCAN_MAX is NGX_DECLINED, not cut off */
void ngx_patient_guard_scan_strict(ngx_patient_guard_scan_t *scan);

/* after NGX_DECLINED: which limit it was, for a log */
const char *ngx_patient_guard_scan_why(ngx_patient_guard_scan_t *scan);


#endif /* _NGX_PATIENT_GUARD_SCAN_H_INCLUDED_ */
