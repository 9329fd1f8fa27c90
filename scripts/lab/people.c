
#include "people.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define MOBILE  1000         /* addresses of phones are from here */


const role_t  roles[WORLD_NROLES] = { WORLD_ROLES };

static const double  week[7] = WORLD_WEEK;
static const double  hours[12] = WORLD_HOURS;


double
day_start(int day)
{
    return ((double) WORLD_DAY_ZERO + day) * WORLD_DAY;
}


int
day_of(double when)
{
    return (int) floor(when / WORLD_DAY) - WORLD_DAY_ZERO;
}


int
weekday_of(int day)
{
    return ((day % 7) + 7) % 7;
}


int
person_role(int number)
{
    int     role;
    double  at;

    at = fmod((number + .5) * .6180339887498949, 1);

    for (role = 0; role < WORLD_NROLES - 1 && at >= roles[role].share; role++)
    {
        at -= roles[role].share;
    }

    return role;
}


static void *
grown(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (p == NULL) {
        err(2, "realloc");
    }

    return p;
}


/*
 * Of n patients a day a part is new.  The rest are picked from the pool alike,
 * each at the rate r; who does not come for 90 days would be new: the part is
 * exp(-90 r), and the pool as large as that rate says.
 */

static void
fill_pool(person_t *person, const role_t *role)
{
    int       i;
    double    n, rate;
    uint32_t  k;

    n = 0;

    for (i = 0; i < 7; i++) {
        n += person->level * week[i] / 7;
    }

    rate = -log(role->fresh) / WORLD_FRESH_DAYS;

    person->npool = ceil((1 - role->fresh) * n / rate);
    person->pool = grown(NULL, person->npool * sizeof(uint64_t));

    for (k = 0; k < person->npool; k++) {
        person->pool[k] = chance(&person->chance) | 1;
    }
}


void
person_begin(person_t *person, uint64_t seed, int number, int day, int pages)
{
    uint64_t      *c;
    const role_t  *role;

    memset(person, 0, sizeof(person_t));

    c = &person->chance;
    *c = seed * 0x2545f4914f6cdd1dULL + number;
    *c = chance(c);

    person->number = number;
    person->role = person_role(number);
    person->day = day;
    person->pages = pages;
    person->born = -WORLD_DAY_ZERO;
    person->vaccination = -1;

    role = &roles[person->role];
    person->level = role->patients * lognormal(c, role->spread);
    person->holiday = part(c) < WORLD_HOLIDAY;

    fill_pool(person, role);

    if (part(c) < WORLD_COLD) {
        person->born = -56 + (int) (part(c) * 112);
    }

    person->all_hours = part(c) < WORLD_ALL_HOURS && role->patients > 120;
    person->billing = part(c) < WORLD_BILLING && role->patients < 50;
}


void
person_end(person_t *person)
{
    int  i;

    for (i = 0; i < 31; i++) {
        free(person->past[i]);
    }

    free(person->pool);
    free(person->views);
}


static uint64_t
next_patient(person_t *person, double fresh)
{
    uint64_t  *place;

    place = &person->pool[(uint32_t) (part(&person->chance) * person->npool)];

    if (part(&person->chance) < fresh) {
        *place = chance(&person->chance) | 1;
    }

    return *place;
}


static double
next_hour(person_t *person)
{
    int     hour;
    double  sum, at;

    if (person->all_hours) {
        return part(&person->chance) * WORLD_DAY;
    }

    sum = 0;

    for (hour = 0; hour < 12; hour++) {
        sum += hours[hour];
    }

    at = part(&person->chance) * sum;

    for (hour = 0; hour < 11 && at >= hours[hour]; hour++) {
        at -= hours[hour];
    }

    return (8 + hour + part(&person->chance)) * WORLD_HOUR;
}


static view_t *
add_view(person_t *person, double when, uint64_t patient)
{
    view_t  *view;

    if (person->nviews == person->most) {
        person->most = person->most ? 2 * person->most : 64;
        person->views = grown(person->views, person->most * sizeof(view_t));
    }

    view = &person->views[person->nviews++];
    view->when = when;
    view->patient = patient;
    view->address = person->address;
    view->miss = 0;
    view->page = 0;

    return view;
}


/* pages are drawn even if only the first is sent, so that lives are alike */

static void
add_visit(person_t *person, double when, double fresh)
{
    int           i, pages, miss;
    view_t       *view;
    uint64_t      patient, *c;
    const role_t *role;

    c = &person->chance;
    role = &roles[person->role];

    if (part(c) < role->moves) {
        person->address = MOBILE + part(c) * WORLD_MOBILES;
    }

    patient = next_patient(person, fresh);
    miss = part(c) < role->misses;
    pages = 1 + part(c) * WORLD_VIEWS;

    /* who mistypes asks again */
    if (miss) {
        view = add_view(person, when - 5, chance(c) | 1);
        view->miss = 1;
    }

    for (i = 0; i < pages; i++) {
        if (i == 0 || person->pages) {
            view = add_view(person, when, patient);
            view->page = i;
        }

        when += 2 * WORLD_VIEW_GAP * part(c);
    }
}


static int
by_time(const void *one, const void *two)
{
    const view_t  *a = one, *b = two;

    return (a->when > b->when) - (a->when < b->when);
}


static int
by_patient(const void *one, const void *two)
{
    const uint64_t  *a = one, *b = two;

    return (*a > *b) - (*a < *b);
}


