/*
 * Lookups of many accounts, as many or as fast as it is told.
 *
 *     load [-a N] [-c N] [-t] [-s N] PORT
 *
 *     -a N     accounts, in turn
 *     -c N     connections, which stay open
 *     -t       by TLS; whoever answers is trusted
 *     -s N     another seed
 *
 * Says "ready" once all connections are open, and then does what each line of
 * its input says:
 *
 *     accounts NAME                  from now on others: NAME0, NAME1, ...
 *     lookups N KNOWN RATE STATUS    N of them, KNOWN per cent for a patient
 *                                    whom the account has looked up, the
 *                                    others for new ones; RATE a second at
 *                                    random times, or with 0 the next as soon
 *                                    as a connection is free
 *
 * The second is answered by a line: how many had that status, how many others
 * had, how many patients were new, how long it took (us), and of the single
 * answers (us) the median, the 99th percentile and the most.  An answer's time
 * runs from when it was due, so with RATE waiting for a connection counts.
 * Nothing is sent and nothing closed between lines: who counts what a server
 * spends in between counts the lookups alone.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>


#define PATIENCE  30.0          /* seconds without any answer */


typedef struct {
    int       fd;
    SSL      *ssl;
    double    due;
    size_t    len;
    char      in[16384];
} line_t;


static int        ep, nlines = 32, tls;
static uint64_t   accounts = 1000, turn;
static uint32_t  *known;        /* patients, of each account */
static char       name[64] = "a";
static line_t    *lines, **idle;
static int        nidle;

/* of the lookups on their way */

static uint64_t   lookups, sent, answered, wanted, fresh;
static int        share, status;
static double    *took, start, next, gap;

static uint64_t   seed = 1;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* above 0, below 1 */

static double
chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return ((seed >> 11) + 0.5) / (1ULL << 53);
}


static void
dial(line_t *l, int port, SSL_CTX *ctx)
{
    int                 one = 1;
    struct sockaddr_in  sin;
    struct epoll_event  ev;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    l->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (l->fd == -1
        || connect(l->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
           == -1)
    {
        err(2, "port %d", port);
    }

    if (ctx) {
        l->ssl = SSL_new(ctx);

        if (l->ssl == NULL || !SSL_set_fd(l->ssl, l->fd)
            || SSL_connect(l->ssl) != 1)
        {
            errx(2, "TLS: %s", ERR_error_string(ERR_get_error(), NULL));
        }
    }

    ev.events = EPOLLIN;
    ev.data.ptr = l;

    if (fcntl(l->fd, F_SETFL, O_NONBLOCK) == -1
        || epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &ev) == -1)
    {
        err(2, "epoll");
    }
}


/* a request fits into the socket, as nothing else is on its way */

static void
ask(line_t *l, double due)
{
    int       n;
    char      text[512];
    uint64_t  account, patient;

    account = turn++ % accounts;

    if (known[account] && chance() * 100 < share) {
        patient = chance() * known[account];

    } else {
        patient = known[account]++;
        fresh++;
    }

    n = snprintf(text, sizeof(text), "GET /fhir/Patient/%llu-%llu HTTP/1.1\r\n"
                 "Host: portal.example\r\nX-Account: %s%llu\r\n\r\n",
                 (unsigned long long) account, (unsigned long long) patient,
                 name, (unsigned long long) account);

    l->len = 0;
    l->due = due;
    sent++;

    if (l->ssl ? SSL_write(l->ssl, text, n) != n
               : send(l->fd, text, n, MSG_NOSIGNAL) != n)
    {
        err(2, "cannot send");
    }
}


/* who is due is sent, as long as there are connections */

static void
ask_all(double t)
{
    while (sent < lookups && nidle && (gap == 0 || next <= t)) {
        ask(idle[--nidle], gap ? next : t);

        if (gap) {
            next -= gap * log(chance());
        }
    }
}


/* 1 if the whole answer is there */

static int
complete(line_t *l)
{
    char    *body, *p, *field = NULL;

    l->in[l->len] = '\0';
    body = strstr(l->in, "\r\n\r\n");

    if (body == NULL) {
        return 0;
    }

    body += 4;

    for (p = strstr(l->in, "\r\n"); p < body - 4; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, "Content-Length:", 15) == 0) {
            field = p + 17;
            break;
        }
    }

    if (field == NULL) {
        errx(2, "an answer without Content-Length: %s", l->in);
    }

    return l->len >= (size_t) (body - l->in) + strtoul(field, NULL, 10);
}


/* TLS wants to be read until it has no more, or epoll would not tell */

