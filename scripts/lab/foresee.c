
/*
 * What a policy would do to owners, by a model of the guard that is played at
 * once: many more account-days than can be sent.  Limits by other keys than
 * the account are not in it.
 */

#include "counts.h"
#include "lab.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define RULES   16
#define GRANTS  16
#define WEEKS   64


typedef struct {
    int       column;            /* of counts_names */
    int       denies;
    double    count[WORLD_NROLES];
    double    factor, floor;     /* 0: no baseline */
} rule_t;


/* what is usual by one rule: the most of each day, by week */

typedef struct {
    int       day;
    double    peak;
    double    sum[WEEKS];
    int       days[WEEKS];
} habit_t;


typedef struct {
    counts_t *counts;
    habit_t   habits[RULES];
    double    passed[GRANTS];    /* when, the latest */
    int       npassed;
    double    denied;            /* until then */
} guard_t;


static rule_t    rules[RULES];
static int       nrules;
static int       grants;
static double    grants_window;
static uint64_t  by_rule[WORLD_NROLES][RULES];


/* "COLUMN ROLE COUNT FACTOR FLOOR" a line; "stop/" is what denies.  Then a
 * line "grants COUNT SECONDS". */

static void
read_policy(const char *path)
{
    int     i, role;
    char    column[32], of[32];
    double  count, factor, floor;
    FILE   *file;

    file = fopen(path, "r");
    if (file == NULL) {
        err(2, "%s", path);
    }

    while (fscanf(file, "%31s %31s %lf %lf %lf", column, of, &count, &factor,
                  &floor) == 5)
    {
        if (strcmp(column, "grants") == 0) {
            grants = count;
            grants_window = factor;
            continue;
        }

        for (i = 0; i < nrules; i++) {
            if (strcmp(counts_names[rules[i].column], column) == 0) {
                break;
            }
        }

        if (i == nrules) {
            while (rules[i].column < counts_n
                   && strcmp(counts_names[rules[i].column], column) != 0)
            {
                rules[i].column++;
            }

            if (++nrules == RULES || rules[i].column == counts_n) {
                errx(2, "%s: %s", path, column);
            }
        }

        rules[i].denies = strncmp(column, "stop/", 5) == 0;
        rules[i].factor = factor;
        rules[i].floor = floor;

        for (role = 0; role < WORLD_NROLES; role++) {
            if (strcmp(of, "all") == 0 || strcmp(of, roles[role].name) == 0) {
                rules[i].count[role] = count;
            }
        }
    }

    fclose(file);
}


static void
habit_reached(habit_t *habit, int day, double total)
{
    int  week;

    if (day != habit->day) {
        week = (WORLD_DAY_ZERO + habit->day) / 7 % WEEKS;
        habit->sum[week] += habit->peak;
        habit->days[week] += habit->peak > 0;
        habit->day = day;
        habit->peak = 0;
    }

    habit->peak = fmax(habit->peak, total);
}


/* the count that holds: as the module has it */

static double
holds(const rule_t *rule, const habit_t *habit, int role, int day)
{
    int     week, at, days;
    double  sum;

    if (rule->factor == 0) {
        return rule->count[role];
    }

    sum = 0;
    days = 0;

    for (week = WORLD_HABIT_LAST; week <= WORLD_HABIT_FIRST; week++) {
        at = ((WORLD_DAY_ZERO + day) / 7 - week) % WEEKS;
        sum += habit->sum[at];
        days += habit->days[at];
    }

    if (days < counts_habit_days(counts_names[rule->column])) {
        return rule->count[role];
    }

    return fmin(rule->count[role],
                fmax(rule->floor, ceil(rule->factor * sum / days)));
}


/* 0 if it fits, or what the hardest rule does */

