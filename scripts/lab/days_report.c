#include "days_inside.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define POINTS  60            /* of a curve */


static const char  *verdicts[] = { "allow", "throttle", "challenge", "deny" };


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
            days_close(days, days->table[i]);
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
