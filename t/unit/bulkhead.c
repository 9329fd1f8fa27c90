
/* rooms: ngx_patient_guard_bulkhead */


/* how much of one account is under way at once, and who waits in line */


#include "ngx_patient_guard_bulkhead.h"
#include "tap.h"


static ngx_patient_guard_bulkhead_t  bulkhead;


static ngx_patient_guard_lane_t *
lane_of(uint64_t account)
{
    ngx_patient_guard_account_t  alias = { { account, 1 } };

    return ngx_patient_guard_lane(&bulkhead, &alias);
}


static int
enters(ngx_patient_guard_lane_t *lane, ngx_uint_t npatients)
{
    return ngx_patient_guard_lane_enter(lane, npatients) == NGX_OK;
}


static void
begin(void)
{
    memset(&bulkhead, 0xff, sizeof(bulkhead));

    if (ngx_patient_guard_bulkhead_init(&bulkhead, NULL) != NGX_OK) {
        abort();
    }
}


static void
eight_abreast(void)
{
    int                        n;
    ngx_patient_guard_lane_t  *lane;

    begin();
    lane = lane_of(1);

    for (n = 0; n < 100 && enters(lane, 1); n++) { /* void */ }

    is(n, 8, "eight lookups are under way at once");

    ngx_patient_guard_lane_leave(lane, 1);
    ok(enters(lane, 1), "another one when one is answered");
    ok(!enters(lane, 1), "and no more");

    ok(enters(lane_of(2), 1), "of one account, not of another");
}


static void
patients_abreast(void)
{
    ngx_patient_guard_lane_t  *lane;

    begin();
    lane = lane_of(1);

    ok(enters(lane, 512), "a lookup of 512 patients");
    ok(!enters(lane, 1), "has the lane for itself");

    ngx_patient_guard_lane_leave(lane, 512);

    ok(enters(lane, 500) && enters(lane, 12), "512 patients in two");
    ok(!enters(lane, 1), "and not one more");

    ngx_patient_guard_lane_leave(lane, 12);

    ok(!enters(lane, 13) && enters(lane, 12), "what fits may go");

    ngx_patient_guard_lane_leave(lane, 12);
    ngx_patient_guard_lane_leave(lane, 500);

    ok(enters(lane, 513), "one alone may go whatever it names");
}


static void
a_line(void)
{
    int                        n, i;
    ngx_queue_t                links[NGX_PATIENT_GUARD_LINE + 1], *q;
    ngx_patient_guard_lane_t  *lane;

    begin();
    lane = lane_of(1);

    for (n = 0; n <= NGX_PATIENT_GUARD_LINE; n++) {
        if (ngx_patient_guard_lane_wait(&bulkhead, lane, &links[n])
            != NGX_OK)
        {
            break;
        }
    }

    is(n, 512, "512 wait in line");

    i = 0;

    for (q = ngx_queue_head(&lane->line);
         q != ngx_queue_sentinel(&lane->line);
         q = ngx_queue_next(q))
    {
        if (q != &links[i]) {
            break;
        }

        i++;
    }

    is(i, 512, "in the order of their coming");

    ngx_patient_guard_lane_give_up(&bulkhead, lane, &links[100]);

    ok(ngx_patient_guard_lane_wait(&bulkhead, lane, &links[n]) == NGX_OK,
       "who gives up makes room");
    ok(lane->line.prev == &links[n], "behind all others");

    ngx_patient_guard_lane_give_up(&bulkhead, lane, &links[n]);

    for (i = 0; i < 512; i++) {
        if (i != 100) {
            ngx_patient_guard_lane_give_up(&bulkhead, lane, &links[i]);
        }
    }

    ok(ngx_queue_empty(&lane->line) && lane->waiting == 0
       && bulkhead.waiting == 0, "and at last nobody waits");
}


static void
all_lines(void)
{
    int                        n;
    ngx_patient_guard_lane_t  *lane;

    static ngx_queue_t         links[NGX_PATIENT_GUARD_LINES + 1];

    begin();

    for (n = 0; n <= NGX_PATIENT_GUARD_LINES; n++) {
        lane = lane_of(n / 100);

        if (ngx_patient_guard_lane_wait(&bulkhead, lane, &links[n])
            != NGX_OK)
        {
            break;
        }
    }

    is(n, 4096, "4096 wait in all lines");

    ngx_patient_guard_lane_give_up(&bulkhead, lane_of(3), &links[300]);

    ok(ngx_patient_guard_lane_wait(&bulkhead, lane_of(77), &links[n])
       == NGX_OK, "who gives up makes room for anybody");
}


static void
lanes_are_used_again(void)
{
    ngx_uint_t                 i;
    ngx_queue_t                link;
    ngx_patient_guard_lane_t  *lane, *other;

    begin();

    /* two in one chain of the table */

    lane = lane_of(5);
    other = lane_of(5 + 1024);

    ok(lane != other && lane == lane_of(5) && other == lane_of(5 + 1024),
       "accounts of one chain are told apart");

    ok(enters(lane, 3), "a lookup under way");
    ngx_patient_guard_lane_drop(&bulkhead, lane);
    ok(lane == lane_of(5), "its lane is not given back");

    ngx_patient_guard_lane_leave(lane, 3);
    (void) ngx_patient_guard_lane_wait(&bulkhead, lane, &link);
    ngx_patient_guard_lane_drop(&bulkhead, lane);
    ok(lane == lane_of(5), "nor while one waits in line");

    ngx_patient_guard_lane_give_up(&bulkhead, lane, &link);
    ngx_patient_guard_lane_drop(&bulkhead, lane);

    ok(lane_of(9) == lane, "but when nobody is in it");
    ok(lane->abreast == 0 && lane->patients == 0 && lane->waiting == 0
       && ngx_queue_empty(&lane->line) && lane->account.word[0] == 9,
       "empty as a new one");

    ngx_patient_guard_lane_drop(&bulkhead, lane);
    ngx_patient_guard_lane_drop(&bulkhead, other);

    for (i = 0; i < 100000; i++) {
        lane = lane_of(1000 + i);

        if (!enters(lane, 1)) {
            break;
        }

        ngx_patient_guard_lane_leave(lane, 1);
        ngx_patient_guard_lane_drop(&bulkhead, lane);
    }

    ok(i == 100000 && (lane == lane_of(1)), "no memory for each account");
}


int
main(void)
{
    eight_abreast();
    patients_abreast();
    a_line();
    all_lines();
    lanes_are_used_again();

    return done();
}
