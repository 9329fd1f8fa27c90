
#include "ngx_patient_guard_challenge.h"
#include "ngx_patient_guard_window.h"


#define NGX_PATIENT_GUARD_FOREVER       0xffffffff     /* until it is passed */


static ngx_patient_guard_ref_t ngx_patient_guard_due_now(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t member,
    ngx_patient_guard_lookup_t *lookup);
static void ngx_patient_guard_due_mark(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_due_t *due, uint32_t id);
static ngx_uint_t ngx_patient_guard_limit_of(
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits, uint32_t id);


void
ngx_patient_guard_challenge(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t limit, uint64_t since)
{
    ngx_patient_guard_ref_t  ref;

    if (ngx_patient_guard_challenge_find(node, member)) {
        return;
    }

    ref = ngx_patient_guard_member_queue_open(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_CHALLENGE);

    ngx_patient_guard_queue_mark(&node->zone, ref, since,
                                 lookup->limits[limit].id,
                                 NGX_PATIENT_GUARD_FOREVER);
}


void
ngx_patient_guard_challenge_date(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *challenge;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref == 0) {
        return;
    }

    challenge = ngx_patient_guard_queue(&node->zone, ref);

    if (challenge->newest > lookup->now + NGX_PATIENT_GUARD_SKEW) {
        ngx_patient_guard_queue_mark(&node->zone, ref,
                                     ngx_max(lookup->now, lookup->proof),
                                     challenge->total,
                                     NGX_PATIENT_GUARD_FOREVER);
    }
}


ngx_patient_guard_ref_t
ngx_patient_guard_challenge_find(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member)
{
    return ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_CHALLENGE);
}


ngx_uint_t
ngx_patient_guard_challenger(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_limit_t *limits,
    ngx_uint_t nlimits, uint64_t *since)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *challenge;

    *since = 0;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref == 0) {
        return nlimits;
    }

    challenge = ngx_patient_guard_queue(&node->zone, ref);
    *since = challenge->newest;

    return ngx_patient_guard_limit_of(limits, nlimits, challenge->total);
}


static ngx_uint_t
ngx_patient_guard_limit_of(ngx_patient_guard_limit_t *limits,
    ngx_uint_t nlimits, uint32_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < nlimits; i++) {
        if (limits[i].id == id) {
            break;
        }
    }

    return i;
}


uint64_t
ngx_patient_guard_grants_wait(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t  ref;

    if (ngx_patient_guard_member_queue(node, member,
                                       NGX_PATIENT_GUARD_QUEUE_GRANTS)
        == 0)
    {
        return 0;
    }

    ref = ngx_patient_guard_queue_now(node, member,
                                      NGX_PATIENT_GUARD_QUEUE_GRANTS,
                                      lookup->now, lookup->grants->window);

    return ngx_patient_guard_queue_wait(node, ref, 1, lookup->grants->count,
                                        lookup->now, lookup->grants->window);
}


void
ngx_patient_guard_grant(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_queue_now(node, member,
                                      NGX_PATIENT_GUARD_QUEUE_GRANTS,
                                      lookup->now, lookup->grants->window);

    ngx_patient_guard_queue_count(node, ref, 1,
                       ngx_patient_guard_queue(&node->zone, ref)->newest,
                       NGX_PATIENT_GUARD_SENT);
}


void
ngx_patient_guard_pass_by_proof(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    uint32_t                    id;
    ngx_patient_guard_due_t     due;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *challenge;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref == 0) {
        return;
    }

    challenge = ngx_patient_guard_queue(&node->zone, ref);

    if (lookup->proof <= challenge->newest
        || ngx_patient_guard_grants_wait(node, member, lookup) != 0)
    {
        return;
    }

    due.since = challenge->newest;
    id = challenge->total;

    ngx_patient_guard_clear(node, member, lookup);
    ngx_patient_guard_grant(node, member, lookup);

    if (lookup->session) {
        due.until = ngx_patient_guard_slice_until(
                      ngx_patient_guard_slice(lookup->now,
                                              lookup->grants->window),
                      lookup->grants->window);

        ngx_patient_guard_due_mark(node, member, lookup, &due, id);
    }

    tally->passed = 1;
}


