
/*
 * Accounts that live through weeks of lookups, which a server is asked for:
 * some of them, several side by side.
 */


#ifndef _LIVES_H_INCLUDED_
#define _LIVES_H_INCLUDED_


#include "life.h"
#include "policy.h"
#include "server.h"

#include <time.h>
#include <unistd.h>


#define LANES     64         /* accounts side by side */
#define EVENING   (LIFE_LAST * DAY + 17 * HOUR + HOUR / 2)


enum { FULL = 0, EMPTY, ALONE, SERVERS };


typedef struct {
    life_t       life;
    uint64_t     name;               /* the number that its alias is of */
    int          home;               /* server */
    uint64_t     proofs[SERVERS];    /* of who was challenged, and passed */
    uint32_t     patients;           /* in the longest window */

    redisReply  *dump;
    long long    ttl;                /* ms */
    uint64_t     lived;              /* bytes, before it was dumped */
} account_t;


static server_t    servers[SERVERS];
static account_t  *accounts;

static int         nlived = 600, days = 28, workers = 8;
static uint64_t    seed = 1;
static uint64_t    views, asks, told[ROLES], refused[ROLES];


static void
progress(const char *what, int of, int all)
{
    static time_t  last;

    if (isatty(2) && (time(NULL) != last || of == all)) {
        last = time(NULL);
        fprintf(stderr, "\r%-20s %d of %d%s", what, of, all,
                of == all ? "\r\033[K" : "");
    }
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
ask(int server, account_t *account, view_t *view)
{
    ngx_patient_guard_named_t   named;
    ngx_patient_guard_lookup_t  lookup;

    ngx_memzero(&lookup, sizeof(ngx_patient_guard_lookup_t));

    named.current = view->patient;
    named.previous = 0;

    lookup.account = server_account(account->name);
    lookup.patients = &named;
    lookup.npatients = 1;
    lookup.records = 1;
    lookup.limits = policy.limits;
    lookup.nlimits = policy.nlimits;
    lookup.grants = &policy.grants;
    lookup.now = view->when;
    lookup.proof = account->proofs[server];

    server_ask(&servers[server], &lookup, view->chance % workers);
}


static void
answer(int server, account_t *account, ngx_patient_guard_tally_t *tally)
{
    ngx_patient_guard_lookup_t  lookup;

    ngx_memzero(&lookup, sizeof(ngx_patient_guard_lookup_t));

    lookup.limits = policy.limits;
    lookup.nlimits = policy.nlimits;

    server_answer(&servers[server], &lookup, tally);

    /* whoever is honest proves it before anything else */

    if (tally->challenged) {
        account->proofs[server] = tally->since + 1;
    }
}


/*
 * Before the last two days only views that leave something behind are asked
 * for: another one of the same visit does not, in a limit on patients and in
 * the same slice, nor in a window that will be over.
 */

static int
void_view(view_t *view)
{
    ngx_uint_t                  i;
    ngx_patient_guard_limit_t  *limit;

    if (view->before < EVENING - days * DAY
        || view->when >= EVENING - 2 * DAY)
    {
        return 0;
    }

    for (i = 0; i < policy.nlimits; i++) {
        limit = &policy.limits[i];

        if (limit->window + limit->window / NGX_PATIENT_GUARD_SLICES > 2 * DAY
            && (limit->signal == NGX_PATIENT_GUARD_LOOKUPS
                || view->before * NGX_PATIENT_GUARD_SLICES / limit->window
                   != view->when * NGX_PATIENT_GUARD_SLICES / limit->window))
        {
            return 0;
        }
    }

    return 1;
}


/* 0 when the life is over */

static int
ask_next(account_t *account, int whole)
{
    view_t  *view;

    while ((view = life_next(&account->life, EVENING))) {

        if (view->when < EVENING - days * DAY) {
            continue;
        }

        views += !whole;

        if (whole || !void_view(view)) {
            asks += !whole;
            ask(account->home, account, view);
            return 1;
        }
    }

    return 0;
}


/* some at home on one server and some on the other, so that both work */

static void
live(account_t *who, int n, int whole)
{
    int                         i, begun, nlanes;
    account_t                  *lanes[LANES], *account;
    ngx_patient_guard_limit_t  *longest;
    ngx_patient_guard_tally_t   tally;

    longest = policy_longest();

    for (begun = 0, nlanes = 0; begun < n || nlanes; /* void */ ) {

        while (begun < n && nlanes < LANES) {
            lanes[nlanes++] = &who[begun++];
            progress(whole ? "living again" : "living", begun, n);
        }

        for (i = 0; i < nlanes; /* void */ ) {
            if (ask_next(lanes[i], whole)) {
                i++;
            } else {
                lanes[i] = lanes[--nlanes];
            }
        }

        server_flush(&servers[EMPTY]);
        server_flush(&servers[ALONE]);

        for (i = 0; i < nlanes; i++) {
            account = lanes[i];
            answer(account->home, account, &tally);

            if (!whole) {
                told[account->life.role]++;
                refused[account->life.role] += !tally.charged;
            }

            if (longest) {
                account->patients = tally.rooms[longest - policy.limits].total;
            }
        }
    }
}


/* the mix, whatever part of it is taken */

static int
role_of(int number)
{
    int     role;
    double  part;

    part = fmod((number + .5) * .6180339887498949, 1);

    for (role = 0; role < ROLES - 1 && part >= roles[role].share; role++) {
        part -= roles[role].share;
    }

    return role;
}


static void
begin(account_t *who, int n, uint64_t name)
{
    int  i;

    for (i = 0; i < n; i++) {
        life_begin(&who[i].life, seed, i, role_of(i), days);
        who[i].name = name + i;
        who[i].home = i % 2 ? EMPTY : ALONE;
    }
}


/* what was counted under each limit */

static redisReply *
counted(account_t *account)
{
    ngx_uint_t   i;
    const char  *argv[2 + NGX_PATIENT_GUARD_LIMITS];

    argv[0] = "HMGET";
    argv[1] = server_key(account->name);

    for (i = 0; i < policy.nlimits; i++) {
        argv[2 + i] = (const char *) policy.limits[i].state.data;
    }

    redisAppendCommandArgv(servers[account->home].redis, 2 + i, argv, NULL);

    return server_reply(&servers[account->home]);
}


/* in bytes; -1: as many, but others */

static long
difference(redisReply *one, redisReply *two)
{
    long    apart;
    size_t  i, len, other, differ;

    apart = 0;
    differ = 0;

    for (i = 0; i < one->elements; i++) {
        len = one->element[i]->len;
        other = two->element[i]->len;

        apart += labs((long) len - (long) other);
        differ |= len != other || (len && memcmp(one->element[i]->str,
                                          two->element[i]->str, len) != 0);
    }

    return apart ? apart : -(long) differ;
}


/* some of them again, with nothing left out */

static void
prove(void)
{
    int          i, n, same;
    long         apart, most;
    account_t   *again;
    redisReply  *one, *two;

    n = ngx_min(nlived, ngx_max(nlived / 100, 10));
    again = calloc(n, sizeof(account_t));

    begin(again, n, (uint64_t) 1 << 32);
    live(again, n, 1);

    same = 0;
    most = 0;

    for (i = 0; i < n; i++) {
        one = counted(&accounts[i]);
        two = counted(&again[i]);
        apart = difference(one, two);

        same += (apart == 0);
        most = ngx_max(most, apart);

        freeReplyObject(one);
        freeReplyObject(two);
        life_end(&again[i].life);
    }

    printf("         %d of them again with every view: %d have the same "
           "bytes, the others\n         as many but for %ld at most\n",
           n, same, most);

    free(again);
}


#endif /* _LIVES_H_INCLUDED_ */
