/*
 * Keeps connections busy, and tells of each answer.
 *
 *     load [options] PORT ...
 *
 *     -c N     connections, over the ports in turn
 *     -s N     seconds; until SIGTERM without
 *     -n N     requests, then it is over
 *     -a N     accounts, one of them at random, or
 *     -l N     so many requests for an account, then for the next
 *     -x N     every Nth request is for the account "hot"
 *     -p N     patients that a request names, all of them new
 *     -w N     milliseconds between an answer and the next request, about
 *     -k       a worker may be killed: who was with it has no answer
 *     -o FILE  a line an answer: time, status, worker, account, its alias,
 *              the alias of the first patient
 *
 * A connection may be closed by nginx while it is idle, as at a reload: who
 * asks at that very moment has sent its request in vain, and sends it again
 * by another one, once, as browsers do ("again").  Any other request without
 * an answer has failed.
 */

#include "client.h"


#define PATIENCE  20.0          /* seconds for an answer */


typedef struct {
    int       fd;               /* -1: closed */
    int       port;
    int       waiting;
    int       again;            /* sent for the second time */
    uint64_t  answers;          /* on this connection */
    double    due;              /* of the next request */
    double    sent;
    size_t    len;
    char      account[24];
    uint64_t  patient;          /* the first one */
    char      in[8192];
} line_t;


static int        ep, nlines = 64, patients = 1, kills, accounts = 100;
static uint64_t   most, per_account, every;
static double     pause_s;
static FILE      *out;

static uint64_t   asked, answered, lost, failed, hung, again, hot;
static uint64_t   statuses[600];
static double     start, slowest;

static volatile sig_atomic_t  stop;


static void
stopped(int signo)
{
    stop = signo;
}


static void
hang_up(line_t *l)
{
    close(l->fd);
    l->fd = -1;
}


static void
rest(line_t *l, double t)
{
    l->waiting = 0;
    l->due = t;

    if (pause_s > 0) {
        l->due += pause_s * (0.5 + chance(1000) / 1000.0);
    }
}


static void
tell(const char *what, line_t *l)
{
    fprintf(stderr, "load: %s: %s of account %s after %.3f s, %llu answers, "
            "had read %zu bytes\n", what, l->again ? "again a request"
            : "a request", l->account, now() - start,
            (unsigned long long) l->answers, l->len);
}


static void
request(line_t *l, double t)
{
    int                 i, n;
    char                text[16384];
    struct epoll_event  ev;

    if (l->fd == -1) {
        l->fd = dial(l->port);

        if (l->fd == -1) {
            failed++;
            tell("connect() failed", l);
            l->waiting = 0;
            l->due = t + 0.05;
            return;
        }

        ev.events = EPOLLIN;
        ev.data.ptr = l;

        if (epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &ev) == -1) {
            err(2, "epoll_ctl");
        }

        l->answers = 0;
    }

    n = snprintf(text, sizeof(text), "GET /?patient=");

    for (i = 0; i < patients; i++) {
        n += snprintf(text + n, sizeof(text) - n, "%s%llu", i ? "," : "",
                      (unsigned long long) l->patient + i);
    }

    n += snprintf(text + n, sizeof(text) - n, " HTTP/1.1\r\nHost: localhost"
                  "\r\nX-Account: %s\r\n\r\n", l->account);

    l->waiting = 1;
    l->len = 0;
    l->in[0] = '\0';
    l->sent = t;

    /* nothing else is on its way, so it fits; errors show when reading */
    (void) send(l->fd, text, n, MSG_NOSIGNAL);
}


static void
ask(line_t *l, double t)
{
    if (every && asked % every == 0) {
        strcpy(l->account, "hot");

    } else {
        snprintf(l->account, sizeof(l->account), "a%llu", (unsigned long long)
                 (per_account ? asked / per_account : chance(accounts)));
    }

    l->patient = 1 + asked * patients;
    l->again = 0;
    asked++;

    request(l, t);
}


static void
answer(line_t *l, int status, double t)
{
    char  worker[16], alias[40], patient[24], last[16];

    answered++;
    statuses[status < 600 ? status : 0]++;
    hot += (status == 200 && strcmp(l->account, "hot") == 0);
    l->answers++;

    if (t - l->sent > slowest) {
        slowest = t - l->sent;
    }

    if (out) {
        fprintf(out, "%.3f %d %s %s %s %s\n", t, status,
                field(l->in, "X-Worker", worker, sizeof(worker)), l->account,
                field(l->in, "X-Account", alias, sizeof(alias)),
                field(l->in, "X-Patient", patient, sizeof(patient)));
    }

    if (strcmp(field(l->in, "Connection", last, sizeof(last)), "close") == 0) {
        hang_up(l);
    }

    rest(l, t);
}