static unsigned
weigh(guard_t *guard, const view_t *view, int role)
{
    int              i;
    unsigned         does;
    const uint32_t  *totals;

    totals = counts_would(guard->counts, view);
    does = 0;

    for (i = 0; i < nrules; i++) {
        if (totals[rules[i].column]
            > holds(&rules[i], &guard->habits[i], role, day_of(view->when)))
        {
            by_rule[role][i] += view->when >= day_start(lab.from);
            does |= rules[i].denies ? DENIED : CHALLENGED;
        }
    }

    return does;
}


static void
pass(guard_t *guard, double when)
{
    int  i;

    memmove(guard->passed + 1, guard->passed,
            (GRANTS - 1) * sizeof(guard->passed[0]));
    guard->passed[0] = when;

    for (i = 0; i < nrules; i++) {
        if (!rules[i].denies) {
            counts_empty(guard->counts, rules[i].column);
        }
    }
}


/* what becomes of a view: flags of its day.  Who is challenged passes. */

static unsigned
judge(guard_t *guard, const view_t *view, int role)
{
    int              i;
    double           left;
    unsigned         does, flags;
    const uint32_t  *totals;

    if (view->when < guard->denied) {
        return DENIED;
    }

    flags = 0;

    if (guard->denied) {

        /* there is a grant again, and so a challenge */

        guard->denied = 0;
        flags = CHALLENGED;
        pass(guard, view->when);
    }

    does = weigh(guard, view, role);

    if (does == CHALLENGED) {
        left = guard->passed[grants - 1] + grants_window * 33 / 32;

        if (guard->passed[grants - 1] && view->when < left) {
            guard->denied = left;
            return flags | DENIED;
        }

        flags |= CHALLENGED;
        pass(guard, view->when);
        does = weigh(guard, view, role) & DENIED;
    }

    if (does) {
        return flags | does;
    }

    totals = counts_view(guard->counts, view);

    for (i = 0; i < nrules; i++) {
        habit_reached(&guard->habits[i], day_of(view->when),
                      totals[rules[i].column]);
    }

    return flags | AT_WORK;
}


void
foresee(const char *path)
{
    int        i, k, day, last;
    view_t    *view;
    guard_t    guard;
    person_t   person;
    uint64_t   days[WORLD_NROLES], challenged[WORLD_NROLES];
    uint64_t   denied[WORLD_NROLES];
    unsigned   flags, today;

    read_policy(path);
    memset(days, 0, sizeof(days));
    memset(challenged, 0, sizeof(challenged));
    memset(denied, 0, sizeof(denied));
    guard.counts = counts_open();

    for (i = 0; i < lab.naccounts; i++) {
        person_begin(&person, lab.seed, i, -WORLD_HISTORY, lab.pages);
        counts_clear(guard.counts);
        memset(guard.habits, 0, sizeof(guard.habits));
        memset(guard.passed, 0, sizeof(guard.passed));
        guard.denied = 0;
        last = -WORLD_HISTORY - 1;
        today = 0;

        for ( ;; ) {
            view = person_next(&person, day_start(lab.to));
            day = view ? day_of(view->when) : lab.to;

            if (day != last) {
                if (last >= lab.from) {
                    days[person.role]++;
                    challenged[person.role] += (today & CHALLENGED) != 0;
                    denied[person.role] += (today & DENIED) != 0;
                }

                today = 0;
                last = day;
            }

            if (view == NULL) {
                break;
            }

            flags = judge(&guard, view, person.role);
            today |= flags;

            person_done(&person);
            lab.lookups++;
        }

        person_end(&person);
    }

    for (i = 0; i < WORLD_NROLES; i++) {
        printf("foreseen %s %llu %llu %llu", roles[i].name,
               (unsigned long long) days[i],
               (unsigned long long) challenged[i],
               (unsigned long long) denied[i]);

        for (k = 0; k < nrules; k++) {
            printf(" %s=%llu", counts_names[rules[k].column],
                   (unsigned long long) by_rule[i][k]);
        }

        printf("\n");
    }
}
