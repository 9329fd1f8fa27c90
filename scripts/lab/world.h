
/*
 * All that the laboratory assumes, in one place.  The marks: [S] read in a
 * published source, [D] arithmetic on such figures, [M] measured, [A] an
 * assumption.  scripts/lab/run reads the numbers of "#define NAME number".
 */


#ifndef WORLD_H
#define WORLD_H


/* time: simulated seconds since the epoch */

#define WORLD_HOUR         3600
#define WORLD_DAY          86400
#define WORLD_DAY_ZERO     18994     /* Monday 2022-01-03, in days           */
#define WORLD_HISTORY      91        /* days before: 35 that fill a memory,
                                        then those that a baseline learns on,
                                        -56 to -28                       [D] */
#define WORLD_HISTORY_PAGES  8       /* where every page is sent         [D] */
#define WORLD_WATCHED      28        /* days that "usual" looks back     [A] */


/* owners */

#define WORLD_DRIFT        .08       /* a week, log random walk          [A] */
#define WORLD_CAMPAIGN     .05       /* of days,                         [A] */
#define WORLD_CAMPAIGN_X   1.6       /*   and how many times the work    [A] */
#define WORLD_HOLIDAY      .06       /* of weeks                         [A] */
#define WORLD_VIEWS        6         /* pages a patient, 1 to            [A] */
#define WORLD_VIEW_GAP     40        /* s between two, at the most twice [A] */
#define WORLD_FRESH_DAYS   90        /* "new" is against so many    [S of .h]*/


/*
 * roles: name, share, patients a day, sigma between accounts, from day to
 * day, new ones, misses, accounts of one establishment (and its address),
 * chance of another address: on a day, at a patient's
 *
 * shares [A]; patients [S, D] but the clerk's [A]; sigmas [A]; new [A] but
 * the nurse's [D]; misses, establishments and addresses [A]
 */

#define WORLD_ROLES                                                           \
    { "pharmacy",     .42, 174, .55, .20, .30, .010,  1, .05, 0   },          \
    { "large",        .03, 500, .20, .20, .30, .010,  1, .05, 0   },          \
    { "practitioner", .35,  22, .35, .25, .12, .010,  1, .10, 0   },          \
    { "nurse",        .12,  23, .40, .20, .04, .010,  1, 1,   .15 },          \
    { "clerk",        .08, 110, .40, .25, .60, .020, 40, 0,   0   }

#define WORLD_NROLES       5


typedef struct {
    const char  *name;
    double       share;          /* of all accounts */
    double       patients;       /* on an ordinary day, the accounts' mean */
    double       spread;         /* between accounts, sigma of the logarithm */
    double       daily;          /* from day to day */
    double       fresh;          /* patients not seen in 90 days */
    double       misses;         /* of the lookups */
    int          together;       /* accounts of one establishment */
    double       elsewhere;      /* days at another address */
    double       moves;          /* chance at each patient of yet another */
} role_t;


/* from Monday; and from 8 to 20 h, humps at 10 to 12 and 17 to 19       [A] */

#define WORLD_WEEK   { 1.15, 1.02, 1, 1, 1.1, .6, .03 }
#define WORLD_HOURS  { .6, .9, 1.4, 1.4, .8, .5, .7, .9, 1, 1.5, 1.5, .8 }


/* where false alarms wait: parts of the accounts, or of their days      [A] */

#define WORLD_ALL_HOURS    .03       /* pharmacies open for 24 hours     [A] */
#define WORLD_NIGHT        .03       /* nights on duty, of pharmacies    [A] */
#define WORLD_NIGHT_X      .3        /*   so much more work,             [A] */
#define WORLD_NIGHT_FRESH  .8        /*   most of it unknown             [A] */
#define WORLD_VACCINATION  .01       /* weeks: of pharmacies, practices  [A] */
#define WORLD_VACCINATION_X  1.6     /*   for three days of it, a pharmacy
                                        so many times its work,          [A] */
