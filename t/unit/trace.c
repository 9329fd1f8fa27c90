
/* rooms: ngx_patient_guard_alias ngx_patient_guard_window ngx_patient_guard_policy ngx_patient_guard_resp ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_call */


/*
 * Random traces through both stores and through a model that is as plain as
 * can be: it keeps every lookup it charged, and counts anew for each question.
 *
 *   PG_TRACES=100000   how many traces, PG_SEED=n the first one's seed;
 *   PG_SEED=n PG_TRACES=1 plays one again
 *
 * Shown of each lookup: the tallies are the same, every field of them, and
 * so is the verdict.  Shown of the model besides, by the definition of a
 * sliding window, without slices: it never admits more, and never refuses
 * what a window and a 32nd has room for.
 */


#include "ngx_patient_guard_policy.h"
#include "stores.h"
#include "tap.h"


#define OPS       60            /* of one trace, at most */
#define LIMITS    5
#define PATIENTS  14            /* in the world */
#define NAMED     4             /* by one lookup */


void ngx_stub_free(void);


/* what a limit has charged: a line for each patient of each lookup */

typedef struct {
    uint64_t                     slice;
    int                          patient;
} charge_t;

typedef struct {
    uint64_t                     newest;
    charge_t                     charges[OPS * NAMED];
    int                          n;
} history_t;

typedef struct {
    history_t                    limits[LIMITS];
    history_t                    grants;
    uint64_t                     since;        /* 0: not challenged */
    ngx_uint_t                   challenger;
} model_t;

typedef struct {
    ngx_patient_guard_lookup_t   lookup;
    ngx_patient_guard_named_t    named[NAMED];
    int                          patients[NAMED];
    ngx_patient_guard_tally_t    model;
    ngx_patient_guard_tally_t    redis;
} op_t;

typedef struct {
    uint64_t                     seed;
    ngx_patient_guard_limit_t    limits[LIMITS];
    ngx_uint_t                   nlimits;
    ngx_patient_guard_grants_t   grants;
    op_t                         ops[OPS];
    int                          nops;
    unsigned                     forward:1;    /* no clock goes back */
    unsigned                     strict:1;     /* nobody is exempt */
    unsigned                     rotated:1;    /* a second key came in */
} trace_t;


static ngx_patient_guard_shm_t  *beside;       /* notes what Redis says */
static uint64_t                  state;
static int                       refusals, challenges, passes, exhausted,
                                 folds;


/* splitmix64 (Vigna) */

static uint64_t
any(uint64_t n)
{
    uint64_t  z;

    z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;

    return (z ^ z >> 31) % n;
}


/* the model */

static void
move(history_t *h, uint64_t now, uint64_t window)
{
    int       i, kept;
    uint64_t  slice;

    slice = now * 32 / window;

    if (h->n && slice + 1 == h->newest) {
        return;
    }

    folds += (h->n && slice < h->newest);
    h->newest = slice;

    for (i = kept = 0; i < h->n; i++) {
        if (h->charges[i].slice + 32 >= slice) {
            h->charges[kept] = h->charges[i];
            h->charges[kept].slice = ngx_min(h->charges[i].slice, slice);
            kept++;
        }
    }

    h->n = kept;
}


static int
known(history_t *h, int patient)
{
    int  i;

    for (i = 0; i < h->n; i++) {
        if (h->charges[i].patient == patient) {
            return 1;
        }
    }

    return 0;
}


/* what is left when all that was charged before a slice is dropped */

static uint64_t
left(history_t *h, int set, uint64_t from)
{
    int        i;
    history_t  rest;

    for (i = rest.n = 0; i < h->n; i++) {
        if (h->charges[i].slice >= from
            && !(set && known(&rest, h->charges[i].patient)))
        {
            rest.charges[rest.n++] = h->charges[i];
        }
    }

    return rest.n;
}


static uint64_t
wait_for(history_t *h, int set, uint64_t cost, uint64_t count, uint64_t now,
    uint64_t window)
{
    uint64_t  from, dropped;

    if (left(h, set, 0) + cost <= count) {
        return 0;
    }

    if (cost > count) {
        return window;
    }

    for (from = 0; left(h, set, from) + cost > count; /* void */ ) {
        from = (from == 0) ? h->newest - 32 : from + 1;
    }

    /* all before "from" is dropped with the first ms of slice from + 32 */

    dropped = (from + 32) * window / 32;

    while (dropped * 32 / window < from + 32) {
        dropped++;
    }

    return dropped > now ? dropped - now : 1;
}


static void
charge(history_t *h, int patient)
{
    h->charges[h->n].slice = h->newest;
    h->charges[h->n++].patient = patient;
}


static void
model_pass(model_t *model, op_t *op)
{
    ngx_uint_t  i;

    model->since = 0;
    op->model.passed = 1;

    for (i = 0; i < op->lookup.nlimits; i++) {
        if (op->lookup.limits[i].action == NGX_PATIENT_GUARD_CHALLENGE) {
            model->limits[i].n = 0;
        }
    }

    charge(&model->grants, 0);
}


static void
model_weigh(model_t *model, op_t *op, ngx_uint_t i)
{
    uint64_t                     cost;
    ngx_uint_t                   n, set;
    history_t                   *h;
    ngx_patient_guard_limit_t   *limit;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &op->lookup;
    limit = &lookup->limits[i];
    set = (limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN);
    h = &model->limits[i];

    for (n = cost = 0; n < lookup->npatients; n++) {
        cost += !(set && known(h, op->patients[n]));
    }

    op->model.rooms[i].total = left(h, set, 0);

    if (cost) {
        op->model.rooms[i].wait = wait_for(h, set, cost, limit->count,
                                           lookup->now, limit->window);
    }

    if (op->model.rooms[i].wait
        && limit->action == NGX_PATIENT_GUARD_CHALLENGE
        && model->since == 0 && op->model.grants_wait == 0
        && !lookup->exempt && !lookup->dry_run)
    {
        model->since = lookup->now;
        model->challenger = i;
    }
}


