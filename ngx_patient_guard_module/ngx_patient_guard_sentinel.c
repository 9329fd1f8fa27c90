
#include "ngx_patient_guard_sentinel.h"
#include "ngx_patient_guard_server.h"
#include "ngx_patient_guard_watchman.h"


#define NGX_PATIENT_GUARD_SENTINEL_POOL  1024

/* ms, when none of them knows, doubled each time, less up to a half */
#define NGX_PATIENT_GUARD_SENTINEL_MIN   50
#define NGX_PATIENT_GUARD_SENTINEL_MAX   1000

/* ms between two rounds, for whatever reason */
#define NGX_PATIENT_GUARD_SENTINEL_PACE  250

/* ms, when one of them has refused us */
#define NGX_PATIENT_GUARD_SENTINEL_REFUSED  2000


typedef struct {
    ngx_patient_guard_finder_t        finder;  /* first: the contract */
    ngx_patient_guard_finder_conf_t  *conf;
    ngx_queue_t                      *peers;
    ngx_cycle_t                      *cycle;

    ngx_patient_guard_server_t       *master;
    ngx_pool_t                       *pool;    /* that the master lives in */

    ngx_patient_guard_watchman_t     *watchmen;
    ngx_uint_t                        n;
    ngx_uint_t                        current;
    ngx_uint_t                        asked;   /* of them, in this round */
    ngx_event_t                       ask;     /* the current one */
    ngx_msec_t                        last;    /* when one was asked */
    ngx_msec_t                        delay;
    unsigned                          asking:1;
    unsigned                          lost:1;  /* nobody knows, logged */
} ngx_patient_guard_sentinel_t;


static void ngx_patient_guard_sentinel_ask(ngx_event_t *ev);
static void ngx_patient_guard_sentinel_soon(void *data);
static void ngx_patient_guard_sentinel_tells(void *data, ngx_str_t *host,
    in_port_t port);
static void ngx_patient_guard_sentinel_fails(void *data, const char *reason,
    ngx_uint_t refused);
static ngx_int_t ngx_patient_guard_sentinel_anew(
    ngx_patient_guard_sentinel_t *sentinel);
static ngx_patient_guard_peer_t *ngx_patient_guard_sentinel_find(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_account_t *account);
static ngx_int_t ngx_patient_guard_sentinel_moved(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_reply_t *reply, ngx_patient_guard_peer_t **ask);
static void ngx_patient_guard_sentinel_destroy(
    ngx_patient_guard_finder_t *finder);


ngx_patient_guard_finder_t *
ngx_patient_guard_sentinel_finder(ngx_patient_guard_finder_conf_t *conf,
    ngx_queue_t *peers, ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_patient_guard_target_t    *targets;
    ngx_patient_guard_sentinel_t  *sentinel;
    ngx_patient_guard_watchman_t  *watchman;

    sentinel = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_sentinel_t));
    if (sentinel == NULL) {
        return NULL;
    }

    sentinel->finder.find = ngx_patient_guard_sentinel_find;
    sentinel->finder.moved = ngx_patient_guard_sentinel_moved;
    sentinel->finder.destroy = ngx_patient_guard_sentinel_destroy;

    sentinel->conf = conf;
    sentinel->peers = peers;
    sentinel->cycle = cycle;
    sentinel->n = conf->targets->nelts;
    sentinel->current = ngx_random() % sentinel->n;
    sentinel->last = ngx_current_msec - NGX_PATIENT_GUARD_SENTINEL_PACE;

    sentinel->ask.handler = ngx_patient_guard_sentinel_ask;
    sentinel->ask.data = sentinel;
    sentinel->ask.log = cycle->log;
    sentinel->ask.cancelable = 1;

    sentinel->watchmen = ngx_pcalloc(cycle->pool, sentinel->n
                                     * sizeof(ngx_patient_guard_watchman_t));
    if (sentinel->watchmen == NULL) {
        return NULL;
    }

    targets = conf->targets->elts;

    for (i = 0; i < sentinel->n; i++) {
        watchman = &sentinel->watchmen[i];

        watchman->data = sentinel;
        watchman->tells = ngx_patient_guard_sentinel_tells;
        watchman->fails = ngx_patient_guard_sentinel_fails;

        if (ngx_patient_guard_watchman_init(watchman, conf, &targets[i],
                                            cycle)
            != NGX_OK)
        {
            return NULL;
        }
    }

    /* the first lookups wait until it is known where it is */

    if (ngx_patient_guard_sentinel_anew(sentinel) != NGX_OK) {
        return NULL;
    }

    ngx_patient_guard_sentinel_soon(sentinel);

    return &sentinel->finder;
}


