
#include "ngx_http_patient_guard_backend.h"


#define NGX_HTTP_PATIENT_GUARD_FILE_MAX    4096    /* of a secret */
#define NGX_HTTP_PATIENT_GUARD_REDIS_PORT  6379
#define NGX_HTTP_PATIENT_GUARD_REDIS_SIZE  65536   /* bytes of one account */

#define NGX_HTTP_PATIENT_GUARD_INTERVAL      50    /* ms */
#define NGX_HTTP_PATIENT_GUARD_INTERVAL_MAX  10000


static char *ngx_http_patient_guard_read_lines(ngx_conf_t *cf,
    const char *directive, ngx_str_t *file, ngx_str_t *lines, ngx_uint_t n);
static char *ngx_http_patient_guard_once(ngx_conf_t *cf);
static char *ngx_http_patient_guard_redis_parameter(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value,
    ngx_str_t *prefix);
static char *ngx_http_patient_guard_redis_address(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value);
static ngx_int_t ngx_http_patient_guard_redis_conf(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy);


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


/* the first n lines of a file that holds a secret, empty where it has none */

static char *
ngx_http_patient_guard_read_lines(ngx_conf_t *cf, const char *directive,
    ngx_str_t *file, ngx_str_t *lines, ngx_uint_t n)
{
    char            *rv;
    u_char          *p, *last, *eol, *buf;
    ssize_t          size;
    ngx_fd_t         fd;
    ngx_uint_t       i;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\" file \"%V\" can't be opened", directive,
                           file);
        return NGX_CONF_ERROR;
    }

    rv = NGX_CONF_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", file);
        goto done;
    }

    if (!ngx_is_file(&fi) || ngx_file_size(&fi) == 0
        || ngx_file_size(&fi) > NGX_HTTP_PATIENT_GUARD_FILE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" file \"%V\" is empty or no file of %d "
                           "bytes at most", directive, file,
                           NGX_HTTP_PATIENT_GUARD_FILE_MAX);
        goto done;
    }

    if (ngx_file_access(&fi) & S_IROTH) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" file \"%V\" is readable by others, "
                           "expected a mode such as 0640", directive, file);
        goto done;
    }

    buf = ngx_pnalloc(cf->pool, ngx_file_size(&fi));
    if (buf == NULL) {
        goto done;
    }

    size = ngx_read_fd(fd, buf, ngx_file_size(&fi));

    if (size == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", file);
        goto done;
    }

    p = buf;
    last = buf + size;

    for (i = 0; i < n; i++) {
        eol = ngx_strlchr(p, last, LF);
        if (eol == NULL) {
            eol = last;
        }

        lines[i].data = p;
        lines[i].len = eol - p;

        if (lines[i].len && p[lines[i].len - 1] == CR) {
            lines[i].len--;
        }

        p = eol < last ? eol + 1 : last;
    }

    rv = NGX_CONF_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", file);
    }

    return rv;
}


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

    u_char      *p;
    char        *rv;
    ngx_str_t   *value, prefix;
    ngx_uint_t   i;

    if (ngx_http_patient_guard_redis_conf(cf, policy) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (policy->redis->script.peer.link.naddrs) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_patient_guard_once(cf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_null(&prefix);

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_patient_guard_redis_parameter(cf, policy, &value[i],
                                                    &prefix);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (policy->redis->script.peer.link.naddrs == 0) {
        return ngx_http_patient_guard_invalid(cf, "redis", &value[1],
                           "an address such as \"unix:/run/redis.sock\" or "
                           "\"127.0.0.1:6379\" first");
    }

    if (prefix.len == 0) {
        ngx_str_set(&prefix, "pg");
    }

    p = ngx_pnalloc(cf->pool, prefix.len + policy->name.len + 2);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->redis->script.keys.data = p;
    policy->redis->script.keys.len = ngx_sprintf(p, "%V:%V:", &prefix,
                                                 &policy->name) - p;

    return NGX_CONF_OK;
}


/* no parameter, name=value, may be given twice */

static char *
ngx_http_patient_guard_once(ngx_conf_t *cf)
{
    u_char      *equals;
    size_t       len;
    ngx_str_t   *value;
    ngx_uint_t   i, n;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        equals = ngx_strlchr(value[i].data, value[i].data + value[i].len,
                             '=');
        if (equals == NULL) {
            continue;
        }

        len = equals + 1 - value[i].data;

        for (n = 1; n < i; n++) {

            if (value[n].len >= len
                && ngx_strncmp(value[n].data, value[i].data, len) == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "parameter \"%V\" of \"%V\" is given "
                                   "twice", &value[i], &value[0]);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_redis_parameter(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value,
    ngx_str_t *prefix)
{
    size_t     i;
    ngx_int_t  db;
    ngx_str_t  parameter;

    if (value->len > 3 && ngx_strncmp(value->data, "db=", 3) == 0) {

        parameter.data = value->data + 3;
        parameter.len = value->len - 3;

        db = ngx_atoi(parameter.data, parameter.len);

        if (db == NGX_ERROR || db > NGX_MAX_INT32_VALUE) {
            return ngx_http_patient_guard_invalid(cf, "db", &parameter,
                                           "the number of a Redis database");
        }

        policy->redis->db = db;

        return NGX_CONF_OK;
    }

    if (value->len > 7 && ngx_strncmp(value->data, "prefix=", 7) == 0) {

        prefix->data = value->data + 7;
        prefix->len = value->len - 7;

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

    if (ngx_strcmp(value->data, "mode=standalone") == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "unix:", 5) != 0
        && ngx_strlchr(value->data, value->data + value->len, '='))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of \"redis\", expected "
                           "\"mode=standalone\", \"db=\" or \"prefix=\"",
                           value);
        return NGX_CONF_ERROR;
    }

    if (policy->redis->script.peer.link.naddrs) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "second address \"%V\" of \"redis\", one server "
                           "can be given", value);
        return NGX_CONF_ERROR;
    }

    return ngx_http_patient_guard_redis_address(cf, policy, value);
}


