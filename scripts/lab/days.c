#include "days.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define POINTS  60            /* of a curve */


/* what an account was refused, by one limit */

typedef struct stop_s  stop_t;

struct stop_s {
    stop_t         *next;
    wire_verdict_e  verdict;
    int             limit;
    uint64_t        lookups;
    int             day;                       /* the last one */
    uint64_t        days;
    double          first, last;
};


struct days_account_s {
    char           *name;
    uint32_t        role;
    double          proof;
    int             day;                       /* at hand, or -1 */
    unsigned        stopped;                   /* bits of verdicts, this day */
    uint32_t        most[DAYS_LIMITS];         /* this day */
    stop_t         *stops;
};


typedef struct {
    uint32_t       *values;
    size_t          n, room;
} sample_t;


typedef struct {
    char           *name;
    uint64_t        days;                      /* of accounts */
    uint64_t        stopped[WIRE_DENY + 1];    /* such days */
    sample_t        samples[DAYS_LIMITS];
} role_t;


typedef struct {
    double          start, end;
    uint64_t        verdicts[WIRE_DENY + 1];
    uint64_t        accounts;
    uint64_t        stopped[WIRE_DENY + 1];
} day_t;


struct days_s {
    days_account_t **table;                    /* by hash, half of it empty */
    size_t          ntable, naccounts;

    role_t         *roles;
    size_t          nroles;

    day_t          *days;
    size_t          ndays, day;                /* the last one used */

    char           *limits[DAYS_LIMITS];
    int             nlimits;

    uint64_t        verdicts[WIRE_DENY + 1];
};


static const char  *verdicts[] = { "allow", "throttle", "challenge", "deny" };


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


static void
close_day(days_t *days, days_account_t *account)
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
        close_day(days, account);
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


static int
by_value(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(const uint32_t *) one;
    b = *(const uint32_t *) two;

    return (a > b) - (a < b);
}


/* nearest rank */

static uint32_t
quantile(const sample_t *sample, double q)
{
    size_t  rank;

    rank = ceil(q * sample->n - 1e-9);

    return sample->values[rank ? rank - 1 : 0];
}


/* the lowest count that at most "share" of the values go over */

static uint32_t
suggestion(const sample_t *sample, double share)
{
    size_t    over;
    uint32_t  count;

    over = floor(share * sample->n + 1e-9);
    count = over < sample->n ? sample->values[sample->n - over - 1] : 1;

    return count ? count : 1;
}


static size_t
values_over(const sample_t *sample, uint32_t count)
{
    size_t  low, high, middle;

    low = 0;
    high = sample->n;

    while (low < high) {
        middle = (low + high) / 2;

        if (sample->values[middle] > count) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return sample->n - low;
}


/* how many values go over counts that rise by a factor */

static json_t *
curve(const sample_t *sample)
{
    int       i;
    double    most;
    json_t   *points;
    uint32_t  count, before;

    points = json_array();
    most = sample->values[sample->n - 1];
    before = 0;

    for (i = 0; i <= POINTS; i++) {
        count = ceil(pow(most > 1 ? most : 1, (double) i / POINTS) - 1e-9);

        if (count > before) {
            json_array_append_new(points,
                json_pack("[I,I]", (json_int_t) count,
                          (json_int_t) values_over(sample, count)));
            before = count;
        }
    }

    return points;
}


static json_t *
report_sample(const char *role, sample_t *sample, double share)
{
    qsort(sample->values, sample->n, sizeof(uint32_t), by_value);

    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                     "role", role, "account_days", (json_int_t) sample->n,
                     "p50", (json_int_t) quantile(sample, .5),
                     "p90", (json_int_t) quantile(sample, .9),
                     "p99", (json_int_t) quantile(sample, .99),
                     "p99.9", (json_int_t) quantile(sample, .999),
                     "max", (json_int_t) quantile(sample, 1),
                     "suggested", (json_int_t) suggestion(sample, share),
                     "over", curve(sample));
}


/* all of them, then by role if there are several */

