
#include "ngx_patient_guard_window.h"


static uint64_t ngx_patient_guard_slice_dropped(uint64_t slice,
    uint64_t window);


uint64_t
ngx_patient_guard_slice(uint64_t now, uint64_t window)
{
    return now * NGX_PATIENT_GUARD_SLICES / window;
}


uint64_t
ngx_patient_guard_slice_wait(uint64_t slice, uint64_t now, uint64_t window)
{
    uint64_t  dropped;

    dropped = ngx_patient_guard_slice_dropped(slice, window);

    return dropped > now ? dropped - now : 1;
}


uint32_t
ngx_patient_guard_slice_until(uint64_t slice, uint64_t window)
{
    uint64_t  until;

    until = (ngx_patient_guard_slice_dropped(slice, window) + 999) / 1000;

    return (uint32_t) ngx_min(until, 0xffffffff);
}


/* ms since the epoch: the first that falls in the slice 33 later */

static uint64_t
ngx_patient_guard_slice_dropped(uint64_t slice, uint64_t window)
{
    slice += NGX_PATIENT_GUARD_SLICES + 1;

    return (slice * window + NGX_PATIENT_GUARD_SLICES - 1)
           / NGX_PATIENT_GUARD_SLICES;
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
