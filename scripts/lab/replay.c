/*
 * A log of lookups, JSON lines on stdin, sent through a guard: to /judge,
 * which has the operator's policy, and with -q to /measure, which has its
 * limits with counts that nobody reaches.  What is wrong with the log goes to
 * stderr, line by line.
 *
 *     replay [-epq] [-d DELAY] [-k SKEW] [-m NAME,...] [-s SHARE] [-t SPAN]
 *            SOCKET REPORT
 *
 *   -e    each verdict other than allow to stdout
 *   -p    who is challenged proves himself by his next lookup
 *   -d    seconds that a throttled lookup may be held
 *   -k    seconds that a line may be late without being unsorted
 *   -m    members that the policy uses
 *   -s    of the account-days that may go over a count that is suggested
 *   -t    seconds of the log that are under way at once: one connection keeps
 *         their order, but what is held comes behind them
 *
 * Exits with 0, or 1 if the server fails; whether all lines were good is for
 * the REPORT to tell.
 */

#define _GNU_SOURCE

#include "days.h"
#include "wire.h"

#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define BATCH     16384       /* lookups that are under way at once */
#define MEMBERS   32
#define LONGEST   60000       /* of a member; nginx takes 64k */


/* what a line says, valid as long as its object is there */

typedef struct {
    wire_lookup_t   lookup;
    wire_member_t   members[MEMBERS + 1];
    char            numbers[MEMBERS + 4][32];  /* that are wanted as texts */
    int             nnumbers;
    const char     *role;
    const char     *fault;
} line_t;


typedef struct {
    wire_t         *wire;
    days_t         *days;
    int             events, passes, measures;
    double          skew, delay, span;

    const char     *names[MEMBERS];            /* of members */
    uint64_t        seen[MEMBERS];
    int             nnames;

    days_lookup_t   batch[BATCH];
    json_t         *objects[BATCH];            /* theirs, or NULL */
    size_t          n;
    double          start;                     /* of the batch, log time */

    uint64_t        lines, lookups, skipped, unsorted, unanswered;
    uint64_t        addressed;
    double          first, last;
} replay_t;


static replay_t  replay;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
take_verdict(days_lookup_t *lookup, const wire_answer_t *answer)
{
    lookup->verdict = answer->verdict;
    lookup->count = answer->count;
    lookup->limit = days_limit(replay.days, answer->limit,
                               strlen(answer->limit));

    if (answer->status == 503 && answer->verdict == WIRE_DENY) {
        replay.unanswered++;
    }
}


/* "patients/1h=12,lookups/1d=40" */

static void
measured(void *data, const wire_answer_t *answer)
{
    days_lookup_t  *lookup = data;

    int          limit;
    char        *end;
    const char  *p, *sign;

    for (p = answer->totals; *p; p = *end == ',' ? end + 1 : end) {
        sign = strchr(p, '=');
        if (sign == NULL) {
            return;
        }

        limit = days_limit(replay.days, p, sign - p);
        lookup->totals[limit] = strtoul(sign + 1, &end, 10);
    }
}


static void
print_event(const days_lookup_t *lookup)
{
    json_t              *event;

    static const char  *verdicts[] = {
        "allow", "throttle", "challenge", "deny"
    };

    event = json_pack("{s:f, s:s, s:s, s:s, s:I}", "time", lookup->time,
                      "account", days_account_name(lookup->account),
                      "verdict", verdicts[lookup->verdict],
                      "limit", days_limit_name(replay.days, lookup->limit),
                      "count", (json_int_t) lookup->count);

    json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(16));
    putchar('\n');
    json_decref(event);
}


static void
flush(void)
{
    size_t          i;
    days_lookup_t  *lookup;

    wire_flush(replay.wire);

    for (i = 0; i < replay.n; i++) {
        lookup = &replay.batch[i];

        if (replay.events && lookup->verdict != WIRE_ALLOW) {
            print_event(lookup);
        }

        days_count(replay.days, lookup);
        json_decref(replay.objects[i]);
    }

    replay.n = 0;
}


/* a number, or a text that is one; -1 if it is neither */

static double
number(const json_t *value)
{
    char    *end;
    double   n;

    if (json_is_number(value)) {
        return json_number_value(value);
    }

    if (!json_is_string(value) || json_string_length(value) == 0) {
        return -1;
    }

    n = strtod(json_string_value(value), &end);

    return *end ? -1 : n;
}


static int
is_there(const json_t *value)
{
    return value && !json_is_null(value)
           && (!json_is_string(value) || json_string_length(value));
}


/* a text, or a number as one; NULL if there is nothing, or a fault */

