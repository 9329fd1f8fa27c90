
#include "ngx_patient_guard_redis.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_resp.h"

#include <ngx_sha1.h>

#include "ngx_patient_guard_count_lua.h"


/* arguments of EVALSHA beside the keys and those of the limits */
#define NGX_PATIENT_GUARD_ARGS_FIXED   (3 + 8)
#define NGX_PATIENT_GUARD_ARGS_LIMIT   5

/* ten times this still fits in 64 bits */
#define NGX_PATIENT_GUARD_NONCE_MAX    999999999999999999ULL


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
static size_t ngx_patient_guard_redis_size(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lookup_t *lookup);
static u_char *ngx_patient_guard_redis_write(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lookup_t *lookup, uint64_t nonce, u_char *p);
static u_char *ngx_patient_guard_redis_key(
    ngx_patient_guard_redis_conf_t *conf,
    ngx_patient_guard_account_t *account, u_char *p);
static u_char *ngx_patient_guard_redis_patients(
    ngx_patient_guard_lookup_t *lookup, size_t alias, u_char *p);
static ngx_int_t ngx_patient_guard_redis_reply(void *owner, void *data,
    ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_redis_error(ngx_patient_guard_ask_t *ask,
    ngx_patient_guard_redis_t *redis, ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_redis_tally(ngx_str_t *text,
    uint64_t nonce, ngx_patient_guard_op_t *op);
static ngx_int_t ngx_patient_guard_redis_field(u_char **p, u_char *last,
    uint64_t max, uint64_t *value);
static void ngx_patient_guard_redis_outage(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_op_t *op);
static void ngx_patient_guard_redis_answered(ngx_patient_guard_ask_t *ask);
static void ngx_patient_guard_redis_answered_handler(ngx_event_t *ev);


ngx_int_t
ngx_patient_guard_redis_conf_init(ngx_patient_guard_redis_conf_t *conf,
    ngx_pool_t *pool)
{
    u_char                        *p, digest[20];
    ngx_uint_t                     n;
    ngx_sha1_t                     sha1;
    ngx_patient_guard_greeting_t  *step;

    static u_char  ping[] = "*2" CRLF "$4" CRLF "PING" CRLF
                            "$13" CRLF "patient_guard" CRLF;

    static char  *outages[] = { "local", "deny", "allow" };

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, ngx_patient_guard_count_script,
                    NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN);
    ngx_sha1_final(digest, &sha1);
    ngx_hex_dump(conf->sha, digest, sizeof(digest));

    conf->peer.outage = outages[conf->outage];
    conf->peer.handler = ngx_patient_guard_redis_reply;

    step = ngx_pcalloc(pool, 3 * sizeof(ngx_patient_guard_greeting_t));
    p = ngx_pnalloc(pool, 4 * NGX_PATIENT_GUARD_RESP_HEAD + sizeof(ping)
                          + ngx_patient_guard_resp_size(64) * 3
                          + ngx_patient_guard_resp_size(conf->user.len)
                          + ngx_patient_guard_resp_size(conf->password.len));

    if (step == NULL || p == NULL) {
        return NGX_ERROR;
    }

    conf->peer.greeting = step;
    conf->peer.hello.data = p;

    if (conf->password.len) {
        n = conf->user.len ? 3 : 2;

        p = ngx_patient_guard_resp_command(p, n);
        p = ngx_patient_guard_resp_arg(p, "AUTH", 4);

        if (conf->user.len) {
            p = ngx_patient_guard_resp_arg(p, conf->user.data,
                                           conf->user.len);
        }

        p = ngx_patient_guard_resp_arg(p, conf->password.data,
                                       conf->password.len);

        ngx_str_set(&step->expect, "OK");
        step++;
    }

    if (conf->db) {
        p = ngx_patient_guard_resp_command(p, 2);
        p = ngx_patient_guard_resp_arg(p, "SELECT", 6);
        p = ngx_patient_guard_resp_number(p, conf->db);

        ngx_str_set(&step->expect, "OK");
        step++;
    }

    /* tells Redis from whatever else says "+OK" to a stranger */

    p = ngx_cpymem(p, ping, sizeof(ping) - 1);
    ngx_str_set(&step->expect, "patient_guard");
    step++;

    conf->peer.ngreeting = step - conf->peer.greeting;
    conf->peer.hello.len = p - conf->peer.hello.data;

    return NGX_OK;
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
    ask->deadline = ngx_patient_guard_peer_deadline(redis->peer);

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
    u_char                     *p;
    size_t                      size;
    ngx_patient_guard_redis_t  *redis;

    redis = ask->redis;

    size = ngx_patient_guard_redis_size(redis, &ask->op->lookup);

    if (ngx_patient_guard_peer_send(redis->peer, size, &p) != NGX_OK) {
        return NGX_DECLINED;
    }

    ask->nonce = ++redis->nonce;

    p = ngx_patient_guard_redis_write(redis, &ask->op->lookup, ask->nonce, p);

    ask->slot = ngx_patient_guard_peer_sent(redis->peer, p, ask->deadline,
                                            ask);
    return NGX_OK;
}


static size_t
ngx_patient_guard_redis_size(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lookup_t *lookup)
{
    size_t      size;
    ngx_uint_t  i;

    size = NGX_PATIENT_GUARD_RESP_HEAD
           + NGX_PATIENT_GUARD_ARGS_FIXED
             * ngx_patient_guard_resp_size(NGX_INT64_LEN)
           + ngx_patient_guard_resp_size(sizeof(redis->conf->sha))
           + ngx_patient_guard_resp_size(NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN)
           + 2 * ngx_patient_guard_resp_size(redis->conf->keys.len + 2
                                             + NGX_PATIENT_GUARD_ACCOUNT_HEX)
           + 2 * ngx_patient_guard_resp_size(lookup->npatients
                                       * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < lookup->nlimits; i++) {
        size += ngx_patient_guard_resp_size(lookup->limits[i].state.len)
                + (NGX_PATIENT_GUARD_ARGS_LIMIT - 1)
                  * ngx_patient_guard_resp_size(NGX_INT64_LEN);
    }

    return size;
}


static u_char *
ngx_patient_guard_redis_write(ngx_patient_guard_redis_t *redis,
    ngx_patient_guard_lookup_t *lookup, uint64_t nonce, u_char *p)
{
    ngx_uint_t                       i, keys, generation;
    ngx_patient_guard_limit_t       *limit;
    ngx_patient_guard_redis_conf_t  *conf;

    conf = redis->conf;

    keys = (lookup->previous.word[0] || lookup->previous.word[1]) ? 2 : 1;

    p = ngx_patient_guard_resp_command(p, NGX_PATIENT_GUARD_ARGS_FIXED + keys
                                          + NGX_PATIENT_GUARD_ARGS_LIMIT
                                            * lookup->nlimits);

    generation = ngx_patient_guard_peer_generation(redis->peer);

    if (redis->taught != generation) {

        /* those behind it in the pipeline find the script loaded */

        p = ngx_patient_guard_resp_arg(p, "EVAL", 4);
        p = ngx_patient_guard_resp_arg(p, ngx_patient_guard_count_script,
                                       NGX_PATIENT_GUARD_COUNT_SCRIPT_LEN);
        redis->taught = generation;
        redis->lesson = nonce;

    } else {
        p = ngx_patient_guard_resp_arg(p, "EVALSHA", 7);
        p = ngx_patient_guard_resp_arg(p, conf->sha, sizeof(conf->sha));
    }

    p = ngx_patient_guard_resp_number(p, keys);
    p = ngx_patient_guard_redis_key(conf, &lookup->account, p);

    if (keys == 2) {
        p = ngx_patient_guard_redis_key(conf, &lookup->previous, p);
    }

    p = ngx_patient_guard_resp_number(p, nonce);
    p = ngx_patient_guard_resp_number(p, lookup->now);
    p = ngx_patient_guard_resp_number(p, lookup->proof);
    p = ngx_patient_guard_resp_number(p, lookup->dry_run
                                         + 2 * lookup->exempt);
    p = ngx_patient_guard_resp_number(p, lookup->grants->count);
    p = ngx_patient_guard_resp_number(p, lookup->grants->window);

    p = ngx_patient_guard_redis_patients(lookup,
                          offsetof(ngx_patient_guard_named_t, current), p);

    if (keys == 2) {
        p = ngx_patient_guard_redis_patients(lookup,
                          offsetof(ngx_patient_guard_named_t, previous), p);
    } else {
        p = ngx_patient_guard_resp_arg(p, "", 0);
    }

    for (i = 0; i < lookup->nlimits; i++) {
        limit = &lookup->limits[i];

        p = ngx_patient_guard_resp_arg(p, limit->state.data,
                                       limit->state.len);
        p = ngx_patient_guard_resp_number(p, limit->signal
                                          == NGX_PATIENT_GUARD_PATIENTS_SEEN);
        p = ngx_patient_guard_resp_number(p, limit->action);
        p = ngx_patient_guard_resp_number(p, limit->window);
        p = ngx_patient_guard_resp_number(p, limit->count);
    }

    return p;
}


/* all keys of an account lie in one slot of a cluster: { } is its tag */

static u_char *
ngx_patient_guard_redis_key(ngx_patient_guard_redis_conf_t *conf,
    ngx_patient_guard_account_t *account, u_char *p)
{
    p = ngx_sprintf(p, "$%uz" CRLF "%V{", conf->keys.len
                    + NGX_PATIENT_GUARD_ACCOUNT_HEX + 2, &conf->keys);

    p = ngx_patient_guard_account_hex(p, account);

    return ngx_cpymem(p, "}" CRLF, sizeof("}" CRLF) - 1);
}


static u_char *
ngx_patient_guard_redis_patients(ngx_patient_guard_lookup_t *lookup,
    size_t alias, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "$%uz" CRLF,
                    lookup->npatients * sizeof(ngx_patient_guard_patient_t));

    for (i = 0; i < lookup->npatients; i++) {
        p = ngx_cpymem(p, (u_char *) &lookup->patients[i] + alias,
                       sizeof(ngx_patient_guard_patient_t));
    }

    return ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);
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
        rc = ngx_patient_guard_redis_tally(&reply->text, ask->nonce, ask->op);

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

        ngx_log_error(NGX_LOG_ERR, redis->log, 0,
                      "patient guard: redis \"%V\" answered \"%s\"; "
                      "on_outage %s holds for this lookup",
                      &redis->conf->peer.name,
                      ngx_patient_guard_resp_printable(&reply->text),
                      redis->conf->peer.outage);
    }

    return NGX_OK;
}


