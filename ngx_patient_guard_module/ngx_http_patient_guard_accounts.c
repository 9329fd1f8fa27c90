
#include "ngx_http_patient_guard_accounts.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_send.h"
#include "ngx_http_patient_guard_standing.h"
#include "ngx_http_patient_guard_verdict.h"

#include <openssl/rand.h>


#define NGX_HTTP_PATIENT_GUARD_BLOCK_MAX  (90 * 86400)       /* s */


typedef struct ngx_http_patient_guard_asking_s
    ngx_http_patient_guard_asking_t;


/* one policy after the other is asked, or told */

struct ngx_http_patient_guard_asking_s {
    ngx_http_patient_guard_ctx_t          ctx;       /* first */
    ngx_http_patient_guard_text_t         text;
    ngx_str_t                             id;        /* decoded */
    ngx_patient_guard_order_e             order;     /* 0: it is a question */
    uint64_t                              lasts;     /* ms, of a block */
    ngx_patient_guard_telling_t           telling;
    ngx_patient_guard_named_t             stranger;  /* who is not known */
    ngx_http_patient_guard_policy_t     **policies;
    ngx_uint_t                            npolicies;
    ngx_uint_t                            n;         /* the one at hand */
    const char                           *detail;    /* what is wrong */
    unsigned                              by_alias:1;
    unsigned                              apart:1;   /* a node knows alone */
    unsigned                              full:1;    /* of blocks */
};


static ngx_int_t ngx_http_patient_guard_accounts_asked(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes);
static ngx_int_t ngx_http_patient_guard_accounts_order(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes);
static ngx_int_t ngx_http_patient_guard_accounts_id(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path);
static ngx_int_t ngx_http_patient_guard_accounts_policies(
    ngx_http_request_t *r, ngx_http_patient_guard_asking_t *asking);
static ngx_int_t ngx_http_patient_guard_accounts_go(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking);
static ngx_int_t ngx_http_patient_guard_accounts_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking);
static ngx_int_t ngx_http_patient_guard_accounts_alias(
    ngx_http_patient_guard_asking_t *asking,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous);
static void ngx_http_patient_guard_accounts_resume(
    ngx_http_patient_guard_ctx_t *ctx);
