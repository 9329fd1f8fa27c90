
/* rooms: ngx_patient_guard_window ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_challenge ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_image ngx_patient_guard_outbox ngx_patient_guard_fleet ngx_patient_guard_parcel ngx_patient_guard_news ngx_patient_guard_floor ngx_patient_guard_apart ngx_patient_guard_note ngx_patient_guard_post ngx_patient_guard_memory ngx_patient_guard_habit ngx_patient_guard_queue ngx_patient_guard_seen */


#include "embedded.h"
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_note.h"
#include "ngx_patient_guard_post.h"
#include "ngx_patient_guard_outbox.h"
#include "tap.h"
#include "walk.h"

#include <sys/ptrace.h>
#include <sys/wait.h>


#define ACCOUNTS    12
#define PATIENTS    8
#define NAMED       3
#define KILLS       400
#define STEPPED     8           /* seconds of single steps, */
#define LOOKUPS     60          /*   for so many lookups at most */


/* lookups of all kinds */

static ngx_patient_guard_limit_t  limits[] = {
    { .id = 0x103, .signal = NGX_PATIENT_GUARD_LOOKUPS,
      .action = NGX_PATIENT_GUARD_DENY, .window = 32000, .count = 9 },
    { .id = 0x104, .signal = NGX_PATIENT_GUARD_PATIENTS_SEEN,
      .action = NGX_PATIENT_GUARD_CHALLENGE, .window = 32000, .count = 4 },
    { .id = 0x105, .signal = NGX_PATIENT_GUARD_PATIENTS_SEEN,
      .action = NGX_PATIENT_GUARD_LOG, .window = 320000, .count = 3 }
};

static ngx_patient_guard_grants_t  grants = { 3, 320000 };
static uint64_t                    now = 1600000000000;


static void
lookup_one(ngx_patient_guard_lookup_t *lookup, uint64_t account,
    ngx_patient_guard_named_t *patient)
{
    memset(lookup, 0, sizeof(ngx_patient_guard_lookup_t));

    lookup->account.word[0] = account;
    lookup->patients = patient;
    lookup->npatients = 1;
    lookup->records = 1;
    lookup->limits = limits;
    lookup->nlimits = 3;
    lookup->grants = &grants;
    lookup->now = now;
}


/* a parcel is taken; Redis answers it, or does not; news of any kind */

static void
tell_any(ngx_patient_guard_shm_t *shm, uint64_t now,
    ngx_patient_guard_lookup_t *lookup)
{
    uint32_t                     i;
    ngx_uint_t                   n;
    ngx_patient_guard_image_t   *image;
    ngx_patient_guard_patient_t  patient;

    static u_char                      sets[64], set[64];
    static ngx_patient_guard_news_t    news;
    static ngx_patient_guard_parcel_t  parcel;

    shm->limits = lookup->limits;
    memcpy(shm->widest, lookup->limits,
           lookup->nlimits * sizeof(ngx_patient_guard_limit_t));
    shm->nlimits = lookup->nlimits;
    shm->grants = lookup->grants;

    parcel.now = now;

    if (ngx_patient_guard_post_take(shm, NULL, &parcel, sets, sizeof(sets))
        != NGX_OK
        || random() % 4 == 0)
    {
        return;
    }

    if (random() % 4 == 0) {
        ngx_patient_guard_post_lost(shm, &parcel);
        return;
    }

    memset(&news, 0, sizeof(news));

    news.challenged = (random() % 8 == 0);
    news.since = news.challenged ? now : 0;
    news.cleared = random() % 8 ? 0 : now;
    news.superseded = parcel.number && random() % 4 == 0;

    for (n = 0; n < parcel.nlimits; n++) {
        image = &news.images[n];
        image->newest = now * 32 / parcel.limits[n].window;

        for (i = random() % 8; i; i--) {
            image->counts[(image->newest - random() % 33) % 33]++;
            image->total++;
        }

        if (parcel.sets
            && parcel.limits[n].signal == NGX_PATIENT_GUARD_PATIENTS_SEEN)
        {
            image->set = set;
            image->nset = image->total;

            for (i = 0; i < image->nset; i++) {
                patient = 1 + (n + i) % PATIENTS;
                memcpy(set + 8 * i, &patient, 8);
            }
        }
    }

    ngx_patient_guard_post_news(shm, &parcel, &news);
}


