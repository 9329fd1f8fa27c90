
/*
 * Which Redis server has an account.  One contract, kept by a single server
 * (pg_server), by the master that sentinels tell of (pg_sentinel), and by a
 * cluster (pg_cluster).
 */


#ifndef _NGX_PATIENT_GUARD_FINDER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_FINDER_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_peer.h"


typedef enum {
    NGX_PATIENT_GUARD_STANDALONE = 0,
    NGX_PATIENT_GUARD_SENTINEL,
    NGX_PATIENT_GUARD_CLUSTER
} ngx_patient_guard_mode_e;


/* read-only once the configuration is loaded */

typedef struct {
    ngx_patient_guard_mode_e       mode;
    ngx_array_t                   *targets;    /* as they are written: the */
                                               /*   server, sentinels, seeds */
    ngx_str_t                      master;     /* as sentinels call it */
    ngx_patient_guard_greeting_t   greeting;   /* of a sentinel */
    ngx_patient_guard_peer_conf_t  peer;       /* what all peers share */
    ngx_patient_guard_resolve_t    resolve;
} ngx_patient_guard_finder_conf_t;


typedef struct ngx_patient_guard_finder_s  ngx_patient_guard_finder_t;

struct ngx_patient_guard_finder_s {

    /* who has it; account NULL: anybody.  NULL: nobody is known */
    ngx_patient_guard_peer_t  *(*find)(ngx_patient_guard_finder_t *finder,
                                   ngx_patient_guard_account_t *account);

    /*
     * NGX_OK        the error reply that came from "peer" says that the call
     *               was not carried out and belongs elsewhere: it can be sent
     *               again at once, to whom find() tells now or, if *ask is
     *               set, to that one this time, after ASKING;
     * NGX_DECLINED  it is another error.
     */
    ngx_int_t                  (*moved)(ngx_patient_guard_finder_t *finder,
                                   ngx_patient_guard_peer_t *peer,
                                   ngx_patient_guard_reply_t *reply,
                                   ngx_patient_guard_peer_t **ask);

    /* when the worker goes; the peers are not its */
    void                       (*destroy)(ngx_patient_guard_finder_t *finder);
};


#endif /* _NGX_PATIENT_GUARD_FINDER_H_INCLUDED_ */
