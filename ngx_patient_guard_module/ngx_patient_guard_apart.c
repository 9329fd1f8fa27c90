
#include "ngx_patient_guard_apart.h"
#include "ngx_patient_guard_fleet.h"


/* ms; how long this node knows how a key stands: with much room, or less */

#define NGX_PATIENT_GUARD_APART_HEARD  500
#define NGX_PATIENT_GUARD_APART_LATE   50

/* the smallest count that has much room, and which part of it that is */

#define NGX_PATIENT_GUARD_APART_WIDE   4000
#define NGX_PATIENT_GUARD_APART_ROOM   4


#define ngx_patient_guard_apart_older(then, lookup, ms)                      \
    ((uint32_t) (lookup)->now - (then) > (ms))


void
ngx_patient_guard_apart_keys(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t                  key;
    ngx_patient_guard_fleet_t  *fleet;

    if (shm->cluster) {
        lookup->apart = NGX_PATIENT_GUARD_ALL_APART;
        return;
    }

    lookup->apart = 0;

    for (key = 1; key < NGX_PATIENT_GUARD_KEYS; key++) {

        fleet = members[key]
                ? ngx_patient_guard_fleet_find(shm->node, members[key])
                : NULL;

        if (fleet
            && !ngx_patient_guard_apart_older(fleet->heard, lookup,
                                              NGX_PATIENT_GUARD_APART_HEARD)
            && ngx_patient_guard_apart_wide(lookup, tally, key))
        {
            lookup->apart |= (uint32_t) 1 << key;
        }
    }
}


ngx_uint_t
ngx_patient_guard_apart_late(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t *members, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_patient_guard_weighed_t *weighed,
    ngx_uint_t told)
{
    ngx_uint_t                  i, key;
    ngx_patient_guard_fleet_t  *fleet;

    if (tally->challenged || tally->unproved || lookup->exempt) {
        return 0;
    }

    for (i = 0, key = NGX_PATIENT_GUARD_KEYS; i < lookup->nlimits; i++) {

        if (lookup->limits[i].key <= told
            || lookup->limits[i].key >= key
            || weighed[i].cost == 0
            || ngx_patient_guard_apart_wide(lookup, tally,
                                           lookup->limits[i].key))
        {
            continue;
        }

        fleet = ngx_patient_guard_fleet_find(shm->node,
                                            members[lookup->limits[i].key]);
        if (fleet == NULL
            || ngx_patient_guard_apart_older(fleet->heard, lookup,
                                             NGX_PATIENT_GUARD_APART_LATE))
        {
            key = lookup->limits[i].key;
        }
    }

    if (key == NGX_PATIENT_GUARD_KEYS) {
        return 0;
    }

    lookup->tell = key;
    ngx_patient_guard_outbox_post(shm->node, members, lookup, key, 0);

    return 1;
}


ngx_uint_t
ngx_patient_guard_apart_wide(ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally, ngx_uint_t key)
{
    ngx_uint_t                 i;
    ngx_patient_guard_room_t  *room;

    for (i = 0; i < lookup->nlimits; i++) {

        room = &tally->rooms[i];

        if (lookup->limits[i].key == key
            && (room->count < NGX_PATIENT_GUARD_APART_WIDE
                || room->total > room->count
                                 - room->count / NGX_PATIENT_GUARD_APART_ROOM))
        {
            return 0;
        }
    }

    return 1;
}
