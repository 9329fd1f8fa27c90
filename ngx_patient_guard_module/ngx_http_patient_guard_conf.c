
#include "ngx_http_patient_guard_conf.h"


static ngx_int_t ngx_http_patient_guard_merge_handler(ngx_conf_t *cf,
    ngx_http_patient_guard_loc_conf_t *prev,
    ngx_http_patient_guard_loc_conf_t *conf);
static ngx_int_t ngx_http_patient_guard_pass_policy(ngx_conf_t *cf,
    ngx_http_patient_guard_use_t *pass);


ngx_conf_enum_t  ngx_http_patient_guard_unmatched_values[] = {
    { ngx_string("uri"), NGX_HTTP_PATIENT_GUARD_UNMATCHED_URI },
    { ngx_string("ignore"), NGX_HTTP_PATIENT_GUARD_UNMATCHED_IGNORE },
    { ngx_string("deny"), NGX_HTTP_PATIENT_GUARD_UNMATCHED_DENY },
    { ngx_null_string, 0 }
};


ngx_conf_enum_t  ngx_http_patient_guard_log_levels[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


void *
ngx_http_patient_guard_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_patient_guard_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_patient_guard_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->policies, cf->pool, 2,
                       sizeof(ngx_http_patient_guard_policy_t *))
        != NGX_OK
        || ngx_array_init(&mcf->apis, cf->pool, 1,
                          sizeof(ngx_http_patient_guard_api_t))
           != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


void *
ngx_http_patient_guard_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_patient_guard_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     lcf->name = { 0, NULL };
     *     lcf->file = { 0, NULL };
     *     lcf->line = 0;
     *     lcf->policy = NULL;
     *     lcf->nir = 0;
     *     lcf->handler = NULL;
     *     lcf->pass = { { 0, NULL }, { 0, NULL }, 0, NULL };
     *     lcf->api = 0;
     */

    lcf->dry_run = NGX_CONF_UNSET;
    lcf->patients = NGX_CONF_UNSET_PTR;
    lcf->unmatched = NGX_CONF_UNSET_UINT;
    lcf->methods = NGX_CONF_UNSET_PTR;
    lcf->log_level = NGX_CONF_UNSET_UINT;
    lcf->request = NGX_CONF_UNSET_PTR;
    lcf->response = NGX_CONF_UNSET_PTR;
    lcf->records = NGX_CONF_UNSET_PTR;
    lcf->gate = NGX_CONF_UNSET_PTR;
    lcf->headers = NGX_CONF_UNSET;

    return lcf;
}


char *
ngx_http_patient_guard_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_patient_guard_loc_conf_t *prev = parent;
    ngx_http_patient_guard_loc_conf_t *conf = child;

    ngx_uint_t                            gated;
    ngx_http_patient_guard_main_conf_t   *mcf;

    if (conf->name.data == NULL) {
        conf->name = prev->name;
        conf->file = prev->file;
        conf->line = prev->line;
    }

    /* its kind goes with it */

    if (conf->patients == NGX_CONF_UNSET_PTR) {
        conf->nir = prev->nir;
    }

    gated = (conf->gate != NGX_CONF_UNSET_PTR && conf->gate != NULL);

    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_ptr_value(conf->patients, prev->patients, NULL);
    ngx_conf_merge_uint_value(conf->unmatched, prev->unmatched,
                              NGX_HTTP_PATIENT_GUARD_UNMATCHED_URI);
    ngx_conf_merge_ptr_value(conf->methods, prev->methods, NULL);
    ngx_conf_merge_uint_value(conf->log_level, prev->log_level, NGX_LOG_WARN);
    ngx_conf_merge_ptr_value(conf->request, prev->request, NULL);
    ngx_conf_merge_ptr_value(conf->response, prev->response, NULL);
    ngx_conf_merge_ptr_value(conf->records, prev->records, NULL);
    ngx_conf_merge_ptr_value(conf->gate, prev->gate, NULL);
    ngx_conf_merge_value(conf->headers, prev->headers, 0);

    if (ngx_http_patient_guard_merge_handler(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->pass.name.data
        && ngx_http_patient_guard_pass_policy(cf, &conf->pass) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->name.data == NULL || ngx_strcmp(conf->name.data, "off") == 0) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);
    conf->policy = ngx_http_patient_guard_find_policy(mcf, &conf->name);

    if (conf->policy == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown policy \"%V\" in \"patient_guard\", expected "
                      "the name of a \"patient_guard_policy\" or \"off\" in "
                      "%V:%ui",
                      &conf->name, &conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    mcf->headers |= conf->headers;

    if (gated && conf->response == NULL && conf->records == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"patient_guard_response_gate on\" beside "
                      "\"patient_guard %V\" in %V:%ui holds nothing, for no "
                      "response is counted there: add "
                      "\"patient_guard_response_match\" or "
                      "\"patient_guard_records\"",
                      &conf->name, &conf->file, conf->line);
    }

    return NGX_CONF_OK;
}


/*
 * What answers in a location does so in its "if" and "limit_except" as well,
 * as proxy_pass does.
 */

