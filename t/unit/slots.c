
/* rooms: ngx_patient_guard_slots ngx_patient_guard_alias ngx_patient_guard_resp */


/* hash slots, and what a cluster says of them */


#include "ngx_patient_guard_slots.h"
#include "ngx_patient_guard_alias.h"
#include "tap.h"

#include <stdlib.h>


#define ACCOUNTS  10000


/* bit by bit, as CRC-16/XMODEM is defined */

static unsigned
crc16(const u_char *p, size_t len)
{
    int       bit;
    unsigned  crc;

    for (crc = 0; len; p++, len--) {
        crc ^= *p << 8;

        for (bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1;
        }
    }

    return crc & 0xffff;
}


static void
slots_are_those_of_the_specification(void)
{
    int                          i, wrong;
    u_char                       hex[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_patient_guard_account_t  account;

    is(crc16((u_char *) "123456789", 9), 0x31c3, "the reference's own test");

    srandom(7);

    for (i = wrong = 0; i < ACCOUNTS; i++) {
        account.word[0] = ((uint64_t) random() << 33) ^ random();
        account.word[1] = ((uint64_t) random() << 33) ^ random();

        ngx_patient_guard_account_hex(hex, &account);

        wrong += ngx_patient_guard_slot(&account)
                 != crc16(hex, sizeof(hex)) % NGX_PATIENT_GUARD_SLOTS;
    }

    is(wrong, 0, "%d accounts are where the specification has them",
       ACCOUNTS);
}


/* what is heard of a reply: "first-last host:port" a range, or how it ends */

static const char *
told(const char *stream)
{
    char                       *p;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;
    ngx_patient_guard_slots_t   slots;

    static char                 text[1024];

    resp = ngx_patient_guard_resp_create();

    (void) ngx_patient_guard_resp_feed(resp, (u_char *) stream,
                                       strlen(stream));
    rc = ngx_patient_guard_resp_next(resp, &reply,
                                     NGX_PATIENT_GUARD_REPLY_TREE);
    p = text;
    *p = '\0';

    if (rc != NGX_OK) {
        p += sprintf(p, "no reply");

    } else {
        i = 0;

        while ((rc = ngx_patient_guard_slots_next(&reply, &i, &slots))
               == NGX_OK)
        {
            p += sprintf(p, "%d-%d %.*s:%d\n", (int) slots.first,
                         (int) slots.last, (int) slots.host.len,
                         slots.host.data, slots.port);
        }

        if (rc == NGX_ERROR) {
            p += sprintf(p, "refused");
        }
    }

    ngx_patient_guard_resp_destroy(resp);

    return text;
}


#define NODE(host, port)                                                     \
    "*4\r\n" host "\r\n:" port "\r\n$1\r\nx\r\n*0\r\n"

#define RANGE(first, last, nodes, more)                                      \
    "*" nodes "\r\n:" first "\r\n:" last "\r\n" more


static void
maps_are_read(void)
{
    static const char  *both =
        "*2\r\n"
        RANGE("0", "5460", "4", NODE("$9\r\n127.0.0.1", "7000")
                                NODE("$9\r\n127.0.0.1", "7003"))
        RANGE("5461", "16383", "3",
              "*4\r\n$4\r\nb.pg\r\n:7001\r\n$1\r\ny\r\n"
              "*2\r\n$2\r\nip\r\n$8\r\n10.0.0.2\r\n");

    ok(strcmp(told(both), "0-5460 127.0.0.1:7000\n5461-16383 b.pg:7001\n")
       == 0, "masters with their ranges; replicas and metadata are passed");

    ok(strcmp(told("*0\r\n"), "") == 0, "a cluster without slots");

    ok(strcmp(told("*1\r\n" RANGE("7", "7", "3", NODE("$-1", "7000"))),
              "7-7 :7000\n")
       == 0, "a node that does not know its own address");

    ok(strcmp(told("*1\r\n" RANGE("7", "7", "3", NODE("$0\r\n", "7000"))),
              "7-7 :7000\n")
       == 0, "nor its name");

    ok(strcmp(told("*1\r\n" RANGE("0", "1", "3", "*2\r\n$1\r\na\r\n:1\r\n")),
              "0-1 a:1\n")
       == 0, "as short as Redis 3 says it");
}


static void
what_is_no_map_is_refused(void)
{
    size_t  i;

    static const char  *replies[] = {
        "+OK\r\n",
        "$2\r\nOK\r\n",
        "-ERR This instance has cluster support disabled\r\n",
        ":1\r\n",
        "*-1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n" "*2\r\n:0\r\n:1\r\n",
        "*1\r\n" RANGE("0", "1", "3", "*1\r\n$1\r\na\r\n"),
        "*1\r\n" RANGE("0", "1", "3", "$1\r\na\r\n"),
        "*1\r\n" RANGE("-1", "1", "3", NODE("$1\r\na", "1")),
        "*1\r\n" RANGE("2", "1", "3", NODE("$1\r\na", "1")),
        "*1\r\n" RANGE("0", "16384", "3", NODE("$1\r\na", "1")),
        "*1\r\n" RANGE("0", "1", "3", NODE("$1\r\na", "65536")),
        "*1\r\n" RANGE("0", "1", "3", NODE("$1\r\na", "-1")),
        "*1\r\n" RANGE("0", "1", "3", NODE("$3\r\na b", "1")),
        "*1\r\n" RANGE("0", "1", "3", NODE("$3\r\na\r\n", "1")),
        "*1\r\n" RANGE("0", "1", "3", NODE(":7", "1")),
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" NODE("$1\r\na", "1"),
        "*2\r\n" RANGE("0", "1", "3", NODE("$1\r\na", "1")) "+OK\r\n"
    };

    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        ok(strstr(told(replies[i]), "refused") != NULL, "no map: %s",
           (char *) ngx_patient_guard_resp_printable(
                        &(ngx_str_t) { strlen(replies[i]),
                                       (u_char *) replies[i] }));
    }
}


