
#include "ngx_patient_guard_backoff.h"

#include <ngx_event.h>


#define NGX_PATIENT_GUARD_BACKOFF_MIN  50              /* ms */
#define NGX_PATIENT_GUARD_BACKOFF_MAX  1000


ngx_msec_t
ngx_patient_guard_backoff_failed(ngx_patient_guard_backoff_t *backoff,
    ngx_log_t *log, ngx_err_t err, ngx_str_t *name, const char *reason,
    const char *outage)
{
    ngx_msec_t  delay;
    ngx_uint_t  level;

    if (!backoff->away && !ngx_exiting) {
        backoff->away = 1;
        level = backoff->refused ? NGX_LOG_CRIT : NGX_LOG_ERR;

        ngx_log_error(level, log, err,
                      "patient guard: redis \"%V\" is away: %s; "
                      "on_outage %s holds until it is back",
                      name, reason, outage);
    }

    if (backoff->refused) {
        backoff->refused = 0;
        backoff->delay = NGX_PATIENT_GUARD_BACKOFF_MAX;

        return NGX_PATIENT_GUARD_BACKOFF_MAX
               + ngx_random() % (NGX_PATIENT_GUARD_BACKOFF_MAX / 2);
    }

    backoff->delay = ngx_max(backoff->delay, NGX_PATIENT_GUARD_BACKOFF_MIN);

    delay = backoff->delay / 2 + ngx_random() % (backoff->delay / 2);

    backoff->delay = ngx_min(backoff->delay * 2,
                             NGX_PATIENT_GUARD_BACKOFF_MAX);

    return delay;
}


void
ngx_patient_guard_backoff_over(ngx_patient_guard_backoff_t *backoff,
    ngx_log_t *log, ngx_str_t *name)
{
    backoff->delay = 0;

    if (backoff->away) {
        backoff->away = 0;

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "patient guard: redis \"%V\" is back", name);
    }
}
