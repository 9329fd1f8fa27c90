
/*
 * What days_t holds: for days.c, which counts, and days_report.c.
 */


#ifndef DAYS_INSIDE_H
#define DAYS_INSIDE_H


#include "days.h"


/* what an account was refused, by one limit */

typedef struct stop_s  stop_t;

struct stop_s {
    stop_t         *next;
    wire_verdict_e  verdict;
    int             limit;
    uint64_t        lookups;
    int             day;                       /* the last one */
    uint64_t        days;
    double          first, last;
};


struct days_account_s {
    char           *name;
    uint32_t        role;
    double          proof;
    int             day;                       /* at hand, or -1 */
    unsigned        stopped;                   /* bits of verdicts, this day */
    uint32_t        most[DAYS_LIMITS];         /* this day */
    stop_t         *stops;
};


typedef struct {
    uint32_t       *values;
    size_t          n, room;
} sample_t;


typedef struct {
    char           *name;
    uint64_t        days;                      /* of accounts */
    uint64_t        stopped[WIRE_DENY + 1];    /* such days */
    sample_t        samples[DAYS_LIMITS];
} role_t;


typedef struct {
    double          start, end;
    uint64_t        verdicts[WIRE_DENY + 1];
    uint64_t        accounts;
    uint64_t        stopped[WIRE_DENY + 1];
} day_t;


struct days_s {
    days_account_t **table;                    /* by hash, half of it empty */
    size_t          ntable, naccounts;

    role_t         *roles;
    size_t          nroles;

    day_t          *days;
    size_t          ndays, day;                /* the last one used */

    char           *limits[DAYS_LIMITS];
    int             nlimits;

    uint64_t        verdicts[WIRE_DENY + 1];
};


/* the account's day is over, if it has one */
void days_close(days_t *days, days_account_t *account);


#endif /* DAYS_INSIDE_H */
