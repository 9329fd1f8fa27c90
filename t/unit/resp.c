
/* rooms: ngx_patient_guard_resp */


#include "ngx_patient_guard_resp.h"
#include "tap.h"


#define REPLIES  16


/* what a reader made of a stream: a line for each reply, then how it ended */

typedef struct {
    char        text[REPLIES * 64];
    int         n;
    ngx_int_t   rc;
} heard_t;


static ngx_int_t
listen_to(ngx_patient_guard_resp_t *resp, heard_t *heard)
{
    ngx_int_t                  rc;
    ngx_patient_guard_reply_t  reply;

    static const char  *types[] = { "status", "error", "string" };

    for ( ;; ) {
        rc = ngx_patient_guard_resp_next(resp, &reply, 0);

        if (rc != NGX_OK) {
            return rc;
        }

        heard->n++;

        sprintf(heard->text + strlen(heard->text), "%s %.*s\n",
                types[reply.type],
                (int) ngx_min(reply.text.len, 40), reply.text.data);
    }
}


/*
 * Fed in pieces that end at the two splits; in memory of its own each, so
 * that nobody reads beyond.
 */

static void
hear(const char *stream, size_t len, size_t split, size_t split2,
    heard_t *heard)
{
    size_t                     i, from, to[3] = { split, split2, len };
    u_char                    *piece;
    ngx_patient_guard_resp_t  *resp;

    memset(heard, 0, sizeof(heard_t));
    heard->rc = NGX_AGAIN;

    resp = ngx_patient_guard_resp_create();

    for (i = from = 0; i < 3 && heard->rc == NGX_AGAIN; from = to[i++]) {

        if (to[i] == from) {
            continue;
        }

        piece = malloc(to[i] - from);
        memcpy(piece, stream + from, to[i] - from);

        if (ngx_patient_guard_resp_feed(resp, piece, to[i] - from) != NGX_OK) {
            abort();
        }

        free(piece);

        heard->rc = listen_to(resp, heard);
    }

    ngx_patient_guard_resp_destroy(resp);
}


static void
replies_may_be_split_anywhere(void)
{
    int      differ;
    size_t   split, split2, len;
    heard_t  whole, parts;

    static const char  stream[] =
        "+OK\r\n"
        "$13\r\npatient_guard\r\n"
        "$0\r\n\r\n"
        "-NOSCRIPT No matching script. Please use EVAL.\r\n"
        "$12\r\n17 1 0 0 3 0\r\n"
        "+\r\n"
        "$7\r\n\r\n+a\r\n$\r\n"
        "$5\r\n2 0 0\r\n";

    static const char  expected[] =
        "status OK\n"
        "string patient_guard\n"
        "string \n"
        "error NOSCRIPT No matching script. Please use \n"
        "string 17 1 0 0 3 0\n"
        "status \n"
        "string \r\n+a\r\n$\n"
        "string 2 0 0\n";

    len = sizeof(stream) - 1;

    hear(stream, len, len, len, &whole);

    ok(strcmp(whole.text, expected) == 0 && whole.rc == NGX_AGAIN,
       "eight replies in one piece");

    differ = 0;

    for (split = 0; split <= len; split++) {
        for (split2 = split; split2 <= len; split2++) {
            hear(stream, len, split, split2, &parts);
            differ += strcmp(whole.text, parts.text) != 0
                      || parts.rc != NGX_AGAIN;
        }
    }

    is(differ, 0, "the same, split at any two places");
}


static void
bytes_may_dribble(void)
{
    int                         i;
    heard_t                     heard;
    ngx_patient_guard_resp_t   *resp;

    static u_char               stream[] = "+OK\r\n$3\r\nabc\r\n-ERR x\r\n";

    memset(&heard, 0, sizeof(heard));
    resp = ngx_patient_guard_resp_create();

    for (i = 0; stream[i]; i++) {
        (void) ngx_patient_guard_resp_feed(resp, &stream[i], 1);
        heard.rc = listen_to(resp, &heard);
    }

    ngx_patient_guard_resp_destroy(resp);

    ok(strcmp(heard.text, "status OK\nstring abc\nerror ERR x\n") == 0,
       "byte by byte");
}


