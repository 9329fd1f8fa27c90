/*
 * Stands between nginx and Redis, and lets each reply wait.
 *
 *     delay LISTEN REDIS MILLISECONDS
 *
 * Both are paths of unix sockets.  It lasts until it is killed.
 */

#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>


#define CONNECTIONS  256
#define CHUNK        65536


/* what one side sent, in the order in which it came */

typedef struct chunk_s  chunk_t;

struct chunk_s {
    chunk_t   *next;
    double     due;
    size_t     len;
    size_t     sent;
    char       bytes[];
};


/* one direction of a connection */

typedef struct {
    int        from;
    int        to;
    double     delay;
    chunk_t   *first;
    chunk_t  **last;
    int        ended;           /* from has no more to say */
} way_t;


typedef struct {
    way_t      ways[2];         /* to Redis, and back */
    int        used;
} pair_t;


static pair_t  pairs[CONNECTIONS];


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
address(struct sockaddr_un *sun, const char *path)
{
    memset(sun, 0, sizeof(struct sockaddr_un));
    sun->sun_family = AF_UNIX;

    if (strlen(path) >= sizeof(sun->sun_path)) {
        errx(2, "%s is too long", path);
    }

    strcpy(sun->sun_path, path);
}


static void
way(way_t *w, int from, int to, double delay)
{
    memset(w, 0, sizeof(way_t));
    w->from = from;
    w->to = to;
    w->delay = delay;
    w->last = &w->first;
}


static void
meet(int client, const char *path, double delay)
{
    int                 redis;
    pair_t             *p;
    struct sockaddr_un  sun;

    for (p = pairs; p < pairs + CONNECTIONS && p->used; p++) { /* void */ }

    redis = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address(&sun, path);

    if (p == pairs + CONNECTIONS || redis == -1
        || connect(redis, (struct sockaddr *) &sun, sizeof(sun)) == -1)
    {
        close(client);

        if (redis != -1) {
            close(redis);
        }

        return;
    }

    p->used = 1;
    way(&p->ways[0], client, redis, 0);
    way(&p->ways[1], redis, client, delay);
}


static void
part(pair_t *p)
{
    int       i;
    chunk_t  *c;

    for (i = 0; i < 2; i++) {
        close(p->ways[i].from);

        while ((c = p->ways[i].first)) {
            p->ways[i].first = c->next;
            free(c);
        }
    }

    p->used = 0;
}


static void
take(way_t *w, double t)
{
    ssize_t      n;
    chunk_t     *c;
    static char  bytes[CHUNK];

    n = recv(w->from, bytes, CHUNK, MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        w->ended = 1;
        return;
    }

    c = malloc(sizeof(chunk_t) + n);
    if (c == NULL) {
        err(2, "malloc");
    }

    c->next = NULL;
    c->due = t + w->delay;
    c->len = n;
    c->sent = 0;
    memcpy(c->bytes, bytes, n);

    *w->last = c;
    w->last = &c->next;
}


/* seconds until there is something to give, or -1 */

static double
give(way_t *w, double t)
{
    ssize_t   n;
    chunk_t  *c;

    while ((c = w->first)) {

        if (c->due > t) {
            return c->due - t;
        }

        n = send(w->to, c->bytes + c->sent, c->len - c->sent,
                 MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == -1 && errno == EAGAIN) {
            return 0.001;
        }

        if (n == -1) {
            w->ended = 1;
            return -1;
        }

        c->sent += n;

        if (c->sent == c->len) {
            w->first = c->next;

            if (w->first == NULL) {
                w->last = &w->first;
            }

            free(c);
        }
    }

    return -1;
}


int
main(int argc, char **argv)
{
    int                 listener, client, i, n;
    double              delay, t, rest, soonest;
    pair_t             *p;
    struct pollfd       fds[1 + 2 * CONNECTIONS];
    struct timespec     ts;
    struct sockaddr_un  sun;

    if (argc != 4) {
        errx(2, "delay LISTEN REDIS MILLISECONDS");
    }

    delay = atof(argv[3]) / 1000;

    address(&sun, argv[1]);
    unlink(argv[1]);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (listener == -1
        || bind(listener, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || listen(listener, CONNECTIONS) == -1)
    {
        err(2, "%s", argv[1]);
    }

    for ( ;; ) {
        soonest = -1;
        t = now();

        fds[0].fd = listener;
        fds[0].events = POLLIN;
        n = 1;

        for (p = pairs; p < pairs + CONNECTIONS; p++) {

            if (!p->used) {
                continue;
            }

            for (i = 0; i < 2; i++) {
                rest = give(&p->ways[i], t);

                if (rest >= 0 && (soonest < 0 || rest < soonest)) {
                    soonest = rest;
                }
            }

            if ((p->ways[0].ended && p->ways[0].first == NULL)
                || (p->ways[1].ended && p->ways[1].first == NULL))
            {
                part(p);
                continue;
            }

            for (i = 0; i < 2; i++) {
                fds[n].fd = p->ways[i].ended ? -1 : p->ways[i].from;
                fds[n++].events = POLLIN;
            }
        }

        ts.tv_sec = soonest < 0 ? 0 : (time_t) soonest;
        ts.tv_nsec = (soonest - ts.tv_sec) * 1e9;

        if (ppoll(fds, n, soonest < 0 ? NULL : &ts, NULL)
            == -1 && errno != EINTR)
        {
            err(2, "ppoll");
        }

        t = now();

        for (p = pairs; p < pairs + CONNECTIONS; p++) {
            for (i = 0; p->used && i < 2; i++) {
                if (!p->ways[i].ended) {
                    take(&p->ways[i], t);
                }
            }
        }

        while ((client = accept(listener, NULL, NULL)) != -1) {
            meet(client, argv[2], delay);
        }
    }
}
