
/* Limits and what was counted against them, to a verdict: a pure function. */


#ifndef _NGX_PATIENT_GUARD_POLICY_H_INCLUDED_
#define _NGX_PATIENT_GUARD_POLICY_H_INCLUDED_


#include "ngx_patient_guard.h"


/*
 * The hardest action among the limits that do not fit wins; of equally hard
 * ones, the one that lasts longest.  A challenge that may not be passed again
 * is a denial until a grant is left.
 */
void ngx_patient_guard_decide(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_decision_t *decision);

/* whole seconds for Retry-After, rounded up; ms in */
ngx_uint_t ngx_patient_guard_seconds(uint64_t wait);

/* "allow", "throttle", "challenge" or "deny" */
ngx_str_t *ngx_patient_guard_verdict_name(ngx_patient_guard_verdict_e verdict);

/* the words for signals and actions, in the order of their values */
extern ngx_str_t  ngx_patient_guard_signal_names[];
extern ngx_str_t  ngx_patient_guard_action_names[];

ngx_str_t *ngx_patient_guard_source_name(ngx_patient_guard_source_e source);


#endif /* _NGX_PATIENT_GUARD_POLICY_H_INCLUDED_ */
