
#include "ngx_http_patient_guard_gate.h"
#include "ngx_http_patient_guard_answer.h"
#include "ngx_http_patient_guard_spool.h"
#include "ngx_http_patient_guard_variable.h"
#include "ngx_http_patient_guard_verdict.h"


/* of r->buffered; nginx' own filters have the other three */
#define NGX_HTTP_PATIENT_GUARD_BUFFERED  0x08


struct ngx_http_patient_guard_held_s {
    ngx_http_patient_guard_disclosure_t *disclosure;
    ngx_http_patient_guard_way_t        *way;
    ngx_http_patient_guard_spool_t       spool;
    ngx_output_chain_ctx_t               out;
    ngx_event_t                          refuse;
    ngx_http_event_handler_pt            handler;    /* of write events */

    unsigned                             whole:1;
    unsigned                             asked:1;
    unsigned                             answered:1;
    unsigned                             released:1;
    unsigned                             failed:1;
};


static ngx_int_t ngx_http_patient_guard_gate_keep(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in);
static ngx_uint_t ngx_http_patient_guard_gate_cut_short(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_gate_answered(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_patient_guard_gate_open(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_gate_send(ngx_http_request_t *r,
    ngx_http_patient_guard_held_t *held, ngx_chain_t *in);
static void ngx_http_patient_guard_gate_resume(
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_gate_go_on(ngx_http_request_t *r,
    ngx_http_patient_guard_held_t *held);
static void ngx_http_patient_guard_gate_write_handler(ngx_http_request_t *r);
static void ngx_http_patient_guard_gate_refuse_handler(ngx_event_t *ev);
static void ngx_http_patient_guard_gate_cleanup(void *data);


ngx_int_t
ngx_http_patient_guard_gate_close(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_http_patient_guard_disclosure_t *d,
    ngx_http_patient_guard_way_t *way)
{
    ngx_http_cleanup_t             *cln;
    ngx_http_patient_guard_held_t  *held;

    static ngx_http_patient_guard_gate_t  nothing;

    held = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_held_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (held == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_patient_guard_gate_cleanup;
    cln->data = held;

    held->disclosure = d;
    held->way = way;

    ngx_http_patient_guard_spool_init(&held->spool,
                                      ctx->location->gate
                                      ? ctx->location->gate : &nothing);

    held->refuse.handler = ngx_http_patient_guard_gate_refuse_handler;
    held->refuse.data = ctx;
    held->refuse.log = r->connection->log;

    ctx->held_back = held;
    ctx->resume = ngx_http_patient_guard_gate_resume;

    r->buffered |= NGX_HTTP_PATIENT_GUARD_BUFFERED;

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_gate_filter(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_http_patient_guard_held_t  *held;

    held = ctx->held_back;

    if (held->failed) {
        return NGX_ERROR;
    }

    if (held->released) {
        return ngx_http_patient_guard_gate_send(r, held, in);
    }

    if (ngx_http_patient_guard_gate_keep(r, ctx, in) != NGX_OK) {
        return NGX_ERROR;
    }

    if (held->whole && held->answered && !held->refuse.posted
        && !ngx_http_patient_guard_allowed(ctx))
    {
        ngx_post_event(&held->refuse, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_gate_keep(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t                       rc;
    ngx_buf_t                      *b;
    ngx_http_patient_guard_held_t  *held;

    held = ctx->held_back;

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        /* of HEAD and 304 there may be one nevertheless, which is not sent */

        if (ngx_buf_in_memory(b) && !held->answered
            && r->method != NGX_HTTP_HEAD
            && r->headers_out.status != NGX_HTTP_NOT_MODIFIED
            && r->headers_out.status != NGX_HTTP_NO_CONTENT)
        {
            rc = ngx_http_patient_guard_spool_add(r, &held->spool, b->pos,
                                                  b->last);
            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_BUSY) {
                ctx->reason = "the response is too large to be held back";

                (void) ngx_http_patient_guard_gate_refuse(r, ctx,
                                                       NGX_HTTP_BAD_GATEWAY);
            }
        }

        b->pos = b->last;
        b->file_pos = b->file_last;

        if (b->last_buf) {
            held->whole = 1;

        } else if (b->flush && ngx_http_patient_guard_gate_cut_short(r)) {

            held->whole = 1;

            if (!held->answered) {
                ctx->reason = "the response that is held back ends early";

                (void) ngx_http_patient_guard_gate_refuse(r, ctx,
                                                       NGX_HTTP_BAD_GATEWAY);
            }
        }
    }

    return NGX_OK;
}


/*
 * An upstream that is finalized after its header, but before its end, has
 * what there is flushed, and no last buffer will come.
 */

static ngx_uint_t
ngx_http_patient_guard_gate_cut_short(ngx_http_request_t *r)
{
    return r->upstream && r->upstream->cleanup == NULL;
}


ngx_int_t
ngx_http_patient_guard_gate_ask(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                       rc;
    ngx_msec_t                      patience;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_patient_guard_held_t  *held;

    held = ctx->held_back;

    if (held->asked) {
        return NGX_OK;
    }

    held->asked = 1;

    rc = ngx_http_patient_guard_disclosure_lookup(ctx, held->disclosure);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_BUSY) {
        ctx->reason = "too many patients in one response";
        return ngx_http_patient_guard_gate_refuse(r, ctx, NGX_HTTP_FORBIDDEN);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_patient_guard_gate_answered(r, ctx, NGX_OK);
    }

    /* the core gives up what does not move for so long */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    patience = ngx_min(ctx->policy->throttle_delay, clcf->send_timeout / 2);

    return ngx_http_patient_guard_gate_answered(r, ctx,
                           ngx_http_patient_guard_verdict(r, ctx, patience));
}


static ngx_int_t
ngx_http_patient_guard_gate_answered(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_patient_guard_held_t  *held;

    if (rc == NGX_AGAIN) {
        return NGX_OK;
    }

    held = ctx->held_back;
    held->answered = 1;

    if (ngx_http_patient_guard_allowed(ctx)) {
        return ngx_http_patient_guard_gate_open(r, ctx);
    }

    /* by then whoever makes the response has done with the request */

    if (held->whole) {
        ngx_post_event(&held->refuse, &ngx_posted_events);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_patient_guard_gate_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    ctx->held_back->asked = 1;

    /* it may be asked for by its number, and an answer be under way */

    ngx_http_patient_guard_verdict_forget(ctx);

    ngx_http_patient_guard_verdict_refuse(r, ctx, status);

    return ngx_http_patient_guard_gate_answered(r, ctx, NGX_OK);
}


ngx_uint_t
ngx_http_patient_guard_gate_asked(ngx_http_patient_guard_ctx_t *ctx)
{
    return ctx->held_back->asked;
}


static ngx_int_t
ngx_http_patient_guard_gate_open(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t                       rc;
    ngx_chain_t                    *chain;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_patient_guard_held_t  *held;

    held = ctx->held_back;
    held->released = 1;

    rc = held->way->header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (r->header_only) {
        r->buffered &= ~NGX_HTTP_PATIENT_GUARD_BUFFERED;
        return NGX_OK;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    /* as ngx_http_copy_filter_module does */

    held->out.sendfile = r->connection->sendfile;
    held->out.need_in_memory = r->main_filter_need_in_memory
                               || r->filter_need_in_memory;
    held->out.need_in_temp = r->filter_need_temporary;
    held->out.alignment = clcf->directio_alignment;
    held->out.pool = r->pool;
    held->out.bufs.num = 2;
    held->out.bufs.size = 32768;
    held->out.tag = (ngx_buf_tag_t) &ngx_patient_guard_module;
    held->out.output_filter = (ngx_output_chain_filter_pt) held->way->body;
    held->out.filter_ctx = r;

    chain = ngx_http_patient_guard_spool_chain(r, &held->spool, held->whole);
    if (chain == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_patient_guard_gate_send(r, held, chain);
}


static ngx_int_t
ngx_http_patient_guard_gate_send(ngx_http_request_t *r,
    ngx_http_patient_guard_held_t *held, ngx_chain_t *in)
{
    ngx_int_t  rc;

    if (r->header_only) {

        for ( /* void */ ; in; in = in->next) {
            in->buf->pos = in->buf->last;
            in->buf->file_pos = in->buf->file_last;
        }

        return NGX_OK;
    }

    rc = ngx_output_chain(&held->out, in);

    if (held->out.in == NULL) {
        r->buffered &= ~NGX_HTTP_PATIENT_GUARD_BUFFERED;

    } else {
        r->buffered |= NGX_HTTP_PATIENT_GUARD_BUFFERED;
    }

    return rc;
}


/* from an event that is not the client's; r may be gone when it returns */

static void
ngx_http_patient_guard_gate_resume(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_connection_t               *c;
    ngx_http_request_t             *r;
    ngx_http_patient_guard_held_t  *held;

    r = ctx->request;
    c = r->connection;
    held = ctx->held_back;

    ngx_http_set_log_request(c->log, r);

    /* who makes the response has the request: it ends what fails here */

    if (ngx_http_patient_guard_gate_answered(r, ctx,
                               ngx_http_patient_guard_verdict_next(r, ctx))
        == NGX_ERROR)
    {
        held->failed = 1;
    }

    if (held->released || held->failed) {
        ngx_http_patient_guard_gate_go_on(r, held);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * Whoever waits for the end of the response goes on.  An upstream that is not
 * at its end yet does not know of what is still to be sent here.
 */

static void
ngx_http_patient_guard_gate_go_on(ngx_http_request_t *r,
    ngx_http_patient_guard_held_t *held)
{
    ngx_http_event_handler_pt  handler;

    handler = r->write_event_handler;

    if (held->out.in && !held->whole && !held->failed) {
        held->handler = handler;
        r->write_event_handler = ngx_http_patient_guard_gate_write_handler;
    }

    handler(r);
}


static void
ngx_http_patient_guard_gate_write_handler(ngx_http_request_t *r)
{
    ngx_http_patient_guard_ctx_t   *ctx;
    ngx_http_patient_guard_held_t  *held;

    ctx = ngx_http_patient_guard_get_ctx(r);
    held = ctx->held_back;

    if (!r->connection->write->timedout
        && ngx_http_patient_guard_gate_send(r, held, NULL) == NGX_ERROR)
    {
        held->failed = 1;
    }

    if (held->out.in == NULL || held->failed) {
        r->write_event_handler = held->handler;
    }

    held->handler(r);
}


/* nothing of the response has gone to any other filter yet */

static void
ngx_http_patient_guard_gate_refuse_handler(ngx_event_t *ev)
{
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_patient_guard_ctx_t  *ctx = ev->data;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->buffered &= ~NGX_HTTP_PATIENT_GUARD_BUFFERED;
    ctx->watched = 0;

    /* send_timeout was that of the response: an error_page has its own */

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_http_clean_header(r);

    ngx_memzero(r->ctx, sizeof(void *) * ngx_http_max_module);
    ngx_http_set_ctx(r, ctx, ngx_patient_guard_module);

    rc = ngx_http_patient_guard_answer(r, ctx);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_patient_guard_gate_cleanup(void *data)
{
    ngx_http_patient_guard_held_t  *held = data;

    if (held->refuse.posted) {
        ngx_delete_posted_event(&held->refuse);
    }
}
