/*
 * One run of the play: stolen accounts read their lists of patients as fast as
 * they are answered while honest ones work at a human pace.  One process, one
 * epoll, HTTP/1.1 keepalive.  Progress goes to stderr, what was seen to
 * stdout, for report.awk.
 *
 *     play NAME PORT SECONDS SESSIONS PATIENTS
 *
 * It lasts until the lists are read through, or SECONDS.  SESSIONS has a line
 * "token role account stolen|honest" an account, PATIENTS a social-security
 * number a line.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>


#define LIST      26842     /* patients of each stolen account */
#define STRIDE    371293    /* 13^5, prime to 510,000: no two lists meet */
#define AT_ONCE   4         /* requests that a robot keeps in flight */
#define PATIENCE  6.0       /* seconds for the last answers; the guard holds
                               a lookup for 5 at the longest */
#define PACE      10        /* seconds between two of an account, in the mean:
                               six tills on one login have a patient in 40 */
#define ACCOUNTS  512
#define NIR       15


typedef enum { RECORD, DELAYED, CHALLENGED, REFUSED, FAILED, KINDS } kind_e;

static const char  *kinds[] = {
    "ok", "delayed", "challenged", "refused", "failed"
};


typedef struct {
    char      token[48];
    char      role[16];
    char      name[32];
    int       stolen;         /* its number from 1, or 0 */

    /* a robot */
    uint32_t  asked;          /* of its list */
    uint32_t  left;           /* distinct patients whose record it got */
    double    stopped;        /* first refusal after the last record, or 0 */

    /* a human */
    uint32_t  seen[256];      /* today's patients */
    uint32_t  nseen;
    uint32_t  views;          /* still to come of the patient at hand */
} account_t;


typedef struct {
    account_t  *account;
    int         fd;           /* -1: closed */
    int         waiting;
    uint32_t    patient;
    double      sent;
    double      due;          /* a human's next request */
    size_t      len;
    char        in[8192];
} line_t;


static account_t    accounts[ACCOUNTS], *accounts_end;
static line_t      *lines, *lines_end;
static const char  *patients;    /* NIR characters and a line feed each */
static uint32_t     npatients;
static uint8_t     *gone;        /* by patient: a robot has the record */

static int          ep, port, stolen;
static uint64_t     robots[KINDS], humans[KINDS];
static uint64_t     out;         /* records that left, in all */
static double       slowest;     /* answer to a human */
static const char  *name;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* the same every time, so that two runs compare */

static uint32_t
chance(uint32_t n)
{
    static uint64_t  x = 88172645463325252ULL;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;

    return (x >> 20) % n;
}


static uint64_t
sum(const uint64_t *n)
{
    return n[RECORD] + n[DELAYED] + n[CHALLENGED] + n[REFUSED] + n[FAILED];
}


static void
read_sessions(const char *path)
{
    int         i;
    char        fate[16];
    FILE       *f;
    account_t  *a;

    f = fopen(path, "r");
    if (f == NULL) {
        err(2, "%s", path);
    }

    for (a = accounts; a < accounts + ACCOUNTS; a++) {
        if (fscanf(f, "%47s %15s %31s %15s", a->token, a->role, a->name, fate)
            != 4)
        {
            break;
        }

        a->stolen = strcmp(fate, "stolen") == 0 ? ++stolen : 0;
    }

    accounts_end = a;
    fclose(f);

    lines = calloc(a - accounts + stolen * AT_ONCE, sizeof(line_t));
    if (lines == NULL) {
        err(2, "lines");
    }

    lines_end = lines;

    for (a = accounts; a < accounts_end; a++) {
        for (i = 0; i < (a->stolen ? AT_ONCE : 1); i++) {
            lines_end->account = a;
            lines_end->fd = -1;
            lines_end++;
        }
    }
}


static void
read_patients(const char *path)
{
    int          fd;
    struct stat  st;

    fd = open(path, O_RDONLY);
    if (fd == -1 || fstat(fd, &st) == -1) {
        err(2, "%s", path);
    }

    npatients = st.st_size / (NIR + 1);

    if (npatients < (uint32_t) stolen * LIST) {
        errx(2, "%s: only %u patients", path, npatients);
    }

    patients = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    gone = calloc(npatients, 1);

    if (patients == MAP_FAILED || gone == NULL) {
        err(2, "%s", path);
    }

    close(fd);
}


