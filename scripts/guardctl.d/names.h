
/*
 * The aliases that a secret file makes of an account and of patients, by the
 * module's own rooms: under the current key, and the other one of a rotation.
 */


#ifndef _NAMES_H_INCLUDED_
#define _NAMES_H_INCLUDED_


#include "ngx_patient_guard_alias.h"


#define NAMES_KEYS  2


typedef struct {
    ngx_uint_t                n;               /* of keys */
    ngx_patient_guard_keys_t  keys[NAMES_KEYS];
} names_t;


typedef struct {
    ngx_uint_t                   n;
    ngx_patient_guard_account_t  alias[NAMES_KEYS];
} names_account_t;


/* all of these end the program when they can't do what they are asked */

void names_read(names_t *names, const char *file);

/* as "account ... [fold]" has it: without blanks around it */
void names_of_login(names_t *names, const char *login, ngx_uint_t fold,
    names_account_t *account);

/* 32 digits, which are the same under all keys */
void names_of_alias(const char *hex, names_account_t *account);

/* digits as the module prints them; 0 if they are none */
ngx_uint_t names_hex(const u_char *p, uint64_t *word);
ngx_uint_t names_is(names_account_t *account,
    ngx_patient_guard_account_t *alias);

void names_trim(ngx_str_t *text);
ngx_uint_t names_has_control(ngx_str_t *text);


#endif /* _NAMES_H_INCLUDED_ */