#define WORLD_VACCINATION_PRACTICE  2.5      /*   a practice             [A] */
#define WORLD_VACCINATION_FRESH  .5  /*   with so many new               [A] */
#define WORLD_COLD         .04       /* accounts whose first day comes,
                                        within 112 days from -56 on      [A] */
#define WORLD_BILLING      .10       /* practitioners and nurses who open
                                        again all of 30 days, each month [A] */
#define WORLD_BILLING_GAP  6         /* s between two of them            [A] */
#define WORLD_MOBILES      30        /* addresses that a phone may have  [A] */


/* the policies: memory; and P1's limit_req, whose burst is chosen */

#define WORLD_MEMORY       35        /* days: billing opens again whoever came
                                        in 30                            [A] */
#define WORLD_HABIT_FIRST  7         /* weeks ago, as the module learns  [M] */
#define WORLD_HABIT_LAST   5
#define WORLD_HABIT_DAYS   5         /* of work, or there is no baseline [M] */
#define WORLD_HABIT_MORE   12        /*   of a week and longer           [M] */
#define WORLD_REQ_RATE     .1        /* a second                         [A] */


/* an owner who is challenged proves himself, and a throttled one waits */

#define WORLD_PROVES       30        /* s                                [A] */
#define WORLD_WAITS        120       /* s; who had to wait longer goes on with
                                        the next patient                 [A] */


/* thieves */

#define WORLD_LIST         26842     /* patients an account              [D] */
#define WORLD_ADDRESSES    3         /* of S1's robots, for all accounts [A] */
#define WORLD_RETRY        60        /* s: a robot that was refused      [A] */
#define WORLD_RETRY_SLOW   600       /* s: who means to stay for weeks   [A] */
#define WORLD_KNOWING_GAP  20        /* s: S4 between two                [A] */
#define WORLD_OUTAGE       60        /* s: S12, Redis is killed after    [S] */
#define WORLD_REVISITS     10        /* S9                               [S] */
#define WORLD_SESSION      3         /* requests of one session, S8      [A] */
#define WORLD_RAMP         .05       /* a day, S10                       [S] */
#define WORLD_RAMP_START   .05       /*   of the owner's patients        [A] */
#define WORLD_FLEET        .395      /* S5: 1,500 of 3,800 accounts   [S, D] */


/*
 * scenarios: name, accounts (0: WORLD_FLEET of all), days, kind, least and
 * most of what the kind asks for (RATE: a second; DAILY: a day; KNOWING,
 * BURST: none; RAMP: none), list: patients for each account
 */

#define WORLD_SCENARIOS                                                       \
    { "S1",   19,  1, RATE,    1,    10,   WORLD_LIST, 0 },                   \
    { "S2",    5,  1, RATE,    16.7, 16.7, 300000, 0 },                       \
    { "S3",    2, 28, RATE,    17.6, 17.6, 18400000, EVENINGS },              \
    { "S4a",  19, 28, DAILY,   25,   25,   WORLD_LIST, 0 },                   \
    { "S4b",  19, 28, DAILY,   35,   35,   700, WORKDAYS },                   \
    { "S4c",  19, 28, KNOWING, 0,    0,    WORLD_LIST, 0 },                   \
    { "S5",    0, 14, DAILY,   714,  715,  10000, FLEET },                    \
    { "S6",    5,  1, RATE,    1,    10,   WORLD_LIST, GUESSES },             \
    { "S7",    5,  1, RATE,    .1,   1,    WORLD_LIST, ROWS },                \
    { "S8",   19,  1, RATE,    1,    10,   WORLD_LIST, MASKED },              \
    { "S9",   19,  1, RATE,    1,    10,   WORLD_LIST, REVISITS },            \
    { "S10",  19, 84, RAMP,    0,    0,    WORLD_LIST, 0 },                   \
    { "S11",  19,  7, RATE,    1,    10,   WORLD_LIST, DORMANT },             \
    { "S12",  19,  1, RATE,    1,    10,   WORLD_LIST, OUTAGE },              \
    { "S13",   5,  1, BURST,   0,    0,    200, 0 },                          \
    { "S14",  19,  7, RATE,    1,    10,   WORLD_LIST, PASSES }


#endif /* WORLD_H */