static ngx_int_t
ngx_http_patient_guard_merge_handler(ngx_conf_t *cf,
    ngx_http_patient_guard_loc_conf_t *prev,
    ngx_http_patient_guard_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->handler == NULL) {
        conf->handler = prev->handler;
        conf->pass = prev->pass;
        conf->api = prev->api;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = conf->handler;
        }

    } else if (conf->handler && clcf->handler != conf->handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"patient_guard_pass\" or \"patient_guard_api\" in "
                      "location \"%V\" stands beside another directive that "
                      "answers, such as \"proxy_pass\"", &clcf->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_http_patient_guard_policy_t *
ngx_http_patient_guard_find_policy(ngx_http_patient_guard_main_conf_t *mcf,
    ngx_str_t *name)
{
    ngx_uint_t                         i;
    ngx_http_patient_guard_policy_t  **policies;

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {

        if (policies[i]->name.len == name->len
            && ngx_strncmp(policies[i]->name.data, name->data, name->len) == 0)
        {
            return policies[i];
        }
    }

    return NULL;
}


/* all blocks are read by now: a policy may stand behind its use */

static ngx_int_t
ngx_http_patient_guard_pass_policy(ngx_conf_t *cf,
    ngx_http_patient_guard_use_t *pass)
{
    pass->policy = ngx_http_patient_guard_find_policy(
                       ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_patient_guard_module),
                       &pass->name);

    if (pass->policy == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown policy \"%V\" in \"patient_guard_pass\", "
                      "expected the name of a \"patient_guard_policy\" in "
                      "%V:%ui", &pass->name, &pass->file, pass->line);
        return NGX_ERROR;
    }

    if (pass->policy->proof_session) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"patient_guard_pass %V\" would pass for all sessions "
                      "of the account, and \"proof ... session\" of that "
                      "policy wants each to prove itself: use one of them in "
                      "%V:%ui", &pass->name, &pass->file, pass->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


char *
ngx_http_patient_guard_choice(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char           buf[128], *p;
    ngx_str_t       *value;
    ngx_uint_t      *field, i;
    ngx_conf_enum_t *choice;

    field = (ngx_uint_t *) ((char *) conf + cmd->offset);
    choice = cmd->post;

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    p = buf;

    for (i = 0; choice[i].name.len; i++) {

        if (choice[i].name.len == value[1].len
            && ngx_strcmp(choice[i].name.data, value[1].data) == 0)
        {
            *field = choice[i].value;
            return NGX_CONF_OK;
        }

        p = ngx_slprintf(p, buf + sizeof(buf) - 1, "%s\"%V\"",
                         i == 0 ? "" : " or ", &choice[i].name);
    }

    *p = '\0';

    return ngx_http_patient_guard_invalid(cf, cmd->name.data, &value[1],
                                          (char *) buf);
}


char *
ngx_http_patient_guard_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t  *value;

    if (lcf->name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->name = value[1];
    lcf->file = cf->conf_file->file.name;
    lcf->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_patient(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t                         *value;
    ngx_uint_t                         i, varies;
    ngx_http_complex_value_t          *cv;
    ngx_http_compile_complex_value_t   ccv;

    if (lcf->patients != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    varies = 0;

    lcf->patients = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_http_complex_value_t));
    if (lcf->patients == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "kind=", 5) == 0) {

            if (lcf->nir || ngx_strcmp(value[i].data, "kind=nir") != 0) {
                return ngx_http_patient_guard_invalid(cf,
                                          "patient_guard_patient", &value[i],
                                          "values that name patients, and "
                                          "\"kind=nir\" once");
            }

            lcf->nir = 1;
            continue;
        }

        varies |= value[i].len == 0
                  || ngx_http_patient_guard_varies(&value[i]);

        cv = ngx_array_push(lcf->patients);
        if (cv == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = cv;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (lcf->patients->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no value in \"patient_guard_patient\", expected "
                           "one such as \"$patient_id\"");
        return NGX_CONF_ERROR;
    }

    if (!varies) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"patient_guard_patient %V\" has no variable: "
                           "all requests here name the same patient",
                           &value[1]);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_methods(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    size_t       n;
    ngx_str_t   *value, *method;
    ngx_uint_t   i;

    if (lcf->methods != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->methods = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_str_t));
    if (lcf->methods == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        /* what nginx takes for the name of a method; it has a terminator */

        for (n = 0; n < value[i].len || n == 0; n++) {
            if ((value[i].data[n] < 'A' || value[i].data[n] > 'Z')
                && value[i].data[n] != '_' && value[i].data[n] != '-')
            {
                return ngx_http_patient_guard_invalid(cf,
                                "patient_guard_methods", &value[i],
                                "methods in capital letters such as \"GET\"");
            }
        }

        method = ngx_array_push(lcf->methods);
        if (method == NULL) {
            return NGX_CONF_ERROR;
        }

        *method = value[i];
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_patient_guard_is_lookup(ngx_http_request_t *r,
    ngx_http_patient_guard_loc_conf_t *lcf)
{
    ngx_str_t   *method;
    ngx_uint_t   i;

    if (lcf->methods == NULL) {
        return !(r->method & (NGX_HTTP_OPTIONS|NGX_HTTP_TRACE));
    }

    method = lcf->methods->elts;

    for (i = 0; i < lcf->methods->nelts; i++) {

        if (method[i].len == r->method_name.len
            && ngx_strncmp(method[i].data, r->method_name.data,
                           method[i].len)
               == 0)
        {
            return 1;
        }

        /* HEAD tells as much of a record's existence, as in limit_except */

        if (r->method == NGX_HTTP_HEAD
            && ngx_strcmp(method[i].data, "GET") == 0)
        {
            return 1;
        }
    }

    return 0;
}
