
/* rooms: ngx_patient_guard_recent ngx_patient_guard_blocks ngx_patient_guard_events */


#include "ngx_patient_guard_recent.h"
#include "ngx_patient_guard_blocks.h"
#include "ngx_patient_guard_events.h"
#include "tap.h"


static ngx_patient_guard_account_t
account(uint64_t n)
{
    ngx_patient_guard_account_t  alias;

    alias.word[0] = n * 0x9e3779b97f4a7c15ULL + 1;
    alias.word[1] = n;

    return alias;
}


static ngx_patient_guard_refusal_t
refusal(uint64_t who, uint64_t time)
{
    ngx_patient_guard_refusal_t  entry;

    memset(&entry, 0, sizeof(entry));

    entry.account = account(who);
    entry.time = time;
    entry.limit = 9;
    entry.verdict = 3;

    return entry;
}


static void
the_same_refusal_is_one_entry(void)
{
    ngx_uint_t                    i, n;
    ngx_patient_guard_recent_t    recent;
    ngx_patient_guard_refusal_t   entry, list[NGX_PATIENT_GUARD_RECENT];
    ngx_patient_guard_account_t   robot;

    memset(&recent, 0, sizeof(recent));

    for (i = 1; i <= 1000; i++) {
        entry = refusal(7, i);
        ngx_patient_guard_recent_add(&recent, &entry);
    }

    entry = refusal(7, 1001);
    entry.verdict = 4;
    ngx_patient_guard_recent_add(&recent, &entry);
    entry = refusal(7, 1002);
    entry.dry_run = 1;
    ngx_patient_guard_recent_add(&recent, &entry);
    entry = refusal(8, 1003);
    ngx_patient_guard_recent_add(&recent, &entry);

    n = ngx_patient_guard_recent_list(&recent, NULL, list);

    is(n, 4, "one for an account, a verdict, and a dry run");
    ok(list[0].time == 1003 && list[1].time == 1002 && list[2].time == 1001
       && list[3].time == 1000, "newest first");
    is(list[3].times, 1000, "which counts how often");

    robot = account(7);
    is(ngx_patient_guard_recent_list(&recent, &robot, list), 3,
       "of one account");

    ngx_patient_guard_recent_forget(&recent, &robot);
    is(ngx_patient_guard_recent_list(&recent, &robot, list), 0, "forgotten");
    is(ngx_patient_guard_recent_list(&recent, NULL, list), 1,
       "and nobody else");
}


static void
the_oldest_makes_room(void)
{
    ngx_uint_t                    i, n;
    ngx_patient_guard_recent_t    recent;
    ngx_patient_guard_refusal_t   entry, list[NGX_PATIENT_GUARD_RECENT];

    memset(&recent, 0, sizeof(recent));

    for (i = 1; i <= 200; i++) {
        entry = refusal(i, i);
        ngx_patient_guard_recent_add(&recent, &entry);
        entry = refusal(1, i);
        ngx_patient_guard_recent_add(&recent, &entry);
    }

    n = ngx_patient_guard_recent_list(&recent, NULL, list);

    is(n, NGX_PATIENT_GUARD_RECENT, "no more than there may be");
    is(list[n - 1].time, 200 - NGX_PATIENT_GUARD_RECENT + 2,
       "those of the last");
    is(list[0].times + list[1].times, 202, "who comes again stays");
}


