
/* rooms: ngx_patient_guard_greeting ngx_patient_guard_resp */


/* what a connection says first, and what it makes of the answers */


#include "ngx_patient_guard_greeting.h"
#include "tap.h"


static ngx_patient_guard_greeting_t  greeting;
static ngx_patient_guard_greeted_t   greeted;


static const char *
hello(const char *user, const char *password, ngx_uint_t db,
    ngx_uint_t master)
{
    ngx_str_t    u, p;

    static char  text[1024];

    u.data = (u_char *) user;
    u.len = strlen(user);
    p.data = (u_char *) password;
    p.len = strlen(password);

    if (ngx_patient_guard_greeting_init(&greeting, &u, &p, db, master, NULL)
        != NGX_OK)
    {
        return "no memory";
    }

    snprintf(text, sizeof(text), "%.*s", (int) greeting.hello.len,
             greeting.hello.data);

    return text;
}


/* the answers in one piece: how it ends, and how many were heard */

static ngx_int_t
answered(const char *stream, ngx_uint_t said)
{
    ngx_int_t                   rc;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;

    ngx_patient_guard_greeting_start(&greeting, &greeted);

    if (said) {
        greeted.said += greeting.hello.len;
    }

    resp = ngx_patient_guard_resp_create();

    (void) ngx_patient_guard_resp_feed(resp, (u_char *) stream,
                                       strlen(stream));
    do {
        rc = ngx_patient_guard_resp_next(resp, &reply,
                       ngx_patient_guard_greeting_most(&greeting, &greeted));

        if (rc == NGX_OK) {
            rc = ngx_patient_guard_greeting_reply(&greeting, &greeted,
                                                  &reply);
            if (rc == NGX_OK) {
                break;
            }

        } else if (rc == NGX_AGAIN) {
            rc = NGX_DONE;
        }

    } while (rc == NGX_AGAIN);

    ngx_patient_guard_resp_destroy(resp);

    return rc;
}


#define PONG  "$13\r\npatient_guard\r\n"


static void
all_is_said_at_once(void)
{
    ok(strcmp(hello("", "", 0, 0),
              "*2\r\n$4\r\nPING\r\n$13\r\npatient_guard\r\n") == 0,
       "at least a PING");

    ok(strcmp(hello("", "pw", 0, 0),
              "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"
              "*2\r\n$4\r\nPING\r\n$13\r\npatient_guard\r\n") == 0,
       "a password");

    ok(strcmp(hello("guard", "pw", 12, 1),
              "*3\r\n$4\r\nAUTH\r\n$5\r\nguard\r\n$2\r\npw\r\n"
              "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"
              "*2\r\n$4\r\nPING\r\n$13\r\npatient_guard\r\n"
              "*1\r\n$4\r\nROLE\r\n") == 0,
       "all that there is");
}


static void
strangers_are_told(void)
{
    (void) hello("", "", 0, 0);

    is(answered(PONG, 1), NGX_OK, "Redis");
    is(answered("+OK\r\n", 1), NGX_ERROR, "who agrees with everything");
    is(answered("+PONG\r\n", 1), NGX_ERROR, "who does not listen");
    is(answered("-ERR no\r\n", 1), NGX_ERROR, "who refuses");
    is(answered("*1\r\n+a\r\n", 1), NGX_ERROR, "an array");
    is(answered(PONG, 0), NGX_DECLINED, "who speaks before he is asked");
    is(answered("", 1), NGX_DONE, "who says nothing is waited for");
}


static void
only_a_master_will_do(void)
{
    (void) hello("", "", 0, 1);

    is(answered(PONG "*3\r\n$6\r\nmaster\r\n:3\r\n*0\r\n", 1), NGX_OK,
       "a master");
    is(answered(PONG "*3\r\n$6\r\nmaster\r\n:3\r\n*1\r\n*3\r\n$1\r\na\r\n"
                "$1\r\n1\r\n$1\r\n0\r\n", 1), NGX_OK,
       "with a replica");
    is(answered(PONG "*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected"
                "\r\n:3\r\n", 1), NGX_ERROR, "a replica");
    is(answered(PONG "*2\r\n$8\r\nsentinel\r\n*0\r\n", 1), NGX_ERROR,
       "a sentinel");
    is(answered(PONG "*0\r\n", 1), NGX_ERROR, "nobody");
    is(answered(PONG "-NOPERM no\r\n", 1), NGX_ERROR, "who may not say");
    is(answered(PONG "$6\r\nmaster\r\n", 1), NGX_ERROR, "a word");
}


static void
a_policy_that_evicts_is_noticed(void)
{
    u_char                     buf[NGX_PATIENT_GUARD_MEMORY_SIZE], *p;
    size_t                     i;
    ngx_str_t                  policy;
    ngx_patient_guard_reply_t  reply;

    static struct {
        const char  *info;
        ngx_uint_t   evicts;
    } infos[] = {
        { "# Memory\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction\r\n", 0 },
        { "# Memory\r\nmaxmemory:1\r\nmaxmemory_policy:allkeys-lru\r\n", 1 },
        { "# Memory\r\nmaxmemory:1\r\nmaxmemory_policy:volatile-ttl\r\n", 1 },
        { "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", 0 },
        { "# Memory\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction2", 1 },
        { "# Memory\r\nmaxmemory:10\r\nmaxmemory_policy:", 1 },
        { "# Memory\r\n", 0 },
        { "", 0 }
    };

    p = ngx_patient_guard_memory_write(buf);

    ok(p - buf == 26
       && memcmp(buf, "*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n", 26) == 0,
       "what it is asked");

    reply.type = NGX_PATIENT_GUARD_REPLY_STRING;

    for (i = 0; i < sizeof(infos) / sizeof(infos[0]); i++) {
        reply.text.data = (u_char *) infos[i].info;
        reply.text.len = strlen(infos[i].info);

        is(ngx_patient_guard_memory_evicts(&reply, &policy), infos[i].evicts,
           "%d: what it says of its memory", (int) i + 1);
    }

    reply.type = NGX_PATIENT_GUARD_REPLY_ERROR;
    reply.text.data = (u_char *) infos[1].info;
    reply.text.len = strlen(infos[1].info);

    is(ngx_patient_guard_memory_evicts(&reply, &policy), 0, "who may not say");
}


int
main(void)
{
    all_is_said_at_once();
    strangers_are_told();
    only_a_master_will_do();
    a_policy_that_evicts_is_noticed();

    return done();
}
