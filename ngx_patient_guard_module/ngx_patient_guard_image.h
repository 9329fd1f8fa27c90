
/*
 * A window as Redis keeps it, the value of one field of an account's hash:
 * what was counted in each of its slices and, of a limit on patients, whom.
 * Little-endian; told in ngx_patient_guard_count.lua, which keeps the same.
 * And what a node and Redis tell each other of an account by such images.
 */


#ifndef _NGX_PATIENT_GUARD_IMAGE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_IMAGE_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_IMAGE_COUNTS  (NGX_PATIENT_GUARD_SLICES + 1)

/* bytes, without the set */
#define NGX_PATIENT_GUARD_IMAGE_SIZE                                          \
    (8 + 4 + 4 * NGX_PATIENT_GUARD_IMAGE_COUNTS)


typedef struct {
    uint64_t                     newest;       /* slice */
    uint32_t                     total;        /* of the counts */
    uint32_t                     counts[NGX_PATIENT_GUARD_IMAGE_COUNTS];

    u_char                      *set;          /* 8 bytes each, those of the */
    uint32_t                     nset;         /*   oldest slice first       */
} ngx_patient_guard_image_t;


/* a charge by a call to Redis which got no answer: it may have been made */

typedef struct {
    u_char                       session[8];
    uint64_t                     number;       /* of the call */
    uint64_t                     when;         /* ms since the epoch */
    uint32_t                     count;        /* records */
    uint32_t                     novel;        /* new patients */
} ngx_patient_guard_doubt_t;

#define NGX_PATIENT_GUARD_DOUBTS      32       /* of one account, at most */
#define NGX_PATIENT_GUARD_DOUBT_SIZE  (8 + 8 + 8 + 4 + 4)


/* whom a node has seen, as it tells Redis */

#define NGX_PATIENT_GUARD_SEEN_SIZE   (8 + 4 + 1)


/* what a node tells Redis of one account, or of another key */

typedef struct {
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_account_t  previous;     /* zero: no second key */
    uint32_t                     key;          /* 0: it is an account */

    ngx_patient_guard_limit_t   *limits;       /* of all keys */
    ngx_uint_t                   nlimits;
    ngx_patient_guard_grants_t  *grants;
    uint64_t                     memory;       /* ms; 0: none is kept */

    uint64_t                     now;          /* ms since the epoch */
    uint64_t                     cleared;      /* as in the tally */
    uint64_t                     since;        /* as in the lookup */
    ngx_uint_t                   challenger;

    uint64_t                     number;       /* of the bare counts, or 0 */
    ngx_patient_guard_image_t    images[NGX_PATIENT_GUARD_LIMITS];
                                               /* newest 0: nothing to tell */
    ngx_patient_guard_doubt_t    doubts[NGX_PATIENT_GUARD_DOUBTS];
    ngx_uint_t                   ndoubts;

    u_char                      *seen;         /* SEEN_SIZE bytes each */
    ngx_uint_t                   nseen;
    uint32_t                     novel;        /* of them, to this node */

    uint32_t                     claim;        /* on the account's letter */
    unsigned                     sets:1;       /* asks who the patients are */
    unsigned                     session:1;    /* as in the lookup */
    unsigned                     due:1;
} ngx_patient_guard_parcel_t;


/* what Redis says of it */

typedef struct {
    uint64_t                     since;        /* ms; 0: not challenged */
    ngx_uint_t                   challenger;
    uint64_t                     cleared;
    ngx_patient_guard_due_t      due;
    uint32_t                     novel;        /* of those told, to Redis */
    ngx_patient_guard_image_t    images[NGX_PATIENT_GUARD_LIMITS];

    unsigned                     challenged:1;
    unsigned                     superseded:1; /* bare counts told before, */
                                               /*   or by a clock behind   */
} ngx_patient_guard_news_t;


/* the count of a slice from newest - 32 to newest */
#define ngx_patient_guard_image_count(image, slice)                          \
    (image)->counts[(slice) % NGX_PATIENT_GUARD_IMAGE_COUNTS]


/* writes it without the set; returns its end */
u_char *ngx_patient_guard_image_write(u_char *p,
    ngx_patient_guard_image_t *image);

/*
 * Reads one with the number of aliases that follow, those last counted, and
 * the aliases; the set points into the text, and *p moves behind it.
 * NGX_ERROR if it is none.
 */
ngx_int_t ngx_patient_guard_image_read(u_char **p, u_char *last,
    ngx_patient_guard_image_t *image);

/* when in s since the epoch; SEEN_SIZE bytes */
u_char *ngx_patient_guard_seen_write(u_char *p,
    ngx_patient_guard_patient_t patient, uint32_t when, ngx_uint_t novel);

u_char *ngx_patient_guard_doubt_write(u_char *p,
    ngx_patient_guard_doubt_t *doubt);

ngx_patient_guard_patient_t ngx_patient_guard_image_patient(
    ngx_patient_guard_image_t *image, uint32_t n);


#endif /* _NGX_PATIENT_GUARD_IMAGE_H_INCLUDED_ */
