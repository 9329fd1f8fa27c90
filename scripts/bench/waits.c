/*
 * Loaded into nginx before libc: how often and how long its workers slept for
 * the lock of a zone, in a file that they share.  ngx_shmtx_lock() spins for
 * some 2,000 pauses, and then waits for a semaphore; nothing else in nginx
 * does.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


static struct {
    unsigned long  sleeps;
    unsigned long  ns;
} *waits;

static int  (*libc_sem_wait)(sem_t *sem);


static unsigned long
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}


__attribute__((constructor)) static void
begin(void)
{
    int          fd;
    const char  *file = getenv("BENCH_WAITS");

    libc_sem_wait = (int (*)(sem_t *)) dlsym(RTLD_NEXT, "sem_wait");

    if (file == NULL) {
        return;
    }

    fd = open(file, O_RDWR|O_CREAT, 0600);

    if (fd == -1 || ftruncate(fd, sizeof(*waits)) == -1) {
        abort();
    }

    waits = mmap(NULL, sizeof(*waits), PROT_READ|PROT_WRITE, MAP_SHARED, fd,
                 0);

    if (waits == MAP_FAILED) {
        abort();
    }

    close(fd);
}


int
sem_wait(sem_t *sem)
{
    int            rc;
    unsigned long  start;

    if (waits == NULL) {
        return libc_sem_wait(sem);
    }

    start = now();
    rc = libc_sem_wait(sem);

    __atomic_add_fetch(&waits->sleeps, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&waits->ns, now() - start, __ATOMIC_RELAXED);

    return rc;
}
