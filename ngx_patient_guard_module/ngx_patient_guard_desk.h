
/*
 * The orders of the desk, told to the fleet by Redis, and heard from it: each
 * node asks several times a second what is new in the list of its policy.
 */


#ifndef _NGX_PATIENT_GUARD_DESK_H_INCLUDED_
#define _NGX_PATIENT_GUARD_DESK_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_order.h"
#include "ngx_patient_guard_script.h"


typedef struct ngx_patient_guard_desk_s     ngx_patient_guard_desk_t;
typedef struct ngx_patient_guard_telling_s  ngx_patient_guard_telling_t;


/* an order on its way to the fleet; owned by who gives it */

struct ngx_patient_guard_telling_s {
    ngx_patient_guard_order_t    order;

    /*
     * Once, from the event loop: NGX_OK, or NGX_ERROR if Redis did not answer.
     */
    void                       (*done)(ngx_patient_guard_telling_t *telling,
                                    ngx_int_t rc);
    void                        *data;         /* the caller's */
    void                        *pending;      /* the desk's; NULL: none */
};


/* a worker's, whose script is the conf's; NULL if memory is short */
ngx_patient_guard_desk_t *ngx_patient_guard_desk_create(
    ngx_patient_guard_script_conf_t *conf, ngx_cycle_t *cycle);
void ngx_patient_guard_desk_destroy(ngx_patient_guard_desk_t *desk);

/*
 * NGX_AGAIN: done() will be called, unless the caller forgets it first;
 * NGX_DECLINED: Redis is away.  Whatever it is, the order is carried out.
 */
ngx_int_t ngx_patient_guard_desk_tell(ngx_patient_guard_desk_t *desk,
    ngx_patient_guard_telling_t *telling);

/* the caller goes away: at any time, any number of times */
void ngx_patient_guard_desk_forget(ngx_patient_guard_telling_t *telling);


#endif /* _NGX_PATIENT_GUARD_DESK_H_INCLUDED_ */