static const char *
text(line_t *line, const char *name, const json_t *value)
{
    char  *number;

    if (!is_there(value)) {
        return NULL;
    }

    if (json_is_string(value) && json_string_length(value) <= LONGEST) {
        return json_string_value(value);
    }

    number = line->numbers[line->nnumbers++];

    if (json_is_integer(value)) {
        sprintf(number, "%lld", json_integer_value(value));

    } else if (json_is_real(value)) {
        sprintf(number, "%.16g", json_real_value(value));

    } else if (json_is_boolean(value)) {
        sprintf(number, "%d", json_is_true(value));

    } else {
        line->fault = name;
        return NULL;
    }

    return number;
}


static double
amount(line_t *line, const char *name, const json_t *value, double otherwise,
    double most)
{
    double  n;

    if (!is_there(value)) {
        return otherwise;
    }

    n = number(value);

    if (!(n >= 0 && n <= most)) {
        line->fault = name;
        return otherwise;
    }

    return n;
}


/* nginx does not answer by others */

static int
answerable(int status)
{
    return status >= 200 && status <= 599
           && status != 408 && status != 444 && status != 499;
}


/* what the policy uses besides */

static void
read_members(line_t *line, const json_t *object)
{
    int             i;
    json_t         *value;
    wire_member_t  *member;

    for (i = 0; i < replay.nnames; i++) {
        value = json_object_get(object, replay.names[i]);
        member = &line->members[line->lookup.nmembers];
        member->name = replay.names[i];
        member->value = text(line, member->name, value);

        if (member->value) {
            replay.seen[i]++;
            line->lookup.nmembers++;
        }
    }
}


static void
read_line(line_t *line, const json_t *object)
{
    wire_lookup_t  *lookup;

    lookup = &line->lookup;
    memset(lookup, 0, sizeof(wire_lookup_t));
    lookup->members = line->members;
    line->fault = NULL;
    line->nnumbers = 0;

    lookup->time = amount(line, "time", json_object_get(object, "time"), 0,
                          4294967295.0);
    lookup->account = text(line, "account",
                           json_object_get(object, "account"));
    lookup->patient = text(line, "patient",
                           json_object_get(object, "patient"));
    lookup->address = text(line, "address",
                           json_object_get(object, "address"));
    lookup->status = amount(line, "status", json_object_get(object, "status"),
                            200, 999);
    lookup->records = amount(line, "records",
                             json_object_get(object, "records"), 0,
                             4294967295.0);
    if (!answerable(lookup->status)) {
        lookup->status = 200;
    }

    line->role = text(line, "role", json_object_get(object, "role"));
    read_members(line, object);

    if (line->fault) {
        return;
    }

    if (lookup->time < 1) {
        line->fault = "time";

    } else if (lookup->account == NULL) {
        line->fault = "account";
    }
}


/* it was held, and comes when there is room */

static void
judged_again(void *data, const wire_answer_t *answer)
{
    days_lookup_t  *lookup = data;

    if (answer->verdict != WIRE_ALLOW) {
        take_verdict(lookup, answer);
    }
}


static void
judged(void *data, const wire_answer_t *answer)
{
    days_lookup_t  *lookup = data;

    json_t  *object;
    line_t   line;

    take_verdict(lookup, answer);

    object = replay.objects[lookup - replay.batch];

    if (object && answer->verdict == WIRE_THROTTLE
        && answer->retry_after > 0 && answer->retry_after <= replay.delay)
    {
        read_line(&line, object);
        line.lookup.time += answer->retry_after;
        wire_send(replay.wire, "/judge", &line.lookup, judged_again, lookup);
    }
}


static int
has_proof(const wire_lookup_t *lookup)
{
    size_t  i;

    for (i = 0; i < lookup->nmembers; i++) {
        if (strcmp(lookup->members[i].name, "proof") == 0) {
            return 1;
        }
    }

    return 0;
}


static void
send_line(line_t *line, json_t *object)
{
    char             proof[32];
    wire_lookup_t   *lookup;
    wire_member_t   *member;
    days_lookup_t   *entry;
    days_account_t  *account;

    lookup = &line->lookup;

    if (replay.n == BATCH
        || (replay.n && lookup->time >= replay.start + replay.span))
    {
        flush();
    }

    if (replay.n == 0) {
        replay.start = lookup->time;
    }

    account = days_account(replay.days, lookup->account,
                           line->role ? line->role : "all");

    replay.objects[replay.n] = replay.delay > 0 ? json_incref(object) : NULL;
    entry = &replay.batch[replay.n++];
    memset(entry, 0, sizeof(days_lookup_t));
    entry->account = account;
    entry->time = lookup->time;

    if (replay.measures) {
        wire_send(replay.wire, "/measure", lookup, measured, entry);
    }

    if (replay.passes && !has_proof(lookup)) {
        sprintf(proof, "%.3f", days_account_proof(account, lookup->time));
        member = &line->members[lookup->nmembers++];
        member->name = "proof";
        member->value = proof;
    }

    wire_send(replay.wire, "/judge", lookup, judged, entry);
}