static void
dial(line_t *l)
{
    int                 one;
    struct epoll_event  ev;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    ev.events = EPOLLIN;
    ev.data.ptr = l;

    one = 1;
    l->fd = socket(AF_INET, SOCK_STREAM, 0);

    /* on loopback connect() does not wait */
    if (l->fd == -1
        || connect(l->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || fcntl(l->fd, F_SETFL, O_NONBLOCK) == -1
        || epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &ev) == -1)
    {
        err(2, "the portal on port %d", port);
    }
}


static void
hang_up(line_t *l)
{
    close(l->fd);
    l->fd = -1;
    l->len = 0;
}


static void
ask(line_t *l, uint32_t patient)
{
    int   n;
    char  request[512];

    if (l->fd == -1) {
        dial(l);
    }

    n = snprintf(request, sizeof(request),
                 "GET /%s/fhir/Patient/%.*s HTTP/1.1\r\n"
                 "Host: 127.0.0.1:%d\r\n"
                 "Accept: application/fhir+json\r\n"
                 "Cookie: portal_session=%s\r\n\r\n",
                 l->account->role, NIR, &patients[patient * (NIR + 1)], port,
                 l->account->token);

    l->patient = patient;
    l->sent = now();
    l->waiting = 1;

    /* nothing else is on its way, so it fits; errors show when reading */
    (void) send(l->fd, request, n, MSG_NOSIGNAL);
}


static void
robot_asks(line_t *l)
{
    uint64_t    i;
    account_t  *a;

    a = l->account;

    if (a->asked < LIST) {
        i = (uint64_t) (a->stolen - 1) * LIST + a->asked++;
        ask(l, i * STRIDE % npatients);
    }
}


/* one to six views of a patient; two in five were here before today */

static void
human_asks(line_t *l)
{
    uint32_t    patient;
    account_t  *a;

    a = l->account;

    if (a->views) {
        a->views--;
        ask(l, l->patient);
        return;
    }

    if (a->nseen == 256 || (a->nseen && chance(5) < 2)) {
        patient = a->seen[chance(a->nseen)];

    } else {
        patient = chance(npatients);
        a->seen[a->nseen++] = patient;
    }

    a->views = chance(6);
    ask(l, patient);
}


static void
robot_heard(line_t *l, kind_e kind)
{
    account_t  *a;

    a = l->account;
    robots[kind]++;

    if (kind == CHALLENGED || kind == REFUSED) {
        if (a->stopped == 0) {
            a->stopped = now();
        }

    } else if (kind != FAILED) {
        a->stopped = 0;

        if (!gone[l->patient]) {
            gone[l->patient] = 1;
            a->left++;
            out++;
        }
    }
}


static void
heard(line_t *l, kind_e kind)
{
    double  t;

    l->waiting = 0;

    if (l->account->stolen) {
        robot_heard(l, kind);
        return;
    }

    t = now();
    humans[kind]++;
    l->due = t + PACE * (0.5 + chance(1000) / 1000.0);

    if (t - l->sent > slowest) {
        slowest = t - l->sent;
    }
}


static kind_e
judge(line_t *l, const char *body)
{
    switch (atoi(l->in + sizeof("HTTP/1.1 ") - 1)) {

    case 200:
        if (memmem(body, l->in + l->len - body,
                   &patients[l->patient * (NIR + 1)], NIR) == NULL)
        {
            return FAILED;
        }

        return strstr(l->in, "X-Guard-Verdict: throttle") ? DELAYED : RECORD;

    case 302:
    case 401:
        return CHALLENGED;

    case 403:
    case 429:
        return REFUSED;

    default:
        return FAILED;
    }
}


/* a line has one request in flight, so what arrives is one answer */

