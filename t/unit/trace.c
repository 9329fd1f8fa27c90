
/* rooms: ngx_patient_guard_alias ngx_patient_guard_window ngx_patient_guard_policy ngx_patient_guard_resp ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_challenge ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_call ngx_patient_guard_image ngx_patient_guard_outbox ngx_patient_guard_fleet ngx_patient_guard_parcel ngx_patient_guard_news ngx_patient_guard_floor ngx_patient_guard_apart ngx_patient_guard_note ngx_patient_guard_post ngx_patient_guard_reply ngx_patient_guard_memory ngx_patient_guard_habit ngx_patient_guard_queue ngx_patient_guard_seen */


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
#include "ngx_patient_guard_floor.h"
#include "ngx_patient_guard_note.h"
#include "stores.h"
#include "tap.h"
#include "walk.h"


#define OPS       60            /* of one trace, at most */
#define LIMITS    6
#define DAY       86400000ULL   /* ms */
#define DAYS      128           /* of one trace, at most, where it is slow */
#define ACCOUNTS  2
#define VALUES    3             /* of what else limits count by; 0: none */
#define PATIENTS  14            /* in the world */
#define NAMED     9             /* by one lookup; up to 4 are few */
#define RECORDS   12            /* read by one lookup */


/* what a limit has charged: a line for each patient of each lookup */

typedef struct {
    uint64_t                     slice;
    int                          patient;
} charge_t;

typedef struct {
    uint64_t                     newest;
    charge_t                     charges[OPS * RECORDS];
    int                          n;
} history_t;

/* whom an account knows, and the slice that each was last seen in; 0: not */

typedef struct {
    uint64_t                     newest;
    uint64_t                     last[PATIENTS + 1];
} memory_t;

typedef struct {
    history_t                    limits[LIMITS];
    uint32_t                     most[LIMITS][DAYS];   /* of each day */
    history_t                    grants;
    memory_t                     memory;
    uint64_t                     since;        /* 0: not challenged */
    ngx_uint_t                   challenger;
    uint64_t                     due;          /* proofs, since; 0: none */
    uint64_t                     due_until;    /* s */
    ngx_uint_t                   due_by;
} model_t;

typedef struct {
    model_t                      accounts[ACCOUNTS];
    history_t                    shared[LIMITS][VALUES];
} world_t;

typedef struct {
    ngx_patient_guard_lookup_t   lookup;
    ngx_patient_guard_named_t    named[NAMED];
    int                          patients[NAMED];
    int                          account;
    int                          address;
    int                          value;
    uint64_t                     novel;
    ngx_patient_guard_tally_t    model;
    ngx_patient_guard_tally_t    redis;
} op_t;

typedef struct {
    uint64_t                     seed;
    ngx_patient_guard_limit_t    limits[LIMITS];
    ngx_uint_t                   nlimits;
    uint64_t                     memory;
    ngx_patient_guard_grants_t   grants;
    op_t                         ops[OPS];
    int                          nops;
    unsigned                     forward:1;    /* no clock goes back */
    unsigned                     strict:1;     /* nobody is exempt */
    unsigned                     rotated:1;    /* a second key came in */
    unsigned                     session:1;    /* proofs are of sessions */
    unsigned                     slow:1;       /* days between two lookups */
    unsigned                     passed:1;     /* a challenge */
} trace_t;


static const char  MODEL[] = "shared memory tallies as the model does";
static const char  VERDICT[] = "the verdict is the hardest of the limits";
static const char  MORE[] = "no stretch of a window admits more than counts";
static const char  EARLY[] = "what a window and a 32nd has room for fits";
static const char  REDIS[] = "Redis tallies as the model does";
static const char  BESIDE[] = "shared memory beside Redis could go on alone";

static ngx_patient_guard_shm_t  *beside;       /* notes what Redis says */
static uint64_t                  state;
static int                       lookups, refusals, challenges, passes,
                                 exhausted, folds, strangers, excuses,
                                 unproved, usuals;