static void
ngx_patient_guard_sentinel_destroy(ngx_patient_guard_finder_t *finder)
{
    ngx_uint_t                     i;
    ngx_patient_guard_sentinel_t  *sentinel;

    sentinel = (ngx_patient_guard_sentinel_t *) finder;

    if (sentinel->ask.timer_set) {
        ngx_del_timer(&sentinel->ask);
    }

    for (i = 0; i < sentinel->n; i++) {
        ngx_patient_guard_watchman_destroy(&sentinel->watchmen[i]);
    }

    ngx_patient_guard_name_stop(&sentinel->master->name);
    ngx_destroy_pool(sentinel->pool);
}


/* the master is away, or none: they are asked, unless they are already */

static void
ngx_patient_guard_sentinel_soon(void *data)
{
    ngx_patient_guard_sentinel_t  *sentinel = data;

    ngx_msec_int_t  since;

    if (sentinel->asking || sentinel->ask.timer_set) {
        return;
    }

    sentinel->asked = 0;

    /* not from within: it may be the answer that makes us ask again */

    since = ngx_current_msec - sentinel->last;

    ngx_add_timer(&sentinel->ask, since < NGX_PATIENT_GUARD_SENTINEL_PACE
                                  ? NGX_PATIENT_GUARD_SENTINEL_PACE - since
                                  : 0);
}


static void
ngx_patient_guard_sentinel_ask(ngx_event_t *ev)
{
    ngx_patient_guard_sentinel_t  *sentinel = ev->data;

    ngx_patient_guard_watchman_t  *watchman;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    watchman = &sentinel->watchmen[sentinel->current];

    if (watchman->link.state != NGX_PATIENT_GUARD_LINK_DOWN) {

        /* it has told; another one may have heard more */

        ngx_patient_guard_watchman_hangup(watchman);

        sentinel->current = (sentinel->current + 1) % sentinel->n;
        watchman = &sentinel->watchmen[sentinel->current];
    }

    sentinel->asking = 1;
    sentinel->asked++;
    sentinel->last = ngx_current_msec;

    ngx_patient_guard_watchman_ask(watchman);
}


static void
ngx_patient_guard_sentinel_fails(void *data, const char *reason,
    ngx_uint_t refused)
{
    ngx_patient_guard_sentinel_t  *sentinel = data;

    ngx_uint_t                     level;
    ngx_msec_t                     delay;
    ngx_patient_guard_watchman_t  *watchman;

    watchman = &sentinel->watchmen[sentinel->current];

    delay = 0;

    if (refused) {
        sentinel->delay = NGX_PATIENT_GUARD_SENTINEL_REFUSED;
    }

    if (!sentinel->asking) {

        /* it had told, and was let go: no haste */

        sentinel->asked = 0;
        delay = NGX_PATIENT_GUARD_SENTINEL_MIN;

    } else if (sentinel->asked >= sentinel->n) {

        sentinel->asked = 0;

        delay = ngx_max(sentinel->delay, NGX_PATIENT_GUARD_SENTINEL_MIN);
        sentinel->delay = ngx_min(delay * 2, NGX_PATIENT_GUARD_SENTINEL_MAX);
        delay = delay / 2 + ngx_random() % (delay / 2);

        if (!sentinel->lost && !ngx_exiting) {
            sentinel->lost = 1;

            level = refused ? NGX_LOG_CRIT : NGX_LOG_ERR;

            ngx_log_error(level, sentinel->cycle->log, 0,
                          "patient guard: no sentinel tells where the redis "
                          "master \"%V\" is; the last one, \"%V\": %s",
                          &sentinel->conf->master, &watchman->link.target.name,
                          reason);
        }
    }

    sentinel->asking = 0;
    sentinel->current = (sentinel->current + 1) % sentinel->n;

    if (!(ngx_exiting || ngx_terminate || ngx_quit)) {
        ngx_add_timer(&sentinel->ask, delay);
    }
}


