
/* rooms: ngx_patient_guard_policy */


#include "ngx_patient_guard_policy.h"
#include "tap.h"


#define ALLOW      NGX_PATIENT_GUARD_ALLOW
#define THROTTLED  NGX_PATIENT_GUARD_VERDICT_THROTTLE
#define CHALLENGED NGX_PATIENT_GUARD_VERDICT_CHALLENGE
#define DENIED     NGX_PATIENT_GUARD_VERDICT_DENY

#define LOG        NGX_PATIENT_GUARD_LOG
#define THROTTLE   NGX_PATIENT_GUARD_THROTTLE
#define CHALLENGE  NGX_PATIENT_GUARD_CHALLENGE
#define DENY       NGX_PATIENT_GUARD_DENY


/* a limit, and what the store says of it */

typedef struct {
    ngx_patient_guard_action_e  action;
    uint32_t                    count;
    uint32_t                    total;
    uint64_t                    wait;
} limit_t;


/* the account, as the store says */

typedef struct {
    int                         challenger;    /* from 1; 0: not challenged */
    uint64_t                    grants_wait;
    unsigned                    exempt:1;
    unsigned                    outage:1;
} account_t;


typedef struct {
    const char                  *name;
    limit_t                      limits[4];    /* those that have a count */
    account_t                    account;
    ngx_patient_guard_verdict_e  verdict;
    int                          limit;        /* that decided, from 1; */
    uint64_t                     wait;         /*   0: none did         */
    unsigned                     over:1;
} case_t;


static case_t  cases[] = {

    /* who decides */

    { "what fits is allowed",
      { { DENY, 10, 1, 0 } }, {}, ALLOW, 1, 0, 0 },

    { "without limits all is allowed",
      { {} }, {}, ALLOW, 0, 0, 0 },

    { "throttle",
      { { THROTTLE, 1, 1, 500 } }, {}, THROTTLED, 1, 500, 1 },

    { "a challenge has no wait: it is to be passed",
      { { CHALLENGE, 1, 1, 500 } }, {}, CHALLENGED, 1, 0, 1 },

    { "deny",
      { { DENY, 1, 1, 500 } }, {}, DENIED, 1, 500, 1 },

    { "log lets pass, and is told of",
      { { LOG, 1, 5, 500 } }, {}, ALLOW, 1, 0, 1 },

    { "the hardest action wins, though another waits longer",
      { { THROTTLE, 1, 1, 900 }, { DENY, 1, 1, 100 },
        { CHALLENGE, 1, 1, 800 } },
      {}, DENIED, 2, 100, 1 },

    { "challenge is harder than throttle",
      { { THROTTLE, 1, 1, 900 }, { CHALLENGE, 1, 1, 100 } },
      {}, CHALLENGED, 2, 0, 1 },

    { "of equally hard ones the longest wins",
      { { DENY, 1, 1, 100 }, { DENY, 1, 1, 300 }, { DENY, 1, 1, 200 } },
      {}, DENIED, 2, 300, 1 },

    { "of equally long ones the first wins",
      { { THROTTLE, 1, 1, 100 }, { THROTTLE, 1, 1, 100 } },
      {}, THROTTLED, 1, 100, 1 },

    { "a limit that fits decides nothing",
      { { DENY, 1, 1, 0 }, { THROTTLE, 1, 1, 100 } },
      {}, THROTTLED, 2, 100, 1 },

    { "log does not decide beside another",
      { { LOG, 1, 1, 900 }, { THROTTLE, 1, 1, 100 } },
      {}, THROTTLED, 2, 100, 1 },

    /* with allow, the least room */

    { "least room",
      { { DENY, 100, 10, 0 }, { DENY, 20, 10, 0 }, { DENY, 50, 10, 0 } },
      {}, ALLOW, 2, 0, 0 },

    { "as little room: the first",
      { { DENY, 20, 10, 0 }, { DENY, 15, 5, 0 } }, {}, ALLOW, 1, 0, 0 },

    { "less than no room",
      { { DENY, 20, 20, 0 }, { LOG, 10, 15, 500 } }, {}, ALLOW, 2, 0, 1 },

    { "the largest count is no negative number",
      { { DENY, 4294967295, 1, 0 }, { DENY, 10, 1, 0 } },
      {}, ALLOW, 2, 0, 0 },

    /* grants */

    { "without grants a challenge is a denial until they are back",
      { { CHALLENGE, 1, 1, 500 } }, { .grants_wait = 300 },
      DENIED, 1, 300, 1 },

    { "or until the limit has room, if that is first",
      { { CHALLENGE, 1, 1, 500 } }, { .grants_wait = 700 },
      DENIED, 1, 500, 1 },

    { "a denial for want of grants is as hard as any",
      { { DENY, 1, 1, 200 }, { CHALLENGE, 1, 1, 500 } },
      { .grants_wait = 300 }, DENIED, 2, 300, 1 },

    { "want of grants alone refuses nothing",
      { { CHALLENGE, 5, 1, 0 } }, { .grants_wait = 300 }, ALLOW, 1, 0, 0 },

    { "and does not harden a throttle",
      { { THROTTLE, 1, 1, 500 } }, { .grants_wait = 300 },
      THROTTLED, 1, 500, 1 },

    /* an account that is challenged */

    { "who is challenged is challenged whatever fits",
      { { DENY, 9, 1, 0 }, { CHALLENGE, 9, 1, 0 } }, { .challenger = 2 },
      CHALLENGED, 2, 0, 1 },

    { "the limit that challenged is named, not another that would",
      { { CHALLENGE, 1, 1, 500 }, { CHALLENGE, 1, 1, 900 } },
      { .challenger = 2 }, CHALLENGED, 2, 0, 1 },

    { "none is named if it is gone",
      { { DENY, 9, 1, 0 } }, { .challenger = 2 }, CHALLENGED, 0, 0, 1 },

    { "who is challenged may be denied",
      { { DENY, 1, 1, 500 }, { CHALLENGE, 9, 1, 0 } }, { .challenger = 2 },
      DENIED, 1, 500, 1 },

    { "who is challenged is not merely throttled",
      { { THROTTLE, 1, 1, 500 }, { CHALLENGE, 9, 1, 0 } },
      { .challenger = 2 }, CHALLENGED, 2, 0, 1 },

    { "who is challenged without grants is denied until they are back",
      { { CHALLENGE, 1, 1, 100 } }, { .challenger = 1, .grants_wait = 300 },
      DENIED, 1, 300, 1 },

    { "unless another denies for longer",
      { { CHALLENGE, 1, 1, 100 }, { DENY, 1, 1, 400 } },
      { .challenger = 1, .grants_wait = 300 }, DENIED, 2, 400, 1 },

    /* exempt */

    { "exempt is never refused, and told of",
      { { DENY, 5, 5, 500 }, { THROTTLE, 4, 9, 200 } }, { .exempt = 1 },
      ALLOW, 2, 0, 1 },

    { "exempt, though challenged",
      { { CHALLENGE, 5, 5, 0 } }, { .challenger = 1, .exempt = 1 },
      ALLOW, 1, 0, 1 },

    /* nothing was counted */

    { "in an outage there is no least room",
      { { DENY, 5, 0, 0 } }, { .outage = 1 }, ALLOW, 0, 0, 0 }
};


