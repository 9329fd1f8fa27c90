
#include "ngx_http_patient_guard_block.h"
#include "ngx_http_patient_guard_backend.h"
#include "ngx_http_patient_guard_challenge.h"
#include "ngx_http_patient_guard_conf.h"
#include "ngx_http_patient_guard_identity.h"
#include "ngx_http_patient_guard_ledger.h"
#include "ngx_http_patient_guard_limit.h"
#include "ngx_http_patient_guard_redis.h"
#include "ngx_http_patient_guard_tls.h"


#define NGX_HTTP_PATIENT_GUARD_ZONE_MIN      (8 * ngx_pagesize)
#define NGX_HTTP_PATIENT_GUARD_ZONE_DEFAULT  (8 * 1024 * 1024)

#define NGX_HTTP_PATIENT_GUARD_TIMEOUT_MAX   60000     /* ms */
#define NGX_HTTP_PATIENT_GUARD_DELAY_MAX     60000

#define NGX_HTTP_PATIENT_GUARD_MEMORY        (28 * 86400)   /* s */
#define NGX_HTTP_PATIENT_GUARD_MEMORY_MIN    3600
#define NGX_HTTP_PATIENT_GUARD_MEMORY_MAX    (90 * 86400)


static char *ngx_http_patient_guard_directive(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_http_patient_guard_arguments(ngx_conf_t *cf,
    ngx_command_t *cmd);
static char *ngx_http_patient_guard_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_patient_guard_memory(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_patient_guard_time_ms(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_patient_guard_policy_end(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);
static char *ngx_http_patient_guard_add_zone(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);
static ngx_int_t ngx_http_patient_guard_init_zone(ngx_shm_zone_t *zone,
    void *data);


static ngx_conf_enum_t  ngx_http_patient_guard_missing[] = {
    { ngx_string("deny"), NGX_HTTP_PATIENT_GUARD_MISSING_DENY },
    { ngx_string("allow"), NGX_HTTP_PATIENT_GUARD_MISSING_ALLOW },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_patient_guard_outages[] = {
    { ngx_string("local"), NGX_PATIENT_GUARD_OUTAGE_LOCAL },
    { ngx_string("deny"), NGX_PATIENT_GUARD_OUTAGE_DENY },
    { ngx_string("allow"), NGX_PATIENT_GUARD_OUTAGE_ALLOW },
    { ngx_null_string, 0 }
};


static ngx_uint_t  ngx_http_patient_guard_timeout_max
    = NGX_HTTP_PATIENT_GUARD_TIMEOUT_MAX;
static ngx_uint_t  ngx_http_patient_guard_delay_max
    = NGX_HTTP_PATIENT_GUARD_DELAY_MAX;


/* "offset" is that of a field of the policy */

static ngx_command_t  ngx_http_patient_guard_directives[] = {

    { ngx_string("account"),
      NGX_CONF_1MORE,
      ngx_http_patient_guard_account, 0, 0, NULL },

    { ngx_string("account_missing"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_choice, 0,
      offsetof(ngx_http_patient_guard_policy_t, account_missing),
      ngx_http_patient_guard_missing },

    { ngx_string("zone"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_zone, 0, 0, NULL },

    { ngx_string("secret"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_secret, 0, 0, NULL },

    { ngx_string("redis"),
      NGX_CONF_1MORE,
      ngx_http_patient_guard_redis, 0, 0, NULL },

    { ngx_string("redis_auth"),
      NGX_CONF_1MORE,
      ngx_http_patient_guard_redis_auth, 0, 0, NULL },

    { ngx_string("redis_tls"),
      NGX_CONF_1MORE,
      ngx_http_patient_guard_redis_tls, 0, 0, NULL },

    { ngx_string("redis_timeout"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_time_ms, 0,
      offsetof(ngx_http_patient_guard_policy_t, redis_timeout),
      &ngx_http_patient_guard_timeout_max },

    { ngx_string("consistency"),
      NGX_CONF_TAKE12,
      ngx_http_patient_guard_consistency, 0, 0, NULL },

    { ngx_string("on_outage"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_choice, 0,
      offsetof(ngx_http_patient_guard_policy_t, outage),
      ngx_http_patient_guard_outages },

    { ngx_string("memory"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_memory, 0, 0, NULL },

    { ngx_string("limit"),
      NGX_CONF_2MORE,
      ngx_http_patient_guard_limit, 0, 0, NULL },

    { ngx_string("throttle_delay"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_time_ms, 0,
      offsetof(ngx_http_patient_guard_policy_t, throttle_delay),
      &ngx_http_patient_guard_delay_max },

    { ngx_string("challenge"),
      NGX_CONF_TAKE123,
      ngx_http_patient_guard_challenge, 0, 0, NULL },

    { ngx_string("challenge_grants"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_challenge_grants, 0, 0, NULL },

    { ngx_string("proof"),
      NGX_CONF_TAKE12,
      ngx_http_patient_guard_proof, 0,
      offsetof(ngx_http_patient_guard_policy_t, proof), NULL },

    { ngx_string("events"),
      NGX_CONF_TAKE12,
      ngx_http_patient_guard_events, 0, 0, NULL },

    { ngx_string("exempt"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_claim, 0,
      offsetof(ngx_http_patient_guard_policy_t, exempt), NULL },

    { ngx_string("clock"),
      NGX_CONF_TAKE1,
      ngx_http_patient_guard_clock, 0,
      offsetof(ngx_http_patient_guard_policy_t, clock), NULL },

    ngx_null_command
};


char *
ngx_http_patient_guard_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_main_conf_t  *mcf = conf;

    char                              *rv;
    size_t                             i;
    ngx_str_t                         *value;
    ngx_conf_t                         save;
    ngx_http_patient_guard_policy_t   *policy, **policies;

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (value[1].len > 64
            || !((value[1].data[i] >= 'a' && value[1].data[i] <= 'z')
                 || (value[1].data[i] >= 'A' && value[1].data[i] <= 'Z')
                 || (value[1].data[i] >= '0' && value[1].data[i] <= '9')
                 || value[1].data[i] == '_' || value[1].data[i] == '-'))
        {
            return ngx_http_patient_guard_invalid(cf, "patient_guard_policy",
                         &value[1],
                         "a name of at most 64 letters, digits, \"_\", \"-\"");
        }
    }

    if (value[1].len == 0 || ngx_strcmp(value[1].data, "off") == 0) {
        return ngx_http_patient_guard_invalid(cf, "patient_guard_policy",
                                              &value[1],
                                              "another name than \"off\"");
    }

    if (ngx_http_patient_guard_find_policy(mcf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "policy \"%V\" is defined twice", &value[1]);
        return NGX_CONF_ERROR;
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_http_patient_guard_policy_t));
    policies = ngx_array_push(&mcf->policies);

    if (policy == NULL || policies == NULL) {
        return NGX_CONF_ERROR;
    }

    *policies = policy;

    policy->name = value[1];
    policy->account_missing = NGX_CONF_UNSET_UINT;
    policy->outage = NGX_CONF_UNSET_UINT;
    policy->consistency = NGX_CONF_UNSET_UINT;
    policy->redis_timeout = NGX_CONF_UNSET_MSEC;
    policy->throttle_delay = NGX_CONF_UNSET_MSEC;

    policy->shm = ngx_pcalloc(cf->pool, sizeof(ngx_patient_guard_shm_t));
    if (policy->shm == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->shm->totals = ngx_pcalloc(cf->pool,
                                      sizeof(ngx_patient_guard_totals_t));
    if (policy->shm->totals == NULL) {
        return NGX_CONF_ERROR;
    }

    save = *cf;
    cf->handler = ngx_http_patient_guard_directive;
    cf->handler_conf = (char *) policy;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_patient_guard_policy_end(cf, policy);
}


static char *
ngx_http_patient_guard_directive(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    char           *rv;
    ngx_str_t      *value;
    ngx_command_t  *cmd;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "include") == 0) {

        if (cf->args->nelts != 2) {
            return "invalid number of arguments in \"include\" directive";
        }

        return ngx_conf_include(cf, dummy, conf);
    }

    for (cmd = ngx_http_patient_guard_directives; cmd->name.len; cmd++) {

        if (cmd->name.len != value[0].len
            || ngx_strcmp(cmd->name.data, value[0].data) != 0)
        {
            continue;
        }

        rv = ngx_http_patient_guard_arguments(cf, cmd);

        if (rv == NGX_CONF_OK) {
            rv = cmd->set(cf, cmd, policy);
        }

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive %s in policy \"%V\"",
                           &value[0], rv, &policy->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in policy \"%V\"",
                       &value[0], &policy->name);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_patient_guard_arguments(ngx_conf_t *cf, ngx_command_t *cmd)
{
    ngx_uint_t  n, fits;

    n = cf->args->nelts - 1;

    if (cmd->type & NGX_CONF_1MORE) {
        fits = n >= 1;

    } else if (cmd->type & NGX_CONF_2MORE) {
        fits = n >= 2;

    } else {

        /* NGX_CONF_NOARGS is 1, each TAKE is the bit of its number */

        fits = n < 8 && (cmd->type & (NGX_CONF_NOARGS << n));
    }

    return fits ? NGX_CONF_OK : "has an invalid number of arguments";
}


static char *
ngx_http_patient_guard_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (policy->zone_size) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < (ssize_t) NGX_HTTP_PATIENT_GUARD_ZONE_MIN)
    {
        return ngx_http_patient_guard_invalid(cf, "zone", &value[1],
                                              "a size of 32k at least, such "
                                              "as \"8m\"");
    }

    policy->zone_size = size;

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_memory(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_str_t  *value;

    if (policy->memory) {
        return "is duplicate";
    }

    value = cf->args->elts;

    policy->memory = ngx_parse_time(&value[1], 1);

    if (policy->memory < NGX_HTTP_PATIENT_GUARD_MEMORY_MIN
        || policy->memory > NGX_HTTP_PATIENT_GUARD_MEMORY_MAX)
    {
        return ngx_http_patient_guard_invalid(cf, "memory", &value[1],
                                              "a time from 1h to 90d such as "
                                              "\"28d\"");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_time_ms(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t    ms;
    ngx_str_t   *value;
    ngx_msec_t  *field;
    ngx_uint_t  *max;

    field = (ngx_msec_t *) ((char *) conf + cmd->offset);
    max = cmd->post;

    if (*field != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR || ms == 0 || (ngx_uint_t) ms > *max) {
        return ngx_http_patient_guard_invalid(cf, cmd->name.data, &value[1],
                                       "a time from 1ms to 60s such as "
                                       "\"50ms\"");
    }

    *field = ms;

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_policy_end(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    char  *rv;

    if (policy->accounts == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"account\" in policy \"%V\"", &policy->name);
        return NGX_CONF_ERROR;
    }

    if (policy->nlimits == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"limit\" in policy \"%V\"", &policy->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_uint_value(policy->account_missing,
                             NGX_HTTP_PATIENT_GUARD_MISSING_DENY);
    ngx_conf_init_msec_value(policy->throttle_delay, 5000);

    if (policy->grants.count == 0) {
        policy->grants.count = 3;
        policy->grants.window = 86400000;
    }

    if (ngx_http_patient_guard_counts(policy, NGX_PATIENT_GUARD_NEW_PATIENTS))
    {
        policy->shm->memory = (uint64_t) 1000
                              * (policy->memory
                                 ? policy->memory
                                 : NGX_HTTP_PATIENT_GUARD_MEMORY);

    } else if (policy->memory) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"memory\" of policy \"%V\" is for limits on "
                           "\"new_patients\", and it has none",
                           &policy->name);
        return NGX_CONF_ERROR;
    }

    if (policy->zone_size == 0) {
        policy->zone_size = NGX_HTTP_PATIENT_GUARD_ZONE_DEFAULT;
    }

    rv = ngx_http_patient_guard_backend_init(cf, policy);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (policy->redis) {
        rv = ngx_http_patient_guard_redis_init(cf, policy);

        if (rv != NGX_CONF_OK) {
            return rv;
        }

        rv = ngx_http_patient_guard_tls_init(cf, policy);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_http_patient_guard_ledger_zone(cf, policy);

    return rv == NGX_CONF_OK ? ngx_http_patient_guard_add_zone(cf, policy)
                             : rv;
}


static char *
ngx_http_patient_guard_add_zone(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_str_t         name;
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone, *old;
    ngx_list_part_t  *part;

    name.len = sizeof("patient_guard_") - 1 + policy->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);

    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(name.data, "patient_guard_%V", &policy->name);

    zone = ngx_shared_memory_add(cf, &name, policy->zone_size,
                                 &ngx_patient_guard_module);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->init = ngx_http_patient_guard_init_zone;
    zone->data = policy;

    policy->shm->limits = policy->limits;
    policy->shm->nlimits = policy->nlimits;
    policy->shm->grants = &policy->grants;
    policy->shm->session = policy->proof_session;
    policy->shm->fleet = (policy->redis != NULL);

    /* nginx makes a zone of another size anew: what it held is lost */

    part = &cf->cycle->old_cycle->shared_memory.part;

    for ( /* void */ ; part; part = part->next) {

        old = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (old[i].shm.name.len == name.len
                && ngx_strncmp(old[i].shm.name.data, name.data, name.len) == 0
                && old[i].shm.size != policy->zone_size)
            {
                ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                                   "the \"zone\" of policy \"%V\" has "
                                   "another size than before: what this node "
                                   "has counted starts anew",
                                   &policy->name);
            }
        }
    }

    return NGX_CONF_OK;
}


/*
 * A policy without a secret finds its own in the zone.  If this fails in a
 * reload the old configuration is served on; nginx would exit if init_module
 * did.
 */

static ngx_int_t
ngx_http_patient_guard_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_patient_guard_policy_t  *old = data;

    ngx_int_t                         rc;
    ngx_str_t                         seed;
    ngx_http_patient_guard_policy_t  *policy;

    policy = zone->data;

    zone->data = policy->shm;
    rc = ngx_patient_guard_shm_init(zone, old ? old->shm : NULL);
    zone->data = policy;

    if (rc != NGX_OK || policy->nkeys) {
        return rc;
    }

    seed.data = ngx_patient_guard_shm_seed(policy->shm);
    seed.len = NGX_PATIENT_GUARD_SEED;

    if (ngx_patient_guard_keys_derive(&policy->keys[0], &seed) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "HMAC-SHA-256 failed for policy \"%V\"",
                      &policy->name);
        return NGX_ERROR;
    }

    policy->nkeys = 1;

    return NGX_OK;
}