static const char *
moved(const char *text)
{
    ngx_str_t                  said;
    ngx_patient_guard_slots_t  slots;

    static char                line[512];

    /* in memory of just its size */

    said.len = strlen(text);
    said.data = malloc(said.len ? said.len : 1);
    memcpy(said.data, text, said.len);

    if (ngx_patient_guard_slots_moved(&said, &slots) == NGX_OK) {
        sprintf(line, "%d %.*s %d", (int) slots.first, (int) slots.host.len,
                slots.host.data, slots.port);
    } else {
        sprintf(line, "refused");
    }

    free(said.data);

    return line;
}


static void
redirections_are_read(void)
{
    size_t  i;

    static struct {
        const char  *text;
        const char  *expected;
    } texts[] = {
        { "MOVED 3999 127.0.0.1:6381", "3999 127.0.0.1 6381" },
        { "ASK 16383 b.pg:6381", "16383 b.pg 6381" },
        { "MOVED 0 ::1:6381", "0 ::1 6381" },
        { "MOVED 0 2001:db8::7:6381", "0 2001:db8::7 6381" },
        { "MOVED 0 :6381", "0  6381" },
        { "MOVED 16384 127.0.0.1:6381", "refused" },
        { "MOVED -1 127.0.0.1:6381", "refused" },
        { "MOVED x 127.0.0.1:6381", "refused" },
        { "MOVED 1 127.0.0.1:65536", "refused" },
        { "MOVED 1 127.0.0.1:0", "refused" },
        { "MOVED 1 127.0.0.1:", "refused" },
        { "MOVED 1 127.0.0.1", "refused" },
        { "MOVED 1 a\tb:1", "refused" },
        { "MOVED 1 ", "refused" },
        { "MOVED 1", "refused" },
        { "MOVED ", "refused" },
        { "MOVED", "refused" },
        { "", "refused" }
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ok(strcmp(moved(texts[i].text), texts[i].expected) == 0, "\"%s\": %s",
           texts[i].text, texts[i].expected);
    }
}


int
main(void)
{
    slots_are_those_of_the_specification();
    maps_are_read();
    what_is_no_map_is_refused();
    redirections_are_read();

    return done();
}
