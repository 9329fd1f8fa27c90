
#include "counts.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>


#define SLICES  32


enum { LOOKUPS, PATIENTS, NEW, MISSES, ADDRESSES };


typedef struct {
    const char  *name;
    int          signal;
    double       window;
} limit_t;


/* whoever was seen: when last, and when he was last counted in each set */

typedef struct {
    uint64_t     key;
    double       seen;
    int64_t      slices[COUNTS_MOST];
} entry_t;


typedef struct {
    int64_t      newest;
    uint32_t     counts[SLICES + 1];
    uint32_t     total;
} window_t;


struct counts_s {
    entry_t     *entries;
    size_t       size, n;
    window_t     windows[COUNTS_MOST];
    uint32_t     totals[COUNTS_MOST];
};


static const limit_t  limits[] = {
    { "lookups/1h",       LOOKUPS,   WORLD_HOUR },
    { "lookups/1d",       LOOKUPS,   WORLD_DAY },
    { "patients/1h",      PATIENTS,  WORLD_HOUR },
    { "patients/1d",      PATIENTS,  WORLD_DAY },
    { "patients/7d",      PATIENTS,  7 * WORLD_DAY },
    { "patients/28d",     PATIENTS,  28 * WORLD_DAY },
    { "new_patients/1h",  NEW,       WORLD_HOUR },
    { "new_patients/1d",  NEW,       WORLD_DAY },
    { "new_patients/7d",  NEW,       7 * WORLD_DAY },
    { "new_patients/28d", NEW,       28 * WORLD_DAY },
    { "misses/1d",        MISSES,    WORLD_DAY },
    { "addresses/1d",     ADDRESSES, WORLD_DAY },
    { "new_patients/10s", NEW,       10 },
    { "new_patients/1m",  NEW,       60 },

    /* once more, for limits that no challenge empties */
    { "stop/7d",          NEW,       7 * WORLD_DAY },
    { "stop/28d",         NEW,       28 * WORLD_DAY }
};

int          counts_n = sizeof(limits) / sizeof(limits[0]);
const char  *counts_names[COUNTS_MOST] = {
    "lookups/1h", "lookups/1d", "patients/1h", "patients/1d", "patients/7d",
    "patients/28d", "new_patients/1h", "new_patients/1d", "new_patients/7d",
    "new_patients/28d", "misses/1d", "addresses/1d", "new_patients/10s",
    "new_patients/1m", "stop/7d", "stop/28d"
};


counts_t *
counts_open(void)
{
    counts_t  *counts;

    counts = calloc(1, sizeof(counts_t));
    if (counts == NULL) {
        err(2, "calloc");
    }

    return counts;
}


void
counts_close(counts_t *counts)
{
    free(counts->entries);
    free(counts);
}


void
counts_clear(counts_t *counts)
{
    if (counts->size) {
        memset(counts->entries, 0, counts->size * sizeof(entry_t));
    }

    counts->n = 0;
    memset(counts->windows, 0, sizeof(counts->windows));
    memset(counts->totals, 0, sizeof(counts->totals));
}


static entry_t *
place_of(counts_t *counts, uint64_t key)
{
    size_t  i;

    i = (key * 0x9e3779b97f4a7c15ULL >> 20) & (counts->size - 1);

    while (counts->entries[i].key && counts->entries[i].key != key) {
        i = (i + 1) & (counts->size - 1);
    }

    return &counts->entries[i];
}


/* for two more, so that both stay where they are */

static void
make_room(counts_t *counts)
{
    size_t    i, size;
    entry_t  *old;

    if (counts->n * 2 + 4 < counts->size) {
        return;
    }

    old = counts->entries;
    size = counts->size;

    counts->size = size ? 2 * size : 4096;
    counts->entries = calloc(counts->size, sizeof(entry_t));
    if (counts->entries == NULL) {
        err(2, "calloc");
    }

    for (i = 0; i < size; i++) {
        if (old[i].key) {
            *place_of(counts, old[i].key) = old[i];
        }
    }

    free(old);
}


static entry_t *
find(counts_t *counts, uint64_t key)
{
    entry_t  *entry;

    entry = place_of(counts, key);

    if (entry->key == 0) {
        counts->n++;
        entry->key = key;
        entry->seen = 0;
        memset(entry->slices, 0, sizeof(entry->slices));
    }

    return entry;
}


static void
slide(window_t *window, int64_t slice)
{
    for ( /* void */ ; window->newest < slice; window->newest++) {

        if (window->total == 0) {
            window->newest = slice;
            return;
        }

        window->total -= window->counts[(window->newest + 1) % (SLICES + 1)];
        window->counts[(window->newest + 1) % (SLICES + 1)] = 0;
    }
}


/* of a set: who is in it already moves to the newest slice */

static void
count_distinct(window_t *window, int64_t *last, int64_t slice)
{
    if (*last && *last >= slice - SLICES) {
        window->counts[*last % (SLICES + 1)]--;
        window->total--;
    }

    window->counts[slice % (SLICES + 1)]++;
    window->total++;
    *last = slice;
}


static int
cost(const limit_t *limit, int novel, int miss, int64_t patient,
    int64_t address, int64_t slice)
{
    switch (limit->signal) {

    case PATIENTS:
        return !(patient && patient >= slice - SLICES);

    case ADDRESSES:
        return !(address && address >= slice - SLICES);

    default:
        return limit->signal == LOOKUPS || (limit->signal == NEW && novel)
               || (limit->signal == MISSES && miss);
    }
}


/* only what it "would" count? */

static const uint32_t *
count(counts_t *counts, const view_t *view, int would)
{
    int            i, novel, costs;
    int64_t        slice;
    window_t      *window;
    entry_t       *patient, *address;
    const limit_t *limit;

    make_room(counts);
    patient = find(counts, view->patient | (uint64_t) 1 << 63);
    address = find(counts, 1 + (uint64_t) view->address);

    novel = patient->seen < view->when
                            - WORLD_MEMORY * (double) WORLD_DAY;

    if (!would) {
        patient->seen = view->when;
    }

    for (i = 0; i < counts_n; i++) {
        limit = &limits[i];
        window = &counts->windows[i];
        slice = view->when * SLICES / limit->window;
        slide(window, slice);

        costs = cost(limit, novel, view->miss, patient->slices[i],
                     address->slices[i], slice);

        if (would) {
            counts->totals[i] = window->total + costs;
            continue;
        }

        switch (limit->signal) {

        case PATIENTS:
            count_distinct(window, &patient->slices[i], slice);
            break;

        case ADDRESSES:
            count_distinct(window, &address->slices[i], slice);
            break;

        default:
            window->counts[slice % (SLICES + 1)] += costs;
            window->total += costs;
        }

        counts->totals[i] = window->total;
    }

    return counts->totals;
}


const uint32_t *
counts_view(counts_t *counts, const view_t *view)
{
    return count(counts, view, 0);
}


const uint32_t *
counts_would(counts_t *counts, const view_t *view)
{
    return count(counts, view, 1);
}


int
counts_habit_days(const char *name)
{
    return strstr(name, "/7d") || strstr(name, "/28d") ? WORLD_HABIT_MORE
                                                       : WORLD_HABIT_DAYS;
}


void
counts_empty(counts_t *counts, int limit)
{
    size_t  i;

    memset(&counts->windows[limit], 0, sizeof(window_t));

    for (i = 0; i < counts->size; i++) {
        counts->entries[i].slices[limit] = 0;
    }
}
