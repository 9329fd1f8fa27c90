
#include "thieves.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define STOLEN  0x4000000000000000ULL    /* patients of a thief's list */


static const scenario_t  scenarios[] = { WORLD_SCENARIOS };


const scenario_t *
scenario_find(const char *name)
{
    size_t  i;

    for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }

    errx(2, "no scenario is called %s", name);
}


int
answer_served(const wire_answer_t *answer)
{
    return answer->verdict == WIRE_ALLOW
           || (answer->verdict == WIRE_THROTTLE && answer->status < 400);
}


void
thief_begin(thief_t *thief, const scenario_t *scenario, uint64_t seed,
    int number, double start)
{
    uint64_t  *c;

    memset(thief, 0, sizeof(thief_t));

    c = &thief->chance;
    *c = (seed << 20) + number * 2654435761ULL + scenario->name[1] * 7919;
    (void) chance(c);

    thief->scenario = scenario;
    thief->start = start;
    thief->next = start;
    thief->session = number;
    thief->list = STOLEN + ((uint64_t) number << 32);
    thief->day = day_of(start) - 1;

    thief->quota = scenario->least
                   + part(c) * (scenario->most - scenario->least);
    thief->gap = thief->quota ? 1 / thief->quota : WORLD_KNOWING_GAP;
    thief->misses = .60 + .35 * part(c);

    if (scenario->kind == KNOWING) {
        thief->taken = malloc((scenario->list + 1) * sizeof(double));
        if (thief->taken == NULL) {
            err(2, "malloc");
        }
    }
}


/* the moment itself, or the next one at which he is about */

static double
about(thief_t *thief, double when)
{
    int     day;
    double  hour;

    if (!(thief->scenario->flags & EVENINGS)) {
        return when;
    }

    day = day_of(when);
    hour = (when - day_start(day)) / WORLD_HOUR;

    if (weekday_of(day) < 5) {
        return hour < 19 ? day_start(day) + 19 * WORLD_HOUR : when;
    }

    return hour < 8 ? day_start(day) + 8 * WORLD_HOUR : when;
}


/* what is due on each day, and what has stayed behind, from 8 to 20 h */

static double
due_today(thief_t *thief, double when)
{
    int     day;
    double  from, until;

    for ( ;; ) {
        day = day_of(when);

        while (thief->day < day) {
            thief->day++;

            if (thief->scenario->kind == RAMP) {
                thief->left += thief->owner * WORLD_RAMP_START
                               * pow(1 + WORLD_RAMP, thief->day
                                                     - day_of(thief->start));
            } else if (!(thief->scenario->flags & WORKDAYS)
                       || weekday_of(thief->day) < 5)
            {
                thief->left += thief->quota;
            }
        }

        from = day_start(day) + 8 * WORLD_HOUR;
        until = day_start(day) + 20 * WORLD_HOUR;

        if (thief->left >= 1 && when < until) {
            return when > from ? when : from;
        }

        when = day_start(day + 1);

        if (when > thief->start + 400.0 * WORLD_DAY) {
            return INFINITY;
        }
    }
}


/* KNOWING: is there room in each window, with all that the owner may need? */

static int
has_room(thief_t *thief, double when)
{
    int       i;
    known_t  *known;

    for (i = 0; i < thief->nknown; i++) {
        known = &thief->known[i];

        while (known->first < thief->ntaken
               && thief->taken[known->first] < when - known->window)
        {
            known->first++;
        }

        if (thief->ntaken - known->first + 1 > known->room) {
            return 0;
        }
    }

    return 1;
}


static double
room_after(thief_t *thief, double when)
{
    double  end;

    end = thief->start + thief->scenario->days * (double) WORLD_DAY;

    while (!has_room(thief, when)) {
        when += 300;

        if (when > end) {
            return INFINITY;
        }
    }

    return when;
}


double
thief_due(thief_t *thief)
{
    const scenario_t  *scenario;

    scenario = thief->scenario;

    if (thief->leaked >= scenario->list * thief->nvictims) {
        return INFINITY;
    }

    switch (scenario->kind) {

    case DAILY:
    case RAMP:
        thief->next = due_today(thief, thief->next);
        break;

    case KNOWING:
        thief->next = room_after(thief, thief->next);
        break;

    default:
        thief->next = about(thief, thief->next);
    }

    return thief->next < thief->start + scenario->days * (double) WORLD_DAY
           ? thief->next : INFINITY;
}


void
thief_ask(thief_t *thief, grab_t *grab)
{
    int        flags, place;
    uint64_t  *c;

    c = &thief->chance;
    flags = thief->scenario->flags;

    grab->when = thief->next;
    grab->miss = (flags & GUESSES) && part(c) < thief->misses;
    grab->rows = (flags & ROWS) ? 20 + (int) (part(c) * 81) : 1;
    grab->fresh = grab->miss ? 0 : grab->rows;
    grab->copies = 1;
    grab->patient = thief->list;

    if (thief->scenario->kind == BURST) {
        grab->copies = thief->scenario->list;

    } else if ((flags & REVISITS) && thief->revisits) {
        grab->patient = thief->list - 1;
        grab->fresh = 0;
    }

    thief->asked += grab->copies;

    /* S1's robots share a few addresses, others have one each */

    place = thief->scenario->kind == RATE && !(flags & MASKED)
            ? thief->session % WORLD_ADDRESSES : thief->session;

    if (flags & MASKED) {
        place = thief->session * 8192 + (int) (thief->asked / WORLD_SESSION);
    }

    snprintf(grab->address, sizeof(grab->address), "172.%d.%d.%d",
             16 + (place >> 16 & 15), place >> 8 & 255, place & 255);
}


static void
pause_after(thief_t *thief)
{
    const scenario_t  *scenario;

    scenario = thief->scenario;

    switch (scenario->kind) {

    case DAILY:
    case RAMP:
        thief->next += (day_start(thief->day) + 20 * WORLD_HOUR - thief->next)
                       / (thief->left > 1 ? thief->left : 1);
        break;

    case BURST:
        thief->next = INFINITY;
        break;

    default:
        thief->next += thief->gap;
    }
}


static void
refuse(thief_t *thief, const wire_answer_t *answer)
{
    thief->refused++;

    if ((thief->scenario->flags & PASSES)
        && answer->verdict == WIRE_CHALLENGE)
    {
        thief->proof = thief->next + WORLD_PROVES - 1;
        thief->next += WORLD_PROVES;
        return;
    }

    if (thief->scenario->flags & DORMANT) {
        thief->at = (thief->at + 1) % thief->nvictims;

        /* all of them are blocked */
        thief->next += thief->refused >= thief->nvictims
                       ? WORLD_RETRY_SLOW : 1;
        return;
    }

    thief->next += thief->scenario->days > 1 ? WORLD_RETRY_SLOW : WORLD_RETRY;
}


void
thief_told(thief_t *thief, const grab_t *grab, const wire_answer_t *answer)
{
    if (thief->scenario->kind == BURST) {
        thief->leaked += answer_served(answer);
        thief->next = INFINITY;
        return;
    }

    if (!answer_served(answer)) {
        refuse(thief, answer);
        return;
    }

    thief->refused = 0;

    if (grab->fresh || grab->miss) {
        thief->list += grab->rows;
        thief->leaked += grab->fresh;
        thief->left -= thief->left > 0 ? 1 : 0;
        thief->revisits = WORLD_REVISITS;

        if (thief->taken) {
            thief->taken[thief->ntaken++] = grab->when;
        }

    } else {
        thief->revisits--;
    }

    pause_after(thief);
}
