
/*
 * The log of record, a JSON object a line: plain or gzip, in any order of
 * time.  One line is held at a time.
 */


#ifndef _LINES_H_INCLUDED_
#define _LINES_H_INCLUDED_


#include "names.h"


#define LINES_LONGEST  (1 << 20)               /* bytes of a line */
#define LINES_TOLD     5                       /* malformed ones, by number */


typedef enum {
    LINES_ALLOW = 0,
    LINES_THROTTLE,
    LINES_CHALLENGE,
    LINES_DENY,
    LINES_UNAVAILABLE,
    LINES_VERDICTS
} lines_verdict_e;


extern const char  *lines_verdicts[LINES_VERDICTS];


typedef struct {
    int64_t                      time;         /* ms since the epoch */
    ngx_patient_guard_account_t  account;
    lines_verdict_e              verdict;
    ngx_uint_t                   status;
    ngx_str_t                    policy;
    u_char                      *patients;     /* 16 digits, comma, 16 ... */
    ngx_uint_t                   npatients;
    unsigned                     nobody:1;     /* no account: no lookup */
    unsigned                     dry_run:1;
    unsigned                     through:1;    /* let through */
} lines_lookup_t;


typedef struct {
    uint64_t                     lines;
    uint64_t                     malformed;
    uint64_t                     broken;       /* logs without their end */
    int64_t                      first;        /* of all lookups, ms */
    int64_t                      last;
} lines_seen_t;


/* what is asked of the logs: whose lines, within what time */

typedef struct {
    names_account_t              account;
    ngx_str_t                    policy;       /* empty: any */
    int64_t                      since;        /* ms, and it belongs to it */
    int64_t                      until;
} lines_asked_t;


/*
 * Calls "each" for each line of the account's in each log, also for those
 * outside of the time.  "-" is stdin.  What is malformed is told on stderr,
 * the first few by their numbers, and counted.
 */
void lines_read(char **logs, ngx_uint_t nlogs, lines_asked_t *asked,
    lines_seen_t *seen, void (*each)(void *data, lines_lookup_t *lookup),
    void *data);

ngx_uint_t lines_within(lines_asked_t *asked, lines_lookup_t *lookup);

ngx_patient_guard_patient_t lines_patient(lines_lookup_t *lookup,
    ngx_uint_t i);

/* ISO 8601 with the offset of the time zone; buf has 32 bytes */
const char *lines_time(int64_t ms, char *buf);

void lines_summary(lines_seen_t *seen);


#endif /* _LINES_H_INCLUDED_ */
