
/*
 * A population at work, and thieves in it, in simulated time, against a guard:
 * see scripts/lab/README.
 *
 *     lab [options] JOB
 *
 *   history    owners, an hour's patients of an account in one lookup, so that
 *              the guard remembers and learns; prints what was most
 *   days       owners, lookup by lookup; prints what became of each day, and
 *              the most that each limit counted
 *   tune       the same as days, counted here, for many more accounts
 *   foresee    what a policy, -c FILE, would do to as many
 *   S1 ...     a scenario; prints what leaked
 *
 *   -w SOCKET    the guard; without it none, or limit_req as modelled by
 *   -q RATE      a second and
 *   -b BURST
 *   -l LOCATION  of the guard
 *   -s SEED  -n ACCOUNTS  -f FROM -t TO (days)  -e EPOCH (s)
 *   -p           every page, not one for each patient
 *   -c FILE      the limits, for who knows them, and
 *   -u FILE      what history has printed
 *   -r PID       of Redis, to be killed by S12
 *   -m MOST      accounts that are stolen, what leaks is for all of them
 *   -a           everybody is at work in a scenario of the whole fleet, for
 *                limits that all share
 *   -i           there is a limit on misses: each of a thief's is waited for
 */

#include "lab.h"

#include <err.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define CONNECTIONS  256
#define ASLEEP       100000           /* numbers of those never at work */


lab_t  lab;

static double  limit_of_epoch;

static const struct timespec  interval = { 0, 60000000 };

static void kick(account_t *account, double until);


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* when the owner's next lookup is due; INFINITY: not before "until" */

static double
owner_due(account_t *account, double until)
{
    view_t  *view;

    view = person_next(&account->person, until);

    if (view == NULL) {
        return INFINITY;
    }

    return fmax(view->when, account->again);
}


static double
due(account_t *account, double until)
{
    double    when;
    thief_t  *thief;

    when = owner_due(account, until);
    thief = account->thief;

    if (thief && thief->victims[thief->at] == account->number) {
        when = fmin(when, thief_due(thief));
    }

    return when < until ? when : INFINITY;
}


static void
owner_told(account_t *account, const ask_t *ask, const wire_answer_t *answer)
{
    tally_answer(account, ask->day, answer);
    tally_totals(account, ask->day, answer->totals);

    if (lab.batches) {
        return;
    }

    if (answer->verdict == WIRE_CHALLENGE && lab.wire && account->tries < 3) {
        account->tries++;
        account->proof = ask->when + WORLD_PROVES - 1;
        account->again = ask->when + WORLD_PROVES;
        return;
    }

    if (answer->verdict == WIRE_THROTTLE && !answer_served(answer)
        && answer->retry_after <= WORLD_WAITS && account->tries < 3)
    {
        account->tries++;
        account->again = ask->when + fmax(answer->retry_after, 1);
        return;
    }

    account->tries = 0;
    person_done(&account->person);
}


static void
told(void *data, const wire_answer_t *answer)
{
    ask_t      *ask = data;
    int         last;
    thief_t    *thief;
    account_t  *account;

    account = ask->account;
    last = --account->inflight == 0;
    thief = account->thief;

    if (ask->theirs) {
        thief_told(thief, &ask->grab, answer);

        /* the fleet is told of a miss within 50 ms; simulated seconds are
         * shorter than that */

        if (ask->grab.miss && lab.intervals && answer_served(answer)) {
            nanosleep(&interval, NULL);
        }

    } else {
        owner_told(account, ask, answer);
    }

    if (!last || lab.wire == NULL) {
        return;
    }

    kick(account, limit_of_epoch);

    /* he may have gone on to another account */

    if (ask->theirs && thief->victims[thief->at] != account->number) {
        kick(&lab.accounts[thief->victims[thief->at]], limit_of_epoch);
    }
}


