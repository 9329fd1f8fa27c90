
#include "map.h"

#include <err.h>
#include <stdlib.h>


#define MAP_FIRST  1024


static map_cell_t *
map_find(map_t *map, uint64_t a, uint64_t b)
{
    size_t       i;
    uint64_t     h;
    map_cell_t  *cell;

    h = (a ^ (b * 0x9e3779b97f4a7c15ULL)) * 0x9e3779b97f4a7c15ULL;

    for (i = h ^ h >> 32; /* void */; i++) {
        cell = &map->cells[i & (map->size - 1)];

        if (!cell->used || (cell->a == a && cell->b == b)) {
            return cell;
        }
    }
}


static void
map_grow(map_t *map)
{
    size_t  i;
    map_t   old;

    old = *map;

    map->size = old.size ? 2 * old.size : MAP_FIRST;
    map->cells = calloc(map->size, sizeof(map_cell_t));

    if (map->cells == NULL) {
        err(2, "malloc");
    }

    for (i = 0; i < old.size; i++) {
        if (old.cells[i].used) {
            *map_find(map, old.cells[i].a, old.cells[i].b) = old.cells[i];
        }
    }

    free(old.cells);
}


int64_t *
map_at(map_t *map, uint64_t a, uint64_t b, int *fresh)
{
    map_cell_t  *cell;

    if (map->n >= map->size / 3 * 2) {
        map_grow(map);
    }

    cell = map_find(map, a, b);
    *fresh = !cell->used;

    if (!cell->used) {
        cell->a = a;
        cell->b = b;
        cell->used = 1;
        map->n++;
    }

    return &cell->value;
}
