
#include "ngx_patient_guard_slots.h"
#include "ngx_patient_guard_alias.h"


ngx_uint_t
ngx_patient_guard_slot(ngx_patient_guard_account_t *account)
{
    u_char      hex[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    uint32_t    crc;
    ngx_uint_t  i;

    /* a nibble at a time: x^16 + x^12 + x^5 + 1, from 0, not reflected */

    static const uint16_t  table[] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef
    };

    ngx_patient_guard_account_hex(hex, account);

    crc = 0;

    for (i = 0; i < sizeof(hex); i++) {
        crc = (crc << 4) ^ table[((crc >> 12) ^ (hex[i] >> 4)) & 15];
        crc = (crc << 4) ^ table[((crc >> 12) ^ hex[i]) & 15];
    }

    return crc % NGX_PATIENT_GUARD_SLOTS;
}


/* an array of: first, last, master: (host, port, ...), replicas ... */

ngx_int_t
ngx_patient_guard_slots_next(ngx_patient_guard_reply_t *reply, ngx_uint_t *i,
    ngx_patient_guard_slots_t *slots)
{
    ngx_patient_guard_item_t  *item, *last;

    if (reply->type != NGX_PATIENT_GUARD_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    if (*i == 0) {
        *i = 1;
    }

    if (*i == reply->nitems) {
        return NGX_DONE;
    }

    item = reply->items + *i;
    last = reply->items + reply->nitems;

    if (last - item < 6
        || item[0].type != NGX_PATIENT_GUARD_REPLY_ARRAY
        || item[0].depth != 1 || item[0].number < 3
        || item[1].type != NGX_PATIENT_GUARD_REPLY_INTEGER
        || item[2].type != NGX_PATIENT_GUARD_REPLY_INTEGER
        || item[3].type != NGX_PATIENT_GUARD_REPLY_ARRAY
        || item[3].number < 2
        || (item[4].type != NGX_PATIENT_GUARD_REPLY_STRING
            && item[4].type != NGX_PATIENT_GUARD_REPLY_NIL)
        || item[5].type != NGX_PATIENT_GUARD_REPLY_INTEGER
        || item[1].number < 0 || item[1].number > item[2].number
        || item[2].number >= NGX_PATIENT_GUARD_SLOTS
        || item[5].number < 0 || item[5].number > 65535)
    {
        return NGX_ERROR;
    }

    slots->first = item[1].number;
    slots->last = item[2].number;
    slots->host = item[4].text;
    slots->port = item[5].number;

    for (item++; item < last && item->depth > 1; item++) {
        /* void */
    }

    *i = item - reply->items;

    return ngx_patient_guard_resp_host(&slots->host) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_patient_guard_slots_moved(ngx_str_t *text,
    ngx_patient_guard_slots_t *slots)
{
    u_char     *p, *last, *colon;
    ngx_int_t   slot, port;

    p = text->data;
    last = p + text->len;

    p = ngx_strlchr(p, last, ' ');
    if (p == NULL) {
        return NGX_ERROR;
    }

    slots->host.data = ngx_strlchr(p + 1, last, ' ');
    if (slots->host.data == NULL) {
        return NGX_ERROR;
    }

    slot = ngx_atoi(p + 1, slots->host.data - p - 1);
    slots->host.data++;

    /* an IPv6 address bears no [] here */

    for (colon = last; colon > slots->host.data && *--colon != ':'; ) {
        /* void */
    }

    if (colon == last || *colon != ':') {
        return NGX_ERROR;
    }

    port = ngx_atoi(colon + 1, last - colon - 1);

    if (slot < 0 || slot >= NGX_PATIENT_GUARD_SLOTS
        || port < 1 || port > 65535)
    {
        return NGX_ERROR;
    }

    slots->first = slot;
    slots->last = slot;
    slots->host.len = colon - slots->host.data;
    slots->port = port;

    return ngx_patient_guard_resp_host(&slots->host) ? NGX_OK : NGX_ERROR;
}
