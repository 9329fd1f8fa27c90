
#include "ngx_http_patient_guard_standing.h"
#include "ngx_http_patient_guard_status.h"


static void ngx_http_patient_guard_standing_verdict(
    ngx_http_patient_guard_text_t *text, ngx_http_patient_guard_ctx_t *ctx,
    uint64_t blocked);
static void ngx_http_patient_guard_standing_limits(
    ngx_http_patient_guard_text_t *text, ngx_http_patient_guard_ctx_t *ctx);


void
ngx_http_patient_guard_standing(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_ctx_t *ctx)
{
    uint64_t                          now, blocked;
    ngx_patient_guard_tally_t        *tally;
    ngx_http_patient_guard_policy_t  *policy;

    tally = &ctx->op.tally;
    policy = ctx->policy;
    now = ctx->op.lookup.now;

    blocked = ngx_patient_guard_totals_blocks(policy->shm->totals,
                                              &ctx->op.lookup.account,
                                              &ctx->op.lookup.previous, now);

    ngx_http_patient_guard_text_add(text, "{\"policy\":\"%V\",\"account\":",
                                    &policy->name);
    ngx_http_patient_guard_text_account(text,
                                        &ctx->op.lookup.account);
    ngx_http_patient_guard_text_add(text, ",\"source\":\"%V\"",
                              ngx_patient_guard_source_name(tally->source));

    ngx_http_patient_guard_standing_verdict(text, ctx, blocked);

    ngx_http_patient_guard_text_add(text, ",\"challenge\":");

    if (tally->challenged) {
        ngx_http_patient_guard_text_add(text, "{\"since\":");
        ngx_http_patient_guard_text_time(text, tally->since);
        ngx_http_patient_guard_text_add(text, ",\"limit\":");

        if (tally->challenger < policy->nlimits) {
            ngx_http_patient_guard_text_add(text, "\"%V\"}",
                                   &policy->limits[tally->challenger].name);
        } else {
            ngx_http_patient_guard_text_add(text, "null}");
        }

    } else {
        ngx_http_patient_guard_text_add(text, "null");
    }

    ngx_http_patient_guard_text_add(text,
                    ",\"grants\":{\"allowance\":%uD,\"window\":%uL,"
                    "\"wait\":%ui},\"blocked\":",
                    policy->grants.count, policy->grants.window / 1000,
                    ngx_patient_guard_seconds(tally->grants_wait));

    if (blocked) {
        ngx_http_patient_guard_text_add(text, "{\"until\":");
        ngx_http_patient_guard_text_time(text, blocked);
        ngx_http_patient_guard_text_add(text, "}");

    } else {
        ngx_http_patient_guard_text_add(text, "null");
    }

    ngx_http_patient_guard_standing_limits(text, ctx);

    ngx_http_patient_guard_text_add(text, ",");
    ngx_http_patient_guard_status_recent(text, policy,
                                         &ctx->op.lookup.account);
    ngx_http_patient_guard_text_add(text, "}");
}


/* of a lookup of one more patient, whom nobody knows, now */

static void
ngx_http_patient_guard_standing_verdict(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_ctx_t *ctx, uint64_t blocked)
{
    uint64_t                      wait;
    ngx_patient_guard_decision_t  decision;

    ngx_patient_guard_decide(&ctx->op.lookup, &ctx->op.tally, &decision);

    wait = decision.wait;

    if (blocked) {
        decision.verdict = NGX_PATIENT_GUARD_VERDICT_DENY;
        decision.limit = -1;
        wait = blocked - ctx->op.lookup.now;
    }

    ngx_http_patient_guard_text_add(text, ",\"verdict\":\"%V\",\"limit\":",
                           ngx_patient_guard_verdict_name(decision.verdict));

    if (decision.limit >= 0) {
        ngx_http_patient_guard_text_add(text, "\"%V\"",
                               &ctx->op.lookup.limits[decision.limit].name);
    } else {
        ngx_http_patient_guard_text_add(text, "null");
    }

    if (wait) {
        ngx_http_patient_guard_text_add(text, ",\"retry_after\":%ui",
                                        ngx_patient_guard_seconds(wait));
    } else {
        ngx_http_patient_guard_text_add(text, ",\"retry_after\":null");
    }
}


static void
ngx_http_patient_guard_standing_limits(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_uint_t                        i;
    ngx_patient_guard_room_t         *room;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;

    ngx_http_patient_guard_text_add(text, ",\"limits\":[");

    for (i = 0; i < policy->nlimits; i++) {
        room = &ctx->op.tally.rooms[i];

        ngx_http_patient_guard_text_add(text, i ? ",{" : "{");
        ngx_http_patient_guard_status_limit(text, policy, i);

        if (policy->limits[i].key) {
            ngx_http_patient_guard_text_add(text,
                        ",\"count\":null,\"allowance\":%uD,\"wait\":null}",
                        room->count);
            continue;
        }

        ngx_http_patient_guard_text_add(text,
                        ",\"count\":%uD,\"allowance\":%uD,\"wait\":%ui}",
                        room->total, room->count,
                        ngx_patient_guard_seconds(room->wait));
    }

    ngx_http_patient_guard_text_add(text, "]");
}


void
ngx_http_patient_guard_standing_ordered(ngx_http_patient_guard_text_t *text,
    ngx_http_patient_guard_policy_t *policy, ngx_patient_guard_order_t *order,
    ngx_uint_t fleet)
{
    ngx_http_patient_guard_text_add(text, "{\"policy\":\"%V\",\"account\":",
                                    &policy->name);
    ngx_http_patient_guard_text_account(text, &order->account);
    ngx_http_patient_guard_text_add(text,
                            ",\"operation\":\"%V\",\"reach\":\"%s\","
                            "\"until\":",
                            ngx_patient_guard_order_name(order->kind),
                            fleet ? "fleet" : "node");
    ngx_http_patient_guard_text_time(text, order->until);
    ngx_http_patient_guard_text_add(text, "}");
}
