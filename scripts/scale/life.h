
/*
 * What an account looks up, day by day: five roles, whose figures are rough
 * readings of published ones and of assumptions.  An account's life depends
 * on the seed and its number alone, so that it can be lived through again.
 */


#ifndef _LIFE_H_INCLUDED_
#define _LIFE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <err.h>
#include <math.h>


#define HOUR       3600000ULL
#define DAY        (24 * HOUR)

#define LIFE_DRIFT    .08        /* a week, of the logarithm */
#define LIFE_VIEWS    6          /* of one patient, at most */
#define LIFE_MEMORY   90         /* days: who was not seen in them is new */
#define LIFE_LAST     19703      /* a Tuesday, days since the epoch */


typedef struct {
    const char  *name;
    double       share;          /* of all accounts */
    double       patients;       /* on an ordinary day, the accounts' mean */
    double       spread;         /* between accounts, sigma of the logarithm */
    double       daily;          /* from day to day */
    double       fresh;          /* patients not seen in 90 days */
} role_t;


static const role_t  roles[] = {
    { "pharmacy",     .42, 174, .55, .20, .30 },
    { "large",        .03, 500, .20, .20, .30 },
    { "practitioner", .35,  22, .35, .25, .12 },
    { "nurse",        .12,  23, .40, .20, .04 },
    { "clerk",        .08, 110, .40, .25, .60 }
};

#define ROLES  (int) (sizeof(roles) / sizeof(roles[0]))


/* from Monday; and from 8 to 20 h, with humps at 10 to 12 and 17 to 19 */

static const double  life_week[7] = { 1.15, 1.02, 1, 1, 1.1, .6, .03 };
static const double  life_hours[12] = {
    .6, .9, 1.4, 1.4, .8, .5, .7, .9, 1, 1.5, 1.5, .8
};


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


/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators" */

static inline uint64_t
life_chance(uint64_t *state)
{
    uint64_t  z;

    z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

    return z ^ (z >> 31);
}


/* from 0 to below 1 */

static inline double
life_part(life_t *life)
{
    return (life_chance(&life->chance) >> 11) / 9007199254740992.0;
}


static inline double
life_normal(life_t *life)
{
    double  radius;

    radius = sqrt(-2 * log(1 - life_part(life)));

    return radius * cos(2 * M_PI * life_part(life));
}


/* with mean 1 */

static inline double
life_lognormal(life_t *life, double sigma)
{
    return exp(sigma * life_normal(life) - sigma * sigma / 2);
}


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
    life->chance = life_chance(&life->chance);
    life->level = r->patients * life_lognormal(life, r->spread);
    life->holiday = life_part(life) < .06;

    n = 0;

    for (i = 0; i < 7; i++) {
        n += life->level * life_week[i] / 7;
    }

    rate = -log(r->fresh) / LIFE_MEMORY;

    life->npool = ceil((1 - r->fresh) * n / rate);
    life->pool = malloc(life->npool * sizeof(uint64_t));

    if (life->pool == NULL) {
        err(2, "malloc");
    }

    for (i = 0; i < (int) life->npool; i++) {
        life->pool[i] = life_chance(&life->chance) | 1;
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

    place = &life->pool[(uint32_t) (life_part(life) * life->npool)];

    if (life_part(life) < roles[life->role].fresh) {
        *place = life_chance(&life->chance) | 1;
    }

    return *place;
}


static inline uint64_t
life_hour(life_t *life)
{
    int     hour;
    double  sum, part;

    sum = 0;

    for (hour = 0; hour < 12; hour++) {
        sum += life_hours[hour];
    }

    part = life_part(life) * sum;

    for (hour = 0; hour < 11 && part >= life_hours[hour]; hour++) {
        part -= life_hours[hour];
    }

    return (8 + hour) * HOUR + (uint64_t) (life_part(life) * HOUR);
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

    for (views = 1 + life_part(life) * LIFE_VIEWS; views; views--) {

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
        view->chance = life_chance(&life->chance) >> 32;

        before = when;
        when += 10000 + (uint64_t) (life_part(life) * 60000);
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
        life->level *= life_lognormal(life, LIFE_DRIFT);
        life->holiday = life_part(life) < .06;
    }

    n = life->level * life_week[weekday]
        * life_lognormal(life, roles[life->role].daily)
        * (life_part(life) < .05 ? 1.6 : 1);

    if (life->holiday) {
        n = 0;
    }

    life->nviews = 0;
    life->next = 0;

    for (n += life_part(life); n >= 1; n--) {
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
