
#include "ngx_patient_guard_events.h"


void
ngx_patient_guard_events_push(ngx_patient_guard_events_t *events,
    ngx_patient_guard_event_t *event)
{
    if (events->next - events->first == NGX_PATIENT_GUARD_EVENTS) {
        events->first++;
        events->dropped++;
    }

    events->ring[events->next % NGX_PATIENT_GUARD_EVENTS] = *event;
    events->next++;
}


ngx_uint_t
ngx_patient_guard_events_take(ngx_patient_guard_events_t *events,
    uint64_t now, ngx_patient_guard_event_t *batch, uint64_t *first)
{
    ngx_uint_t  n;

    if (events->first == events->next
        || (events->claimed
            && now - events->claimed < NGX_PATIENT_GUARD_EVENTS_CLAIM))
    {
        return 0;
    }

    events->claimed = now;
    *first = events->first;

    for (n = 0;
         n < NGX_PATIENT_GUARD_EVENTS_BATCH
         && events->first + n < events->next;
         n++)
    {
        batch[n] = events->ring[(events->first + n)
                                % NGX_PATIENT_GUARD_EVENTS];
    }

    return n;
}


void
ngx_patient_guard_events_done(ngx_patient_guard_events_t *events,
    uint64_t upto)
{
    events->claimed = 0;

    /* some may have made room meanwhile: they were told nevertheless */

    if (upto > events->first) {
        events->first = ngx_min(upto, events->next);
    }
}