static void
lookup_any(ngx_patient_guard_shm_t *shm)
{
    long                        back;
    uint64_t                    account, key, first;
    ngx_uint_t                  i;
    ngx_patient_guard_named_t   patients[NAMED];
    ngx_patient_guard_tally_t   tally;
    ngx_patient_guard_lookup_t  lookup;

    ngx_patient_guard_unanswered_t  call;

    back = random() % 20 ? 0 : random() % 40000;
    now += random() % 2 ? 0 : random() % 4000;

    account = 1 + random() % ACCOUNTS;
    key = random() % 2;
    first = random() % PATIENTS;

    lookup_one(&lookup, account, patients);

    lookup.account.word[1] = key;
    lookup.previous.word[0] = account;
    lookup.previous.word[1] = 1 - key;
    lookup.now = now - back;
    lookup.proof = random() % 4 ? 0 : lookup.now;
    lookup.exempt = (random() % 8 == 0);
    lookup.npatients = 1 + random() % NAMED;
    lookup.records = random() % (2 * NAMED);
    lookup.forced = (random() % 8 == 0);
    lookup.unnamed = (random() % 8 == 0);
    lookup.probe = (random() % 8 == 0);

    for (i = 0; i < lookup.npatients; i++) {
        patients[i].current = key << 32 | ((first + i) % PATIENTS + 1);
        patients[i].previous = patients[i].current ^ (uint64_t) 1 << 32;
    }

    switch (random() % 8) {

    case 0:
    case 1:
    case 2:
        (void) ngx_patient_guard_shm_count(shm, &lookup, &tally);
        return;

    case 3:
    case 4:
        call.number = random() % 2 ? 1 + random() : 0;
        call.worker = random() % 3;
        (void) ngx_patient_guard_floor_count(shm, &lookup, &tally, &call,
                                             random() % 2);
        return;

    case 5:
        (void) ngx_patient_guard_floor_answer(shm, &lookup, &tally,
                                              random() % 8);
        return;

    case 6:
        tell_any(shm, lookup.now, &lookup);
        return;
    }

    /* as another node might have decided */

    memset(&tally, 0, sizeof(tally));
    tally.charged = random() % 2;
    tally.challenged = (random() % 8 == 0);
    tally.challenger = 1;
    tally.passed = (random() % 8 == 0);
    tally.since = tally.challenged ? lookup.now : 0;
    tally.cleared = tally.passed ? lookup.now : 0;

    (void) ngx_patient_guard_note(shm, &lookup, &tally);
}


static void
lookups_leave_the_zone_whole(void)
{
    int                       i;
    const char               *wrong;
    ngx_patient_guard_shm_t  *shm;

    shm = embedded_beside(2);
    wrong = walk_node(shm->node);

    for (i = 0; i < 20000 && wrong == NULL; i++) {
        lookup_any(shm);
        wrong = walk_node(shm->node);
    }

    ok(wrong == NULL, "whole after %d lookups: %s", i, wrong ? wrong : "yes");
    ok(ngx_patient_guard_shm_evicted(shm) > 100, "many accounts made room");
}


/* a worker is killed: the master releases its lock, another recovers */

static const char *
take_over(ngx_patient_guard_shm_t *shm, int *saved)
{
    ngx_shmtx_unlock(&shm->pool->mutex);

    *saved += (shm->node->zone.saved != 0);
    ngx_patient_guard_recover(&shm->node->zone);

    return walk_node(shm->node);
}


static void
a_worker_may_be_killed_at_any_moment(void)
{
    int                       i, saved;
    pid_t                     pid;
    const char               *wrong;
    ngx_patient_guard_shm_t  *shm;

    shm = embedded_beside(2);
    wrong = NULL;
    saved = 0;

    for (i = 0; i < KILLS && wrong == NULL; i++) {
        now += 1000;
        pid = fork();

        if (pid == 0) {
            for (srandom(i); /* void */ ; lookup_any(shm)) { /* void */ }
        }

        usleep(500 + random() % 2000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);

        wrong = take_over(shm, &saved);
    }

    ok(wrong == NULL, "whole after %d kills: %s", i, wrong ? wrong : "yes");
    ok(saved > 0, "%d of them in the midst of a change", saved);
}


