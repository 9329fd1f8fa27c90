
/*
 * The operator's own list of patients, an identifier a line, by the aliases
 * that they have in a log.  A patient takes 56 bytes, 6 to 12 for each key in
 * the table of aliases, and the identifier.
 */


#ifndef _LIST_H_INCLUDED_
#define _LIST_H_INCLUDED_


#include "names.h"


typedef struct {
    ngx_patient_guard_patient_t  alias[NAMES_KEYS];
    size_t                       text;         /* where its identifier is */
    int64_t                      first;        /* read, ms */
    int64_t                      last;
    uint32_t                     times;
    uint32_t                     failed;       /* of them: 4xx, 5xx */
    uint32_t                     refused;
} list_patient_t;


typedef struct {
    names_t                     *names;
    list_patient_t              *patients;
    size_t                       n;
    size_t                       room;
    char                        *texts;
    size_t                       texts_n;
    size_t                       texts_room;
    uint32_t                    *slots;        /* 1 + which patient */
    size_t                       nslots;       /* a power of 2 */
    uint64_t                     twice;        /* lines that say it again */
    uint64_t                     malformed;
} list_t;


/* keyless NIR are understood as in a request; ends the program on errors */
void list_read(list_t *list, names_t *names, const char *file,
    ngx_uint_t nir);

/* NULL: nobody in the list has it */
list_patient_t *list_find(list_t *list, ngx_patient_guard_patient_t alias);

/* bytes that a patient takes, on the average */
size_t list_each(list_t *list);


#endif /* _LIST_H_INCLUDED_ */
