
#include "ngx_patient_guard_news.h"
#include "ngx_patient_guard_count.h"
#include "ngx_patient_guard_parcel.h"
#include "ngx_patient_guard_seen.h"
#include "ngx_patient_guard_window.h"


static void ngx_patient_guard_news_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    uint64_t cap);
static void ngx_patient_guard_news_named(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    uint64_t cap);
static void ngx_patient_guard_news_bare(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    ngx_patient_guard_image_t *known);
static void ngx_patient_guard_news_fewer(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, uint32_t n);
static uint32_t ngx_patient_guard_news_others(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t slice, uint32_t n);
static void ngx_patient_guard_news_known(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *known);
static ngx_patient_guard_ref_t ngx_patient_guard_news_place(
    ngx_patient_guard_node_t *node, ngx_patient_guard_ref_t queue,
    ngx_patient_guard_ref_t from, uint64_t slice);


uint64_t
ngx_patient_guard_news_cells(ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = NGX_PATIENT_GUARD_FLEET_ADDS + 2;

    for (i = 0; i < parcel->nlimits; i++) {
        n += 1 + news->images[i].nset + NGX_PATIENT_GUARD_IMAGE_COUNTS;
    }

    return n;
}


void
ngx_patient_guard_news(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t member, ngx_patient_guard_parcel_t *parcel,
    ngx_patient_guard_news_t *news)
{
    uint32_t                     now;
    ngx_uint_t                   i;
    ngx_patient_guard_ref_t      ref;
    ngx_patient_guard_fleet_t   *fleet;
    ngx_patient_guard_image_t    known;
    ngx_patient_guard_limit_t   *limit;
    ngx_patient_guard_lookup_t   lookup;

    ngx_patient_guard_parcel_lookup(parcel, &lookup);

    ngx_patient_guard_cleared_since(node, member, &lookup, news->cleared);
    ngx_patient_guard_due_told(node, member, &lookup, &news->due,
                               news->challenged ? parcel->nlimits
                                                : news->challenger);

    if (news->challenged && news->challenger < parcel->nlimits) {
        ngx_patient_guard_challenge(node, member, &lookup, news->challenger,
                                    news->since);
    }

    for (i = 0; i < parcel->nlimits; i++) {

        limit = &parcel->limits[i];

        if (limit->key != parcel->key) {
            continue;
        }

        ref = ngx_patient_guard_queue_now(node, member, limit->id,
                                          parcel->now, limit->window);

        if (ngx_patient_guard_keeps_set(limit)) {
            ngx_patient_guard_news_set(node, ref, &news->images[i],
                                    ngx_patient_guard_set_cap(limit->count));
            continue;
        }

        ngx_patient_guard_news_known(node, ref, &known);

        if (ngx_patient_guard_follows(limit)) {

            /* who was new here may not have been so to Redis */

            ngx_patient_guard_news_fewer(node, ref,
                                         parcel->novel - news->novel);

            ngx_patient_guard_news_known(node, ref, &known);
            ngx_patient_guard_seen_less(node, member, &known, parcel->now,
                                        limit->window);
        }

        ngx_patient_guard_news_bare(node, ref, &news->images[i], &known);
    }

    fleet = ngx_patient_guard_fleet(node, member, 0);
    now = (uint32_t) parcel->now;

    fleet->heard = now;
    fleet->confirmed = parcel->key ? fleet->confirmed : now;
    fleet->told = parcel->sets ? now : fleet->told;
}


/*
 * Whom the fleet knows joins the set.  How many there are beside them, and in
 * which slices, is kept as bare counts among the patients: they count, and
 * nobody knows who they are.
 */

static void
ngx_patient_guard_news_set(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    uint64_t cap)
{
    uint32_t                    others, n;
    uint64_t                    slice, newest;
    ngx_patient_guard_ref_t     ref, next;
    ngx_patient_guard_zone_t   *zone;
    ngx_patient_guard_image_t   known;

    zone = &node->zone;

    for (ref = ngx_patient_guard_queue(zone, queue)->first; ref; ref = next) {
        next = ngx_patient_guard_entry(zone, ref)->next;

        if (ngx_patient_guard_entry(zone, ref)->patient == 0) {
            ngx_patient_guard_entry_drop(zone, ref);
        }
    }

    ngx_patient_guard_news_named(node, queue, image, cap);
    ngx_patient_guard_news_known(node, queue, &known);

    newest = ngx_patient_guard_queue(zone, queue)->newest;

    if (image->total <= known.total
        || image->newest + NGX_PATIENT_GUARD_SLICES < newest)
    {
        return;
    }

    others = image->total - known.total;

    for (slice = image->newest; others; slice--) {

        n = ngx_patient_guard_image_count(image, slice);

        if (slice <= newest
            && ngx_patient_guard_slice_held(slice, newest))
        {
            n -= ngx_min(n, ngx_patient_guard_image_count(&known, slice));
        }

        others -= ngx_patient_guard_news_others(node, queue, slice,
                                                ngx_min(n, others));
        if (slice + NGX_PATIENT_GUARD_SLICES == image->newest) {
            break;
        }
    }
}


