/*
 * Walks through the zone of a running nginx, whose processes are stopped:
 *
 *     walk PID SIZE
 *
 * where SIZE is the zone's, in bytes.  A worker that was stopped in the midst
 * of a change is as good as killed: what the journal has is put back first,
 * in our copy.
 */

#include "ngx_patient_guard_node.h"
#include "walk.h"

#include <err.h>
#include <sys/mman.h>


/* the copy lies where the zone does, for pointers lead through it */

static void *
copy(pid_t pid, size_t size)
{
    int         fd;
    char        path[64], line[512];
    FILE       *maps;
    void       *p, *place;
    uintptr_t   from, to;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int) pid);
    maps = fopen(path, "r");
    if (maps == NULL) {
        err(2, "%s", path);
    }

    place = NULL;

    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx rw-s", &from, &to) == 2 && to - from == size
            && strstr(line, " rw-s "))
        {
            place = (void *) from;
        }
    }

    fclose(maps);

    if (place == NULL) {
        errx(2, "no zone of %zu bytes in process %d", size, (int) pid);
    }

    p = mmap(place, size, PROT_READ|PROT_WRITE,
             MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE, -1, 0);

    if (p != place) {
        err(3, "the place is taken");
    }

    snprintf(path, sizeof(path), "/proc/%d/mem", (int) pid);
    fd = open(path, O_RDONLY);

    if (fd == -1 || pread(fd, p, size, (off_t) (uintptr_t) place)
                    != (ssize_t) size)
    {
        err(2, "%s", path);
    }

    close(fd);

    return p;
}


int
main(int argc, char **argv)
{
    uint64_t                   saved;
    const char                *wrong;
    ngx_slab_pool_t           *pool;
    ngx_patient_guard_ref_t    ref;
    ngx_patient_guard_node_t  *node;

    if (argc != 3) {
        errx(2, "walk PID SIZE");
    }

    pool = copy(atoi(argv[1]), strtoul(argv[2], NULL, 10));
    node = pool->data;

    if (node == NULL || node->version != NGX_PATIENT_GUARD_NODE_VERSION) {
        errx(2, "no node in this zone");
    }

    saved = node->zone.saved;

    if (saved) {
        ngx_patient_guard_recover(&node->zone);
    }

    wrong = walk_node(node);

    argc = 0;
    for (ref = node->ages.oldest;
         ref && wrong == NULL;
         ref = ngx_patient_guard_member(node, ref)->newer)
    {
        argc++;
    }

    printf("%s, saved=%d accounts=%d cells=%d free=%d evicted=%d\n",
           wrong ? wrong : "whole", (int) saved, argc,
           (int) node->zone.ncells, (int) node->zone.pool.nfree,
           (int) node->ages.evicted);

    return wrong ? 1 : 0;
}