/* once a month, in the evening, whoever was seen in 30 days; what today was
 * seen is kept for the next time */

static void
bill(person_t *person)
{
    int        i, slot;
    double     when;
    uint32_t   k, n;
    uint64_t  *all;

    if (!person->billing) {
        return;
    }

    slot = ((person->day % 31) + 31) % 31;
    n = person->nviews;

    person->past[slot] = grown(person->past[slot], n * sizeof(uint64_t));
    person->npast[slot] = 0;

    for (k = 0; k < n; k++) {
        if (!person->views[k].miss) {
            person->past[slot][person->npast[slot]++]
                = person->views[k].patient;
        }
    }

    if (((person->day + person->number) % 30 + 30) % 30 || n == 0) {
        return;
    }

    for (n = 0, i = 0; i < 31; i++) {
        n += person->npast[i];
    }

    all = grown(NULL, n * sizeof(uint64_t));

    for (n = 0, i = 0; i < 31; i++) {
        if (person->npast[i]) {
            memcpy(all + n, person->past[i],
                   person->npast[i] * sizeof(uint64_t));
            n += person->npast[i];
        }
    }

    qsort(all, n, sizeof(uint64_t), by_patient);
    when = day_start(person->day) + 19.5 * WORLD_HOUR;

    for (k = 0; k < n; k++) {
        if (k == 0 || all[k] != all[k - 1]) {
            add_view(person, when, all[k]);
            when += WORLD_BILLING_GAP;
        }
    }

    free(all);
}


static void
monday(person_t *person)
{
    person->level *= lognormal(&person->chance, WORLD_DRIFT);
    person->holiday = part(&person->chance) < WORLD_HOLIDAY;
    person->vaccination = -1;

    if (part(&person->chance) < WORLD_VACCINATION && person->role < 3) {
        person->vaccination = part(&person->chance) * 3;
    }
}


static void
live_day(person_t *person)
{
    int            today;
    double         n, fresh, start;
    uint64_t      *c;
    const role_t  *role;

    c = &person->chance;
    role = &roles[person->role];
    today = weekday_of(person->day);
    start = day_start(person->day);
    fresh = role->fresh;

    if (today == 0) {
        monday(person);
    }

    n = person->level * week[today] * lognormal(c, role->daily)
        * (part(c) < WORLD_CAMPAIGN ? WORLD_CAMPAIGN_X : 1);

    if (person->vaccination >= 0 && today >= person->vaccination
        && today < person->vaccination + 3)
    {
        n *= role->patients < 100 ? WORLD_VACCINATION_PRACTICE
                                  : WORLD_VACCINATION_X;
        fresh = WORLD_VACCINATION_FRESH;
    }

    if (person->holiday || person->dormant || person->day < person->born) {
        n = 0;
    }

    person->nviews = 0;
    person->next = 0;
    person->address = part(c) < role->elsewhere
                      ? MOBILE + part(c) * WORLD_MOBILES : 0;

    for (n += part(c); n >= 1; n--) {
        add_visit(person, start + next_hour(person), fresh);
    }

    /* a night on duty is that of the day that begins */

    if (role->patients > 120 && part(c) < WORLD_NIGHT && person->nviews) {
        for (n = person->level * WORLD_NIGHT_X + part(c); n >= 1; n--) {
            add_visit(person, start + part(c) * 8 * WORLD_HOUR,
                      WORLD_NIGHT_FRESH);
        }
    }

    bill(person);

    if (person->nviews) {
        qsort(person->views, person->nviews, sizeof(view_t), by_time);
    }

    person->day++;
}


view_t *
person_next(person_t *person, double until)
{
    while (person->next == person->nviews) {

        if (day_start(person->day) >= until) {
            return NULL;
        }

        live_day(person);
    }

    return person->views[person->next].when < until
           ? &person->views[person->next] : NULL;
}


void
person_done(person_t *person)
{
    person->next++;
}


const char *
person_establishment(const person_t *person)
{
    static int   turn;
    static char  texts[4][32];

    turn = (turn + 1) % 4;

    if (roles[person->role].together > 1) {
        snprintf(texts[turn], sizeof(texts[0]), "h%d-%d", person->role,
                 person->number / roles[person->role].together
                 / 10);
    } else {
        snprintf(texts[turn], sizeof(texts[0]), "e%d", person->number);
    }

    return texts[turn];
}


/* address 0 is the establishment's own */

const char *
person_address(const person_t *person, int address)
{
    int          place;
    static int   turn;
    static char  texts[4][48];

    turn = (turn + 1) % 4;

    if (address >= MOBILE) {

        /* of a carrier, IPv4 and IPv6 in turn: many phones share each */

        if (address % 2) {
            snprintf(texts[turn], sizeof(texts[0]), "2001:db8:%x:%x::%x",
                     address, person->number, person->number);
        } else {
            snprintf(texts[turn], sizeof(texts[0]), "100.64.%d.%d",
                     (address - MOBILE) % 256, person->number / 10 % 256);
        }

        return texts[turn];
    }

    place = roles[person->role].together > 1
            ? 60000 + person->number / roles[person->role].together / 10
            : person->number;

    snprintf(texts[turn], sizeof(texts[0]), "10.%d.%d.%d", place >> 16 & 255,
             place >> 8 & 255, place & 255);

    return texts[turn];
}
