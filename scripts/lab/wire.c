/*
 * What a request looks like: GET /NAME, "Replay-Time: 1647000000.123",
 * Replay-Account, -Patient, -Address, -Status, -Records, and Replay-A-B for
 * a member a_b, so that nginx has them as $http_replay_time and so on.  What
 * a location has to answer by: Replay-Verdict, -Limit, -Count, -Totals and
 * -Retry-After.  A lookup without a patient, or of more records than those it
 * names, has a URI of its own: /NAME?HASH, of the member "uri" or the patient.
 */

#define _GNU_SOURCE

#include "wire.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>


#define PATIENCE  60000       /* ms that all are silent before it fails */
#define ROOM      65536       /* to read into */
#define EARLY     32768       /* queued before some of it leaves */
#define MANY      128         /* answers that are read some at a time, */
#define NAP       500000      /*   so many ns apart                    */


typedef struct {
    char          *data;
    size_t         start, end, size;
} buffer_t;


typedef struct {
    wire_done_pt   done;
    void          *data;
    size_t         len;       /* of the request */
} wait_t;


typedef struct {
    int            fd;
    int            closing;   /* the last answer said so */
    uint32_t       events;    /* asked of epoll */

    buffer_t       out;       /* from the first request without an answer */
    size_t         sent;      /* offset in out */
    size_t         early;     /* so far some was sent before a flush */
    buffer_t       in;
    size_t         skip;      /* of a body that is still to come */

    wait_t        *waits;
    size_t         first, last, nwaits;
} line_t;


struct wire_s {
    char           path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
    int            epoll;
    line_t        *lines;
    unsigned       nlines;
    size_t         waiting;
};


static void *
grown(void *p, size_t *n, size_t enough, size_t size)
{
    if (*n >= enough) {
        return p;
    }

    while (*n < enough) {
        *n = *n ? *n * 2 : 64;
    }

    p = realloc(p, *n * size);
    if (p == NULL) {
        err(1, "wire");
    }

    return p;
}


static void
append(buffer_t *b, const char *s, size_t len)
{
    b->data = grown(b->data, &b->size, b->end + len, 1);
    memcpy(b->data + b->end, s, len);
    b->end += len;
}


/* a field; what would end it is another control character */

static void
append_field(buffer_t *b, const char *name, const char *value)
{
    char   *p;
    size_t  len;

    append(b, "Replay-", sizeof("Replay-") - 1);
    len = strlen(name);
    append(b, name, len);

    for (p = b->data + b->end - len; p < b->data + b->end; p++) {
        if (*p == '_') {
            *p = '-';
        }
    }

    append(b, ": ", 2);
    len = strlen(value);
    append(b, value, len);

    for (p = b->data + b->end - len; p < b->data + b->end; p++) {
        if (*p == '\r' || *p == '\n') {
            *p = '\1';
        }
    }

    append(b, "\r\n", 2);
}


/* "fold": whatever the case of its letters, as of one account */

static uint64_t
hash(const char *s, int fold)
{
    int       c;
    uint64_t  h;

    /* FNV-1a */
    for (h = 0xcbf29ce484222325ULL; *s; s++) {
        c = (unsigned char) *s;
        h = (h ^ (fold ? tolower(c) : c)) * 0x100000001b3ULL;
    }

    return h ^ h >> 32;
}


static void
dial(wire_t *wire, line_t *line)
{
    struct sockaddr_un  sun;
    struct epoll_event  ev;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    strcpy(sun.sun_path, wire->path);

    line->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd == -1
        || connect(line->fd, (struct sockaddr *) &sun, sizeof(sun)) == -1)
    {
        err(1, "%s", wire->path);
    }

    line->events = EPOLLIN;
    ev.events = EPOLLIN;
    ev.data.ptr = line;

    if (epoll_ctl(wire->epoll, EPOLL_CTL_ADD, line->fd, &ev) == -1) {
        err(1, "epoll_ctl");
    }

    line->closing = 0;
    line->skip = 0;
    line->in.start = line->in.end = 0;
    line->sent = line->out.start;
}


static void
watch(wire_t *wire, line_t *line, uint32_t events)
{
    struct epoll_event  ev;

    if (line->events == events) {
        return;
    }

    line->events = events;
    ev.events = events;
    ev.data.ptr = line;

    if (epoll_ctl(wire->epoll, EPOLL_CTL_MOD, line->fd, &ev) == -1) {
        err(1, "epoll_ctl");
    }
}


/* what has no room in the socket waits for some */

