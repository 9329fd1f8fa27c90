
/* How an account stands under a policy, as JSON. */


#ifndef _NGX_HTTP_PATIENT_GUARD_STANDING_H_INCLUDED_
#define _NGX_HTTP_PATIENT_GUARD_STANDING_H_INCLUDED_


#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_text.h"


/*
 * ctx has the lookup of one more patient, whom nobody knows, under the limits
 * of its policy, and the tally of it.
 */
void ngx_http_patient_guard_standing(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_ctx_t *ctx);

/* what was ordered of it; does the fleet know, or this node alone? */
void ngx_http_patient_guard_standing_ordered(
    ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, ngx_patient_guard_order_t *order,
    ngx_uint_t fleet);


#endif /* _NGX_HTTP_PATIENT_GUARD_STANDING_H_INCLUDED_ */
