
/* rooms: ngx_patient_guard_window ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_challenge ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_image ngx_patient_guard_outbox ngx_patient_guard_fleet ngx_patient_guard_parcel ngx_patient_guard_news ngx_patient_guard_floor ngx_patient_guard_apart ngx_patient_guard_note ngx_patient_guard_post ngx_patient_guard_memory ngx_patient_guard_habit ngx_patient_guard_queue ngx_patient_guard_seen */


/* shared memory beside Redis: what it takes over of the fleet's verdicts */


#include "embedded.h"
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_note.h"
#include "ngx_patient_guard_post.h"
#include "tap.h"


static ngx_patient_guard_limit_t   limit = {
    .id = 0x103, .signal = NGX_PATIENT_GUARD_LOOKUPS,
    .action = NGX_PATIENT_GUARD_CHALLENGE, .window = 32000, .count = 2
};

static ngx_patient_guard_grants_t  grants = { 1, 320000 };
static ngx_patient_guard_named_t   patient = { 1, 0, 0 };
static ngx_patient_guard_lookup_t  lookup;
static ngx_patient_guard_shm_t    *shm;


/* another account, at 0 seconds */

static void
begin(void)
{
    lookup.account.word[0]++;
    lookup.patients = &patient;
    lookup.npatients = 1;
    lookup.records = 1;
    lookup.limits = &limit;
    lookup.nlimits = 1;
    lookup.grants = &grants;
    lookup.now = 1600000000000;
    lookup.proof = 0;
}


static void
note(unsigned charged, unsigned challenged, unsigned passed)
{
    ngx_patient_guard_tally_t  tally;

    memset(&tally, 0, sizeof(tally));

    tally.source = NGX_PATIENT_GUARD_FROM_REDIS;
    tally.charged = charged;
    tally.challenged = challenged;
    tally.passed = passed;
    tally.since = challenged ? lookup.now : 0;
    tally.cleared = passed ? lookup.now : 0;

    (void) ngx_patient_guard_note(shm, &lookup, &tally);
}


static ngx_patient_guard_tally_t
count(void)
{
    ngx_patient_guard_tally_t  tally;

    if (ngx_patient_guard_shm_count(shm, &lookup, &tally) != NGX_OK) {
        abort();
    }

    return tally;
}


static void
what_was_charged_is_charged(void)
{
    ngx_patient_guard_tally_t  tally;

    begin();
    note(1, 0, 0);
    note(0, 0, 0);

    tally = count();
    is(tally.rooms[0].total, 2, "one noted, one refused, and this one");
}


static void
what_the_fleet_admits_challenges_nobody_here(void)
{
    ngx_patient_guard_tally_t  tally;

    begin();
    note(1, 0, 0);
    note(1, 0, 0);
    note(1, 0, 0);
    note(0, 0, 0);

    lookup.dry_run = 1;
    tally = count();
    lookup.dry_run = 0;

    is(tally.rooms[0].total, 3, "beyond the count, if Redis says so");
    is(tally.challenged, 0, "and yet there is no challenge");
    is(tally.charged, 0, "but no room here either");
}


static void
whom_the_fleet_challenges_is_challenged(void)
{
    ngx_patient_guard_tally_t  tally;

    begin();
    note(0, 1, 0);

    tally = count();
    ok(tally.challenged && tally.challenger == 0 && !tally.charged,
       "though nothing was counted here");

    lookup.now += 1000;
    note(0, 1, 0);
    lookup.proof = lookup.now - 1;

    tally = count();
    is(tally.passed, 1, "since it was noted first, not last");
}


static void
whom_the_fleet_cleared_is_cleared(void)
{
    ngx_patient_guard_tally_t  tally;

    begin();
    note(1, 0, 0);
    note(1, 0, 0);
    note(0, 1, 0);

    lookup.now += 1000;
    note(1, 0, 1);

    tally = count();
    ok(!tally.challenged && tally.rooms[0].total == 2,
       "with a fresh allowance");
    ok(tally.grants_wait > 0, "and a grant fewer");
}


static void
its_own_challenge_stays(void)
{
    ngx_patient_guard_tally_t  tally;

    begin();
    (void) count();
    (void) count();
    tally = count();
    is(tally.challenged, 1, "challenged while Redis was away");

    note(1, 0, 0);
    tally = count();
    is(tally.challenged, 1, "and still when it is back, until it is passed");
}


/* the limit is renamed every three days: what is over makes room */

static void
limits_that_are_gone_make_room(void)
{
    int                          i, n, room;
    ngx_patient_guard_tally_t    tally;
    ngx_patient_guard_limit_t    daily;
    ngx_patient_guard_account_t  other;

    begin();
    (void) count();
    other = lookup.account;

    begin();
    daily = limit;
    daily.signal = NGX_PATIENT_GUARD_PATIENTS_SEEN;
    daily.action = NGX_PATIENT_GUARD_DENY;
    daily.window = 86400000;
    daily.count = 100;
    lookup.limits = &daily;

    for (i = room = 0; i < 10; i++) {
        daily.id = 0x700 + i;

        for (n = 1; n <= 100; n++) {
            patient.current = n;
            room += ngx_patient_guard_shm_count(shm, &lookup, &tally)
                    == NGX_OK;
        }

        lookup.now += 3 * 86400000;
    }

    is(room, 1000, "each lookup finds room");
    is(tally.rooms[0].total, 100, "and is counted");

    /* two that are held at once, and then one too many */

    lookup.now -= 3 * 86400000;

    for (i = 0; i < 10; i++) {
        daily.id = 0x300 + i;

        for (n = 1; n <= 100; n++) {
            patient.current = n;

            if (ngx_patient_guard_shm_count(shm, &lookup, &tally) != NGX_OK) {
                ok(i > 0, "%d limits and %d patients of the next", i, n - 1);
                i = 10;
                break;
            }
        }
    }

    is(i, 11, "what still holds does not make room for itself");
    patient.current = 1;

    begin();
    lookup.account = other;
    is(count().rooms[0].total, 1, "others are counted on");

    lookup.account.word[0] += 10;
}


