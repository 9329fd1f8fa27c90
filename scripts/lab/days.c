#include "days_inside.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


static void *
one_more(void *p, size_t n, size_t size)
{
    /* room for a power of two */

    if ((n & (n - 1)) == 0) {
        p = realloc(p, (n ? n * 2 : 1) * size);
        if (p == NULL) {
            err(1, "days");
        }
    }

    memset((char *) p + n * size, 0, size);

    return p;
}


static char *
copy(const char *s, size_t len)
{
    char  *p;

    p = strndup(s, len);
    if (p == NULL) {
        err(1, "days");
    }

    return p;
}


days_t *
days_open(void)
{
    days_t  *days;

    days = calloc(1, sizeof(days_t));
    if (days == NULL) {
        err(1, "days");
    }

    days->ntable = 1024;
    days->table = calloc(days->ntable, sizeof(days_account_t *));
    if (days->table == NULL) {
        err(1, "days");
    }

    return days;
}


static days_account_t **
slot(days_account_t **table, size_t ntable, const char *name)
{
    size_t       i;
    uint64_t     h;
    const char  *p;

    /* FNV-1a */
    for (h = 0xcbf29ce484222325ULL, p = name; *p; p++) {
        h = (h ^ (unsigned char) *p) * 0x100000001b3ULL;
    }

    for (i = h % ntable; table[i]; i = (i + 1) % ntable) {
        if (strcmp(table[i]->name, name) == 0) {
            break;
        }
    }

    return &table[i];
}


static void
grow(days_t *days)
{
    size_t            i, n;
    days_account_t  **table;

    n = days->ntable * 4;
    table = calloc(n, sizeof(days_account_t *));
    if (table == NULL) {
        err(1, "days");
    }

    for (i = 0; i < days->ntable; i++) {
        if (days->table[i]) {
            *slot(table, n, days->table[i]->name) = days->table[i];
        }
    }

    free(days->table);
    days->table = table;
    days->ntable = n;
}


static uint32_t
role_of(days_t *days, const char *name)
{
    size_t  i;

    for (i = 0; i < days->nroles; i++) {
        if (strcmp(days->roles[i].name, name) == 0) {
            return i;
        }
    }

    days->roles = one_more(days->roles, i, sizeof(role_t));
    days->roles[i].name = copy(name, strlen(name));
    days->nroles++;

    return i;
}


days_account_t *
days_account(days_t *days, const char *name, const char *role)
{
    days_account_t  **at, *account;

    if (days->naccounts * 2 >= days->ntable) {
        grow(days);
    }

    at = slot(days->table, days->ntable, name);
    account = *at;

    if (account == NULL) {
        account = calloc(1, sizeof(days_account_t));
        if (account == NULL) {
            err(1, "days");
        }

        account->name = copy(name, strlen(name));
        account->role = role_of(days, role);
        account->day = -1;
        *at = account;
        days->naccounts++;

    } else if (strcmp(days->roles[account->role].name, role) != 0) {
        account->role = role_of(days, role);
    }

    return account;
}


const char *
days_account_name(days_account_t *account)
{
    return account->name;
}


double
days_account_proof(days_account_t *account, double time)
{
    time = ceil(time * 1000) / 1000;

    account->proof = time > account->proof ? time : account->proof + .001;

    return account->proof;
}


int
days_limit(days_t *days, const char *name, size_t len)
{
    int  i;

    if (len == 0) {
        return -1;
    }

    for (i = 0; i < days->nlimits; i++) {
        if (strncmp(days->limits[i], name, len) == 0
            && days->limits[i][len] == '\0')
        {
            return i;
        }
    }

    if (i == DAYS_LIMITS) {
        errx(1, "more than %d limits", DAYS_LIMITS);
    }

    days->limits[i] = copy(name, len);
    days->nlimits++;

    return i;
}


const char *
days_limit_name(days_t *days, int limit)
{
    return limit == -1 ? "" : days->limits[limit];
}


/* days come in order, but for lines that do not */

static int
day_of(days_t *days, double time)
{
    size_t     i;
    day_t     *day;
    time_t     t;
    struct tm  tm;

    if (days->ndays) {
        day = &days->days[days->day];

        if (time >= day->start && time < day->end) {
            return days->day;
        }
    }

    for (i = 0; i < days->ndays; i++) {
        day = &days->days[i];

        if (time >= day->start && time < day->end) {
            days->day = i;
            return i;
        }
    }

    days->days = one_more(days->days, days->ndays, sizeof(day_t));
    day = &days->days[days->ndays];
    days->day = days->ndays++;

    t = (time_t) time;
    localtime_r(&t, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    day->start = mktime(&tm);

    /* 23 to 25 hours */
    tm.tm_mday++;
    tm.tm_isdst = -1;
    day->end = mktime(&tm);

    return days->day;
}


void
days_close(days_t *days, days_account_t *account)
{
    int        i;
    role_t    *role;
    day_t     *day;
    sample_t  *sample;

    if (account->day == -1) {
        return;
    }

    role = &days->roles[account->role];
    role->days++;
    day = &days->days[account->day];
    day->accounts++;

    for (i = 0; i <= WIRE_DENY; i++) {
        if (account->stopped & 1 << i) {
            role->stopped[i]++;
            day->stopped[i]++;
        }
    }

    for (i = 0; i < days->nlimits; i++) {
        sample = &role->samples[i];
        sample->values = one_more(sample->values, sample->n,
                                  sizeof(uint32_t));
        sample->values[sample->n++] = account->most[i];
        account->most[i] = 0;
    }

    account->stopped = 0;
    account->day = -1;
}


static void
stop(days_account_t *account, const days_lookup_t *lookup, int day)
{
    stop_t  *s;

    for (s = account->stops; s; s = s->next) {
        if (s->verdict == lookup->verdict && s->limit == lookup->limit) {
            break;
        }
    }

    if (s == NULL) {
        s = calloc(1, sizeof(stop_t));
        if (s == NULL) {
            err(1, "days");
        }

        s->verdict = lookup->verdict;
        s->limit = lookup->limit;
        s->first = lookup->time;
        s->next = account->stops;
        account->stops = s;
        s->day = -1;
    }

    if (s->day != day) {
        s->day = day;
        s->days++;
    }

    s->lookups++;
    s->last = lookup->time;
}


void
days_count(days_t *days, const days_lookup_t *lookup)
{
    int              i, day;
    days_account_t  *account;

    account = lookup->account;
    day = day_of(days, lookup->time);

    if (account->day != day) {
        days_close(days, account);
        account->day = day;
    }

    days->verdicts[lookup->verdict]++;
    days->days[day].verdicts[lookup->verdict]++;

    if (lookup->verdict != WIRE_ALLOW) {
        stop(account, lookup, day);
    }

    account->stopped |= 1 << lookup->verdict;

    for (i = 0; i < days->nlimits; i++) {
        if (lookup->totals[i] > account->most[i]) {
            account->most[i] = lookup->totals[i];
        }
    }
}
