
/* wraps: open open64 getaddrinfo freeaddrinfo ngx_alloc ngx_memalign */


/*
 * The module's directives, read by nginx' own parser.  An input is
 *
 *     directives as in http { } | 0 | which allocation fails 1 | mode 1
 *     | what any file holds
 *
 * where 0 means that no allocation fails, and the lowest bit of the mode
 * that others can read the file.  Nothing is opened, nor resolved: a host
 * that begins with a digit less than 5 or a letter before "n" has two
 * addresses.
 *
 * A configuration is refused with a word to the operator, or it is one that
 * may be served by.
 */


#include "fuzz.h"
#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_conf.h"

#include <netdb.h>
#include <sys/mman.h>


#define ZONE  (1024 * 1024)          /* larger ones are not made */


int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res);
void __wrap_freeaddrinfo(struct addrinfo *res);
void *__wrap_ngx_alloc(size_t size, ngx_log_t *log);
void *__wrap_ngx_memalign(size_t alignment, size_t size, ngx_log_t *log);
void *__real_ngx_alloc(size_t size, ngx_log_t *log);
void *__real_ngx_memalign(size_t alignment, size_t size, ngx_log_t *log);


/* the module alone, and what it looks for of http */

ngx_module_t *ngx_modules[] = {
    &ngx_http_core_module,
    &ngx_patient_guard_module,
    NULL
};

char *ngx_module_names[] = {
    "ngx_http_core_module",
    "ngx_patient_guard_module",
    NULL
};


static int         file;             /* in memory, for any path */
static input_t     contents;
static mode_t      mode;
static ngx_uint_t  failing;          /* 0: none */
static u_char     *zone_memory;


static int
open_file(void)
{
    must(ftruncate(file, 0) == 0);
    must(pwrite(file, contents.p, contents.last - contents.p, 0)
         == contents.last - contents.p);
    must(fchmod(file, mode) == 0);
    must(lseek(file, 0, SEEK_SET) == 0);

    return dup(file);
}


int
__wrap_open(const char *path, int flags, ...)
{
    return open_file();
}


int
__wrap_open64(const char *path, int flags, ...)
{
    return open_file();
}


int
__wrap_getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res)
{
    static struct sockaddr_in  sin = { .sin_family = AF_INET };
    static struct addrinfo     second = {
        .ai_family = AF_INET, .ai_addrlen = sizeof(sin),
        .ai_addr = (struct sockaddr *) &sin
    };
    static struct addrinfo     first = {
        .ai_family = AF_INET, .ai_addrlen = sizeof(sin),
        .ai_addr = (struct sockaddr *) &sin, .ai_next = &second
    };

    must(node[0] != '\0');

    if ((node[0] | 0x20) >= 'n' || node[0] == '5') {
        return EAI_NONAME;
    }

    *res = &first;

    return 0;
}


void
__wrap_freeaddrinfo(struct addrinfo *res)
{
    /* static */
}


static int
fails(void)
{
    return failing && --failing == 0;
}


void *
__wrap_ngx_alloc(size_t size, ngx_log_t *log)
{
    return fails() ? NULL : __real_ngx_alloc(size, log);
}


void *
__wrap_ngx_memalign(size_t alignment, size_t size, ngx_log_t *log)
{
    return fails() ? NULL : __real_ngx_memalign(alignment, size, log);
}


/* in an array of pointers of its own for each level, as nginx has them */

static void
make_context(ngx_conf_t *cf, ngx_http_conf_ctx_t *ctx)
{
    ngx_uint_t          n;
    ngx_http_module_t  *http;

    ctx->main_conf = ngx_pcalloc(cf->pool, ngx_http_max_module
                                           * sizeof(void *));
    ctx->srv_conf = ngx_pcalloc(cf->pool, ngx_http_max_module
                                          * sizeof(void *));
    ctx->loc_conf = ngx_pcalloc(cf->pool, ngx_http_max_module
                                          * sizeof(void *));
    cf->ctx = ctx;

    for (n = 0; ngx_modules[n]; n++) {
        http = ngx_modules[n]->ctx;

        ctx->main_conf[ngx_modules[n]->ctx_index]
            = http->create_main_conf(cf);
    }

    http = ngx_patient_guard_module.ctx;

    ctx->loc_conf[ngx_patient_guard_module.ctx_index]
        = http->create_loc_conf(cf);
    ctx->loc_conf[ngx_http_core_module.ctx_index]
        = ngx_pcalloc(cf->pool, sizeof(ngx_http_core_loc_conf_t));
}


