
#include "ngx_patient_guard_cluster.h"
#include "ngx_patient_guard_members.h"
#include "ngx_patient_guard_slots.h"


/* ms between two questions, while something is wrong; and at the least */
#define NGX_PATIENT_GUARD_CLUSTER_WRONG  250
#define NGX_PATIENT_GUARD_CLUSTER_MIN    50


typedef struct ngx_patient_guard_cluster_s  ngx_patient_guard_cluster_t;


struct ngx_patient_guard_cluster_s {
    ngx_patient_guard_finder_t        finder;  /* first: the contract */
    ngx_patient_guard_asked_t         asked;   /* CLUSTER SLOTS */
    ngx_patient_guard_finder_conf_t  *conf;
    ngx_cycle_t                      *cycle;
    ngx_patient_guard_members_t       members;

    ngx_event_t                       ask;
    ngx_msec_t                        last;    /* when it was asked */
    ngx_str_t                         teller;  /* host of who is asked */
    u_char                            host[NGX_PATIENT_GUARD_HOST_MAX];
    unsigned                          waits:1; /* for the answer */
    unsigned                          known:1; /* the map, once */
    unsigned                          none:1;  /* it is no cluster */
    unsigned                          incomplete:1;    /* as logged */
};


static ngx_int_t ngx_patient_guard_cluster_seed(
    ngx_patient_guard_cluster_t *cluster);
static void ngx_patient_guard_cluster_soon(
    ngx_patient_guard_cluster_t *cluster, ngx_msec_t delay);
static void ngx_patient_guard_cluster_failed(void *data);
static void ngx_patient_guard_cluster_ask(ngx_event_t *ev);
static ngx_int_t ngx_patient_guard_cluster_answered(
    ngx_patient_guard_asked_t *asked, ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_cluster_map(
    ngx_patient_guard_cluster_t *cluster, ngx_patient_guard_reply_t *reply);
static ngx_uint_t ngx_patient_guard_cluster_at(
    ngx_patient_guard_cluster_t *cluster, ngx_patient_guard_slots_t *slots,
    ngx_str_t *teller);
static void ngx_patient_guard_cluster_judge(
    ngx_patient_guard_cluster_t *cluster, ngx_uint_t served);
static ngx_patient_guard_peer_t *ngx_patient_guard_cluster_find(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_account_t *account);
static ngx_int_t ngx_patient_guard_cluster_moved(
    ngx_patient_guard_finder_t *finder, ngx_patient_guard_peer_t *peer,
    ngx_patient_guard_reply_t *reply, ngx_patient_guard_peer_t **ask);
static void ngx_patient_guard_cluster_destroy(
    ngx_patient_guard_finder_t *finder);


ngx_patient_guard_finder_t *
ngx_patient_guard_cluster_finder(ngx_patient_guard_finder_conf_t *conf,
    ngx_queue_t *peers, ngx_cycle_t *cycle)
{
    ngx_patient_guard_cluster_t  *cluster;

    cluster = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_cluster_t));
    if (cluster == NULL) {
        return NULL;
    }

    cluster->finder.find = ngx_patient_guard_cluster_find;
    cluster->finder.moved = ngx_patient_guard_cluster_moved;
    cluster->finder.destroy = ngx_patient_guard_cluster_destroy;

    cluster->asked.handler = ngx_patient_guard_cluster_answered;

    cluster->conf = conf;
    cluster->cycle = cycle;
    cluster->last = ngx_current_msec - NGX_PATIENT_GUARD_CLUSTER_MIN;

    cluster->ask.handler = ngx_patient_guard_cluster_ask;
    cluster->ask.data = cluster;
    cluster->ask.log = cycle->log;
    cluster->ask.cancelable = 1;

    cluster->members.conf = conf;
    cluster->members.peers = peers;
    cluster->members.cycle = cycle;
    cluster->members.failed = ngx_patient_guard_cluster_failed;
    cluster->members.data = cluster;

    if (ngx_patient_guard_members_init(&cluster->members) != NGX_OK) {
        return NULL;
    }

    cluster->members.turn = ngx_random();

    if (ngx_patient_guard_cluster_seed(cluster) != NGX_OK) {
        return NULL;
    }

    ngx_patient_guard_cluster_soon(cluster, 0);

    return &cluster->finder;
}


/* another one of those that were configured */

static ngx_int_t
ngx_patient_guard_cluster_seed(ngx_patient_guard_cluster_t *cluster)
{
    ngx_uint_t                   i;
    ngx_patient_guard_target_t  *seeds;

    seeds = cluster->conf->targets->elts;
    i = cluster->members.turn++ % cluster->conf->targets->nelts;

    return ngx_patient_guard_members_get(&cluster->members, &seeds[i])
           == NGX_PATIENT_GUARD_NOBODY ? NGX_ERROR : NGX_OK;
}


