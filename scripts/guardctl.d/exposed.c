
/* Which patients of a list an account has read. */


#include "guardlog.h"
#include "list.h"
#include "map.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>


typedef struct {
    list_t          list;
    lines_asked_t  *asked;
    map_t           unlisted;                  /* aliases of nobody's */
    uint64_t        lookups;                   /* within the time */
    uint64_t        outside;
    uint64_t        through;
    uint64_t        nameless;                  /* that name no patient */
    uint64_t        failed;
    uint64_t        dry_run;                   /* would have been refused */
    uint64_t        refused[LINES_VERDICTS];
} exposed_t;


static void
exposed_through(exposed_t *e, lines_lookup_t *lookup)
{
    int                           fresh;
    ngx_uint_t                    i;
    list_patient_t               *patient;
    ngx_patient_guard_patient_t   alias;

    e->through++;
    e->failed += lookup->status >= 400;
    e->nameless += lookup->npatients == 0;
    e->dry_run += lookup->dry_run && lookup->verdict != LINES_ALLOW;

    for (i = 0; i < lookup->npatients; i++) {

        alias = lines_patient(lookup, i);
        patient = list_find(&e->list, alias);

        if (patient == NULL) {
            (void) map_at(&e->unlisted, alias, 0, &fresh);
            continue;
        }

        if (patient->times == 0 || lookup->time < patient->first) {
            patient->first = lookup->time;
        }

        if (patient->times == 0 || lookup->time > patient->last) {
            patient->last = lookup->time;
        }

        patient->times++;
        patient->failed += lookup->status >= 400;
    }
}


static void
exposed_each(void *data, lines_lookup_t *lookup)
{
    exposed_t  *e = data;

    ngx_uint_t       i;
    list_patient_t  *patient;

    if (!lines_within(e->asked, lookup)) {
        e->outside++;
        return;
    }

    e->lookups++;

    if (lookup->through) {
        exposed_through(e, lookup);
        return;
    }

    e->refused[lookup->verdict]++;

    for (i = 0; i < lookup->npatients; i++) {
        patient = list_find(&e->list, lines_patient(lookup, i));

        if (patient) {
            patient->refused++;
        }
    }
}


static void
exposed_text_json(const char *text)
{
    putchar('"');

    for ( /* void */ ; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }

        putchar(*text);
    }

    putchar('"');
}


static void
exposed_print(exposed_t *e, ngx_uint_t json)
{
    int              width;
    char             first[32], last[32];
    size_t           i;
    const char      *text;
    list_patient_t  *p;

    width = sizeof("patient") - 1;

    for (i = 0; i < e->list.n; i++) {
        p = &e->list.patients[i];

        if (p->times) {
            width = ngx_max(width, (int) strlen(e->list.texts + p->text));
        }
    }

    if (!json) {
        printf("%-*s  %-25s  %-25s  times  failed\n", width, "patient",
               "first", "last");
    }

    for (i = 0; i < e->list.n; i++) {
        p = &e->list.patients[i];
        text = e->list.texts + p->text;

        if (p->times == 0) {
            continue;
        }

        lines_time(p->first, first);
        lines_time(p->last, last);

        if (!json) {
            printf("%-*s  %-25s  %-25s  %5" PRIu32 "  %6" PRIu32 "\n", width,
                   text, first, last, p->times, p->failed);
            continue;
        }

        printf("{\"patient\":");
        exposed_text_json(text);
        printf(",\"first\":\"%s\",\"last\":\"%s\",\"times\":%" PRIu32
               ",\"failed\":%" PRIu32 "}\n", first, last, p->times,
               p->failed);
    }
}


static void
exposed_summary(exposed_t *e, lines_seen_t *seen)
{
    size_t           i, read, failed, refused;
    uint64_t         all;
    list_patient_t  *p;

    read = failed = refused = 0;

    for (i = 0; i < e->list.n; i++) {
        p = &e->list.patients[i];
        read += p->times > 0;
        failed += p->times && p->times == p->failed;
        refused += p->times == 0 && p->refused;
    }

    fprintf(stderr, "list      %zu patients, %" PRIu64 " lines twice, %" PRIu64
            " malformed; %zu bytes a patient\n", e->list.n, e->list.twice,
            e->list.malformed, list_each(&e->list));
    lines_summary(seen);
    fprintf(stderr, "account   %" PRIu64 " lookups within the time, %" PRIu64
            " outside of it\n", e->lookups, e->outside);
    fprintf(stderr, "read      %" PRIu64 " lookups", e->through);

    if (e->failed) {
        fprintf(stderr, ", %" PRIu64 " of them answered by 4xx or 5xx",
                e->failed);
    }

    if (e->dry_run) {
        fprintf(stderr, ", %" PRIu64 " let through by a dry run only",
                e->dry_run);
    }

    if (e->nameless) {
        fprintf(stderr, ", %" PRIu64 " name no patient", e->nameless);
    }

    for (all = 0, i = 0; i < LINES_VERDICTS; i++) {
        all += e->refused[i];
    }

    fprintf(stderr, "\nrefused   %" PRIu64 " lookups, which disclosed nothing",
            all);

    for (i = 0; i < LINES_VERDICTS; i++) {
        if (e->refused[i]) {
            fprintf(stderr, ", %s %" PRIu64, lines_verdicts[i], e->refused[i]);
        }
    }

    fprintf(stderr, "\npatients  %zu exposed, %zu of them by failed lookups "
            "only; %zu asked for in vain\n", read, failed, refused);
    fprintf(stderr, "unlisted  %zu aliases were read that nobody in the list "
            "has%s\n", e->unlisted.n,
            e->unlisted.n ? ": PATIENTS ARE MISSING IN THE LIST" : "");
}


int
exposed(guardlog_t *ask)
{
    exposed_t     e;
    lines_seen_t  seen;

    memset(&e, 0, sizeof(e));
    e.asked = &ask->asked;

    list_read(&e.list, &ask->names, ask->list, ask->nir);
    lines_read(ask->logs, ask->nlogs, &ask->asked, &seen, exposed_each, &e);

    exposed_print(&e, ask->json);

    if (fflush(stdout) == EOF || ferror(stdout)) {
        err(2, "stdout");
    }

    exposed_summary(&e, &seen);

    return seen.malformed || seen.broken || e.list.malformed || e.unlisted.n;
}
