
/*
 * An embedded store in memory of the test's own, shared with its children,
 * with a page behind it that nobody may touch.
 */


#ifndef _EMBEDDED_H_INCLUDED_
#define _EMBEDDED_H_INCLUDED_


#include "ngx_patient_guard_shm.h"

#include <sys/mman.h>


/* a slab pool that was never used: one allocation takes it all */

void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    if (size == 0 || size > pool->pfree * ngx_pagesize) {
        return NULL;
    }

    return pool->start;
}


static inline ngx_patient_guard_shm_t *
embedded(ngx_uint_t pages)
{
    u_char                   *p;
    ngx_slab_pool_t          *pool;
    ngx_shm_zone_t            zone;
    ngx_patient_guard_shm_t  *shm;

    static ngx_log_t          log;

    p = mmap(NULL, (pages + 2) * ngx_pagesize, PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED
        || mprotect(p + (pages + 1) * ngx_pagesize, ngx_pagesize, PROT_NONE))
    {
        abort();
    }

    pool = (ngx_slab_pool_t *) p;
    pool->start = p + ngx_pagesize;
    pool->pfree = pages;
    pool->mutex.lock = &pool->lock.lock;

    shm = ngx_pcalloc(NULL, sizeof(ngx_patient_guard_shm_t));

    memset(&zone, 0, sizeof(ngx_shm_zone_t));
    zone.shm.addr = p;
    zone.shm.log = &log;
    zone.data = shm;

    return ngx_patient_guard_shm_init(&zone, NULL) == NGX_OK ? shm : NULL;
}


/* the same, of a policy with Redis */

static inline ngx_patient_guard_shm_t *
embedded_beside(ngx_uint_t pages)
{
    ngx_patient_guard_shm_t  *shm;

    shm = embedded(pages);

    if (shm) {
        shm->fleet = 1;
    }

    return shm;
}


#endif /* _EMBEDDED_H_INCLUDED_ */
