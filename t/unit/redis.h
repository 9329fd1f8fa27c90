
/*
 * A Redis at PG_REDIS_SOCKET, asked by the room "call" over a blocking
 * socket: redis_ask() queues lookups, redis_answer() has all of them answered.
 */


#ifndef _REDIS_H_INCLUDED_
#define _REDIS_H_INCLUDED_


#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_reply.h"
#include "ngx_patient_guard_resp.h"

#include <sys/socket.h>
#include <sys/un.h>


#define REDIS_CALLS   128                /* in one batch */
#define REDIS_BUFFER  (1024 * 1024)


typedef struct {
    ngx_patient_guard_lookup_t  *lookup;
    ngx_patient_guard_tally_t   *tally;
    uint64_t                     nonce;
} redis_call_t;


static int                        redis_fd;
static ngx_str_t                  redis_keys;
static uint64_t                   redis_nonce;
static u_char                    *redis_session = (u_char *) "workers!";
static u_char                     redis_digest[NGX_PATIENT_GUARD_CALL_DIGEST];
static u_char                     redis_buffer[REDIS_BUFFER];
static u_char                    *redis_last = redis_buffer;
static redis_call_t               redis_calls[REDIS_CALLS];
static int                        redis_ncalls;
static ngx_patient_guard_resp_t  *redis_resp;


static inline void
redis_bail_out(const char *what)
{
    printf("Bail out! redis: %s\n", what);
    exit(1);
}


/* 0 if there is none to test with */

static inline int
redis_open(void)
{
    const char          *path;
    struct sockaddr_un   addr;

    static u_char        keys[64];

    path = getenv("PG_REDIS_SOCKET");

    if (path == NULL) {
        printf("# PG_REDIS_SOCKET is not set: nothing is proved of Redis\n");
        return 0;
    }

    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);

    redis_fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (connect(redis_fd, (struct sockaddr *) &addr, sizeof(addr)) != 0) {
        redis_bail_out("cannot connect");
    }

    redis_resp = ngx_patient_guard_resp_create();
    ngx_patient_guard_call_digest(redis_digest);

    redis_keys.data = keys;
    redis_keys.len = sprintf((char *) keys, "unit:%d:", (int) getpid());

    return 1;
}


static inline void
redis_close(void)
{
    close(redis_fd);
    ngx_patient_guard_resp_destroy(redis_resp);
}


/* both must stay until it is answered; the first ever teaches the script */

static inline void
redis_ask(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    size_t                       size;
    u_char                      *end;
    redis_call_t                *call;
    ngx_patient_guard_caller_t   caller;

    size = ngx_patient_guard_call_size(&redis_keys, lookup);

    if (redis_ncalls == REDIS_CALLS
        || size > (size_t) (redis_buffer + REDIS_BUFFER - redis_last))
    {
        redis_bail_out("too many lookups at once");
    }

    call = &redis_calls[redis_ncalls++];
    call->lookup = lookup;
    call->tally = tally;
    call->nonce = ++redis_nonce;

    caller.session = redis_session;
    caller.nonce = call->nonce;

    end = ngx_patient_guard_call_write(redis_last, &redis_keys, lookup,
                                       &caller,
                                       call->nonce > 1 ? redis_digest : NULL);

    if (end > redis_last + size) {
        redis_bail_out("a command is longer than its size");
    }

    redis_last = end;
}


static inline void
redis_reply(redis_call_t *call, ngx_patient_guard_reply_t *reply)
{
    if (reply->type != NGX_PATIENT_GUARD_REPLY_STRING
        || ngx_patient_guard_reply_tally(&reply->text, call->nonce,
                                        call->lookup, call->tally)
           != NGX_OK)
    {
        printf("# \"%.*s\"\n", (int) reply->text.len, reply->text.data);
        redis_bail_out("no tally");
    }
}


static inline void
redis_answer(void)
{
    int                         answered;
    u_char                      buf[65536], *p;
    ssize_t                     n;
    ngx_int_t                   rc;
    ngx_patient_guard_reply_t   reply;

    for (p = redis_buffer; p < redis_last; p += n) {
        n = write(redis_fd, p, redis_last - p);

        if (n <= 0) {
            redis_bail_out("cannot write");
        }
    }

    for (answered = 0; answered < redis_ncalls; /* void */ ) {
        rc = ngx_patient_guard_resp_next(redis_resp, &reply, 0);

        if (rc == NGX_OK) {
            redis_reply(&redis_calls[answered++], &reply);
            continue;
        }

        n = (rc == NGX_AGAIN) ? read(redis_fd, buf, sizeof(buf)) : 0;

        if (n <= 0
            || ngx_patient_guard_resp_feed(redis_resp, buf, n) != NGX_OK)
        {
            redis_bail_out("no reply");
        }
    }

    redis_last = redis_buffer;
    redis_ncalls = 0;
}


#endif /* _REDIS_H_INCLUDED_ */
