
#include "ngx_patient_guard_backoff.h"


#define NGX_PATIENT_GUARD_BACKOFF_MIN  50              /* ms */
#define NGX_PATIENT_GUARD_BACKOFF_MAX  1000


ngx_msec_t
ngx_patient_guard_backoff_next(ngx_patient_guard_backoff_t *backoff,
    ngx_uint_t refused)
{
    ngx_msec_t  delay;

    if (refused) {
        *backoff = NGX_PATIENT_GUARD_BACKOFF_MAX;

        return NGX_PATIENT_GUARD_BACKOFF_MAX
               + ngx_random() % (NGX_PATIENT_GUARD_BACKOFF_MAX / 2);
    }

    *backoff = ngx_max(*backoff, NGX_PATIENT_GUARD_BACKOFF_MIN);

    delay = *backoff / 2 + ngx_random() % (*backoff / 2);

    *backoff = ngx_min(*backoff * 2, NGX_PATIENT_GUARD_BACKOFF_MAX);

    return delay;
}
