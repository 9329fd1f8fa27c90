
#include "ngx_patient_guard_image.h"


static u_char *ngx_patient_guard_image_put(u_char *p, uint64_t value,
    ngx_uint_t bytes);
static uint64_t ngx_patient_guard_image_get(u_char **p, ngx_uint_t bytes);


u_char *
ngx_patient_guard_image_write(u_char *p, ngx_patient_guard_image_t *image)
{
    ngx_uint_t  i;

    p = ngx_patient_guard_image_put(p, image->newest, 8);
    p = ngx_patient_guard_image_put(p, image->total, 4);

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        p = ngx_patient_guard_image_put(p, image->counts[i], 4);
    }

    return p;
}


u_char *
ngx_patient_guard_seen_write(u_char *p, ngx_patient_guard_patient_t patient,
    uint32_t when, ngx_uint_t novel)
{
    p = ngx_cpymem(p, &patient, sizeof(ngx_patient_guard_patient_t));
    p = ngx_patient_guard_image_put(p, when, 4);

    return ngx_patient_guard_image_put(p, novel, 1);
}


u_char *
ngx_patient_guard_doubt_write(u_char *p, ngx_patient_guard_doubt_t *doubt)
{
    p = ngx_cpymem(p, doubt->session, sizeof(doubt->session));
    p = ngx_patient_guard_image_put(p, doubt->number, 8);
    p = ngx_patient_guard_image_put(p, doubt->when, 8);

    p = ngx_patient_guard_image_put(p, doubt->count, 4);

    return ngx_patient_guard_image_put(p, doubt->novel, 4);
}


ngx_int_t
ngx_patient_guard_image_read(u_char **p, u_char *last,
    ngx_patient_guard_image_t *image)
{
    uint64_t    sum;
    ngx_uint_t  i;

    if (last - *p < NGX_PATIENT_GUARD_IMAGE_SIZE + 4) {
        return NGX_ERROR;
    }

    image->newest = ngx_patient_guard_image_get(p, 8);
    image->total = (uint32_t) ngx_patient_guard_image_get(p, 4);

    sum = 0;

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        image->counts[i] = (uint32_t) ngx_patient_guard_image_get(p, 4);
        sum += image->counts[i];
    }

    image->nset = (uint32_t) ngx_patient_guard_image_get(p, 4);
    image->set = *p;

    if (sum != image->total
        || image->nset > image->total
        || image->nset > (size_t) (last - *p)
                         / sizeof(ngx_patient_guard_patient_t)
        || image->newest < NGX_PATIENT_GUARD_IMAGE_COUNTS
        || image->newest >= (uint64_t) 1 << 52)
    {
        return NGX_ERROR;
    }

    *p += image->nset * sizeof(ngx_patient_guard_patient_t);

    return NGX_OK;
}


/* as it is in memory: an alias is bytes to Redis */

ngx_patient_guard_patient_t
ngx_patient_guard_image_patient(ngx_patient_guard_image_t *image, uint32_t n)
{
    ngx_patient_guard_patient_t  patient;

    ngx_memcpy(&patient,
               image->set + n * sizeof(ngx_patient_guard_patient_t),
               sizeof(ngx_patient_guard_patient_t));

    return patient;
}


static u_char *
ngx_patient_guard_image_put(u_char *p, uint64_t value, ngx_uint_t bytes)
{
    while (bytes--) {
        *p++ = (u_char) value;
        value >>= 8;
    }

    return p;
}


static uint64_t
ngx_patient_guard_image_get(u_char **p, ngx_uint_t bytes)
{
    uint64_t    value;
    ngx_uint_t  i;

    value = 0;

    for (i = 0; i < bytes; i++) {
        value |= (uint64_t) *(*p)++ << 8 * i;
    }

    return value;
}
