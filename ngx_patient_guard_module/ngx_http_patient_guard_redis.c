
#include "ngx_http_patient_guard_redis.h"
#include "ngx_http_patient_guard_argument.h"


#define NGX_HTTP_PATIENT_GUARD_REDIS_PORT  6379

/* as nginx' own default */
#define NGX_HTTP_PATIENT_GUARD_RESOLVER_TIMEOUT  30000    /* ms */


static ngx_int_t ngx_http_patient_guard_redis_conf(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);
static char *ngx_http_patient_guard_redis_parameter(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value,
    ngx_str_t *prefix);
static char *ngx_http_patient_guard_redis_mode(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *mode);
static char *ngx_http_patient_guard_redis_prefix(ngx_conf_t *cf,
    ngx_str_t *prefix);
static char *ngx_http_patient_guard_redis_address(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value);
static char *ngx_http_patient_guard_redis_fits(ngx_conf_t *cf,
    ngx_patient_guard_redis_conf_t *redis);
static char *ngx_http_patient_guard_redis_password(ngx_conf_t *cf,
    ngx_str_t *file, ngx_str_t *password);


static ngx_conf_enum_t  ngx_http_patient_guard_redis_modes[] = {
    { ngx_string("standalone"), NGX_PATIENT_GUARD_STANDALONE },
    { ngx_string("sentinel"), NGX_PATIENT_GUARD_SENTINEL },
    { ngx_string("cluster"), NGX_PATIENT_GUARD_CLUSTER },
    { ngx_null_string, 0 }
};


static ngx_int_t
ngx_http_patient_guard_redis_conf(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    if (policy->redis) {
        return NGX_OK;
    }

    policy->redis = ngx_pcalloc(cf->pool,
                                sizeof(ngx_patient_guard_redis_conf_t));

    return policy->redis ? NGX_OK : NGX_ERROR;
}


