
#include "ngx_patient_guard_members.h"
#include "ngx_patient_guard_slots.h"


#define NGX_PATIENT_GUARD_MEMBER_POOL  1024


ngx_int_t
ngx_patient_guard_members_init(ngx_patient_guard_members_t *members)
{
    ngx_pool_t  *pool;

    pool = members->cycle->pool;

    members->list = ngx_palloc(pool, NGX_PATIENT_GUARD_MEMBERS
                                     * sizeof(ngx_patient_guard_member_t));
    members->slots = ngx_palloc(pool, NGX_PATIENT_GUARD_SLOTS
                                      * sizeof(uint16_t));

    if (members->list == NULL || members->slots == NULL) {
        return NGX_ERROR;
    }

    ngx_patient_guard_members_clear(members);

    return NGX_OK;
}


void
ngx_patient_guard_members_destroy(ngx_patient_guard_members_t *members)
{
    ngx_uint_t  i;

    for (i = 0; i < members->n; i++) {
        ngx_patient_guard_name_stop(&members->list[i].server->name);
        ngx_destroy_pool(members->list[i].pool);
    }
}


ngx_uint_t
ngx_patient_guard_members_get(ngx_patient_guard_members_t *members,
    ngx_patient_guard_target_t *target)
{
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    ngx_patient_guard_member_t  *member;
    ngx_patient_guard_target_t  *known;

    for (i = 0; i < members->n; i++) {
        known = &members->list[i].server->target;

        if (known->port == target->port
            && known->name.len == target->name.len
            && ngx_memcmp(known->name.data, target->name.data,
                          target->name.len)
               == 0)
        {
            return i;
        }
    }

    if (members->n == NGX_PATIENT_GUARD_MEMBERS) {
        return NGX_PATIENT_GUARD_NOBODY;
    }

    pool = ngx_create_pool(NGX_PATIENT_GUARD_MEMBER_POOL,
                           members->cycle->log);
    if (pool == NULL) {
        return NGX_PATIENT_GUARD_NOBODY;
    }

    member = &members->list[members->n];

    member->pool = pool;
    member->nslots = 0;
    member->server = ngx_patient_guard_server_create(members->conf,
                                                     &target->name,
                                                     members->failed,
                                                     members->data,
                                                     members->peers, pool,
                                                     members->cycle);

    if (member->server
        && ngx_patient_guard_server_aim(member->server, target) == NGX_OK)
    {
        return members->n++;
    }

    if (member->server) {
        ngx_patient_guard_server_destroy(member->server);
    }

    ngx_destroy_pool(pool);

    return NGX_PATIENT_GUARD_NOBODY;
}


ngx_patient_guard_peer_t *
ngx_patient_guard_members_any(ngx_patient_guard_members_t *members)
{
    ngx_uint_t                 i;
    ngx_patient_guard_peer_t  *peer;

    for (i = 0; i < members->n; i++) {
        peer = ngx_patient_guard_members_peer(members,
                                         (members->turn + i) % members->n);

        if (ngx_patient_guard_peer_there(peer)) {
            return peer;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_patient_guard_members_well(ngx_patient_guard_members_t *members)
{
    ngx_uint_t  i;

    for (i = 0; i < members->n; i++) {
        if (!ngx_patient_guard_peer_there(
                               ngx_patient_guard_members_peer(members, i)))
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_patient_guard_members_clear(ngx_patient_guard_members_t *members)
{
    ngx_uint_t  i;

    for (i = 0; i < members->n; i++) {
        members->list[i].nslots = 0;
    }

    for (i = 0; i < NGX_PATIENT_GUARD_SLOTS; i++) {
        members->slots[i] = NGX_PATIENT_GUARD_NOBODY;
    }
}


void
ngx_patient_guard_members_give(ngx_patient_guard_members_t *members,
    ngx_uint_t i, ngx_uint_t first, ngx_uint_t last)
{
    ngx_uint_t  slot;

    for (slot = first; slot <= last; slot++) {

        if (members->slots[slot] != NGX_PATIENT_GUARD_NOBODY) {
            members->list[members->slots[slot]].nslots--;
        }

        members->slots[slot] = i;
        members->list[i].nslots++;
    }
}


void
ngx_patient_guard_members_forget(ngx_patient_guard_members_t *members)
{
    uint16_t                     at[NGX_PATIENT_GUARD_MEMBERS];
    ngx_uint_t                   i, n;
    ngx_patient_guard_member_t  *member;

    n = 0;

    for (i = 0; i < members->n; i++) {
        member = &members->list[i];

        if (member->nslots) {
            at[i] = n;
            members->list[n++] = *member;
            continue;
        }

        if (!ngx_patient_guard_peer_there(member->server->peer)) {
            ngx_log_error(NGX_LOG_NOTICE, members->cycle->log, 0,
                          "patient guard: redis \"%V\" serves no hash slots "
                          "any more", &member->server->target.name);
        }

        ngx_patient_guard_server_destroy(member->server);
        ngx_destroy_pool(member->pool);
    }

    members->n = n;

    for (i = 0; i < NGX_PATIENT_GUARD_SLOTS; i++) {
        if (members->slots[i] != NGX_PATIENT_GUARD_NOBODY) {
            members->slots[i] = at[members->slots[i]];
        }
    }
}
