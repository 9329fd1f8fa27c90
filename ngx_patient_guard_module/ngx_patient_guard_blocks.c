
#include "ngx_patient_guard_blocks.h"


static ngx_patient_guard_block_entry_t *ngx_patient_guard_blocks_of(
    ngx_patient_guard_blocks_t *blocks, ngx_patient_guard_account_t *account);


ngx_int_t
ngx_patient_guard_blocks_set(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account, uint64_t until, uint64_t now)
{
    ngx_uint_t                        i;
    ngx_patient_guard_block_entry_t  *entry;

    entry = ngx_patient_guard_blocks_of(blocks, account);

    for (i = 0; i < NGX_PATIENT_GUARD_BLOCKS && entry == NULL; i++) {
        if (blocks->entries[i].until <= now) {
            entry = &blocks->entries[i];
        }
    }

    if (entry == NULL) {
        return NGX_DECLINED;
    }

    /* a worker that is killed in between leaves no half of it */

    if (!ngx_patient_guard_same(&entry->account, account)) {
        entry->until = 0;
        entry->account = *account;
    }

    blocks->latest = ngx_max(blocks->latest, until);
    entry->until = until;

    return NGX_OK;
}


void
ngx_patient_guard_blocks_lift(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account)
{
    ngx_patient_guard_block_entry_t  *entry;

    entry = ngx_patient_guard_blocks_of(blocks, account);

    if (entry) {
        ngx_memzero(entry, sizeof(ngx_patient_guard_block_entry_t));
    }
}


uint64_t
ngx_patient_guard_blocks_find(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account, uint64_t now)
{
    ngx_patient_guard_block_entry_t  *entry;

    entry = ngx_patient_guard_blocks_of(blocks, account);

    return entry && entry->until > now ? entry->until : 0;
}


ngx_uint_t
ngx_patient_guard_blocks_list(ngx_patient_guard_blocks_t *blocks, uint64_t now,
    ngx_patient_guard_block_entry_t *to)
{
    ngx_uint_t  i, n;

    for (i = n = 0; i < NGX_PATIENT_GUARD_BLOCKS; i++) {
        if (blocks->entries[i].until > now) {
            to[n++] = blocks->entries[i];
        }
    }

    return n;
}


static ngx_patient_guard_block_entry_t *
ngx_patient_guard_blocks_of(ngx_patient_guard_blocks_t *blocks,
    ngx_patient_guard_account_t *account)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_PATIENT_GUARD_BLOCKS; i++) {
        if (blocks->entries[i].until
            && ngx_patient_guard_same(&blocks->entries[i].account, account))
        {
            return &blocks->entries[i];
        }
    }

    return NULL;
}
