
/*
 * What Redis answers, up to the verdict.  An input is the call, and bytes:
 *
 *     flags 1 (1 SYNC, 2 exempt, 4 SYNC that asks for the sets, 8 proofs are
 *              of sessions)
 *     | limits 1 | action and signal of each 1 | pieces 1 | bytes
 *
 * The bytes are heard as a whole and in pieces, which makes no difference.
 * What is accepted goes together: who was not charged is not let through.
 * Then they are heard as what a cluster says of its slots.
 *
 * With FUZZ_SEEDS in the environment, some of the inputs have to be accepted:
 * seeds of a format that nobody speaks any more are noticed.
 */


#include "fuzz.h"
#include "ngx_patient_guard_call.h"
#include "ngx_patient_guard_reply.h"
#include "ngx_patient_guard_policy.h"
#include "ngx_patient_guard_greeting.h"
#include "ngx_patient_guard_resp.h"
#include "ngx_patient_guard_slots.h"


#define NONCE    7
#define HEAD     50                  /* bytes before the limits */
#define REPLIES  64                  /* heard of one input, at the most */
#define LONGEST  (3 * 90 * 86400000ULL)


typedef struct {
    ngx_patient_guard_lookup_t    lookup;
    ngx_patient_guard_parcel_t    parcel;
    ngx_patient_guard_limit_t     limits[NGX_PATIENT_GUARD_LIMITS];
    ngx_patient_guard_grants_t    grants;
    ngx_uint_t                    sync;
} asked_t;


/* of one reply; zeroed, as it is compared as bytes */

typedef struct {
    ngx_int_t                     rc;
    ngx_int_t                     accepted;
    ngx_patient_guard_reply_e     type;
    size_t                        len;
    ngx_patient_guard_tally_t     tally;
    ngx_patient_guard_decision_t  decision;
} heard_t;


/* how many inputs reached what */

static struct {
    ngx_uint_t                    tallies;
    ngx_uint_t                    refusals;
    ngx_uint_t                    unproved;
    ngx_uint_t                    news;
    ngx_uint_t                    dues;
} accepted;


static void
ask(asked_t *asked, input_t *in)
{
    uint8_t                     flags, kind;
    ngx_uint_t                  i, nlimits;
    ngx_patient_guard_limit_t  *limit;

    memset(asked, 0, sizeof(*asked));

    flags = input_byte(in);
    nlimits = input_byte(in) % (NGX_PATIENT_GUARD_LIMITS + 1);

    for (i = 0; i < nlimits; i++) {
        kind = input_byte(in);
        limit = &asked->limits[i];

        limit->action = kind & 3;
        limit->signal = (kind & 4) ? NGX_PATIENT_GUARD_PATIENTS_SEEN
                                   : NGX_PATIENT_GUARD_LOOKUPS;
        limit->window = NGX_PATIENT_GUARD_WINDOW_MIN;
        limit->count = 1 + (kind >> 3);
    }

    asked->sync = flags & 1;

    asked->lookup.limits = asked->limits;
    asked->lookup.nlimits = nlimits;
    asked->lookup.grants = &asked->grants;
    asked->lookup.exempt = (flags & 2) != 0;
    asked->lookup.session = (flags & 8) != 0;

    asked->parcel.limits = asked->limits;
    asked->parcel.nlimits = nlimits;
    asked->parcel.grants = &asked->grants;
    asked->parcel.number = flags >> 4;
    asked->parcel.sets = (flags & 4) != 0;
    asked->parcel.novel = flags >> 5;
    asked->parcel.session = (flags & 8) != 0;
}


/* is it the reply to this call? */

static ngx_uint_t
is_ours(ngx_str_t *text)
{
    size_t  i;

    for (i = 1; i < 8 && i < text->len && text->data[i] == 0; i++) {
        /* void */
    }

    return i == 8 && text->data[0] == NONCE;
}