static void
ngx_patient_guard_news_named(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    uint64_t cap)
{
    uint32_t                      i, left, skip;
    uint64_t                      slice, newest;
    ngx_patient_guard_ref_t       ref, from, before;
    ngx_patient_guard_zone_t     *zone;
    ngx_patient_guard_entry_t    *entry;
    ngx_patient_guard_patient_t   patient;

    zone = &node->zone;
    newest = ngx_patient_guard_queue(zone, queue)->newest;

    from = 0;
    slice = image->newest - NGX_PATIENT_GUARD_SLICES;
    left = ngx_patient_guard_image_count(image, slice);

    /* the oldest ones may have been left out */

    skip = image->total - image->nset;

    while (image->nset && skip >= left) {
        skip -= left;
        left = ngx_patient_guard_image_count(image, ++slice);
    }

    left -= ngx_min(skip, left);

    for (i = 0; i < image->nset; i++) {

        while (left == 0) {
            left = ngx_patient_guard_image_count(image, ++slice);
        }

        left--;

        if (!ngx_patient_guard_slice_held(slice, newest)) {
            continue;
        }

        patient = ngx_patient_guard_image_patient(image, i);

        if (patient == 0) {
            continue;
        }

        ref = ngx_patient_guard_entry_find(zone, queue, patient);

        if (ref == 0) {

            if (ngx_patient_guard_queue(zone, queue)->total >= cap) {
                return;
            }

            before = ngx_patient_guard_news_place(node, queue, from, slice);

            ngx_patient_guard_entry_insert(zone, queue, before, patient, 1,
                                           ngx_min(slice, newest),
                                           NGX_PATIENT_GUARD_SENT);

            from = ngx_patient_guard_entry_find(zone, queue, patient);

            continue;
        }

        entry = ngx_patient_guard_entry(zone, ref);

        if (ngx_patient_guard_entry_slice(ngx_patient_guard_queue(zone, queue),
                                          entry)
            < ngx_min(slice, newest))
        {
            if (from == ref) {
                from = entry->next;
            }

            before = ngx_patient_guard_news_place(node, queue, from, slice);

            ngx_patient_guard_entry_renew(zone, ref, before,
                                       ngx_min(slice, newest),
                                       ngx_patient_guard_entry_state(entry));
            from = ref;
        }
    }
}


/* never fewer than this node knows of: Redis may have lost some */

static void
ngx_patient_guard_news_bare(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t queue, ngx_patient_guard_image_t *image,
    ngx_patient_guard_image_t *known)
{
    uint32_t    n, others;
    uint64_t    slice, newest;

    newest = ngx_patient_guard_queue(&node->zone, queue)->newest;

    others = image->total - ngx_min(image->total, known->total);

    for (slice = image->newest - NGX_PATIENT_GUARD_SLICES;
         others && slice <= image->newest;
         slice++)
    {
        n = ngx_patient_guard_image_count(image, slice);

        if (!ngx_patient_guard_slice_held(slice, newest)) {
            continue;
        }

        if (slice <= newest) {
            n -= ngx_min(n, ngx_patient_guard_image_count(known, slice));
        }

        others -= ngx_patient_guard_news_others(node, queue, slice,
                                                ngx_min(n, others));
    }

    (void) ngx_patient_guard_parcel_settle(node, queue,
                                           NGX_PATIENT_GUARD_SENDING);
}


/* so many fewer, from the newest slice on */

static void
ngx_patient_guard_news_fewer(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t n)
{
    uint32_t                    less;
    ngx_patient_guard_ref_t     last;
    ngx_patient_guard_entry_t  *entry;

    while (n) {
        last = ngx_patient_guard_queue(&node->zone, ref)->last;

        if (last == 0) {
            return;
        }

        entry = ngx_patient_guard_entry(&node->zone, last);
        less = ngx_min(n, entry->count);
        n -= less;

        if (less == entry->count) {
            ngx_patient_guard_entry_drop(&node->zone, last);

        } else {
            ngx_patient_guard_entry_more(&node->zone, last, -less);
        }
    }
}


/* n more in that slice, of whom nothing else is known; how many did fit */

static uint32_t
ngx_patient_guard_news_others(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t slice, uint32_t n)
{
    uint64_t                    newest;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);
    newest = queue->newest;

    n = (uint32_t) ngx_min(n, NGX_PATIENT_GUARD_COUNT_MAX - queue->total);

    if (n && ngx_patient_guard_slice_held(slice, newest)) {
        ngx_patient_guard_entry_insert(&node->zone, ref,
                         ngx_patient_guard_news_place(node, ref, 0, slice),
                         0, n, ngx_min(slice, newest),
                         NGX_PATIENT_GUARD_SENT);
    }

    return n;
}


/* what this node holds that Redis has been told, or is being told */

static void
ngx_patient_guard_news_known(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_image_t *known)
{
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    ngx_memzero(known, sizeof(ngx_patient_guard_image_t));

    queue = ngx_patient_guard_queue(&node->zone, ref);

    for (ref = queue->first; ref; ref = entry->next) {

        entry = ngx_patient_guard_entry(&node->zone, ref);

        if (ngx_patient_guard_entry_state(entry) == NGX_PATIENT_GUARD_UNSENT)
        {
            continue;
        }

        ngx_patient_guard_image_count(known,
                            ngx_patient_guard_entry_slice(queue, entry))
                                                              += entry->count;
        known->total += entry->count;
    }
}


/* before which entry a slice ends, looked for from "from" on, or the first */

static ngx_patient_guard_ref_t
ngx_patient_guard_news_place(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_ref_t from, uint64_t slice)
{
    ngx_patient_guard_entry_t  *entry;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);

    for (ref = from ? from : queue->first; ref; ref = entry->next) {

        entry = ngx_patient_guard_entry(&node->zone, ref);

        if (ngx_patient_guard_entry_slice(queue, entry) > slice) {
            return ref;
        }
    }

    return 0;
}