/* the queue of proofs that are due, as of now; 0: none */

static ngx_patient_guard_ref_t
ngx_patient_guard_due_now(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *due;

    ref = ngx_patient_guard_member_queue(node, member,
                                         NGX_PATIENT_GUARD_QUEUE_DUE);
    if (ref == 0) {
        return 0;
    }

    due = ngx_patient_guard_queue(&node->zone, ref);

    if (lookup->now / 1000 >= due->until) {
        ngx_patient_guard_queue_drop(&node->zone,
                             &ngx_patient_guard_member(node, member)->queues,
                             ref);
        return 0;
    }

    if (due->newest > lookup->now + NGX_PATIENT_GUARD_SKEW) {

        /* by a clock that ran ahead: as with a challenge, it is one of now */

        ngx_patient_guard_queue_mark(&node->zone, ref, lookup->now,
                                     due->total, due->until);
    }

    return ref;
}


/* of two the later one, for as long as either: whichever is told first */

static void
ngx_patient_guard_due_mark(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_due_t *due, uint32_t id)
{
    uint32_t                    until;
    uint64_t                    since;
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *known;

    since = due->since;
    until = due->until;

    ref = ngx_patient_guard_due_now(node, member, lookup);

    if (ref) {
        known = ngx_patient_guard_queue(&node->zone, ref);
        until = ngx_max(until, known->until);

        /* of which limit it was may be told later than that it was */

        if (known->newest > since
            || (known->newest == since && known->total))
        {
            since = known->newest;
            id = known->total;
        }
    }

    ngx_patient_guard_queue_mark(&node->zone,
                        ngx_patient_guard_member_queue_open(node, member,
                                               NGX_PATIENT_GUARD_QUEUE_DUE),
                        since, id, until);
}


void
ngx_patient_guard_due_told(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_due_t *due, ngx_uint_t limit)
{
    uint64_t  last;

    last = (lookup->now + 2 * NGX_PATIENT_GUARD_WINDOW_MAX) / 1000;

    if (due->since
        && due->since <= lookup->now + NGX_PATIENT_GUARD_SKEW
        && due->until > lookup->now / 1000
        && due->until <= last)
    {
        ngx_patient_guard_due_mark(node, member, lookup, due,
                                   limit < lookup->nlimits
                                       ? lookup->limits[limit].id : 0);
    }
}


uint64_t
ngx_patient_guard_due_since(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup,
    ngx_uint_t *limit)
{
    ngx_patient_guard_ref_t     ref;
    ngx_patient_guard_queue_t  *due;

    ref = lookup->session ? ngx_patient_guard_due_now(node, member, lookup)
                          : 0;
    if (ref == 0) {
        return 0;
    }

    due = ngx_patient_guard_queue(&node->zone, ref);

    *limit = ngx_patient_guard_limit_of(lookup->limits, lookup->nlimits,
                                        due->total);
    return due->newest;
}


void
ngx_patient_guard_clear(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_lookup_t *lookup)
{
    ngx_uint_t               i;
    ngx_patient_guard_ref_t  ref;

    ref = ngx_patient_guard_challenge_find(node, member);

    if (ref) {
        ngx_patient_guard_queue_drop(&node->zone,
                             &ngx_patient_guard_member(node, member)->queues,
                             ref);
    }

    for (i = 0; i < lookup->nlimits; i++) {

        if (lookup->limits[i].action != NGX_PATIENT_GUARD_CHALLENGE
            || lookup->limits[i].key != 0)
        {
            continue;
        }

        ref = ngx_patient_guard_member_queue(node, member,
                                             lookup->limits[i].id);
        if (ref) {
            ngx_patient_guard_queue_empty(&node->zone, ref);
        }
    }
}