/* decimal numbers between single blanks, just as many as were asked for */

static ngx_int_t
ngx_patient_guard_redis_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_op_t *op)
{
    u_char                      *p, *last;
    uint64_t                     value, flags, challenger, grants, total;
    ngx_uint_t                   i, refuse;
    ngx_patient_guard_tally_t    tally;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &op->lookup;

    p = text->data;
    last = p + text->len;

    if (ngx_patient_guard_redis_field(&p, last, NGX_PATIENT_GUARD_NONCE_MAX,
                                      &value)
        != NGX_OK
        || value != nonce
        || ngx_patient_guard_redis_field(&p, last, 7, &flags) != NGX_OK
        || ngx_patient_guard_redis_field(&p, last, lookup->nlimits,
                                         &challenger) != NGX_OK
        || ngx_patient_guard_redis_field(&p, last,
                                         2 * NGX_PATIENT_GUARD_WINDOW_MAX,
                                         &grants) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&tally, sizeof(ngx_patient_guard_tally_t));

    tally.source = NGX_PATIENT_GUARD_FROM_REDIS;
    tally.charged = (flags & 1) ? 1 : 0;
    tally.challenged = (flags & 2) ? 1 : 0;
    tally.passed = (flags & 4) ? 1 : 0;
    tally.challenger = challenger;
    tally.grants_wait = grants;

    refuse = tally.challenged;

    for (i = 0; i < lookup->nlimits; i++) {

        if (ngx_patient_guard_redis_field(&p, last,
                                          NGX_PATIENT_GUARD_COUNT_MAX,
                                          &total) != NGX_OK
            || ngx_patient_guard_redis_field(&p, last,
                                          2 * NGX_PATIENT_GUARD_WINDOW_MAX,
                                          &tally.rooms[i].wait) != NGX_OK)
        {
            return NGX_ERROR;
        }

        tally.rooms[i].total = (uint32_t) total;

        if (tally.rooms[i].wait
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG)
        {
            refuse = 1;
        }
    }

    /* what fits was charged, what does not was not: else it is no answer */

    if (p != last + 1 || tally.charged == (refuse && !lookup->exempt)) {
        return NGX_ERROR;
    }

    op->tally = tally;

    return NGX_OK;
}


/* one number and the blank behind it, or the end: *p is then last + 1 */

static ngx_int_t
ngx_patient_guard_redis_field(u_char **p, u_char *last, uint64_t max,
    uint64_t *value)
{
    u_char    *s;
    uint64_t   n;

    s = *p;
    n = 0;

    if (s >= last) {
        return NGX_ERROR;
    }

    for ( /* void */ ; s < last && *s != ' '; s++) {

        if (*s < '0' || *s > '9') {
            return NGX_ERROR;
        }

        n = n * 10 + (*s - '0');

        if (n > max) {
            return NGX_ERROR;
        }
    }

    if (s == *p) {
        return NGX_ERROR;
    }

    *p = s + 1;
    *value = n;

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
