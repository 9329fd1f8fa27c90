
#include "counts.h"
#include "lab.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>


/* accounts are by themselves: one after another */

void
tune(void)
{
    int              i, k, day;
    view_t          *view;
    tally_t         *tally;
    person_t        *person;
    counts_t        *counts;
    const uint32_t  *totals;

    lab.pages = 1;
    lab.nall = lab.naccounts;
    lab.accounts = calloc(lab.nall, sizeof(account_t));
    lab.nlimits = counts_n;
    memcpy(lab.names, counts_names, sizeof(lab.names));
    counts = counts_open();

    if (lab.accounts == NULL) {
        err(2, "calloc");
    }

    for (i = 0; i < lab.nall; i++) {
        person = &lab.accounts[i].person;
        lab.accounts[i].days = calloc(lab.to - lab.from, sizeof(tally_t));
        person_begin(person, lab.seed, i, -WORLD_HISTORY, 1);
        counts_clear(counts);

        while ((view = person_next(person, day_start(lab.to)))) {
            totals = counts_view(counts, view);
            day = day_of(view->when);

            if (day >= lab.from) {
                tally = &lab.accounts[i].days[day - lab.from];
                tally->flags = AT_WORK;

                for (k = 0; k < lab.nlimits; k++) {
                    if (totals[k] > tally->most[k]) {
                        tally->most[k] = totals[k];
                    }
                }
            }

            person_done(person);
            lab.lookups++;
        }

        person_end(person);
    }

    tally_print_days();
}