static void
tally_holds(asked_t *asked, ngx_str_t *text, heard_t *heard)
{
    ngx_uint_t                     i, over;
    ngx_patient_guard_tally_t     *tally;
    ngx_patient_guard_decision_t  *decision;

    tally = &heard->tally;
    decision = &heard->decision;

    must(is_ours(text));
    must(text->len == HEAD + 16 * asked->lookup.nlimits);
    must(tally->source == NGX_PATIENT_GUARD_FROM_REDIS);
    must(!tally->outage);
    must(tally->challenger <= asked->lookup.nlimits);
    must(tally->challenged == (tally->since != 0));
    must(!tally->unproved || (tally->due.since && !tally->challenged));
    must((tally->due.since != 0) == (tally->due.until != 0));
    must(!tally->due.since || asked->lookup.session);
    must(tally->grants_wait <= LONGEST);

    over = tally->challenged || tally->unproved;

    for (i = 0; i < asked->lookup.nlimits; i++) {
        must(tally->rooms[i].wait <= LONGEST);
        must(tally->rooms[i].count <= asked->limits[i].count);
        over |= tally->rooms[i].wait != 0;
    }

    ngx_patient_guard_decide(&asked->lookup, tally, decision);

    must(decision->over == over);
    must(decision->limit >= -1
         && decision->limit < (ngx_int_t) asked->lookup.nlimits);
    must(decision->wait <= LONGEST);
    must((decision->verdict == NGX_PATIENT_GUARD_ALLOW) == tally->charged);
}


static void
news_hold(asked_t *asked, ngx_str_t *text, ngx_patient_guard_news_t *news)
{
    uint64_t                    sum;
    ngx_uint_t                  i, n;
    ngx_patient_guard_image_t  *image;

    must(is_ours(text));
    must(news->challenged == (news->since != 0));
    must(news->challenger <= asked->parcel.nlimits);
    must(!news->superseded || asked->parcel.number);
    must(news->novel <= asked->parcel.novel);
    must((news->due.since != 0) == (news->due.until != 0));
    must(!news->due.since || asked->parcel.session);

    for (i = 0; i < asked->parcel.nlimits; i++) {
        image = &news->images[i];

        for (n = 0, sum = 0; n < NGX_PATIENT_GUARD_IMAGE_COUNTS; n++) {
            sum += image->counts[n];
        }

        must(sum == image->total);
        must(image->nset <= image->total);

        if (image->nset == 0) {
            continue;
        }

        must(asked->parcel.sets);
        must(asked->limits[i].signal == NGX_PATIENT_GUARD_PATIENTS_SEEN);
        must(image->set >= text->data
             && image->set + image->nset * 8 <= text->data + text->len);
    }
}


static void
judge(asked_t *asked, ngx_patient_guard_reply_t *reply, heard_t *heard)
{
    ngx_str_t                  text;
    ngx_patient_guard_news_t   news;

    heard->type = reply->type;
    heard->len = reply->text.len;

    (void) ngx_patient_guard_resp_refused(reply);
    must(strlen(ngx_patient_guard_resp_printable(&reply->text)) <= 128);

    if (reply->type != NGX_PATIENT_GUARD_REPLY_STRING) {
        return;
    }

    /* in memory of just its size */

    text.len = reply->text.len;
    text.data = malloc(text.len ? text.len : 1);
    must(text.data != NULL);
    memcpy(text.data, reply->text.data, text.len);

    if (asked->sync) {
        memset(&news, 0, sizeof(news));
        heard->accepted = ngx_patient_guard_reply_news(&text, NONCE,
                                                      &asked->parcel, &news);
        if (heard->accepted == NGX_OK) {
            news_hold(asked, &text, &news);
            accepted.news++;
            accepted.dues += news.due.since != 0;
        }

    } else {
        heard->accepted = ngx_patient_guard_reply_tally(&text, NONCE,
                                               &asked->lookup,
                                               &heard->tally);
        if (heard->accepted == NGX_OK) {
            tally_holds(asked, &text, heard);
            accepted.tallies++;
            accepted.refusals += !heard->tally.charged;
            accepted.unproved += heard->tally.unproved;

        } else {
            memset(&heard->tally, 0, sizeof(heard->tally));
        }
    }

    free(text.data);
}


/* in pieces of 1 to "most" bytes; how many replies there were */