static void
blocks_last_as_long_as_they_are_to(void)
{
    uint64_t                         last;
    ngx_uint_t                       i, n;
    ngx_patient_guard_blocks_t       blocks;
    ngx_patient_guard_account_t      one, many;
    ngx_patient_guard_block_entry_t  list[NGX_PATIENT_GUARD_BLOCKS];

    memset(&blocks, 0, sizeof(blocks));

    one = account(1);
    is(ngx_patient_guard_blocks_may(&blocks, 1000), 0, "nobody is");
    is(ngx_patient_guard_blocks_set(&blocks, &one, 2000, 1000), NGX_OK,
       "blocked");
    is(ngx_patient_guard_blocks_may(&blocks, 1999), 1, "somebody is");
    is(ngx_patient_guard_blocks_find(&blocks, &one, 1999), 2000, "he is");
    is(ngx_patient_guard_blocks_find(&blocks, &one, 2000), 0, "no more");
    is(ngx_patient_guard_blocks_set(&blocks, &one, 1500, 1000), NGX_OK,
       "again");
    is(ngx_patient_guard_blocks_find(&blocks, &one, 1400), 1500, "for less");
    is(ngx_patient_guard_blocks_list(&blocks, 1400, list), 1, "one entry");

    ngx_patient_guard_blocks_lift(&blocks, &one);
    is(ngx_patient_guard_blocks_find(&blocks, &one, 1400), 0, "lifted");
    many = account(2);
    ngx_patient_guard_blocks_lift(&blocks, &many);

    for (i = n = 0; i < NGX_PATIENT_GUARD_BLOCKS + 5; i++) {
        many = account(i + 10);
        n += ngx_patient_guard_blocks_set(&blocks, &many, 3000 + i, 1000)
             == NGX_OK;
    }

    is(n, NGX_PATIENT_GUARD_BLOCKS, "as many as there may be");
    is(ngx_patient_guard_blocks_list(&blocks, 1000, list),
       NGX_PATIENT_GUARD_BLOCKS, "all are there");

    many = account(10);
    is(ngx_patient_guard_blocks_set(&blocks, &many, 9000, 1000), NGX_OK,
       "one of them again");
    is(ngx_patient_guard_blocks_set(&blocks, &one, 9000, 1000), NGX_DECLINED,
       "and nobody else");

    last = 3000 + NGX_PATIENT_GUARD_BLOCKS;
    is(ngx_patient_guard_blocks_set(&blocks, &one, 9000, last), NGX_OK,
       "until others are over");
}


static void
events_are_taken_once(void)
{
    uint64_t                     first;
    ngx_uint_t                   i, n;
    ngx_patient_guard_event_t    event, batch[NGX_PATIENT_GUARD_EVENTS_BATCH];

    static ngx_patient_guard_events_t  events;

    memset(&event, 0, sizeof(event));

    is(ngx_patient_guard_events_take(&events, 1000, batch, &first), 0,
       "none");

    for (i = 0; i < 100; i++) {
        event.time = i;
        ngx_patient_guard_events_push(&events, &event);
    }

    n = ngx_patient_guard_events_take(&events, 1000, batch, &first);
    is(n, NGX_PATIENT_GUARD_EVENTS_BATCH, "a batch");
    ok(first == 0 && batch[0].time == 0 && batch[n - 1].time == n - 1,
       "of the oldest");
    is(ngx_patient_guard_events_take(&events, 1001, batch, &first), 0,
       "by one at a time");

    ngx_patient_guard_events_done(&events, 0);
    is(ngx_patient_guard_events_take(&events, 1001, batch, &first), n,
       "if it was in vain, again");
    is(ngx_patient_guard_events_take(&events,
                               1001 + NGX_PATIENT_GUARD_EVENTS_CLAIM, batch,
                               &first), n, "or if nothing was heard of it");

    ngx_patient_guard_events_done(&events, n);
    is(ngx_patient_guard_events_take(&events, 9999, batch, &first), 100 - n,
       "the others");
    is(first, n, "by their numbers");

    /* while these are under way many more come */

    for (i = 100; i < 2 * NGX_PATIENT_GUARD_EVENTS; i++) {
        event.time = i;
        ngx_patient_guard_events_push(&events, &event);
    }

    is(events.dropped, NGX_PATIENT_GUARD_EVENTS - n, "dropped, and counted");
    ngx_patient_guard_events_done(&events, 100);
    is(ngx_patient_guard_events_take(&events, 9999, batch, &first),
       NGX_PATIENT_GUARD_EVENTS_BATCH, "a batch");
    ok(first == NGX_PATIENT_GUARD_EVENTS && batch[0].time == first,
       "the oldest that is left");

    ngx_patient_guard_events_done(&events, (uint64_t) 1 << 60);
    is(ngx_patient_guard_events_take(&events, 9999, batch, &first), 0,
       "no more than there were");
}


int
main(void)
{
    the_same_refusal_is_one_entry();
    the_oldest_makes_room();
    blocks_last_as_long_as_they_are_to();
    events_are_taken_once();

    return done();
}
