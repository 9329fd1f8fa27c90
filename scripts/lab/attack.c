
#include "lab.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>


static const scenario_t  *scenario;
static thief_t           *thieves;
static int                nthieves, wanted;


/* accounts that have been at work for long, each once, by the seed */

static void
steal(void)
{
    int        i, n, at, *victims;
    double     start;
    thief_t   *thief;
    uint64_t   c;

    c = lab.seed * 31337 + 17;
    (void) chance(&c);
    start = day_start(0) + (6 + part(&c) * 24) * WORLD_HOUR;

    if (scenario->flags & OUTAGE) {
        lab.outage = start + WORLD_OUTAGE;
    }

    wanted = scenario->accounts ? scenario->accounts
             : (int) (lab.naccounts * WORLD_FLEET);
    n = wanted < lab.stolen || scenario->accounts == 0
        ? wanted : lab.stolen;

    thieves = calloc(n, sizeof(thief_t));
    victims = calloc(n, sizeof(int));

    if (thieves == NULL || victims == NULL) {
        err(2, "calloc");
    }

    for (i = 0; i < n; i++) {
        do {
            at = (scenario->flags & DORMANT) ? lab.naccounts + i
                 : (int) (part(&c) * lab.naccounts);
        } while (lab.accounts[at].stolen
                 || (!(scenario->flags & DORMANT)
                     && lab.accounts[at].person.born > -WORLD_WATCHED));

        lab.accounts[at].stolen = 1;
        victims[i] = at;
    }

    nthieves = (scenario->flags & DORMANT) ? 1 : n;

    for (i = 0; i < n; i++) {
        thief = &thieves[i < nthieves ? i : 0];

        if (i < nthieves) {
            thief_begin(thief, scenario, lab.seed, i, start);
            thief->victims = &victims[i];
            thief->nvictims = nthieves == n ? 1 : n;
            thief->owner = lab.accounts[victims[i]].person.level;
            known_give(thief, &lab.accounts[victims[i]]);
        }

        lab.accounts[victims[i]].thief = thief;
    }
}


/* whoever is neither robbed nor beside who is stays at home */

static void
send_home(void)
{
    int  i;

    if ((scenario->flags & FLEET) && lab.everybody) {
        return;
    }

    for (i = 0; i < lab.nall; i++) {
        if (!lab.accounts[i].stolen) {
            lab.accounts[i].person.dormant = 1;
            lab.accounts[i].person.next = lab.accounts[i].person.nviews;
        }
    }
}


void
attack(const char *name, const char *limits, const char *usual)
{
    int     i;
    double  leaked, asked, stolen;

    scenario = scenario_find(name);
    lab.from = 0;
    lab.to = scenario->days + 2;
    lab.ndormant = (scenario->flags & DORMANT)
                   ? scenario->accounts < lab.stolen ? scenario->accounts
                     : lab.stolen : 0;
    populate();

    if (limits && usual) {
        known_read(limits, usual);
    }

    steal();
    send_home();
    run(day_start(lab.to));

    leaked = asked = 0;

    for (i = 0; i < nthieves; i++) {
        leaked += thieves[i].leaked;
        asked += thieves[i].asked;
    }

    stolen = (scenario->flags & DORMANT) ? thieves[0].nvictims : nthieves;

    /* of some of the accounts, told for all of them */
    leaked *= wanted / stolen;
    asked *= wanted / stolen;

    printf("leak %s %d %.0f %.0f\n", name, wanted, leaked, asked);
}
