
/*
 * The masters of a cluster, each a server of its own, and which hash slots
 * they have; and seeds, until it is known who has any.
 */


#ifndef _NGX_PATIENT_GUARD_MEMBERS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_MEMBERS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_finder.h"
#include "ngx_patient_guard_server.h"


#define NGX_PATIENT_GUARD_MEMBERS  1024        /* at most */
#define NGX_PATIENT_GUARD_NOBODY   0xffff


/* it lives in a pool of its own */

typedef struct {
    ngx_patient_guard_server_t       *server;
    ngx_pool_t                       *pool;
    ngx_uint_t                        nslots;
} ngx_patient_guard_member_t;


typedef struct {
    ngx_patient_guard_finder_conf_t  *conf;
    ngx_queue_t                      *peers;
    ngx_cycle_t                      *cycle;
    void                            (*failed)(void *data);
    void                             *data;

    ngx_patient_guard_member_t       *list;
    ngx_uint_t                        n;
    ngx_uint_t                        turn;    /* whom to ask */
    uint16_t                         *slots;   /* to members, or NOBODY */
} ngx_patient_guard_members_t;


/* the first five are set, the others zeroed; NGX_ERROR if memory is short */
ngx_int_t ngx_patient_guard_members_init(
    ngx_patient_guard_members_t *members);

/* their peers are not told */
void ngx_patient_guard_members_destroy(ngx_patient_guard_members_t *members);

/*
 * The member by this host and port, a new one if there is none.  NOBODY if
 * memory is short, or they are too many.
 */
ngx_uint_t ngx_patient_guard_members_get(
    ngx_patient_guard_members_t *members, ngx_patient_guard_target_t *target);

#define ngx_patient_guard_members_peer(members, i)                           \
    ((members)->list[i].server->peer)

/* in turn, whoever can be asked; NULL: nobody */
ngx_patient_guard_peer_t *ngx_patient_guard_members_any(
    ngx_patient_guard_members_t *members);

/* can all be asked? */
ngx_uint_t ngx_patient_guard_members_well(
    ngx_patient_guard_members_t *members);

/* nobody has a slot any more */
void ngx_patient_guard_members_clear(ngx_patient_guard_members_t *members);

/* the i-th one has these slots */
void ngx_patient_guard_members_give(ngx_patient_guard_members_t *members,
    ngx_uint_t i, ngx_uint_t first, ngx_uint_t last);

/* those without a slot go; their peers retire */
void ngx_patient_guard_members_forget(ngx_patient_guard_members_t *members);


#endif /* _NGX_PATIENT_GUARD_MEMBERS_H_INCLUDED_ */
