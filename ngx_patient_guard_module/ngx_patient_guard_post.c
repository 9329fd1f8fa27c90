
#include "ngx_patient_guard_post.h"
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_news.h"
#include "ngx_patient_guard_parcel.h"


ngx_int_t
ngx_patient_guard_post_take(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_account_t *account, ngx_patient_guard_parcel_t *parcel,
    u_char *sets, size_t size)
{
    ngx_patient_guard_ref_t     ref, member;
    ngx_patient_guard_fleet_t  *fleet;

    parcel->limits = shm->widest;
    parcel->nlimits = shm->nlimits;
    parcel->grants = shm->grants;
    parcel->memory = shm->memory;
    parcel->session = shm->session ? 1 : 0;

    ngx_patient_guard_shm_lock(shm);

    if (account) {
        member = ngx_patient_guard_member_find(shm->node, account);

        fleet = member ? ngx_patient_guard_fleet_find(shm->node, member)
                       : NULL;

        if (fleet == NULL || fleet->letter == 0) {
            member = 0;
        }

    } else {
        ref = ngx_patient_guard_letter_next(&shm->node->zone,
                                            &shm->node->outbox, parcel->now);

        member = ref ? ngx_patient_guard_member_find(shm->node,
                              &ngx_patient_guard_letter(&shm->node->zone,
                                                        ref)->account) : 0;
    }

    if (member) {
        ngx_patient_guard_parcel_take(shm->node, member, parcel, sets, size);
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);

    return member ? NGX_OK : NGX_DECLINED;
}


void
ngx_patient_guard_post_news(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news)
{
    ngx_patient_guard_ref_t  member;

    ngx_patient_guard_shm_lock(shm);

    member = ngx_patient_guard_member_find(shm->node, &parcel->account);

    if (member) {
        ngx_patient_guard_parcel_sent(shm->node, member, parcel, news);

        if (ngx_patient_guard_member_reserve(shm->node,
                              ngx_patient_guard_news_cells(parcel, news),
                              &member, 1, parcel->now)
            == NGX_OK)
        {
            ngx_patient_guard_news(shm->node, member, parcel, news);
        }
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);
}


void
ngx_patient_guard_post_lost(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_parcel_t *parcel)
{
    ngx_patient_guard_ref_t  member;

    ngx_patient_guard_shm_lock(shm);

    member = ngx_patient_guard_member_find(shm->node, &parcel->account);

    if (member) {
        ngx_patient_guard_parcel_lost(shm->node, member, parcel);
    }

    ngx_patient_guard_shm_leave(shm, parcel->now);
}


uint64_t
ngx_patient_guard_post_numbers(ngx_patient_guard_shm_t *shm)
{
    uint64_t                   first;
    ngx_patient_guard_node_t  *node;

    node = shm->node;

    ngx_patient_guard_shm_lock(shm);

    first = node->number + 1;
    node->number = first + NGX_PATIENT_GUARD_NUMBERS;

    ngx_shmtx_unlock(&shm->pool->mutex);

    return first;
}
