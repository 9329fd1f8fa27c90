
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
#include "ngx_patient_guard_breaker.h"
#include "ngx_patient_guard_link.h"
#include "ngx_patient_guard_target.h"
#include "ngx_patient_guard_totals.h"


typedef struct ngx_patient_guard_peer_s   ngx_patient_guard_peer_t;
typedef struct ngx_patient_guard_asked_s  ngx_patient_guard_asked_t;


/*
 * What was sent, and waits for its reply; it belongs to who sends it.  The
 * handler is called once each time that it was sent, never from within
 * ngx_patient_guard_peer_sent(); it may send but must not resume a request:
 * that is for a posted event.  reply NULL: there will be none.
 *
 * NGX_OK; NGX_AGAIN if the reply says nothing of how the server does;
 * NGX_DECLINED if the server can't serve, though it answers; NGX_ERROR to
 * close the connection, NGX_ABORT to close it and stay away for a second at
 * least.  The return value is ignored without a reply.
 */

struct ngx_patient_guard_asked_s {
    ngx_int_t                    (*handler)(ngx_patient_guard_asked_t *asked,
                                       ngx_patient_guard_reply_t *reply);
};


/* read-only once the configuration is loaded; the link's addresses and the
 * name in its certificate, if none was given, are those of the target */

typedef struct {
    ngx_msec_t                     timeout;
    ngx_patient_guard_link_conf_t  link;
    const char                    *outage;     /* for the log */
    ngx_patient_guard_totals_t    *totals;     /* of errors; NULL: none */
} ngx_patient_guard_peer_conf_t;


struct ngx_patient_guard_peer_s {
    ngx_patient_guard_link_t         link;       /* first */
    ngx_patient_guard_peer_conf_t    conf;
    ngx_queue_t                      queue;      /* of all peers */
    ngx_pool_t                      *pool;       /* which it lives in */
    ngx_event_t                      timer;      /* of the nearest deadline */
    ngx_event_t                      reconnect;
    ngx_event_t                      gone;
    ngx_event_t                      wonder;
    ngx_patient_guard_asked_t        memory;
    ngx_msec_t                       deadline;   /* of the greeting */
    ngx_patient_guard_breaker_t      breaker;
    uint64_t                         told;       /* by this connection */
    ngx_uint_t                       generation; /*   that is */
    void                           (*failed)(void *data);
    void                            *data;
    unsigned                         seeking:1;  /* an address, and somebody */
                                                 /*   waits for it           */
    unsigned                         retired:1;
    unsigned                         known:1;    /* whether it evicts, in */
                                                 /*   this connection     */
    unsigned                         evicts:1;   /* as logged */
};



/*
 * One more of "peers", whose log and connections are the cycle's.  The target
 * is copied.  failed(data), which may be NULL, is called when it is away,
 * after whoever waited was told.  NULL if memory is short; nothing is
 * connected yet.  Without an address it takes commands nevertheless, which
 * wait until it is found.
 */
ngx_patient_guard_peer_t *ngx_patient_guard_peer_create(
    ngx_patient_guard_peer_conf_t *conf, ngx_patient_guard_target_t *target,
    void (*failed)(void *data), void *data, ngx_queue_t *peers,
    ngx_cycle_t *cycle);

/*
 * Where it is, of one that had no address, or none that it is connected to
 * elsewhere: see ngx_patient_guard_peer_elsewhere().  The target is copied.
 * NGX_ERROR if memory is short: it is to be told again.
 */
ngx_int_t ngx_patient_guard_peer_found(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_target_t *target);

/* is it connected, and to none of the target's addresses? */
#define ngx_patient_guard_peer_elsewhere(peer, target)                       \
    ngx_patient_guard_link_elsewhere(&(peer)->link, target)

/*
 * "peer" takes the place of "old": if that was away, so is this one until it
 * has answered.
 */
void ngx_patient_guard_peer_inherit(ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_peer_t *old);

/* nobody sends to it any more; when all who wait are answered it is gone */
void ngx_patient_guard_peer_retire(ngx_patient_guard_peer_t *peer);

/* all of them, at once and for good; who waits is not told */
void ngx_patient_guard_peers_destroy(ngx_queue_t *peers);

#define ngx_patient_guard_peer_target(peer)  (&(peer)->link.target)

/* how many wait for a reply */
ngx_uint_t ngx_patient_guard_peer_waiting(ngx_patient_guard_peer_t *peer);

/* may it be asked?  0 while the breaker is open */
ngx_uint_t ngx_patient_guard_peer_there(ngx_patient_guard_peer_t *peer);

/* and more than one thing at a time: the breaker is closed */
#define ngx_patient_guard_peer_well(peer)                                    \
    (!(peer)->breaker.away && ngx_patient_guard_peer_there(peer))

/*
 * Room for a command of at most "size" bytes: write it to *p, then call
 * ngx_patient_guard_peer_sent() with its end, and the bytes that its reply may
 * have.  **told is the sender's to keep: 0 in each new connection, for what
 * one was told the next was not.  NGX_DECLINED if the server is away, or too
 * much waits.
 */
ngx_int_t ngx_patient_guard_peer_send(ngx_patient_guard_peer_t *peer,
    size_t size, u_char **p, uint64_t **told);
void ngx_patient_guard_peer_sent(ngx_patient_guard_peer_t *peer, u_char *end,
    ngx_msec_t deadline, size_t most, ngx_patient_guard_asked_t *asked);

/* of a command that is sent now */
#define ngx_patient_guard_peer_deadline(conf)                                \
    (ngx_current_msec + (conf)->timeout)


#endif /* _NGX_PATIENT_GUARD_PEER_H_INCLUDED_ */
