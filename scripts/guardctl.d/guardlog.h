
#ifndef _GUARDLOG_H_INCLUDED_
#define _GUARDLOG_H_INCLUDED_


#include "lines.h"


typedef struct {
    names_t         names;
    lines_asked_t   asked;
    const char     *list;
    ngx_uint_t      nir;
    ngx_uint_t      json;
    char          **logs;
    ngx_uint_t      nlogs;
} guardlog_t;


/* these return the program's exit code */

int exposed(guardlog_t *ask);
int timeline(guardlog_t *ask);


#endif /* _GUARDLOG_H_INCLUDED_ */
