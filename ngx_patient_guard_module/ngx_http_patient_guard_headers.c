
#include "ngx_http_patient_guard_headers.h"
#include "ngx_http_patient_guard_send.h"
#include "ngx_http_patient_guard_variable.h"


typedef u_char *(*ngx_http_patient_guard_member_pt)(u_char *p,
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_room_t *room);


static ngx_int_t ngx_http_patient_guard_headers_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_headers_add(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, const char *name,
    ngx_http_patient_guard_member_pt member);
static u_char *ngx_http_patient_guard_headers_policy(u_char *p,
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_room_t *room);
static u_char *ngx_http_patient_guard_headers_room(u_char *p,
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_room_t *room);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_patient_guard_headers_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_patient_guard_headers_filter;
}


static ngx_int_t
ngx_http_patient_guard_headers_filter(ngx_http_request_t *r)
{
    ngx_http_patient_guard_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_patient_guard_get_ctx(r);

    /* nothing is refused in a dry run, nor to who is exempt */

    if (ctx == NULL
        || !ctx->decided
        || !ctx->location->headers
        || ctx->dry_run
        || ctx->op.lookup.exempt
        || ctx->op.tally.source == NGX_PATIENT_GUARD_FROM_NONE)
    {
        return ngx_http_next_header_filter(r);
    }

    if (ngx_http_patient_guard_headers_add(r, ctx, "RateLimit-Policy",
                                       ngx_http_patient_guard_headers_policy)
        != NGX_OK
        || ngx_http_patient_guard_headers_add(r, ctx, "RateLimit",
                                         ngx_http_patient_guard_headers_room)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_patient_guard_headers_add(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, const char *name,
    ngx_http_patient_guard_member_pt member)
{
    size_t                       size;
    u_char                      *p;
    ngx_str_t                    value;
    ngx_uint_t                   i;
    ngx_patient_guard_limit_t   *limit;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;
    size = 0;

    for (i = 0; i < lookup->nlimits; i++) {
        size += lookup->limits[i].name.len + sizeof(", \"\";q=;w=") - 1
                + NGX_INT32_LEN + NGX_INT64_LEN;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    for (i = 0; i < lookup->nlimits; i++) {

        limit = &lookup->limits[i];

        if (limit->key || limit->action == NGX_PATIENT_GUARD_LOG) {
            continue;
        }

        /* a name has no character that a quoted string would want escaped */

        p = ngx_sprintf(p, "%s\"%V\"",
                        p == value.data ? "" : ", ", &limit->name);
        p = member(p, limit, &ctx->op.tally.rooms[i]);
    }

    value.len = p - value.data;

    return value.len == 0
           || ngx_http_patient_guard_header(r, name, &value)
           ? NGX_OK : NGX_ERROR;
}


/* what holds for the account: by what is usual for it, if that is less */

static u_char *
ngx_http_patient_guard_headers_policy(u_char *p,
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_room_t *room)
{
    return ngx_sprintf(p, ";q=%uD;w=%uL", room->count,
                       limit->window / 1000);
}


static u_char *
ngx_http_patient_guard_headers_room(u_char *p,
    ngx_patient_guard_limit_t *limit, ngx_patient_guard_room_t *room)
{
    p = ngx_sprintf(p, ";r=%uD",
                    room->total < room->count ? room->count - room->total
                                              : 0);
    if (room->wait) {
        p = ngx_sprintf(p, ";t=%ui", ngx_patient_guard_seconds(room->wait));
    }

    return p;
}
