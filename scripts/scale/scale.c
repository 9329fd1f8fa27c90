
/*
 * Fills a Redis with accounts that have weeks of lookups behind them:
 *
 *     scale [options] FULL EMPTY ALONE
 *
 *     -n N  accounts          -l N  of them lived through, the rest cloned
 *     -d N  days              -r N  rounds of 10 minutes of lookups, timed
 *     -s N  seed              -w N  workers of the fleet
 *     -p LIMITS
 *
 * The arguments are the sockets of three servers, all of them empty: for all
 * accounts; for accounts that are new; and for those that are timed, with
 * their weeks, and nobody else.
 */

#include "lives.h"


#define BATCH     64         /* lookups in one pipeline */
#define RESTORES  256
#define ROUNDS    99
#define ROUND     600000ULL  /* ms of the accounts' time */

#define KIB       1024.0
#define MIB       (1024 * KIB)
#define GIB       (1024 * MIB)


typedef struct {
    account_t  *account;
    view_t      view;
} asked_t;


static int     naccounts = 100000, nrounds = 9;
static double  took[SERVERS][ROLES + 1][ROUNDS];     /* us; of all at last */
static double  clocked[SERVERS][ROUNDS];
static int     missed;


/* what is measured, and the memory that is bounded by "most" */

static void
mark(const char *what, double seen, double most, const char *unit)
{
    int  kept = seen <= most;

    printf("%-44s %8.2f %-4s at most %6.2f  %s\n", what, seen, unit, most,
           kept ? "kept" : "MISSED");
    missed += !kept;
}


static int
order(const void *one, const void *two)
{
    const double  *a = one, *b = two;

    return (*a > *b) - (*a < *b);
}


static double
quantile(const double *of, int n, double part)
{
    double   value, *sorted;

    sorted = malloc(ngx_max(n, 1) * sizeof(double));
    memcpy(sorted, of, n * sizeof(double));
    qsort(sorted, n, sizeof(double), order);
    value = n ? sorted[(int) (part * (n - 1) + .5)] : 0;
    free(sorted);

    return value;
}


static double
mean(const double *of, int n)
{
    int     i;
    double  sum;

    for (sum = 0, i = 0; i < n; i++) {
        sum += of[i];
    }

    return n ? sum / n : 0;
}


static uint64_t
memory_usage(server_t *server)
{
    uint64_t     bytes;
    redisReply  *reply;

    reply = server_reply(server);
    bytes = reply->integer;
    freeReplyObject(reply);

    return bytes;
}


static void
dump(void)
{
    int          i;
    server_t    *server;
    account_t   *account;
    const char  *key;

    for (i = 0; i < nlived; i++) {
        account = &accounts[i];
        server = &servers[account->home];
        key = server_key(account->name);

        redisAppendCommand(server->redis, "MEMORY USAGE %s SAMPLES 0", key);
        redisAppendCommand(server->redis, "PTTL %s", key);
        redisAppendCommand(server->redis, "DUMP %s", key);

        account->lived = memory_usage(server);
        account->ttl = memory_usage(server);
        account->dump = server_reply(server);
    }
}


/*
 * Whose clone an account is, and under which number: those lived through keep
 * theirs, and lie anywhere among their clones.
 */

static int
number_of(int place, account_t **account)
{
    int  block, i;

    block = place / nlived;
    i = place % nlived;
    *account = &accounts[i];

    return block == i % (naccounts / nlived) ? i : nlived + place;
}


static void
restore(int to, int n)
{
    int         place, waiting, number;
    server_t   *server = &servers[to];
    account_t  *account;

    waiting = 0;

    for (place = 0; place < n; place++) {

        if (to == FULL) {
            number = number_of(place, &account);
        } else {
            number = place;
            account = &accounts[place];
        }

        /* an account that never looked anything up has no key */

        if (account->dump->type == REDIS_REPLY_STRING) {
            redisAppendCommand(server->redis, "RESTORE %s %lld %b",
                               server_key(number), account->ttl,
                               account->dump->str, account->dump->len);
            waiting++;
        }

        if (waiting == RESTORES || place == n - 1) {
            for ( /* void */ ; waiting; waiting--) {
                freeReplyObject(server_reply(server));
            }
            progress("cloning", place + 1, n);
        }
    }
}


static void
weigh(double *sizes)
{
    int         place, from;
    server_t   *server = &servers[FULL];
    account_t  *account;

    for (place = 0, from = 0; place < naccounts; place++) {
        redisAppendCommand(server->redis, "MEMORY USAGE %s SAMPLES 0",
                           server_key(number_of(place, &account)));

        if (place - from == RESTORES || place == naccounts - 1) {
            for ( /* void */ ; from <= place; from++) {
                sizes[from] = memory_usage(server);
            }
        }
    }
}