static void
what_nobody_asked_for_is_an_error(void)
{
    size_t   i, len;
    heard_t  whole, split;

    static const char  *streams[] = {
        "$-1\r\n",                              /* nil */
        "*-1\r\n",
        ":1\r\n",                               /* an integer */
        ":-9223372036854775808\r\n",
        "*0\r\n",                               /* arrays */
        "*1\r\n+OK\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        "*1000000000\r\n",
        "*-2\r\n",
        "$-2\r\n",                              /* lengths that are none */
        "$abc\r\n",
        "$99999999999999999999\r\n",
        "+a\rb\r\n",                            /* a CR or LF in a line */
        "-a\nb\r\n",
        "-a\r\r\n",
        "%1\r\n+a\r\n+b\r\n",                   /* RESP3 */
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "~1\r\n+a\r\n",
        ">1\r\n+a\r\n",
        "=5\r\ntxt:a\r\n",
        "(12345678901234567890\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",     /* strangers */
        "220 mail.example ESMTP\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01\x02\x02\r\n",             /* a TLS alert */
        "\r\n",
        " \r\n",
        "hello\r\n"
    };

    for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        len = strlen(streams[i]);

        hear(streams[i], len, len, len, &whole);
        hear(streams[i], len, 1, 2, &split);

        ok(whole.rc == NGX_ERROR && whole.n == 0 && split.rc == NGX_ERROR
           && split.n == 0, "refused: %s",
           (char *) ngx_patient_guard_resp_printable(
                         &(ngx_str_t) { len, (u_char *) streams[i] }));
    }
}


static void
a_greeting_is_a_reply_like_any(void)
{
    heard_t  heard;

    static const char  pop3[] = "+OK POP3 ready\r\n";

    hear(pop3, sizeof(pop3) - 1, 4, 9, &heard);

    ok(strcmp(heard.text, "status OK POP3 ready\n") == 0,
       "+OK of a stranger is a status: whoever asked shall compare it");
}


static void
the_good_before_the_bad_is_heard(void)
{
    heard_t  heard;

    static const char  stream[] = "+OK\r\n$1\r\na\r\n:1\r\n+OK\r\n";

    hear(stream, sizeof(stream) - 1, 0, 0, &heard);

    ok(heard.rc == NGX_ERROR
       && strcmp(heard.text, "status OK\nstring a\n") == 0,
       "replies before an odd one stand, those behind do not");
}


/* of head, "size" bytes of filling and CRLF, in pieces of a page */

static ngx_int_t
hear_large(const char *head, size_t size, size_t *fed)
{
    u_char                     *p, page[4096];
    size_t                      n;
    ngx_int_t                   rc;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;

    memset(page, 'x', sizeof(page));
    resp = ngx_patient_guard_resp_create();

    (void) ngx_patient_guard_resp_feed(resp, (u_char *) head, strlen(head));
    rc = ngx_patient_guard_resp_next(resp, &reply, 0);

    for (*fed = 0; rc == NGX_AGAIN && *fed < size; *fed += n) {
        n = ngx_min(sizeof(page), size - *fed);
        (void) ngx_patient_guard_resp_feed(resp, page, n);
        rc = ngx_patient_guard_resp_next(resp, &reply, 0);
    }

    if (rc == NGX_AGAIN) {
        p = (u_char *) CRLF;
        (void) ngx_patient_guard_resp_feed(resp, p, 2);
        rc = ngx_patient_guard_resp_next(resp, &reply, 0);
    }

    if (rc == NGX_OK && reply.text.len != size) {
        rc = NGX_DECLINED;
    }

    ngx_patient_guard_resp_destroy(resp);

    return rc;
}


static void
replies_have_a_size(void)
{
    size_t  fed;

    is(hear_large("$4096\r\n", 4096, &fed), NGX_OK, "a string of 4 KiB");
    is(hear_large("$4097\r\n", 4097, &fed), NGX_ERROR, "not a byte more");
    is(hear_large("+", 4096, &fed), NGX_OK, "a status of 4 KiB");
    is(hear_large("+", 4097, &fed), NGX_ERROR, "nor there");
    is(hear_large("-", 8192, &fed), NGX_ERROR, "nor an error");

    is(hear_large("$536870912\r\n", 536870912, &fed), NGX_ERROR,
       "half a gigabyte is announced");
    ok(fed <= 3 * 4096, "and refused after %zu bytes", fed);

    is(hear_large("+", 1024 * 1024, &fed), NGX_ERROR, "a line without an end");
    ok(fed <= 3 * 4096, "is refused after %zu bytes", fed);

    is(hear_large("", 1024 * 1024, &fed), NGX_ERROR, "no RESP at all");
    ok(fed <= 4096, "is refused after %zu bytes", fed);
}