static ngx_uint_t
hear(asked_t *asked, input_t in, size_t most, heard_t *heard)
{
    size_t                      len;
    ngx_int_t                   rc;
    ngx_str_t                   piece;
    ngx_uint_t                  n;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;

    memset(heard, 0, REPLIES * sizeof(heard_t));

    resp = ngx_patient_guard_resp_create();
    must(resp != NULL);

    n = 0;
    len = 0;
    rc = NGX_AGAIN;

    while (in.p < in.last && rc == NGX_AGAIN) {

        len = len % most + 1;
        piece = input_copy(&in, most == (size_t) -1 ? most : len);
        must(ngx_patient_guard_resp_feed(resp, piece.data, piece.len)
             == NGX_OK);
        free(piece.data);

        do {
            memset(&reply, 0, sizeof(reply));
            rc = ngx_patient_guard_resp_next(resp, &reply,
                                             NGX_PATIENT_GUARD_REPLY_MAX);
            heard[n].rc = rc;

            if (rc == NGX_OK) {
                must(reply.text.len <= NGX_PATIENT_GUARD_REPLY_MAX);
                judge(asked, &reply, &heard[n++]);
            }

        } while (rc == NGX_OK && n < REPLIES - 1);
    }

    ngx_patient_guard_resp_destroy(resp);

    return n;
}


/* of an array, which may be any */

static void
tree_holds(ngx_patient_guard_reply_t *reply)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, before;
    ngx_patient_guard_slots_t  slots;

    for (i = 0; i < reply->nitems; i++) {
        must(reply->items[i].depth <= (i ? reply->items[i - 1].depth + 1 : 0));
        must(reply->items[i].text.len <= NGX_PATIENT_GUARD_REPLY_MAX);
        must(reply->items[i].text.len == 0 || reply->items[i].text.data);
    }

    i = 0;

    do {
        before = i;
        rc = ngx_patient_guard_slots_next(reply, &i, &slots);

        must(rc != NGX_OK || (i > before && i <= reply->nitems));
        must(rc != NGX_OK || (slots.first <= slots.last
                              && slots.last < NGX_PATIENT_GUARD_SLOTS
                              && slots.host.len <= 255));
    } while (rc == NGX_OK);
}


static void
hear_tree(input_t in)
{
    ngx_int_t                   rc;
    ngx_str_t                   piece, policy;
    ngx_patient_guard_resp_t   *resp;
    ngx_patient_guard_reply_t   reply;
    ngx_patient_guard_slots_t   slots;

    resp = ngx_patient_guard_resp_create();
    must(resp != NULL);

    do {
        piece = input_copy(&in, 7);
        must(ngx_patient_guard_resp_feed(resp, piece.data, piece.len)
             == NGX_OK);
        free(piece.data);

        while ((rc = ngx_patient_guard_resp_next(resp, &reply,
                                           NGX_PATIENT_GUARD_REPLY_TREE))
               == NGX_OK)
        {
            if (reply.type == NGX_PATIENT_GUARD_REPLY_ARRAY) {
                tree_holds(&reply);
                continue;
            }

            if (reply.type == NGX_PATIENT_GUARD_REPLY_ERROR
                && ngx_patient_guard_slots_moved(&reply.text, &slots)
                   == NGX_OK)
            {
                must(slots.first < NGX_PATIENT_GUARD_SLOTS && slots.port);
                must(slots.host.data >= reply.text.data
                     && slots.host.data + slots.host.len
                        <= reply.text.data + reply.text.len);
            }

            (void) ngx_patient_guard_memory_evicts(&reply, &policy);
        }

    } while (rc == NGX_AGAIN && in.p < in.last);

    ngx_patient_guard_resp_destroy(resp);
}


static void
seeds_hold(void)
{
    must(accepted.tallies && accepted.refusals && accepted.unproved);
    must(accepted.news && accepted.dues);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init();

    if (getenv("FUZZ_SEEDS")) {
        must(atexit(seeds_hold) == 0);
    }

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           most;
    input_t          in;
    asked_t          asked;
    ngx_uint_t       n;

    static heard_t   whole[REPLIES], parts[REPLIES];

    in.p = data;
    in.last = data + size;

    ask(&asked, &in);
    most = 1 + input_byte(&in);

    n = hear(&asked, in, (size_t) -1, whole);

    must(hear(&asked, in, most, parts) == n);
    must(memcmp(whole, parts, sizeof(whole)) == 0);

    hear_tree(in);

    return 0;
}
