
/*
 * Owners of accounts: what they look up, day by day.  A life depends on the
 * seed and the account's number alone, so it can be lived again.
 */


#ifndef PEOPLE_H
#define PEOPLE_H


#include "chance.h"
#include "world.h"

#include <stdint.h>


typedef struct {
    double       when;
    uint64_t     patient;
    int          address;
    int          miss;
    int          page;           /* of this patient's visit, from 0 */
} view_t;


typedef struct {
    uint64_t     chance;         /* state of the random numbers */
    int          number;
    int          role;
    int          dormant;        /* never at work */
    int          born;           /* the day of the first lookup */
    int          all_hours, billing;
    int          vaccination;    /* its first day, of this week, or -1 */

    double       level;          /* patients on an ordinary day */
    int          holiday;
    uint64_t    *pool;
    uint32_t     npool;

    uint64_t    *past[31];       /* billing: whom each day saw */
    uint32_t     npast[31];

    view_t      *views;          /* of one day, in the order of time */
    uint32_t     nviews, most, next;
    int          day;            /* whose views come next, from day zero */
    int          address;        /* of today */
    int          pages;          /* every page, not one for each patient */
} person_t;


extern const role_t  roles[WORLD_NROLES];



/* the mix of roles, whatever part of the numbers is taken */
int person_role(int number);

/* lives from that day on, counted from day zero; "pages": every page */
void person_begin(person_t *person, uint64_t seed, int number, int day,
    int pages);
void person_end(person_t *person);

/* the next view, NULL if it comes at "until" or later; it is due until
 * person_done() */
view_t *person_next(person_t *person, double until);
void person_done(person_t *person);

/* texts are good until the fourth call after it */
const char *person_establishment(const person_t *person);
const char *person_address(const person_t *person, int address);

double day_start(int day);
int day_of(double when);
int weekday_of(int day);                   /* 0: Monday */


#endif /* PEOPLE_H */
