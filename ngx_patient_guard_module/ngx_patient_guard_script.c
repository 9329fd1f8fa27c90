
#include "ngx_patient_guard_script.h"
#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_parcel.h"
#include "ngx_patient_guard_resp.h"


struct ngx_patient_guard_script_s {
    ngx_patient_guard_script_conf_t  *conf;
    ngx_patient_guard_peer_t         *peer;
    uint64_t                          nonce;   /* the last one */
    uint64_t                          nonces;  /* how many are left */
    ngx_uint_t                        taught;  /* generation of connection */
                                               /*   that knows the script */
    uint64_t                          lesson;  /* nonce that taught it */
    ngx_uint_t                        bare;    /* a limit keeps bare counts */
    u_char                            session[8];
    time_t                            logged;
    ngx_log_t                        *log;
};


static uint64_t ngx_patient_guard_script_nonce(
    ngx_patient_guard_script_t *script);
static ngx_int_t ngx_patient_guard_script_reply(void *owner, void *data,
    ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_script_error(
    ngx_patient_guard_script_t *script, ngx_patient_guard_command_t *command,
    ngx_patient_guard_reply_t *reply);
static ngx_uint_t ngx_patient_guard_script_says(
    ngx_patient_guard_reply_t *reply, const char *code);


void
ngx_patient_guard_script_conf_init(ngx_patient_guard_script_conf_t *conf)
{
    ngx_patient_guard_call_digest(conf->digest);
    ngx_patient_guard_peer_conf_init(&conf->peer);

    conf->peer.handler = ngx_patient_guard_script_reply;
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
        script->bare |= (conf->shm->limits[i].signal
                         == NGX_PATIENT_GUARD_LOOKUPS);
    }

    ngx_patient_guard_session(conf->shm->node, ngx_worker, script->session);

    script->peer = ngx_patient_guard_peer_create(&conf->peer, script, cycle);

    return script->peer ? script : NULL;
}


void
ngx_patient_guard_script_destroy(ngx_patient_guard_script_t *script)
{
    ngx_patient_guard_peer_destroy(script->peer);
}


ngx_uint_t
ngx_patient_guard_script_there(ngx_patient_guard_script_t *script)
{
    return ngx_patient_guard_peer_there(script->peer);
}


ngx_int_t
ngx_patient_guard_script_send(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command)
{
    u_char                      *p, *digest;
    ngx_uint_t                   generation;
    ngx_patient_guard_caller_t   caller;

    if (ngx_patient_guard_peer_send(script->peer, command->size(command), &p,
                                    &generation)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    command->nonce = ngx_patient_guard_script_nonce(script);

    caller.nonce = command->nonce;
    caller.session = script->bare ? script->session : NULL;

    digest = script->conf->digest;

    if (script->taught != generation) {

        /* those behind it in the pipeline find the script loaded */

        script->taught = generation;
        script->lesson = command->nonce;
        digest = NULL;
    }

    p = command->write(command, p, &caller, digest);

    (void) ngx_patient_guard_peer_sent(script->peer, p, command->deadline,
                                       command->most, command);
    return NGX_OK;
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
    script->nonce = ngx_patient_guard_floor_numbers(script->conf->shm) - 1;
    script->nonces = NGX_PATIENT_GUARD_NUMBERS;
}


static ngx_int_t
ngx_patient_guard_script_reply(void *owner, void *data,
    ngx_patient_guard_reply_t *reply)
{
    ngx_patient_guard_script_t   *script = owner;
    ngx_patient_guard_command_t  *command = data;

    if (reply == NULL) {
        return command->answered(command, NGX_ERROR, NULL);
    }

    switch (reply->type) {

    case NGX_PATIENT_GUARD_REPLY_STRING:
        return command->answered(command, NGX_OK, &reply->text);

    case NGX_PATIENT_GUARD_REPLY_ERROR:
        return ngx_patient_guard_script_error(script, command, reply);

    default: /* NGX_PATIENT_GUARD_REPLY_STATUS */
        (void) command->answered(command, NGX_ERROR, NULL);
        return NGX_ERROR;
    }
}


/*
 * NGX_OK     the call alone fails: a poisoned key, say;
 * NGX_DECLINED, NGX_ERROR, NGX_ABORT  see ngx_patient_guard_peer_pt
 */

static ngx_int_t
ngx_patient_guard_script_error(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command, ngx_patient_guard_reply_t *reply)
{
    u_char     account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_int_t  rc;

    if (ngx_patient_guard_script_says(reply, "NOSCRIPT")
        && !command->again)
    {
        /* the first of a batch teaches it anew, the others follow */

        if (command->nonce > script->lesson) {
            script->taught = 0;
        }

        command->again = 1;

        return command->answered(command, NGX_AGAIN, NULL);
    }

    if (ngx_patient_guard_resp_refused(reply)) {
        rc = NGX_ABORT;

    } else if (ngx_patient_guard_script_says(reply, "READONLY")) {
        rc = NGX_ERROR;

    } else {
        /* a call that met two SCRIPT FLUSH says nothing of the server */

        rc = (ngx_patient_guard_script_says(reply, "WRONGTYPE")
              || ngx_patient_guard_script_says(reply, "PGSTATE")
              || ngx_patient_guard_script_says(reply, "NOSCRIPT"))
             ? NGX_OK : NGX_DECLINED;

        /* a poisoned key may be asked for often: a line a second will do */

        if (script->logged != ngx_time()) {
            script->logged = ngx_time();

            ngx_patient_guard_account_hex(account, command->account);

            ngx_log_error(NGX_LOG_ERR, script->log, 0,
                          "patient guard: redis \"%V\" answered \"%s\"; "
                          "on_outage %s holds for this lookup, account: %*s",
                          &script->conf->peer.name,
                          ngx_patient_guard_resp_printable(&reply->text),
                          script->conf->peer.outage, sizeof(account),
                          account);
        }
    }

    (void) command->answered(command, NGX_DECLINED, NULL);

    return rc;
}


static ngx_uint_t
ngx_patient_guard_script_says(ngx_patient_guard_reply_t *reply,
    const char *code)
{
    size_t  len;

    len = ngx_strlen(code);

    return reply->text.len >= len
           && ngx_strncmp(reply->text.data, code, len) == 0;
}