static void ngx_http_patient_guard_accounts_told(
    ngx_patient_guard_telling_t *telling, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_continue(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_on(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);
static void ngx_http_patient_guard_accounts_cleanup(void *data);
static ngx_int_t ngx_http_patient_guard_accounts_tell(
    ngx_http_patient_guard_asking_t *asking);
static void ngx_http_patient_guard_accounts_ordered(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc);


/* a status, and what is wrong */
#define ngx_http_patient_guard_wrong(asking, status, what)                   \
    ((asking)->detail = (what), (ngx_int_t) (status))

#define ngx_http_patient_guard_asking_policy(asking)                         \
    ((asking)->policies[(asking)->n])


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

    rc = ngx_http_patient_guard_accounts_asked(r, asking, path, writes);

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
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    r->main->count++;

    return NGX_DONE;
}


/* NGX_OK: it is understood; else a status, and asking->detail what is wrong */

static ngx_int_t
ngx_http_patient_guard_accounts_asked(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes)
{
    ngx_int_t  rc;

    rc = ngx_http_patient_guard_accounts_order(r, asking, path, writes);

    if (rc == NGX_OK) {
        rc = ngx_http_patient_guard_accounts_id(r, asking, path);
    }

    return rc == NGX_OK ? ngx_http_patient_guard_accounts_policies(r, asking)
                        : rc;
}


/* what is to be done; leaves the ID in the path */

static ngx_int_t
ngx_http_patient_guard_accounts_order(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path,
    ngx_uint_t writes)
{
    u_char     *slash;
    time_t      lasts;
    ngx_str_t   value, what;

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return NGX_OK;
    }

    if (!writes) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_ALLOWED,
                   "this location only answers: it has no \\\"write\\\"");
    }

    /* a page of another origin can't send it, see "preflight" in CORS */

    if (!ngx_http_patient_guard_sends(r, "x-patient-guard", "write")) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_FORBIDDEN,
                   "a write bears the header X-Patient-Guard: write");
    }

    if (r->method == NGX_HTTP_DELETE) {
        asking->order = NGX_PATIENT_GUARD_ORDER_FORGET;
        return NGX_OK;
    }

    slash = ngx_strlchr(path->data, path->data + path->len, '/');

    if (r->method != NGX_HTTP_POST || slash == NULL) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_ALLOWED,
                   "there are GET and DELETE, and POST of clear and block");
    }

    what.data = slash + 1;
    what.len = path->data + path->len - what.data;
    path->len = slash - path->data;

    if (what.len == 5 && ngx_strncmp(what.data, "clear", 5) == 0) {
        asking->order = NGX_PATIENT_GUARD_ORDER_CLEAR;
        return NGX_OK;
    }

    if (what.len != 5 || ngx_strncmp(what.data, "block", 5) != 0) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "there are \\\"clear\\\" and \\\"block\\\"");
    }

    asking->order = NGX_PATIENT_GUARD_ORDER_BLOCK;

    lasts = ngx_http_arg(r, (u_char *) "for", 3, &value) == NGX_OK
            ? ngx_parse_time(&value, 1) : 0;

    if (lasts <= 0 || lasts > NGX_HTTP_PATIENT_GUARD_BLOCK_MAX) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   "for= is how long: from 1s to 90d, such as \\\"1h\\\"");
    }

    asking->lasts = (uint64_t) lasts * 1000;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_accounts_id(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking, ngx_str_t *path)
{
    size_t      i;
    u_char     *dst, *src;
    ngx_str_t   value;

    dst = ngx_pnalloc(r->pool, path->len + 1);
    if (dst == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    asking->id.data = dst;
    src = path->data;

    for (i = 0; i < path->len; i++) {
        if (src[i] == '/') {
            return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "in a login a slash is sent as %2F");
        }
    }

    ngx_unescape_uri(&dst, &src, path->len, 0);

    asking->id.len = dst - asking->id.data;

    if (ngx_http_arg(r, (u_char *) "by", 2, &value) == NGX_OK) {

        if (value.len != 5 || ngx_strncmp(value.data, "alias", 5) != 0) {
            return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   "by= is \\\"alias\\\", or not there");
        }

        asking->by_alias = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_accounts_policies(ngx_http_request_t *r,
    ngx_http_patient_guard_asking_t *asking)
{
    ngx_str_t                             name;
    ngx_uint_t                            i;
    ngx_patient_guard_account_t           account, previous;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_patient_guard_module);
    policies = mcf->policies.elts;

    asking->policies = policies;
    asking->npolicies = mcf->policies.nelts;

    if (ngx_http_arg(r, (u_char *) "policy", 6, &name) == NGX_OK) {

        asking->npolicies = 0;

        for (i = 0; i < mcf->policies.nelts; i++) {
            if (policies[i]->name.len == name.len
                && ngx_strncmp(policies[i]->name.data, name.data, name.len)
                   == 0)
            {
                asking->policies = &policies[i];
                asking->npolicies = 1;
            }
        }
    }

    if (asking->npolicies == 0) {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_NOT_FOUND,
                   "there is no such policy");
    }

    if (ngx_http_patient_guard_accounts_alias(asking, asking->policies[0],
                                              &account, &previous)
        != NGX_OK)
    {
        return ngx_http_patient_guard_wrong(asking, NGX_HTTP_BAD_REQUEST,
                   asking->by_alias
                   ? "an alias has 32 hexadecimal digits"
                   : "a login has 1 to 256 bytes, none of them a control");
    }

    return NGX_OK;
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

    if (asking->full) {
        return ngx_http_patient_guard_send_problem(r,
                   NGX_HTTP_SERVICE_UNAVAILABLE,
                   "as many accounts as there may be are blocked already");
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

    (void) ngx_http_patient_guard_accounts_alias(asking, policy,
                                                 &lookup->account,
                                                 &lookup->previous);

    if (asking->order) {
        return ngx_http_patient_guard_accounts_tell(asking);
    }

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


/* NGX_OK, or NGX_DECLINED if it is no login, or no alias */

static ngx_int_t
ngx_http_patient_guard_accounts_alias(ngx_http_patient_guard_asking_t *asking,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_account_t *account,
    ngx_patient_guard_account_t *previous)
{
    ngx_memzero(previous, sizeof(ngx_patient_guard_account_t));

    if (!asking->by_alias) {
        return ngx_http_patient_guard_login_alias(policy, &asking->id,
                                                  account, previous);
    }

    return ngx_patient_guard_account_read(&asking->id, account);
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


static ngx_int_t
ngx_http_patient_guard_accounts_tell(ngx_http_patient_guard_asking_t *asking)
{
    uint64_t                          now;
    ngx_patient_guard_order_t        *order;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ngx_http_patient_guard_asking_policy(asking);
    order = &asking->telling.order;
    now = ngx_http_patient_guard_now(&asking->ctx);

    order->number = 0;
    order->time = now;
    order->until = asking->lasts ? now + asking->lasts : 0;
    order->node = policy->shm->node->id;
    order->kind = asking->order;
    order->account = asking->ctx.op.lookup.account;
    order->previous = asking->ctx.op.lookup.previous;

    /* here at once, whatever becomes of the others */

    if (ngx_patient_guard_order_obey(policy->shm, order, now) != NGX_OK) {
        asking->full = 1;
        return NGX_DECLINED;
    }

    ngx_patient_guard_totals_event(policy->shm->totals, &order->account,
                                   NGX_PATIENT_GUARD_EVENT_ORDER
                                   + order->kind, now, order->until);

    return policy->desk ? ngx_patient_guard_desk_tell(policy->desk,
                                                      &asking->telling)
                        : NGX_OK;
}


static void
ngx_http_patient_guard_accounts_ordered(
    ngx_http_patient_guard_asking_t *asking, ngx_int_t rc)
{
    u_char                            account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_log_t                         log;
    ngx_str_t                        *what;
    ngx_uint_t                        fleet;
    ngx_http_request_t               *r;
    ngx_http_patient_guard_policy_t  *policy;

    r = asking->ctx.request;
    policy = ngx_http_patient_guard_asking_policy(asking);
    what = ngx_patient_guard_order_name(asking->order);

    fleet = (policy->desk && rc == NGX_OK);
    asking->apart |= (rc != NGX_OK);

    ngx_http_patient_guard_standing_ordered(&asking->text, policy,
                                            &asking->telling.order, fleet);

    /* without the request line, which has the login */

    log = *r->connection->log;
    log.handler = NULL;

    ngx_patient_guard_account_hex(account, &asking->telling.order.account);

    ngx_log_error(NGX_LOG_NOTICE, &log, 0,
                  "patient guard: %V by the desk, policy \"%V\", %s, account: "
                  "%*s, client: %V",
                  what, &policy->name,
                  fleet ? "told to the fleet" : "on this node alone",
                  sizeof(account), account, &r->connection->addr_text);
}
