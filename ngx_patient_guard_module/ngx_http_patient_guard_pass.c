
#include <openssl/crypto.h>

#include "ngx_http_patient_guard_pass.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_limit.h"
#include "ngx_http_patient_guard_send.h"
#include "ngx_http_patient_guard_verdict.h"
#include "ngx_patient_guard_token.h"


#define NGX_HTTP_PATIENT_GUARD_SEE_OTHER  303


static ngx_int_t ngx_http_patient_guard_pass_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_patient_guard_pass_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_token_t *state);
static ngx_int_t ngx_http_patient_guard_pass_state(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_token_t *state);
static void ngx_http_patient_guard_pass_resume(
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_pass_answer(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc);
static ngx_int_t ngx_http_patient_guard_pass_return(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx);
static ngx_int_t ngx_http_patient_guard_pass_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status);
static void ngx_http_patient_guard_pass_log(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t level, const char *what);


typedef struct {
    ngx_http_patient_guard_ctx_t         ctx;        /* first */
    ngx_str_t                            path;       /* to return to */
} ngx_http_patient_guard_passing_t;


char *
ngx_http_patient_guard_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (lcf->pass.name.data) {
        return "is duplicate";
    }

    if (lcf->handler) {
        return "is in a location with \"patient_guard_api\"";
    }

    value = cf->args->elts;

    lcf->pass.name = value[1];
    lcf->pass.file = cf->conf_file->file.name;
    lcf->pass.line = cf->conf_file->line;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_patient_guard_pass_handler;
    lcf->handler = clcf->handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_patient_guard_pass_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_patient_guard_token_t           state;
    ngx_http_patient_guard_ctx_t       *ctx;
    ngx_http_patient_guard_passing_t   *passing;
    ngx_http_patient_guard_loc_conf_t  *lcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_POST))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_patient_guard_module);

    passing = ngx_pcalloc(r->pool, sizeof(ngx_http_patient_guard_passing_t));
    if (passing == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = &passing->ctx;

    ctx->request = r;
    ctx->policy = lcf->pass.policy;
    ctx->location = lcf;
    ctx->log_level = lcf->log_level;
    ctx->resume = ngx_http_patient_guard_pass_resume;

    rc = ngx_http_patient_guard_pass_begin(r, ctx, &state);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_patient_guard_pass_refuse(r, ctx, rc);
    }

    passing->path = state.path;

    rc = ngx_http_patient_guard_query(ctx);

    if (rc != NGX_AGAIN) {
        return ngx_http_patient_guard_pass_answer(r, ctx, rc);
    }

    /* as in a phase handler: a client that hangs up is noticed there */

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        ngx_http_patient_guard_verdict_forget(ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    r->main->count++;

    return NGX_DONE;
}


/* NGX_OK: the lookup is ready; NGX_ERROR; a status, and the reason is set */

