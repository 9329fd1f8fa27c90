/*
 * Preloaded into nginx where a fault is of its own machine: a clock that is
 * wrong by what CHAOS_CLOCK, a file of one int, says; and sockets to Redis
 * that take 4 KB at a time if CHAOS_TINY is set.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>


static volatile int  *offset;


__attribute__((constructor)) static void
find_clock(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("CHAOS_CLOCK");
    fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(int), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);

    offset = (p == MAP_FAILED) ? NULL : p;
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    int     rc;
    int   (*real)(struct timeval *, void *);

    real = (int (*)(struct timeval *, void *)) dlsym(RTLD_NEXT,
                                                     "gettimeofday");
    rc = real(tv, tz);

    if (offset) {
        tv->tv_sec += *offset;
    }

    return rc;
}


int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int   tiny;
    int (*real)(int, const struct sockaddr *, socklen_t);

    real = (int (*)(int, const struct sockaddr *, socklen_t))
           dlsym(RTLD_NEXT, "connect");

    if (getenv("CHAOS_TINY")) {
        tiny = 1;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(int));
    }

    return real(fd, address, length);
}