static void
send_lookup(account_t *account, wire_lookup_t *lookup, double proof, int copy)
{
    char           proven[32], as[48];
    wire_answer_t  answer;
    wire_member_t  members[4];

    account->inflight++;
    lab.lookups++;

    if (lab.wire == NULL) {
        mock_judge(lookup->address, lookup->time, &answer);
        told(&account->ask, &answer);
        return;
    }

    snprintf(proven, sizeof(proven), "%.0f", proof);

    members[0].name = "role";
    members[0].value = roles[account->person.role].name;
    members[1].name = "establishment";
    members[1].value = person_establishment(&account->person);
    members[2].name = "as";
    members[2].value = account->name;
    members[3].name = "proof";
    members[3].value = proven;

    lookup->members = members;
    lookup->nmembers = proof ? 4 : 3;

    /* copies are to go over connections of their own */

    snprintf(as, sizeof(as), "%s-%d", account->name, copy);
    lookup->account = copy ? as : account->name;

    wire_send(lab.wire, lab.location, lookup, told, &account->ask);
}


static void
thief_sends(account_t *account)
{
    int            i;
    char           patients[THIEF_ROWS * 20 + 1], *p;
    ask_t         *ask;
    thief_t       *thief;
    wire_lookup_t  lookup;

    thief = account->thief;
    ask = &account->ask;

    thief_ask(thief, &ask->grab);
    ask->theirs = 1;
    ask->when = ask->grab.when;

    memset(&lookup, 0, sizeof(lookup));
    lookup.time = ask->when;
    lookup.address = ask->grab.address;
    lookup.status = ask->grab.miss ? 404 : 200;
    lookup.patient = patients;

    /* nobody is told before all of them are under way */
    account->inflight += lab.wire != NULL;

    for (i = 0; i < ask->grab.copies; i++) {

        if (ask->grab.copies > 1) {
            snprintf(patients, sizeof(patients), "%llx",
                     (unsigned long long) ask->grab.patient + i);
        } else {
            int  k;

            for (p = patients, k = 0; k < ask->grab.rows; k++) {
                p += sprintf(p, "%s%llx", k ? "," : "",
                             (unsigned long long) ask->grab.patient + k);
            }
        }

        send_lookup(account, &lookup, thief->proof, i);
    }

    account->inflight -= lab.wire != NULL;
}


static void
owner_sends(account_t *account, double when)
{
    char           patient[32];
    ask_t         *ask;
    view_t        *view;
    wire_lookup_t  lookup;

    view = person_next(&account->person, INFINITY);
    ask = &account->ask;

    ask->theirs = 0;
    ask->when = when;
    ask->day = day_of(when);

    snprintf(patient, sizeof(patient), "%llx",
             (unsigned long long) view->patient >> 2);

    memset(&lookup, 0, sizeof(lookup));
    lookup.time = when;
    lookup.patient = patient;
    lookup.status = view->miss ? 404 : 200;
    lookup.address = person_address(&account->person, view->address);

    send_lookup(account, &lookup, account->proof, 0);
}


/* history: all patients of one hour */

static void
batch_sends(account_t *account, double until)
{
    int            n;
    char           patients[400 * 18 + 1], *p;
    view_t        *view;
    double         hour;
    ask_t         *ask;
    wire_lookup_t  lookup;

    ask = &account->ask;
    ask->theirs = 0;
    memset(&lookup, 0, sizeof(lookup));

    hour = 0;
    p = patients;

    for (n = 0; n < 400; n++) {
        view = person_next(&account->person, until);

        if (view == NULL || (n && floor(view->when / WORLD_HOUR) != hour)) {
            break;
        }

        hour = floor(view->when / WORLD_HOUR);
        ask->when = view->when;
        lookup.address = person_address(&account->person, view->address);
        p += sprintf(p, "%s%llx", n ? "," : "",
                     (unsigned long long) view->patient >> 2);
        person_done(&account->person);
    }

    ask->day = day_of(ask->when);
    lookup.time = ask->when;
    lookup.patient = patients;
    lookup.status = 200;

    send_lookup(account, &lookup, 0, 0);
}


/* the account's next lookup, one at a time; with the mock as many as are */

static void
kick(account_t *account, double until)
{
    double    when;
    thief_t  *thief;

    while (account->inflight == 0) {
        when = due(account, until);

        if (when == INFINITY) {
            return;
        }

        if (when >= lab.outage) {
            lab.outage = INFINITY;

            if (lab.redis) {
                kill(lab.redis, SIGKILL);
            }
        }

        ask_t  *ask = &account->ask;

        ask->account = account;
        thief = account->thief;

        if (thief && thief->victims[thief->at] == account->number
            && thief_due(thief) <= when)
        {
            thief_sends(account);
        } else if (lab.batches) {
            batch_sends(account, until);
        } else {
            owner_sends(account, when);
        }
    }
}


