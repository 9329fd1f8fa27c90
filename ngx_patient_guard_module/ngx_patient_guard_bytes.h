
/*
 * Numbers as bytes, little-endian: as the script, the lists in Redis and the
 * zones of other nodes have them, whatever this machine does.
 */


#ifndef _NGX_PATIENT_GUARD_BYTES_H_INCLUDED_
#define _NGX_PATIENT_GUARD_BYTES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* these return the end of what they wrote */

static ngx_inline u_char *
ngx_patient_guard_put32(u_char *p, uint32_t value)
{
    p[0] = (u_char) value;
    p[1] = (u_char) (value >> 8);
    p[2] = (u_char) (value >> 16);
    p[3] = (u_char) (value >> 24);

    return p + 4;
}


static ngx_inline u_char *
ngx_patient_guard_put64(u_char *p, uint64_t value)
{
    p = ngx_patient_guard_put32(p, (uint32_t) value);

    return ngx_patient_guard_put32(p, (uint32_t) (value >> 32));
}


static ngx_inline uint64_t
ngx_patient_guard_word(const u_char *p)
{
    return (uint64_t) p[0] | (uint64_t) p[1] << 8 | (uint64_t) p[2] << 16
           | (uint64_t) p[3] << 24 | (uint64_t) p[4] << 32
           | (uint64_t) p[5] << 40 | (uint64_t) p[6] << 48
           | (uint64_t) p[7] << 56;
}


/* these move *p behind what they read */

static ngx_inline uint32_t
ngx_patient_guard_get32(u_char **p)
{
    u_char  *s;

    s = *p;
    *p += 4;

    return (uint32_t) s[0] | (uint32_t) s[1] << 8 | (uint32_t) s[2] << 16
           | (uint32_t) s[3] << 24;
}


static ngx_inline uint64_t
ngx_patient_guard_get64(u_char **p)
{
    *p += 8;

    return ngx_patient_guard_word(*p - 8);
}


#endif /* _NGX_PATIENT_GUARD_BYTES_H_INCLUDED_ */