static ngx_int_t
ngx_http_patient_guard_pass_begin(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_token_t *state)
{
    ngx_int_t                    rc;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &ctx->op.lookup;

    if (ngx_http_patient_guard_verdict_init(r, ctx) != NGX_OK
        || ngx_http_patient_guard_limits(r, ctx->policy, lookup) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_patient_guard_login(r, ctx);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ctx->reason = "no account is given";
        return NGX_HTTP_FORBIDDEN;
    }

    rc = ngx_http_patient_guard_pass_state(r, ctx, state);

    if (rc != NGX_OK) {
        return rc;
    }

    /*
     * A proof given right after that challenge: it passes that one, and none
     * which was opened later.  No more than a pass is asked for, and whoever
     * keeps the count of the fleet is asked.
     */

    lookup->memory = ctx->policy->shm->memory;
    lookup->proof = state->since + 1;
    lookup->probe = 1;
    lookup->dry_run = 1;
    lookup->asks = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_pass_state(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_patient_guard_token_t *state)
{
    ngx_int_t                         rc;
    ngx_str_t                         token;
    ngx_uint_t                        i;
    ngx_patient_guard_lookup_t       *lookup;
    ngx_patient_guard_account_t      *account;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;
    lookup = &ctx->op.lookup;

    if (ngx_http_arg(r, (u_char *) "state", 5, &token) != NGX_OK) {
        ctx->reason = "no state: it comes with the challenge's redirect";
        return NGX_HTTP_BAD_REQUEST;
    }

    rc = NGX_DECLINED;
    account = &lookup->account;

    for (i = 0; i < policy->nkeys && rc == NGX_DECLINED; i++) {

        account = i ? &lookup->previous : &lookup->account;

        rc = ngx_patient_guard_token_open(policy->keys[i].token,
                                          &policy->name, &token, r->pool,
                                          state);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* who holds another's state shall not learn that it is a good one */

    if (rc == NGX_DECLINED
        || CRYPTO_memcmp(&state->account, account,
                         sizeof(ngx_patient_guard_account_t))
           != 0)
    {
        ctx->reason = "the state is not of this account";
        return NGX_HTTP_FORBIDDEN;
    }

    if (state->expires < (uint64_t) ngx_time()) {
        ctx->reason = "the state has expired: open the record again";
        return NGX_HTTP_FORBIDDEN;
    }

    if (!ngx_patient_guard_token_returns(&state->path)) {
        ngx_str_set(&state->path, "/");
    }

    return NGX_OK;
}


/* from an event that is not the client's; r may be gone when it returns */

static void
ngx_http_patient_guard_pass_resume(ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    rc = ngx_http_patient_guard_queried(ctx);

    ngx_http_finalize_request(r,
                            ngx_http_patient_guard_pass_answer(r, ctx, rc));
    ngx_http_run_posted_requests(c);
}


/* rc NGX_DECLINED: no store answers */

static ngx_int_t
ngx_http_patient_guard_pass_answer(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_int_t rc)
{
    ngx_patient_guard_tally_t  *tally;

    tally = &ctx->op.tally;

    if (rc != NGX_OK) {
        ctx->reason = "no store answers: try again in a moment";
        return ngx_http_patient_guard_pass_refuse(r, ctx,
                                               NGX_HTTP_SERVICE_UNAVAILABLE);
    }

    if (tally->passed) {
        return ngx_http_patient_guard_pass_return(r, ctx);
    }

    if (!tally->challenged) {
        ctx->reason = "the challenge is passed or lifted already: open the "
                      "record again";

    } else if (tally->grants_wait) {
        ctx->reason = "challenges were passed as often as the policy allows";

    } else {
        ctx->reason = "the state is of an earlier challenge: open the record "
                      "again";
    }

    return ngx_http_patient_guard_pass_refuse(r, ctx, NGX_HTTP_FORBIDDEN);
}


static ngx_int_t
ngx_http_patient_guard_pass_return(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_buf_t                         *b;
    ngx_str_t                          value;
    ngx_http_patient_guard_passing_t  *passing;

    passing = (ngx_http_patient_guard_passing_t *) ctx;

    ngx_http_patient_guard_pass_log(r, ctx, NGX_LOG_NOTICE, "passed");

    ngx_patient_guard_totals_event(ctx->policy->shm->totals,
                                   &ctx->op.lookup.account,
                                   NGX_PATIENT_GUARD_EVENT_PASSED,
                                   ctx->op.lookup.now, 0);

    ngx_str_set(&value, "no-store");

    b = ngx_calloc_buf(r->pool);

    if (b == NULL
        || ngx_http_patient_guard_header(r, "Cache-Control", &value) == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* neither the state nor the path, which may name a patient, is told on */

    ngx_str_set(&value, "no-referrer");

    if (ngx_http_patient_guard_header(r, "Referrer-Policy", &value) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.location = ngx_http_patient_guard_header(r, "Location",
                                                            &passing->path);
    if (r->headers_out.location == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_patient_guard_send(r, NGX_HTTP_PATIENT_GUARD_SEE_OTHER,
                                       "text/plain", b);
}


static ngx_int_t
ngx_http_patient_guard_pass_refuse(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t status)
{
    ngx_http_patient_guard_pass_log(r, ctx, ctx->log_level, ctx->reason);

    return ngx_http_patient_guard_send_problem(r, status, ctx->reason);
}


/* aliases only, and no request line: it has the state, and may be logged on */

static void
ngx_http_patient_guard_pass_log(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx, ngx_uint_t level, const char *what)
{
    u_char     account[NGX_PATIENT_GUARD_ACCOUNT_HEX];
    ngx_log_t  log;
    ngx_str_t  policy;

    log = *r->connection->log;
    log.handler = NULL;

    policy = ctx->policy->name;

    ngx_patient_guard_account_hex(account, &ctx->op.lookup.account);

    ngx_log_error(level, &log, 0,
                  "patient guard: pass of policy \"%V\": %s, account: %*s, "
                  "client: %V",
                  &policy, what, sizeof(account), account,
                  &r->connection->addr_text);
}