static void
check(case_t *c)
{
    ngx_uint_t                    i;
    ngx_patient_guard_limit_t     limits[4];
    ngx_patient_guard_tally_t     tally;
    ngx_patient_guard_lookup_t    lookup;
    ngx_patient_guard_decision_t  got;

    memset(limits, 0, sizeof(limits));
    memset(&tally, 0, sizeof(tally));
    memset(&lookup, 0, sizeof(lookup));
    memset(&got, 0xa5, sizeof(got));

    for (i = 0; i < 4 && c->limits[i].count; i++) {
        limits[i].action = c->limits[i].action;
        limits[i].count = c->limits[i].count;
        tally.rooms[i].count = c->limits[i].count;
        tally.rooms[i].total = c->limits[i].total;
        tally.rooms[i].wait = c->limits[i].wait;
    }

    lookup.limits = limits;
    lookup.nlimits = i;
    lookup.exempt = c->account.exempt;

    tally.challenged = (c->account.challenger != 0);
    tally.challenger = tally.challenged ? c->account.challenger - 1 : 0;
    tally.grants_wait = c->account.grants_wait;
    tally.outage = c->account.outage;

    ngx_patient_guard_decide(&lookup, &tally, &got);

    if (!ok(got.verdict == c->verdict && got.limit == c->limit - 1
            && got.wait == c->wait && got.over == c->over, "%s", c->name))
    {
        printf("# verdict %d, limit %d, wait %" PRIu64 ", over %d\n",
               got.verdict, (int) got.limit + 1, got.wait, got.over);
    }
}


static void
seconds_are_rounded_up(void)
{
    is(ngx_patient_guard_seconds(0), 0, "no wait is no second");
    is(ngx_patient_guard_seconds(1), 1, "a millisecond is a second");
    is(ngx_patient_guard_seconds(1000), 1, "a second is a second");
    is(ngx_patient_guard_seconds(1001), 2, "and a little more is two");
    is(ngx_patient_guard_seconds(2 * NGX_PATIENT_GUARD_WINDOW_MAX),
       2 * 90 * 86400, "twice the longest window");
}


static void
verdicts_have_names(void)
{
    int         i;
    ngx_str_t  *name;

    static const char  *names[] = { "allow", "throttle", "challenge", "deny" };

    for (i = ALLOW; i <= DENIED; i++) {
        name = ngx_patient_guard_verdict_name(i);
        ok(name->len == strlen(names[i])
           && memcmp(name->data, names[i], name->len) == 0,
           "it is called %s", names[i]);
    }
}


int
main(void)
{
    size_t  i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check(&cases[i]);
    }

    seconds_are_rounded_up();
    verdicts_have_names();

    return done();
}
