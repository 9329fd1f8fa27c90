
/*
 * The arithmetic of sliding windows.
 *
 * Time is cut into slices of a 32nd of the window.  What was counted in
 * slice S is held through the whole of slice S + 32 and dropped when slice
 * S + 33 begins: between one window and 33/32 of a window after it happened.
 * So no stretch of the window's length ever admits more than the count, and
 * a refusal lasts a 32nd of the window too long at the most.
 *
 * The same arithmetic is written in ngx_patient_guard_count.lua; the vectors
 * in t/unit/window.vectors hold for both.
 */


#ifndef _NGX_PATIENT_GUARD_WINDOW_H_INCLUDED_
#define _NGX_PATIENT_GUARD_WINDOW_H_INCLUDED_


#include "ngx_patient_guard.h"


/* the slice that a moment (ms since the epoch) falls in; window in ms */
uint64_t ngx_patient_guard_slice(uint64_t now, uint64_t window);

/* ms from now until what was counted in the slice is dropped, at least 1 */
uint64_t ngx_patient_guard_slice_wait(uint64_t slice, uint64_t now,
    uint64_t window);

/*
 * The slice to count in, given the newest one already counted in.  A clock
 * that is behind by a window at the most is that of another node, or was set
 * back: no time has passed then, and what is counted joins the newest slice.
 * One that is further behind would wait for too long: *fold is set, and the
 * caller moves what it holds of later slices into the returned one, so that
 * nothing is held for more than a window from now.
 */
uint64_t ngx_patient_guard_slice_advance(uint64_t newest, uint64_t slice,
    ngx_uint_t *fold);

/* s since the epoch, rounded up, when what was counted in the slice is gone */
uint32_t ngx_patient_guard_slice_until(uint64_t slice, uint64_t window);

/* is what was counted in this slice still held in slice "newest"? */
#define ngx_patient_guard_slice_held(slice, newest)                          \
    ((slice) + NGX_PATIENT_GUARD_SLICES >= (newest))


#endif /* _NGX_PATIENT_GUARD_WINDOW_H_INCLUDED_ */