static uint64_t                  first_day;    /* of the trace */
static world_t                   world;


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

    if (h->n && slice < h->newest && slice + 32 >= h->newest) {
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
    int       i;
    uint64_t  seen, n;

    for (i = seen = n = 0; i < h->n; i++) {

        if (h->charges[i].slice < from
            || (set && (seen >> h->charges[i].patient & 1)))
        {
            continue;
        }

        seen |= (uint64_t) 1 << h->charges[i].patient;
        n++;
    }

    return n;
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


/* of an account, or of what many share; NULL: the limit does not apply */

static history_t *
history_of(model_t *model, op_t *op, ngx_uint_t i)
{
    if (op->lookup.limits[i].key == 0) {
        return &model->limits[i];
    }

    return op->value ? &world.shared[i][op->value] : NULL;
}


static void
model_remember(memory_t *memory, uint64_t now, uint64_t time)
{
    int       i;
    uint64_t  slice;

    slice = now * 32 / time;

    if (memory->newest == 0
        || (slice < memory->newest && slice + 32 >= memory->newest))
    {
        return;
    }

    memory->newest = slice;

    for (i = 1; i <= PATIENTS; i++) {
        memory->last[i] = memory->last[i] + 32 < slice
                          ? 0 : ngx_min(memory->last[i], slice);
    }
}


static void
model_see(memory_t *memory, op_t *op)
{
    ngx_uint_t  n;

    if (op->lookup.npatients == 0) {
        return;
    }

    memory->newest = ngx_max(memory->newest,
                             op->lookup.now * 32 / op->lookup.memory);

    for (n = 0; n < op->lookup.npatients; n++) {
        memory->last[op->patients[n]] = memory->newest;
    }
}


static void
model_pass(model_t *model, op_t *op)
{
    uint64_t    slice, until;
    ngx_uint_t  i;

    if (op->lookup.session) {
        slice = op->lookup.now * 32 / op->lookup.grants->window + 33;
        until = ((slice * op->lookup.grants->window + 31) / 32 + 999) / 1000;
        model->due_until = ngx_max(model->due_until, until);

        if (model->since > model->due) {
            model->due = model->since;
            model->due_by = model->challenger;
        }
    }

    model->since = 0;
    op->model.passed = 1;

    for (i = 0; i < op->lookup.nlimits; i++) {
        if (op->lookup.limits[i].action == NGX_PATIENT_GUARD_CHALLENGE
            && op->lookup.limits[i].key == 0)
        {
            model->limits[i].n = 0;
            model->limits[i].newest = op->lookup.now * 32
                                      / op->lookup.limits[i].window;
        }
    }

    charge(&model->grants, 0);
}


/* what is usual, by its definition: the mean of days of three weeks */

static uint32_t
model_usual(model_t *model, ngx_patient_guard_limit_t *limit, ngx_uint_t i,
    uint64_t now)
{
    uint64_t  day, sum, days, count;

    if (limit->factor == 0) {
        return limit->count;
    }

    sum = days = 0;

    for (day = first_day; day < now / DAY; day++) {
        if (now / DAY / 7 >= day / 7 + 5 && now / DAY / 7 <= day / 7 + 7) {
            sum += model->most[i][day - first_day];
            days += model->most[i][day - first_day] > 0;
        }
    }

    if (days < (limit->window < 7 * DAY ? 5 : 12)) {
        return limit->count;
    }

    usuals++;
    count = (limit->factor * sum + 1000 * days - 1) / (1000 * days);
    count = ngx_max(count, limit->floor);

    return ngx_min(count, limit->count);
}


/* the subjects of a set: patients, or one address or account */

static int
subject(op_t *op, ngx_patient_guard_limit_t *limit, ngx_uint_t n)
{
    switch (limit->signal) {

    case NGX_PATIENT_GUARD_PATIENTS_SEEN:
        return n < op->lookup.npatients ? op->patients[n] : -1;

    case NGX_PATIENT_GUARD_ADDRESSES:
        return n || !(op->lookup.records || op->lookup.npatients)
               ? -1 : op->address;

    default: /* NGX_PATIENT_GUARD_ACCOUNTS */
        return n || !(op->lookup.records || op->lookup.npatients)
               ? -1 : op->account;
    }
}


static void
model_weigh(model_t *model, op_t *op, ngx_uint_t i)
{
    uint64_t                     cost;
    ngx_uint_t                   n, set, room;
    history_t                   *h;
    ngx_patient_guard_limit_t   *limit;
    ngx_patient_guard_lookup_t  *lookup;

    lookup = &op->lookup;
    limit = &lookup->limits[i];
    set = ngx_patient_guard_keeps_set(limit);
    h = history_of(model, op, i);

    op->model.rooms[i].count = model_usual(model, limit, i, lookup->now);

    if (h == NULL) {
        return;
    }

    cost = 0;

    if (limit->signal == NGX_PATIENT_GUARD_LOOKUPS) {
        cost = lookup->records;

    } else if (limit->signal == NGX_PATIENT_GUARD_NEW_PATIENTS) {
        cost = op->novel;

    } else if (limit->signal == NGX_PATIENT_GUARD_MISSES) {
        cost = 1;
    }

    for (n = 0; set && subject(op, limit, n) >= 0; n++) {
        cost += !known(h, subject(op, limit, n));
    }

    op->model.rooms[i].total = left(h, set, 0);
    room = (limit->key && limit->action == NGX_PATIENT_GUARD_CHALLENGE
            && left(&model->grants, 0, 0));
    excuses += room;

    if (cost && !room) {
        op->model.rooms[i].wait = wait_for(h, set, cost,
                                           op->model.rooms[i].count,
                                           lookup->now, limit->window);
    }

    if (op->model.rooms[i].wait
        && limit->action == NGX_PATIENT_GUARD_CHALLENGE
        && model->since == 0 && !op->model.unproved
        && !lookup->exempt && !lookup->dry_run)
    {
        model->since = ngx_max(lookup->now, lookup->proof);
        model->challenger = i;
    }
}


static void
model_charge(model_t *model, op_t *op, ngx_uint_t i)
{
    uint32_t                   *most;
    ngx_uint_t                  n, set;
    history_t                  *h;
    ngx_patient_guard_limit_t  *limit;

    limit = &op->lookup.limits[i];
    set = ngx_patient_guard_keeps_set(limit);
    h = history_of(model, op, i);

    if (op->lookup.probe || h == NULL
        || (op->lookup.unnamed
            && (limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN
                || limit->signal == NGX_PATIENT_GUARD_NEW_PATIENTS)))
    {
        return;
    }

    for (n = 0; limit->signal == NGX_PATIENT_GUARD_LOOKUPS
                && n < op->lookup.records; n++)
    {
        charge(h, 0);
    }

    for (n = 0; limit->signal == NGX_PATIENT_GUARD_NEW_PATIENTS
                && n < op->novel; n++)
    {
        charge(h, 0);
    }

    for (n = 0; set && subject(op, limit, n) >= 0; n++) {
        if (known(h, subject(op, limit, n))
            || left(h, set, 0) < 2 * (uint64_t) limit->count)
        {
            charge(h, subject(op, limit, n));
        }
    }

    op->model.rooms[i].total = left(h, set, 0);

    if (limit->factor) {
        most = &model->most[i][op->lookup.now / DAY - first_day];
        *most = ngx_max(*most, op->model.rooms[i].total);
    }
}


/* hardest of what speaks against the lookup, log aside */

static ngx_patient_guard_verdict_e
model_verdict(model_t *model, op_t *op)
{
    ngx_uint_t                   i;
    ngx_patient_guard_verdict_e  verdict, challenge, hardest;

    challenge = op->model.grants_wait ? NGX_PATIENT_GUARD_VERDICT_DENY
                                      : NGX_PATIENT_GUARD_VERDICT_CHALLENGE;

    hardest = model->since ? challenge
              : op->model.unproved ? NGX_PATIENT_GUARD_VERDICT_CHALLENGE
                                   : NGX_PATIENT_GUARD_ALLOW;

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
    model_remember(&model->memory, lookup->now, lookup->memory);

    for (i = op->novel = 0; i < lookup->npatients; i++) {
        op->novel += !model->memory.last[op->patients[i]];
    }

    strangers += op->novel;
    op->model.novel = op->novel;

    for (i = 0; i < lookup->nlimits; i++) {
        if (history_of(model, op, i)) {
            move(history_of(model, op, i), lookup->now,
                 lookup->limits[i].window);
        }
    }

    if (model->since > lookup->now + 300000) {
        model->since = ngx_max(lookup->now, lookup->proof);
    }

    if (lookup->now / 1000 >= model->due_until) {
        model->due = model->due_until = 0;
    }

    if (model->due > lookup->now + 300000) {
        model->due = lookup->now;
    }

    if (model->since && lookup->proof > model->since
        && wait_for(&model->grants, 0, 1, lookup->grants->count, lookup->now,
                    lookup->grants->window)
           == 0)
    {
        model_pass(model, op);
    }

    op->model.grants_wait = wait_for(&model->grants, 0, 1,
                                     lookup->grants->count, lookup->now,
                                     lookup->grants->window);

    op->model.unproved = (lookup->session && model->since == 0 && model->due
                          && lookup->proof <= model->due);
    unproved += op->model.unproved;

    for (i = 0; i < lookup->nlimits; i++) {
        model_weigh(model, op, i);
    }

    verdict = model_verdict(model, op);

    op->model.challenged = (model->since != 0);
    op->model.challenger = op->model.unproved ? model->due_by
                                              : model->challenger;
    op->model.charged = (verdict == NGX_PATIENT_GUARD_ALLOW);

    for (i = 0; i < lookup->nlimits && op->model.charged; i++) {
        model_charge(model, op, i);
    }

    if (op->model.charged && !lookup->probe && !lookup->unnamed) {
        model_see(&model->memory, op);
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

    static char                *names[] = { "", "b", "c", "d", "e", "f" };
    static uint64_t             scales[] = {
        10000, 10001, 32000, 60000, 3600000, 86400000, 2592000000
    };

    scale = trace->slow ? scales[5] << any(4) : scales[any(7)];
    trace->nlimits = 1 + any(LIMITS);

    for (i = 0; i < trace->nlimits; i++) {
        limit = &trace->limits[i];
        name = names[i];

        stores_limit(limit, any(3) ? any(2) : any(6),
                     scale + any(3) * any(scale), any(4),
                     1 + any(any(3) ? 4 : 9), name);
        limit->id = 0x103 + i;
        limit->key = (any(4) == 0
                      || limit->signal == NGX_PATIENT_GUARD_ACCOUNTS);

        if (trace->slow) {
            limit->count += any(20);
            limit->factor = limit->key || any(3) == 0 ? 0 : 100 + any(2000);
            limit->floor = 1 + any(3);
        }
    }

    /* no clock goes back by more than that: see draw_step() */

    trace->memory = ngx_max(3600000, 16 * scale + any(6 * scale));

    trace->session = any(2);
    trace->grants.count = 1 + any(3);
    trace->grants.window = scale + any(scale);
}


/* mostly within a few slices, at times a window or several on, or back */

static uint64_t
draw_step(trace_t *trace, uint64_t now)
{
    uint64_t  window, edge;

    if (trace->slow) {
        return now + any(4) * (DAY / 2) + any(DAY / 2);
    }

    window = trace->limits[any(trace->nlimits)].window;

    switch (any(13)) {
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
        edge = (now * 32 / window + 1 + any(34)) * window / 32
               + any(3) - 1;
        return ngx_max(edge, now);
    case 11:
        return trace->forward ? now + 1 : now - any(window / 16);
    default:
        return trace->forward || any(3) ? now + any(window)
                                        : now - any(2 * window);
    }
}


/* under the one key, until the other one comes in: then under either first */

static void
draw_aliases(trace_t *trace, op_t *op)
{
    uint64_t    key, other;
    ngx_uint_t  i;

    key = 1;
    other = 0;

    if (trace->rotated || any(40) == 0) {
        trace->rotated = 1;
        key = 1 + any(2);
        other = 3 - key;
    }

    op->lookup.account.word[0] = trace->seed * ACCOUNTS + op->account;
    op->lookup.account.word[1] = key;

    if (op->value) {
        op->lookup.others[0].current.word[0] = trace->seed * VALUES
                                               + op->value;
        op->lookup.others[0].current.word[1] = 0x100 + key;
    }

    if (other) {
        op->lookup.previous.word[0] = op->lookup.account.word[0];
        op->lookup.previous.word[1] = other;
    }

    if (other && op->value) {
        op->lookup.others[0].previous = op->lookup.others[0].current;
        op->lookup.others[0].previous.word[1] = 0x100 + other;
    }

    op->lookup.address.current = key << 32 | (0x1000 + op->address);
    op->lookup.address.previous = other ? other << 32
                                          | (0x1000 + op->address) : 0;
    op->lookup.who.current = key << 32 | (0x2000 + op->account);
    op->lookup.who.previous = other ? other << 32 | (0x2000 + op->account)
                                    : 0;

    for (i = 0; i < op->lookup.npatients; i++) {
        op->named[i].current = key << 32 | op->patients[i];
        op->named[i].previous = other ? other << 32 | op->patients[i] : 0;
    }
}


static void
draw_patients(op_t *op)
{
    int         patient;
    uint64_t    named;
    ngx_uint_t  n, wanted;

    wanted = any(4) ? 1 : 1 + any(NAMED);
    named = 0;

    for (n = 0; n < wanted; /* void */ ) {
        patient = any(3) ? 1 + any(PATIENTS) : 1 + any(3);

        if (named >> patient & 1) {
            continue;
        }

        named |= (uint64_t) 1 << patient;
        op->patients[n++] = patient;
    }

    op->lookup.patients = op->named;
    op->lookup.npatients = n;
    op->lookup.records = n;

    /* what is found in a response beside those that the request named */

    if (any(8) == 0) {
        op->lookup.npatients = any(n + 1);
        op->lookup.records = any(RECORDS + 1);

    } else if (any(8) == 0) {
        op->lookup.records = any(3);
        op->lookup.unnamed = 1;
    }

    op->lookup.probe = (any(8) == 0);
}


static op_t *
draw_op(trace_t *trace)
{
    op_t                        *op;
    model_t                     *model;
    uint64_t                     proofs[8];
    ngx_patient_guard_lookup_t  *lookup;

    op = &trace->ops[trace->nops];
    memset(op, 0, sizeof(op_t));

    op->account = any(4) == 0;
    op->address = 1 + any(3);
    op->value = any(VALUES);

    model = &world.accounts[op->account];

    lookup = &op->lookup;
    lookup->memory = trace->memory;
    lookup->limits = trace->limits;
    lookup->nlimits = trace->nlimits;
    lookup->grants = &trace->grants;

    lookup->now = trace->nops ? draw_step(trace, op[-1].lookup.now)
                              : 1500000000000 + any(300000000000);

    if (trace->nops == 0) {
        first_day = lookup->now / DAY;
    }

    proofs[0] = model->since + 1;
    proofs[1] = model->since;
    proofs[2] = lookup->now;
    proofs[3] = lookup->now - 1;
    proofs[4] = lookup->now + any(300000);
    proofs[5] = 0;
    proofs[6] = model->due;
    proofs[7] = model->due + 1;

    lookup->session = trace->session;
    lookup->proof = any(3) ? 0 : proofs[any(8)];
    lookup->dry_run = (any(12) == 0);
    lookup->exempt = !trace->strict && any(12) == 0;

    draw_patients(op);
    draw_aliases(trace, op);

    trace->nops++;

    return op;
}


/*
 * Sliding windows by their definition, for clocks that go forward: what was
 * charged within "length" of the last lookup (a multiple of a 32nd of the
 * window), its end included or not, and what this one has or wants.
 */

/* of the same account as the last lookup */

static uint64_t
charged_within(trace_t *trace, ngx_uint_t limit, uint64_t length, int end,
    int last)
{
    int         i;
    uint64_t    now, seen, records, age;
    ngx_uint_t  n;
    op_t       *op;

    now = trace->ops[trace->nops - 1].lookup.now;
    seen = records = 0;

    for (i = 0; i < trace->nops; i++) {
        op = &trace->ops[i];
        age = (now - op->lookup.now) * 32;

        if (op->account != trace->ops[trace->nops - 1].account) {
            continue;
        }

        if (i == trace->nops - 1 ? !last
            : (!op->model.charged || age > length
               || (age == length && !end)))
        {
            continue;
        }

        /* what is wanted room for now is not what was charged then */

        if (i != trace->nops - 1 && op->lookup.probe) {
            continue;
        }

        records += op->lookup.records;

        if (i != trace->nops - 1 && op->lookup.unnamed) {
            continue;
        }

        for (n = 0; n < op->lookup.npatients; n++) {
            seen |= (uint64_t) 1 << op->patients[n];
        }
    }

    return trace->limits[limit].signal == NGX_PATIENT_GUARD_LOOKUPS
           ? records : (uint64_t) __builtin_popcountll(seen);
}


/* what charged_within() tells of */

static int
plain(ngx_patient_guard_limit_t *limit)
{
    return limit->key == 0
           && (limit->signal == NGX_PATIENT_GUARD_LOOKUPS
               || limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN);
}


static int
never_admits_more(trace_t *trace, ngx_uint_t i)
{
    op_t                       *op;
    ngx_patient_guard_limit_t  *limit;

    op = &trace->ops[trace->nops - 1];
    limit = &trace->limits[i];

    return !op->model.charged || !trace->strict || !plain(limit)
           || limit->action == NGX_PATIENT_GUARD_LOG
           || (limit->action == NGX_PATIENT_GUARD_CHALLENGE && trace->passed)
           || charged_within(trace, i, limit->window * 32, 1, 1)
              <= limit->count;
}


static int
never_refuses_early(trace_t *trace, ngx_uint_t i)
{
    op_t                       *op;
    ngx_patient_guard_limit_t  *limit;

    op = &trace->ops[trace->nops - 1];
    limit = &trace->limits[i];

    return op->model.rooms[i].wait == 0 || !plain(limit) || limit->factor
           || charged_within(trace, i, limit->window * 33, 0, 1)
              > limit->count;
}


/* the differences, for whoever has to find out why */

static void
print_tally(const char *whose, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t  i;

    printf("#   %-6s new %d charged %d challenged %d%s by %d passed %d grants "
           "%" PRIu64, whose, (int) tally->novel, tally->charged,
           tally->challenged, tally->unproved ? " unproved" : "",
           (int) tally->challenger, tally->passed,
           tally->grants_wait);

    for (i = 0; i < lookup->nlimits; i++) {
        printf(" | %" PRIu32 "/%" PRIu32 " +%" PRIu64, tally->rooms[i].total,
               tally->rooms[i].count, tally->rooms[i].wait);
    }

    printf("\n");
}


static void
print_trace(trace_t *trace)
{
    int                          i;
    ngx_uint_t                   n;
    ngx_patient_guard_limit_t   *limit;
    ngx_patient_guard_lookup_t  *lookup;

    printf("# PG_SEED=%" PRIu64 " PG_TRACES=1 plays this again\n",
           trace->seed);

    for (n = 0; n < trace->nlimits; n++) {
        limit = &trace->limits[n];
        printf("# limit %.*s=%" PRIu32 " action %d signal %d key %d\n",
               (int) limit->state.len, limit->state.data, limit->count,
               limit->action, limit->signal, limit->key);
    }

    printf("# grants %" PRIu32 "/%" PRIu64 "\n", trace->grants.count,
           trace->grants.window);

    for (i = 0; i < trace->nops; i++) {
        lookup = &trace->ops[i].lookup;
        printf("# %d: %+" PRId64 " key %d proof %" PRId64 "%s%s:", i,
               lookup->now - trace->ops[i ? i - 1 : 0].lookup.now,
               (int) lookup->account.word[1],
               lookup->proof ? (int64_t) (lookup->proof - lookup->now) : 0,
               lookup->dry_run ? " dry" : "", lookup->exempt ? " exempt" : "");
        printf(" %u%s%s", lookup->records, lookup->unnamed ? " unnamed" : "",
               lookup->probe ? " probe" : "");

        for (n = 0; n < lookup->npatients; n++) {
            printf(" %d", trace->ops[i].patients[n]);
        }

        printf(" by %d from %d at %d", trace->ops[i].account,
               trace->ops[i].address, trace->ops[i].value);

        printf("\n");
        print_tally("model", lookup, &trace->ops[i].model);
    }
}


static int
same(trace_t *trace, op_t *op, const char *whose,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t                  i, differ;
    ngx_patient_guard_tally_t  *model;

    model = &op->model;

    differ = tally->charged != model->charged
             || tally->challenged != model->challenged
             || tally->unproved != model->unproved
             || ((model->challenged || model->unproved)
                 && tally->challenger != model->challenger)
             || tally->passed != model->passed
             || tally->grants_wait != model->grants_wait
             || tally->novel != op->novel
             || tally->outage;

    for (i = 0; i < op->lookup.nlimits; i++) {
        differ |= tally->rooms[i].total != model->rooms[i].total
                  || tally->rooms[i].count != model->rooms[i].count
                  || tally->rooms[i].wait != model->rooms[i].wait;
    }

    if (differ) {
        print_trace(trace);
        printf("# lookup %d:\n", (int) (op - trace->ops));
        print_tally(whose, &op->lookup, tally);
    }

    return !differ;
}


/* plays one lookup; returns the name of a rule that it breaks, or NULL */

static const char *
step(trace_t *trace)
{
    op_t                          *op;
    ngx_uint_t                     i;
    ngx_patient_guard_tally_t      tally;
    ngx_patient_guard_verdict_e    verdict;
    ngx_patient_guard_decision_t   decision;

    op = draw_op(trace);
    verdict = model_count(&world.accounts[op->account], op);

    trace->passed |= op->model.passed;

    lookups++;
    refusals += !op->model.charged;
    challenges += op->model.challenged;
    passes += op->model.passed;
    exhausted += (op->model.grants_wait != 0);

    stores_embedded(&op->lookup, &tally);

    if (!same(trace, op, "shm", &tally)) {
        return MODEL;
    }

    ngx_patient_guard_decide(&op->lookup, &tally, &decision);

    if (decision.verdict != verdict) {
        print_trace(trace);
        return VERDICT;
    }

    for (i = 0; i < trace->nlimits && trace->forward; i++) {

        if (!never_admits_more(trace, i)) {
            print_trace(trace);
            return MORE;
        }

        if (!never_refuses_early(trace, i)) {
            print_trace(trace);
            return EARLY;
        }
    }

    for (i = 0; i < NAMED; i++) {

        /* Redis has to know them by itself */

        op->named[i].known = 0;
    }

    if (with_redis) {
        redis_ask(&op->lookup, &op->redis);
    }

    return NULL;
}


/* what Redis answered; then the memory beside it has to go on alone */

static const char *
replies(trace_t *trace)
{
    int                        i;
    op_t                      *op;
    ngx_patient_guard_tally_t  tally;

    redis_answer();

    for (i = 0; i < trace->nops; i++) {
        op = &trace->ops[i];

        if (!same(trace, op, "redis", &op->redis)) {
            return REDIS;
        }

        (void) ngx_patient_guard_note(beside, &op->lookup, &op->redis);
    }

    op = draw_op(trace);
    (void) model_count(&world.accounts[op->account], op);

    /* it knows habits as Redis has told them, at that time */

    if (trace->slow) {
        return NULL;
    }

    if (ngx_patient_guard_shm_count(beside, &op->lookup, &tally) != NGX_OK
        || !same(trace, op, "beside", &tally))
    {
        return BESIDE;
    }

    return NULL;
}


static const char *
play(uint64_t seed)
{
    int             n;
    const char     *broken;

    static trace_t  trace;

    memset(&trace, 0, sizeof(trace_t));
    memset(&world, 0, sizeof(world_t));

    state = trace.seed = seed;
    trace.forward = any(2);
    trace.strict = any(2);
    trace.slow = trace.forward && any(4) == 0;

    draw_limits(&trace);

    shm->memory = beside->memory = trace.memory;

    for (n = 4 + any(OPS - 4); n; n--) {
        broken = step(&trace);

        if (broken) {
            return broken;
        }
    }

    return with_redis ? replies(&trace) : NULL;
}


static uint64_t
wanted(const char *variable, uint64_t otherwise)
{
    char  *value;

    value = getenv(variable);

    return value ? strtoull(value, NULL, 10) : otherwise;
}


int
main(void)
{
    uint64_t     i, n, seed;
    const char  *broken, *wrong;

    n = wanted("PG_TRACES", 10000);
    seed = wanted("PG_SEED", (uint64_t) time(NULL) << 20);

    printf("# PG_SEED=%" PRIu64 " PG_TRACES=%" PRIu64 "\n", seed, n);

    stores_open();
    beside = embedded_beside(1024);
    broken = NULL;

    for (i = 0; i < n && broken == NULL; i++) {
        broken = play(seed + i);
    }

    stores_close();

    wrong = walk_node(shm->node);
    ok(wrong == NULL, "its memory is whole: %s", wrong ? wrong : "yes");

    wrong = walk_node(beside->node);
    ok(wrong == NULL, "and that beside Redis: %s", wrong ? wrong : "yes");

    ok(broken != MODEL, "%s", MODEL);
    ok(broken != VERDICT, "%s", VERDICT);
    ok(broken != MORE, "%s", MORE);
    ok(broken != EARLY, "%s", EARLY);

    if (with_redis) {
        ok(broken != REDIS, "%s", REDIS);
        ok(broken != BESIDE, "%s", BESIDE);
    }

    printf("# %d lookups: %d refused, %d challenged, %d passed, %d without "
           "grants, %d clocks set back, %d new patients, %d excused, %d of "
           "unproved sessions, %d baselines\n",
           lookups, refusals, challenges, passes, exhausted, folds, strangers,
           excuses, unproved, usuals);

    if (n >= 1000 && broken == NULL) {
        ok(refusals && challenges && passes && exhausted && folds
           && strangers && excuses && unproved && usuals,
           "the traces come by all that is to be shown");
    }

    return done();
}
