
/* rooms: ngx_patient_guard_pipeline */


#include "ngx_patient_guard_pipeline.h"
#include "tap.h"


#define NONE  ((ngx_msec_t) -1)


static ngx_patient_guard_pipeline_t  line;
static ngx_pool_t                    pool;


static void
begin(void)
{
    ngx_free(line.start);
    ngx_patient_guard_pipeline_init(&line, &pool);
}


/* as whoever sends does: room, write, push; NULL if it is declined */

static ngx_patient_guard_slot_t *
send_bytes(size_t size, u_char byte, ngx_msec_t deadline, void *data)
{
    if (ngx_patient_guard_pipeline_room(&line, size) != NGX_OK) {
        return NULL;
    }

    memset(line.last, byte, size);

    return ngx_patient_guard_pipeline_push(&line, line.last + size, deadline,
                                           0, data);
}


static void
replies_come_in_the_order_of_commands(void)
{
    int   i, wrong, data[10];

    begin();

    ok(ngx_patient_guard_pipeline_shift(&line) == NULL, "nobody waits yet");

    for (i = 0; i < 10; i++) {
        send_bytes(10, 'a' + i, 0, &data[i]);
    }

    is(line.last - line.pos, 100, "all bytes are to be sent");

    for (i = wrong = 0; i < 100; i++) {
        wrong += line.pos[i] != 'a' + i / 10;
    }

    is(wrong, 0, "as they were written");

    for (i = wrong = 0; i < 10; i++) {
        wrong += ngx_patient_guard_pipeline_shift(&line)->data != &data[i];
    }

    is(wrong, 0, "first come, first served");
    ok(ngx_patient_guard_pipeline_shift(&line) == NULL, "and no more");
}


static void
who_went_away_keeps_its_place(void)
{
    int                        data[3];
    ngx_patient_guard_slot_t  *slot;

    begin();

    send_bytes(1, 'a', 0, &data[0]);
    slot = send_bytes(1, 'b', 0, &data[1]);
    send_bytes(1, 'c', 0, &data[2]);

    slot->data = NULL;

    ok(ngx_patient_guard_pipeline_shift(&line)->data == &data[0]
       && ngx_patient_guard_pipeline_shift(&line)->data == NULL
       && ngx_patient_guard_pipeline_shift(&line)->data == &data[2],
       "the reply to nobody comes between the others");
}


static void
slots_are_used_again(void)
{
    int  i;

    begin();

    for (i = 0; i < 100000; i++) {
        send_bytes(50, 'x', 0, NULL);
        send_bytes(50, 'y', 0, NULL);
        line.pos = line.last;
        (void) ngx_patient_guard_pipeline_shift(&line);
        (void) ngx_patient_guard_pipeline_shift(&line);
    }

    is(line.nslots, 2, "two at a time take two slots, however many");
    is(line.end - line.start, 4096, "and no more bytes than at the begin");
}


static void
what_was_sent_in_part_is_kept(void)
{
    size_t  i, n, wrong;

    begin();

    for (n = 0; n < 40; n++) {
        send_bytes(1000, n, 0, NULL);
        line.pos += n ? 500 : 250;
    }

    is(line.last - line.pos, 40000 - 250 - 39 * 500, "what is left");

    for (i = wrong = 0; i < (size_t) (line.last - line.pos); i++) {
        wrong += line.pos[i] != (250 + 39 * 500 + i) / 1000;
    }

    is(wrong, 0, "is what was not sent, though it moved");
}


static void
commands_are_limited(void)
{
    int  n;

    begin();

    for (n = 0; send_bytes(10, 'x', 0, NULL); n++) {
        line.pos = line.last;
    }

    is(n, NGX_PATIENT_GUARD_PIPELINE_COMMANDS, "so many may wait");

    (void) ngx_patient_guard_pipeline_shift(&line);

    ok(send_bytes(10, 'x', 0, NULL) != NULL, "one less, and one more fits");
    ok(send_bytes(10, 'x', 0, NULL) == NULL, "but not two");
}