static void
speak(wire_t *wire, line_t *line)
{
    ssize_t  n;

    while (line->sent < line->out.end) {
        n = send(line->fd, line->out.data + line->sent,
                 line->out.end - line->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1) {
            if (errno == EINTR) {
                continue;
            }

            if (errno == EAGAIN) {
                watch(wire, line, EPOLLIN | EPOLLOUT);
                return;
            }

            /* listen_to() tells why */
            break;
        }

        line->sent += n;
    }

    watch(wire, line, EPOLLIN);
}


static wire_verdict_e
verdict(const char *name)
{
    size_t  i;

    static const char  *names[] = { "allow", "throttle", "challenge", "deny" };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return (wire_verdict_e) i;
        }
    }

    errx(1, "an answer has no verdict, but \"%s\"", name);
}


/* one field of the head; what is none of ours is passed over */

static void
read_field(line_t *line, wire_answer_t *answer, const char *name,
    const char *value, size_t *length)
{
    if (strcasecmp(name, "Content-Length") == 0) {
        *length = strtoul(value, NULL, 10);

    } else if (strcasecmp(name, "Connection") == 0) {
        line->closing = strcasecmp(value, "close") == 0;

    } else if (strncasecmp(name, "Replay-", 7) != 0) {
        return;
    }

    name += 7;

    if (strcasecmp(name, "Verdict") == 0) {
        answer->verdict = verdict(value);

    } else if (strcasecmp(name, "Limit") == 0) {
        answer->limit = value;

    } else if (strcasecmp(name, "Count") == 0) {
        answer->count = strtoul(value, NULL, 10);

    } else if (strcasecmp(name, "Totals") == 0) {
        answer->totals = value;

    } else if (strcasecmp(name, "Retry-After") == 0) {
        answer->retry_after = atof(value);
    }
}


/* cuts the head into strings; the length of the body */

static size_t
read_head(line_t *line, char *head, char *end, wire_answer_t *answer)
{
    char    *p, *next, *value;
    size_t   length;

    memset(answer, 0, sizeof(wire_answer_t));
    answer->limit = answer->totals = "";
    answer->status = atoi(head + sizeof("HTTP/1.1 ") - 1);
    length = 0;

    for (p = head; p < end; p = next) {
        next = memmem(p, end - p, "\r\n", 2);
        next = next ? next : end;
        *next = '\0';
        next += 2;

        value = strchr(p, ':');
        if (value) {
            *value++ = '\0';
            value += strspn(value, " ");
            read_field(line, answer, p, value, &length);
        }
    }

    return length;
}


/* what has come: an answer is told of by its head */

static void
digest(wire_t *wire, line_t *line)
{
    char           *head, *end;
    size_t          size;
    wait_t          wait;
    buffer_t       *in;
    wire_answer_t   answer;

    in = &line->in;

    for ( ;; ) {
        size = in->end - in->start;

        if (line->skip) {
            size = size < line->skip ? size : line->skip;
            in->start += size;
            line->skip -= size;
            size = in->end - in->start;
        }

        head = in->data + in->start;
        end = size ? memmem(head, size, "\r\n\r\n", 4) : NULL;
        if (end == NULL) {
            break;
        }

        if (line->first == line->last) {
            errx(1, "an answer that nobody asked for");
        }

        line->skip = read_head(line, head, end, &answer);
        in->start += end + 4 - head;

        wait = line->waits[line->first++];
        line->out.start += wait.len;
        wire->waiting--;

        wait.done(wait.data, &answer);
    }

    if (size) {
        memmove(in->data, in->data + in->start, size);
    }

    in->start = 0;
    in->end = size;
}


/* forgets what is answered */

static void
tidy(line_t *line)
{
    buffer_t  *out;

    out = &line->out;

    if (out->start < out->end && out->start < out->size / 2) {
        return;
    }

    memmove(out->data, out->data + out->start, out->end - out->start);
    line->sent -= out->start;
    out->end -= out->start;
    out->start = 0;
    line->early = out->end;

    memmove(line->waits, line->waits + line->first,
            (line->last - line->first) * sizeof(wait_t));
    line->last -= line->first;
    line->first = 0;
}


/* reads what there is; false if that is all there will be */

static int
take(line_t *line)
{
    ssize_t    n;
    buffer_t  *in;

    in = &line->in;

    for ( ;; ) {
        in->data = grown(in->data, &in->size, in->end + ROOM, 1);
        n = recv(line->fd, in->data + in->end, in->size - in->end,
                 MSG_DONTWAIT);

        if (n > 0) {
            in->end += n;
            continue;
        }

        if (n == -1 && errno == EINTR) {
            continue;
        }

        return n == -1 && errno == EAGAIN;
    }
}


