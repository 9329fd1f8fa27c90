
#include "ngx_http_patient_guard_spool.h"


#define NGX_HTTP_PATIENT_GUARD_SPOOL_MIN  4096     /* of the first buffer */


static ngx_int_t ngx_http_patient_guard_spool_room(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool);
static ngx_int_t ngx_http_patient_guard_spool_write(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool);
static ngx_temp_file_t *ngx_http_patient_guard_spool_file(
    ngx_http_request_t *r);


void
ngx_http_patient_guard_spool_init(ngx_http_patient_guard_spool_t *spool,
    ngx_http_patient_guard_gate_t *sizes)
{
    ngx_memzero(spool, sizeof(ngx_http_patient_guard_spool_t));

    spool->sizes = sizes;
    spool->last = &spool->bufs;
}


ngx_int_t
ngx_http_patient_guard_spool_add(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool, u_char *p, u_char *last)
{
    size_t      n;
    ngx_buf_t  *b;
    ngx_int_t   rc;

    while (p < last) {

        if (spool->filling == NULL
            || spool->filling->buf->last == spool->filling->buf->end)
        {
            rc = ngx_http_patient_guard_spool_room(r, spool);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        b = spool->filling->buf;
        n = ngx_min(last - p, b->end - b->last);

        b->last = ngx_cpymem(b->last, p, n);
        p += n;
    }

    return NGX_OK;
}


/* another buffer, twice as large, or all of them anew */

static ngx_int_t
ngx_http_patient_guard_spool_room(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool)
{
    size_t        size;
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    if (spool->filling && spool->filling->next) {
        spool->filling = spool->filling->next;
        return NGX_OK;
    }

    if (spool->allocated == spool->sizes->buffer) {

        rc = ngx_http_patient_guard_spool_write(r, spool);

        spool->filling = spool->bufs;

        return rc;
    }

    size = ngx_max(spool->allocated, NGX_HTTP_PATIENT_GUARD_SPOOL_MIN);
    size = ngx_min(size, spool->sizes->buffer - spool->allocated);

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = ngx_create_temp_buf(r->pool, size);
    if (cl->buf == NULL) {
        return NGX_ERROR;
    }

    cl->next = NULL;

    *spool->last = cl;
    spool->last = &cl->next;

    spool->filling = cl;
    spool->allocated += size;

    return NGX_OK;
}


static ngx_int_t
ngx_http_patient_guard_spool_write(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool)
{
    ngx_chain_t  *cl;

    if (spool->file == NULL) {
        spool->file = ngx_http_patient_guard_spool_file(r);

        if (spool->file == NULL) {
            return NGX_ERROR;
        }
    }

    if (spool->file->offset + (off_t) spool->allocated > spool->sizes->file) {
        return NGX_BUSY;
    }

    if (ngx_write_chain_to_temp_file(spool->file, spool->bufs) == NGX_ERROR) {
        return NGX_ERROR;
    }

    spool->file->offset += spool->allocated;

    for (cl = spool->bufs; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->start;
        cl->buf->last = cl->buf->start;
    }

    return NGX_OK;
}


static ngx_temp_file_t *
ngx_http_patient_guard_spool_file(ngx_http_request_t *r)
{
    ngx_temp_file_t           *file;
    ngx_http_core_loc_conf_t  *clcf;

    file = ngx_pcalloc(r->pool, sizeof(ngx_temp_file_t));
    if (file == NULL) {
        return NULL;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    file->file.fd = NGX_INVALID_FILE;
    file->file.log = r->connection->log;
    file->path = clcf->client_body_temp_path;
    file->pool = r->pool;
    file->clean = 1;

    return file;
}


ngx_chain_t *
ngx_http_patient_guard_spool_chain(ngx_http_request_t *r,
    ngx_http_patient_guard_spool_t *spool, ngx_uint_t whole)
{
    ngx_buf_t     *b;
    ngx_chain_t   *out, **last, *cl;

    out = NULL;
    last = &out;

    if (spool->file && spool->file->offset) {

        cl = ngx_alloc_chain_link(r->pool);
        b = ngx_calloc_buf(r->pool);

        if (cl == NULL || b == NULL) {
            return NULL;
        }

        b->file = &spool->file->file;
        b->file_last = spool->file->offset;
        b->in_file = 1;
        b->temp_file = 1;

        cl->buf = b;
        *last = cl;
        last = &cl->next;
    }

    for (cl = spool->bufs; cl && cl->buf->last != cl->buf->pos; cl = cl->next)
    {
        *last = cl;
        last = &cl->next;
    }

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL) {
        return NULL;
    }

    if (whole) {
        b->last_buf = 1;
        b->last_in_chain = 1;

    } else {
        b->flush = 1;
    }

    cl->buf = b;
    cl->next = NULL;
    *last = cl;

    return out;
}
