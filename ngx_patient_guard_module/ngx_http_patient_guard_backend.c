
#include "ngx_http_patient_guard_backend.h"
#include "ngx_http_patient_guard_argument.h"
#include "ngx_http_patient_guard_value.h"


#define NGX_HTTP_PATIENT_GUARD_REDIS_SIZE  65536   /* bytes of one account */

#define NGX_HTTP_PATIENT_GUARD_INTERVAL      50    /* ms */
#define NGX_HTTP_PATIENT_GUARD_INTERVAL_MAX  10000

#define NGX_HTTP_PATIENT_GUARD_KEY_MAX       128   /* bytes of a stream's */


char *
ngx_http_patient_guard_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    char        *rv;
    ngx_str_t   *value, lines[2];
    ngx_uint_t   i;

    if (policy->nkeys) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rv = ngx_http_patient_guard_read_lines(cf, "secret", &value[1], lines, 2);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 0; i < 2; i++) {

        if (i == 1 && lines[i].len == 0) {
            break;
        }

        if (lines[i].len < NGX_PATIENT_GUARD_SECRET_MIN) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "line %ui of \"secret\" file \"%V\" has %uz "
                               "bytes, expected %d at least",
                               i + 1, &value[1], lines[i].len,
                               NGX_PATIENT_GUARD_SECRET_MIN);
            return NGX_CONF_ERROR;
        }

        if (ngx_patient_guard_keys_derive(&policy->keys[i], &lines[i])
            != NGX_OK)
        {
            return "can't be used: HMAC-SHA-256 failed";
        }

        policy->nkeys++;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_consistency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_int_t   ms;
    ngx_str_t  *value, interval;

    if (policy->consistency != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "strict") == 0) {
        policy->consistency = NGX_HTTP_PATIENT_GUARD_STRICT;

    } else if (ngx_strcmp(value[1].data, "local") == 0) {
        policy->consistency = NGX_HTTP_PATIENT_GUARD_LOCAL;

    } else {
        return ngx_http_patient_guard_invalid(cf, "consistency", &value[1],
                                            "\"strict\" or \"local\"");
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "interval=", 9) != 0
        || policy->consistency == NGX_HTTP_PATIENT_GUARD_STRICT)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of "
                           "\"consistency %V\", expected %s",
                           &value[2], &value[1],
                           policy->consistency == NGX_HTTP_PATIENT_GUARD_LOCAL
                           ? "\"interval=50ms\"" : "none");
        return NGX_CONF_ERROR;
    }

    interval.data = value[2].data + 9;
    interval.len = value[2].len - 9;

    ms = ngx_parse_time(&interval, 0);

    if (ms == NGX_ERROR || ms == 0
        || ms > NGX_HTTP_PATIENT_GUARD_INTERVAL_MAX)
    {
        return ngx_http_patient_guard_invalid(cf, "interval", &interval,
                                              "a time from 1ms to 10s such "
                                              "as \"50ms\"");
    }

    policy->interval = ms;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_events(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    size_t      n;
    uint32_t    most;
    ngx_str_t  *value, key, number;

    if (policy->events.key.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!ngx_http_patient_guard_given(&value[1], "stream=", &key)) {
        return ngx_http_patient_guard_invalid(cf, "events", &value[1],
                                   "\"stream=key\" such as "
                                   "\"stream=pg:events\"");
    }

    for (n = 0; n < key.len; n++) {
        if (key.len > NGX_HTTP_PATIENT_GUARD_KEY_MAX || key.data[n] <= ' '
            || key.data[n] >= 0x7f)
        {
            return ngx_http_patient_guard_invalid(cf, "stream", &key,
                                       "a key of at most 128 printable "
                                       "characters");
        }
    }

    if (cf->args->nelts == 3) {

        if (!ngx_http_patient_guard_given(&value[2], "maxlen=", &number)
            || ngx_http_patient_guard_number(&number, &most) != NGX_OK)
        {
            return ngx_http_patient_guard_invalid(cf, "events", &value[2],
                                       "\"maxlen=n\" with a number from 1 "
                                       "to 4294967295");
        }

        policy->events.most = most;
    }

    policy->events.key = key;
    policy->events.policy = &policy->name;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_backend_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    uint64_t                         size;
    ngx_uint_t                       i;
    ngx_patient_guard_redis_conf_t  *redis;

    redis = policy->redis;

    if (redis == NULL || redis->script.finder.targets == NULL) {

        if (policy->redis_auth
            || policy->tls
            || policy->redis_timeout != NGX_CONF_UNSET_MSEC
            || policy->outage != NGX_CONF_UNSET_UINT
            || policy->consistency != NGX_CONF_UNSET_UINT
            || policy->events.key.len)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_auth\", \"redis_tls\", "
                               "\"redis_timeout\", \"consistency\", "
                               "\"on_outage\" and \"events\" want "
                               "\"redis\" in policy \"%V\"",
                               &policy->name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (policy->events.key.len
        && redis->script.finder.mode == NGX_PATIENT_GUARD_CLUSTER)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"events\" of policy \"%V\" can't be with "
                           "\"mode=cluster\": it is one key, on one of its "
                           "servers", &policy->name);
        return NGX_CONF_ERROR;
    }

    if (policy->nkeys == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"secret\" is required with \"redis\" in policy "
                           "\"%V\": all nodes must know an account by the "
                           "same alias", &policy->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_msec_value(policy->redis_timeout, 50);
    ngx_conf_init_uint_value(policy->outage, NGX_PATIENT_GUARD_OUTAGE_LOCAL);

    redis->outage = policy->outage;
    redis->local = (policy->consistency == NGX_HTTP_PATIENT_GUARD_LOCAL);
    redis->interval = policy->interval ? policy->interval
                                       : NGX_HTTP_PATIENT_GUARD_INTERVAL;
    redis->script.shm = policy->shm;

    redis->script.finder.peer.timeout = policy->redis_timeout;
    redis->script.finder.peer.totals = policy->shm->totals;
    redis->script.finder.peer.outage =
                               ngx_patient_guard_outage_name(redis->outage);

    ngx_patient_guard_script_conf_init(&redis->script);

    size = 0;

    for (i = 0; i < policy->nlimits; i++) {
        if (ngx_patient_guard_keeps_set(&policy->limits[i])) {
            size += (uint64_t) policy->limits[i].count
                    * sizeof(ngx_patient_guard_patient_t);
        }
    }

    if (size > NGX_HTTP_PATIENT_GUARD_REDIS_SIZE) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the limits on patients of policy \"%V\" let one "
                           "account take %uL KB in Redis, and its lookups "
                           "take longer: %d KB are plenty",
                           &policy->name, size / 1024,
                           NGX_HTTP_PATIENT_GUARD_REDIS_SIZE / 1024);
    }

    return NGX_CONF_OK;
}
