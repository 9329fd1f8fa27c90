
/*
 * Lookups to a guard under test, by HTTP/1.1 over a unix socket: pipelined on
 * a few connections, each account on one of them, so that its lookups are
 * counted in their order.  Fails by a message on stderr and exit(1).
 */


#ifndef WIRE_H
#define WIRE_H


#include <stddef.h>


typedef struct wire_s  wire_t;


/* a member of the replay log beside those below: offered as $replay_NAME */

typedef struct {
    const char  *name;                         /* [a-z0-9_]+ */
    const char  *value;
} wire_member_t;


typedef struct {
    double                time;                /* Unix seconds */
    const char           *account;
    const char           *patient;             /* comma-separated; or NULL */
    const char           *address;             /* of the client; or NULL */
    int                   status;              /* of the portal: 200 */
    unsigned              records;             /* as the portal says; 0: no */
    const wire_member_t  *members;
    size_t                nmembers;
} wire_lookup_t;


typedef enum {
    WIRE_ALLOW, WIRE_THROTTLE, WIRE_CHALLENGE, WIRE_DENY
} wire_verdict_e;


typedef struct {
    wire_verdict_e  verdict;
    const char     *limit;                     /* that decided, or "" */
    unsigned        count;                     /* it has counted */
    const char     *totals;                    /* "name=n,..."; "" */
    double          retry_after;               /* s, 0: none */
    int             status;                    /* of the answer */
} wire_answer_t;                               /* as long as done() runs */


typedef void (*wire_done_pt)(void *data, const wire_answer_t *answer);


wire_t *wire_open(const char *path, unsigned connections);

/*
 * Queues it; all strings are copied.  "location": "/NAME" of a location of
 * the server.  done() is called from wire_flush(), and may queue more.
 */
void wire_send(wire_t *wire, const char *location,
    const wire_lookup_t *lookup, wire_done_pt done, void *data);

/* sends what is queued and waits until all of it, and what done() has queued
 * meanwhile, is answered */
void wire_flush(wire_t *wire);

void wire_close(wire_t *wire);


#endif /* WIRE_H */
