
/* rooms: ngx_patient_guard_alias ngx_patient_guard_window ngx_patient_guard_resp ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_challenge ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_call ngx_patient_guard_image ngx_patient_guard_outbox ngx_patient_guard_fleet ngx_patient_guard_reply ngx_patient_guard_memory ngx_patient_guard_habit ngx_patient_guard_queue ngx_patient_guard_seen */


#include "ngx_patient_guard_window.h"
#include "stores.h"
#include "tap.h"
#include "vectors.h"


/* what a row says of the C functions */

static uint64_t
held_by_arithmetic(uint64_t counted, uint64_t now, uint64_t window)
{
    uint64_t    slice, newest;
    ngx_uint_t  fold;

    slice = ngx_patient_guard_slice(counted, window);
    newest = ngx_patient_guard_slice_advance(slice,
                              ngx_patient_guard_slice(now, window), &fold);
    if (fold) {
        slice = newest;
    }

    return ngx_patient_guard_slice_held(slice, newest)
           ? ngx_patient_guard_slice_wait(slice, now, window) : 0;
}


/* how long a limit of one, reached at "counted", is seen to refuse */

static uint64_t
held_by_store(uint64_t counted, uint64_t now, uint64_t window,
    void (*count)(ngx_patient_guard_lookup_t *, ngx_patient_guard_tally_t *))
{
    ngx_patient_guard_limit_t   limit = { .id = 0x103 };
    ngx_patient_guard_named_t   patient = { 1, 0, 0 };
    ngx_patient_guard_tally_t   tally;
    ngx_patient_guard_grants_t  grants = { 3, 86400 * 1000 };
    ngx_patient_guard_lookup_t  lookup;

    static uint64_t             account;

    stores_limit(&limit, NGX_PATIENT_GUARD_LOOKUPS, window,
                 NGX_PATIENT_GUARD_DENY, 1, "");

    memset(&lookup, 0, sizeof(lookup));
    lookup.account.word[0] = ++account;
    lookup.patients = &patient;
    lookup.npatients = 1;
    lookup.records = 1;
    lookup.limits = &limit;
    lookup.nlimits = 1;
    lookup.grants = &grants;

    lookup.now = counted;
    count(&lookup, &tally);

    lookup.now = now;
    count(&lookup, &tally);

    return tally.rooms[0].wait;
}


static void
row(vectors_t *v)
{
    uint64_t    n[4], got;
    ngx_uint_t  fold;
    const char *kind;

    kind = v->words[0];

    n[0] = vectors_number(v, v->words[1]);
    n[1] = vectors_number(v, v->words[2]);
    n[2] = vectors_number(v, v->words[3]);

    if (strcmp(kind, "slice") == 0) {
        is(ngx_patient_guard_slice(n[0], n[1]), n[2],
           "slice of %" PRIu64 " in %" PRIu64, n[0], n[1]);
        return;
    }

    if (strcmp(kind, "advance") == 0) {
        got = ngx_patient_guard_slice_advance(n[0], n[1], &fold);

        ok(got == n[2] && fold == (strcmp(v->words[4], "folds") == 0),
           "from slice %" PRIu64 " to %" PRIu64, n[0], n[1]);
        return;
    }

    n[3] = vectors_number(v, v->words[4]);

    is(held_by_arithmetic(n[0], n[1], n[2]), n[3],
       "line %d by arithmetic", v->line);
    is(held_by_store(n[0], n[1], n[2], stores_embedded), n[3],
       "line %d in shared memory", v->line);

    if (with_redis) {
        is(held_by_store(n[0], n[1], n[2], stores_redis), n[3],
           "line %d in Redis", v->line);
    }
}


int
main(void)
{
    vectors_t  v;

    stores_open();
    vectors_open(&v, "t/unit/window.vectors");

    while (vectors_next(&v)) {
        row(&v);
    }

    stores_close();

    return done();
}
