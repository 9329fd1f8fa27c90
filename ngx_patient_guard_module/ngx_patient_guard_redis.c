
#include "ngx_patient_guard_redis.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_event.h>


typedef struct {
    ngx_patient_guard_store_t         store;   /* first: the contract */
    ngx_patient_guard_redis_conf_t   *conf;
    ngx_patient_guard_peer_t         *peer;
    uint64_t                          nonce;
    ngx_uint_t                        taught;  /* generation of connection */
                                               /*   that knows the script */
    uint64_t                          lesson;  /* nonce that taught it */
    time_t                            logged;
    ngx_log_t                        *log;
} ngx_patient_guard_redis_t;


/* a lookup that waits for Redis */

typedef struct {
    ngx_patient_guard_redis_t        *redis;
    ngx_patient_guard_op_t           *op;
    ngx_patient_guard_slot_t         *slot;    /* NULL: answered */
    ngx_event_t                       answered;
    uint64_t                          nonce;
    ngx_msec_t                        deadline;
    unsigned                          again:1; /* sent twice already */
} ngx_patient_guard_ask_t;


static ngx_int_t ngx_patient_guard_redis_count(
    ngx_patient_guard_store_t *store, ngx_patient_guard_op_t *op);
static void ngx_patient_guard_redis_forget(ngx_patient_guard_op_t *op);
static ngx_int_t ngx_patient_guard_redis_ask(ngx_patient_guard_ask_t *ask);
static ngx_int_t ngx_patient_guard_redis_reply(void *owner, void *data,
    ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_redis_error(ngx_patient_guard_ask_t *ask,
    ngx_patient_guard_redis_t *redis, ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_redis_outage(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_op_t *op);
static void ngx_patient_guard_redis_answered(ngx_patient_guard_ask_t *ask);
static void ngx_patient_guard_redis_answered_handler(ngx_event_t *ev);


ngx_int_t
ngx_patient_guard_redis_conf_init(ngx_patient_guard_redis_conf_t *conf,
    ngx_pool_t *pool)
{
    static char  *outages[] = { "local", "deny", "allow" };

    ngx_patient_guard_call_digest(conf->digest);

    conf->peer.outage = outages[conf->outage];
    conf->peer.handler = ngx_patient_guard_redis_reply;

    return ngx_patient_guard_greeting_init(&conf->peer.greeting, &conf->user,
                                           &conf->password, conf->db, pool);
}


ngx_patient_guard_store_t *
ngx_patient_guard_redis_create(ngx_patient_guard_redis_conf_t *conf,
    ngx_cycle_t *cycle)
{
    ngx_patient_guard_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->store.count = ngx_patient_guard_redis_count;
    redis->store.forget = ngx_patient_guard_redis_forget;
    redis->conf = conf;
    redis->log = cycle->log;
    redis->nonce = (uint64_t) (uint32_t) ngx_random() << 16;

    redis->peer = ngx_patient_guard_peer_create(&conf->peer, redis, cycle);
    if (redis->peer == NULL) {
        return NULL;
    }

    return &redis->store;
}


void
ngx_patient_guard_redis_close(ngx_patient_guard_store_t *store)
{
    ngx_patient_guard_redis_t  *redis = (ngx_patient_guard_redis_t *) store;

    ngx_patient_guard_peer_destroy(redis->peer);
}


static ngx_int_t
ngx_patient_guard_redis_count(ngx_patient_guard_store_t *store,
    ngx_patient_guard_op_t *op)
{
    ngx_patient_guard_ask_t    *ask;
    ngx_patient_guard_redis_t  *redis = (ngx_patient_guard_redis_t *) store;

    ask = ngx_pcalloc(op->pool, sizeof(ngx_patient_guard_ask_t));
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->redis = redis;
    ask->op = op;
    ask->deadline = ngx_patient_guard_peer_deadline(&redis->conf->peer);

    ask->answered.handler = ngx_patient_guard_redis_answered_handler;
    ask->answered.data = ask;
    ask->answered.log = redis->log;

    if (ngx_patient_guard_redis_ask(ask) != NGX_OK) {
        ngx_patient_guard_redis_outage(redis, op);
        return NGX_OK;
    }

    op->pending = ask;

    return NGX_AGAIN;
}


static void
ngx_patient_guard_redis_forget(ngx_patient_guard_op_t *op)
{
    ngx_patient_guard_ask_t  *ask = op->pending;

    if (ask == NULL) {
        return;
    }

    op->pending = NULL;

    if (ask->slot) {
        ask->slot->data = NULL;
    }

    if (ask->answered.posted) {
        ngx_delete_posted_event(&ask->answered);
    }
}


static ngx_int_t
ngx_patient_guard_redis_ask(ngx_patient_guard_ask_t *ask)
{
    u_char                      *p, *digest;
    size_t                       size;
    ngx_uint_t                   generation;
    ngx_patient_guard_redis_t   *redis;
    ngx_patient_guard_lookup_t  *lookup;

    redis = ask->redis;
    lookup = &ask->op->lookup;

    size = ngx_patient_guard_call_size(&redis->conf->keys, lookup);

    if (ngx_patient_guard_peer_send(redis->peer, size, &p) != NGX_OK) {
        return NGX_DECLINED;
    }

    ask->nonce = ++redis->nonce;

    digest = redis->conf->digest;
    generation = ngx_patient_guard_peer_generation(redis->peer);

    if (redis->taught != generation) {

        /* those behind it in the pipeline find the script loaded */

        redis->taught = generation;
        redis->lesson = ask->nonce;
        digest = NULL;
    }

    p = ngx_patient_guard_call_write(p, &redis->conf->keys, lookup,
                                     ask->nonce, digest);

    ask->slot = ngx_patient_guard_peer_sent(redis->peer, p, ask->deadline,
                                            ask);
    return NGX_OK;
}


static ngx_int_t
ngx_patient_guard_redis_reply(void *owner, void *data,
    ngx_patient_guard_reply_t *reply)
{
    ngx_int_t                   rc;
    ngx_patient_guard_ask_t    *ask = data;
    ngx_patient_guard_redis_t  *redis = owner;

    if (ask) {
        ask->slot = NULL;
    }

    if (reply == NULL) {
        rc = NGX_ERROR;

    } else if (reply->type == NGX_PATIENT_GUARD_REPLY_ERROR) {

        rc = ngx_patient_guard_redis_error(ask, redis, reply);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (ask) {
            ngx_patient_guard_redis_outage(redis, ask->op);
            ngx_patient_guard_redis_answered(ask);
        }

        return rc;

    } else if (ask == NULL) {

        /* it was counted, but nobody waits any more */

        return NGX_OK;

    } else if (reply->type == NGX_PATIENT_GUARD_REPLY_STRING) {
        rc = ngx_patient_guard_call_tally(&reply->text, ask->nonce,
                                          &ask->op->lookup, &ask->op->tally);

    } else {
        rc = NGX_ERROR;
    }

    if (ask == NULL) {
        return rc;
    }

    if (rc == NGX_OK) {
        ngx_patient_guard_shm_note(redis->conf->shm, &ask->op->lookup,
                                   &ask->op->tally);
    } else {
        ngx_patient_guard_redis_outage(redis, ask->op);
    }

    ngx_patient_guard_redis_answered(ask);

    return rc;
}


/*
 * NGX_AGAIN  the lookup was sent anew;
 * NGX_OK     it fails, others may fare better: a poisoned key, a server that
 *            loads its data or has run out of memory;
 * NGX_ERROR, NGX_ABORT  see ngx_patient_guard_peer_pt
 */

static ngx_int_t
ngx_patient_guard_redis_error(ngx_patient_guard_ask_t *ask,
    ngx_patient_guard_redis_t *redis, ngx_patient_guard_reply_t *reply)
{
    u_char  account[NGX_PATIENT_GUARD_ACCOUNT_HEX];

    if (reply->text.len >= 8
        && ngx_strncmp(reply->text.data, "NOSCRIPT", 8) == 0)
    {
        if (ask == NULL) {
            return NGX_OK;
        }

        if (!ask->again) {

            /* the first of a batch teaches it anew, the others follow */

            if (ask->nonce > redis->lesson) {
                redis->taught = 0;
            }

            ask->again = 1;

            if (ngx_patient_guard_redis_ask(ask) == NGX_OK) {
                return NGX_AGAIN;
            }

            return NGX_OK;
        }
    }

    if (ngx_patient_guard_resp_refused(reply)) {
        return NGX_ABORT;
    }

    if (reply->text.len >= 8
        && ngx_strncmp(reply->text.data, "READONLY", 8) == 0)
    {
        return NGX_ERROR;
    }

    /* a poisoned key may be asked for often: a line a second will do */

    if (redis->logged != ngx_time()) {
        redis->logged = ngx_time();

        if (ask) {
            ngx_patient_guard_account_hex(account, &ask->op->lookup.account);
        }

        ngx_log_error(NGX_LOG_ERR, redis->log, 0,
                      "patient guard: redis \"%V\" answered \"%s\"; "
                      "on_outage %s holds for this lookup%s%*s",
                      &redis->conf->peer.name,
                      ngx_patient_guard_resp_printable(&reply->text),
                      redis->conf->peer.outage,
                      ask ? ", account: " : "", ask ? sizeof(account) : 0,
                      account);
    }

    return NGX_OK;
}


static void
ngx_patient_guard_redis_outage(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_op_t *op)
{
    if (redis->conf->outage == NGX_PATIENT_GUARD_OUTAGE_LOCAL
        && ngx_patient_guard_shm_count(redis->conf->shm, &op->lookup,
                                       &op->tally) == NGX_OK)
    {
        return;
    }

    ngx_memzero(&op->tally, sizeof(ngx_patient_guard_tally_t));

    op->tally.source = NGX_PATIENT_GUARD_FROM_NONE;
    op->tally.outage = 1;
}


/* the request goes on by an event of its own, not from within the reading */

static void
ngx_patient_guard_redis_answered(ngx_patient_guard_ask_t *ask)
{
    ngx_post_event(&ask->answered, &ngx_posted_events);
}


static void
ngx_patient_guard_redis_answered_handler(ngx_event_t *ev)
{
    ngx_patient_guard_ask_t  *ask = ev->data;

    ask->op->pending = NULL;

    ask->op->done(ask->op);
}
