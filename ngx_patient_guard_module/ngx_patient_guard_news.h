
/*
 * What Redis says of an account, taken over into this node's shared memory:
 * beside what the node has counted itself, and never in place of it, for
 * Redis may have lost some.
 */


#ifndef _NGX_PATIENT_GUARD_NEWS_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NEWS_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_node.h"


/*
 * The fleet's counts and patients, its challenge, and that it was passed.
 * Wants the lock of the zone held, and that many cells in reserve.
 */
void ngx_patient_guard_news(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news);
uint64_t ngx_patient_guard_news_cells(ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news);


#endif /* _NGX_PATIENT_GUARD_NEWS_H_INCLUDED_ */