/* the proof comes with a lookup that nothing can refuse */

static void
who_is_exempt_passes_as_well(void)
{
    ngx_int_t                  rc;
    ngx_patient_guard_tally_t  tally;

    begin();
    note(1, 0, 0);
    note(0, 1, 0);

    lookup.proof = lookup.now + 1;
    lookup.exempt = 1;
    rc = ngx_patient_guard_floor_answer(shm, &lookup, &tally, 0);
    lookup.exempt = 0;

    ok(rc == NGX_AGAIN && lookup.since == lookup.now,
       "Redis hears of the challenge that the proof is to pass");
}


/* Redis saw a pass by a clock ahead of this node's, which challenges anew */

static void
a_challenge_comes_after_the_last_pass(void)
{
    ngx_patient_guard_tally_t       tally;
    ngx_patient_guard_unanswered_t  none = { 0, 0 };

    begin();
    note(0, 1, 0);

    lookup.now += 5000;
    note(1, 0, 1);
    lookup.now -= 4000;

    grants.count = 9;
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    grants.count = 1;

    ok(tally.challenged && tally.since == lookup.now + 4001,
       "else Redis would take it for one that was passed");
}


static ngx_int_t
take(ngx_patient_guard_account_t *account, ngx_patient_guard_parcel_t *parcel)
{
    static u_char  sets[64];

    parcel->now = lookup.now;

    return ngx_patient_guard_post_take(shm, account, parcel, sets,
                                        sizeof(sets));
}


/* parcels of one account: all in the same millisecond */

static void
a_parcel_belongs_to_who_took_it_last(void)
{
    ngx_patient_guard_tally_t       tally;
    ngx_patient_guard_unanswered_t  none = { 0, 0 };

    static ngx_patient_guard_news_t    news;
    static ngx_patient_guard_parcel_t  first, second, third;

    shm->widest[0] = limit;
    shm->nlimits = 1;
    shm->grants = &grants;

    begin();
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);

    is(take(&lookup.account, &first), NGX_OK, "taken");
    is(take(NULL, &third), NGX_DECLINED, "and nobody's turn any more");
    is(take(&lookup.account, &second), NGX_OK, "but who asks for it, gets it");

    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);

    ngx_patient_guard_post_lost(shm, &first);
    is(take(NULL, &third), NGX_DECLINED, "a loss of the first one's is none");

    ngx_patient_guard_post_news(shm, &first, &news);
    is(take(&lookup.account, &third), NGX_OK, "nor is it told by him");
    ok(third.number && third.number == first.number, "whose number it keeps");
    is(third.images[0].total, 1, "and what was counted then");

    third.sets = 1;
    ngx_patient_guard_post_lost(shm, &third);
    is(take(NULL, &third), NGX_OK, "that of the last one puts it back");
    ok(third.sets && third.number == first.number
       && third.images[0].total == 1, "as it was");

    ngx_patient_guard_post_news(shm, &third, &news);
    is(take(NULL, &third), NGX_OK, "told: the second lookup is next");
    ok(third.number > first.number && third.images[0].total == 1,
       "by a number of its own");

    ngx_patient_guard_post_news(shm, &third, &news);
    is(take(&lookup.account, &third), NGX_DECLINED, "and then nothing");
}


/* between a parcel and its answer: Redis tells of him, and he is told again */

static void
who_is_read_again_is_no_other(void)
{
    ngx_int_t                       rc;
    ngx_patient_guard_limit_t       patients;
    ngx_patient_guard_tally_t       tally;
    ngx_patient_guard_unanswered_t  none = { 0, 0 };

    static ngx_patient_guard_news_t    news;
    static ngx_patient_guard_parcel_t  first, second;

    begin();

    patients = limit;
    patients.id = 0x104;
    patients.signal = NGX_PATIENT_GUARD_PATIENTS_SEEN;
    patients.count = 5;
    lookup.limits = &patients;
    shm->widest[0] = patients;

    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    is(take(&lookup.account, &first), NGX_OK, "a patient is told");

    news.images[0] = first.images[0];
    news.images[0].nset = 0;

    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    ngx_patient_guard_post_news(shm, &first, &news);
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    is(tally.rooms[0].total, 1, "read again meanwhile, he is not another one");

    lookup.now += 1000;
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    is(take(&lookup.account, &second), NGX_OK, "in the next slice as well");
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);

    lookup.now += 1000;
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    ngx_patient_guard_post_news(shm, &second, &news);
    (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &none, 0);
    is(tally.rooms[0].total, 1, "nor if Redis has yet to hear when it was");

    rc = take(&lookup.account, &second);
    ok(rc == NGX_OK && second.images[0].total == 1,
       "of which it is told");

    memset(&news, 0, sizeof(news));
    shm->widest[0] = limit;
}


int
main(void)
{
    shm = embedded_beside(4);

    what_was_charged_is_charged();
    what_the_fleet_admits_challenges_nobody_here();
    whom_the_fleet_challenges_is_challenged();
    whom_the_fleet_cleared_is_cleared();
    its_own_challenge_stays();
    limits_that_are_gone_make_room();
    who_is_exempt_passes_as_well();
    a_parcel_belongs_to_who_took_it_last();
    a_challenge_comes_after_the_last_pass();
    who_is_read_again_is_no_other();

    return done();
}
