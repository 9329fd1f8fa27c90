
/*
 * What an account did, hour by hour, for guardctl to draw:
 *
 *   hour START LOOKUPS PATIENTS NEW THROTTLE CHALLENGE DENY UNAVAILABLE DRY
 *   all  -     LOOKUPS PATIENTS ...
 *
 * START is that of a local hour, in seconds; patients are those read, new ones
 * whom no earlier lookup of the log has read; a dry run's would have been
 * refused.
 */


#include "guardlog.h"
#include "map.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>


/* all offsets of time zones are multiples of it */
#define TIMELINE_QUARTER  900


typedef struct {
    int64_t         start;
    uint64_t        lookups;
    uint64_t        patients;
    uint64_t        novel;
    uint64_t        refused[LINES_VERDICTS];
    uint64_t        dry_run;
} timeline_hour_t;


typedef struct {
    lines_asked_t    *asked;
    map_t             known;                   /* patient to its first ms */
    map_t             read;                    /* patient and hour; or 0 */
    map_t             at;                      /* hour to its number */
    timeline_hour_t  *hours;
    size_t            n;
    int64_t           quarter;                 /* whose hour is known, */
    int64_t           start;                   /*   and begins then    */
} timeline_t;


static int64_t
timeline_start(timeline_t *t, int64_t ms)
{
    time_t     seconds;
    struct tm  tm;

    seconds = ms / 1000;

    if (t->quarter != seconds / TIMELINE_QUARTER) {
        t->quarter = seconds / TIMELINE_QUARTER;
        localtime_r(&seconds, &tm);
        t->start = seconds - tm.tm_min * 60 - tm.tm_sec;
    }

    return t->start;
}


static timeline_hour_t *
timeline_hour(timeline_t *t, int64_t start)
{
    int       fresh;
    int64_t  *number;

    number = map_at(&t->at, start, 0, &fresh);

    if (fresh) {
        *number = t->n++;
        t->hours = realloc(t->hours, t->n * sizeof(timeline_hour_t));

        if (t->hours == NULL) {
            err(2, "malloc");
        }

        memset(&t->hours[*number], 0, sizeof(timeline_hour_t));
        t->hours[*number].start = start;
    }

    return &t->hours[*number];
}


static void
timeline_each(void *data, lines_lookup_t *lookup)
{
    timeline_t  *t = data;

    int                fresh, within;
    int64_t            start, *first;
    uint64_t           alias;
    ngx_uint_t         i;
    timeline_hour_t   *hour;

    hour = NULL;
    start = timeline_start(t, lookup->time);
    within = lines_within(t->asked, lookup);

    if (within) {
        hour = timeline_hour(t, start);
        hour->lookups++;
        hour->refused[lookup->verdict] += !lookup->through;
        hour->dry_run += lookup->dry_run && lookup->verdict != LINES_ALLOW;
    }

    for (i = 0; lookup->through && i < lookup->npatients; i++) {

        alias = lines_patient(lookup, i);
        first = map_at(&t->known, alias, 0, &fresh);

        if (fresh || lookup->time < *first) {
            *first = lookup->time;
        }

        if (within) {
            (void) map_at(&t->read, alias, start, &fresh);
            hour->patients += fresh;
            (void) map_at(&t->read, alias, 0, &fresh);
        }
    }
}


static void
timeline_novel(timeline_t *t)
{
    size_t       i;
    map_cell_t  *cell;

    for (i = 0; i < t->known.size; i++) {
        cell = &t->known.cells[i];

        if (cell->used && cell->value >= t->asked->since
            && cell->value <= t->asked->until)
        {
            timeline_hour(t, timeline_start(t, cell->value))->novel++;
        }
    }
}


static int
timeline_order(const void *one, const void *two)
{
    const timeline_hour_t  *a = one, *b = two;

    return (a->start > b->start) - (a->start < b->start);
}


static void
timeline_print(const char *what, timeline_hour_t *hour)
{
    ngx_uint_t  i;

    printf("%s %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64, what,
           hour->start, hour->lookups, hour->patients, hour->novel);

    for (i = LINES_THROTTLE; i < LINES_VERDICTS; i++) {
        printf(" %" PRIu64, hour->refused[i]);
    }

    printf(" %" PRIu64 "\n", hour->dry_run);
}


int
timeline(guardlog_t *ask)
{
    size_t           i, k;
    timeline_t       t;
    lines_seen_t     seen;
    timeline_hour_t  all;

    memset(&t, 0, sizeof(t));
    memset(&all, 0, sizeof(all));
    t.asked = &ask->asked;
    t.quarter = -1;

    lines_read(ask->logs, ask->nlogs, &ask->asked, &seen, timeline_each, &t);
    timeline_novel(&t);

    if (t.n) {
        qsort(t.hours, t.n, sizeof(timeline_hour_t), timeline_order);
    }

    for (i = 0; i < t.n; i++) {
        timeline_print("hour", &t.hours[i]);

        all.lookups += t.hours[i].lookups;
        all.novel += t.hours[i].novel;
        all.dry_run += t.hours[i].dry_run;

        for (k = 0; k < LINES_VERDICTS; k++) {
            all.refused[k] += t.hours[i].refused[k];
        }
    }

    for (i = 0; i < t.read.size; i++) {
        all.patients += t.read.cells[i].used && t.read.cells[i].b == 0;
    }

    timeline_print("all", &all);

    if (fflush(stdout) == EOF || ferror(stdout)) {
        err(2, "stdout");
    }

    lines_summary(&seen);

    return seen.malformed || seen.broken;
}
