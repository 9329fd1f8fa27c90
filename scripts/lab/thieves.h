
/* Thieves: who asks for what when, and what they make of the answers. */


#ifndef THIEVES_H
#define THIEVES_H


#include "people.h"
#include "wire.h"


#define THIEF_ROWS    100        /* of one request, at most */
#define THIEF_LIMITS  16


enum { RATE, DAILY, KNOWING, RAMP, BURST };

enum {
    EVENINGS  = 0x001,           /* and week-ends */
    WORKDAYS  = 0x002,
    FLEET     = 0x004,           /* the whole population is at work */
    GUESSES   = 0x008,           /* 60 to 95 % misses */
    ROWS      = 0x010,           /* search pages of 20 to 100 */
    MASKED    = 0x020,           /* another address every few requests */
    REVISITS  = 0x040,
    DORMANT   = 0x080,           /* one after another, whose owners are away */
    OUTAGE    = 0x100,
    PASSES    = 0x200            /* holds the second factor */
};


typedef struct {
    const char  *name;
    int          accounts;       /* 0: WORLD_FLEET of all */
    int          days;
    int          kind;
    double       least, most;
    double       list;           /* patients for each account */
    int          flags;
} scenario_t;


/* what KNOWING leaves to the owner: room in each window */

typedef struct {
    double       window;         /* s */
    double       room;
    uint32_t     first;          /* of his own that is in it */
} known_t;


typedef struct {
    const scenario_t  *scenario;
    uint64_t           chance;
    int               *victims;  /* accounts, by the engine's numbers */
    int                nvictims, at;
    double             owner;    /* patients a day of the owner */

    double             start, next;
    double             gap;      /* RATE: s between two */
    double             misses;   /* GUESSES: part */
    double             left;     /* DAILY, RAMP: patients due today */
    int                day;
    double             quota;

    double             proof;    /* PASSES: when */
    int                refused;  /* in turn */
    int                revisits;
    int                session;
    uint64_t           list;     /* the next patient's number */
    double             leaked;   /* distinct patients */
    double             asked;

    double            *taken;    /* KNOWING: when */
    uint32_t           ntaken;
    known_t            known[THIEF_LIMITS];
    int                nknown;
} thief_t;


/* what is asked for next */

typedef struct {
    double             when;
    uint64_t           patient;  /* the first of rows */
    int                rows;
    int                miss;
    int                fresh;    /* patients not yet disclosed */
    int                copies;   /* at once */
    char               address[48];
} grab_t;


const scenario_t *scenario_find(const char *name);

/* "number": of this thief, of the scenario's */
void thief_begin(thief_t *thief, const scenario_t *scenario, uint64_t seed,
    int number, double start);

/* INFINITY when it is over */
double thief_due(thief_t *thief);
void thief_ask(thief_t *thief, grab_t *grab);
void thief_told(thief_t *thief, const grab_t *grab,
    const wire_answer_t *answer);

int answer_served(const wire_answer_t *answer);


#endif /* THIEVES_H */
