
/* Pairs of words to a value: open addressing, grown by doubling. */


#ifndef _MAP_H_INCLUDED_
#define _MAP_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef struct {
    uint64_t      a;
    uint64_t      b;
    int64_t       value;
    uint64_t      used;
} map_cell_t;


typedef struct {
    map_cell_t   *cells;
    size_t        size;                        /* 0, or a power of 2 */
    size_t        n;
} map_t;


/* where its value is; *fresh: it was not there, and is 0 */
int64_t *map_at(map_t *map, uint64_t a, uint64_t b, int *fresh);


#endif /* _MAP_H_INCLUDED_ */
