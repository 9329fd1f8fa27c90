
/* What the parts of the laboratory's program share: accounts and results. */


#ifndef LAB_H
#define LAB_H


#include "people.h"
#include "thieves.h"
#include "wire.h"


#define LAB_LIMITS  16


enum { CHALLENGED = 1, DENIED = 2, THROTTLED = 4, AT_WORK = 8 };


/* of an account and a day */

typedef struct {
    unsigned    flags;
    unsigned    lookups;
    uint32_t    most[LAB_LIMITS];   /* of each limit's total */
} tally_t;


typedef struct account_s  account_t;


/* one request under way, and the owner's that is to be asked again */

typedef struct {
    account_t  *account;
    int         theirs;             /* a thief's */
    grab_t      grab;
    double      when;
    int         day;
} ask_t;


struct account_s {
    person_t    person;
    int         number;
    int         stolen;
    char        name[32];
    thief_t    *thief;

    ask_t       ask;
    int         inflight;
    uint64_t    batch[400];         /* history: patients of one hour */

    double      proof;              /* when, 0: none */
    double      again;              /* the owner's view is due again then */
    int         tries;

    tally_t    *days;
    uint32_t    usual[LAB_LIMITS];  /* most, in the days watched */
};


typedef struct {
    uint64_t    seed;
    int         naccounts, ndormant;
    int         from, to;           /* days */
    double      epoch;              /* s */
    int         pages, batches;
    int         stolen;             /* at most, of the fleet as many as are */
    int         everybody, intervals;
    const char *location;

    wire_t     *wire;               /* or */
    double      rate, burst;        /*   limit_req as modelled; 0: no guard */
    int         redis;              /* its pid, to be killed */
    double      outage;             /* when; INFINITY: never */

    account_t  *accounts;
    int         nall;
    const char *names[LAB_LIMITS];  /* of limits, in the order of totals */
    int         nlimits;
    uint64_t    lookups;
} lab_t;


extern lab_t  lab;


/* answers instead of a guard: limit_req by address, or nothing */
void mock_judge(const char *address, double when, wire_answer_t *answer);

/* lives all accounts until day "from", and sends what comes until then */
void populate(void);
void run(double until);

/* days of owners, counted here */
void tune(void);

/* the same, judged by the policy of that file */
void foresee(const char *path);

/* a scenario, on files that known_read() takes, or NULL */
void attack(const char *name, const char *limits, const char *usual);

/* the totals of an answer */
void tally_totals(account_t *account, int day, const char *totals);
void tally_answer(account_t *account, int day, const wire_answer_t *answer);
void tally_print_days(void);
void tally_print_usual(void);

/* what a thief who knows everything leaves to the owners, of the files of
 * limits and of what is usual */
void known_read(const char *limits, const char *usual);
void known_give(thief_t *thief, const account_t *account);


#endif /* LAB_H */
