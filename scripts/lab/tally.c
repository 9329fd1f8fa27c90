
#include "counts.h"
#include "lab.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/*
 * nginx's limit_req: what is in excess of the rate, by address.  A model: it
 * goes by nginx's own clock, and can't be told another.
 */

#define MOCK_SLOTS  65536

typedef struct {
    char    address[48];
    double  excess, last;
} mock_t;


static mock_t  *mocks;


static mock_t *
mock_find(const char *address)
{
    size_t       i, tried;
    uint64_t     h;
    const char  *p;

    h = 0xcbf29ce484222325ULL;

    for (p = address; *p; p++) {
        h = (h ^ (unsigned char) *p) * 0x100000001b3ULL;
    }

    i = (h ^ h >> 32) % MOCK_SLOTS;

    /* like nginx, the zone forgets: here after eight collisions */

    for (tried = 0; tried < 8; tried++) {
        mock_t  *m = &mocks[(i + tried) % MOCK_SLOTS];

        if (m->address[0] == '\0' || strcmp(m->address, address) == 0) {
            strcpy(m->address, address);
            return m;
        }
    }

    memset(&mocks[i], 0, sizeof(mock_t));
    strcpy(mocks[i].address, address);

    return &mocks[i];
}


void
mock_judge(const char *address, double when, wire_answer_t *answer)
{
    double        excess;
    mock_t       *mock;
    static char   totals[32];

    memset(answer, 0, sizeof(wire_answer_t));
    answer->verdict = WIRE_ALLOW;
    answer->status = 200;
    answer->limit = answer->totals = "";

    if (lab.rate == 0) {
        return;
    }

    if (mocks == NULL) {
        mocks = calloc(MOCK_SLOTS, sizeof(mock_t));
        if (mocks == NULL) {
            err(2, "calloc");
        }
    }

    mock = mock_find(address);

    excess = mock->last == 0 ? 0
             : mock->excess - lab.rate * fmax(when - mock->last, 0) + 1;
    excess = fmax(excess, 0);

    snprintf(totals, sizeof(totals), "excess=%.0f", ceil(excess));
    answer->totals = totals;

    if (excess > lab.burst) {
        answer->verdict = WIRE_CHALLENGE;
        answer->status = 429;
        return;
    }

    mock->excess = excess;
    mock->last = when;
}


/* "name=total,..."; the names are those of the first answer */

static void
learn_names(const char *totals)
{
    size_t       len;
    const char  *p;

    for (p = totals; *p && lab.nlimits < LAB_LIMITS; /* void */ ) {
        len = strcspn(p, "=");
        lab.names[lab.nlimits++] = strndup(p, len);
        p += strcspn(p, ",");
        p += *p == ',';
    }
}


void
tally_totals(account_t *account, int day, const char *totals)
{
    int          i;
    char        *end;
    uint32_t     total;
    const char  *p;

    if (lab.nlimits == 0) {
        learn_names(totals);
    }

    for (p = strchr(totals, '='), i = 0; p && i < lab.nlimits; i++) {
        total = strtoul(p + 1, &end, 10);
        p = strchr(end, '=');

        if (day >= lab.from && day < lab.to
            && total > account->days[day - lab.from].most[i])
        {
            account->days[day - lab.from].most[i] = total;
        }

        if (day >= lab.to - WORLD_WATCHED && total > account->usual[i]) {
            account->usual[i] = total;
        }
    }
}


void
tally_answer(account_t *account, int day, const wire_answer_t *answer)
{
    tally_t  *tally;

    if (day < lab.from || day >= lab.to) {
        return;
    }

    tally = &account->days[day - lab.from];
    tally->lookups++;
    tally->flags |= AT_WORK;

    switch (answer->verdict) {

    case WIRE_CHALLENGE:
        tally->flags |= CHALLENGED;
        break;

    case WIRE_DENY:
        tally->flags |= DENIED;
        break;

    case WIRE_THROTTLE:
        tally->flags |= answer_served(answer) ? 0 : THROTTLED;
        break;

    default:
        break;
    }
}


static void
print_names(void)
{
    int  i;

    printf("limits");

    for (i = 0; i < lab.nlimits; i++) {
        printf(" %s", lab.names[i]);
    }

    printf("\n");
}


/* "day ROLE ACCOUNT DAY FLAGS MOST ..." */

void
tally_print_days(void)
{
    int         i, day, k;
    tally_t    *tally;
    account_t  *account;

    print_names();

    for (i = 0; i < lab.nall; i++) {
        account = &lab.accounts[i];

        for (day = lab.from; day < lab.to; day++) {
            tally = &account->days[day - lab.from];

            if (!(tally->flags & AT_WORK)) {
                continue;
            }

            printf("day %s %d %d %u", roles[account->person.role].name, i,
                   day, tally->flags);

            for (k = 0; k < lab.nlimits; k++) {
                printf(" %u", tally->most[k]);
            }

            printf("\n");
        }
    }
}


/* as the module learns it: the mean of what the days of three weeks reached */