static void
is_text(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        must(text->data[i] >= 0x20 && text->data[i] < 0x7f);
    }
}


static void
limits_hold(ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                       i, n;
    ngx_patient_guard_limit_t       *limit;
    ngx_http_patient_guard_count_t  *counts;

    must(policy->nlimits >= 1 && policy->nlimits <= 16);

    for (i = 0; i < policy->nlimits; i++) {
        limit = &policy->limits[i];

        must(limit->count >= 1);
        must(limit->window >= 10000 && limit->window <= 7776000000);
        must(limit->window % 1000 == 0);
        must(limit->action <= NGX_PATIENT_GUARD_DENY);
        must(limit->signal <= NGX_PATIENT_GUARD_PATIENTS_SEEN);

        must(limit->name.len >= 1 && limit->name.len <= 64);
        is_text(&limit->name);
        is_text(&limit->state);

        for (n = 0; n < i; n++) {
            must(limit->id != policy->limits[n].id);
            must(limit->name.len != policy->limits[n].name.len
                 || memcmp(limit->name.data, policy->limits[n].name.data,
                           limit->name.len) != 0);
        }
    }

    must(policy->grants.count >= 1);
    must(policy->grants.window >= 10000
         && policy->grants.window <= 7776000000);
    must(policy->throttle_delay >= 1 && policy->throttle_delay <= 60000);

    for (i = 0; policy->counts && i < policy->counts->nelts; i++) {
        counts = policy->counts->elts;

        must(counts[i].limit < policy->nlimits);
        must(counts[i].otherwise == policy->limits[counts[i].limit].count);
        must(policy->shm->variable & 1 << counts[i].limit);
    }
}


static void
challenges_hold(ngx_http_patient_guard_policy_t *policy)
{
    size_t                               n;
    ngx_str_t                           *url;
    ngx_uint_t                           i;
    ngx_http_patient_guard_challenge_t  *challenges;

    for (i = 0; policy->challenges && i < policy->challenges->nelts; i++) {
        challenges = policy->challenges->elts;
        url = &challenges[i].target.value;

        switch (challenges[i].kind) {

        case NGX_HTTP_PATIENT_GUARD_REDIRECT:
            must(challenges[i].status == 302);
            must(url->len > 0);

            for (n = 0; n < url->len; n++) {
                must(url->data[n] > 0x20 && url->data[n] != '#');
            }

            break;

        case NGX_HTTP_PATIENT_GUARD_STEP_UP:
            must(challenges[i].status == 401);
            is_text(&challenges[i].authenticate);
            break;

        case NGX_HTTP_PATIENT_GUARD_PAGE:
            must(challenges[i].status == 403);
            must(url->data[0] == '/' || url->data[0] == '@');
            break;

        case NGX_HTTP_PATIENT_GUARD_STATUS:
            must(challenges[i].status >= 400 && challenges[i].status <= 599);
            must(challenges[i].status != 408 && challenges[i].status != 499);
            break;
        }
    }
}


