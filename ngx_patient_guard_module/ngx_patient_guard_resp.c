
#include "ngx_patient_guard_resp.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_patient_guard_elements_t;
#else
typedef int     ngx_patient_guard_elements_t;
#endif


struct ngx_patient_guard_resp_s {
    redisReader                 *reader;
    ngx_patient_guard_reply_t    reply;
    size_t                       most;
    u_char                       text[NGX_PATIENT_GUARD_REPLY_HUGE];
};


static void *ngx_patient_guard_resp_string(const redisReadTask *task,
    char *data, size_t len);
static void *ngx_patient_guard_resp_array(const redisReadTask *task,
    ngx_patient_guard_elements_t elements);
static void *ngx_patient_guard_resp_integer(const redisReadTask *task,
    long long value);
static void *ngx_patient_guard_resp_nil(const redisReadTask *task);
static void ngx_patient_guard_resp_free(void *object);

#if (HIREDIS_MAJOR >= 1)
static void *ngx_patient_guard_resp_double(const redisReadTask *task,
    double value, char *data, size_t len);
static void *ngx_patient_guard_resp_bool(const redisReadTask *task,
    int value);
#endif


/* NULL for an object is "out of memory" to hiredis: it ends the reading */

static redisReplyObjectFunctions  ngx_patient_guard_resp_functions = {
    .createString = ngx_patient_guard_resp_string,
    .createArray = ngx_patient_guard_resp_array,
    .createInteger = ngx_patient_guard_resp_integer,
    .createNil = ngx_patient_guard_resp_nil,
    .freeObject = ngx_patient_guard_resp_free,
#if (HIREDIS_MAJOR >= 1)
    .createDouble = ngx_patient_guard_resp_double,
    .createBool = ngx_patient_guard_resp_bool,
#endif
};


ngx_patient_guard_resp_t *
ngx_patient_guard_resp_create(void)
{
    ngx_patient_guard_resp_t  *resp;

    resp = malloc(sizeof(ngx_patient_guard_resp_t));
    if (resp == NULL) {
        return NULL;
    }

    resp->reader = redisReaderCreateWithFunctions(
                                           &ngx_patient_guard_resp_functions);
    if (resp->reader == NULL) {
        free(resp);
        return NULL;
    }

    resp->reader->privdata = resp;

    return resp;
}


void
ngx_patient_guard_resp_destroy(ngx_patient_guard_resp_t *resp)
{
    redisReaderFree(resp->reader);
    free(resp);
}


ngx_int_t
ngx_patient_guard_resp_feed(ngx_patient_guard_resp_t *resp, u_char *data,
    size_t len)
{
    if (redisReaderFeed(resp->reader, (char *) data, len) != REDIS_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_resp_next(ngx_patient_guard_resp_t *resp,
    ngx_patient_guard_reply_t *reply, size_t most)
{
    void  *object;

    resp->most = ngx_max(most, NGX_PATIENT_GUARD_REPLY_MAX);

    if (redisReaderGetReply(resp->reader, &object) != REDIS_OK) {
        return NGX_ERROR;
    }

    if (object == NULL) {

        /* the start of a reply: its line or string may only be so long */

        if (resp->reader->len - resp->reader->pos
            > resp->most + NGX_PATIENT_GUARD_RESP_HEAD)
        {
            return NGX_ERROR;
        }

        return NGX_AGAIN;
    }

    *reply = resp->reply;

    return NGX_OK;
}


static void *
ngx_patient_guard_resp_string(const redisReadTask *task, char *data,
    size_t len)
{
    ngx_patient_guard_resp_t  *resp = task->privdata;

    if (task->parent || len > resp->most) {
        return NULL;
    }

#if (HIREDIS_MAJOR < 1)

    /* a line has no other CR or LF: hiredis 1 looks for them itself */

    if (task->type != REDIS_REPLY_STRING
        && (memchr(data, CR, len) || memchr(data, LF, len)))
    {
        return NULL;
    }

#endif

    switch (task->type) {

    case REDIS_REPLY_STATUS:
        resp->reply.type = NGX_PATIENT_GUARD_REPLY_STATUS;
        break;

    case REDIS_REPLY_ERROR:
        resp->reply.type = NGX_PATIENT_GUARD_REPLY_ERROR;
        break;

    case REDIS_REPLY_STRING:
        resp->reply.type = NGX_PATIENT_GUARD_REPLY_STRING;
        break;

    default:
        return NULL;
    }

    /* the reader moves its buffer before it returns */

    ngx_memcpy(resp->text, data, len);

    resp->reply.text.data = resp->text;
    resp->reply.text.len = len;

    return &resp->reply;
}


static void *
ngx_patient_guard_resp_array(const redisReadTask *task,
    ngx_patient_guard_elements_t elements)
{
    return NULL;
}


static void *
ngx_patient_guard_resp_integer(const redisReadTask *task, long long value)
{
    return NULL;
}


static void *
ngx_patient_guard_resp_nil(const redisReadTask *task)
{
    return NULL;
}


#if (HIREDIS_MAJOR >= 1)

static void *
ngx_patient_guard_resp_double(const redisReadTask *task, double value,
    char *data, size_t len)
{
    return NULL;
}


static void *
ngx_patient_guard_resp_bool(const redisReadTask *task, int value)
{
    return NULL;
}

#endif


static void
ngx_patient_guard_resp_free(void *object)
{
    /* a reply lives in its reader */
}


ngx_uint_t
ngx_patient_guard_resp_refused(ngx_patient_guard_reply_t *reply)
{
    ngx_uint_t  i;

    static ngx_str_t  refusals[] = {
        ngx_string("NOAUTH"),
        ngx_string("WRONGPASS"),
        ngx_string("NOPERM")
    };

    if (reply->type != NGX_PATIENT_GUARD_REPLY_ERROR) {
        return 0;
    }

    for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (reply->text.len >= refusals[i].len
            && ngx_memcmp(reply->text.data, refusals[i].data, refusals[i].len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


const char *
ngx_patient_guard_resp_printable(ngx_str_t *text)
{
    size_t       i, len;
    static char  line[128 + 1];

    len = ngx_min(text->len, sizeof(line) - 1);

    for (i = 0; i < len; i++) {
        line[i] = (text->data[i] < 0x20 || text->data[i] > 0x7e)
                  ? '?' : text->data[i];
    }

    line[len] = '\0';

    return line;
}


u_char *
ngx_patient_guard_resp_command(u_char *p, size_t nargs)
{
    return ngx_sprintf(p, "*%uz" CRLF, nargs);
}


u_char *
ngx_patient_guard_resp_arg(u_char *p, const void *data, size_t len)
{
    p = ngx_sprintf(p, "$%uz" CRLF, len);
    p = ngx_cpymem(p, data, len);
    *p++ = CR;
    *p++ = LF;

    return p;
}


u_char *
ngx_patient_guard_resp_number(u_char *p, uint64_t number)
{
    size_t  len;
    u_char  buf[NGX_INT64_LEN];

    len = ngx_sprintf(buf, "%uL", number) - buf;

    return ngx_patient_guard_resp_arg(p, buf, len);
}
