
#include "ngx_patient_guard_distinct.h"


#define NGX_PATIENT_GUARD_DISTINCT_MIN  8


static ngx_int_t ngx_patient_guard_distinct_grow(
    ngx_patient_guard_distinct_t *distinct, ngx_pool_t *pool);
static uint32_t *ngx_patient_guard_distinct_place(
    ngx_patient_guard_distinct_t *distinct,
    ngx_patient_guard_patient_t patient);


ngx_int_t
ngx_patient_guard_distinct_add(ngx_patient_guard_distinct_t *distinct,
    ngx_pool_t *pool, ngx_patient_guard_named_t *named, ngx_uint_t most)
{
    if (distinct->n == 0 && distinct->size == 0) {
        distinct->first = *named;
        distinct->named = &distinct->first;
        distinct->n = 1;
        return NGX_OK;
    }

    if (distinct->size == 0) {

        if (distinct->first.current == named->current) {
            return NGX_DECLINED;
        }

    } else if (*ngx_patient_guard_distinct_place(distinct, named->current)) {
        return NGX_DECLINED;
    }

    if (distinct->n >= most) {
        return NGX_BUSY;
    }

    if (distinct->n >= distinct->size
        && ngx_patient_guard_distinct_grow(distinct, pool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    distinct->named[distinct->n++] = *named;

    *ngx_patient_guard_distinct_place(distinct, named->current) = distinct->n;

    return NGX_OK;
}


void
ngx_patient_guard_distinct_clear(ngx_patient_guard_distinct_t *distinct)
{
    distinct->n = 0;

    if (distinct->table) {
        ngx_memzero(distinct->table,
                    2 * distinct->size * sizeof(uint32_t));
    }
}


static ngx_int_t
ngx_patient_guard_distinct_grow(ngx_patient_guard_distinct_t *distinct,
    ngx_pool_t *pool)
{
    uint32_t                   *table;
    ngx_uint_t                  i, size;
    ngx_patient_guard_named_t  *named;

    size = distinct->size ? 2 * distinct->size
                          : NGX_PATIENT_GUARD_DISTINCT_MIN;

    named = ngx_palloc(pool, size * sizeof(ngx_patient_guard_named_t));
    table = ngx_pcalloc(pool, 2 * size * sizeof(uint32_t));

    if (named == NULL || table == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(named, distinct->named,
               distinct->n * sizeof(ngx_patient_guard_named_t));

    /* large ones are given back; small ones are the pool's */

    if (distinct->size) {
        (void) ngx_pfree(pool, distinct->named);
        (void) ngx_pfree(pool, distinct->table);
    }

    distinct->named = named;
    distinct->table = table;
    distinct->size = size;

    for (i = 0; i < distinct->n; i++) {
        *ngx_patient_guard_distinct_place(distinct, named[i].current) = i + 1;
    }

    return NGX_OK;
}


/* where it is, or where it would be; an alias is as good as random */

static uint32_t *
ngx_patient_guard_distinct_place(ngx_patient_guard_distinct_t *distinct,
    ngx_patient_guard_patient_t patient)
{
    uint32_t    *place;
    ngx_uint_t   i, mask;

    mask = 2 * distinct->size - 1;

    for (i = patient & mask; /* void */ ; i = (i + 1) & mask) {

        place = &distinct->table[i];

        if (*place == 0
            || distinct->named[*place - 1].current == patient)
        {
            return place;
        }
    }
}