/* closed by nginx */

static void
ended(line_t *l, double t)
{
    hang_up(l);

    if (!l->waiting) {
        return;
    }

    if (kills) {
        lost++;
        rest(l, t);

    } else if (l->len == 0 && l->answers && !l->again) {
        again++;
        l->again = 1;
        request(l, t);

    } else {
        failed++;
        tell("no answer", l);
        rest(l, t);
    }
}


static void
readable(line_t *l)
{
    int      status;
    double   t;
    ssize_t  n;

    t = now();
    n = recv(l->fd, l->in + l->len, sizeof(l->in) - 1 - l->len, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0 || !l->waiting) {
        ended(l, t);
        return;
    }

    l->len += n;
    l->in[l->len] = '\0';

    status = complete(l->in, l->len);

    if (status) {
        answer(l, status, t);
    }
}


static void
options(int argc, char **argv, double *seconds)
{
    int  c;

    while ((c = getopt(argc, argv, "c:s:n:a:l:x:p:w:ko:")) != -1) {

        switch (c) {
        case 'c': nlines = atoi(optarg); break;
        case 's': *seconds = atof(optarg); break;
        case 'n': most = strtoull(optarg, NULL, 10); break;
        case 'a': accounts = atoi(optarg); break;
        case 'l': per_account = strtoull(optarg, NULL, 10); break;
        case 'x': every = strtoull(optarg, NULL, 10); break;
        case 'p': patients = atoi(optarg); break;
        case 'w': pause_s = atof(optarg) / 1000; break;
        case 'k': kills = 1; break;
        case 'o':
            out = fopen(optarg, "w");
            if (out == NULL) {
                err(2, "%s", optarg);
            }
            break;
        default:
            errx(2, "load [options] PORT ...");
        }
    }
}


static void
report(void)
{
    int  i;

    printf("asked=%llu answered=%llu lost=%llu failed=%llu hung=%llu "
           "again=%llu hot=%llu slowest=%.3f seconds=%.1f",
           (unsigned long long) asked, (unsigned long long) answered,
           (unsigned long long) lost, (unsigned long long) failed,
           (unsigned long long) hung, (unsigned long long) again,
           (unsigned long long) hot, slowest, now() - start);

    for (i = 0; i < 600; i++) {
        if (statuses[i]) {
            printf(" s%d=%llu", i, (unsigned long long) statuses[i]);
        }
    }

    printf("\n");
}


int
main(int argc, char **argv)
{
    int                 i, n, wait, waiting;
    line_t             *lines, *l;
    double              t, end, seconds;
    struct sigaction    sa;
    struct epoll_event  events[256];

    seconds = 1e9;
    options(argc, argv, &seconds);

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = stopped;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);

    ep = epoll_create1(0);
    lines = calloc(nlines, sizeof(line_t));
    if (ep == -1 || lines == NULL || optind == argc) {
        errx(2, "no port, no memory");
    }

    start = now();
    end = start + seconds;

    for (i = 0; i < nlines; i++) {
        lines[i].fd = -1;
        lines[i].port = atoi(argv[optind + i % (argc - optind)]);
        rest(&lines[i], start);
    }

    do {
        t = now();
        wait = 50;
        waiting = 0;

        if (!stop && (t > end || (most && asked >= most))) {
            stop = 1;
        }

        for (l = lines; l < lines + nlines; l++) {

            if (l->waiting && t - l->sent > PATIENCE) {
                hung++;
                tell("hangs", l);
                hang_up(l);
                rest(l, t);
            }

            if (!l->waiting && !stop && (most == 0 || asked < most)) {
                if (l->due <= t) {
                    ask(l, t);

                } else if ((l->due - t) * 1000 < wait) {
                    wait = 1 + (l->due - t) * 1000;
                }
            }

            waiting += l->waiting;
        }

        n = epoll_wait(ep, events, 256, wait);

        for (i = 0; i < n; i++) {
            readable(events[i].data.ptr);
        }

    } while (!stop || waiting);

    if (out && fclose(out) != 0) {
        err(2, "fclose");
    }

    report();

    return 0;
}