static void
take_line(const char *s, size_t len)
{
    int           whole;
    json_t       *object;
    line_t        line;
    json_error_t  error;

    replay.lines++;
    whole = s[len - 1] == '\n';

    object = json_loadb(s, len, 0, &error);

    if (object == NULL || !json_is_object(object)) {
        fprintf(stderr, "replay: line %llu: %s: %s\n",
                (unsigned long long) replay.lines,
                whole ? "malformed" : "truncated",
                object ? "not an object" : error.text);
        replay.skipped++;
        json_decref(object);
        return;
    }

    read_line(&line, object);

    if (line.fault) {
        fprintf(stderr, "replay: line %llu: malformed: no valid \"%s\"\n",
                (unsigned long long) replay.lines, line.fault);
        replay.skipped++;
        json_decref(object);
        return;
    }

    if (line.lookup.time < replay.last - replay.skew) {
        fprintf(stderr, "replay: line %llu: unsorted: %.3f s before a line "
                "above\n", (unsigned long long) replay.lines,
                replay.last - line.lookup.time);
        replay.unsorted++;
    }

    replay.addressed += line.lookup.address != NULL;

    if (replay.lookups++ == 0 || line.lookup.time < replay.first) {
        replay.first = line.lookup.time;
    }

    if (line.lookup.time > replay.last) {
        replay.last = line.lookup.time;
    }

    send_line(&line, object);
    json_decref(object);
}


static void
report(const char *path, double share, double seconds)
{
    int      i;
    json_t  *report, *members, *days;

    members = json_object();
    for (i = 0; i < replay.nnames; i++) {
        json_object_set_new(members, replay.names[i],
                            json_integer(replay.seen[i]));
    }

    report = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, "
                       "s:o}",
                       "lines", (json_int_t) replay.lines,
                       "lookups", (json_int_t) replay.lookups,
                       "skipped", (json_int_t) replay.skipped,
                       "unsorted", (json_int_t) replay.unsorted,
                       "addressed", (json_int_t) replay.addressed,
                       "unanswered", (json_int_t) replay.unanswered,
                       "first", replay.first, "last", replay.last,
                       "seconds", seconds, "share", share,
                       "members", members);
    days = days_report(replay.days, share);
    json_object_update(report, days);
    json_decref(days);

    if (json_dump_file(report, path, JSON_REAL_PRECISION(16)) == -1) {
        err(1, "%s", path);
    }

    json_decref(report);
}


int
main(int argc, char **argv)
{
    int       option;
    char     *line, *name;
    double    share, start;
    size_t    size;
    ssize_t   len;

    share = .001;
    replay.span = 30;

    while ((option = getopt(argc, argv, "d:ek:m:pqs:t:")) != -1) {
        switch (option) {

        case 'd':
            replay.delay = atof(optarg);
            break;

        case 'e':
            replay.events = 1;
            break;

        case 'k':
            replay.skew = atof(optarg);
            break;

        case 'm':
            for (name = strtok(optarg, ","); name; name = strtok(NULL, ",")) {
                if (replay.nnames == MEMBERS) {
                    errx(1, "the policy uses more than %d members", MEMBERS);
                }

                replay.names[replay.nnames++] = name;
            }
            break;

        case 'p':
            replay.passes = 1;
            break;

        case 'q':
            replay.measures = 1;
            break;

        case 's':
            share = atof(optarg);
            break;

        case 't':
            replay.span = atof(optarg);
            break;

        default:
            return 1;
        }
    }

    if (argc - optind != 2) {
        errx(1, "usage: replay [-epq] [-d DELAY] [-k SKEW] "
             "[-m NAME,...] [-s SHARE] [-t SPAN] SOCKET REPORT");
    }

    replay.wire = wire_open(argv[optind], 1);
    replay.days = days_open();

    line = NULL;
    size = 0;
    start = now();

    while ((len = getline(&line, &size, stdin)) > 0) {
        take_line(line, len);
    }

    free(line);
    flush();
    report(argv[optind + 1], share, now() - start);
    wire_close(replay.wire);

    return 0;
}
