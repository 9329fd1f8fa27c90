/*
 * Clients that are gone before they are answered.
 *
 *     abort [options] PORT
 *
 *     -c N     at once: connections, or with -2 streams on -h connections
 *     -n N     requests that are broken off, then it is over
 *     -a N     accounts, one of them at random
 *     -x N     every Nth request is for the account "hot"
 *     -w N     milliseconds after which a request is broken off, at most
 *     -2       HTTP/2: RST_STREAM, not RST
 *     -h N     connections of HTTP/2
 *
 * Each request names a patient of its own, so that what was counted can be
 * told by the size of sets.
 */

#include "client.h"


#define FRAMES   65536
#define STREAMS  120            /* on one connection; nginx allows 128 */

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6,
       GOAWAY = 7, WINDOW_UPDATE = 8 };


typedef struct {
    int       fd;
    uint32_t  stream;           /* the next one */
    int       open;             /* streams */
    size_t    len;
    u_char    in[FRAMES];
} line_t;


/* a request: with HTTP/1 it has a connection of its own */

typedef struct {
    int       used;
    int       fd;
    line_t   *line;
    uint32_t  stream;
    double    due;              /* to be broken off */
} slot_t;


static int        ep, port, http2, nslots = 500, nlines = 8, accounts = 1000;
static double     most_s = 0.02;
static uint64_t   wanted = 100000, every;

static slot_t    *slots;
static line_t    *lines;

static uint64_t   asked, answered, aborted, closed, refused, connections;


static const char *
account(void)
{
    static char  name[24];

    if (every && asked % every == 0) {
        return "hot";
    }

    snprintf(name, sizeof(name), "a%d", (int) chance(accounts));

    return name;
}


static void
watch(int fd, void *data)
{
    struct epoll_event  ev;

    ev.events = EPOLLIN;
    ev.data.ptr = data;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
        err(2, "epoll_ctl");
    }
}


static double
deadline(double t)
{
    return t + most_s * chance(1000000) / 1e6;
}


/* HTTP/1 */

static void
ask(slot_t *s, double t)
{
    int   n;
    char  text[256];

    s->fd = dial(port);

    if (s->fd == -1) {
        refused++;
        usleep(1000);
        return;
    }

    connections++;
    watch(s->fd, s);

    n = snprintf(text, sizeof(text), "GET /?patient=%llu HTTP/1.1\r\n"
                 "Host: localhost\r\nX-Account: %s\r\n\r\n",
                 (unsigned long long) asked, account());

    asked++;
    s->used = 1;
    s->due = deadline(t);

    (void) send(s->fd, text, n, MSG_NOSIGNAL);
}


static void
hear(slot_t *s)
{
    char     in[4096];
    ssize_t  n;

    n = recv(s->fd, in, sizeof(in), 0);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n > 0) {
        answered++;

    } else {
        closed++;
    }

    slam(s->fd);
    s->used = 0;
}


/* HTTP/2 */

static u_char *
frame(u_char *p, size_t len, int type, int flags, uint32_t stream)
{
    *p++ = len >> 16;
    *p++ = len >> 8;
    *p++ = len;
    *p++ = type;
    *p++ = flags;
    *p++ = stream >> 24;
    *p++ = stream >> 16;
    *p++ = stream >> 8;
    *p++ = stream;

    return p;
}


/* "literal without indexing", nothing of it compressed */

static u_char *
literal(u_char *p, const char *text)
{
    size_t  len = strlen(text);

    *p++ = len;
    memcpy(p, text, len);

    return p + len;
}


static u_char *
word(u_char *p, uint32_t n)
{
    *p++ = n >> 24;
    *p++ = n >> 16;
    *p++ = n >> 8;
    *p++ = n;

    return p;
}


static void
close_line(line_t *l)
{
    slot_t  *s;

    for (s = slots; s < slots + nslots; s++) {
        if (s->used && s->line == l) {
            s->used = 0;
            closed++;
        }
    }

    close(l->fd);
    l->fd = -1;
}


static void
say(line_t *l, u_char *from, u_char *to)
{
    /* a few frames: they fit, unless nginx reads nothing any more */

    if (l->fd != -1 && send(l->fd, from, to - from, MSG_NOSIGNAL) != to - from)
    {
        close_line(l);
    }
}


static void
open_line(line_t *l)
{
    u_char       out[128], *p;
    static char  preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    l->fd = dial(port);

    if (l->fd == -1) {
        refused++;
        usleep(1000);
        return;
    }

    connections++;
    watch(l->fd, l);

    l->stream = 1;
    l->open = 0;
    l->len = 0;

    memcpy(out, preface, sizeof(preface) - 1);
    p = frame(out + sizeof(preface) - 1, 0, SETTINGS, 0, 0);
    p = frame(p, 4, WINDOW_UPDATE, 0, 0);
    p = word(p, 0x7fffffff - 65535);

    say(l, out, p);
}