static void
listen_to(line_t *l)
{
    char     *body, *length, *last;
    ssize_t   n;

    n = recv(l->fd, l->in + l->len, sizeof(l->in) - 1 - l->len, 0);

    if (n <= 0) {
        if (n == -1 && errno == EAGAIN) {
            return;
        }

        goto broken;
    }

    l->len += n;
    l->in[l->len] = '\0';

    body = strstr(l->in, "\r\n\r\n");
    if (body == NULL) {
        return;
    }

    body += 4;
    length = strcasestr(l->in, "\r\nContent-Length:");
    last = strcasestr(l->in, "\r\nConnection: close");

    if (length == NULL || length > body) {
        goto broken;
    }

    length += sizeof("\r\nContent-Length:") - 1;

    if (l->in + l->len < body + strtoul(length, NULL, 10)) {
        return;
    }

    heard(l, judge(l, body));
    l->len = 0;

    if (last != NULL && last < body) {
        hang_up(l);
    }

    return;

broken:

    if (l->waiting) {
        heard(l, FAILED);
    }

    hang_up(l);
}


/* moves on a screen, and says something now and then elsewhere */

static void
progress(double elapsed, int final)
{
    static double    shown;
    static uint64_t  before;

    int       screen;
    uint64_t  done;

    screen = isatty(STDERR_FILENO);
    done = sum(robots) + sum(humans);

    if (!final && elapsed - shown < (screen ? 0.2 : 3.0)) {
        return;
    }

    if (final) {
        shown = before = 0;
    }

    /* 79 columns, with numbers of 7 digits */
    fprintf(stderr, "%s%-9s %5.1f s %7lu stolen %7.0f/s, "
            "honest: %lu, disturbed: %lu%s",
            screen ? "\r\033[K" : "", name, elapsed, out,
            (done - before) / (elapsed - shown), sum(humans),
            sum(humans) - humans[RECORD], screen && !final ? "" : "\n");

    shown = elapsed;
    before = done;
}


/* sends what is due; true while robots (at the end: all) are still busy */

static int
push(int closing)
{
    int      busy;
    double   t;
    line_t  *l;

    t = now();
    busy = 0;

    for (l = lines; l < lines_end; l++) {

        if (!l->waiting && !closing) {
            if (l->account->stolen) {
                robot_asks(l);

            } else if (l->due <= t) {
                human_asks(l);
            }
        }

        if (l->waiting && (closing || l->account->stolen)) {
            busy = 1;
        }
    }

    return busy;
}


/* ten milliseconds; a robot that is answered goes on at once */

static void
turn(int closing)
{
    int                 i, n;
    double              start;
    line_t             *l;
    struct epoll_event  events[256];

    start = now();

    do {
        n = epoll_wait(ep, events, 256, 10);

        for (i = 0; i < n; i++) {
            l = events[i].data.ptr;
            listen_to(l);

            if (!closing && !l->waiting && l->account->stolen) {
                robot_asks(l);
            }
        }
    } while (n > 0 && now() - start < 0.01);
}


static void
report(double start, double end, int cut)
{
    int         i;
    account_t  *a;

    printf("seconds %.3f\ncut %d\nslowest %.0f\n", end - start,
           cut, slowest * 1000);

    for (i = 0; i < KINDS; i++) {
        printf("robots %s %lu\nhumans %s %lu\n", kinds[i], robots[i],
               kinds[i], humans[i]);
    }

    for (a = accounts; a < accounts_end; a++) {
        if (a->stolen) {
            printf("account %s %u %.3f\n", a->name, a->left,
                   a->stopped ? a->stopped - start : -1);
        }
    }
}


int
main(int argc, char **argv)
{
    double   start, end, longest;
    line_t  *l;

    if (argc != 6) {
        errx(2, "usage: play NAME PORT SECONDS SESSIONS PATIENTS");
    }

    name = argv[1];
    port = atoi(argv[2]);
    longest = atof(argv[3]);
    ep = epoll_create1(EPOLL_CLOEXEC);

    read_sessions(argv[4]);
    read_patients(argv[5]);

    start = now();

    for (l = lines; l < lines_end; l++) {
        l->due = start + PACE * chance(1000) / 1000.0;
    }

    while (push(0) && now() - start < longest) {
        turn(0);
        progress(now() - start, 0);
    }

    end = now();

    while (push(1) && now() - end < PATIENCE) {
        turn(1);
    }

    for (l = lines; l < lines_end; l++) {
        if (l->waiting) {
            heard(l, FAILED);
        }
    }

    progress(end - start, 1);
    report(start, end, end - start >= longest);

    return 0;
}
