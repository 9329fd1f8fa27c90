
/*
 * What the guard would count of an owner whom nobody stops: the signals that
 * go by account, in slices, as the module's windows are.  Limits are chosen by
 * these, for many more accounts than can be sent; that the module counts the
 * same is held against it at each run.
 */


#ifndef COUNTS_H
#define COUNTS_H


#include "people.h"


#define COUNTS_MOST    16


typedef struct counts_s  counts_t;


/* the limits in their order */
extern const char  *counts_names[COUNTS_MOST];
extern int          counts_n;

counts_t *counts_open(void);
void counts_close(counts_t *counts);
void counts_clear(counts_t *counts);           /* for another account */

/* totals after it; page 0 is the patient's first view */
const uint32_t *counts_view(counts_t *counts, const view_t *view);

/* what they would be */
const uint32_t *counts_would(counts_t *counts, const view_t *view);

/* of so many days of work the limit of that name knows what is usual */
int counts_habit_days(const char *name);

/* a limit starts afresh */
void counts_empty(counts_t *counts, int limit);


#endif /* COUNTS_H */
