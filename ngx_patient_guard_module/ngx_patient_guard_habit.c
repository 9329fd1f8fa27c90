
#include "ngx_patient_guard_habit.h"


#define NGX_PATIENT_GUARD_DAY           86400000       /* ms */
#define NGX_PATIENT_GUARD_HABIT_KEPT    60             /* days */


static ngx_patient_guard_habit_t *ngx_patient_guard_habit(
    ngx_patient_guard_zone_t *zone, ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_habit_move(ngx_patient_guard_habit_t *habit,
    uint32_t *weeks, uint32_t day);


void
ngx_patient_guard_habit_now(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint64_t now)
{
    uint32_t                    day, *weeks;
    ngx_patient_guard_habit_t  *habit;

    habit = ngx_patient_guard_habit(zone, ref);
    day = (uint32_t) (now / NGX_PATIENT_GUARD_DAY);

    if (habit->day == day
        || (habit->day > day
            && habit->day - day <= 7 * NGX_PATIENT_GUARD_HABIT_WEEKS))
    {
        return;
    }

    ngx_patient_guard_save(zone, habit);

    if (habit->weeks == 0) {
        habit->weeks = ngx_patient_guard_cell_take(zone);
    }

    weeks = ngx_patient_guard_cell(zone, habit->weeks);

    ngx_patient_guard_save(zone, weeks);

    ngx_patient_guard_habit_move(habit, weeks, day);

    ngx_patient_guard_commit(zone);
}


/* the day is over: what it reached joins its week; a clock set back forgets */

static void
ngx_patient_guard_habit_move(ngx_patient_guard_habit_t *habit,
    uint32_t *weeks, uint32_t day)
{
    uint32_t  week, n, fresh;

    week = habit->day / 7;
    fresh = NGX_PATIENT_GUARD_HABIT_WEEKS;

    if (day > habit->day) {
        fresh = ngx_min(day / 7 - week, fresh);
    }

    if (day > habit->day && habit->peak) {
        weeks[week % NGX_PATIENT_GUARD_HABIT_WEEKS] += (habit->peak << 3) + 1;
    }

    for (n = 0; n < fresh; n++) {
        weeks[(day / 7 + NGX_PATIENT_GUARD_HABIT_WEEKS - n)
              % NGX_PATIENT_GUARD_HABIT_WEEKS] = 0;
    }

    habit->day = day;
    habit->peak = 0;
    habit->until = (day + NGX_PATIENT_GUARD_HABIT_KEPT) * 86400;
}


uint32_t
ngx_patient_guard_habit_count(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_limit_t *limit,
    uint64_t now)
{
    uint32_t                    *weeks, week, n;
    uint64_t                     sum, days, least, count;
    ngx_patient_guard_habit_t   *habit;

    habit = ngx_patient_guard_habit(zone, ref);

    if (habit->weeks == 0) {

        /* as Redis has told, within a day */

        return habit->until > now / 1000 && habit->peak
               ? ngx_min(habit->peak, limit->count) : limit->count;
    }

    weeks = ngx_patient_guard_cell(zone, habit->weeks);
    week = habit->day / 7;
    sum = 0;
    days = 0;

    for (n = NGX_PATIENT_GUARD_HABIT_LAST;
         n <= NGX_PATIENT_GUARD_HABIT_FIRST;
         n++)
    {
        sum += weeks[(week - n) % NGX_PATIENT_GUARD_HABIT_WEEKS] >> 3;
        days += weeks[(week - n) % NGX_PATIENT_GUARD_HABIT_WEEKS] & 7;
    }

    least = limit->window < NGX_PATIENT_GUARD_HABIT_LONG
            ? NGX_PATIENT_GUARD_HABIT_DAYS : NGX_PATIENT_GUARD_HABIT_MORE;

    if (days < least) {
        return limit->count;
    }

    count = (limit->factor * sum + 1000 * days - 1) / (1000 * days);
    count = ngx_max(count, limit->floor);

    return (uint32_t) ngx_min(count, limit->count);
}


void
ngx_patient_guard_habit_reached(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t total)
{
    ngx_patient_guard_habit_t  *habit;

    habit = ngx_patient_guard_habit(zone, ref);

    /* one word: whole whenever a worker is killed */

    if (total > habit->peak) {
        habit->peak = ngx_min(total, NGX_PATIENT_GUARD_HABIT_PEAK);
    }
}


void
ngx_patient_guard_habit_told(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref, uint32_t count, uint64_t now)
{
    ngx_patient_guard_habit_t  *habit;

    habit = ngx_patient_guard_habit(zone, ref);

    habit->peak = count;
    habit->until = (uint32_t) (now / 1000) + 86400;
}


void
ngx_patient_guard_habit_empty(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_habit_t  *habit;

    habit = ngx_patient_guard_habit(zone, ref);

    if (habit->weeks) {
        ngx_patient_guard_save(zone, habit);
        ngx_patient_guard_cell_free(zone, habit->weeks);

        habit->weeks = 0;

        ngx_patient_guard_commit(zone);
    }
}


static ngx_patient_guard_habit_t *
ngx_patient_guard_habit(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    return ngx_patient_guard_cell(zone, ref);
}
