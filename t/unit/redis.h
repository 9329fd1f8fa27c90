
/*
 * The Redis store as it is, but over a blocking unix socket: in place of the
 * room "peer" there is the little that follows.  Lookups are queued by
 * redis_count() and answered by redis_answer(), which returns when all are.
 */


#ifndef _REDIS_H_INCLUDED_
#define _REDIS_H_INCLUDED_


#include "ngx_patient_guard_redis.h"
#include "ngx_patient_guard_pipeline.h"

#include <sys/socket.h>
#include <sys/un.h>


struct ngx_patient_guard_peer_s {
    ngx_patient_guard_peer_conf_t  *conf;
    void                           *owner;
    int                             fd;
    ngx_patient_guard_pipeline_t    pipeline;
    ngx_patient_guard_resp_t       *resp;
};


static ngx_patient_guard_peer_t        peer;
static ngx_patient_guard_redis_conf_t  redis_conf;
static ngx_patient_guard_store_t      *redis;


/* the room "peer" */

ngx_patient_guard_peer_t *
ngx_patient_guard_peer_create(ngx_patient_guard_peer_conf_t *conf,
    void *owner, ngx_cycle_t *cycle)
{
    peer.conf = conf;
    peer.owner = owner;

    return &peer;
}


ngx_int_t
ngx_patient_guard_peer_send(ngx_patient_guard_peer_t *peer, size_t size,
    u_char **p)
{
    ngx_int_t  rc;

    rc = ngx_patient_guard_pipeline_room(&peer->pipeline, size);
    *p = peer->pipeline.last;

    return rc;
}


ngx_patient_guard_slot_t *
ngx_patient_guard_peer_sent(ngx_patient_guard_peer_t *peer, u_char *end,
    ngx_msec_t deadline, void *data)
{
    if (end > peer->pipeline.end) {
        abort();
    }

    return ngx_patient_guard_pipeline_push(&peer->pipeline, end, deadline,
                                           data);
}


ngx_uint_t
ngx_patient_guard_peer_generation(ngx_patient_guard_peer_t *peer)
{
    return 1;
}


ngx_msec_t
ngx_patient_guard_peer_deadline(ngx_patient_guard_peer_t *peer)
{
    return 0;
}


/* what the test calls */

static inline void
redis_bail_out(const char *what)
{
    printf("Bail out! redis: %s\n", what);
    exit(1);
}


/* 0 if PG_REDIS_SOCKET names no server to test with */

static inline int
redis_open(ngx_patient_guard_shm_t *floor)
{
    ngx_log_t           *log;
    ngx_pool_t          *pool;
    ngx_cycle_t         *cycle;
    const char          *path;
    struct sockaddr_un   addr;

    path = getenv("PG_REDIS_SOCKET");

    if (path == NULL) {
        printf("# PG_REDIS_SOCKET is not set: nothing is proved of Redis\n");
        return 0;
    }

    log = ngx_pcalloc(NULL, sizeof(ngx_log_t));
    pool = ngx_pcalloc(NULL, sizeof(ngx_pool_t));
    cycle = ngx_pcalloc(NULL, sizeof(ngx_cycle_t));

    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);

    peer.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    peer.resp = ngx_patient_guard_resp_create();
    ngx_patient_guard_pipeline_init(&peer.pipeline, pool);

    if (connect(peer.fd, (struct sockaddr *) &addr, sizeof(addr)) != 0) {
        redis_bail_out("cannot connect");
    }

    redis_conf.keys.data = ngx_pnalloc(NULL, 64);
    redis_conf.keys.len = ngx_sprintf(redis_conf.keys.data, "unit:%d:",
                                      (int) getpid())
                          - redis_conf.keys.data;

    ngx_str_set(&redis_conf.peer.name, "the test's");
    redis_conf.outage = NGX_PATIENT_GUARD_OUTAGE_DENY;
    redis_conf.shm = floor;

    cycle->log = log;

    if (ngx_patient_guard_redis_conf_init(&redis_conf, NULL) != NGX_OK) {
        redis_bail_out("no configuration");
    }

    redis = ngx_patient_guard_redis_create(&redis_conf, cycle);

    return 1;
}


static inline void
redis_done(ngx_patient_guard_op_t *op)
{
    op->done = NULL;
}


/* the op is answered when redis_answer() returns */

static inline void
redis_count(ngx_patient_guard_op_t *op, ngx_patient_guard_lookup_t *lookup)
{
    memset(op, 0, sizeof(ngx_patient_guard_op_t));

    op->lookup = *lookup;
    op->done = redis_done;

    if (redis->count(redis, op) != NGX_AGAIN) {
        redis_bail_out("a lookup was not taken");
    }
}


static inline void
redis_replies(void)
{
    u_char                      buf[65536];
    ssize_t                     n;
    ngx_int_t                   rc;
    ngx_patient_guard_slot_t   *slot;
    ngx_patient_guard_reply_t   reply;

    n = read(peer.fd, buf, sizeof(buf));

    if (n <= 0
        || ngx_patient_guard_resp_feed(peer.resp, buf, (size_t) n) != NGX_OK)
    {
        redis_bail_out("cannot read");
    }

    for ( ;; ) {
        rc = ngx_patient_guard_resp_next(peer.resp, &reply);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_OK
            && reply.type == NGX_PATIENT_GUARD_REPLY_ERROR)
        {
            printf("# redis: %.*s\n", (int) reply.text.len, reply.text.data);
        }

        slot = ngx_patient_guard_pipeline_shift(&peer.pipeline);

        if (rc != NGX_OK || slot == NULL
            || peer.conf->handler(peer.owner, slot->data, &reply) != NGX_OK)
        {
            redis_bail_out("a reply that is none");
        }
    }
}


static inline void
redis_answer(void)
{
    ssize_t                        n;
    ngx_event_t                   *ev;
    ngx_queue_t                   *q;
    ngx_patient_guard_pipeline_t  *pipeline;

    pipeline = &peer.pipeline;

    while (!ngx_queue_empty(&pipeline->waiting)) {

        while (pipeline->pos != pipeline->last) {
            n = write(peer.fd, pipeline->pos, pipeline->last - pipeline->pos);

            if (n <= 0) {
                redis_bail_out("cannot write");
            }

            pipeline->pos += n;
        }

        redis_replies();
    }

    while (!ngx_queue_empty(&ngx_posted_events)) {
        q = ngx_queue_head(&ngx_posted_events);
        ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }
}


static inline void
redis_close(void)
{
    close(peer.fd);
    ngx_patient_guard_resp_destroy(peer.resp);
    ngx_free(peer.pipeline.start);
}


#endif /* _REDIS_H_INCLUDED_ */
