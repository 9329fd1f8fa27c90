
/* What the request-aware rooms share: configuration and request context. */


#ifndef _NGX_HTTP_PATIENT_GUARD_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_patient_guard.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_desk.h"
#include "ngx_patient_guard_distinct.h"
#include "ngx_patient_guard_policy.h"
#include "ngx_patient_guard_redis.h"
#include "ngx_patient_guard_scan.h"
#include "ngx_patient_guard_shm.h"
#include "ngx_patient_guard_store.h"
#include "ngx_patient_guard_stream.h"


typedef enum {
    NGX_HTTP_PATIENT_GUARD_REDIRECT = 0,
    NGX_HTTP_PATIENT_GUARD_STEP_UP,
    NGX_HTTP_PATIENT_GUARD_PAGE,
    NGX_HTTP_PATIENT_GUARD_STATUS
} ngx_http_patient_guard_challenge_e;


typedef struct {
    ngx_http_patient_guard_challenge_e   kind;
    ngx_uint_t                           status;
    ngx_http_complex_value_t             target;   /* redirect, page */
    ngx_str_t                            authenticate;       /* step_up */
} ngx_http_patient_guard_challenge_t;


/* a count that is taken from a variable for each lookup */

typedef struct {
    ngx_uint_t                           limit;
    uint32_t                             otherwise;          /* default= */
    ngx_http_complex_value_t             value;
} ngx_http_patient_guard_count_t;


/* what limits count by in place of the account */

typedef struct {
    ngx_str_t                            text;
    ngx_http_complex_value_t             value;
} ngx_http_patient_guard_per_t;


/* redis_tls, as it is written: empty where it is not */

typedef struct {
    ngx_str_t                            ca;
    ngx_str_t                            certificate;
    ngx_str_t                            key;
    ngx_str_t                            name;
    ngx_str_t                            verify;
    unsigned                             on:1;
    unsigned                             verified:1;
} ngx_http_patient_guard_tls_t;


/* one "patient_guard_policy" block; read-only once it is loaded, but for
 * the store, the desk and the stream, which each worker opens for itself */

typedef struct {
    ngx_str_t                            name;

    /* identity */
    ngx_array_t                         *accounts;   /* complex values */
    ngx_flag_t                           fold;
    ngx_uint_t                           account_missing;
    ngx_http_complex_value_t            *proof;
    ngx_uint_t                           proof_session;
    ngx_http_complex_value_t            *exempt;
    ngx_http_complex_value_t            *clock;
    ngx_patient_guard_keys_t             keys[2];    /* current, other */
    ngx_uint_t                           nkeys;

    /* limits */
    ngx_patient_guard_limit_t            limits[NGX_PATIENT_GUARD_LIMITS];
    ngx_uint_t                           nlimits;
    ngx_array_t                         *counts;     /* from variables */
    ngx_http_patient_guard_per_t         pers[NGX_PATIENT_GUARD_KEYS - 1];
    ngx_uint_t                           npers;
    ngx_uint_t                           signals;    /* bits: those counted */
    time_t                               memory;     /* s */
    ngx_patient_guard_grants_t           grants;
    ngx_msec_t                           throttle_delay;

    /* answers */
    ngx_array_t                         *challenges;

    /* stores */
    size_t                               zone_size;
    ngx_patient_guard_shm_t             *shm;
    ngx_patient_guard_redis_conf_t      *redis;      /* NULL: none */
    ngx_uint_t                           redis_auth;
    ngx_http_patient_guard_tls_t        *tls;        /* NULL: not said */
    ngx_msec_t                           redis_timeout;
    ngx_uint_t                           outage;
    ngx_uint_t                           consistency;
    ngx_msec_t                           interval;
    ngx_patient_guard_store_t           *store;
    ngx_patient_guard_desk_t            *desk;       /* NULL: no Redis */
    ngx_patient_guard_stream_conf_t      events;     /* no key: none */
    ngx_patient_guard_stream_t          *stream;
} ngx_http_patient_guard_policy_t;


#define NGX_HTTP_PATIENT_GUARD_STRICT            0
#define NGX_HTTP_PATIENT_GUARD_LOCAL             1

#define NGX_HTTP_PATIENT_GUARD_MISSING_DENY      0
#define NGX_HTTP_PATIENT_GUARD_MISSING_ALLOW     1

#define NGX_HTTP_PATIENT_GUARD_UNMATCHED_URI     0
#define NGX_HTTP_PATIENT_GUARD_UNMATCHED_IGNORE  1
#define NGX_HTTP_PATIENT_GUARD_UNMATCHED_DENY    2


/* what is looked for in the bodies of requests, or of responses */

typedef struct {
    ngx_patient_guard_pattern_t         *pattern;
    ngx_uint_t                           nir;        /* kind=nir */
} ngx_http_patient_guard_match_t;


/* a response that is held until it is counted */

typedef struct {
    size_t                               buffer;     /* bytes in memory */
    off_t                                file;       /* and in a file */
} ngx_http_patient_guard_gate_t;


/* a location that answers the desk */

typedef struct {
    ngx_str_t                            name;
    ngx_str_t                            file;
    ngx_uint_t                           line;
    void                               **loc_conf;
} ngx_http_patient_guard_api_t;


