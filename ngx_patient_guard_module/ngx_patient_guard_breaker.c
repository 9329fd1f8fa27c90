
#include "ngx_patient_guard_breaker.h"

#include <ngx_event.h>


/* ms; a server that is back is noticed within a second */
#define NGX_PATIENT_GUARD_BREAKER_MIN      50
#define NGX_PATIENT_GUARD_BREAKER_MAX      500
#define NGX_PATIENT_GUARD_BREAKER_REFUSED  1000


ngx_msec_t
ngx_patient_guard_breaker_failed(ngx_patient_guard_breaker_t *breaker,
    ngx_err_t err, const char *reason)
{
    ngx_msec_t  delay;
    ngx_uint_t  level;

    if ((!breaker->away || (breaker->refused && !breaker->told))
        && !ngx_exiting)
    {
        breaker->away = 1;
        breaker->told = breaker->refused;
        level = breaker->refused ? NGX_LOG_CRIT : NGX_LOG_ERR;

        ngx_log_error(level, breaker->log, err,
                      "patient guard: redis \"%V\" is away: %s; "
                      "on_outage %s holds until it is back",
                      breaker->name, reason, breaker->outage);
    }

    if (breaker->refused) {
        breaker->refused = 0;
        breaker->delay = NGX_PATIENT_GUARD_BREAKER_MAX;

        return NGX_PATIENT_GUARD_BREAKER_REFUSED
               + ngx_random() % (NGX_PATIENT_GUARD_BREAKER_REFUSED / 2);
    }

    breaker->delay = ngx_max(breaker->delay, NGX_PATIENT_GUARD_BREAKER_MIN);

    delay = breaker->delay / 2 + ngx_random() % (breaker->delay / 2);

    breaker->delay = ngx_min(breaker->delay * 2,
                             NGX_PATIENT_GUARD_BREAKER_MAX);

    return delay;
}


ngx_msec_t
ngx_patient_guard_breaker_error(ngx_patient_guard_breaker_t *breaker,
    const char *reason)
{
    if (!breaker->away
        && ++breaker->errors < NGX_PATIENT_GUARD_BREAKER_ERRORS)
    {
        return 0;
    }

    return ngx_patient_guard_breaker_failed(breaker, 0, reason);
}


void
ngx_patient_guard_breaker_answered(ngx_patient_guard_breaker_t *breaker)
{
    breaker->delay = 0;
    breaker->errors = 0;

    if (breaker->away) {
        breaker->away = 0;
        breaker->told = 0;

        ngx_log_error(NGX_LOG_NOTICE, breaker->log, 0,
                      "patient guard: redis \"%V\" is back", breaker->name);
    }
}
