
/* rooms: ngx_patient_guard_distinct */


/* the patients of one request: each once, in their order, however many */


#include "ngx_patient_guard_distinct.h"
#include "tap.h"

#include <stdlib.h>


#define MOST  4096


static ngx_int_t
add(ngx_patient_guard_distinct_t *distinct, uint64_t alias)
{
    ngx_patient_guard_named_t  named;

    named.current = alias;
    named.previous = ~alias;

    return ngx_patient_guard_distinct_add(distinct, NULL, &named, MOST);
}


static void
as_many_as(int most, int different)
{
    int                            i, n, wrong, draws;
    char                          *seen;
    uint64_t                       alias, mix;
    ngx_int_t                      rc;
    ngx_patient_guard_distinct_t   distinct;

    memset(&distinct, 0, sizeof(distinct));
    seen = calloc(different, 1);
    wrong = n = 0;

    /* aliases that collide in all their low bits, and some that do not */

    mix = different % 2 ? 0x9e3779b97f4a7c15 : (uint64_t) 1 << 40;

    for (draws = 0; draws < most; draws++) {
        i = random() % different;
        alias = (i + 1) * mix;
        rc = add(&distinct, alias);

        wrong += (rc != (seen[i] ? NGX_DECLINED : NGX_OK));

        if (!seen[i]) {
            seen[i] = 1;
            wrong += (distinct.named[n].current != alias
                      || distinct.named[n].previous != ~alias);
            n++;
        }
    }

    is(wrong, 0, "%d draws of %d: known or new", most, different);
    is(distinct.n, n, "%d of them are there", n);

    ngx_patient_guard_distinct_clear(&distinct);

    is(distinct.n, 0, "cleared");
    is(add(&distinct, mix), NGX_OK, "all are new again");
    is(add(&distinct, mix), NGX_DECLINED, "and then known");

    free(seen);
}


int
main(void)
{
    int                            i, wrong;
    ngx_patient_guard_distinct_t   distinct;

    as_many_as(3, 1);
    as_many_as(10, 2);
    as_many_as(100, 9);
    as_many_as(500, 100);
    as_many_as(5000, 999);
    as_many_as(20000, 4096);

    memset(&distinct, 0, sizeof(distinct));

    for (i = wrong = 0; i < MOST; i++) {
        wrong += (add(&distinct, i + 1) != NGX_OK);
    }

    is(wrong, 0, "as many as there may be");
    is(add(&distinct, MOST), NGX_DECLINED, "who is there is there");
    is(add(&distinct, MOST + 1), NGX_BUSY, "and nobody else gets in");
    is(distinct.n, MOST, "nobody has");

    return done();
}
