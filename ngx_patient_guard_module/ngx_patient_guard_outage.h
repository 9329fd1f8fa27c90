
/* on_outage: how a lookup is answered that Redis did not answer. */


#ifndef _NGX_PATIENT_GUARD_OUTAGE_H_INCLUDED_
#define _NGX_PATIENT_GUARD_OUTAGE_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_merge.h"
#include "ngx_patient_guard_store.h"


typedef enum {
    NGX_PATIENT_GUARD_OUTAGE_LOCAL = 0,
    NGX_PATIENT_GUARD_OUTAGE_DENY,
    NGX_PATIENT_GUARD_OUTAGE_ALLOW
} ngx_patient_guard_outage_e;


typedef struct {
    ngx_patient_guard_outage_e   mode;
    ngx_patient_guard_shm_t     *shm;
    ngx_patient_guard_merge_t   *merge;
} ngx_patient_guard_outage_t;


/*
 * Fills the tally.  "number" is that of a call which was sent and not
 * answered, 0 if none was.  Whom this node has stopped stays stopped in all
 * modes.
 */
void ngx_patient_guard_outage(ngx_patient_guard_outage_t *outage,
    ngx_patient_guard_op_t *op, uint64_t number);

/* as the configuration and the log call it */
const char *ngx_patient_guard_outage_name(ngx_patient_guard_outage_e mode);

/* no store could answer */
void ngx_patient_guard_outage_tally(ngx_patient_guard_op_t *op);


#endif /* _NGX_PATIENT_GUARD_OUTAGE_H_INCLUDED_ */