static json_t *
report_limit(days_t *days, int limit, double share)
{
    size_t    i;
    json_t   *roles;
    sample_t  all, *sample;

    all.n = 0;
    for (i = 0; i < days->nroles; i++) {
        all.n += days->roles[i].samples[limit].n;
    }

    roles = json_array();

    if (all.n) {
        all.values = malloc(all.n * sizeof(uint32_t));
        if (all.values == NULL) {
            err(1, "days");
        }

        all.n = 0;
        for (i = 0; i < days->nroles; i++) {
            sample = &days->roles[i].samples[limit];
            if (sample->n) {
                memcpy(all.values + all.n, sample->values,
                       sample->n * sizeof(uint32_t));
                all.n += sample->n;
            }
        }

        json_array_append_new(roles, report_sample("all", &all, share));
        free(all.values);
    }

    for (i = 0; i < days->nroles && days->nroles > 1; i++) {
        sample = &days->roles[i].samples[limit];
        if (sample->n) {
            json_array_append_new(roles,
                report_sample(days->roles[i].name, sample, share));
        }
    }

    return json_pack("{s:s, s:o}", "limit", days->limits[limit],
                     "roles", roles);
}


static json_t *
report_role(const char *name, uint64_t n, const uint64_t *stopped)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "role", name,
                     "account_days", (json_int_t) n,
                     "throttled", (json_int_t) stopped[WIRE_THROTTLE],
                     "challenged", (json_int_t) stopped[WIRE_CHALLENGE],
                     "denied", (json_int_t) stopped[WIRE_DENY],
                     "share_challenged",
                     n ? (double) stopped[WIRE_CHALLENGE] / n : 0.0);
}


static json_t *
report_roles(days_t *days)
{
    int       j;
    size_t    i;
    json_t   *roles;
    role_t    all, *role;

    memset(&all, 0, sizeof(role_t));

    for (i = 0; i < days->nroles; i++) {
        all.days += days->roles[i].days;
        for (j = 0; j <= WIRE_DENY; j++) {
            all.stopped[j] += days->roles[i].stopped[j];
        }
    }

    roles = json_array();
    json_array_append_new(roles, report_role("all", all.days, all.stopped));

    for (i = 0; i < days->nroles && days->nroles > 1; i++) {
        role = &days->roles[i];
        json_array_append_new(roles, report_role(role->name, role->days,
                                                 role->stopped));
    }

    return roles;
}


static int
by_start(const void *one, const void *two)
{
    const day_t  *a, *b;

    a = one;
    b = two;

    return (a->start > b->start) - (a->start < b->start);
}


static json_t *
report_verdicts(const uint64_t *n)
{
    int      i;
    json_t  *object;

    object = json_object();

    for (i = 0; i <= WIRE_DENY; i++) {
        json_object_set_new(object, verdicts[i], json_integer(n[i]));
    }

    return object;
}


static json_t *
report_days(days_t *days)
{
    char       text[32];
    size_t     i;
    day_t     *day;
    json_t    *list;
    time_t     t;
    struct tm  tm;

    list = json_array();
    qsort(days->days, days->ndays, sizeof(day_t), by_start);

    for (i = 0; i < days->ndays; i++) {
        day = &days->days[i];
        t = (time_t) day->start;
        localtime_r(&t, &tm);
        strftime(text, sizeof(text), "%Y-%m-%d", &tm);

        json_array_append_new(list,
            json_pack("{s:s, s:I, s:I, s:o}", "day", text,
                      "accounts", (json_int_t) day->accounts,
                      "challenged", (json_int_t) day->stopped[WIRE_CHALLENGE],
                      "verdicts", report_verdicts(day->verdicts)));
    }

    return list;
}


static void
report_stops(days_t *days, const days_account_t *account, json_t *list)
{
    stop_t  *s;

    for (s = account->stops; s; s = s->next) {
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:f}",
                      "account", account->name,
                      "role", days->roles[account->role].name,
                      "verdict", verdicts[s->verdict],
                      "limit", days_limit_name(days, s->limit),
                      "lookups", (json_int_t) s->lookups,
                      "days", (json_int_t) s->days,
                      "first", s->first, "last", s->last));
    }
}


json_t *
days_report(days_t *days, double share)
{
    int      limit;
    size_t   i;
    json_t  *stops, *limits;

    stops = json_array();

    for (i = 0; i < days->ntable; i++) {
        if (days->table[i]) {
            close_day(days, days->table[i]);
            report_stops(days, days->table[i], stops);
        }
    }

    limits = json_array();

    for (limit = 0; limit < days->nlimits; limit++) {
        json_array_append_new(limits, report_limit(days, limit, share));
    }

    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}",
                     "accounts", (json_int_t) days->naccounts,
                     "verdicts", report_verdicts(days->verdicts),
                     "roles", report_roles(days), "limits", limits,
                     "days", report_days(days), "stopped", stops);
}
