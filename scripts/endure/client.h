/* What the clients of scripts/endure share: HTTP/1.1 on 127.0.0.1. */


#ifndef _CLIENT_H_INCLUDED_
#define _CLIENT_H_INCLUDED_


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


static inline double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* from 0 to below n; the same every time */

static inline uint64_t
chance(uint64_t n)
{
    static uint64_t  x = 88172645463325252ULL;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;

    return (x >> 11) % n;
}


/* on loopback connect() does not wait; -1 if nobody listens */

static inline int
dial(int port)
{
    int                 fd, one;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    one = 1;
    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd == -1) {
        err(2, "socket");
    }

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1
        || fcntl(fd, F_SETFL, O_NONBLOCK) == -1)
    {
        close(fd);
        return -1;
    }

    return fd;
}


/* closes with an RST */

static inline void
slam(int fd)
{
    struct linger  linger = { 1, 0 };

    (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}


/* the value of a field, or "-" */

static inline const char *
field(const char *in, const char *name, char *value, size_t size)
{
    size_t       len;
    const char  *p;

    len = strlen(name);
    snprintf(value, size, "-");

    for (p = strstr(in, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n"))
    {
        if (strncasecmp(p + 2, name, len) == 0 && p[2 + len] == ':') {
            p += 2 + len + 1;
            p += strspn(p, " ");
            snprintf(value, size, "%.*s", (int) strcspn(p, "\r"), p);
            break;
        }
    }

    return value;
}


/* the status of an answer, 0 while it is not complete; "in" ends with a \0 */

static inline int
complete(const char *in, size_t len)
{
    char         length[24];
    const char  *body;

    body = strstr(in, "\r\n\r\n");

    if (body == NULL || len < 12) {
        return 0;
    }

    field(in, "Content-Length", length, sizeof(length));

    if (len < (size_t) (body + 4 - in) + strtoul(length, NULL, 10)) {
        return 0;
    }

    return atoi(in + 9);
}


#endif /* _CLIENT_H_INCLUDED_ */