static char *
ngx_http_patient_guard_redis_address(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *value)
{
    ngx_url_t  url;

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

    if (url.family != AF_UNIX) {
        policy->redis->host = url.host;
    }

    policy->redis->script.peer.name = *value;
    policy->redis->script.peer.link.addrs = url.addrs;
    policy->redis->script.peer.link.naddrs = url.naddrs;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_redis_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    char        *rv;
    ngx_str_t   *value, file;
    ngx_uint_t   i;

    if (policy->redis_auth) {
        return "is duplicate";
    }

    if (ngx_http_patient_guard_redis_conf(cf, policy) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    policy->redis_auth = 1;

    value = cf->args->elts;

    if (ngx_http_patient_guard_once(cf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_null(&file);

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len > 5 && ngx_strncmp(value[i].data, "user=", 5) == 0) {
            policy->redis->user.data = value[i].data + 5;
            policy->redis->user.len = value[i].len - 5;
            continue;
        }

        if (value[i].len > 14
            && ngx_strncmp(value[i].data, "password_file=", 14) == 0)
        {
            file.data = value[i].data + 14;
            file.len = value[i].len - 14;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of \"redis_auth\", "
                           "expected \"user=\" or \"password_file=\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    if (file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"password_file=\" in \"redis_auth\"");
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_patient_guard_read_lines(cf, "redis_auth", &file,
                                           &policy->redis->password, 1);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (policy->redis->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the first line of \"redis_auth\" file \"%V\" is "
                           "empty, expected the password", &file);
        return NGX_CONF_ERROR;
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
ngx_http_patient_guard_backend_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    uint64_t                         size;
    ngx_uint_t                       i;
    ngx_patient_guard_redis_conf_t  *redis;

    redis = policy->redis;

    if (redis == NULL || redis->script.peer.link.naddrs == 0) {

        if (policy->redis_auth
            || policy->tls
            || policy->redis_timeout != NGX_CONF_UNSET_MSEC
            || policy->outage != NGX_CONF_UNSET_UINT
            || policy->consistency != NGX_CONF_UNSET_UINT)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_auth\", \"redis_tls\", "
                               "\"redis_timeout\", \"consistency\" and "
                               "\"on_outage\" want \"redis\" in policy "
                               "\"%V\"",
                               &policy->name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
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

    redis->script.peer.timeout = policy->redis_timeout;
    redis->outage = policy->outage;
    redis->local = (policy->consistency == NGX_HTTP_PATIENT_GUARD_LOCAL);
    redis->interval = policy->interval ? policy->interval
                                       : NGX_HTTP_PATIENT_GUARD_INTERVAL;
    redis->script.shm = policy->shm;

    redis->script.peer.outage = ngx_patient_guard_outage_name(redis->outage);

    ngx_patient_guard_script_conf_init(&redis->script);

    if (ngx_patient_guard_greeting_init(&redis->script.peer.link.greeting,
                                        &redis->user, &redis->password,
                                        redis->db, cf->pool)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    size = 0;

    for (i = 0; i < policy->nlimits; i++) {
        if (policy->limits[i].signal == NGX_PATIENT_GUARD_PATIENTS_SEEN) {
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
