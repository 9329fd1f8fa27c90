
#include <openssl/rand.h>

#include "ngx_http_patient_guard_accounts.h"
#include "ngx_http_patient_guard_asking.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_send.h"
#include "ngx_http_patient_guard_standing.h"
#include "ngx_http_patient_guard_verdict.h"


static ngx_int_t ngx_http_patient_guard_accounts_go(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking);
static ngx_int_t ngx_http_patient_guard_accounts_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking);
static void ngx_http_patient_guard_accounts_resume(
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_accounts_told(
    ngx_patient_guard_telling_t *telling, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_continue(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_on(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_cleanup(void *data);
static ngx_int_t ngx_http_patient_guard_accounts_obey(
    ngx_http_patient_guard_asking_t *asking);
static void ngx_http_patient_guard_accounts_written(
    ngx_http_patient_guard_asking_t *asking, ngx_patient_guard_order_t *order);
static void ngx_http_patient_guard_accounts_log(
    ngx_http_patient_guard_asking_t *asking, ngx_uint_t level,
    const char *what);
static void ngx_http_patient_guard_accounts_ordered(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);


ngx_int_t
ngx_http_patient_guard_accounts(ngx_http_request_t *r, ngx_str_t *path,
    ngx_uint_t writes)
{
    ngx_int_t                         rc;
    ngx_http_cleanup_t               *cleanup;
    ngx_http_patient_guard_asking_t  *asking;

    asking = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_asking_t));
    cleanup = ngx_http_cleanup_add(r, 0);

    if (asking == NULL || cleanup == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cleanup->handler = ngx_http_patient_guard_accounts_cleanup;
    cleanup->data = asking;

    asking->text.pool = r->pool;
    asking->ctx.request = r;
    asking->ctx.resume = ngx_http_patient_guard_accounts_resume;
    asking->telling.done = ngx_http_patient_guard_accounts_told;
    asking->telling.data = asking;

    rc = ngx_http_patient_guard_asking_read(r, asking, path, writes);

    if (rc == NGX_OK && asking->order) {
        rc = ngx_http_patient_guard_accounts_obey(asking);
    }

    if (rc != NGX_OK) {
        return asking->detail
               ? ngx_http_patient_guard_send_problem(r, rc, asking->detail)
               : rc;
    }

    ngx_http_patient_guard_text_add(&asking->text, "{\"time\":");
    ngx_http_patient_guard_text_time(&asking->text,
                                     ngx_http_patient_guard_now(&asking->ctx));
    ngx_http_patient_guard_text_add(&asking->text, ",\"accounts\":[");

    rc = ngx_http_patient_guard_accounts_go(r, asking);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* a client that hangs up is noticed there */

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_patient_guard_accounts_cleanup(asking);
        ngx_http_patient_guard_verdict_forget(&asking->ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    r->main->count++;

    return NGX_DONE;
}


/* NGX_AGAIN: it waits; else it is answered, by what the handler returns */

static ngx_int_t
ngx_http_patient_guard_accounts_go(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking)
{
    ngx_int_t  rc;

    for ( /* void */ ; asking->n < asking->npolicies; asking->n++) {

        rc = ngx_http_patient_guard_accounts_begin(r, asking);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc == NGX_ABORT) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_patient_guard_accounts_on(asking, rc);
    }

    if (asking->apart && asking->order == 0) {
        return ngx_http_patient_guard_send_problem(r,
                   NGX_HTTP_SERVICE_UNAVAILABLE, "no store answers");
    }

    ngx_http_patient_guard_text_add(&asking->text, "]}");

    return ngx_http_patient_guard_text_send(r,
                                asking->apart ? NGX_HTTP_SERVICE_UNAVAILABLE
                                              : NGX_HTTP_OK,
                                "application/json", &asking->text);
}


/* NGX_AGAIN; NGX_OK or an error of the store; NGX_ABORT: memory is short */

static ngx_int_t
ngx_http_patient_guard_accounts_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking)
{
    ngx_http_patient_guard_ctx_t     *ctx;
    ngx_patient_guard_lookup_t       *lookup;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ngx_http_patient_guard_asking_policy(asking);
    ctx = &asking->ctx;
    lookup = &ctx->op.lookup;

    ngx_memzero(&ctx->op, sizeof(ngx_patient_guard_op_t));

    ctx->policy = policy;
    ctx->dry_run = 1;
    ctx->shift = policy->shm->shift;

    if (asking->n == 0 && ngx_http_patient_guard_verdict_init(r, ctx)
                          != NGX_OK)
    {
        return NGX_ABORT;
    }

    ngx_http_patient_guard_verdict_op(ctx);

    if (asking->order) {
        ngx_http_patient_guard_accounts_written(asking,
                                                &asking->telling.order);

        return policy->desk ? ngx_patient_guard_desk_tell(policy->desk,
                                                          &asking->telling)
                            : NGX_OK;
    }

    (void) ngx_http_patient_guard_asking_alias(asking, policy,
                                               &lookup->account,
                                               &lookup->previous);

    /* how a lookup of one more, whom nobody knows, would fare: no more */

    if (RAND_bytes((u_char *) &asking->stranger.current,
                   sizeof(asking->stranger.current))
        != 1)
    {
        return NGX_ABORT;
    }

    asking->stranger.current |= 1;
    asking->stranger.previous = policy->nkeys > 1 ? asking->stranger.current
                                                  : 0;

    lookup->patients = &asking->stranger;
    lookup->npatients = 1;
    lookup->records = 1;
    lookup->address = asking->stranger;
    lookup->who = asking->stranger;
    lookup->limits = policy->limits;
    lookup->nlimits = policy->nlimits;
    lookup->grants = &policy->grants;
    lookup->memory = policy->shm->memory;
    lookup->probe = 1;
    lookup->asks = 1;

    return ngx_http_patient_guard_query(ctx);
}


static void
ngx_http_patient_guard_accounts_resume(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_http_patient_guard_accounts_continue(
                                     (ngx_http_patient_guard_asking_t *) ctx,
                                     ngx_http_patient_guard_queried(ctx));
}


static void
ngx_http_patient_guard_accounts_told(ngx_patient_guard_telling_t *telling,
    ngx_int_t rc)
{
    ngx_http_patient_guard_accounts_continue(telling->data, rc);
}


/* from an event that is not the client's; r may be gone when it returns */

static void
ngx_http_patient_guard_accounts_continue(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = asking->ctx.request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_patient_guard_accounts_on(asking, rc);
    asking->n++;

    rc = ngx_http_patient_guard_accounts_go(r, asking);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}


/* one policy's part of the answer; rc is what its store has said */

static void
ngx_http_patient_guard_accounts_on(ngx_http_patient_guard_asking_t *asking,
    ngx_int_t rc)
{
    if (asking->n) {
        ngx_http_patient_guard_text_add(&asking->text, ",");
    }

    if (asking->order) {
        ngx_http_patient_guard_accounts_ordered(asking, rc);

    } else if (rc == NGX_OK) {
        ngx_http_patient_guard_standing(&asking->text, &asking->ctx);

    } else {
        asking->apart = 1;
    }
}


static void
ngx_http_patient_guard_accounts_cleanup(void *data)
{
    ngx_http_patient_guard_asking_t  *asking = data;

    if (asking->telling.pending) {
        ngx_patient_guard_desk_forget(&asking->telling);
    }
}


/* here at once, by all policies, whatever becomes of client and fleet */

static ngx_int_t
ngx_http_patient_guard_accounts_obey(ngx_http_patient_guard_asking_t *asking)
{
    ngx_patient_guard_order_t        *order;
    ngx_http_patient_guard_policy_t  *policy;

    order = &asking->telling.order;

    for (asking->n = 0; asking->n < asking->npolicies; asking->n++) {

        policy = ngx_http_patient_guard_asking_policy(asking);
        ngx_http_patient_guard_accounts_written(asking, order);

        if (ngx_patient_guard_order_obey(policy->shm, order, order->time, 1)
            != NGX_OK)
        {
            ngx_http_patient_guard_accounts_log(asking, NGX_LOG_WARN,
                              "refused: as many accounts as there may be are "
                              "blocked");
            asking->detail = "as many accounts as there may be are blocked "
                             "already";
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        ngx_patient_guard_totals_event(policy->shm->totals, &order->account,
                                       NGX_PATIENT_GUARD_EVENT_ORDER
                                       + order->kind, order->time,
                                       order->until);

        ngx_http_patient_guard_accounts_log(asking, NGX_LOG_NOTICE, "done");
    }

    asking->n = 0;

    return NGX_OK;
}


/* the order, as the policy at hand calls the account */

static void
ngx_http_patient_guard_accounts_written(
    ngx_http_patient_guard_asking_t *asking, ngx_patient_guard_order_t *order)
{
    ngx_http_patient_guard_policy_t  *policy;

    policy = ngx_http_patient_guard_asking_policy(asking);

    asking->ctx.shift = policy->shm->shift;

    order->number = 0;
    order->time = ngx_http_patient_guard_now(&asking->ctx);
    order->until = asking->lasts ? order->time + asking->lasts : 0;
    order->node = policy->shm->node->id;
    order->kind = asking->order;

    (void) ngx_http_patient_guard_asking_alias(asking, policy,
                                                 &order->account,
                                                 &order->previous);
}


static void
ngx_http_patient_guard_accounts_ordered(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc)
{
    ngx_http_patient_guard_policy_t  *policy;

    policy = ngx_http_patient_guard_asking_policy(asking);

    if (rc != NGX_OK) {
        asking->apart = 1;
        ngx_http_patient_guard_accounts_log(asking, NGX_LOG_WARN,
                                            "told to nobody: this node alone "
                                            "has done it");
    }

    ngx_http_patient_guard_standing_ordered(&asking->text, policy,
                                            &asking->telling.order,
                                            policy->desk && rc == NGX_OK);
}


/* without the request line, which has the login */

static void
ngx_http_patient_guard_accounts_log(ngx_http_patient_guard_asking_t *asking,
    ngx_uint_t level, const char *what)
{
    u_char      account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_log_t   log;
    ngx_str_t  *order, policy;

    log = *asking->ctx.request->connection->log;
    log.handler = NULL;

    order = ngx_patient_guard_order_name(asking->order);
    policy = ngx_http_patient_guard_asking_policy(asking)->name;

    ngx_patient_guard_account_hex(account, &asking->telling.order.account);

    ngx_log_error(level, &log, 0,
                  "patient guard: %V by the desk, policy \"%V\", %s, account: "
                  "%*s, client: %V",
                  order, &policy, what, sizeof(account), account,
                  &asking->ctx.request->connection->addr_text);
}