/* an array as a line of items: depth and what it is */

static const char *
hear_tree(const char *stream, size_t piece)
{
    size_t                      at, len;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_item_t   *item;
    ngx_patient_guard_reply_t   reply;

    static char                 text[1024];
    static const char          *types[] = { "+", "-", "$", ":", "nil", "*" };

    resp = ngx_patient_guard_resp_create();
    text[0] = '\0';

    for (rc = NGX_AGAIN, at = 0, len = strlen(stream);
         rc == NGX_AGAIN && at < len;
         at += piece)
    {
        (void) ngx_patient_guard_resp_feed(resp, (u_char *) stream + at,
                                           ngx_min(piece, len - at));
        rc = ngx_patient_guard_resp_next(resp, &reply,
                                         NGX_PATIENT_GUARD_REPLY_TREE);
    }

    if (rc == NGX_OK && reply.type != NGX_PATIENT_GUARD_REPLY_ARRAY) {
        sprintf(text, "%s", types[reply.type]);

    } else if (rc == NGX_OK) {
        for (i = 0; i < reply.nitems; i++) {
            item = &reply.items[i];

            sprintf(text + strlen(text), "%d%s%.*s", (int) item->depth,
                    types[item->type], (int) item->text.len,
                    item->text.data);

            if (item->type == NGX_PATIENT_GUARD_REPLY_ARRAY
                || item->type == NGX_PATIENT_GUARD_REPLY_INTEGER)
            {
                sprintf(text + strlen(text), "%" PRId64, item->number);
            }

            strcat(text, " ");
        }

    } else {
        strcpy(text, rc == NGX_AGAIN ? "more" : "error");
    }

    ngx_patient_guard_resp_destroy(resp);

    return text;
}


static void
arrays_are_heard_where_they_may_come(void)
{
    size_t  i, piece;
    char    deep[256], huge[64];

    static struct {
        const char  *stream;
        const char  *items;
    } arrays[] = {
        { "*0\r\n", "0*0 " },
        { "*2\r\n$1\r\na\r\n:-7\r\n", "0*2 1$a 1:-7 " },
        { "*3\r\n*2\r\n+b\r\n-c\r\n$-1\r\n*0\r\n",
          "0*3 1*2 2+b 2-c 1nil 1*0 " },
        { "*1\r\n*1\r\n*1\r\n$0\r\n\r\n", "0*1 1*1 2*1 3$ " },
        { "*2\r\n:1\r\n", "more" },
        { ":1\r\n", ":" },
        { "$-1\r\n", "nil" },
        { "*-1\r\n", "nil" },
        { "+OK\r\n", "+" },
        { "%1\r\n+a\r\n+b\r\n", "error" },
        { ">1\r\n+a\r\n", "error" },
        { "*1\r\n#t\r\n", "error" },
        { "*1\r\nhello\r\n", "error" }
    };

    for (i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        for (piece = 1; piece <= 64; piece *= 8) {
            ok(strcmp(hear_tree(arrays[i].stream, piece), arrays[i].items)
               == 0, "array %d in pieces of %d: %s", (int) i, (int) piece,
               arrays[i].items);
        }
    }

    deep[0] = '\0';

    for (i = 0; i < 50; i++) {
        strcat(deep, "*1\r\n");
    }

    ok(strcmp(hear_tree(deep, 64), "0*1 ") != 0, "fifty within each other");

    sprintf(huge, "*1\r\n$%d\r\n", NGX_PATIENT_GUARD_REPLY_MAX + 1);
    ok(strcmp(hear_tree(huge, 64), "0*1 ") != 0,
       "a string of more than 4 KiB");
}


static void
an_array_has_a_size(void)
{
    size_t                      n;
    ngx_int_t                   rc;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;

    static u_char               head[] = "*100000000\r\n";

    resp = ngx_patient_guard_resp_create();

    (void) ngx_patient_guard_resp_feed(resp, head, sizeof(head) - 1);

    for (n = 0, rc = NGX_AGAIN; rc == NGX_AGAIN && n < 1000000; n++) {
        (void) ngx_patient_guard_resp_feed(resp, (u_char *) ":1\r\n", 4);
        rc = ngx_patient_guard_resp_next(resp, &reply,
                                         NGX_PATIENT_GUARD_REPLY_TREE);
    }

    ok(rc == NGX_ERROR && n * sizeof(ngx_patient_guard_item_t)
                          <= NGX_PATIENT_GUARD_REPLY_TREE_MAX,
       "100 million items are announced, and refused after %zu", n);

    ngx_patient_guard_resp_destroy(resp);
}


