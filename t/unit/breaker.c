
/* rooms: ngx_patient_guard_breaker */


/* when a server that failed is asked again, and what the log says of it */


#include "ngx_patient_guard_breaker.h"
#include "tap.h"

#include <ngx_event.h>

#include <fcntl.h>
#include <unistd.h>


#define TRIES  1000


ngx_uint_t  ngx_exiting;

static ngx_log_t                    logger;
static ngx_str_t                    name = ngx_string("redis.example");
static ngx_patient_guard_breaker_t  breaker;
static char                         said[4096];


static void
begin(void)
{
    memset(&breaker, 0, sizeof(breaker));

    logger.log_level = NGX_LOG_INFO;

    breaker.log = &logger;
    breaker.name = &name;
    breaker.outage = "deny";

    ngx_exiting = 0;
}


/* what a call says: the stub's log goes to stderr */

#define said_by(call)                                                        \
    do {                                                                     \
        int  file_ = listen_to();                                            \
        (void) call;                                                         \
        heard(file_);                                                        \
    } while (0)

static int  true_stderr;


static int
listen_to(void)
{
    int   file;
    char  path[] = "/tmp/patient-guard-unit.XXXXXX";

    file = mkstemp(path);
    unlink(path);

    fflush(stderr);
    true_stderr = dup(2);
    dup2(file, 2);

    return file;
}


static void
heard(int file)
{
    ssize_t  n;

    fflush(stderr);
    dup2(true_stderr, 2);
    close(true_stderr);

    n = pread(file, said, sizeof(said) - 1, 0);
    said[n < 0 ? 0 : n] = '\0';
    close(file);
}


static int
lines(void)
{
    int          n;
    const char  *p;

    for (n = 0, p = said; (p = strchr(p, '\n')); p++) {
        n++;
    }

    return n;
}


static void
tries_grow_rarer(void)
{
    int         i, n, within;
    ngx_msec_t  delay, least[6], most[6], sum;

    static const ngx_msec_t  ends[6] = { 50, 100, 200, 400, 500, 500 };

    for (n = 0; n < 6; n++) {
        least[n] = 100000;
        most[n] = 0;
    }

    within = 1;
    sum = 0;

    for (i = 0; i < TRIES; i++) {
        begin();
        logger.log_level = NGX_LOG_STDERR;

        for (n = 0; n < 6; n++) {
            delay = ngx_patient_guard_breaker_failed(&breaker, 0, "it does");

            within &= (delay >= ends[n] / 2 && delay < ends[n]);
            least[n] = ngx_min(least[n], delay);
            most[n] = ngx_max(most[n], delay);
            sum += delay;
        }
    }

    ok(within, "25 to 50 ms, 50 to 100, and so on up to half a second");

    for (n = 0; n < 6; n++) {
        ok(most[n] - least[n] > ends[n] / 4, "try %d at random: %d to %d ms",
           n + 1, (int) least[n], (int) most[n]);
    }

    ok(sum / TRIES < 1750 * 3 / 4 + 50, "a mean of %d ms for six of them",
       (int) (sum / TRIES));

    begin();
    logger.log_level = NGX_LOG_STDERR;

    for (n = 0; n < 6; n++) {
        (void) ngx_patient_guard_breaker_failed(&breaker, 0, "it does");
    }

    ngx_patient_guard_breaker_answered(&breaker);

    ok(ngx_patient_guard_breaker_failed(&breaker, 0, "it does") < 50,
       "from the beginning again after an answer");
}


static void
a_line_away_and_one_back(void)
{
    begin();

    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "no reply"));
    is(lines(), 1, "the first failure is told");
    ok(strstr(said, "# log 4:")
       && strstr(said, "redis \"redis.example\" is away: no reply; "
                       "on_outage deny holds until it is back"),
       "what, and what holds");

    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "no reply"));
    is(lines(), 0, "another one is not");

    said_by(ngx_patient_guard_breaker_error(&breaker, "LOADING"));
    is(lines(), 0, "nor of another kind");

    said_by((ngx_patient_guard_breaker_answered(&breaker), 0));
    is(lines(), 1, "the answer is told");
    ok(strstr(said, "# log 6:")
       && strstr(said, "redis \"redis.example\" is back"), "that it is back");

    said_by((ngx_patient_guard_breaker_answered(&breaker), 0));
    is(lines(), 0, "once");

    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "no reply"));
    is(lines(), 1, "and anew");

    begin();
    ngx_exiting = 1;
    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "no reply"));
    is(lines(), 0, "nothing by a worker that goes");
}


static void
five_errors(void)
{
    int  i, n;

    begin();

    for (n = 0; n < 100; n++) {
        if (ngx_patient_guard_breaker_error(&breaker, "LOADING")) {
            break;
        }
    }

    is(n + 1, 5, "five errors in a row are as good as none");
    is(breaker.away, 1, "it is away then");

    ok(ngx_patient_guard_breaker_error(&breaker, "LOADING") > 0,
       "and each one more keeps it so");

    said_by((ngx_patient_guard_breaker_answered(&breaker), 0));
    is(breaker.away, 0, "until it has answered");

    for (n = i = 0; i < 100; i++) {
        n += ngx_patient_guard_breaker_error(&breaker, "LOADING") != 0;

        if (i % 4 == 3) {
            ngx_patient_guard_breaker_answered(&breaker);
        }
    }

    is(n, 0, "with answers in between it may be asked on");
}


static void
whoever_is_refused_waits(void)
{
    int         i, within;
    ngx_msec_t  delay;

    within = 1;

    for (i = 0; i < TRIES; i++) {
        begin();
        logger.log_level = NGX_LOG_STDERR;
        breaker.refused = 1;

        delay = ngx_patient_guard_breaker_failed(&breaker, 0, "WRONGPASS");
        within &= (delay >= 1000 && delay < 1500);
        within &= !breaker.refused;
    }

    ok(within, "a second and up to a half");

    begin();
    breaker.refused = 1;
    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "WRONGPASS"));
    ok(strstr(said, "# log 3:"), "which is told as critical");

    begin();
    (void) ngx_patient_guard_breaker_failed(&breaker, 0, "no reply");
    breaker.refused = 1;
    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "WRONGPASS"));
    ok(strstr(said, "# log 3:"), "also when it was away before");
    breaker.refused = 1;
    said_by(ngx_patient_guard_breaker_failed(&breaker, 0, "WRONGPASS"));
    ok(said[0] == '\0', "and once");
}


int
main(void)
{
    tries_grow_rarer();
    a_line_away_and_one_back();
    five_errors();
    whoever_is_refused_waits();

    return done();
}