static ngx_patient_guard_peer_t *
ngx_patient_guard_cluster_find(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_account_t *account)
{
    ngx_uint_t                    i;
    ngx_patient_guard_cluster_t  *cluster;

    cluster = (ngx_patient_guard_cluster_t *) finder;

    if (account) {

        if (cluster->none) {
            return NULL;
        }

        i = cluster->members.slots[ngx_patient_guard_slot(account)];

        if (i != NGX_PATIENT_GUARD_NOBODY) {
            return ngx_patient_guard_members_peer(&cluster->members, i);
        }
    }

    return ngx_patient_guard_members_any(&cluster->members);
}


static void
ngx_patient_guard_cluster_soon(ngx_patient_guard_cluster_t *cluster,
    ngx_msec_t delay)
{
    ngx_msec_int_t  since;

    if (cluster->waits || cluster->ask.timer_set) {
        return;
    }

    since = ngx_current_msec - cluster->last;

    if (since < NGX_PATIENT_GUARD_CLUSTER_MIN) {
        delay = ngx_max(delay, (ngx_msec_t)
                               (NGX_PATIENT_GUARD_CLUSTER_MIN - since));
    }

    ngx_add_timer(&cluster->ask, delay);
}


/* a member is away: another one may have its slots by now */

static void
ngx_patient_guard_cluster_failed(void *data)
{
    ngx_patient_guard_cluster_soon(data, 0);
}


static void
ngx_patient_guard_cluster_ask(ngx_event_t *ev)
{
    ngx_patient_guard_cluster_t  *cluster = ev->data;

    u_char                    *p;
    uint64_t                  *told;
    ngx_str_t                 *host;
    ngx_patient_guard_peer_t  *peer;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    cluster->last = ngx_current_msec;

    peer = ngx_patient_guard_members_any(&cluster->members);

    if (peer == NULL) {
        (void) ngx_patient_guard_cluster_seed(cluster);

        peer = ngx_patient_guard_members_any(&cluster->members);
    }

    cluster->members.turn++;

    if (peer == NULL
        || ngx_patient_guard_peer_send(peer, 4 * NGX_PATIENT_GUARD_RESP_HEAD
                                             + 32, &p, &told)
           != NGX_OK)
    {
        ngx_patient_guard_cluster_soon(cluster,
                                       NGX_PATIENT_GUARD_CLUSTER_WRONG);
        return;
    }

    /* its host is that of whom the answer gives none; it may be gone then */

    host = &ngx_patient_guard_peer_target(peer)->host;
    cluster->teller.data = cluster->host;
    cluster->teller.len = ngx_min(host->len, sizeof(cluster->host));
    ngx_memcpy(cluster->host, host->data, cluster->teller.len);

    p = ngx_patient_guard_resp_command(p, 2);
    p = ngx_patient_guard_resp_arg(p, "CLUSTER", 7);
    p = ngx_patient_guard_resp_arg(p, "SLOTS", 5);

    cluster->waits = 1;

    ngx_patient_guard_peer_sent(peer, p,
                       ngx_patient_guard_peer_deadline(&cluster->conf->peer),
                       NGX_PATIENT_GUARD_REPLY_TREE, &cluster->asked);
}


static ngx_int_t
ngx_patient_guard_cluster_answered(ngx_patient_guard_asked_t *asked,
    ngx_patient_guard_reply_t *reply)
{
    ngx_patient_guard_cluster_t  *cluster;

    cluster = (ngx_patient_guard_cluster_t *)
              ((u_char *) asked - offsetof(ngx_patient_guard_cluster_t,
                                           asked));
    cluster->waits = 0;

    if (reply == NULL) {
        ngx_patient_guard_cluster_soon(cluster, 0);
        return NGX_OK;
    }

    if (reply->type == NGX_PATIENT_GUARD_REPLY_ERROR) {
        ngx_patient_guard_cluster_soon(cluster,
                                       NGX_PATIENT_GUARD_CLUSTER_WRONG);

        /* "ERR This instance has cluster support disabled" */

        cluster->none = !cluster->known
                        && ngx_patient_guard_resp_says(reply, "ERR ");

        return (cluster->none || ngx_patient_guard_resp_refused(reply))
               ? NGX_ABORT : NGX_DECLINED;
    }

    if (ngx_patient_guard_cluster_map(cluster, reply) != NGX_OK) {
        ngx_patient_guard_cluster_soon(cluster,
                                       NGX_PATIENT_GUARD_CLUSTER_WRONG);
        return NGX_ERROR;
    }

    /* a node of a cluster that is down tells as well */

    return NGX_AGAIN;
}