static void
report_accounts(double *sizes)
{
    int         role, place, i, n;
    double     *own, patients, worst;
    account_t  *account;

    own = malloc(naccounts * sizeof(double));
    worst = 0;

    for (place = 0; place < naccounts; place++) {
        number_of(place, &account);
        worst = ngx_max(worst, fabs(sizes[place] - account->lived));
    }

    printf("         whose memory differs from their originals' by %.0f bytes "
           "at most\n\n", worst);
    printf("%-14s %8s %9s %9s %9s %9s %9s\n", "role", "accounts", "patients",
           "refused", "KiB mean", "p99", "max");

    for (role = 0; role <= ROLES; role++) {
        patients = 0;
        n = 0;

        for (place = 0; place < naccounts; place++) {
            number_of(place, &account);

            if (role == ROLES || account->life.role == role) {
                own[n++] = sizes[place] / KIB;
                patients += account->patients;
            }
        }

        if (role < ROLES) {
            printf("%-14s %8d %9.0f %8.2f%%", roles[role].name, n,
                   patients / ngx_max(n, 1),
                   100.0 * refused[role] / ngx_max(told[role], 1));
        } else {
            uint64_t  all = 0, no = 0;

            for (i = 0; i < ROLES; i++) {
                all += told[i];
                no += refused[i];
            }
            printf("%-14s %8d %9.0f %8.2f%%", "all", n, patients / n,
                   100.0 * no / ngx_max(all, 1));
        }

        printf(" %9.2f %9.2f %9.2f\n", mean(own, n), quantile(own, n, .99),
               quantile(own, n, 1));
    }

    free(own);
}


static int
asked_order(const void *one, const void *two)
{
    const asked_t  *a = one, *b = two;

    return life_order(&a->view, &b->view);
}


/* what the accounts of a role look up in a round */

static int
gather(int role, int round, asked_t **list)
{
    int              i, n;
    view_t          *view;

    static asked_t  *asked;
    static int       most;

    n = 0;

    for (i = 0; i < nlived; i++) {

        if (accounts[i].life.role != role) {
            continue;
        }

        while ((view = life_next(&accounts[i].life,
                                 EVENING + (round + 1) * ROUND)))
        {
            if (n == most) {
                most = most ? 2 * most : 1024;
                asked = realloc(asked, most * sizeof(asked_t));
                if (asked == NULL) {
                    err(2, "realloc");
                }
            }

            asked[n].account = &accounts[i];
            asked[n++].view = *view;
        }
    }

    if (n) {
        qsort(asked, n, sizeof(asked_t), asked_order);
    }

    *list = asked;

    return n;
}


static void
batch(int server, asked_t *asked, int n)
{
    int                        i;
    ngx_patient_guard_tally_t  tally;

    for (i = 0; i < n; i++) {
        ask(server, asked[i].account, &asked[i].view);
    }

    for (i = 0; i < n; i++) {
        answer(server, asked[i].account, &tally);
    }
}


/* the servers take turns at each batch: what else disturbs, disturbs all */

static void
play_round(int round)
{
    int            role, turn, server, i, n;
    double         calls[SERVERS] = { 0 }, usec[SERVERS] = { 0 };
    double         cpu[SERVERS] = { 0 };
    asked_t       *asked;
    server_time_t  t;

    server_tell(&servers[EMPTY], "FLUSHALL");

    for (i = 0; i < nlived; i++) {
        accounts[i].proofs[EMPTY] = 0;
    }

    for (role = 0; role < ROLES; role++) {
        n = gather(role, round, &asked);

        for (server = 0; server < SERVERS; server++) {
            (void) server_time(&servers[server]);
        }

        for (i = 0; i < n; i += BATCH) {
            for (turn = 0; turn < SERVERS; turn++) {
                batch((turn + i / BATCH) % SERVERS, &asked[i],
                      ngx_min(BATCH, n - i));
            }
        }

        for (server = 0; server < SERVERS; server++) {
            t = server_time(&servers[server]);

            calls[server] += t.calls;
            usec[server] += t.usec;
            cpu[server] += t.cpu;
            took[server][role][round] = t.calls ? t.cpu / t.calls : 0;
        }
    }

    for (server = 0; server < SERVERS; server++) {
        took[server][ROLES][round] = cpu[server] / ngx_max(calls[server], 1);
        clocked[server][round] = usec[server] / ngx_max(calls[server], 1);
    }

    progress("timing", round + 1, nrounds);
}


/* the median of the rounds' ratios */

static double
ratio(int of, int to, int role)
{
    int     i;
    double  ratios[ROUNDS];

    for (i = 0; i < nrounds; i++) {
        ratios[i] = took[of][role][i] / ngx_max(took[to][role][i], .01);
    }

    return quantile(ratios, nrounds, .5);
}


