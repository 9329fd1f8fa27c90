
/*
 * What an account looks up, day by day, by the figures of the laboratory's
 * scripts/lab/world.h, most of them assumptions.  An account's life depends
 * on the seed and its number alone, so that it can be lived through again.
 */


#ifndef _LIFE_H_INCLUDED_
#define _LIFE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <err.h>
#include <math.h>

#include "../lab/chance.h"
#include "../lab/world.h"


#define HOUR       3600000ULL
#define DAY        (24 * HOUR)

#define LIFE_LAST     19703      /* a Tuesday, days since the epoch */


static const role_t  roles[] = { WORLD_ROLES };

#define ROLES  (int) (sizeof(roles) / sizeof(roles[0]))


static const double  life_week[7] = WORLD_WEEK;
static const double  life_hours[12] = WORLD_HOURS;


typedef struct {
    uint64_t     when;           /* ms since the epoch */
    uint64_t     before;         /* of this patient's last view, if it was */
                                 /*   on the same visit; or 0              */
    uint64_t     patient;        /* alias */
    uint32_t     chance;         /* for whoever asks */
} view_t;


typedef struct {
    uint64_t     number;
    int          role;
    uint64_t     chance;         /* state of the random numbers */

    double       level;          /* patients on an ordinary day */
    int          holiday;        /* this week */
    uint64_t    *pool;           /* patients who may come again */
    uint32_t     npool;

    view_t      *views;          /* of one day, in the order of time */
    uint32_t     nviews, next, most;
    int          day;            /* since the epoch, whose views come next */
} life_t;


/*
 * Of n patients a day a part is new.  The rest are picked from the pool alike,
 * each at the rate r; who does not come for 90 days would be new: the part is
 * exp(-90 r), and the pool as large as that rate says.
 */

static inline void
life_begin(life_t *life, uint64_t seed, uint64_t number, int role, int days)
{
    int            i;
    double         n, rate;
    const role_t  *r = &roles[role];

    memset(life, 0, sizeof(life_t));

    life->number = number;
    life->role = role;
    life->day = LIFE_LAST - days;
    life->chance = seed * 0x2545f4914f6cdd1dULL + number;
    life->chance = chance(&life->chance);
    life->level = r->patients * lognormal(&life->chance, r->spread);
    life->holiday = part(&life->chance) < WORLD_HOLIDAY;

    n = 0;

    for (i = 0; i < 7; i++) {
        n += life->level * life_week[i] / 7;
    }

    rate = -log(r->fresh) / WORLD_FRESH_DAYS;

    life->npool = ceil((1 - r->fresh) * n / rate);
    life->pool = malloc(life->npool * sizeof(uint64_t));

    if (life->pool == NULL) {
        err(2, "malloc");
    }

    for (i = 0; i < (int) life->npool; i++) {
        life->pool[i] = chance(&life->chance) | 1;
    }
}


static inline void
life_end(life_t *life)
{
    free(life->pool);
    free(life->views);
    life->pool = NULL;
    life->views = NULL;
}


static inline uint64_t
life_patient(life_t *life)
{
    uint64_t  *place;

    place = &life->pool[(uint32_t) (part(&life->chance) * life->npool)];

    if (part(&life->chance) < roles[life->role].fresh) {
        *place = chance(&life->chance) | 1;
    }

    return *place;
}


static inline uint64_t
life_hour(life_t *life)
{
    int     hour;
    double  sum, left;

    sum = 0;

    for (hour = 0; hour < 12; hour++) {
        sum += life_hours[hour];
    }

    left = part(&life->chance) * sum;

    for (hour = 0; hour < 11 && left >= life_hours[hour]; hour++) {
        left -= life_hours[hour];
    }

    return (8 + hour) * HOUR + (uint64_t) (part(&life->chance) * HOUR);
}


/* one patient's views, some 40 s between them */

static inline void
life_visit(life_t *life, uint64_t midnight)
{
    int        views;
    view_t    *view;
    uint64_t   when, before, patient;

    patient = life_patient(life);
    when = midnight + life_hour(life);
    before = 0;

    for (views = 1 + part(&life->chance) * WORLD_VIEWS; views; views--) {

        if (life->nviews == life->most) {
            life->most = life->most ? 2 * life->most : 64;
            life->views = realloc(life->views, life->most * sizeof(view_t));

            if (life->views == NULL) {
                err(2, "realloc");
            }
        }

        view = &life->views[life->nviews++];
        view->when = when;
        view->before = before;
        view->patient = patient;
        view->chance = chance(&life->chance) >> 32;

        before = when;
        when += 10000 + (uint64_t) (part(&life->chance) * 60000);
    }
}


static inline int
life_order(const void *one, const void *two)
{
    const view_t  *a = one, *b = two;

    return (a->when > b->when) - (a->when < b->when);
}


static inline void
life_day(life_t *life)
{
    int     weekday;
    double  n;

    weekday = (life->day + 3) % 7;

    if (weekday == 0) {
        life->level *= lognormal(&life->chance, WORLD_DRIFT);
        life->holiday = part(&life->chance) < WORLD_HOLIDAY;
    }

    n = life->level * life_week[weekday]
        * lognormal(&life->chance, roles[life->role].daily)
        * (part(&life->chance) < WORLD_CAMPAIGN ? WORLD_CAMPAIGN_X : 1);

    if (life->holiday) {
        n = 0;
    }

    life->nviews = 0;
    life->next = 0;

    for (n += part(&life->chance); n >= 1; n--) {
        life_visit(life, life->day * DAY);
    }

    if (life->nviews) {
        qsort(life->views, life->nviews, sizeof(view_t), life_order);
    }

    life->day++;
}


/* the next view; NULL if it comes at "until" or later */

static inline view_t *
life_next(life_t *life, uint64_t until)
{
    while (life->next == life->nviews) {

        if (life->day * DAY >= until) {
            return NULL;
        }

        life_day(life);
    }

    return life->views[life->next].when < until
           ? &life->views[life->next++] : NULL;
}


#endif /* _LIFE_H_INCLUDED_ */
