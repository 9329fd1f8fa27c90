
#include "ngx_patient_guard_script.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_post.h"
#include "ngx_patient_guard_parcel.h"
#include "ngx_patient_guard_resp.h"
#include "ngx_patient_guard_cluster.h"
#include "ngx_patient_guard_sentinel.h"
#include "ngx_patient_guard_server.h"


/* from an old place to a new one, that is, and on to where it is going */
#define NGX_PATIENT_GUARD_SCRIPT_MOVES  2


struct ngx_patient_guard_script_s {
    ngx_patient_guard_script_conf_t  *conf;
    ngx_patient_guard_finder_t       *finder;
    ngx_queue_t                       peers;
    ngx_patient_guard_asked_t         asking;
    uint64_t                          nonce;   /* the last one */
    uint64_t                          nonces;  /* how many are left */
    ngx_uint_t                        bare;    /* a limit keeps bare counts */
    u_char                            session[8];
    time_t                            logged;
    ngx_log_t                        *log;
};


static ngx_int_t ngx_patient_guard_script_ask(
    ngx_patient_guard_script_t *script, ngx_patient_guard_command_t *command,
    ngx_patient_guard_peer_t *peer);
static uint64_t ngx_patient_guard_script_us(void);
static uint64_t ngx_patient_guard_script_nonce(
    ngx_patient_guard_script_t *script);
