
#include "ngx_patient_guard_image.h"
#include "ngx_patient_guard_bytes.h"



u_char *
ngx_patient_guard_image_write(u_char *p, ngx_patient_guard_image_t *image)
{
    ngx_uint_t  i;

    p = ngx_patient_guard_put64(p, image->newest);
    p = ngx_patient_guard_put32(p, image->total);

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        p = ngx_patient_guard_put32(p, image->counts[i]);
    }

    return p;
}


u_char *
ngx_patient_guard_seen_write(u_char *p, ngx_patient_guard_patient_t patient,
    uint32_t when, ngx_uint_t novel)
{
    p = ngx_cpymem(p, &patient, sizeof(ngx_patient_guard_patient_t));
    p = ngx_patient_guard_put32(p, when);
    *p++ = (u_char) novel;

    return p;
}


u_char *
ngx_patient_guard_doubt_write(u_char *p, ngx_patient_guard_doubt_t *doubt)
{
    p = ngx_cpymem(p, doubt->session, sizeof(doubt->session));
    p = ngx_patient_guard_put64(p, doubt->number);
    p = ngx_patient_guard_put64(p, doubt->when);

    p = ngx_patient_guard_put32(p, doubt->count);

    return ngx_patient_guard_put32(p, doubt->novel);
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

    image->newest = ngx_patient_guard_get64(p);
    image->total = ngx_patient_guard_get32(p);

    sum = 0;

    for (i = 0; i < NGX_PATIENT_GUARD_IMAGE_COUNTS; i++) {
        image->counts[i] = ngx_patient_guard_get32(p);
        sum += image->counts[i];
    }

    image->nset = ngx_patient_guard_get32(p);
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
