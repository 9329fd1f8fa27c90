
/*
 * One non-blocking connection to one Redis server, owned by nginx' event
 * loop: connect to one of its addresses, TLS, greet, send what was queued in
 * one write per turn of the loop, and match replies in order.
 *
 *   down --> connecting --> handshake --> greeting --> ready --> down
 *
 * What ends it is told to its owner; when it is opened is the owner's to say.
 */


#ifndef _NGX_PATIENT_GUARD_LINK_H_INCLUDED_
#define _NGX_PATIENT_GUARD_LINK_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_greeting.h"
#include "ngx_patient_guard_pipeline.h"
#include "ngx_patient_guard_resp.h"
#include "ngx_patient_guard_socket.h"
#include "ngx_patient_guard_target.h"
#include "ngx_patient_guard_tls.h"


typedef enum {
    NGX_PATIENT_GUARD_LINK_DOWN = 0,
    NGX_PATIENT_GUARD_LINK_CONNECTING,
    NGX_PATIENT_GUARD_LINK_HANDSHAKE,
    NGX_PATIENT_GUARD_LINK_GREETING,
    NGX_PATIENT_GUARD_LINK_READY
} ngx_patient_guard_link_state_e;

/* how it ends */

typedef enum {
    NGX_PATIENT_GUARD_LINK_LET_GO = 0,         /* idle, that is no harm */
    NGX_PATIENT_GUARD_LINK_FAILED,
    NGX_PATIENT_GUARD_LINK_REFUSED             /* again would be the same */
} ngx_patient_guard_link_end_e;


typedef struct ngx_patient_guard_link_s  ngx_patient_guard_link_t;


/* read-only once the configuration is loaded */

typedef struct {
    ngx_patient_guard_tls_conf_t   tls;
    ngx_patient_guard_greeting_t   greeting;

    /* a reply to who waits for it: NGX_OK, or NGX_ERROR if it is closed now */
    ngx_int_t                    (*replied)(ngx_patient_guard_link_t *link,
                                       void *data,
                                       ngx_patient_guard_reply_t *reply);

    /* what nobody asked for, as is usual in a subscription; else NULL */
    ngx_int_t                    (*pushed)(ngx_patient_guard_link_t *link,
                                       ngx_patient_guard_reply_t *reply);

    /* greeted, or nobody waits for a reply any more */
    void                         (*rested)(ngx_patient_guard_link_t *link);

    /* whoever is told has to close it */
    void                         (*ended)(ngx_patient_guard_link_t *link,
                                       ngx_patient_guard_link_end_e how,
                                       ngx_err_t err, const char *reason);
} ngx_patient_guard_link_conf_t;


struct ngx_patient_guard_link_s {
    ngx_patient_guard_link_conf_t   *conf;
    ngx_patient_guard_link_state_e   state;
    ngx_connection_t                *connection;
    ngx_patient_guard_resp_t        *resp;
    ngx_patient_guard_pipeline_t     pipeline;
    ngx_uint_t                       generation;  /* of the connection */
    ngx_patient_guard_target_t       target;
    ngx_pool_t                      *whereabouts; /* that it lives in */
    ngx_patient_guard_route_t        route;
    ngx_patient_guard_tls_t          tls;
    ngx_patient_guard_greeted_t      greeted;
    ngx_event_t                      flush;       /* posted once a turn */
    ngx_log_t                        log;
    ngx_log_t                        quiet;       /* the owner logs it */
    unsigned                         fresh:1;     /* has rested, and nothing */
                                                  /*   was sent since then */
};


/* zeroed to begin with; ngx_patient_guard_link_aim() is next */
void ngx_patient_guard_link_init(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_conf_t *conf, ngx_pool_t *pool, ngx_log_t *log);

/*
 * Where it connects from now on; the target is copied.  If it is connected,
 * that is to one of the addresses: see ngx_patient_guard_link_elsewhere().
 * NGX_ERROR if memory is short: nothing has changed.
 */
ngx_int_t ngx_patient_guard_link_aim(ngx_patient_guard_link_t *link,
    ngx_patient_guard_target_t *target);

/* is it connected, and to none of these addresses? */
ngx_uint_t ngx_patient_guard_link_elsewhere(ngx_patient_guard_link_t *link,
    ngx_patient_guard_target_t *target);

/* for good */
void ngx_patient_guard_link_destroy(ngx_patient_guard_link_t *link);

/* NGX_ERROR, and ended() was called: it could not even begin to connect */
ngx_int_t ngx_patient_guard_link_connect(ngx_patient_guard_link_t *link);

/* what was pushed into the pipeline is sent, when it is ready */
void ngx_patient_guard_link_sent(ngx_patient_guard_link_t *link);

/* who waits is still in the pipeline */
void ngx_patient_guard_link_close(ngx_patient_guard_link_t *link);

/* does anybody wait for a reply? */
#define ngx_patient_guard_link_waits(link)                                   \
    (!ngx_queue_empty(&(link)->pipeline.waiting))


#endif /* _NGX_PATIENT_GUARD_LINK_H_INCLUDED_ */