static ngx_int_t ngx_patient_guard_script_reply(
    ngx_patient_guard_asked_t *asked, ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_script_asking(
    ngx_patient_guard_asked_t *asked, ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_script_error(
    ngx_patient_guard_script_t *script, ngx_patient_guard_command_t *command,
    ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_script_moved(
    ngx_patient_guard_script_t *script, ngx_patient_guard_command_t *command,
    ngx_patient_guard_reply_t *reply);
static void ngx_patient_guard_script_log(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_reply_t *reply);


void
ngx_patient_guard_script_conf_init(ngx_patient_guard_script_conf_t *conf)
{
    ngx_patient_guard_call_digest(conf->digest);
}


ngx_patient_guard_script_t *
ngx_patient_guard_script_create(ngx_patient_guard_script_conf_t *conf,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                   i;
    ngx_patient_guard_script_t  *script;

    script = ngx_pcalloc(cycle->pool, sizeof(ngx_patient_guard_script_t));
    if (script == NULL) {
        return NULL;
    }

    script->conf = conf;
    script->log = cycle->log;

    for (i = 0; i < conf->shm->nlimits; i++) {
        script->bare |= !ngx_patient_guard_keeps_set(&conf->shm->limits[i]);
    }

    ngx_patient_guard_session(conf->shm->node, ngx_worker, script->session);

    script->asking.handler = ngx_patient_guard_script_asking;

    ngx_queue_init(&script->peers);

    switch (conf->finder.mode) {

    case NGX_PATIENT_GUARD_SENTINEL:
        script->finder = ngx_patient_guard_sentinel_finder(&conf->finder,
                                                     &script->peers, cycle);
        break;

    case NGX_PATIENT_GUARD_CLUSTER:
        script->finder = ngx_patient_guard_cluster_finder(&conf->finder,
                                                     &script->peers, cycle);
        break;

    default: /* NGX_PATIENT_GUARD_STANDALONE */
        script->finder = ngx_patient_guard_server_finder(&conf->finder,
                                                     &script->peers, cycle);
        break;
    }

    conf->script = script;

    return script->finder ? script : NULL;
}


void
ngx_patient_guard_script_destroy(ngx_patient_guard_script_t *script)
{
    script->finder->destroy(script->finder);
    ngx_patient_guard_peers_destroy(&script->peers);
}


ngx_uint_t
ngx_patient_guard_script_there(ngx_patient_guard_script_t *script,
    ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_peer_t  *peer;

    peer = script->finder->find(script->finder, account);

    return peer && ngx_patient_guard_peer_there(peer);
}


ngx_int_t
ngx_patient_guard_script_send(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command)
{
    u_char                      *p, *digest;
    ngx_patient_guard_peer_t    *peer, *ask;
    ngx_patient_guard_caller_t   caller;

    ask = command->ask;
    command->ask = NULL;

    peer = ask ? ask : script->finder->find(script->finder, command->account);

    if (peer == NULL) {
        return NGX_DECLINED;
    }

    /* two things are sent at once: the second must not be declined */

    if (ask && (!ngx_patient_guard_peer_well(peer)
                || ngx_patient_guard_script_ask(script, command, peer)
                   != NGX_OK))
    {
        return NGX_DECLINED;
    }

    if (ngx_patient_guard_peer_send(peer, command->size(command), &p,
                                    &command->told)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    command->asked.handler = ngx_patient_guard_script_reply;
    command->script = script;
    command->peer = peer;
    command->started = ngx_patient_guard_script_us();
    command->nonce = ngx_patient_guard_script_nonce(script);

    caller.nonce = command->nonce;
    caller.session = script->bare ? script->session : NULL;

    digest = script->conf->digest;

    if (ask) {

        /* it must not be answered by NOSCRIPT, for it is asked once */

        digest = NULL;

    } else if (*command->told == 0) {

        /* those behind it in the pipeline find the script loaded */

        *command->told = command->nonce;
        digest = NULL;
    }

    p = command->write(command, p, &caller, digest);

    ngx_patient_guard_peer_sent(peer, p, command->deadline, command->most,
                                &command->asked);
    return NGX_OK;
}


/* the call that comes next is for a slot that is being moved to this one */

static ngx_int_t
ngx_patient_guard_script_ask(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_peer_t *peer)
{
    u_char    *p;
    uint64_t  *told;

    if (ngx_patient_guard_peer_send(peer, NGX_PATIENT_GUARD_RESP_HEAD
                                          + ngx_patient_guard_resp_size(6)
                                          + command->size(command),
                                    &p, &told)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    p = ngx_patient_guard_resp_command(p, 1);
    p = ngx_patient_guard_resp_arg(p, "ASKING", 6);

    ngx_patient_guard_peer_sent(peer, p, command->deadline, 0,
                                &script->asking);
    return NGX_OK;
}


u_char *
ngx_patient_guard_script_eval(ngx_patient_guard_command_t *command,
    u_char *p, const u_char *digest, const u_char *script, size_t len)
{
    if (digest == NULL) {
        *command->told = 0;
    }

    p = ngx_patient_guard_resp_arg(p, "EVAL", 4);

    return ngx_patient_guard_resp_arg(p, script, len);
}


u_char *
ngx_patient_guard_script_replied(ngx_patient_guard_command_t *command,
    ngx_str_t *text)
{
    u_char  nonce[NGX_INT64_LEN];
    size_t  len;

    len = ngx_sprintf(nonce, "%uL", command->nonce) - nonce;

    return text->len >= len && ngx_memcmp(text->data, nonce, len) == 0
           ? text->data + len : NULL;
}


/* nginx' own clock goes by ms, once a turn of its loop */

static uint64_t
ngx_patient_guard_script_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


void
ngx_patient_guard_script_state(ngx_patient_guard_script_t *script)
{
    ngx_queue_t                 *q;
    ngx_patient_guard_peer_t    *peer;
    ngx_patient_guard_worker_t   worker;

    ngx_memzero(&worker, sizeof(ngx_patient_guard_worker_t));

    for (q = ngx_queue_head(&script->peers);
         q != ngx_queue_sentinel(&script->peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_patient_guard_peer_t, queue);

        worker.connections
                   += peer->link.state == NGX_PATIENT_GUARD_LINK_READY;
        worker.away += peer->breaker.away;
        worker.waiting
                += (uint32_t) ngx_patient_guard_peer_waiting(peer);
    }

    ngx_patient_guard_totals_worker(script->conf->shm->totals, &worker);
}


static uint64_t
ngx_patient_guard_script_nonce(ngx_patient_guard_script_t *script)
{
    if (script->nonces == 0) {
        ngx_patient_guard_script_renumber(script);
    }

    script->nonces--;

    return ++script->nonce;
}


void
ngx_patient_guard_script_renumber(ngx_patient_guard_script_t *script)
{
    script->nonce = ngx_patient_guard_post_numbers(script->conf->shm) - 1;
    script->nonces = NGX_PATIENT_GUARD_NUMBERS;
}


static ngx_int_t
ngx_patient_guard_script_reply(ngx_patient_guard_asked_t *asked,
    ngx_patient_guard_reply_t *reply)
{
    ngx_patient_guard_command_t  *command;

    command = (ngx_patient_guard_command_t *) asked;

    if (reply == NULL) {
        return command->answered(command, NGX_ERROR, NULL);
    }

    switch (reply->type) {

    case NGX_PATIENT_GUARD_REPLY_STRING:

        /* it has arrived; if it is superseded it may go there once more */

        command->moved = 0;

        ngx_patient_guard_totals_answered(command->script->conf->shm->totals,
                           ngx_patient_guard_script_us() - command->started);

        return command->answered(command, NGX_OK, &reply->text);

    case NGX_PATIENT_GUARD_REPLY_ERROR:
        return ngx_patient_guard_script_error(command->script, command,
                                              reply);

    default:
        (void) command->answered(command, NGX_ERROR, NULL);
        return NGX_ERROR;
    }
}


/* what comes behind it tells whether it was heard */

static ngx_int_t
ngx_patient_guard_script_asking(ngx_patient_guard_asked_t *asked,
    ngx_patient_guard_reply_t *reply)
{
    return NGX_AGAIN;
}


/*
 * NGX_OK     the call alone fails: a poisoned key, say;
 * NGX_AGAIN, NGX_DECLINED, NGX_ERROR, NGX_ABORT
 *            see ngx_patient_guard_asked_t
 */

static ngx_int_t
ngx_patient_guard_script_error(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_reply_t *reply)
{
    ngx_int_t  rc;

    if (ngx_patient_guard_resp_says(reply, "NOSCRIPT") && !command->again) {

        /* the first of a batch teaches it anew, the others follow */

        if (command->nonce > *command->told) {
            *command->told = 0;
        }

        command->again = 1;

        return command->answered(command, NGX_AGAIN, NULL);
    }

    if (ngx_patient_guard_script_moved(script, command, reply) == NGX_OK) {

        /* READONLY from who was a master is no sign of health */

        (void) command->answered(command, NGX_AGAIN, NULL);
        return NGX_AGAIN;
    }

    if (ngx_patient_guard_resp_refused(reply)) {
        rc = NGX_ABORT;

    } else if (ngx_patient_guard_resp_says(reply, "READONLY")) {
        rc = NGX_ERROR;

    } else {
        /* a call that met two SCRIPT FLUSH says nothing of the server */

        rc = (ngx_patient_guard_resp_says(reply, "WRONGTYPE")
              || ngx_patient_guard_resp_says(reply, "PGSTATE")
              || ngx_patient_guard_resp_says(reply, "NOSCRIPT")
              || ngx_patient_guard_resp_says(reply, "TRYAGAIN"))
             ? NGX_OK : NGX_DECLINED;

        ngx_patient_guard_script_log(script, command, reply);
    }

    (void) command->answered(command, NGX_DECLINED, NULL);

    return rc;
}


/* NGX_OK: it may be sent once more, to another server */

static ngx_int_t
ngx_patient_guard_script_moved(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_reply_t *reply)
{
    ngx_int_t  rc;

    rc = script->finder->moved(script->finder, command->peer, reply,
                               &command->ask);

    if (rc != NGX_OK || command->moved == NGX_PATIENT_GUARD_SCRIPT_MOVES) {
        command->ask = NULL;
        return NGX_DECLINED;
    }

    /* asked once: who asks for it again has got it wrong */

    command->moved = command->ask ? NGX_PATIENT_GUARD_SCRIPT_MOVES
                                  : command->moved + 1;
    return NGX_OK;
}


/* a poisoned key may be asked for often: a line a second will do */

static void
ngx_patient_guard_script_log(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_reply_t *reply)
{
    u_char                          account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_patient_guard_peer_conf_t  *peer;

    if (script->logged == ngx_time()) {
        return;
    }

    script->logged = ngx_time();
    peer = &script->conf->finder.peer;

    ngx_patient_guard_account_hex(account, command->account);

    ngx_log_error(NGX_LOG_ERR, script->log, 0,
                  "patient guard: redis \"%V\" answered \"%s\"; "
                  "on_outage %s holds for this lookup, account: %*s",
                  &ngx_patient_guard_peer_target(command->peer)->name,
                  ngx_patient_guard_resp_printable(&reply->text),
                  peer->outage, sizeof(account), account);
}
