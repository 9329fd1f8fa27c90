
#include "ngx_http_patient_guard_match.h"
#include "ngx_http_patient_guard_argument.h"


#define NGX_HTTP_PATIENT_GUARD_GATE_BUFFER      (64 * 1024)
#define NGX_HTTP_PATIENT_GUARD_GATE_BUFFER_MIN  1024
#define NGX_HTTP_PATIENT_GUARD_GATE_FILE        (1024 * 1024 * 1024)


static ngx_uint_t ngx_http_patient_guard_is_off(ngx_str_t *value);
static char *ngx_http_patient_guard_gate_sizes(ngx_conf_t *cf,
    ngx_http_patient_guard_gate_t *gate);


char *
ngx_http_patient_guard_match(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                            *value, why, kind;
    ngx_http_patient_guard_match_t      **field, *match;
    ngx_http_patient_guard_main_conf_t   *mcf;

    field = (ngx_http_patient_guard_match_t **)
                ((char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_http_patient_guard_is_off(&value[1])) {
        *field = NULL;
        return NGX_CONF_OK;
    }

    match = ngx_pcalloc(cf->pool, sizeof(ngx_http_patient_guard_match_t));
    if (match == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 3) {

        if (!ngx_http_patient_guard_given(&value[2], "kind=", &kind)
            || ngx_strcmp(kind.data, "nir") != 0)
        {
            return ngx_http_patient_guard_invalid(cf, cmd->name.data,
                                                  &value[2], "\"kind=nir\"");
        }

        match->nir = 1;
    }

    match->pattern = ngx_patient_guard_pattern_compile(cf->pool, &value[1],
                                                       &why);
    if (match->pattern == NULL) {

        if (why.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "in \"%V\" %V", &cmd->name, &why);
        }

        return NGX_CONF_ERROR;
    }

    *field = match;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);

    if (cmd->offset == offsetof(ngx_http_patient_guard_loc_conf_t, request)) {
        mcf->requests = 1;

    } else {
        mcf->responses = 1;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_records(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t                           *value;
    ngx_http_compile_complex_value_t     ccv;
    ngx_http_patient_guard_main_conf_t  *mcf;

    if (lcf->records != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_patient_guard_is_off(&value[1])) {
        lcf->records = NULL;
        return NGX_CONF_OK;
    }

    if (!ngx_http_patient_guard_varies(&value[1])) {
        return ngx_http_patient_guard_invalid(cf, cmd->name.data, &value[1],
                              "a variable such as "
                              "\"$upstream_http_x_record_count\" or \"off\"");
    }

    lcf->records = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (lcf->records == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = lcf->records;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);
    mcf->responses = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_patient_guard_gate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_loc_conf_t  *lcf = conf;

    ngx_str_t                      *value;
    ngx_http_patient_guard_gate_t  *gate;

    if (lcf->gate != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_patient_guard_is_off(&value[1])) {
        lcf->gate = NULL;

        if (cf->args->nelts > 2) {
            return ngx_http_patient_guard_invalid(cf, cmd->name.data,
                                     &value[2], "nothing behind \"off\"");
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "on") != 0) {
        return ngx_http_patient_guard_invalid(cf, cmd->name.data, &value[1],
                                              "\"on\" or \"off\"");
    }

    gate = ngx_palloc(cf->pool, sizeof(ngx_http_patient_guard_gate_t));
    if (gate == NULL) {
        return NGX_CONF_ERROR;
    }

    gate->buffer = NGX_HTTP_PATIENT_GUARD_GATE_BUFFER;
    gate->file = NGX_HTTP_PATIENT_GUARD_GATE_FILE;

    lcf->gate = gate;

    return ngx_http_patient_guard_gate_sizes(cf, gate);
}


static char *
ngx_http_patient_guard_gate_sizes(ngx_conf_t *cf,
    ngx_http_patient_guard_gate_t *gate)
{
    off_t        file;
    ssize_t      buffer;
    ngx_str_t   *value, size;
    ngx_uint_t   i;

    if (ngx_http_patient_guard_once(cf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_patient_guard_given(&value[i], "buffer=", &size)) {

            buffer = ngx_parse_size(&size);

            if (buffer < NGX_HTTP_PATIENT_GUARD_GATE_BUFFER_MIN) {
                return ngx_http_patient_guard_invalid(cf,
                                     "patient_guard_response_gate", &value[i],
                                     "\"buffer=\" of 1k or more");
            }

            gate->buffer = buffer;

        } else if (ngx_http_patient_guard_given(&value[i], "file=", &size)) {

            file = ngx_parse_offset(&size);

            if (file < 0) {
                return ngx_http_patient_guard_invalid(cf,
                                     "patient_guard_response_gate", &value[i],
                                     "\"file=\" and a size such as \"1g\", "
                                     "or 0");
            }

            gate->file = file;

        } else {
            return ngx_http_patient_guard_invalid(cf,
                                     "patient_guard_response_gate", &value[i],
                                     "\"buffer=size\" or \"file=size\"");
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_patient_guard_is_off(ngx_str_t *value)
{
    return ngx_strcmp(value->data, "off") == 0;
}
