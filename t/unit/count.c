
/* rooms: ngx_patient_guard_alias ngx_patient_guard_window ngx_patient_guard_policy ngx_patient_guard_resp ngx_patient_guard_zone ngx_patient_guard_node ngx_patient_guard_challenge ngx_patient_guard_count ngx_patient_guard_shm ngx_patient_guard_call ngx_patient_guard_image ngx_patient_guard_outbox ngx_patient_guard_fleet ngx_patient_guard_reply ngx_patient_guard_memory ngx_patient_guard_habit ngx_patient_guard_queue ngx_patient_guard_seen */


/* plays the scenarios of count.vectors in both stores */


#include "ngx_patient_guard_policy.h"
#include "stores.h"
#include "tap.h"
#include "vectors.h"


#define EPOCH     1600000000000ULL      /* where the scenarios' time is 0 */
#define PATIENTS  8                     /* of one lookup */


typedef struct {
    char                        name[128];
    ngx_patient_guard_limit_t   limits[NGX_PATIENT_GUARD_LIMITS];
    ngx_uint_t                  nlimits;
    ngx_patient_guard_grants_t  grants;
    int                         failed[2];        /* of each store */
} scenario_t;


static struct {
    const char  *name;
    void       (*count)(ngx_patient_guard_lookup_t *lookup,
                        ngx_patient_guard_tally_t *tally);
} stores[] = {
    { "shared memory", stores_embedded },
    { "Redis", stores_redis }
};


/* FNV-1a: stands for all aliases */

static uint64_t
alias(const char *scope, const char *name)
{
    uint64_t  hash;

    hash = 0xcbf29ce484222325ULL;

    for ( /* void */ ; *scope; scope++) {
        hash = (hash ^ (u_char) *scope) * 0x100000001b3ULL;
    }

    for (hash *= 31; *name; name++) {
        hash = (hash ^ (u_char) *name) * 0x100000001b3ULL;
    }

    return hash;
}


/* the part of a word behind "name=", or NULL */

static char *
option(char *word, const char *name)
{
    size_t  len = strlen(name);

    return strncmp(word, name, len) == 0 && word[len] == '='
           ? word + len + 1 : NULL;
}


/* splits COUNT/WINDOW */

static uint32_t
count_of(vectors_t *v, char *word, uint64_t *window)
{
    char  *slash;

    slash = strchr(word, '/');

    if (slash == NULL) {
        vectors_malformed(v, word);
    }

    *slash = '\0';
    *window = vectors_time(v, slash + 1);

    return vectors_number(v, word);
}


static void
add_limit(scenario_t *scenario, vectors_t *v)
{
    char                       *count;
    uint32_t                    n;
    uint64_t                    window;
    ngx_uint_t                  action;
    ngx_patient_guard_limit_t  *limit;

    static const char  *actions[] = { "log", "throttle", "challenge", "deny" };

    for (action = 0; strcmp(actions[action], v->words[2]) != 0; action++) {
        if (action == 3) {
            vectors_malformed(v, v->words[2]);
        }
    }

    limit = &scenario->limits[scenario->nlimits++];

    count = option(v->words[1], "lookups");
    limit->signal = count ? NGX_PATIENT_GUARD_LOOKUPS
                          : NGX_PATIENT_GUARD_PATIENTS_SEEN;

    if (count == NULL) {
        count = option(v->words[1], "patients");
    }

    if (count == NULL) {
        vectors_malformed(v, v->words[1]);
    }

    n = count_of(v, count, &window);

    stores_limit(limit, limit->signal, window, action, n,
                 v->nwords > 3 ? v->words[3] : "");

    limit->id = (uint32_t) alias("", (char *) limit->state.data) | 0x100;
}


/* the words from "from" to "->"; returns where the outcome begins */

static int
read_lookup(scenario_t *scenario, vectors_t *v,
    ngx_patient_guard_lookup_t *lookup)
{
    int          i;
    char        *word, *key, *previous, *p;
    static char  dupont[] = "dupont";

    static ngx_patient_guard_named_t  patients[PATIENTS];

    memset(lookup, 0, sizeof(ngx_patient_guard_lookup_t));

    lookup->now = EPOCH + vectors_time(v, v->words[1]);
    lookup->limits = scenario->limits;
    lookup->nlimits = scenario->nlimits;
    lookup->grants = &scenario->grants;
    lookup->patients = patients;

    key = dupont;
    previous = NULL;

    for (i = 3; i < v->nwords && strcmp(v->words[i], "->") != 0; i++) {
        word = v->words[i];

        lookup->dry_run |= (strcmp(word, "dry") == 0);
        lookup->exempt |= (strcmp(word, "exempt") == 0);

        if ((p = option(word, "proof"))) {
            lookup->proof = EPOCH + vectors_time(v, p);

        } else if ((p = option(word, "key"))) {
            key = strtok(p, "/");
            previous = strtok(NULL, "/");
        }
    }

    lookup->account.word[0] = alias(scenario->name, key);
    lookup->previous.word[0] = previous ? alias(scenario->name, previous) : 0;

    for (p = strtok(v->words[2], ","); p; p = strtok(NULL, ",")) {
        patients[lookup->npatients].current = alias(key, p);
        patients[lookup->npatients].previous = previous ? alias(previous, p)
                                                        : 0;
        lookup->npatients++;
    }

    lookup->records = lookup->npatients;

    return i + 1;
}


