/*
 * What accounts did, and what became of them, day by day of local time.
 */


#ifndef DAYS_H
#define DAYS_H


#include "wire.h"

#include <jansson.h>
#include <stdint.h>


#define DAYS_LIMITS  32       /* of a policy, at most */


typedef struct days_s          days_t;
typedef struct days_account_s  days_account_t;


/* a lookup that was judged and measured */

typedef struct {
    days_account_t  *account;
    double           time;
    wire_verdict_e   verdict;
    int              limit;                    /* that decided, or -1 */
    unsigned         count;
    uint32_t         totals[DAYS_LIMITS];      /* of the measured, by limit */
} days_lookup_t;


days_t *days_open(void);

/* the account of that name; "role" as of now */
days_account_t *days_account(days_t *days, const char *name, const char *role);
const char *days_account_name(days_account_t *account);

/* a proof, Unix seconds, that is later than any before */
double days_account_proof(days_account_t *account, double time);

/* a limit's number by its name, -1 if there is none: "" */
int days_limit(days_t *days, const char *name, size_t len);
const char *days_limit_name(days_t *days, int limit);

/* in the order of the log */
void days_count(days_t *days, const days_lookup_t *lookup);

/* "share": of the account-days that may go over a count that is suggested */
json_t *days_report(days_t *days, double share);


#endif /* DAYS_H */