typedef struct {
    ngx_array_t                          policies;   /* pointers */
    ngx_array_t                          apis;       /* where they stand */

    unsigned                             requests:1; /* bodies of requests */
    unsigned                             responses:1;  /* and of responses */
                                                     /*   are looked into  */
    unsigned                             headers:1;  /* are sent somewhere */
} ngx_http_patient_guard_main_conf_t;


/* a policy that a location names, but is not guarded by */

typedef struct {
    ngx_str_t                            name;
    ngx_str_t                            file;       /* that names it */
    ngx_uint_t                           line;
    ngx_http_patient_guard_policy_t     *policy;     /* NULL: none */
} ngx_http_patient_guard_use_t;


typedef struct {
    ngx_str_t                            name;       /* of the policy */
    ngx_str_t                            file;       /* that names it */
    ngx_uint_t                           line;

    ngx_http_patient_guard_policy_t     *policy;     /* NULL: off */
    ngx_flag_t                           dry_run;
    ngx_array_t                         *patients;   /* complex values */
    ngx_uint_t                           nir;        /* kind=nir of these */
    ngx_uint_t                           unmatched;
    ngx_array_t                         *methods;    /* NULL: the default */
    ngx_uint_t                           log_level;

    ngx_http_patient_guard_match_t      *request;    /* NULL: off, */
    ngx_http_patient_guard_match_t      *response;   /*   as these */
    ngx_http_complex_value_t            *records;
    ngx_http_patient_guard_gate_t       *gate;
    ngx_flag_t                           headers;

    ngx_http_handler_pt                  handler;    /* of these two, which */
    ngx_http_patient_guard_use_t         pass;       /*   only "if" and     */
    ngx_uint_t                           api;        /*   the like inherit  */
} ngx_http_patient_guard_loc_conf_t;


typedef struct ngx_http_patient_guard_ctx_s  ngx_http_patient_guard_ctx_t;

typedef struct ngx_http_patient_guard_body_s  ngx_http_patient_guard_body_t;
typedef struct ngx_http_patient_guard_response_s
    ngx_http_patient_guard_response_t;
typedef struct ngx_http_patient_guard_held_s  ngx_http_patient_guard_held_t;

typedef ngx_int_t (*ngx_http_patient_guard_step_pt)(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);


/* of a main request, from its first guarded location to its end */

struct ngx_http_patient_guard_ctx_s {
    ngx_http_request_t                  *request;
    ngx_http_patient_guard_policy_t     *policy;
    ngx_http_patient_guard_loc_conf_t   *location;   /* that guards it */
    ngx_patient_guard_op_t               op;
    ngx_patient_guard_decision_t         decision;

    ngx_patient_guard_distinct_t         patients;   /* known by now */
    ngx_patient_guard_named_t            uri;        /* stands for one */

    ngx_http_patient_guard_body_t       *body;       /* being looked into */
    ngx_http_patient_guard_response_t   *response;   /* being counted */
    ngx_http_patient_guard_held_t       *held_back;  /* by the gate */

    ngx_http_patient_guard_step_pt       next;       /* when it goes on */
    void                               (*resume)(
                                             ngx_http_patient_guard_ctx_t *c);
    ngx_event_t                          hold;
    ngx_msec_t                           patience;   /* hold for so long, */
    ngx_msec_t                           until;      /*   and until then  */
    int64_t                              shift;      /* of its clock, ms */

    ngx_uint_t                           status;     /* of a refusal */
    const char                          *reason;     /* where no limit is it */
    ngx_int_t                            held;       /* limit that held it */
    ngx_uint_t                           log_level;

    unsigned                             waiting:1;
    unsigned                             decided:1;
    unsigned                             uncounted:1;
    unsigned                             delayed:1;
    unsigned                             told:1;     /* of the delay */
    unsigned                             dry_run:1;
    unsigned                             malformed:1;  /* an identifier */
    unsigned                             missed:1;   /* told already */
    unsigned                             watched:1;  /* by its response, */
    unsigned                             gated:1;    /*   which is held  */
};


extern ngx_module_t  ngx_patient_guard_module;


/* has the policy a limit on that signal? */
#define ngx_http_patient_guard_counts(policy, signal)                        \
    ((policy)->signals & (ngx_uint_t) 1 << (signal))


/* has the value a variable? */
#define ngx_http_patient_guard_varies(value)                                 \
    (ngx_strlchr((value)->data, (value)->data + (value)->len, '$') != NULL)


/* of a request's header field: its name, in small letters, and its value */

#define ngx_http_patient_guard_is(header, name)                              \
    ((header)->key.len == sizeof(name) - 1                                   \
     && ngx_strncmp((header)->lowcase_key, name, sizeof(name) - 1) == 0)

#define ngx_http_patient_guard_says(header, text)                            \
    ((header)->value.len == sizeof(text) - 1                                 \
     && ngx_strncasecmp((header)->value.data, (u_char *) text,               \
                        sizeof(text) - 1)                                    \
        == 0)


/* a directive's value is none of those that it may have */
#define ngx_http_patient_guard_invalid(cf, directive, value, expected)       \
    (ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,                                \
                        "invalid value \"%V\" of \"%s\", expected %s",       \
                        value, directive, expected), NGX_CONF_ERROR)


#endif /* _NGX_HTTP_PATIENT_GUARD_H_INCLUDED_ */