static void
backend_holds(ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                        i;
    ngx_patient_guard_target_t       *targets;
    ngx_patient_guard_redis_conf_t   *redis;
    ngx_patient_guard_finder_conf_t  *finder;

    redis = policy->redis;

    must(policy->nkeys <= 2);

    if (redis == NULL) {
        return;
    }

    must(policy->nkeys >= 1);

    finder = &redis->script.finder;
    targets = finder->targets->elts;

    must(finder->targets->nelts >= 1);

    for (i = 0; i < finder->targets->nelts; i++) {
        must(targets[i].naddrs >= 1 && targets[i].addrs != NULL);
        must(targets[i].host.len == 0 || targets[i].port >= 1);
    }

    must(finder->mode <= NGX_PATIENT_GUARD_CLUSTER);
    must(finder->mode != NGX_PATIENT_GUARD_STANDALONE || i == 1);
    must((finder->mode == NGX_PATIENT_GUARD_SENTINEL)
         == (finder->master.len > 0));
    must(finder->mode != NGX_PATIENT_GUARD_CLUSTER
         || (redis->db == 0 && policy->nkeys == 1));
    must(finder->peer.link.greeting.nsteps >= 1);
    must(finder->peer.timeout >= 1 && finder->peer.timeout <= 60000);
    must(redis->interval >= 1 && redis->interval <= 10000);
    must(redis->outage <= NGX_PATIENT_GUARD_OUTAGE_ALLOW);
    must(redis->db <= 2147483647);
    must(!policy->redis_auth || redis->password.len > 0
         || redis->sentinel_password.len > 0);

    is_text(&redis->script.keys);
    must(redis->script.keys.len <= 64 + 1 + policy->name.len + 1);
    must(memchr(redis->script.keys.data, '{', redis->script.keys.len) == NULL);
}


/* each policy has two: what it counts, and the totals, of a size that fits */

static ngx_uint_t
is_of_totals(ngx_shm_zone_t *zone)
{
    return zone->shm.name.len > 7
           && memcmp(zone->shm.name.data + zone->shm.name.len - 7, ":totals",
                     7) == 0;
}


/* where nginx makes it, but in memory that is there already */

static void
make_zone(ngx_shm_zone_t *zone)
{
    ngx_int_t                         rc;
    ngx_uint_t                        said;
    ngx_slab_pool_t                  *pool;
    ngx_http_patient_guard_policy_t  *policy;

    policy = is_of_totals(zone) ? NULL : zone->data;
    pool = (ngx_slab_pool_t *) zone_memory;

    memset(pool, 0, sizeof(ngx_slab_pool_t));
    pool->end = zone_memory + zone->shm.size;
    pool->min_shift = 3;
    pool->addr = zone_memory;

    must(ngx_shmtx_create(&pool->mutex, &pool->lock, NULL) == NGX_OK);
    ngx_slab_init(pool);

    zone->shm.addr = zone_memory;
    zone->shm.log = &fuzz_log;

    said = fuzz_lines;
    rc = zone->init(zone, NULL);

    must(rc == NGX_OK || fuzz_lines > said);
    must(rc != NGX_OK || policy == NULL
         || (policy->shm->most > 0 && policy->nkeys > 0));
    must(rc == NGX_OK || policy != NULL);
}


static void
serves(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_shm_zone_t                       *zones;
    ngx_list_part_t                      *part;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);
    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {
        must(policies[i]->name.len >= 1 && policies[i]->name.len <= 64);
        must(policies[i]->accounts && policies[i]->accounts->nelts >= 1);
        must(policies[i]->account_missing
             <= NGX_HTTP_PATIENT_GUARD_MISSING_ALLOW);

        limits_hold(policies[i]);
        challenges_hold(policies[i]);
        backend_holds(policies[i]);
    }

    part = &cf->cycle->shared_memory.part;
    zones = part->elts;
    must(part->next != NULL || part->nelts == 2 * mcf->policies.nelts);

    for (i = 0; i < part->nelts; i++) {
        must(zones[i].shm.size >= 32768);

        if (zones[i].shm.size <= ZONE) {
            make_zone(&zones[i]);
        }
    }
}


/* what a location of http inherits; a policy may be unknown */

static void
location_holds(ngx_conf_t *cf)
{
    void                               *child;
    ngx_uint_t                          said;
    ngx_http_module_t                  *http;
    ngx_http_conf_ctx_t                *ctx;
    ngx_http_patient_guard_loc_conf_t  *lcf;

    ctx = cf->ctx;
    http = ngx_patient_guard_module.ctx;
    said = fuzz_lines;

    child = http->create_loc_conf(cf);
    must(child != NULL);

    if (http->merge_loc_conf(cf, ctx->loc_conf
                                 [ngx_patient_guard_module.ctx_index], child)
        != NGX_CONF_OK)
    {
        must(fuzz_lines > said);
        return;
    }

    lcf = child;

    must((lcf->policy != NULL)
         == (lcf->name.len != 0 && ngx_strcmp(lcf->name.data, "off") != 0));
    must(lcf->unmatched <= NGX_HTTP_PATIENT_GUARD_UNMATCHED_DENY);
    must(lcf->dry_run == 0 || lcf->dry_run == 1);
    must(lcf->log_level >= NGX_LOG_ERR && lcf->log_level <= NGX_LOG_INFO);
    must(lcf->patients == NULL || lcf->patients->nelts >= 1);
    must(lcf->methods == NULL || lcf->methods->nelts >= 1);
}


