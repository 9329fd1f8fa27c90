
/* What the desk is asked of an account, or ordered to do with it. */


#ifndef _NGX_HTTP_PATIENT_GUARD_ASKING_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_ASKING_H_INCLUDED_


#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_text.h"


typedef struct ngx_http_patient_guard_asking_s
    ngx_http_patient_guard_asking_t;


/* one policy after the other is asked, or told */

struct ngx_http_patient_guard_asking_s {
    ngx_http_patient_guard_ctx_t          ctx;       /* first */
    ngx_http_patient_guard_text_t         text;
    ngx_str_t                             id;        /* decoded */
    ngx_patient_guard_order_e             order;     /* 0: it is a question */
    uint64_t                              lasts;     /* ms, of a block */
    ngx_patient_guard_telling_t           telling;
    ngx_patient_guard_named_t             stranger;  /* who is not known */
    ngx_http_patient_guard_policy_t     **policies;
    ngx_uint_t                            npolicies;
    ngx_http_patient_guard_policy_t      *named;     /* the only one */
    ngx_uint_t                            n;         /* the one at hand */
    const char                           *detail;    /* what is wrong */
    unsigned                              by_alias:1;
    unsigned                              apart:1;   /* a node knows alone */
};


#define ngx_http_patient_guard_asking_policy(asking)                         \
    ((asking)->policies[(asking)->n])


/*
 * Reads it from the request; path is what is behind "accounts/", as it was
 * sent.  NGX_OK: it is understood; else a status, and asking->detail what is
 * wrong, or NULL.
 */
ngx_int_t ngx_http_patient_guard_asking_read(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes);

/*
 * The account's aliases under that policy; NGX_DECLINED if it is no login, or
 * no alias.
 */
ngx_int_t ngx_http_patient_guard_asking_alias(
    ngx_http_patient_guard_asking_t *asking,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous);


#endif /* _NGX_HTTP_PATIENT_GUARD_ASKING_H_INCLUDED_ */
