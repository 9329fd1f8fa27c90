
/*
 * Preloaded into nginx by t/93-allocation.t: allocations of one process fail,
 * as told from outside through the file PG_ALLOCATION, which is shared memory
 * of all of them.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


typedef struct {
    int32_t   pid;                   /* whose; 0: nobody's */
    uint32_t  first;                 /* the first and the last that fail, */
    uint32_t  last;                  /*   counted from 1 */
    uint32_t  count;                 /* made, or failed, since then */
    uint32_t  starved;               /* 1: counting; else it begins when */
                                     /*   PG_ALLOCATION.conf is opened, and */
                                     /*   ends when it is opened again */
} control_t;


static volatile control_t  *control;
static char                 awaited[4096];


__attribute__((constructor)) static void
open_control(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("PG_ALLOCATION");

    if (path == NULL) {
        return;
    }

    /* nginx writes its processes' titles where its environment was */
    snprintf(awaited, sizeof(awaited), "%s.conf", path);

    fd = open(path, O_RDWR);

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(control_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);

    if (p != MAP_FAILED) {
        control = p;
    }
}


static int
fails(void)
{
    uint32_t  n;

    if (control == NULL || control->pid != getpid() || !control->starved) {
        return 0;
    }

    n = ++control->count;

    return n >= control->first && n <= control->last;
}


void *
malloc(size_t size)
{
    static void  *(*next)(size_t size);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "malloc");
    }

    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }

    return next(size);
}


void *
calloc(size_t n, size_t size)
{
    static void  *(*next)(size_t n, size_t size);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "calloc");
    }

    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }

    return next(n, size);
}


void *
realloc(void *p, size_t size)
{
    static void  *(*next)(void *p, size_t size);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "realloc");
    }

    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }

    return next(p, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    static int  (*next)(void **p, size_t alignment, size_t size);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "posix_memalign");
    }

    if (fails()) {
        return ENOMEM;
    }

    return next(p, alignment, size);
}


int
open64(const char *path, int flags, ...)
{
    va_list   args;
    mode_t    mode;

    static int  (*next)(const char *path, int flags, ...);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "open64");
    }

    if (control && control->pid == getpid() && strcmp(path, awaited) == 0) {
        control->starved ^= 1;
    }

    va_start(args, flags);
    mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);

    return next(path, flags, mode);
}
