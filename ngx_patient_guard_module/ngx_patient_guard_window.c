
#include "ngx_patient_guard_window.h"


uint64_t
ngx_patient_guard_slice(uint64_t now, uint64_t window)
{
    return now * NGX_PATIENT_GUARD_SLICES / window;
}


uint64_t
ngx_patient_guard_slice_wait(uint64_t slice, uint64_t now, uint64_t window)
{
    uint64_t  dropped;

    slice += NGX_PATIENT_GUARD_SLICES + 1;

    /* the first millisecond that falls in the slice, rounded up */

    dropped = (slice * window + NGX_PATIENT_GUARD_SLICES - 1)
              / NGX_PATIENT_GUARD_SLICES;

    return dropped > now ? dropped - now : 1;
}


uint64_t
ngx_patient_guard_slice_advance(uint64_t newest, uint64_t slice,
    ngx_uint_t *fold)
{
    *fold = 0;

    if (slice >= newest) {
        return slice;
    }

    if (newest - slice <= NGX_PATIENT_GUARD_SLICES) {
        return newest;
    }

    *fold = 1;

    return slice;
}