/* or that it is still there */

static void
ngx_patient_guard_sentinel_tells(void *data, ngx_str_t *host, in_port_t port)
{
    ngx_patient_guard_sentinel_t  *sentinel = data;

    u_char                       name[NGX_PATIENT_GUARD_HOST_MAX * 2];
    ngx_patient_guard_target_t  *target, found;

    sentinel->asking = 0;
    sentinel->asked = 0;
    sentinel->delay = 0;

    if (sentinel->lost) {
        sentinel->lost = 0;

        ngx_log_error(NGX_LOG_NOTICE, sentinel->cycle->log, 0,
                      "patient guard: a sentinel tells again where the redis "
                      "master \"%V\" is", &sentinel->conf->master);
    }

    target = &sentinel->master->target;

    if (target->port == port && target->host.len == host->len
        && ngx_strncasecmp(target->host.data, host->data, host->len) == 0)
    {
        return;
    }

    if (target->port) {
        ngx_log_error(NGX_LOG_NOTICE, sentinel->cycle->log, 0,
                      "patient guard: the redis master \"%V\" is now "
                      "\"%V:%d\"", &sentinel->conf->master, host,
                      (int) port);

        if (ngx_patient_guard_sentinel_anew(sentinel) != NGX_OK) {
            return;
        }
    }

    ngx_memzero(&found, sizeof(ngx_patient_guard_target_t));

    found.host = *host;
    found.port = port;
    found.name.len = ngx_snprintf(name, sizeof(name), "%V %V:%d",
                                  &sentinel->conf->master, host, (int) port)
                     - name;
    found.name.data = name;

    if (ngx_patient_guard_server_aim(sentinel->master, &found) != NGX_OK) {

        /* the next one who tells may have better luck */

        sentinel->master->target.port = 0;
    }
}


/* a master that nobody knows yet; if memory is short it is the one it was */

static ngx_int_t
ngx_patient_guard_sentinel_anew(ngx_patient_guard_sentinel_t *sentinel)
{
    ngx_pool_t                  *pool;
    ngx_patient_guard_server_t  *master, *old;

    pool = ngx_create_pool(NGX_PATIENT_GUARD_SENTINEL_POOL,
                           sentinel->cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    master = ngx_patient_guard_server_create(sentinel->conf,
                                             &sentinel->conf->master,
                                             ngx_patient_guard_sentinel_soon,
                                             sentinel, sentinel->peers, pool,
                                             sentinel->cycle);
    if (master == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    old = sentinel->master;

    if (old) {
        ngx_patient_guard_peer_inherit(master->peer, old->peer);
        ngx_patient_guard_server_destroy(old);
        ngx_destroy_pool(sentinel->pool);
    }

    sentinel->master = master;
    sentinel->pool = pool;

    return NGX_OK;
}


static ngx_patient_guard_peer_t *
ngx_patient_guard_sentinel_find(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_sentinel_t  *sentinel;

    sentinel = (ngx_patient_guard_sentinel_t *) finder;

    return sentinel->master->peer;
}


/* it has been a master: whoever is the next one gets the call */

static ngx_int_t
ngx_patient_guard_sentinel_moved(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_peer_t *peer, ngx_patient_guard_reply_t *reply,
    ngx_patient_guard_peer_t **ask)
{
    ngx_patient_guard_sentinel_t  *sentinel;

    sentinel = (ngx_patient_guard_sentinel_t *) finder;

    /* a worker that goes asks no sentinel any more */

    if (ngx_exiting || !ngx_patient_guard_resp_says(reply, "READONLY")) {
        return NGX_DECLINED;
    }

    if (peer == sentinel->master->peer) {

        if (ngx_patient_guard_sentinel_anew(sentinel) != NGX_OK) {
            return NGX_DECLINED;
        }

        ngx_patient_guard_sentinel_soon(sentinel);
    }

    return NGX_OK;
}