static void
hear(wire_t *wire, line_t *line)
{
    int  open;

    open = take(line);
    digest(wire, line);

    if (!open) {
        if (!line->closing) {
            errx(1, "%s: the server has gone", wire->path);
        }

        /* what it has not answered is asked again */
        close(line->fd);
        dial(wire, line);
    }

    tidy(line);
}


wire_t *
wire_open(const char *path, unsigned connections)
{
    unsigned  i;
    wire_t   *wire;

    wire = calloc(1, sizeof(wire_t));
    if (wire == NULL) {
        err(1, "wire");
    }

    if (strlen(path) >= sizeof(wire->path)) {
        errx(1, "%s: too long for a socket", path);
    }

    strcpy(wire->path, path);
    wire->nlines = connections ? connections : 1;
    wire->lines = calloc(wire->nlines, sizeof(line_t));
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (wire->lines == NULL || wire->epoll == -1) {
        err(1, "wire");
    }

    for (i = 0; i < wire->nlines; i++) {
        dial(wire, &wire->lines[i]);
    }

    return wire;
}


static void
append_lookup(buffer_t *out, const char *location, const wire_lookup_t *lookup)
{
    char         text[64];
    size_t       i;
    const char  *uri;

    append(out, "GET ", 4);
    append(out, location, strlen(location));

    if (lookup->patient == NULL || lookup->records > 1) {
        uri = lookup->patient ? lookup->patient : "";

        for (i = 0; i < lookup->nmembers; i++) {
            if (strcmp(lookup->members[i].name, "uri") == 0) {
                uri = lookup->members[i].value;
            }
        }

        append(out, text, sprintf(text, "?%016llx",
                                  (unsigned long long) hash(uri, 0)));
    }

    append(out, " HTTP/1.1\r\nHost: replay\r\n",
           sizeof(" HTTP/1.1\r\nHost: replay\r\n") - 1);

    sprintf(text, "%.3f", lookup->time);
    append_field(out, "time", text);
    append_field(out, "account", lookup->account);

    sprintf(text, "%d", lookup->status);
    append_field(out, "status", text);

    if (lookup->patient) {
        append_field(out, "patient", lookup->patient);
    }

    if (lookup->address) {
        append_field(out, "address", lookup->address);
    }

    if (lookup->records) {
        sprintf(text, "%u", lookup->records);
        append_field(out, "records", text);
    }

    for (i = 0; i < lookup->nmembers; i++) {
        append_field(out, lookup->members[i].name, lookup->members[i].value);
    }

    append(out, "\r\n", 2);
}


void
wire_send(wire_t *wire, const char *location, const wire_lookup_t *lookup,
    wire_done_pt done, void *data)
{
    size_t   before;
    line_t  *line;
    wait_t  *wait;

    line = &wire->lines[hash(lookup->account, 1) % wire->nlines];

    before = line->out.end;
    append_lookup(&line->out, location, lookup);

    line->waits = grown(line->waits, &line->nwaits, line->last + 1,
                        sizeof(wait_t));
    wait = &line->waits[line->last++];
    wait->done = done;
    wait->data = data;
    wait->len = line->out.end - before;

    wire->waiting++;

    if (line->out.end > line->early + EARLY) {
        line->early = line->out.end;
        (void) take(line);
        speak(wire, line);
    }
}


void
wire_flush(wire_t *wire)
{
    int                 i, n;
    line_t             *line;
    struct epoll_event  events[64];

    static const struct timespec  nap = { 0, NAP };

    for (line = wire->lines; line < wire->lines + wire->nlines; line++) {
        hear(wire, line);
    }

    while (wire->waiting) {

        for (line = wire->lines; line < wire->lines + wire->nlines; line++) {
            if (line->sent < line->out.end && line->events == EPOLLIN) {
                speak(wire, line);
            }
        }

        if (wire->waiting > MANY) {
            nanosleep(&nap, NULL);
        }

        n = epoll_wait(wire->epoll, events, 64, PATIENCE);

        if (n == 0) {
            errx(1, "%s: no answer in %d s", wire->path, PATIENCE / 1000);
        }

        for (i = 0; i < n; i++) {
            line = events[i].data.ptr;

            if (events[i].events & EPOLLOUT) {
                speak(wire, line);
            }

            if (events[i].events & ~EPOLLOUT) {
                hear(wire, line);
            }
        }
    }
}


void
wire_close(wire_t *wire)
{
    line_t  *line;

    for (line = wire->lines; line < wire->lines + wire->nlines; line++) {
        close(line->fd);
        free(line->out.data);
        free(line->in.data);
        free(line->waits);
    }

    close(wire->epoll);
    free(wire->lines);
    free(wire);
}