/*
 * The same without chance: the worker is stopped after each instruction.
 * Wherever one altered the zone, what a kill would leave is recovered, walked,
 * and put back.
 */

static void
a_worker_may_be_killed_at_any_instruction(void)
{
    int                        i, status, saved, states;
    long                       steps;
    time_t                     until;
    pid_t                      pid;
    size_t                     size;
    u_char                    *live, *copy;
    const char                *wrong;
    ngx_patient_guard_shm_t   *shm;

    shm = embedded_beside(1);
    live = (u_char *) shm->pool;
    size = 2 * ngx_pagesize;
    copy = calloc(1, size);

    for (i = 0; i < 300; i++) {
        lookup_any(shm);
    }

    pid = fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(1);
        }

        raise(SIGSTOP);

        for (i = 0; i < LOOKUPS; i++) {
            lookup_any(shm);
        }

        _exit(0);
    }

    wrong = NULL;
    saved = states = 0;

    until = time(NULL) + STEPPED;

    for (steps = 0; /* void */ ; steps++) {
        waitpid(pid, &status, 0);

        if (!WIFSTOPPED(status)) {
            break;
        }

        if (time(NULL) >= until) {
            kill(pid, SIGKILL);
            continue;
        }

        if (wrong == NULL && memcmp(copy, live, size) != 0) {
            memcpy(copy, live, size);
            wrong = take_over(shm, &saved);
            memcpy(live, copy, size);
            states++;
        }

        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) {
            break;
        }
    }

    free(copy);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        printf("# ptrace() is not allowed here: nobody is stopped\n");
        return;
    }

    printf("# %ld instructions\n", steps);
    ok(wrong == NULL, "whole in all of %d states: %s", states,
       wrong ? wrong : "yes");
    ok(saved > states / 2, "%d of them in the midst of a change", saved);
}


/* accounts in the order of their last use: who is known is the newest few */

static void
who_was_idle_longest_makes_room(void)
{
    int                          i, n, wrong, known;
    uint64_t                     order[100], account;
    ngx_patient_guard_shm_t     *shm;
    ngx_patient_guard_named_t    patient = { 1, 0, 0 };
    ngx_patient_guard_tally_t    tally;
    ngx_patient_guard_lookup_t   lookup;
    ngx_patient_guard_account_t  alias;

    shm = embedded_beside(1);
    wrong = n = 0;

    for (i = 0; i < 2000; i++) {
        account = 1 + random() % 60;

        lookup_one(&lookup, account, &patient);
        wrong += ngx_patient_guard_shm_count(shm, &lookup, &tally) != NGX_OK;

        for (known = 0; known < n && order[known] != account; known++) {
            /* void */
        }

        n -= (known < n);
        memmove(order + 1, order, known * sizeof(order[0]));
        order[0] = account;
        n++;

        /* the one that was just used, and those before it without a gap */

        for (known = 0; known < n; known++) {
            alias.word[0] = order[known];
            alias.word[1] = 0;

            if (ngx_patient_guard_member_find(shm->node, &alias) == 0) {
                break;
            }
        }

        wrong += known == 0;
        n = known;

        for (account = known = 0; account < 60; account++) {
            alias.word[0] = account + 1;
            known += ngx_patient_guard_member_find(shm->node, &alias) != 0;
        }

        wrong += known != n;
    }

    is(wrong, 0, "known are those used last, always the present one");
    ok(n > 5 && n < 60, "%d accounts fit", n);
    ok(walk_node(shm->node) == NULL, "the zone is whole");
}