static void
bytes_are_limited(void)
{
    size_t  n;

    begin();

    for (n = 0; send_bytes(1024, 'x', 0, NULL); n++) { /* void */ }

    is(n * 1024, NGX_PATIENT_GUARD_PIPELINE_BYTES, "so many may be unsent");
    ok(line.end - line.start <= NGX_PATIENT_GUARD_PIPELINE_BYTES,
       "and take no more memory");

    line.pos += 2048;
    ok(send_bytes(1024, 'x', 0, NULL) != NULL, "what is sent makes room");

    begin();
    ok(send_bytes(NGX_PATIENT_GUARD_PIPELINE_BYTES, 'x', 0, NULL) != NULL,
       "one command may take all");
    begin();
    ok(send_bytes(NGX_PATIENT_GUARD_PIPELINE_BYTES + 1, 'x', 0, NULL)
       == NULL, "not more");
    is(line.nslots, 1, "its slot is not lost");
    ok(send_bytes(1, 'x', 0, NULL) != NULL && line.nslots == 1,
       "but serves the next");
}


static void
the_nearest_deadline(void)
{
    begin();

    is(ngx_patient_guard_pipeline_nearest(&line, 4711), 4711,
       "none, if nobody waits");

    send_bytes(1, 'x', 2000, NULL);
    send_bytes(1, 'x', 1500, NULL);
    send_bytes(1, 'x', 3000, NULL);

    is(ngx_patient_guard_pipeline_nearest(&line, 9000), 1500,
       "not always the first one's");
    is(ngx_patient_guard_pipeline_nearest(&line, 100), 100,
       "unless another is nearer");

    (void) ngx_patient_guard_pipeline_shift(&line);
    (void) ngx_patient_guard_pipeline_shift(&line);

    is(ngx_patient_guard_pipeline_nearest(&line, 9000), 3000,
       "answered ones do not matter");

    begin();
    send_bytes(1, 'x', NONE - 10, NULL);
    send_bytes(1, 'x', 20, NULL);

    ok(ngx_patient_guard_pipeline_nearest(&line, 60) == NONE - 10,
       "the clock may run over");
}


static void
when_it_breaks_all_fail_in_order(void)
{
    int          i, wrong, data[4];
    ngx_queue_t  failed;

    begin();
    ngx_queue_init(&failed);

    for (i = 0; i < 4; i++) {
        send_bytes(10, 'x', 0, &data[i]);
    }

    line.pos += 5;
    ngx_patient_guard_pipeline_break(&line, &failed);

    ok(ngx_patient_guard_pipeline_shift(&line) == NULL, "nobody waits");
    is(line.last - line.pos, 0, "nothing is to be sent");

    /* while they are told, others may come */

    for (i = wrong = 0; i < 4; i++) {
        wrong += ngx_patient_guard_pipeline_failed(&line, &failed)->data
                 != &data[i];
        send_bytes(10, 'y', 0, &failed);
    }

    is(wrong, 0, "those who waited are told in order");
    ok(ngx_patient_guard_pipeline_failed(&line, &failed) == NULL,
       "the others are not among them");

    for (i = wrong = 0; i < 4; i++) {
        wrong += ngx_patient_guard_pipeline_shift(&line)->data != &failed;
    }

    is(wrong, 0, "but wait, on the new connection");
    is(line.nslots, 4, "slots moved and none was lost");
}


static void
it_may_break_with_nobody_waiting(void)
{
    ngx_queue_t  failed;

    begin();
    ngx_queue_init(&failed);

    ngx_patient_guard_pipeline_break(&line, &failed);

    ok(ngx_patient_guard_pipeline_failed(&line, &failed) == NULL,
       "nobody is told");
    ok(send_bytes(1, 'x', 0, NULL) != NULL, "and it goes on");
}


int
main(void)
{
    replies_come_in_the_order_of_commands();
    who_went_away_keeps_its_place();
    slots_are_used_again();
    what_was_sent_in_part_is_kept();
    commands_are_limited();
    bytes_are_limited();
    the_nearest_deadline();
    when_it_breaks_all_fail_in_order();
    it_may_break_with_nobody_waiting();

    ngx_free(line.start);

    return done();
}