static void
ask2(slot_t *s, double t)
{
    char     path[48];
    u_char   out[256], *p, *start;
    line_t  *l;

    l = &lines[chance(nlines)];

    if (l->fd == -1) {
        open_line(l);
    }

    if (l->fd == -1 || l->open >= STREAMS) {
        return;
    }

    snprintf(path, sizeof(path), "/?patient=%llu", (unsigned long long) asked);

    start = out + 9;
    p = start;
    *p++ = 0x82;                /* GET, http, path, authority */
    *p++ = 0x86;
    *p++ = 0x04;
    p = literal(p, path);
    *p++ = 0x01;
    p = literal(p, "localhost");
    *p++ = 0x00;
    p = literal(p, "x-account");
    p = literal(p, account());

    /* END_STREAM, END_HEADERS */
    (void) frame(out, p - start, HEADERS, 5, l->stream);

    asked++;
    s->used = 1;
    s->line = l;
    s->stream = l->stream;
    s->due = deadline(t);
    l->stream += 2;
    l->open++;

    say(l, out, p);
}


static void
ended(line_t *l, uint32_t stream)
{
    slot_t  *s;

    for (s = slots; s < slots + nslots; s++) {
        if (s->used && s->line == l && s->stream == stream) {
            answered++;
            s->used = 0;
            l->open--;
            return;
        }
    }
}


/* what of a frame matters; the answer to it */

static void
framed(line_t *l, int type, int flags, uint32_t stream, u_char *payload)
{
    u_char  out[32], *p;

    if (type == SETTINGS && !(flags & 1)) {
        say(l, out, frame(out, 0, SETTINGS, 1, 0));

    } else if (type == PING && !(flags & 1)) {
        p = frame(out, 8, PING, 1, 0);
        memcpy(p, payload, 8);
        say(l, out, p + 8);

    } else if (type == GOAWAY) {
        close_line(l);

    } else if (type == RST_STREAM
               || ((type == HEADERS || type == DATA) && (flags & 1)))
    {
        ended(l, stream);
    }
}


static void
hear2(line_t *l)
{
    size_t    len, pos;
    ssize_t   n;
    u_char   *p;

    n = recv(l->fd, l->in + l->len, FRAMES - l->len, 0);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        close_line(l);
        return;
    }

    l->len += n;

    for (pos = 0; l->len - pos >= 9 && l->fd != -1; pos += 9 + len) {
        p = l->in + pos;
        len = p[0] << 16 | p[1] << 8 | p[2];

        if (l->len - pos < 9 + len) {
            break;
        }

        framed(l, p[3], p[4],
               (uint32_t) p[5] << 24 | p[6] << 16 | p[7] << 8 | p[8], p + 9);
    }

    if (l->fd != -1) {
        l->len -= pos;
        memmove(l->in, l->in + pos, l->len);
    }
}


static void
break_off(slot_t *s)
{
    u_char  out[16], *p;

    aborted++;
    s->used = 0;

    if (!http2) {
        slam(s->fd);
        return;
    }

    p = frame(out, 4, RST_STREAM, 0, s->stream);
    p = word(p, 8);             /* CANCEL */

    s->line->open--;
    say(s->line, out, p);
}


static void
turn(int wait)
{
    int                 i, n;
    struct epoll_event  events[256];

    n = epoll_wait(ep, events, 256, wait);

    for (i = 0; i < n; i++) {
        if (http2) {
            if (((line_t *) events[i].data.ptr)->fd != -1) {
                hear2(events[i].data.ptr);
            }

        } else {
            hear(events[i].data.ptr);
        }
    }
}


static void
options(int argc, char **argv)
{
    int  c;

    while ((c = getopt(argc, argv, "c:n:a:x:w:2h:")) != -1) {

        switch (c) {
        case 'c': nslots = atoi(optarg); break;
        case 'n': wanted = strtoull(optarg, NULL, 10); break;
        case 'a': accounts = atoi(optarg); break;
        case 'x': every = strtoull(optarg, NULL, 10); break;
        case 'w': most_s = atof(optarg) / 1000; break;
        case '2': http2 = 1; break;
        case 'h': nlines = atoi(optarg); break;
        default:
            errx(2, "abort [options] PORT");
        }
    }

    if (optind != argc - 1) {
        errx(2, "abort [options] PORT");
    }

    port = atoi(argv[optind]);
}


int
main(int argc, char **argv)
{
    int      i, open;
    double   t;
    slot_t  *s;

    options(argc, argv);

    ep = epoll_create1(0);
    slots = calloc(nslots, sizeof(slot_t));
    lines = calloc(nlines, sizeof(line_t));

    if (ep == -1 || slots == NULL || lines == NULL) {
        err(2, "epoll, memory");
    }

    for (i = 0; i < nlines; i++) {
        lines[i].fd = -1;
    }

    do {
        t = now();
        open = 0;

        for (s = slots; s < slots + nslots; s++) {

            if (s->used && s->due <= t) {
                break_off(s);
            }

            if (!s->used && aborted < wanted) {
                if (http2) {
                    ask2(s, t);
                } else {
                    ask(s, t);
                }
            }

            open += s->used;
        }

        turn(1);

    } while (open || aborted < wanted);

    printf("asked=%llu aborted=%llu answered=%llu closed=%llu refused=%llu "
           "connections=%llu\n", (unsigned long long) asked,
           (unsigned long long) aborted, (unsigned long long) answered,
           (unsigned long long) closed, (unsigned long long) refused,
           (unsigned long long) connections);

    return 0;
}