void
run(double until)
{
    int     i;
    double  next;

    for ( ;; ) {
        next = INFINITY;

        for (i = 0; i < lab.nall; i++) {
            next = fmin(next, due(&lab.accounts[i], until));
        }

        if (next == INFINITY) {
            return;
        }

        limit_of_epoch = fmin(until, (floor(next / lab.epoch) + 1)
                                     * lab.epoch);

        for (i = 0; i < lab.nall; i++) {
            kick(&lab.accounts[i], limit_of_epoch);
        }

        if (lab.wire) {
            wire_flush(lab.wire);
        }
    }
}


/* the past is lived through, without being asked for */

void
populate(void)
{
    int         i;
    account_t  *account;

    lab.nall = lab.naccounts + lab.ndormant;
    lab.accounts = calloc(lab.nall, sizeof(account_t));

    if (lab.accounts == NULL) {
        err(2, "calloc");
    }

    for (i = 0; i < lab.nall; i++) {
        account = &lab.accounts[i];
        account->number = i;
        account->inflight = 0;
        snprintf(account->name, sizeof(account->name), "account-%d", i);

        /* those of a role never change with what is sent of them */

        person_begin(&account->person, lab.seed, i < lab.naccounts ? i
                     : ASLEEP + i, -WORLD_HISTORY, lab.pages);
        account->person.dormant = i >= lab.naccounts;
        account->days = calloc(lab.to - lab.from + 1, sizeof(tally_t));

        if (account->days == NULL) {
            err(2, "calloc");
        }

        while (person_next(&account->person, day_start(lab.from))) {
            person_done(&account->person);
        }
    }
}


static void
options(int argc, char **argv, const char **limits, const char **usual)
{
    int          option;
    const char  *path;

    lab.naccounts = 60;
    lab.stolen = 1000;
    lab.epoch = 3600;
    lab.to = 28;
    lab.location = "/";
    lab.outage = INFINITY;
    lab.seed = 1;
    path = NULL;

    for ( ;; ) {
        option = getopt(argc, argv, "w:q:b:l:s:n:f:t:e:pc:u:r:m:ai");

        if (option == -1) {
            break;
        }

        switch (option) {
        case 'w': path = optarg; break;
        case 'q': lab.rate = atof(optarg); break;
        case 'b': lab.burst = atof(optarg); break;
        case 'l': lab.location = optarg; break;
        case 's': lab.seed = strtoull(optarg, NULL, 10); break;
        case 'n': lab.naccounts = atoi(optarg); break;
        case 'f': lab.from = atoi(optarg); break;
        case 't': lab.to = atoi(optarg); break;
        case 'e': lab.epoch = atof(optarg); break;
        case 'p': lab.pages = 1; break;
        case 'c': *limits = optarg; break;
        case 'u': *usual = optarg; break;
        case 'r': lab.redis = atoi(optarg); break;
        case 'm': lab.stolen = atoi(optarg); break;
        case 'a': lab.everybody = 1; break;
        case 'i': lab.intervals = 1; break;
        default: exit(2);
        }
    }

    if (optind != argc - 1) {
        errx(2, "expected one job");
    }

    if (path) {
        lab.wire = wire_open(path, CONNECTIONS);
    }
}


int
main(int argc, char **argv)
{
    double       start;
    const char  *limits, *usual, *job;

    start = now();
    limits = usual = NULL;
    options(argc, argv, &limits, &usual);
    job = argv[optind];

    if (strcmp(job, "history") == 0) {
        lab.batches = !lab.pages;
        lab.to = 0;
        populate();
        run(day_start(lab.to));
        tally_print_usual();

    } else if (strcmp(job, "tune") == 0) {
        tune();

    } else if (strcmp(job, "foresee") == 0) {
        foresee(limits);

    } else if (strcmp(job, "days") == 0) {
        populate();
        run(day_start(lab.to));
        tally_print_days();

    } else {
        attack(job, limits, usual);
    }

    printf("speed %llu %.1f\n", (unsigned long long) lab.lookups,
           now() - start);

    if (lab.wire) {
        wire_close(lab.wire);
    }

    return 0;
}
