
#include "ngx_patient_guard_apart.h"
#include "ngx_patient_guard_fleet.h"


/* the smallest count that has much room, and which part of it that is */

#define NGX_PATIENT_GUARD_APART_WIDE  4000
#define NGX_PATIENT_GUARD_APART_ROOM  4


void
ngx_patient_guard_apart_keys(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t                  key;
    ngx_patient_guard_fleet_t  *fleet;

    lookup->apart = 0;

    for (key = 1; key < NGX_PATIENT_GUARD_KEYS; key++) {

        fleet = members[key]
                ? ngx_patient_guard_fleet_find(shm->node, members[key])
                : NULL;

        if (fleet
            && !ngx_patient_guard_fleet_older(fleet->heard, lookup,
                                              NGX_PATIENT_GUARD_FLEET_HOLDS)
            && ngx_patient_guard_apart_wide(lookup, tally, key))
        {
            lookup->apart |= (uint32_t) 1 << key;
        }
    }
}


ngx_uint_t
ngx_patient_guard_apart_wide(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t key)
{
    ngx_uint_t                  i;
    ngx_patient_guard_room_t   *room;
    ngx_patient_guard_limit_t  *limit;

    for (i = 0; i < lookup->nlimits; i++) {

        limit = &lookup->limits[i];
        room = &tally->rooms[i];

        if (limit->key == key
            && (ngx_patient_guard_keeps_set(limit)
                || room->wait
                || room->count < NGX_PATIENT_GUARD_APART_WIDE
                || room->total > room->count
                                 - room->count / NGX_PATIENT_GUARD_APART_ROOM))
        {
            return 0;
        }
    }

    return 1;
}
