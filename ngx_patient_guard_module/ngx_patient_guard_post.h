
/*
 * Parcels between this node's shared memory and Redis: out of the outbox, and
 * what becomes of them.  Each function takes the lock of the zone.
 */


#ifndef _NGX_PATIENT_GUARD_POST_H_INCLUDED_
#define _NGX_PATIENT_GUARD_POST_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_shm.h"


/*
 * A parcel from the outbox, that of the account or, with NULL, of who has
 * waited longest; "now" is set.  NGX_DECLINED if there is none.  Its sets are
 * written to "sets", as many as "size" bytes hold.
 */
ngx_int_t ngx_patient_guard_post_take(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_account_t *account, ngx_patient_guard_parcel_t *parcel,
    u_char *sets, size_t size);

/* Redis has got it, and answered by the news */
void ngx_patient_guard_post_news(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news);

/* there was no answer: it is to be told again, and may be had at once */
void ngx_patient_guard_post_lost(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel);

/*
 * Numbers for calls, NGX_PATIENT_GUARD_NUMBERS of them from the returned one
 * on: nobody else's, and above all that were given before.
 */
uint64_t ngx_patient_guard_post_numbers(ngx_patient_guard_shm_t *shm);

#define NGX_PATIENT_GUARD_NUMBERS  (1 << 20)

/* does anybody wait in the outbox?  without the lock: it may be over by now */
#define ngx_patient_guard_post_owes(shm)                                     \
    ((shm)->node->outbox.first || (shm)->node->outbox.first_waits)


#endif /* _NGX_PATIENT_GUARD_POST_H_INCLUDED_ */
