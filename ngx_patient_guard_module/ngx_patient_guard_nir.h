
/*
 * French social-security numbers (NIR): 13 characters and a key of two
 * digits.
 *
 *   S AA MM DD CCC OOO KK
 *
 * S is 1 or 2; 3 to 8 where a number is provisional, or was once.  DD, the
 * departement of birth, is 2A or 2B in Corsica.  KK is 97 - N mod 97 with N
 * the 13 digits, where 2A is read as 19 and 2B as 18 (INSEE).  A
 * wrong digit and neighbours that changed places never go unnoticed.
 */


#ifndef _NGX_PATIENT_GUARD_NIR_H_INCLUDED_
#define _NGX_PATIENT_GUARD_NIR_H_INCLUDED_


#include "ngx_patient_guard.h"


#define NGX_PATIENT_GUARD_NIR  15


/*
 * The number as 15 characters, letters in capitals.  Blanks, tabs, no-break
 * spaces (UTF-8), and any of . - _ / + between its characters are passed
 * over; %XX is what it stands for, as in an argument.  With "keyless" a
 * number may lack its key, which is added.
 *
 * NGX_DECLINED: it is none, or the key is wrong; nir is of no use then.
 */
ngx_int_t ngx_patient_guard_nir(ngx_str_t *text, ngx_uint_t keyless,
    u_char nir[NGX_PATIENT_GUARD_NIR]);


#endif /* _NGX_PATIENT_GUARD_NIR_H_INCLUDED_ */
