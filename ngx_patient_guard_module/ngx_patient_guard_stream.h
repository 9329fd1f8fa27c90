
/* Takes a policy's events to a stream of Redis, in batches. */


#ifndef _NGX_PATIENT_GUARD_STREAM_H_INCLUDED_
#define _NGX_PATIENT_GUARD_STREAM_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_script.h"


/* read-only once the configuration is loaded */

typedef struct {
    ngx_str_t                    key;
    ngx_uint_t                   most;         /* events; 0: all are kept */
    ngx_str_t                   *policy;       /* its name */
} ngx_patient_guard_stream_conf_t;


typedef struct ngx_patient_guard_stream_s  ngx_patient_guard_stream_t;


/* a worker's, whose script is that of "script"; NULL if memory is short */
ngx_patient_guard_stream_t *ngx_patient_guard_stream_create(
    ngx_patient_guard_stream_conf_t *conf,
    ngx_patient_guard_script_conf_t *script, ngx_cycle_t *cycle);
void ngx_patient_guard_stream_destroy(ngx_patient_guard_stream_t *stream);


#endif /* _NGX_PATIENT_GUARD_STREAM_H_INCLUDED_ */