char *
ngx_http_patient_guard_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    u_char                           *p;
    char                             *rv;
    ngx_str_t                        *value, prefix;
    ngx_uint_t                        i;
    ngx_patient_guard_finder_conf_t  *finder;

    if (ngx_http_patient_guard_redis_conf(cf, policy) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    finder = &policy->redis->script.finder;

    if (finder->targets) {
        return "is duplicate";
    }

    finder->targets = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_patient_guard_target_t));
    if (finder->targets == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (ngx_http_patient_guard_once(cf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&prefix, "pg");

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_patient_guard_redis_parameter(cf, policy, &value[i],
                                                    &prefix);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (finder->targets->nelts == 0) {
        return ngx_http_patient_guard_invalid(cf, "redis", &value[1],
                           "an address such as \"unix:/run/redis.sock\" or "
                           "\"127.0.0.1:6379\" first");
    }

    p = ngx_pnalloc(cf->pool, prefix.len + policy->name.len + 2);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->redis->script.keys.data = p;
    policy->redis->script.keys.len = ngx_sprintf(p, "%V:%V:", &prefix,
                                                 &policy->name) - p;

    return ngx_http_patient_guard_redis_fits(cf, policy->redis);
}


static char *
ngx_http_patient_guard_redis_parameter(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value,
    ngx_str_t *prefix)
{
    ngx_int_t  db;
    ngx_str_t  parameter;

    if (ngx_strncmp(value->data, "unix:", 5) == 0
        || ngx_strlchr(value->data, value->data + value->len, '=') == NULL)
    {
        return ngx_http_patient_guard_redis_address(cf, policy, value);
    }

    if (ngx_http_patient_guard_given(value, "db=", &parameter)) {

        db = ngx_atoi(parameter.data, parameter.len);

        if (db == NGX_ERROR || db > NGX_MAX_INT32_VALUE) {
            return ngx_http_patient_guard_invalid(cf, "db", &parameter,
                                           "the number of a Redis database");
        }

        policy->redis->db = db;

        return NGX_CONF_OK;
    }

    if (ngx_http_patient_guard_given(value, "prefix=", prefix)) {
        return ngx_http_patient_guard_redis_prefix(cf, prefix);
    }

    if (ngx_http_patient_guard_given(value, "mode=", &parameter)) {
        return ngx_http_patient_guard_redis_mode(cf, policy, &parameter);
    }

    if (ngx_http_patient_guard_given(value, "master=",
                                     &policy->redis->script.finder.master))
    {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\" of \"redis\", expected "
                       "\"mode=standalone|sentinel|cluster\", \"master=\", "
                       "\"db=\" or \"prefix=\"", value);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_patient_guard_redis_mode(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *mode)
{
    ngx_conf_enum_t  *e;

    for (e = ngx_http_patient_guard_redis_modes; e->name.len; e++) {

        if (e->name.len == mode->len
            && ngx_strncmp(e->name.data, mode->data, mode->len) == 0)
        {
            policy->redis->script.finder.mode = e->value;
            return NGX_CONF_OK;
        }
    }

    return ngx_http_patient_guard_invalid(cf, "mode", mode,
                              "\"standalone\", \"sentinel\" or \"cluster\"");
}


static char *
ngx_http_patient_guard_redis_prefix(ngx_conf_t *cf, ngx_str_t *prefix)
{
    size_t  i;

    for (i = 0; i < prefix->len; i++) {
        if (prefix->len > 64
            || prefix->data[i] <= 0x20 || prefix->data[i] >= 0x7f
            || ngx_strchr("{}$", prefix->data[i]))
        {
            return ngx_http_patient_guard_invalid(cf, "prefix", prefix,
                             "at most 64 printable characters but { } $");
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_redis_address(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value)
{
    ngx_url_t                    url;
    ngx_patient_guard_target_t  *target;

    ngx_memzero(&url, sizeof(ngx_url_t));

    url.url = *value;
    url.default_port = NGX_HTTP_PATIENT_GUARD_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &url) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"redis %V\", expected \"host:port\", "
                           "\"[v6]:port\" or \"unix:/path\"",
                           url.err ? url.err : "invalid address", value);
        return NGX_CONF_ERROR;
    }

    target = ngx_array_push(policy->redis->script.finder.targets);
    if (target == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(target, sizeof(ngx_patient_guard_target_t));

    target->name = *value;
    target->addrs = url.addrs;
    target->naddrs = url.naddrs;

    if (url.family != AF_UNIX) {
        target->host = url.host;
        target->port = url.port;
    }

    return NGX_CONF_OK;
}


/* do addresses, mode and the rest go together? */

static char *
ngx_http_patient_guard_redis_fits(ngx_conf_t *cf,
    ngx_patient_guard_redis_conf_t *redis)
{
    ngx_patient_guard_target_t       *targets;
    ngx_patient_guard_finder_conf_t  *finder;

    finder = &redis->script.finder;
    targets = finder->targets->elts;

    if (finder->mode == NGX_PATIENT_GUARD_STANDALONE
        && finder->targets->nelts > 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "second address \"%V\" of \"redis\", one server "
                           "can be given without \"mode=sentinel\" or "
                           "\"mode=cluster\"", &targets[1].name);
        return NGX_CONF_ERROR;
    }

    if (finder->mode == NGX_PATIENT_GUARD_SENTINEL && finder->master.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"master=\" in \"redis\" with "
                           "\"mode=sentinel\", expected the name by which "
                           "the sentinels know it, such as "
                           "\"master=mymaster\"");
        return NGX_CONF_ERROR;
    }

    if (finder->mode != NGX_PATIENT_GUARD_SENTINEL && finder->master.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"master=%V\" of \"redis\" wants "
                           "\"mode=sentinel\"", &finder->master);
        return NGX_CONF_ERROR;
    }

    if (finder->mode == NGX_PATIENT_GUARD_CLUSTER && redis->db) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"db=%ui\" of \"redis\" with \"mode=cluster\", "
                           "a cluster has database 0 only", redis->db);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_redis_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_str_t                       *value, file, sentinel_file;
    ngx_uint_t                       i;
    ngx_patient_guard_redis_conf_t  *redis;

    if (policy->redis_auth) {
        return "is duplicate";
    }

    if (ngx_http_patient_guard_redis_conf(cf, policy) != NGX_OK
        || ngx_http_patient_guard_once(cf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    policy->redis_auth = 1;
    redis = policy->redis;

    value = cf->args->elts;

    ngx_str_null(&file);
    ngx_str_null(&sentinel_file);

    for (i = 1; i < cf->args->nelts; i++) {

        if (!(ngx_http_patient_guard_given(&value[i], "user=",
                                                 &redis->user)
              || ngx_http_patient_guard_given(&value[i],
                                           "password_file=", &file)
              || ngx_http_patient_guard_given(&value[i],
                                           "sentinel_user=",
                                           &redis->sentinel_user)
              || ngx_http_patient_guard_given(&value[i],
                                           "sentinel_password_file=",
                                           &sentinel_file)))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of \"redis_auth\", "
                               "expected \"user=\", \"password_file=\", "
                               "\"sentinel_user=\" or "
                               "\"sentinel_password_file=\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (file.len == 0 && (redis->user.len || sentinel_file.len == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"password_file=\" in \"redis_auth\"");
        return NGX_CONF_ERROR;
    }

    if (sentinel_file.len == 0 && redis->sentinel_user.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"sentinel_password_file=\" in "
                           "\"redis_auth\" with \"sentinel_user=\"");
        return NGX_CONF_ERROR;
    }

    if (file.len
        && ngx_http_patient_guard_redis_password(cf, &file, &redis->password)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (sentinel_file.len) {
        return ngx_http_patient_guard_redis_password(cf, &sentinel_file,
                                                 &redis->sentinel_password);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_redis_password(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *password)
{
    char  *rv;

    rv = ngx_http_patient_guard_read_lines(cf, "redis_auth", file, password,
                                           1);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (password->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the first line of \"redis_auth\" file \"%V\" is "
                           "empty, expected the password", file);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_redis_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_uint_t                        master;
    ngx_patient_guard_redis_conf_t   *redis;
    ngx_patient_guard_finder_conf_t  *finder;

    redis = policy->redis;
    finder = &redis->script.finder;

    if (redis->sentinel_password.len
        && finder->mode != NGX_PATIENT_GUARD_SENTINEL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sentinel_password_file=\" of \"redis_auth\" "
                           "wants \"mode=sentinel\" of \"redis\" in policy "
                           "\"%V\"", &policy->name);
        return NGX_CONF_ERROR;
    }

    /* the keys of one script are in one hash slot */

    if (policy->nkeys > 1 && finder->mode == NGX_PATIENT_GUARD_CLUSTER) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the second line of \"secret\" can't be used with "
                           "\"mode=cluster\" in policy \"%V\": what was "
                           "counted under the other key is in another hash "
                           "slot", &policy->name);
        return NGX_CONF_ERROR;
    }

    if (policy->npers && finder->mode == NGX_PATIENT_GUARD_CLUSTER) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"per=\" of \"limit\" can't be used with "
                           "\"mode=cluster\" in policy \"%V\": an account "
                           "and what else limits count by are counted in one "
                           "step, and lie in different hash slots",
                           &policy->name);
        return NGX_CONF_ERROR;
    }

    master = (finder->mode == NGX_PATIENT_GUARD_SENTINEL);

    if (master
        && ngx_patient_guard_greeting_init(&finder->greeting,
                                           &redis->sentinel_user,
                                           &redis->sentinel_password, 0, 0,
                                           cf->pool)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_patient_guard_greeting_init(&finder->peer.link.greeting,
                                        &redis->user, &redis->password,
                                        redis->db, master, cf->pool)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* without servers nginx does not complete what "http" has */

void
ngx_http_patient_guard_redis_resolver(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    ngx_http_core_loc_conf_t     *clcf;
    ngx_patient_guard_resolve_t  *resolve;

    if (policy->redis == NULL) {
        return;
    }

    resolve = &policy->redis->script.finder.resolve;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        resolve->resolver = clcf->resolver;
    }

    resolve->timeout = clcf->resolver_timeout;

    ngx_conf_init_msec_value(resolve->timeout,
                             NGX_HTTP_PATIENT_GUARD_RESOLVER_TIMEOUT);
}