static void
an_account_too_large_is_an_error(void)
{
    uint64_t                    evicted;
    ngx_patient_guard_shm_t    *shm;
    ngx_uint_t                  i;
    ngx_patient_guard_named_t   patients[NGX_PATIENT_GUARD_PATIENTS];
    ngx_patient_guard_limit_t   limits[NGX_PATIENT_GUARD_LIMITS];
    ngx_patient_guard_tally_t   tally;
    ngx_patient_guard_lookup_t  lookup;

    shm = embedded_beside(1);
    memset(patients, 0, sizeof(patients));

    for (lookup.npatients = 0;
         lookup.npatients < NGX_PATIENT_GUARD_PATIENTS;
         lookup.npatients++)
    {
        patients[lookup.npatients].current = lookup.npatients + 1;
    }

    lookup_one(&lookup, 1, patients);

    for (i = 0; i < lookup.nlimits; i++) {
        limits[i] = lookup.limits[i];
        limits[i].count = NGX_PATIENT_GUARD_PATIENTS;
    }

    lookup.limits = limits;

    is(ngx_patient_guard_shm_count(shm, &lookup, &tally), NGX_OK,
       "one patient fits");

    lookup.npatients = NGX_PATIENT_GUARD_PATIENTS;
    is(ngx_patient_guard_shm_count(shm, &lookup, &tally), NGX_ERROR,
       "512 patients do not, and it is told");
    is(tally.charged, 0, "nothing is charged");

    lookup.account.word[0] = 2;
    is(ngx_patient_guard_shm_count(shm, &lookup, &tally), NGX_ERROR,
       "nor of an account that is new");
    ok(walk_node(shm->node) == NULL, "the zone is whole");

    lookup.npatients = 1;
    lookup.records = 1;
    evicted = ngx_patient_guard_shm_evicted(shm);
    is(ngx_patient_guard_shm_count(shm, &lookup, &tally), NGX_OK,
       "and goes on");
    is(ngx_patient_guard_shm_evicted(shm), evicted, "with room enough");
}


/* one account grows until it has the whole zone */

static void
the_present_account_is_never_evicted(void)
{
    ngx_int_t                     rc;
    ngx_patient_guard_shm_t      *shm;
    ngx_patient_guard_limit_t     wide = limits[2];
    ngx_patient_guard_named_t     patient = { 1, 0, 0 };
    ngx_patient_guard_tally_t     tally;
    ngx_patient_guard_lookup_t    lookup;

    shm = embedded_beside(1);
    wide.count = 1000;

    lookup_one(&lookup, 2, &patient);
    (void) ngx_patient_guard_shm_count(shm, &lookup, &tally);

    lookup_one(&lookup, 1, &patient);
    lookup.limits = &wide;
    lookup.nlimits = 1;

    do {
        rc = ngx_patient_guard_shm_count(shm, &lookup, &tally);
        patient.current++;

    } while (rc == NGX_OK && tally.rooms[0].total == patient.current - 1);

    is(rc, NGX_ERROR, "until it has all but a few cells");
    is(ngx_patient_guard_shm_evicted(shm), 1, "the other one had to go");
    ok(ngx_patient_guard_member_find(shm->node, &lookup.account) != 0,
       "it is still there");
    ok(shm->node->zone.pool.nfree < 12, "and %d cells",
       (int) shm->node->zone.pool.nfree);
    ok(walk_node(shm->node) == NULL, "the zone is whole");
}


static void
a_zone_has_a_least_size(void)
{
    ok(embedded(0) == NULL, "without a page there is no zone");
    ok(embedded(1) != NULL, "one page will do");
}


/* every page of it, whatever their number, and not a byte more */

static void
all_of_a_zone_is_used(void)
{
    ngx_uint_t                 pages;
    ngx_patient_guard_shm_t   *shm;
    ngx_patient_guard_zone_t  *zone;

    for (pages = 1; pages <= 2048; pages = pages * 3 + 1) {
        shm = embedded(pages);
        zone = &shm->node->zone;

        is((u_char *) &zone->cells[zone->ncells] - (u_char *) shm->node,
           pages * ngx_pagesize, "%d pages end with the last of %d cells",
           (int) pages, (int) zone->ncells);
    }
}


int
main(void)
{
    unsigned int  seed;

    seed = (unsigned int) time(NULL);
    srandom(seed);
    printf("# seed %u\n", seed);

    lookups_leave_the_zone_whole();
    a_worker_may_be_killed_at_any_moment();
    a_worker_may_be_killed_at_any_instruction();
    who_was_idle_longest_makes_room();
    an_account_too_large_is_an_error();
    the_present_account_is_never_evicted();
    a_zone_has_a_least_size();
    all_of_a_zone_is_used();

    return done();
}
