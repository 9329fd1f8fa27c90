
/*
 * Redis' protocol, RESP2: commands out, replies in.  The only room that
 * knows hiredis; its reader is given functions of ours that allocate nothing
 * and refuse what the guard never asks for.
 */


#ifndef _NGX_PATIENT_GUARD_RESP_H_INCLUDED_
#define _NGX_PATIENT_GUARD_RESP_H_INCLUDED_


#include "ngx_patient_guard.h"


/* of one reply, bytes, unless it may be larger; and at the very most */
#define NGX_PATIENT_GUARD_REPLY_MAX   4096
#define NGX_PATIENT_GUARD_REPLY_HUGE  65536

/* it may be an array: REPLY_MAX for each string, REPLY_TREE_MAX in all */
#define NGX_PATIENT_GUARD_REPLY_TREE      ((size_t) -1)
#define NGX_PATIENT_GUARD_REPLY_TREE_MAX  (4 * 1024 * 1024)


typedef enum {
    NGX_PATIENT_GUARD_REPLY_STATUS = 0,
    NGX_PATIENT_GUARD_REPLY_ERROR,
    NGX_PATIENT_GUARD_REPLY_STRING,
    NGX_PATIENT_GUARD_REPLY_INTEGER,           /* in arrays only, */
    NGX_PATIENT_GUARD_REPLY_NIL,               /*   this or a reply */
    NGX_PATIENT_GUARD_REPLY_ARRAY
} ngx_patient_guard_reply_e;


/* an array and all that is in it, as it comes: the reply itself is first */

typedef struct {
    ngx_patient_guard_reply_e    type;
    ngx_uint_t                   depth;
    ngx_str_t                    text;
    int64_t                      number;       /* or of elements */
} ngx_patient_guard_item_t;


typedef struct {
    ngx_patient_guard_reply_e    type;
    ngx_str_t                    text;         /* until the next reply */
    ngx_patient_guard_item_t    *items;        /* of an array, as long */
    ngx_uint_t                   nitems;
} ngx_patient_guard_reply_t;


typedef struct ngx_patient_guard_resp_s  ngx_patient_guard_resp_t;


/* NULL if memory is short */
ngx_patient_guard_resp_t *ngx_patient_guard_resp_create(void);
void ngx_patient_guard_resp_destroy(ngx_patient_guard_resp_t *resp);

/* NGX_OK; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_resp_feed(ngx_patient_guard_resp_t *resp,
    u_char *data, size_t len);

/*
 * NGX_OK     a whole reply;
 * NGX_AGAIN  more has to be fed first;
 * NGX_ERROR  no RESP, or none that the command is answered by: an array, a
 *            number or nil where "most" is not NGX_PATIENT_GUARD_REPLY_TREE,
 *            more than "most" bytes (never fewer than 4 KiB).  The reader is
 *            of no use any more.
 */
ngx_int_t ngx_patient_guard_resp_next(ngx_patient_guard_resp_t *resp,
    ngx_patient_guard_reply_t *reply, size_t most);

/* is it an error of this kind, "MOVED" say? */
ngx_uint_t ngx_patient_guard_resp_says(ngx_patient_guard_reply_t *reply,
    const char *code);

/* NOAUTH, WRONGPASS, NOPERM, also in a script: until it is mended */
ngx_uint_t ngx_patient_guard_resp_refused(ngx_patient_guard_reply_t *reply);

/* may it be a host, whom a reply tells of?  Empty is one that is not told */
ngx_uint_t ngx_patient_guard_resp_host(ngx_str_t *text);

/* for a log: terminated, cut to 128 bytes, what is not printable a "?" */
const char *ngx_patient_guard_resp_printable(ngx_str_t *text);


/* a command is an array header and that many strings, written one by one */

#define NGX_PATIENT_GUARD_RESP_HEAD  (sizeof("*" "\r\n") - 1 + NGX_SIZE_T_LEN)

#define ngx_patient_guard_resp_size(len)                                     \
    (sizeof("$" "\r\n" "\r\n") - 1 + NGX_SIZE_T_LEN + (len))

u_char *ngx_patient_guard_resp_command(u_char *p, size_t nargs);
u_char *ngx_patient_guard_resp_arg(u_char *p, const void *data, size_t len);

/* or in parts: "len" bytes lie between the two */
u_char *ngx_patient_guard_resp_begin(u_char *p, size_t len);
u_char *ngx_patient_guard_resp_end(u_char *p);

u_char *ngx_patient_guard_resp_number(u_char *p, uint64_t number);


#endif /* _NGX_PATIENT_GUARD_RESP_H_INCLUDED_ */
