
#include "ngx_patient_guard_recent.h"


static int ngx_libc_cdecl ngx_patient_guard_recent_newer(const void *one,
    const void *two);


void
ngx_patient_guard_recent_add(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_refusal_t *refusal)
{
    uint32_t                      times;
    ngx_uint_t                    i;
    ngx_patient_guard_refusal_t  *entry, *oldest;

    oldest = recent->entries;

    for (i = 0; i < NGX_PATIENT_GUARD_RECENT; i++) {
        entry = &recent->entries[i];

        if (entry->time
            && ngx_patient_guard_same(&entry->account, &refusal->account)
            && entry->limit == refusal->limit
            && entry->verdict == refusal->verdict
            && entry->dry_run == refusal->dry_run)
        {
            times = entry->times;

            *entry = *refusal;
            entry->times = (times == 0xffffffff) ? times : times + 1;
            return;
        }

        if (entry->time < oldest->time) {
            oldest = entry;
        }
    }

    *oldest = *refusal;
    oldest->times = 1;
}


ngx_uint_t
ngx_patient_guard_recent_list(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_account_t *account, ngx_patient_guard_refusal_t *to)
{
    ngx_uint_t                    i, n;
    ngx_patient_guard_refusal_t  *entry;

    for (i = n = 0; i < NGX_PATIENT_GUARD_RECENT; i++) {
        entry = &recent->entries[i];

        if (entry->time
            && (account == NULL
                || ngx_patient_guard_same(&entry->account, account)))
        {
            to[n++] = *entry;
        }
    }

    ngx_qsort(to, n, sizeof(ngx_patient_guard_refusal_t),
              ngx_patient_guard_recent_newer);

    return n;
}


static int ngx_libc_cdecl
ngx_patient_guard_recent_newer(const void *one, const void *two)
{
    const ngx_patient_guard_refusal_t  *a = one, *b = two;

    return (a->time < b->time) - (a->time > b->time);
}


void
ngx_patient_guard_recent_forget(ngx_patient_guard_recent_t *recent,
    ngx_patient_guard_account_t *account)
{
    ngx_uint_t                    i;
    ngx_patient_guard_refusal_t  *entry;

    for (i = 0; i < NGX_PATIENT_GUARD_RECENT; i++) {
        entry = &recent->entries[i];

        if (ngx_patient_guard_same(&entry->account, account)) {
            ngx_memzero(entry, sizeof(ngx_patient_guard_refusal_t));
        }
    }
}
