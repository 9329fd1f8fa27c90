
/*
 * What an account usually does by one limit, for "baseline=": of each day (by
 * UTC) on which something was counted the most that the window held at once,
 * summed up by weeks.  Usual is their mean over three whole weeks that ended
 * 29 to 35 days ago, so that nobody trains it by what he does now.
 * ngx_patient_guard_count.lua keeps the same.
 *
 * Beside Redis a node keeps only what Redis last made of it.  All functions
 * want the lock of the zone held.
 */


#ifndef _NGX_PATIENT_GUARD_HABIT_H_INCLUDED_
#define _NGX_PATIENT_GUARD_HABIT_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_zone.h"


#define NGX_PATIENT_GUARD_HABIT_WEEKS  8       /* this one, and before */
#define NGX_PATIENT_GUARD_HABIT_LAST   5       /* weeks ago, the last */
#define NGX_PATIENT_GUARD_HABIT_FIRST  7       /*   and the first used */


/*
 * Days of work, or there is none; of windows of a week and longer, as they
 * hold little while they are filling
 */
#define NGX_PATIENT_GUARD_HABIT_DAYS   5
#define NGX_PATIENT_GUARD_HABIT_MORE   12
#define NGX_PATIENT_GUARD_HABIT_LONG   (7 * 86400 * 1000ULL)
#define NGX_PATIENT_GUARD_HABIT_PEAK   0xffffff  /* of a day, at most */

#define NGX_PATIENT_GUARD_HABIT_CELLS  2

/* of a limit's, whose own has that bit set */
#define ngx_patient_guard_habit_id(limit)  (~(limit)->id | 0x80000000)
#define ngx_patient_guard_is_habit(id)     ((id) >= 0x100 && !((id) & 0x100))


/* in place of a queue without entries */

typedef struct {
    uint32_t                     day;          /* since the epoch; 0: new */
    uint32_t                     peak;         /* of that day; or as told */
    uint32_t                     id;
    uint32_t                     unused;
    ngx_patient_guard_ref_t      none;
    ngx_patient_guard_ref_t      weeks;        /* 8 of sum << 3 | days, that */
                                               /*   of week W at W % 8       */
    ngx_patient_guard_ref_t      next;
    uint32_t                     until;
} ngx_patient_guard_habit_t;


/* moves it to the present, ms; wants a cell in reserve */
void ngx_patient_guard_habit_now(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t now);

/* the count that holds for the account */
uint32_t ngx_patient_guard_habit_count(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_limit_t *limit,
    uint64_t now);

/* so much is in the window now */
void ngx_patient_guard_habit_reached(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t total);

/* Redis has made that count of it */
void ngx_patient_guard_habit_told(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t count, uint64_t now);

/* frees what it has beside the cell at "ref" */
void ngx_patient_guard_habit_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref);


#endif /* _NGX_PATIENT_GUARD_HABIT_H_INCLUDED_ */
