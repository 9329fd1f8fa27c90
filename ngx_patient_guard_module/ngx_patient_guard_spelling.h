
/*
 * Undoes the spellings in which a body can hide an identifier, in a stream
 * that is cut anywhere, so that no expression need know them.
 *
 *   a form  %XX is that byte, + is a blank;
 *   JSON    \/ is /, \uXXXX of printable ASCII is that character, but for a
 *           quotation mark and a backslash: what is a string stays one.
 *
 * All else stays as it is.
 */


#ifndef _NGX_PATIENT_GUARD_SPELLING_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SPELLING_H_INCLUDED_


#include "ngx_patient_guard.h"


/* bytes of an escape that is not complete yet */
#define NGX_PATIENT_GUARD_SPELLING_HELD  5


typedef enum {
    NGX_PATIENT_GUARD_FORM = 0,
    NGX_PATIENT_GUARD_JSON
} ngx_patient_guard_spelling_e;


typedef struct {
    ngx_patient_guard_spelling_e  kind;
    ngx_uint_t                    n;           /* bytes held */
    u_char                        held[NGX_PATIENT_GUARD_SPELLING_HELD];
} ngx_patient_guard_spelling_t;


void ngx_patient_guard_spelling_init(ngx_patient_guard_spelling_t *spelling,
    ngx_patient_guard_spelling_e kind);

/*
 * Writes the plain text to dst, last - p + NGX_PATIENT_GUARD_SPELLING_HELD
 * bytes at the most, and returns its end.
 */
u_char *ngx_patient_guard_spelling_decode(
    ngx_patient_guard_spelling_t *spelling, u_char *p, u_char *last,
    u_char *dst);

/* what was held, as it is, for no more comes */
u_char *ngx_patient_guard_spelling_end(ngx_patient_guard_spelling_t *spelling,
    u_char *dst);


#endif /* _NGX_PATIENT_GUARD_SPELLING_H_INCLUDED_ */