static char *
put_wait(char *p, uint64_t wait)
{
    p += sprintf(p, "%" PRIu64, wait / 1000);

    if (wait % 1000) {
        p += sprintf(p, ".%03d", (int) (wait % 1000));

        while (p[-1] == '0') {
            p--;
        }
    }

    *p = '\0';

    return p;
}


/* the outcome, as the file spells it */

static void
put_outcome(char *p, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_str_t                     *verdict;
    ngx_uint_t                     i;
    ngx_patient_guard_decision_t   decision;

    ngx_patient_guard_decide(lookup, tally, &decision);
    verdict = ngx_patient_guard_verdict_name(decision.verdict);

    p += sprintf(p, "%.*s", (int) verdict->len, verdict->data);

    if (tally->charged != (decision.verdict == NGX_PATIENT_GUARD_ALLOW)) {
        p += sprintf(p, tally->charged ? "(charged)" : "(not charged)");
    }

    for (i = 0; i < lookup->nlimits; i++) {
        p += sprintf(p, " %" PRIu32, tally->rooms[i].total);

        if (tally->rooms[i].wait) {
            p = put_wait(p + sprintf(p, "+"), tally->rooms[i].wait);
        }
    }

    if (tally->challenged) {
        p += sprintf(p, " challenged=");
        p += tally->challenger < lookup->nlimits
             ? sprintf(p, "%d", (int) tally->challenger + 1)
             : sprintf(p, "-");
    }

    if (tally->passed) {
        p += sprintf(p, " passed");
    }

    if (tally->grants_wait) {
        (void) put_wait(p + sprintf(p, " grants="), tally->grants_wait);
    }
}


static void
play(scenario_t *scenario, vectors_t *v)
{
    int                         i, from;
    char                        got[1024], expected[1024];
    ngx_patient_guard_tally_t   tally;
    ngx_patient_guard_lookup_t  lookup;

    from = read_lookup(scenario, v, &lookup);
    expected[0] = '\0';

    for (i = from; i < v->nwords; i++) {
        strcat(expected, i > from ? " " : "");
        strcat(expected, v->words[i]);
    }

    for (i = 0; i < 1 + with_redis; i++) {
        stores[i].count(&lookup, &tally);
        put_outcome(got, &lookup, &tally);

        if (strcmp(got, expected) != 0) {
            scenario->failed[i] = 1;
            printf("# %s:%d, %s: %s\n", v->name, v->line, stores[i].name,
                   got);
        }
    }
}


static void
finish(scenario_t *scenario)
{
    int  i;

    if (scenario->name[0] == '\0') {
        return;
    }

    for (i = 0; i < 1 + with_redis; i++) {
        ok(!scenario->failed[i], "%s, in %s", scenario->name, stores[i].name);
    }
}


static void
begin(scenario_t *scenario, vectors_t *v)
{
    int  i;

    memset(scenario, 0, sizeof(scenario_t));

    scenario->grants.count = 3;
    scenario->grants.window = 86400 * 1000;

    for (i = 1; i < v->nwords; i++) {
        strcat(scenario->name, i > 1 ? " " : "");
        strcat(scenario->name, v->words[i]);
    }
}


int
main(void)
{
    vectors_t   v;
    scenario_t  scenario = { .name = "" };

    stores_open();
    vectors_open(&v, "t/unit/count.vectors");

    while (vectors_next(&v)) {

        if (strcmp(v.words[0], "===") == 0) {
            finish(&scenario);
            begin(&scenario, &v);

        } else if (strcmp(v.words[0], "limit") == 0) {
            add_limit(&scenario, &v);

        } else if (strcmp(v.words[0], "grants") == 0) {
            scenario.grants.count = count_of(&v, v.words[1],
                                             &scenario.grants.window);

        } else if (strcmp(v.words[0], "reload") == 0) {
            scenario.nlimits = 0;

        } else if (strcmp(v.words[0], "at") == 0) {
            play(&scenario, &v);

        } else {
            vectors_malformed(&v, v.words[0]);
        }
    }

    finish(&scenario);
    stores_close();

    return done();
}
