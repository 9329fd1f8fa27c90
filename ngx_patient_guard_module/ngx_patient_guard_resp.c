
#include <hiredis/hiredis.h>
#include <hiredis/read.h>

#include "ngx_patient_guard_resp.h"


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_patient_guard_elements_t;
#else
typedef int     ngx_patient_guard_elements_t;
#endif


/* of an array: its items, and the bytes of their strings */

typedef struct {
    ngx_patient_guard_item_t    *items;
    ngx_uint_t                   n;
    ngx_uint_t                   nalloc;
    u_char                      *text;
    size_t                       len;
    size_t                       size;
} ngx_patient_guard_tree_t;


struct ngx_patient_guard_resp_s {
    redisReader                 *reader;
    ngx_patient_guard_reply_t    reply;
    size_t                       most;
    ngx_uint_t                   nested;       /* may be an array */
    ngx_patient_guard_tree_t     tree;
    u_char                       text[NGX_PATIENT_GUARD_REPLY_HUGE];
};


static void *ngx_patient_guard_resp_string(const redisReadTask *task,
    char *data, size_t len);
static void *ngx_patient_guard_resp_array(const redisReadTask *task,
    ngx_patient_guard_elements_t elements);
static void *ngx_patient_guard_resp_integer(const redisReadTask *task,
    long long value);
static void *ngx_patient_guard_resp_nil(const redisReadTask *task);
static void *ngx_patient_guard_resp_item(const redisReadTask *task,
    ngx_patient_guard_reply_e type, char *data, size_t len, int64_t number);
static ngx_int_t ngx_patient_guard_tree_grow(ngx_patient_guard_tree_t *tree,
    size_t len);
static void ngx_patient_guard_resp_free(void *object);
static u_char *ngx_patient_guard_resp_length(u_char *p, u_char type,
    size_t number);
static u_char *ngx_patient_guard_resp_decimal(u_char *p, uint64_t number);

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

    ngx_memzero(&resp->tree, sizeof(ngx_patient_guard_tree_t));

    return resp;
}


void
ngx_patient_guard_resp_destroy(ngx_patient_guard_resp_t *resp)
{
    redisReaderFree(resp->reader);
    free(resp->tree.items);
    free(resp->tree.text);
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
    void        *object;
    ngx_uint_t   i;

    resp->nested = (most == NGX_PATIENT_GUARD_REPLY_TREE);
    resp->most = resp->nested ? NGX_PATIENT_GUARD_REPLY_MAX
                              : ngx_max(most, NGX_PATIENT_GUARD_REPLY_MAX);

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

    if (reply->type == NGX_PATIENT_GUARD_REPLY_ARRAY) {

        /* while it grew they were offsets */

        for (i = 0; i < resp->tree.n; i++) {
            resp->tree.items[i].text.data = resp->tree.text
                                + (uintptr_t) resp->tree.items[i].text.data;
        }

        reply->items = resp->tree.items;
        reply->nitems = resp->tree.n;
    }

    return NGX_OK;
}


static void *
ngx_patient_guard_resp_string(const redisReadTask *task, char *data,
    size_t len)
{
    ngx_patient_guard_resp_t  *resp = task->privdata;

    ngx_patient_guard_reply_e  type;

    if (len > resp->most) {
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
        type = NGX_PATIENT_GUARD_REPLY_STATUS;
        break;

    case REDIS_REPLY_ERROR:
        type = NGX_PATIENT_GUARD_REPLY_ERROR;
        break;

    case REDIS_REPLY_STRING:
        type = NGX_PATIENT_GUARD_REPLY_STRING;
        break;

    default:
        return NULL;
    }

    if (task->parent) {
        return ngx_patient_guard_resp_item(task, type, data, len, 0);
    }

    /* the reader moves its buffer before it returns */

    ngx_memcpy(resp->text, data, len);

    resp->reply.type = type;
    resp->reply.text.data = resp->text;
    resp->reply.text.len = len;

    return &resp->reply;
}


static void *
ngx_patient_guard_resp_array(const redisReadTask *task,
    ngx_patient_guard_elements_t elements)
{
    if (task->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }

    return ngx_patient_guard_resp_item(task, NGX_PATIENT_GUARD_REPLY_ARRAY,
                                       NULL, 0, elements);
}


static void *
ngx_patient_guard_resp_integer(const redisReadTask *task, long long value)
{
    return ngx_patient_guard_resp_item(task, NGX_PATIENT_GUARD_REPLY_INTEGER,
                                       NULL, 0, value);
}


static void *
ngx_patient_guard_resp_nil(const redisReadTask *task)
{
    return ngx_patient_guard_resp_item(task, NGX_PATIENT_GUARD_REPLY_NIL,
                                       NULL, 0, 0);
}


/* NULL where none is expected, or if they are too many */

