
#include "ngx_patient_guard_outage.h"
#include "ngx_patient_guard_floor.h"

#include <ngx_event.h>


void
ngx_patient_guard_outage(ngx_patient_guard_outage_t *outage,
    ngx_patient_guard_op_t *op, uint64_t number)
{
    ngx_int_t                       rc;
    ngx_patient_guard_unanswered_t  call;

    ngx_patient_guard_total(outage->shm->totals, outages);

    if (outage->mode == NGX_PATIENT_GUARD_OUTAGE_LOCAL) {

        call.number = number;
        call.worker = ngx_worker;

        rc = ngx_patient_guard_floor_count(outage->shm, &op->lookup,
                                           &op->tally, &call, 0);

        ngx_patient_guard_merge_soon(outage->merge);

    } else {
        rc = ngx_patient_guard_floor_answer(outage->shm, &op->lookup,
                                            &op->tally,
                                            NGX_PATIENT_GUARD_AWAY);
    }

    if (rc != NGX_OK) {
        ngx_patient_guard_outage_tally(op);
    }
}


void
ngx_patient_guard_outage_tally(ngx_patient_guard_op_t *op)
{
    ngx_memzero(&op->tally, sizeof(ngx_patient_guard_tally_t));

    op->tally.source = NGX_PATIENT_GUARD_FROM_NONE;
    op->tally.outage = 1;
}


const char *
ngx_patient_guard_outage_name(ngx_patient_guard_outage_e mode)
{
    static const char  *names[] = { "local", "deny", "allow" };

    return names[mode];
}
