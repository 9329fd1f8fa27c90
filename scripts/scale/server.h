
/*
 * A Redis, asked over a blocking socket: lookups by the room "call", so that
 * they are what a worker sends, the rest by hiredis.
 */


#ifndef _SERVER_H_INCLUDED_
#define _SERVER_H_INCLUDED_


#include "ngx_patient_guard_alias.h"
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_reply.h"

#include <err.h>
#include <hiredis/hiredis.h>


typedef struct {
    const char    *name;
    redisContext  *redis;
    int            taught;       /* knows the script */
    uint64_t       nonce;        /* the last one asked */
    uint64_t       answered;
    double         cpu;          /* us, when server_time() was last asked */
} server_t;


/* of the script, since it was last asked */

typedef struct {
    uint64_t       calls;
    uint64_t       usec;         /* as Redis has it: by the clock */
    double         cpu;          /* us, of the thread: with reading the call */
                                 /*   and writing the reply                  */
} server_time_t;


static ngx_str_t  server_keys = ngx_string("pg:practitioners:");


/* what was asked leaves, before anybody waits for an answer */

static inline void
server_flush(server_t *server)
{
    int  done;

    for (done = 0; !done; /* void */ ) {
        if (redisBufferWrite(server->redis, &done) != REDIS_OK) {
            errx(2, "the %s Redis: %s", server->name, server->redis->errstr);
        }
    }
}


static inline redisReply *
server_reply(server_t *server)
{
    redisReply  *reply;

    if (redisGetReply(server->redis, (void **) &reply) != REDIS_OK) {
        errx(2, "the %s Redis: %s", server->name, server->redis->errstr);
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        errx(2, "the %s Redis: %s", server->name, reply->str);
    }

    return reply;
}


static inline redisReply *
server_do(server_t *server, const char *command)
{
    redisAppendCommand(server->redis, command);

    return server_reply(server);
}


static inline void
server_tell(server_t *server, const char *command)
{
    freeReplyObject(server_do(server, command));
}


/* the number behind "name:" or "name=" in a section of INFO, or 0 */

static inline uint64_t
server_info(server_t *server, const char *section, const char *name)
{
    char         command[64];
    uint64_t     n;
    const char  *p;
    redisReply  *reply;

    snprintf(command, sizeof(command), "INFO %s", section);
    reply = server_do(server, command);
    p = strstr(reply->str, name);
    n = p ? strtoull(p + strlen(name) + 1, NULL, 10) : 0;
    freeReplyObject(reply);

    return n;
}


static inline server_time_t
server_time(server_t *server)
{
    int             i;
    double          cpu;
    const char     *p;
    redisReply     *reply;
    server_time_t   t = { 0, 0, 0 };

    static const char  *kinds[] = {
        "used_cpu_user_main_thread:", "used_cpu_sys_main_thread:"
    };

    reply = server_do(server, "INFO commandstats");
    p = strstr(reply->str, "cmdstat_evalsha:");

    if (p && sscanf(p, "cmdstat_evalsha:calls=%lu,usec=%lu", &t.calls, &t.usec)
             != 2)
    {
        errx(2, "the %s Redis has no times of EVALSHA", server->name);
    }

    freeReplyObject(reply);
    server_tell(server, "CONFIG RESETSTAT");

    reply = server_do(server, "INFO cpu");

    for (i = 0, cpu = 0; i < 2; i++) {
        p = strstr(reply->str, kinds[i]);
        if (p == NULL) {
            errx(2, "the %s Redis has no %s", server->name, kinds[i]);
        }
        cpu += 1e6 * atof(p + strlen(kinds[i]));
    }

    freeReplyObject(reply);

    t.cpu = cpu - server->cpu;
    server->cpu = cpu;

    return t;
}


/* a key has 32 digits between the braces: that many for each account */

static inline ngx_patient_guard_account_t
server_account(uint64_t number)
{
    ngx_patient_guard_account_t  account;

    account.word[0] = (number + 1) * 0x9e3779b97f4a7c15ULL;
    account.word[1] = (account.word[0] ^ account.word[0] >> 32)
                      * 0xbf58476d1ce4e5b9ULL;
    return account;
}


/* the key that the room "call" writes, with a terminator */

static inline const char *
server_key(uint64_t number)
{
    u_char                       *p;
    ngx_patient_guard_account_t   account;

    static u_char  key[128];

    account = server_account(number);

    p = ngx_sprintf(key, "%V{", &server_keys);
    p = ngx_patient_guard_account_hex(p, &account);
    *p++ = '}';
    *p = '\0';

    return (const char *) key;
}


static inline void
server_ask(server_t *server, ngx_patient_guard_lookup_t *lookup,
    unsigned worker)
{
    u_char                      *end, session[8];
    ngx_patient_guard_caller_t   caller;

    static u_char  digest[NGX_PATIENT_GUARD_CALL_DIGEST], *command;
    static size_t  most;

    if (digest[0] == '\0') {
        ngx_patient_guard_call_digest(digest);
    }

    if (most < ngx_patient_guard_call_size(&server_keys, lookup)) {
        most = ngx_patient_guard_call_size(&server_keys, lookup);
        command = realloc(command, most);

        if (command == NULL) {
            err(2, "realloc");
        }
    }

    ngx_memcpy(session, "node-00", 8);
    session[5] += worker / 8;
    session[6] += worker % 8;

    caller.session = session;
    caller.nonce = ++server->nonce;

    end = ngx_patient_guard_call_write(command, &server_keys, lookup, &caller,
                                       server->taught ? digest : NULL);
    server->taught = 1;

    if (redisAppendFormattedCommand(server->redis, (char *) command,
                                    end - command) != REDIS_OK)
    {
        errx(2, "the %s Redis: %s", server->name, server->redis->errstr);
    }
}


/* to the lookup that was asked first of those not answered yet */

static inline void
server_answer(server_t *server, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_str_t    text;
    redisReply  *reply;

    reply = server_reply(server);
    text.data = (u_char *) reply->str;
    text.len = reply->len;

    if (reply->type != REDIS_REPLY_STRING
        || ngx_patient_guard_reply_tally(&text, ++server->answered, lookup,
                                        tally)
           != NGX_OK)
    {
        errx(2, "the %s Redis answered \"%s\"", server->name, reply->str);
    }

    freeReplyObject(reply);
}


static inline void
server_open(server_t *server, const char *name, const char *path)
{
    memset(server, 0, sizeof(server_t));

    server->name = name;
    server->redis = redisConnectUnix(path);

    if (server->redis == NULL || server->redis->err) {
        errx(2, "the %s Redis cannot be reached", name);
    }
}


#endif /* _SERVER_H_INCLUDED_ */
