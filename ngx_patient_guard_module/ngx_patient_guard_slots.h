
/*
 * Hash slots of a Redis Cluster, and what it says of them.  No I/O.
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
 */


#ifndef _NGX_PATIENT_GUARD_SLOTS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SLOTS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_resp.h"


#define NGX_PATIENT_GUARD_SLOTS  16384


/* host: empty is that of who says so, [] are left to the caller */

typedef struct {
    ngx_uint_t                   first;
    ngx_uint_t                   last;
    ngx_str_t                    host;
    in_port_t                    port;
} ngx_patient_guard_slots_t;


/* of the account's key: CRC-16/XMODEM of its hash tag, the alias */
ngx_uint_t ngx_patient_guard_slot(ngx_patient_guard_account_t *account);

/*
 * The next range in the reply to CLUSTER SLOTS, and its master; *i is 0 to
 * begin with.  NGX_DONE: there are no more; NGX_ERROR: it is no such reply.
 */
ngx_int_t ngx_patient_guard_slots_next(ngx_patient_guard_reply_t *reply,
    ngx_uint_t *i, ngx_patient_guard_slots_t *slots);

/* "MOVED slot host:port", "ASK slot host:port"; NGX_ERROR: it is neither */
ngx_int_t ngx_patient_guard_slots_moved(ngx_str_t *text,
    ngx_patient_guard_slots_t *slots);


#endif /* _NGX_PATIENT_GUARD_SLOTS_H_INCLUDED_ */