static void *
ngx_patient_guard_resp_item(const redisReadTask *task,
    ngx_patient_guard_reply_e type, char *data, size_t len, int64_t number)
{
    ngx_patient_guard_resp_t  *resp = task->privdata;

    const redisReadTask       *parent;
    ngx_patient_guard_item_t  *item;
    ngx_patient_guard_tree_t  *tree;

    tree = &resp->tree;

    if (task->parent == NULL) {
        resp->reply.type = type;
        ngx_str_null(&resp->reply.text);

        tree->n = 0;
        tree->len = 0;
    }

    if (!resp->nested || ngx_patient_guard_tree_grow(tree, len) != NGX_OK) {
        return NULL;
    }

    item = &tree->items[tree->n++];

    item->type = type;
    item->number = number;
    item->text.len = len;
    item->text.data = (u_char *) (uintptr_t) tree->len;
    item->depth = 0;

    for (parent = task->parent; parent; parent = parent->parent) {
        item->depth++;
    }

    if (len) {
        ngx_memcpy(tree->text + tree->len, data, len);
        tree->len += len;
    }

    return &resp->reply;
}


/* room for one item more, and len bytes */

static ngx_int_t
ngx_patient_guard_tree_grow(ngx_patient_guard_tree_t *tree, size_t len)
{
    void    *p;
    size_t   n;

    if (tree->n == tree->nalloc) {
        n = tree->nalloc ? tree->nalloc * 2 : 64;

        if (n * sizeof(ngx_patient_guard_item_t)
            > NGX_PATIENT_GUARD_REPLY_TREE_MAX)
        {
            return NGX_ERROR;
        }

        p = realloc(tree->items, n * sizeof(ngx_patient_guard_item_t));
        if (p == NULL) {
            return NGX_ERROR;
        }

        tree->items = p;
        tree->nalloc = n;
    }

    if (tree->len + len >= tree->size) {
        n = tree->size * 2 + len + 1024;

        if (n > NGX_PATIENT_GUARD_REPLY_TREE_MAX) {
            return NGX_ERROR;
        }

        p = realloc(tree->text, n);
        if (p == NULL) {
            return NGX_ERROR;
        }

        tree->text = p;
        tree->size = n;
    }

    return NGX_OK;
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
ngx_patient_guard_resp_says(ngx_patient_guard_reply_t *reply,
    const char *code)
{
    size_t  len;

    len = ngx_strlen(code);

    return reply->type == NGX_PATIENT_GUARD_REPLY_ERROR
           && reply->text.len >= len
           && ngx_memcmp(reply->text.data, code, len) == 0;
}


ngx_uint_t
ngx_patient_guard_resp_refused(ngx_patient_guard_reply_t *reply)
{
    /* what a script may not is called ERR, by Redis 7.0 and by later ones */

    return ngx_patient_guard_resp_says(reply, "NOAUTH")
           || ngx_patient_guard_resp_says(reply, "WRONGPASS")
           || ngx_patient_guard_resp_says(reply, "NOPERM")
           || ngx_patient_guard_resp_says(reply,
                                         "ERR The user executing the script")
           || ngx_patient_guard_resp_says(reply,
                                          "ERR ACL failure in script");
}


ngx_uint_t
ngx_patient_guard_resp_host(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= ' ' || text->data[i] >= 0x7f) {
            return 0;
        }
    }

    return text->len <= NGX_PATIENT_GUARD_HOST_MAX;
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
    return ngx_patient_guard_resp_length(p, '*', nargs);
}


u_char *
ngx_patient_guard_resp_begin(u_char *p, size_t len)
{
    return ngx_patient_guard_resp_length(p, '$', len);
}


u_char *
ngx_patient_guard_resp_end(u_char *p)
{
    *p++ = CR;
    *p++ = LF;

    return p;
}


u_char *
ngx_patient_guard_resp_arg(u_char *p, const void *data, size_t len)
{
    p = ngx_patient_guard_resp_begin(p, len);
    p = ngx_cpymem(p, data, len);

    return ngx_patient_guard_resp_end(p);
}


u_char *
ngx_patient_guard_resp_number(u_char *p, uint64_t number)
{
    u_char  buf[NGX_INT64_LEN];

    return ngx_patient_guard_resp_arg(p, buf,
                         ngx_patient_guard_resp_decimal(buf, number) - buf);
}


static u_char *
ngx_patient_guard_resp_length(u_char *p, u_char type, size_t number)
{
    *p++ = type;
    p = ngx_patient_guard_resp_decimal(p, number);

    return ngx_patient_guard_resp_end(p);
}


/* ngx_sprintf() takes hundreds of instructions for a digit */

static u_char *
ngx_patient_guard_resp_decimal(u_char *p, uint64_t number)
{
    u_char  *digits, buf[NGX_INT64_LEN];

    if (number < 10) {
        *p++ = (u_char) ('0' + number);
        return p;
    }

    digits = buf + sizeof(buf);

    do {
        *--digits = (u_char) ('0' + number % 10);
        number /= 10;
    } while (number);

    return ngx_cpymem(p, digits, buf + sizeof(buf) - digits);
}