static ngx_int_t
ngx_patient_guard_cluster_map(ngx_patient_guard_cluster_t *cluster,
    ngx_patient_guard_reply_t *reply)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, at, served;
    ngx_patient_guard_slots_t   slots;

    /* the whole of it is well-formed, or nothing is believed */

    for (i = 0, served = 0; ; /* void */ ) {
        rc = ngx_patient_guard_slots_next(reply, &i, &slots);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        served += slots.last - slots.first + 1;

        if (served > NGX_PATIENT_GUARD_SLOTS) {
            return NGX_ERROR;
        }
    }

    ngx_patient_guard_members_clear(&cluster->members);

    served = 0;

    for (i = 0;
         ngx_patient_guard_slots_next(reply, &i, &slots) == NGX_OK;
         /* void */ )
    {
        at = ngx_patient_guard_cluster_at(cluster, &slots, &cluster->teller);

        if (at == NGX_PATIENT_GUARD_NOBODY) {
            continue;
        }

        ngx_patient_guard_members_give(&cluster->members, at, slots.first,
                                       slots.last);

        served += slots.last - slots.first + 1;
    }

    if (served) {
        ngx_patient_guard_members_forget(&cluster->members);
    }

    ngx_patient_guard_cluster_judge(cluster, served);

    return NGX_OK;
}


/* the member that has these slots; NOBODY: whoever says so does not know */

static ngx_uint_t
ngx_patient_guard_cluster_at(ngx_patient_guard_cluster_t *cluster,
    ngx_patient_guard_slots_t *slots, ngx_str_t *teller)
{
    ngx_str_t                   *host;
    ngx_patient_guard_target_t   target;
    u_char                       name[NGX_PATIENT_GUARD_TARGET_NAME];

    host = slots->host.len ? &slots->host : teller;

    if (slots->port == 0 || host->len == 0
        || (host->len == 1 && host->data[0] == '?'))
    {
        return NGX_PATIENT_GUARD_NOBODY;
    }

    ngx_patient_guard_target_set(&target, host, slots->port, name);

    return ngx_patient_guard_members_get(&cluster->members, &target);
}


/* is all well?  Else it is asked again */

static void
ngx_patient_guard_cluster_judge(ngx_patient_guard_cluster_t *cluster,
    ngx_uint_t served)
{
    ngx_uint_t  wrong;

    wrong = (served != NGX_PATIENT_GUARD_SLOTS);

    if (wrong != cluster->incomplete || !cluster->known) {
        cluster->incomplete = wrong;

        if (wrong) {
            ngx_log_error(NGX_LOG_ERR, cluster->cycle->log, 0,
                          "patient guard: redis cluster serves %ui of %d "
                          "hash slots; on_outage %s holds for the others",
                          served, NGX_PATIENT_GUARD_SLOTS,
                          cluster->conf->peer.outage);

        } else if (cluster->known) {
            ngx_log_error(NGX_LOG_NOTICE, cluster->cycle->log, 0,
                          "patient guard: redis cluster serves all hash "
                          "slots again");
        }
    }

    cluster->known = 1;
    cluster->none = 0;

    wrong |= !ngx_patient_guard_members_well(&cluster->members);

    if (wrong) {
        ngx_patient_guard_cluster_soon(cluster,
                                       NGX_PATIENT_GUARD_CLUSTER_WRONG);
    }
}


static ngx_int_t
ngx_patient_guard_cluster_moved(ngx_patient_guard_finder_t *finder,
    ngx_patient_guard_peer_t *peer, ngx_patient_guard_reply_t *reply,
    ngx_patient_guard_peer_t **ask)
{
    ngx_uint_t                    at, asking;
    ngx_patient_guard_slots_t     slots;
    ngx_patient_guard_cluster_t  *cluster;

    cluster = (ngx_patient_guard_cluster_t *) finder;

    asking = ngx_patient_guard_resp_says(reply, "ASK ");

    if (!asking && !ngx_patient_guard_resp_says(reply, "MOVED ")) {

        if (ngx_patient_guard_resp_says(reply, "CLUSTERDOWN")
            || ngx_patient_guard_resp_says(reply, "READONLY"))
        {
            ngx_patient_guard_cluster_soon(cluster, 0);
        }

        return NGX_DECLINED;
    }

    if (ngx_patient_guard_slots_moved(&reply->text, &slots) != NGX_OK) {
        return NGX_DECLINED;
    }

    at = ngx_patient_guard_cluster_at(cluster, &slots,
                         &ngx_patient_guard_peer_target(peer)->host);

    if (at == NGX_PATIENT_GUARD_NOBODY) {
        return NGX_DECLINED;
    }

    if (asking) {
        *ask = ngx_patient_guard_members_peer(&cluster->members, at);
        return NGX_OK;
    }

    /* for this slot it is believed at once, for the others it is asked */

    ngx_patient_guard_members_give(&cluster->members, at, slots.first,
                                   slots.first);

    ngx_patient_guard_cluster_soon(cluster, 0);

    return NGX_OK;
}


static void
ngx_patient_guard_cluster_destroy(ngx_patient_guard_finder_t *finder)
{
    ngx_patient_guard_cluster_t  *cluster;

    cluster = (ngx_patient_guard_cluster_t *) finder;

    if (cluster->ask.timer_set) {
        ngx_del_timer(&cluster->ask);
    }

    ngx_patient_guard_members_destroy(&cluster->members);
}
