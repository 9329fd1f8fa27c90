/*
 * At limit minus one, many lookups at once: who is admitted?
 *
 *     race [options] PORT ...      nodes, which share their counts
 *
 *     -c N     connections, over the nodes in turn
 *     -t N     trials, each of an account of its own
 *     -l N     the limit
 *     -f NAME  the accounts' first name
 *     -s PIDS  workers to be stopped, in every other trial, while the
 *              lookups are written: then they find them all at once
 *
 * An account that is not at limit minus one after as many lookups, or of
 * whose lookups not one was admitted and all others refused with 403, is
 * told of.
 */

#include "client.h"


#define PATIENCE  20            /* seconds for all answers of a trial */
#define WORKERS   64
#define NODES     8


typedef struct {
    int       fd;
    int       node;
    int       status;           /* 0: it waits */
    size_t    len;
    char      in[8192];
} line_t;


static int           nlines = 200, trials = 1000, limit = 10, nnodes;
static int           ports[NODES];
static pid_t         workers[WORKERS];
static int           nworkers;
static const char   *first = "a";
static line_t       *lines;

static int           odd, admitted, again, sources[4], winners[NODES];
static const char   *names[] = { "redis", "local", "cache", "none" };


static void
open_line(line_t *l)
{
    l->fd = dial(ports[l->node]);

    if (l->fd == -1) {
        err(2, "port %d", ports[l->node]);
    }
}


static void
ask(line_t *l, const char *account, int patient)
{
    int   n;
    char  text[256];

    n = snprintf(text, sizeof(text), "GET /?patient=%d HTTP/1.1\r\n"
                 "Host: localhost\r\nX-Account: %s\r\n\r\n", patient, account);

    l->status = 0;
    l->len = 0;

    if (send(l->fd, text, n, MSG_NOSIGNAL) != n) {
        l->status = -1;
    }
}


/* what came; -1 if the connection is gone */

static void
hear(line_t *l)
{
    ssize_t  n;

    n = recv(l->fd, l->in + l->len, sizeof(l->in) - 1 - l->len, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        l->status = -1;
        return;
    }

    l->len += n;
    l->in[l->len] = '\0';
    l->status = complete(l->in, l->len);
}


static void
hear_all(line_t *from, line_t *to)
{
    int            n, waiting;
    double         end;
    line_t        *l;
    struct pollfd  fds[to - from];

    end = now() + PATIENCE;

    do {
        n = 0;
        waiting = 0;

        for (l = from; l < to; l++) {
            fds[n].fd = l->status ? -1 : l->fd;
            fds[n++].events = POLLIN;
            waiting += (l->status == 0);
        }

        if (waiting && poll(fds, n, 100) > 0) {
            for (l = from; l < to; l++) {
                if (fds[l - from].revents) {
                    hear(l);
                }
            }
        }

    } while (waiting && now() < end);
}


static void
all(int signo)
{
    int  i;

    for (i = 0; i < nworkers; i++) {
        kill(workers[i], signo);
    }
}


/* "limit" minus one patients, through each node in turn */

static int
prepare(const char *account)
{
    int      i;
    line_t  *l;

    for (i = 0; i < limit - 1; i++) {
        l = &lines[i % nnodes];

        ask(l, account, i);
        hear_all(l, l + 1);

        if (l->status != 200) {
            return 0;
        }
    }

    return 1;
}


static void
trial(int number)
{
    int      i, won, refused;
    char     account[64], source[16];
    line_t  *l, *winner;

    snprintf(account, sizeof(account), "%s-%d", first, number);

    if (!prepare(account)) {
        printf("account %s: not at its limit minus one\n", account);
        odd++;
        return;
    }

    if (number % 2) {
        all(SIGSTOP);
    }

    for (i = 0; i < nlines; i++) {
        ask(&lines[(i + number) % nlines], account, limit + i);
    }

    if (number % 2) {
        all(SIGCONT);
    }

    hear_all(lines, lines + nlines);

    won = 0;
    refused = 0;
    winner = NULL;

    for (l = lines; l < lines + nlines; l++) {

        if (l->status == 200) {
            won++;
            winner = l;

        } else if (l->status == 403) {
            refused++;
        }

        field(l->in, "X-Source", source, sizeof(source));

        for (i = 0; i < 4; i++) {
            sources[i] += (strcmp(source, names[i]) == 0);
        }

        if (l->status <= 0) {
            close(l->fd);
            open_line(l);
            again++;
        }
    }

    admitted += won;

    if (winner) {
        winners[winner->node]++;
    }

    if (won != 1 || refused != nlines - 1) {
        printf("account %s: %d admitted, %d refused of %d\n", account, won,
               refused, nlines);
        odd++;
    }
}


static void
options(int argc, char **argv)
{
    int    c;
    char  *pid;

    while ((c = getopt(argc, argv, "c:t:l:f:s:")) != -1) {

        switch (c) {
        case 'c': nlines = atoi(optarg); break;
        case 't': trials = atoi(optarg); break;
        case 'l': limit = atoi(optarg); break;
        case 'f': first = optarg; break;
        case 's':
            for (pid = strtok(optarg, " ");
                 pid && nworkers < WORKERS;
                 pid = strtok(NULL, " "))
            {
                workers[nworkers++] = atoi(pid);
            }
            break;
        default:
            errx(2, "race [options] PORT ...");
        }
    }

    for ( /* void */ ; optind < argc && nnodes < NODES; optind++) {
        ports[nnodes++] = atoi(argv[optind]);
    }
}


int
main(int argc, char **argv)
{
    int  i;

    options(argc, argv);

    lines = calloc(nlines, sizeof(line_t));
    if (nnodes == 0 || lines == NULL) {
        errx(2, "no port, no memory");
    }

    for (i = 0; i < nlines; i++) {
        lines[i].node = i % nnodes;
        open_line(&lines[i]);
    }

    for (i = 0; i < trials; i++) {
        trial(i);
    }

    printf("trials=%d odd=%d admitted=%d lost=%d", trials, odd, admitted,
           again);

    for (i = 0; i < nnodes; i++) {
        printf(" won_by_%d=%d", i + 1, winners[i]);
    }

    for (i = 0; i < 4; i++) {
        printf(" %s=%d", names[i], sources[i]);
    }

    printf("\n");

    return 0;
}
