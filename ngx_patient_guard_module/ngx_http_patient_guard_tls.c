
#include "ngx_http_patient_guard_tls.h"
#include "ngx_http_patient_guard_argument.h"


/* certificates between the server's and one that is trusted, and that one */
#define NGX_HTTP_PATIENT_GUARD_TLS_DEPTH  9


static char *ngx_http_patient_guard_tls_name(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_tls_conf_t *conf);

#if (NGX_SSL)
static char *ngx_http_patient_guard_tls_load(ngx_conf_t *cf,
    ngx_http_patient_guard_tls_t *tls, ngx_patient_guard_tls_conf_t *conf);
#endif


char *
ngx_http_patient_guard_redis_tls(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_patient_guard_tls_t  *tls;

    if (policy->tls) {
        return "is duplicate";
    }

    tls = ngx_pcalloc(cf->pool, sizeof(ngx_http_patient_guard_tls_t));
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->tls = tls;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        tls->on = 1;

    } else if (ngx_strcmp(value[1].data, "off") != 0) {
        return ngx_http_patient_guard_invalid(cf, "redis_tls", &value[1],
                                              "\"on\" or \"off\" first");
    }

    if (ngx_http_patient_guard_once(cf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (!(ngx_http_patient_guard_given(&value[i], "ca=", &tls->ca)
              || ngx_http_patient_guard_given(&value[i], "certificate=",
                                              &tls->certificate)
              || ngx_http_patient_guard_given(&value[i], "key=", &tls->key)
              || ngx_http_patient_guard_given(&value[i], "name=", &tls->name)
              || ngx_http_patient_guard_given(&value[i], "verify=",
                                              &tls->verify)))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of \"redis_tls\", "
                               "expected \"ca=file\", \"certificate=file\", "
                               "\"key=file\", \"name=host\" or "
                               "\"verify=on|off\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (tls->verify.len == 0 || ngx_strcmp(tls->verify.data, "on") == 0) {
        tls->verified = 1;

    } else if (ngx_strcmp(tls->verify.data, "off") != 0) {
        return ngx_http_patient_guard_invalid(cf, "verify", &tls->verify,
                                              "\"on\" or \"off\"");

    } else if (tls->ca.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"ca=\" and \"verify=off\" of \"redis_tls\" "
                           "contradict each other");
        return NGX_CONF_ERROR;
    }

    if ((tls->certificate.len == 0) != (tls->key.len == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"certificate=\" and \"key=\" of \"redis_tls\" "
                           "want each other");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_tls_init(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy)
{
    char                          *rv;
    ngx_patient_guard_tls_conf_t  *conf;

    if (policy->tls == NULL || !policy->tls->on) {
        return NGX_CONF_OK;
    }

    conf = &policy->redis->script.finder.peer.link.tls;

    rv = ngx_http_patient_guard_tls_name(cf, policy, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

#if (NGX_SSL)

    return ngx_http_patient_guard_tls_load(cf, policy->tls, conf);

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"redis_tls\" of policy \"%V\" wants an nginx that is "
                       "built with OpenSSL", &policy->name);
    return NGX_CONF_ERROR;

#endif
}


/* the server's: what is said, or else what each is reached by */

static char *
ngx_http_patient_guard_tls_name(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_tls_conf_t *conf)
{
    ngx_uint_t                   i;
    ngx_array_t                 *array;
    ngx_patient_guard_target_t  *targets;

    conf->verify = policy->tls->verified;

    if (policy->tls->name.len) {
        return ngx_patient_guard_tls_named(conf, &policy->tls->name, cf->pool)
               == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    array = policy->redis->script.finder.targets;
    targets = array->elts;

    for (i = 0; i < array->nelts; i++) {

        if (targets[i].host.len == 0 && conf->verify) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"name=\" is required in \"redis_tls\" of "
                               "policy \"%V\": the socket \"%V\" has none "
                               "that its certificate could be for",
                               &policy->name, &targets[i].name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


#if (NGX_SSL)

/* what is wrong with a file, nginx itself has said by then */

static char *
ngx_http_patient_guard_tls_load(ngx_conf_t *cf,
    ngx_http_patient_guard_tls_t *tls, ngx_patient_guard_tls_conf_t *conf)
{
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NGX_CONF_ERROR;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(ssl);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    if (tls->certificate.len
        && ngx_ssl_certificate(cf, ssl, &tls->certificate, &tls->key, NULL)
           != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "certificate \"%V\" and key \"%V\" of "
                           "\"redis_tls\" can't be used",
                           &tls->certificate, &tls->key);
        return NGX_CONF_ERROR;
    }

    if (tls->ca.len) {

        if (ngx_ssl_trusted_certificate(cf, ssl, &tls->ca,
                                        NGX_HTTP_PATIENT_GUARD_TLS_DEPTH)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "ca \"%V\" of \"redis_tls\" can't be used",
                               &tls->ca);
            return NGX_CONF_ERROR;
        }

    } else if (tls->verified
               && SSL_CTX_set_default_verify_paths(ssl->ctx) != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "the system's certificates can't be used");
        return NGX_CONF_ERROR;
    }

    if (ngx_ssl_client_session_cache(cf, ssl, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    conf->ssl = ssl;

    return NGX_CONF_OK;
}

#endif