static void
report_times(void)
{
    int  role, i;

    printf("\ntime     of Redis' thread for a lookup, us, with reading the "
           "call and\n         writing the reply\n\n"
           "%-14s %8s %8s %8s   %s\n", "", "full", "alone", "empty",
           "full/empty  alone/empty  full/alone");

    for (i = 0; i < nrounds; i++) {
        printf("round %-8d %8.2f %8.2f %8.2f %12.2f %12.2f %11.2f\n", i + 1,
               took[FULL][ROLES][i], took[ALONE][ROLES][i],
               took[EMPTY][ROLES][i],
               took[FULL][ROLES][i] / took[EMPTY][ROLES][i],
               took[ALONE][ROLES][i] / took[EMPTY][ROLES][i],
               took[FULL][ROLES][i] / took[ALONE][ROLES][i]);
    }

    for (role = 0; role <= ROLES; role++) {
        printf("%-14s %8.2f %8.2f %8.2f %12.2f %12.2f %11.2f\n",
               role < ROLES ? roles[role].name : "median, all",
               quantile(took[FULL][role], nrounds, .5),
               quantile(took[ALONE][role], nrounds, .5),
               quantile(took[EMPTY][role], nrounds, .5),
               ratio(FULL, EMPTY, role), ratio(ALONE, EMPTY, role),
               ratio(FULL, ALONE, role));
    }

    printf("%-14s %8.2f %8.2f %8.2f   %s\n", "commandstats",
           quantile(clocked[FULL], nrounds, .5),
           quantile(clocked[ALONE], nrounds, .5),
           quantile(clocked[EMPTY], nrounds, .5),
           "by the clock, with what else this machine does");
}


static void
report_memory(const char *when)
{
    server_t  *server = &servers[FULL];

    printf("%-14s used_memory %9.2f MiB, dataset %9.2f MiB, rss %9.2f MiB, "
           "Lua %.2f MiB\n", when,
           server_info(server, "memory", "used_memory") / MIB,
           server_info(server, "memory", "used_memory_dataset") / MIB,
           server_info(server, "memory", "used_memory_rss") / MIB,
           server_info(server, "memory", "used_memory_lua") / MIB);
}


static void
options(int argc, char **argv)
{
    int  i, c;

    while ((c = getopt(argc, argv, "n:l:d:r:s:w:p:")) != -1) {
        switch (c) {
        case 'n': naccounts = atoi(optarg); break;
        case 'l': nlived = atoi(optarg); break;
        case 'd': days = atoi(optarg); break;
        case 'r': nrounds = atoi(optarg); break;
        case 's': seed = strtoull(optarg, NULL, 10); break;
        case 'w': workers = atoi(optarg); break;
        case 'p': policy_parse(optarg); break;
        default: exit(2);
        }
    }

    nlived = ngx_min(nlived, naccounts);

    if (argc - optind != SERVERS || nlived < 1 || days < 1 || nrounds < 1
        || nrounds > ROUNDS || workers < 1 || workers > 64
        || policy.nlimits == 0)
    {
        errx(2, "see the head of scale.c");
    }

    for (i = 0; i < SERVERS; i++) {
        server_open(&servers[i], i == FULL ? "full" : i == EMPTY ? "empty"
                                 : "lone", argv[optind + i]);
    }
}


static void
fill(void)
{
    int       i;
    double    start;
    uint64_t  last, proof;

    start = now();
    accounts = calloc(nlived, sizeof(account_t));

    begin(accounts, nlived, 0);
    live(accounts, nlived, 0);

    printf("lived    %d accounts through %d days: %lu lookups, of which %lu "
           "asked, in %.0f s;\n         views that leave nothing behind were "
           "left out before the last two days\n", nlived, days, views, asks,
           now() - start);

    prove();
    dump();

    /* those timed are restored as well, lest a history of malloc is timed */

    server_tell(&servers[EMPTY], "FLUSHALL");
    server_tell(&servers[ALONE], "FLUSHALL");

    start = now();
    restore(ALONE, nlived);
    restore(FULL, naccounts);

    printf("cloned   to %d accounts by DUMP and RESTORE in %.0f s\n",
           naccounts, now() - start);

    last = ngx_max(servers[EMPTY].nonce, servers[ALONE].nonce);

    for (i = 0; i < SERVERS; i++) {
        servers[i].nonce = last;
        servers[i].answered = last;
    }

    for (i = 0; i < nlived; i++) {
        proof = accounts[i].proofs[accounts[i].home];
        accounts[i].proofs[FULL] = proof;
        accounts[i].proofs[ALONE] = proof;
        freeReplyObject(accounts[i].dump);
    }
}


int
main(int argc, char **argv)
{
    int      round;
    double   used, *sizes;

    options(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    report_memory("empty");
    fill();

    sizes = malloc(naccounts * sizeof(double));
    weigh(sizes);
    report_accounts(sizes);

    printf("\n");
    report_memory("filled");
    used = server_info(&servers[FULL], "memory", "used_memory");

    for (round = 0; round < nrounds; round++) {
        play_round(round);
    }

    report_times();

    printf("\n");
    mark("memory of Redis", used / GIB, 2, "GiB");
    printf("%-44s %s\n", "its mark, 1 GiB",
           used <= GIB ? "reached" : "not reached");
    mark("the largest account", quantile(sizes, naccounts, 1) / KIB, 64,
         "KiB");
    mark("time of a lookup, full to empty", ratio(FULL, EMPTY, ROLES), 1.2,
         "");

    return missed ? 1 : 0;
}