static void
receive(line_t *l, double *t)
{
    ssize_t  n;

    for ( ;; ) {
        if (l->len + 1 >= sizeof(l->in)) {
            errx(2, "an answer of more than %zu bytes", sizeof(l->in));
        }

        if (l->ssl) {
            n = SSL_read(l->ssl, l->in + l->len, sizeof(l->in) - l->len - 1);

            if (n <= 0 && SSL_get_error(l->ssl, n) == SSL_ERROR_WANT_READ) {
                return;
            }

        } else {
            n = read(l->fd, l->in + l->len, sizeof(l->in) - l->len - 1);

            if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
                return;
            }
        }

        if (n <= 0) {
            errx(2, "a connection was closed after %llu answers",
                 (unsigned long long) answered);
        }

        l->len += n;

        if (complete(l)) {
            break;
        }
    }

    *t = now();
    took[answered++] = *t - l->due;
    wanted += atoi(l->in + 9) == status;
    idle[nidle++] = l;
}


static int
by_size(const void *one, const void *two)
{
    double  a = *(const double *) one, b = *(const double *) two;

    return a < b ? -1 : a > b;
}


static void
run(void)
{
    int                 i, n;
    double              t, wait;
    struct timespec     ts;
    struct epoll_event  events[256];

    took = calloc(lookups, sizeof(double));

    if (took == NULL) {
        err(2, "calloc");
    }

    sent = answered = wanted = fresh = 0;
    t = start = next = now();

    while (answered < lookups) {
        ask_all(t);

        wait = gap && sent < lookups && nidle ? next - now() : PATIENCE;
        wait = wait < 0 ? 0 : wait;
        ts.tv_sec = wait;
        ts.tv_nsec = (wait - ts.tv_sec) * 1e9;

        n = epoll_pwait2(ep, events, 256, &ts, NULL);

        if (n == 0 && wait >= PATIENCE) {
            errx(2, "no answer in %g s, after %llu of them", PATIENCE,
                 (unsigned long long) answered);
        }

        t = now();

        for (i = 0; i < n; i++) {
            receive(events[i].data.ptr, &t);
        }
    }

    t = now() - start;
    qsort(took, lookups, sizeof(double), by_size);

    printf("%llu %llu %llu %.0f %.1f %.1f %.1f\n", (unsigned long long) wanted,
           (unsigned long long) (answered - wanted),
           (unsigned long long) fresh, t * 1e6, took[lookups / 2] * 1e6,
           took[(lookups * 99) / 100] * 1e6, took[lookups - 1] * 1e6);

    free(took);
}


static void
begin(int port)
{
    int       i;
    SSL_CTX  *ctx = NULL;

    if (tls) {
        ctx = SSL_CTX_new(TLS_client_method());

        if (ctx == NULL) {
            errx(2, "TLS: %s", ERR_error_string(ERR_get_error(), NULL));
        }
    }

    ep = epoll_create1(0);
    known = calloc(accounts, sizeof(*known));
    lines = calloc(nlines, sizeof(line_t));
    idle = calloc(nlines, sizeof(line_t *));

    if (ep == -1 || known == NULL || lines == NULL || idle == NULL) {
        err(2, "cannot begin");
    }

    for (i = 0; i < nlines; i++) {
        dial(&lines[i], port, ctx);
        idle[nidle++] = &lines[i];
    }
}


int
main(int argc, char **argv)
{
    int      option;
    char     told[256];
    double   rate;

    while ((option = getopt(argc, argv, "a:c:ts:")) != -1) {
        switch (option) {
        case 'a':
            accounts = strtoull(optarg, NULL, 10);
            break;

        case 'c':
            nlines = atoi(optarg);
            break;

        case 't':
            tls = 1;
            break;

        case 's':
            seed = strtoull(optarg, NULL, 10) * 88172645463325252ULL;
            break;

        default:
            return 2;
        }
    }

    if (optind != argc - 1 || accounts < 1 || nlines < 1 || seed == 0) {
        errx(2, "which port?");
    }

    signal(SIGPIPE, SIG_IGN);
    (void) prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);

    begin(atoi(argv[optind]));
    puts("ready");

    while (fgets(told, sizeof(told), stdin)) {

        if (sscanf(told, "accounts %63s", name) == 1) {
            memset(known, 0, accounts * sizeof(*known));
            turn = 0;
            continue;
        }

        if (sscanf(told, "lookups %llu %d %lf %d",
                   (unsigned long long *) &lookups, &share, &rate, &status)
            != 4 || lookups < 1)
        {
            errx(2, "not understood: %s", told);
        }

        gap = rate ? 1 / rate : 0;
        run();
    }

    return 0;
}
