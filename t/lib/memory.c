
/*
 * Preloaded into nginx by t/92-memory.t: while the file PG_SHORT exists there
 * is no memory for the patients of a lookup that names hundreds.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>


#define PATIENTS  (512 * 24)


void *
malloc(size_t size)
{
    const char   *path;

    static void  *(*next)(size_t size);

    if (next == NULL) {
        *(void **) &next = dlsym(RTLD_NEXT, "malloc");
    }

    if (size == PATIENTS) {
        path = getenv("PG_SHORT");

        if (path && access(path, F_OK) == 0) {
            return NULL;
        }
    }

    return next(size);
}