static double
habit(account_t *account, int limit)
{
    int       day, week, days;
    double    sum;
    uint32_t  most;

    week = (WORLD_DAY_ZERO + lab.to) / 7;
    sum = 0;
    days = 0;

    for (day = lab.from; day < lab.to; day++) {
        if ((WORLD_DAY_ZERO + day) / 7 < week - WORLD_HABIT_FIRST
            || (WORLD_DAY_ZERO + day) / 7 > week - WORLD_HABIT_LAST)
        {
            continue;
        }

        most = account->days[day - lab.from].most[limit];
        sum += most;
        days += most > 0;
    }

    return days >= counts_habit_days(lab.names[limit]) ? sum / days : INFINITY;
}


/* "usual ROLE ACCOUNT MOST ... HABIT ..." */

void
tally_print_usual(void)
{
    int         i, k;
    account_t  *account;

    print_names();

    for (i = 0; i < lab.nall; i++) {
        account = &lab.accounts[i];
        printf("usual %s %d", roles[account->person.role].name, i);

        for (k = 0; k < lab.nlimits; k++) {
            printf(" %u", account->usual[k]);
        }

        for (k = 0; k < lab.nlimits; k++) {
            printf(" %g", habit(account, k));
        }

        printf("\n");
    }
}


/*
 * The file of limits has "NAME SECONDS ROLE COUNT COLUMN HABIT FACTOR FLOOR" a
 * line.  COLUMN and HABIT are the limit's places in the file of what is usual,
 * which is what tally_print_usual() has written, or -1; FACTOR that of a
 * baseline, or 0.
 */

typedef struct {
    char    name[32];
    double  window;
    char    role[32];
    double  count;
    int     column, habit;
    double  factor, floor;
} rule_t;


static rule_t    rules[256];
static int       nrules;
static double  (*usual)[2 * LAB_LIMITS];


static void
read_rules(const char *path)
{
    FILE    *file;
    rule_t  *rule;

    file = fopen(path, "r");
    if (file == NULL) {
        err(2, "%s", path);
    }

    while (nrules < 256) {
        rule = &rules[nrules];

        if (fscanf(file, "%31s %lf %31s %lf %d %d %lf %lf", rule->name,
                   &rule->window, rule->role, &rule->count, &rule->column,
                   &rule->habit, &rule->factor, &rule->floor) != 8)
        {
            break;
        }

        nrules++;
    }

    fclose(file);
}


void
known_read(const char *limits, const char *usual_path)
{
    int    number, at, k, n;
    char   line[2048], *p;
    FILE  *file;

    read_rules(limits);

    usual = calloc(lab.nall, sizeof(usual[0]));
    file = fopen(usual_path, "r");

    if (file == NULL || usual == NULL) {
        err(2, "%s", usual_path);
    }

    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "usual %*s %d%n", &number, &at) != 1
            || number < 0 || number >= lab.nall)
        {
            continue;
        }

        for (p = line + at, k = 0;
             k < 2 * LAB_LIMITS
             && sscanf(p, "%lf%n", &usual[number][k], &n) == 1;
             k++)
        {
            p += n;
        }
    }

    fclose(file);
}


/*
 * The most of a window that is shorter than an hour, which history sends at
 * once: the last days are lived again.
 */

static double
burst_of(const account_t *account, const char *name)
{
    int              k;
    double           most;
    view_t          *view;
    counts_t        *counts;
    person_t         person;
    const uint32_t  *totals;

    for (k = 0; k < counts_n && strcmp(counts_names[k], name) != 0; k++) {
        /* void */
    }

    if (k == counts_n) {
        errx(2, "nobody counts %s", name);
    }

    most = 0;
    counts = counts_open();
    person_begin(&person, lab.seed, account->number, -WORLD_HISTORY, 0);

    while ((view = person_next(&person, day_start(lab.from)))) {
        totals = counts_view(counts, view);

        if (day_of(view->when) >= lab.from - WORLD_WATCHED) {
            most = fmax(most, totals[k]);
        }

        person_done(&person);
    }

    person_end(&person);
    counts_close(counts);

    return most;
}


void
known_give(thief_t *thief, const account_t *account)
{
    int       i;
    double    owner, count;
    rule_t   *rule;
    known_t  *known;

    for (i = 0; i < nrules && thief->nknown < THIEF_LIMITS; i++) {
        rule = &rules[i];

        if (strcmp(rule->role, "all") != 0
            && strcmp(rule->role, roles[account->person.role].name) != 0)
        {
            continue;
        }

        owner = rule->column >= 0 ? usual[account->number][rule->column] : 0;

        if (rule->window < WORLD_HOUR) {
            owner = burst_of(account, rule->name);
        }

        count = rule->count;

        if (rule->factor && rule->habit >= 0) {
            count = fmin(count, fmax(rule->floor, rule->factor
                                     * usual[account->number][rule->habit]));
        }

        /* a window may refuse by a 32nd of its length earlier */

        known = &thief->known[thief->nknown++];
        known->window = rule->window * 33 / 32;
        known->room = count - owner;
        known->first = 0;
    }
}