static void
refusals_are_told(void)
{
    size_t                     i;
    ngx_patient_guard_reply_t  reply;

    static struct {
        const char  *text;
        int          refused;
    } errors[] = {
        { "NOAUTH Authentication required.", 1 },
        { "WRONGPASS invalid username-password pair", 1 },
        { "NOPERM this user has no permissions", 1 },
        { "ERR The user executing the script can't run this command", 1 },
        { "ERR ACL failure in script: User guard has no permissions", 1 },
        { "NOAUT", 0 },
        { "ERR unknown command", 0 },
        { "LOADING Redis is loading the dataset in memory", 0 },
        { "", 0 }
    };

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        reply.type = NGX_PATIENT_GUARD_REPLY_ERROR;
        reply.text.data = (u_char *) errors[i].text;
        reply.text.len = strlen(errors[i].text);

        is(ngx_patient_guard_resp_refused(&reply), errors[i].refused,
           "mended by an operator or not: \"%s\"", errors[i].text);
    }

    reply.type = NGX_PATIENT_GUARD_REPLY_STATUS;
    ngx_str_set(&reply.text, "NOAUTH");

    is(ngx_patient_guard_resp_refused(&reply), 0, "a status is no error");
}


static void
what_is_logged_is_printable(void)
{
    ngx_str_t  text;
    char      *line;
    u_char     bytes[256];
    int        i;

    for (i = 0; i < 256; i++) {
        bytes[i] = i;
    }

    text.data = bytes;
    text.len = 128;
    line = (char *) ngx_patient_guard_resp_printable(&text);

    ok(strspn(line, "?") == 32 && strlen(line) == 128
       && strncmp(line + 32, " !\"#", 4) == 0 && line[127] == '?',
       "control characters are not printed");

    text.data = bytes + 128;
    line = (char *) ngx_patient_guard_resp_printable(&text);
    is(strspn(line, "?"), 128, "nor what is not ASCII");

    text.data = bytes;
    text.len = 256;
    line = (char *) ngx_patient_guard_resp_printable(&text);
    is(strlen(line), 128, "nor more than 128 of them");

    text.len = 0;
    line = (char *) ngx_patient_guard_resp_printable(&text);
    is(strlen(line), 0, "nothing is nothing");
}


/* a command is RESP as well: its strings are read back as replies */

static void
commands_are_read_as_written(void)
{
    u_char   buf[512], *p, binary[256];
    int      i;
    size_t   room;

    static const char  expected[] =
        "*4\r\n$4\r\nEVAL\r\n$0\r\n\r\n"
        "$20\r\n18446744073709551615\r\n$1\r\n0\r\n";

    p = ngx_patient_guard_resp_command(buf, 4);
    p = ngx_patient_guard_resp_arg(p, "EVAL", 4);
    p = ngx_patient_guard_resp_arg(p, "", 0);
    p = ngx_patient_guard_resp_number(p, 18446744073709551615ULL);
    p = ngx_patient_guard_resp_number(p, 0);

    ok(p - buf == sizeof(expected) - 1
       && memcmp(buf, expected, p - buf) == 0, "a command");

    room = NGX_PATIENT_GUARD_RESP_HEAD + ngx_patient_guard_resp_size(4)
           + ngx_patient_guard_resp_size(0)
           + 2 * ngx_patient_guard_resp_size(NGX_INT64_LEN);

    ok((size_t) (p - buf) <= room, "it takes no more than was reckoned");

    for (i = 0; i < 256; i++) {
        binary[i] = i;
    }

    p = ngx_patient_guard_resp_arg(buf, binary, 256);

    ok(p - buf == 6 + 256 + 2 && memcmp(buf, "$256\r\n", 6) == 0
       && memcmp(buf + 6, binary, 256) == 0
       && (size_t) (p - buf) <= ngx_patient_guard_resp_size(256),
       "any bytes are sent as they are");
}


int
main(void)
{
    replies_may_be_split_anywhere();
    bytes_may_dribble();
    what_nobody_asked_for_is_an_error();
    a_greeting_is_a_reply_like_any();
    the_good_before_the_bad_is_heard();
    replies_have_a_size();
    arrays_are_heard_where_they_may_come();
    an_array_has_a_size();
    refusals_are_told();
    what_is_logged_is_printable();
    commands_are_read_as_written();

    return done();
}
