
#include "ngx_patient_guard_reply.h"
#include "ngx_patient_guard_bytes.h"


/* flags: see the script */
#define NGX_PATIENT_GUARD_CHARGED      1
#define NGX_PATIENT_GUARD_CHALLENGED   2
#define NGX_PATIENT_GUARD_PASSED       4
#define NGX_PATIENT_GUARD_SUPERSEDED   8
#define NGX_PATIENT_GUARD_UNPROVED     16

/* with another node's clock ahead by a window */
#define NGX_PATIENT_GUARD_WAIT_MAX     (3 * NGX_PATIENT_GUARD_WINDOW_MAX)

/* Redis' Lua counts in doubles: up to here they are whole numbers */
#define NGX_PATIENT_GUARD_REPLY_NUMBER     ((uint64_t) 1 << 53)


/* bytes of what both kinds of reply say first, and of a limit in a tally */
#define NGX_PATIENT_GUARD_REPLY_HEAD       (8 + 1 + 1 + 4 + 4 * 8 + 4)
#define NGX_PATIENT_GUARD_REPLY_LIMIT      (4 + 8 + 4)


/* what both kinds of reply say first */

typedef struct {
    ngx_uint_t                    flags;
    ngx_uint_t                    challenger;
    uint64_t                      grants;
    uint64_t                      since;
    uint64_t                      cleared;
    uint32_t                      novel;
    ngx_patient_guard_due_t       due;
} ngx_patient_guard_replied_t;


static ngx_int_t ngx_patient_guard_reply_head(u_char **p, u_char *last,
    uint64_t nonce, ngx_uint_t nlimits, ngx_patient_guard_replied_t *called);


ngx_int_t
ngx_patient_guard_reply_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    u_char                       *p, *end;
    ngx_uint_t                    i, refuse;
    ngx_patient_guard_room_t     *room;
    ngx_patient_guard_replied_t   called;

    p = text->data;
    end = p + text->len;

    if (ngx_patient_guard_reply_head(&p, end, nonce, lookup->nlimits, &called)
        != NGX_OK
        || (size_t) (end - p)
           != lookup->nlimits * NGX_PATIENT_GUARD_REPLY_LIMIT)
    {
        return NGX_ERROR;
    }

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));

    tally->source = NGX_PATIENT_GUARD_FROM_REDIS;
    tally->charged = (called.flags & NGX_PATIENT_GUARD_CHARGED) ? 1 : 0;
    tally->challenged = (called.flags & NGX_PATIENT_GUARD_CHALLENGED) ? 1 : 0;
    tally->passed = (called.flags & NGX_PATIENT_GUARD_PASSED) ? 1 : 0;
    tally->challenger = called.challenger;
    tally->grants_wait = called.grants;
    tally->since = called.since;
    tally->cleared = called.cleared;
    tally->novel = called.novel;
    tally->due = called.due;
    tally->unproved = (called.flags & NGX_PATIENT_GUARD_UNPROVED) ? 1 : 0;

    refuse = tally->challenged || tally->unproved;

    for (i = 0; i < lookup->nlimits; i++) {

        room = &tally->rooms[i];

        room->total = ngx_patient_guard_get32(&p);
        room->wait = ngx_patient_guard_get64(&p);
        room->count = ngx_patient_guard_get32(&p);

        if (room->wait > NGX_PATIENT_GUARD_WAIT_MAX
            || room->count > lookup->limits[i].count)
        {
            return NGX_ERROR;
        }

        if (room->wait
            && lookup->limits[i].action != NGX_PATIENT_GUARD_LOG)
        {
            refuse = 1;
        }
    }

    if (called.flags & NGX_PATIENT_GUARD_SUPERSEDED) {
        return called.flags == NGX_PATIENT_GUARD_SUPERSEDED ? NGX_DECLINED
                                                            : NGX_ERROR;
    }

    /* what fits was charged, what does not was not: else it is no answer */

    if (tally->charged == (refuse && !lookup->exempt)
        || tally->challenged != (tally->since != 0)
        || (tally->unproved && (tally->challenged || tally->due.since == 0))
        || (tally->due.since && !lookup->session))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_patient_guard_reply_news(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news)
{
    u_char                      *p, *end;
    ngx_uint_t                   i;
    ngx_patient_guard_image_t   *image;
    ngx_patient_guard_replied_t   called;

    p = text->data;
    end = p + text->len;

    if (ngx_patient_guard_reply_head(&p, end, nonce, parcel->nlimits, &called)
        != NGX_OK
        || (called.flags & (NGX_PATIENT_GUARD_CHARGED
                            | NGX_PATIENT_GUARD_PASSED
                            | NGX_PATIENT_GUARD_UNPROVED)))
    {
        return NGX_ERROR;
    }

    news->challenged = (called.flags & NGX_PATIENT_GUARD_CHALLENGED) ? 1 : 0;
    news->superseded = (called.flags & NGX_PATIENT_GUARD_SUPERSEDED) ? 1 : 0;
    news->challenger = called.challenger;
    news->since = called.since;
    news->cleared = called.cleared;
    news->novel = called.novel;
    news->due = called.due;

    if (news->challenged != (news->since != 0)
        || (news->superseded && parcel->number == 0)
        || (news->due.since && (!parcel->session || parcel->key))
        || news->novel > parcel->novel)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < parcel->nlimits; i++) {
        image = &news->images[i];

        if (parcel->limits[i].key != parcel->key) {
            continue;
        }

        if (ngx_patient_guard_image_read(&p, end, image) != NGX_OK
            || (image->nset
                && !(parcel->sets
                     && ngx_patient_guard_keeps_set(&parcel->limits[i]))))
        {
            return NGX_ERROR;
        }
    }

    return p == end ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_patient_guard_reply_head(u_char **p, u_char *last, uint64_t nonce,
    ngx_uint_t nlimits, ngx_patient_guard_replied_t *called)
{
    u_char  *s;

    s = *p;

    if (last - s < NGX_PATIENT_GUARD_REPLY_HEAD
        || ngx_patient_guard_get64(&s) != nonce)
    {
        return NGX_ERROR;
    }

    called->flags = *s++;
    called->challenger = *s++;
    called->novel = ngx_patient_guard_get32(&s);
    called->grants = ngx_patient_guard_get64(&s);
    called->since = ngx_patient_guard_get64(&s);
    called->cleared = ngx_patient_guard_get64(&s);
    called->due.since = ngx_patient_guard_get64(&s);
    called->due.until = ngx_patient_guard_get32(&s);

    *p = s;

    if (called->flags > 31
        || called->challenger > nlimits
        || called->grants > NGX_PATIENT_GUARD_WAIT_MAX
        || called->since > NGX_PATIENT_GUARD_REPLY_NUMBER
        || called->cleared > NGX_PATIENT_GUARD_REPLY_NUMBER
        || called->due.since > NGX_PATIENT_GUARD_REPLY_NUMBER
        || (called->due.since == 0) != (called->due.until == 0))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
