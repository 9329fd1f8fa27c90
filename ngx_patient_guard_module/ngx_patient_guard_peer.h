
/*
 * One Redis server as a worker sees it: commands are sent by one connection,
 * and answered, declined at once or failed by their deadline.
 *
 * When a reply is late, or anything is odd, the connection is closed and
 * every command on it fails: the order of replies is lost, and a late one
 * must never be taken for another's.  A closed connection is opened anew when
 * the circuit breaker says so; meanwhile commands are declined at once.
 */


#ifndef _NGX_PATIENT_GUARD_PEER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_PEER_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_link.h"


typedef struct ngx_patient_guard_peer_s  ngx_patient_guard_peer_t;


/*
 * A reply to the command that was sent with "data", or, with reply NULL, the
 * news that there will be none.  Called once for each command, never from
 * within ngx_patient_guard_peer_send(); it may send but must not resume a
 * request: that is for a posted event.
 *
 * NGX_OK; NGX_DECLINED if the server can't serve, though it answers;
 * NGX_ERROR to close the connection, NGX_ABORT to close it and stay away for
 * a second at least.  The return value is ignored without a reply.
 */
typedef ngx_int_t (*ngx_patient_guard_peer_pt)(void *owner, void *data,
    ngx_patient_guard_reply_t *reply);


/* read-only once the configuration is loaded */

typedef struct {
    ngx_str_t                      name;       /* for the log */
    ngx_msec_t                     timeout;
    ngx_patient_guard_link_conf_t  link;
    const char                    *outage;     /* for the log */
    ngx_patient_guard_peer_pt      handler;
} ngx_patient_guard_peer_conf_t;


/* what the configuration does not say, but for the handler */
void ngx_patient_guard_peer_conf_init(ngx_patient_guard_peer_conf_t *conf);


/* NULL if memory is short; nothing is connected yet */
ngx_patient_guard_peer_t *ngx_patient_guard_peer_create(
    ngx_patient_guard_peer_conf_t *conf, void *owner, ngx_cycle_t *cycle);

/* closes for good; who waits is not told */
void ngx_patient_guard_peer_destroy(ngx_patient_guard_peer_t *peer);

/* may it be asked?  0 while the breaker is open */
ngx_uint_t ngx_patient_guard_peer_there(ngx_patient_guard_peer_t *peer);

/*
 * Room for a command of at most "size" bytes: write it to *p, then call
 * ngx_patient_guard_peer_sent() with its end, and the bytes that its reply may
 * have.  *generation is another number for each connection: what one was told
 * the next was not.  NGX_DECLINED if the server is away, or too much waits.
 */
ngx_int_t ngx_patient_guard_peer_send(ngx_patient_guard_peer_t *peer,
    size_t size, u_char **p, ngx_uint_t *generation);
ngx_patient_guard_slot_t *ngx_patient_guard_peer_sent(
    ngx_patient_guard_peer_t *peer, u_char *end, ngx_msec_t deadline,
    size_t most, void *data);

/* of a command that is sent now */
#define ngx_patient_guard_peer_deadline(conf)                                \
    (ngx_current_msec + (conf)->timeout)


#endif /* _NGX_PATIENT_GUARD_PEER_H_INCLUDED_ */
