
#include "ngx_http_patient_guard.h"
#include "ngx_http_patient_guard_api.h"
#include "ngx_http_patient_guard_block.h"
#include "ngx_http_patient_guard_body.h"
#include "ngx_http_patient_guard_conf.h"
#include "ngx_http_patient_guard_headers.h"
#include "ngx_http_patient_guard_ledger.h"
#include "ngx_http_patient_guard_match.h"
#include "ngx_http_patient_guard_pass.h"
#include "ngx_http_patient_guard_phase.h"
#include "ngx_http_patient_guard_redis.h"
#include "ngx_http_patient_guard_response.h"
#include "ngx_http_patient_guard_variable.h"


static ngx_int_t ngx_http_patient_guard_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_patient_guard_init_process(ngx_cycle_t *cycle);
static void ngx_http_patient_guard_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_patient_guard_commands[] = {

    { ngx_string("patient_guard_policy"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_patient_guard_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_patient_guard_policy,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, dry_run),
      NULL },

    { ngx_string("patient_guard_patient"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_patient_guard_patient,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_unmatched"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_patient_guard_choice,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, unmatched),
      ngx_http_patient_guard_unmatched_values },

    { ngx_string("patient_guard_methods"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_patient_guard_methods,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_request_match"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_patient_guard_match,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, request),
      NULL },

    { ngx_string("patient_guard_response_match"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_patient_guard_match,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, response),
      NULL },

    { ngx_string("patient_guard_records"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_patient_guard_records,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_response_gate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_patient_guard_gate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, headers),
      NULL },

    { ngx_string("patient_guard_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_TAKE1,
      ngx_http_patient_guard_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_patient_guard_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("patient_guard_log_level"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_patient_guard_choice,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_patient_guard_loc_conf_t, log_level),
      ngx_http_patient_guard_log_levels },

      ngx_null_command
};


static ngx_http_module_t  ngx_patient_guard_module_ctx = {
    ngx_http_patient_guard_add_variables,      /* preconfiguration */
    ngx_http_patient_guard_init,               /* postconfiguration */

    ngx_http_patient_guard_create_main_conf,   /* create main configuration */
    NULL,                                      /* init main configuration */

    NULL,                                      /* create server conf */
    NULL,                                      /* merge server conf */

    ngx_http_patient_guard_create_loc_conf,    /* create location conf */
    ngx_http_patient_guard_merge_loc_conf      /* merge location conf */
};


ngx_module_t  ngx_patient_guard_module = {
    NGX_MODULE_V1,
    &ngx_patient_guard_module_ctx,             /* module context */
    ngx_http_patient_guard_commands,           /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    NULL,                                      /* init module */
    ngx_http_patient_guard_init_process,       /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    ngx_http_patient_guard_exit_process,       /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_patient_guard_init(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_handler_pt                  *h;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_patient_guard_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_patient_guard_ledger_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_patient_guard_module);
    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {
        ngx_http_patient_guard_redis_resolver(cf, policies[i]);

        if (ngx_http_patient_guard_counts(policies[i],
                                          NGX_PATIENT_GUARD_MISSES))
        {
            mcf->responses = 1;
        }
    }

    if (ngx_http_patient_guard_api_check(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (mcf->requests) {
        ngx_http_patient_guard_body_init();
    }

    if (mcf->headers) {
        ngx_http_patient_guard_headers_init();
    }

    /* before the headers: what is held back may be refused yet */

    if (mcf->responses) {
        ngx_http_patient_guard_response_init();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_patient_guard_module);
    if (mcf == NULL) {
        return NGX_OK;
    }

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {

        if (policies[i]->redis == NULL) {
            policies[i]->store = &policies[i]->shm->store;
            continue;
        }

        policies[i]->store = ngx_patient_guard_redis_create(
                                                policies[i]->redis, cycle);
        if (policies[i]->store == NULL) {
            return NGX_ERROR;
        }

        if (policies[i]->events.key.len) {
            policies[i]->stream = ngx_patient_guard_stream_create(
                                      &policies[i]->events,
                                      &policies[i]->redis->script, cycle);
            if (policies[i]->stream == NULL) {
                return NGX_ERROR;
            }
        }

        /* nodes that have no desk hear of none: they ask Redis nothing more */

        if (mcf->apis.nelts == 0) {
            continue;
        }

        policies[i]->desk = ngx_patient_guard_desk_create(
                                        &policies[i]->redis->script, cycle);
        if (policies[i]->desk == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_patient_guard_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i;
    ngx_http_patient_guard_policy_t     **policies;
    ngx_http_patient_guard_main_conf_t   *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_patient_guard_module);
    if (mcf == NULL) {
        return;
    }

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {

        if (policies[i]->stream) {
            ngx_patient_guard_stream_destroy(policies[i]->stream);
        }

        if (policies[i]->desk) {
            ngx_patient_guard_desk_destroy(policies[i]->desk);
        }

        if (policies[i]->redis && policies[i]->store) {
            ngx_patient_guard_redis_close(policies[i]->store);
        }
    }
}
