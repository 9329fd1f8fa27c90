
/*
 * What the desk orders of an account, carried out on this node; and as it is
 * told to the others, see ngx_patient_guard_desk.lua.
 */


#ifndef _NGX_PATIENT_GUARD_ORDER_H_INCLUDED_
#define _NGX_PATIENT_GUARD_ORDER_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_shm.h"


#define NGX_PATIENT_GUARD_ORDER_SIZE  (8 + 8 + 8 + 1 + 16 + 16)
#define NGX_PATIENT_GUARD_ORDER_TOLD  (8 + NGX_PATIENT_GUARD_ORDER_SIZE)


typedef enum {
    NGX_PATIENT_GUARD_ORDER_CLEAR = 1,         /* nothing is counted, nor */
                                               /*   challenged, nor blocked */
    NGX_PATIENT_GUARD_ORDER_BLOCK,             /* denied until then */
    NGX_PATIENT_GUARD_ORDER_FORGET             /* nothing of it stays */
} ngx_patient_guard_order_e;


typedef struct {
    uint64_t                     number;       /* in the list of all */
    uint64_t                     time;         /* ms, when it was given */
    uint64_t                     until;        /* ms, of a block */
    uint64_t                     node;         /* that gave it */
    ngx_patient_guard_order_e    kind;
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_account_t  previous;     /* zero: no second key */
} ngx_patient_guard_order_t;


/* ORDER_SIZE bytes, without the number; returns their end */
u_char *ngx_patient_guard_order_write(u_char *p,
    ngx_patient_guard_order_t *order);

/* ORDER_TOLD bytes; NGX_ERROR if it is none */
ngx_int_t ngx_patient_guard_order_read(u_char *p,
    ngx_patient_guard_order_t *order);

/*
 * Carries it out on this node; takes the locks that it needs.  Without
 * "counted" it only is about who is blocked: such orders are obeyed in the
 * order of the list, even those that this node gave or has outlived.  One with
 * a number of the list is obeyed once, and none that goes before it after it.
 *
 * NGX_DONE: that number was heard already; NGX_DECLINED: as many accounts as
 * there may be are blocked already.
 */
ngx_int_t ngx_patient_guard_order_obey(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, uint64_t now, ngx_uint_t counted);

/*
 * The same, of one that was heard of, by what this node knows: who has started
 * since has counted nothing that was to be cleared, and who gave the order has
 * done so when it was given.
 */
ngx_int_t ngx_patient_guard_order_heard(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_order_t *order, uint64_t now);

/* "clear", "block" or "forget" */
ngx_str_t *ngx_patient_guard_order_name(ngx_patient_guard_order_e kind);


#endif /* _NGX_PATIENT_GUARD_ORDER_H_INCLUDED_ */