static void
parse(ngx_str_t *text, ngx_uint_t nth, ngx_pool_t *pool)
{
    char                 *rv;
    ngx_buf_t             buf;
    ngx_conf_t            cf;
    ngx_cycle_t           cycle, old_cycle;
    ngx_conf_file_t       conf_file;
    ngx_http_conf_ctx_t   ctx;

    memset(&cf, 0, sizeof(cf));
    memset(&cycle, 0, sizeof(cycle));
    memset(&old_cycle, 0, sizeof(old_cycle));
    memset(&conf_file, 0, sizeof(conf_file));
    memset(&buf, 0, sizeof(buf));

    cycle.pool = pool;
    cycle.log = &fuzz_log;
    cycle.old_cycle = &old_cycle;
    cycle.modules = &ngx_modules[1];           /* of http no directives */
    ngx_str_set(&cycle.conf_prefix, "/");
    ngx_str_set(&cycle.prefix, "/");

    must(ngx_list_init(&cycle.shared_memory, pool, 32,
                       sizeof(ngx_shm_zone_t)) == NGX_OK);

    /* nginx reads on at offset, and there is no more */

    buf.start = buf.pos = text->data;
    buf.last = buf.end = text->data + text->len;

    ngx_str_set(&conf_file.file.name, "input");
    conf_file.buffer = &buf;
    conf_file.line = 1;

    cf.args = ngx_array_create(pool, 10, sizeof(ngx_str_t));
    cf.pool = pool;
    cf.temp_pool = pool;
    cf.cycle = &cycle;
    cf.conf_file = &conf_file;
    cf.log = &fuzz_log;
    cf.module_type = NGX_HTTP_MODULE;
    cf.cmd_type = NGX_HTTP_MAIN_CONF;

    make_context(&cf, &ctx);

    ngx_cycle = &cycle;
    fuzz_lines = 0;

    failing = nth;
    rv = ngx_conf_parse(&cf, NULL);

    if (nth && failing == 0) {
        must(rv != NGX_CONF_OK);
        return;
    }

    failing = 0;

    if (rv != NGX_CONF_OK) {
        must(fuzz_lines >= 1);
        return;
    }

    serves(&cf);
    location_holds(&cf);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static ngx_cycle_t  cycle;

    fuzz_init();

    file = memfd_create("input", 0);
    must(file != -1);

    zone_memory = mmap(NULL, ZONE, PROT_READ|PROT_WRITE,
                       MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
    must(zone_memory != MAP_FAILED);

    ngx_time_init();
    ngx_slab_sizes_init();

    must(ngx_preinit_modules() == NGX_OK);
    cycle.modules = ngx_modules;
    ngx_http_max_module = ngx_count_modules(&cycle, NGX_HTTP_MODULE);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t      in;
    ngx_str_t    text;
    ngx_uint_t   nth;
    ngx_pool_t  *pool;

    in.p = data;
    in.last = data + size;

    text = input_until(&in, '\0');

    /* a file may include itself, which nginx bears as little as we do */

    if (memmem(text.data, text.len, "include", 7) == NULL) {

        text.data = realloc(text.data, text.len + 1);
        must(text.data != NULL);
        text.data[text.len++] = '}';

        nth = input_byte(&in);
        mode = 0600 | (input_byte(&in) & 1) << 2;
        contents = in;

        pool = fuzz_pool();
        parse(&text, nth, pool);
        ngx_destroy_pool(pool);
    }

    free(text.data);

    return 0;
}