static void
model_charge(model_t *model, op_t *op, ngx_uint_t i)
{
    ngx_uint_t                  n, set;
    history_t                  *h;
    ngx_patient_guard_limit_t  *limit;

    limit = &op->lookup.limits[i];
    set = (limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN);
    h = &model->limits[i];

    for (n = 0; n < op->lookup.npatients; n++) {
        if (!set || known(h, op->patients[n])
            || left(h, set, 0) < 2 * (uint64_t) limit->count)
        {
            charge(h, op->patients[n]);
        }
    }

    op->model.rooms[i].total = left(h, set, 0);
}


/* hardest of what speaks against the lookup, log aside */

static ngx_patient_guard_verdict_e
model_verdict(model_t *model, op_t *op)
{
    ngx_uint_t                   i;
    ngx_patient_guard_verdict_e  verdict, challenge, hardest;

    challenge = op->model.grants_wait ? NGX_PATIENT_GUARD_VERDICT_DENY
                                      : NGX_PATIENT_GUARD_VERDICT_CHALLENGE;

    hardest = model->since ? challenge : NGX_PATIENT_GUARD_ALLOW;

    for (i = 0; i < op->lookup.nlimits; i++) {
        verdict = (ngx_patient_guard_verdict_e) op->lookup.limits[i].action;

        if (verdict == NGX_PATIENT_GUARD_VERDICT_CHALLENGE) {
            verdict = challenge;
        }

        if (op->model.rooms[i].wait) {
            hardest = ngx_max(hardest, verdict);
        }
    }

    return op->lookup.exempt ? NGX_PATIENT_GUARD_ALLOW : hardest;
}


static ngx_patient_guard_verdict_e
model_count(model_t *model, op_t *op)
{
    ngx_uint_t                    i;
    ngx_patient_guard_lookup_t   *lookup;
    ngx_patient_guard_verdict_e   verdict;

    lookup = &op->lookup;
    memset(&op->model, 0, sizeof(ngx_patient_guard_tally_t));

    move(&model->grants, lookup->now, lookup->grants->window);

    for (i = 0; i < lookup->nlimits; i++) {
        move(&model->limits[i], lookup->now, lookup->limits[i].window);
    }

    if (model->since && lookup->proof > model->since) {
        model_pass(model, op);
    }

    op->model.grants_wait = wait_for(&model->grants, 0, 1,
                                     lookup->grants->count, lookup->now,
                                     lookup->grants->window);

    for (i = 0; i < lookup->nlimits; i++) {
        model_weigh(model, op, i);
    }

    verdict = model_verdict(model, op);

    op->model.challenged = (model->since != 0);
    op->model.challenger = model->challenger;
    op->model.charged = (verdict == NGX_PATIENT_GUARD_ALLOW);

    for (i = 0; i < lookup->nlimits && op->model.charged; i++) {
        model_charge(model, op, i);
    }

    return verdict;
}


/* the trace */

static void
draw_limits(trace_t *trace)
{
    char                       *name;
    uint64_t                    scale;
    ngx_uint_t                  i;
    ngx_patient_guard_limit_t  *limit;

    static char                *names[] = { "", "b", "c", "d", "e" };
    static uint64_t             scales[] = {
        10000, 10001, 32000, 60000, 3600000, 86400000, 2592000000
    };

    scale = scales[any(7)];
    trace->nlimits = 1 + any(LIMITS);

    for (i = 0; i < trace->nlimits; i++) {
        limit = &trace->limits[i];
        name = names[i];

        stores_limit(limit, any(2), scale + any(3) * any(scale), any(4),
                     1 + any(any(3) ? 4 : 9), name);
        limit->id = 3 + i;
    }

    trace->grants.count = 1 + any(3);
    trace->grants.window = scale + any(scale);
}


/* mostly within a few slices, at times a window or several on, or back */

static uint64_t
draw_step(trace_t *trace, uint64_t now)
{
    uint64_t  window;

    window = trace->limits[any(trace->nlimits)].window;

    switch (any(12)) {
    case 0: case 1: case 2:
        return now;
    case 3: case 4:
        return now + any(window / 32);
    case 5: case 6: case 7:
        return now + any(window / 4);
    case 8:
        return now + window + any(window / 16);
    case 9:
        return now + any(3 * window);
    case 10:
        return trace->forward ? now + 1 : now - any(window / 16);
    default:
        return trace->forward || any(3) ? now + any(window)
                                        : now - any(2 * window);
    }
}


static void
draw_patients(trace_t *trace, op_t *op, ngx_uint_t key)
{
    int         patient;
    ngx_uint_t  n, wanted;

    wanted = any(4) ? 1 : 1 + any(NAMED);

    for (n = 0; n < wanted; /* void */ ) {
        patient = 1 + any(PATIENTS);

        if (!memchr(op->patients, patient, 0)) {
            ngx_uint_t  i;

            for (i = 0; i < n && op->patients[i] != patient; i++) { }

            if (i < n) {
                continue;
            }
        }

        op->patients[n] = patient;
        op->named[n].current = (key << 32) | patient;
        op->named[n].previous = trace->rotated ? ((1 - key) << 32) | patient
                                               : 0;
        n++;
    }

    op->lookup.patients = op->named;
    op->lookup.npatients = n;
}
