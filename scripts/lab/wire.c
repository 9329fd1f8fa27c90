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
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    line_t        *lines;
    struct pollfd *polls;     /* one each */
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


static void
append_text(buffer_t *b, const char *s)
{
    append(b, s, strlen(s));
}


/* a field; what would end it is another control character */

static void
append_field(buffer_t *b, const char *name, const char *value)
{
    size_t  i;

    append_text(b, "Replay-");
    i = b->end;
    append_text(b, name);

    for ( /* void */ ; i < b->end; i++) {
        if (b->data[i] == '_') {
            b->data[i] = '-';
        }
    }

    append_text(b, ": ");
    i = b->end;
    append_text(b, value);

    for ( /* void */ ; i < b->end; i++) {
        if (b->data[i] == '\r' || b->data[i] == '\n') {
            b->data[i] = '\1';
        }
    }

    append_text(b, "\r\n");
}


static void
append_number(buffer_t *b, const char *name, double n, int decimals)
{
    char  text[64];

    snprintf(text, sizeof(text), "%.*f", decimals, n);
    append_field(b, name, text);
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

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    strcpy(sun.sun_path, wire->path);

    line->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd == -1
        || connect(line->fd, (struct sockaddr *) &sun, sizeof(sun)) == -1)
    {
        err(1, "%s", wire->path);
    }

    line->closing = 0;
    line->skip = 0;
    line->in.start = line->in.end = 0;
    line->sent = line->out.start;
}


/* as much as the socket has room for; take() tells what is wrong with it */

static void
speak(line_t *line)
{
    ssize_t  n;

    while (line->sent < line->out.end) {
        n = send(line->fd, line->out.data + line->sent,
                 line->out.end - line->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return;
        }

        line->sent += n;
    }
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
    wire->polls = calloc(wire->nlines, sizeof(struct pollfd));

    if (wire->lines == NULL || wire->polls == NULL) {
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

    append_text(out, "GET ");
    append_text(out, location);

    if (lookup->patient == NULL || lookup->records > 1) {
        uri = lookup->patient ? lookup->patient : "";

        for (i = 0; i < lookup->nmembers; i++) {
            if (strcmp(lookup->members[i].name, "uri") == 0) {
                uri = lookup->members[i].value;
            }
        }

        snprintf(text, sizeof(text), "?%016llx",
                 (unsigned long long) hash(uri, 0));
        append_text(out, text);
    }

    append_text(out, " HTTP/1.1\r\nHost: replay\r\n");
    append_number(out, "time", lookup->time, 3);
    append_field(out, "account", lookup->account);
    append_number(out, "status", lookup->status, 0);

    if (lookup->patient) {
        append_field(out, "patient", lookup->patient);
    }

    if (lookup->address) {
        append_field(out, "address", lookup->address);
    }

    if (lookup->records) {
        append_number(out, "records", lookup->records, 0);
    }

    for (i = 0; i < lookup->nmembers; i++) {
        append_field(out, lookup->members[i].name, lookup->members[i].value);
    }

    append_text(out, "\r\n");
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
        speak(line);
    }
}


void
wire_flush(wire_t *wire)
{
    unsigned        i;
    line_t         *line;
    struct pollfd  *polled;

    static const struct timespec  nap = { 0, NAP };

    for (i = 0; i < wire->nlines; i++) {
        hear(wire, &wire->lines[i]);
    }

    while (wire->waiting) {

        for (i = 0; i < wire->nlines; i++) {
            line = &wire->lines[i];
            polled = &wire->polls[i];

            speak(line);

            polled->fd = line->fd;
            polled->events = line->sent < line->out.end ? POLLIN | POLLOUT
                                                        : POLLIN;
        }

        if (wire->waiting > MANY) {
            nanosleep(&nap, NULL);
        }

        if (poll(wire->polls, wire->nlines, PATIENCE) == 0) {
            errx(1, "%s: no answer in %d s", wire->path, PATIENCE / 1000);
        }

        for (i = 0; i < wire->nlines; i++) {
            if (wire->polls[i].revents & ~POLLOUT) {
                hear(wire, &wire->lines[i]);
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

    free(wire->lines);
    free(wire->polls);
    free(wire);
}
