
/*
 * Calls of the script by one worker: numbered, taught to a server that does
 * not know the script, and their answers told apart.
 */


#ifndef _NGX_PATIENT_GUARD_SCRIPT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SCRIPT_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_finder.h"
#include "ngx_patient_guard_shm.h"


typedef struct ngx_patient_guard_script_s   ngx_patient_guard_script_t;
typedef struct ngx_patient_guard_command_s  ngx_patient_guard_command_t;


/*
 * A call on its way; it belongs to who sends it, and must outlive its answer.
 * size() and write() are called while it is sent; answered() is called once
 * each time that it was sent, never from within ngx_patient_guard_script_send,
 * and must not resume a request:
 *
 *   NGX_OK        this is the reply; answered() returns NGX_OK or, if it is
 *                 not what was asked for, NGX_ERROR;
 *   NGX_AGAIN     it was not carried out, and can be sent once more at once;
 *   NGX_DECLINED  it was not carried out: Redis answered by an error;
 *   NGX_ERROR     there is no answer: it may have been carried out.
 */

struct ngx_patient_guard_command_s {
    ngx_patient_guard_asked_t    asked;        /* first; the script's own, */
    ngx_patient_guard_script_t  *script;       /*   as these are           */
    ngx_patient_guard_peer_t    *peer;         /* that was asked */
    ngx_patient_guard_peer_t    *ask;          /* and that is, by ASKING */
    uint64_t                    *told;         /* by that connection */

    size_t                     (*size)(ngx_patient_guard_command_t *command);
    u_char                    *(*write)(ngx_patient_guard_command_t *command,
                                   u_char *p,
                                   ngx_patient_guard_caller_t *caller,
                                   const u_char *digest);
    ngx_int_t                  (*answered)(
                                   ngx_patient_guard_command_t *command,
                                   ngx_int_t rc, ngx_str_t *text);

    ngx_patient_guard_account_t *account;      /* for the log */
    size_t                       most;         /* bytes of the reply */
    ngx_msec_t                   deadline;
    uint64_t                     started;      /* us, by some clock */
    uint64_t                     nonce;
    ngx_uint_t                   again;        /* sent a second time */
    ngx_uint_t                   moved;        /* times, to another server */
};


/* read-only once the configuration is loaded */

typedef struct {
    ngx_patient_guard_finder_conf_t finder;
    ngx_str_t                       keys;      /* "prefix:policy:" */
    ngx_patient_guard_shm_t        *shm;
    u_char                          digest[NGX_PATIENT_GUARD_CALL_DIGEST];
    ngx_patient_guard_script_t     *script;    /* of this worker */
} ngx_patient_guard_script_conf_t;


/* completes what the configuration does not say */
void ngx_patient_guard_script_conf_init(
    ngx_patient_guard_script_conf_t *conf);

/* a worker's; NULL if memory is short */
ngx_patient_guard_script_t *ngx_patient_guard_script_create(
    ngx_patient_guard_script_conf_t *conf, ngx_cycle_t *cycle);
void ngx_patient_guard_script_destroy(ngx_patient_guard_script_t *script);

/*
 * May the server that has the account be asked?  account NULL: any server.
 * See ngx_patient_guard_peer_there().
 */
ngx_uint_t ngx_patient_guard_script_there(ngx_patient_guard_script_t *script,
    ngx_patient_guard_account_t *account);

/* NGX_DECLINED: Redis is away, or too much is waiting */
ngx_int_t ngx_patient_guard_script_send(ngx_patient_guard_script_t *script,
    ngx_patient_guard_command_t *command);

#define ngx_patient_guard_script_timeout(conf)  ((conf)->finder.peer.timeout)

/* of a call that is sent now */
#define ngx_patient_guard_script_deadline(conf)                              \
    ngx_patient_guard_peer_deadline(&(conf)->finder.peer)

/* before it is sent, but not before it is sent again */
#define ngx_patient_guard_command_begin(command, until)                      \
    (command)->again = 0;                                                    \
    (command)->moved = 0;                                                    \
    (command)->ask = NULL;                                                   \
    (command)->deadline = (until)

/*
 * A script that is no COUNT or SYNC, by EVAL; from write(), with its digest,
 * after the number of arguments.  Such a call teaches no connection the other
 * script.
 */
u_char *ngx_patient_guard_script_eval(ngx_patient_guard_command_t *command,
    u_char *p, const u_char *digest, const u_char *script, size_t len);

/* what is behind the nonce that its reply begins with; NULL: another's */
u_char *ngx_patient_guard_script_replied(
    ngx_patient_guard_command_t *command, ngx_str_t *text);

/* tells the totals how the worker stands */
void ngx_patient_guard_script_state(ngx_patient_guard_script_t *script);

/* the next calls bear numbers above all that were given before */
void ngx_patient_guard_script_renumber(ngx_patient_guard_script_t *script);


#endif /* _NGX_PATIENT_GUARD_SCRIPT_H_INCLUDED_ */
