
#include "ngx_patient_guard_server.h"


typedef struct {
    ngx_patient_guard_finder_t   finder;       /* first: the contract */
    ngx_patient_guard_server_t  *server;
} ngx_patient_guard_single_t;


static void ngx_patient_guard_server_found(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs);
static ngx_patient_guard_peer_t *ngx_patient_guard_single_find(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_account_t *account);
static ngx_int_t ngx_patient_guard_single_moved(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_reply_t *reply, ngx_patient_guard_peer_t **ask);
static void ngx_patient_guard_single_destroy(
    ngx_patient_guard_finder_t *finder);


ngx_patient_guard_server_t *
ngx_patient_guard_server_create(ngx_patient_guard_finder_conf_t *conf,
    ngx_str_t *name, void (*failed)(void *data), void *data,
    ngx_queue_t *peers, ngx_pool_t *pool, ngx_cycle_t *cycle)
{
    ngx_patient_guard_server_t  *server;

    server = ngx_pcalloc(pool, sizeof(ngx_patient_guard_server_t));
    if (server == NULL) {
        return NULL;
    }

    server->conf = conf;
    server->target.name = *name;
    server->failed = failed;
    server->data = data;
    server->peers = peers;
    server->pool = pool;
    server->cycle = cycle;

    server->peer = ngx_patient_guard_peer_create(&conf->peer, &server->target,
                                                 failed, data, peers, cycle);

    return server->peer ? server : NULL;
}


ngx_int_t
ngx_patient_guard_server_aim(ngx_patient_guard_server_t *server,
    ngx_patient_guard_target_t *target)
{
    if (ngx_patient_guard_target_copy(&server->target, target, server->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (target->naddrs == 0 && ngx_patient_guard_name_literal(&target->host)
        && ngx_patient_guard_target_literal(&server->target, server->pool)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (server->target.naddrs
        && ngx_patient_guard_peer_found(server->peer, &server->target)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    server->name.handler = ngx_patient_guard_server_found;
    server->name.data = server;

    if (ngx_patient_guard_name_follow(&server->name, &server->conf->resolve,
                                      &server->target.host,
                                      server->target.port,
                                      server->cycle->log)
        != NGX_OK
        && target->naddrs == 0)
    {
        ngx_log_error(NGX_LOG_ERR, server->cycle->log, 0,
                      "patient guard: redis host \"%V\" can't be resolved "
                      "without a \"resolver\" in \"http\"", &target->host);
    }

    return NGX_OK;
}


void
ngx_patient_guard_server_destroy(ngx_patient_guard_server_t *server)
{
    ngx_patient_guard_name_stop(&server->name);
    ngx_patient_guard_peer_retire(server->peer);
}


/* if memory is short it is found the next time */

static void
ngx_patient_guard_server_found(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs)
{
    ngx_patient_guard_server_t  *server = data;

    ngx_patient_guard_peer_t    *peer;
    ngx_patient_guard_target_t   target, *current;

    current = ngx_patient_guard_peer_target(server->peer);

    if (ngx_patient_guard_target_has(current, addrs, naddrs)) {
        return;
    }

    target = server->target;
    target.addrs = addrs;
    target.naddrs = naddrs;

    if (!ngx_patient_guard_peer_elsewhere(server->peer, &target)) {
        (void) ngx_patient_guard_peer_found(server->peer, &target);
        return;
    }

    peer = ngx_patient_guard_peer_create(&server->conf->peer, &target,
                                         server->failed, server->data,
                                         server->peers, server->cycle);
    if (peer == NULL) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, server->cycle->log, 0,
                  "patient guard: redis \"%V\" has moved to another address",
                  &server->target.name);

    ngx_patient_guard_peer_inherit(peer, server->peer);
    ngx_patient_guard_peer_retire(server->peer);

    server->peer = peer;
}


ngx_patient_guard_finder_t *
ngx_patient_guard_server_finder(ngx_patient_guard_finder_conf_t *conf,
    ngx_queue_t *peers, ngx_cycle_t *cycle)
{
    ngx_patient_guard_single_t  *single;
    ngx_patient_guard_target_t  *target;

    single = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_single_t));
    if (single == NULL) {
        return NULL;
    }

    single->finder.find = ngx_patient_guard_single_find;
    single->finder.moved = ngx_patient_guard_single_moved;
    single->finder.destroy = ngx_patient_guard_single_destroy;

    target = conf->targets->elts;

    single->server = ngx_patient_guard_server_create(conf, &target->name,
                                                     NULL, NULL, peers,
                                                     cycle->pool, cycle);

    if (single->server == NULL
        || ngx_patient_guard_server_aim(single->server, target) != NGX_OK)
    {
        return NULL;
    }

    return &single->finder;
}


static ngx_patient_guard_peer_t *
ngx_patient_guard_single_find(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_single_t  *single = (ngx_patient_guard_single_t *)
                                              finder;

    return single->server->peer;
}


/* a server that belongs to a cluster says MOVED: no error is worth a try */

static ngx_int_t
ngx_patient_guard_single_moved(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_peer_t *peer, ngx_patient_guard_reply_t *reply,
    ngx_patient_guard_peer_t **ask)
{
    return NGX_DECLINED;
}


static void
ngx_patient_guard_single_destroy(ngx_patient_guard_finder_t *finder)
{
    ngx_patient_guard_single_t  *single = (ngx_patient_guard_single_t *)
                                              finder;

    ngx_patient_guard_name_stop(&single->server->name);
}
