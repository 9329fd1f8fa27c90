
#include "ngx_patient_guard_outbox.h"


/* ms that a claim lasts, and by which the clocks of two workers differ */
#define NGX_PATIENT_GUARD_CLAIM  2000
#define NGX_PATIENT_GUARD_DRIFT  1000


static void ngx_patient_guard_letter_link(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_letter_unlink(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref);


/* the line that a letter stands in: its first and its last one */

#define ngx_patient_guard_letter_line(zone, outbox, ref)                      \
    (ngx_patient_guard_letter_more(zone, ref)->waits                          \
         ? &(outbox)->first_waits : &(outbox)->first)


ngx_patient_guard_letter_t *
ngx_patient_guard_letter(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    return ngx_patient_guard_cell(zone, ref);
}


ngx_patient_guard_letter_more_t *
ngx_patient_guard_letter_more(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_ref_t ref)
{
    return ngx_patient_guard_cell(zone,
                                  ngx_patient_guard_letter(zone, ref)->more);
}


void
ngx_patient_guard_letter_add(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_account_t *account,
    ngx_patient_guard_ref_t *place, ngx_uint_t waits, uint64_t now)
{
    ngx_patient_guard_ref_t      ref, more;
    ngx_patient_guard_letter_t  *letter;

    ref = ngx_patient_guard_cell_take(zone);
    more = ngx_patient_guard_cell_take(zone);

    letter = ngx_patient_guard_letter(zone, ref);

    letter->account = *account;
    letter->more = more;
    letter->claimed = waits ? (uint32_t) now | 1 : 0;

    ngx_patient_guard_letter_more(zone, ref)->waits = (uint8_t) waits;

    ngx_patient_guard_save(zone, place);

    *place = ref;

    ngx_patient_guard_letter_link(zone, outbox, ref);
    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_letter_drop(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t *place)
{
    ngx_patient_guard_ref_t  ref;

    ref = *place;

    ngx_patient_guard_save(zone, place);

    *place = 0;

    ngx_patient_guard_letter_unlink(zone, outbox, ref);

    ngx_patient_guard_cell_free(zone,
                                ngx_patient_guard_letter(zone, ref)->more);
    ngx_patient_guard_cell_free(zone, ref);
    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_letter_back(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_letter_unlink(zone, outbox, ref);
    ngx_patient_guard_save(zone, ngx_patient_guard_letter(zone, ref));
    ngx_patient_guard_letter_link(zone, outbox, ref);

    ngx_patient_guard_letter(zone, ref)->claimed = 0;

    ngx_patient_guard_commit(zone);
}


void
ngx_patient_guard_letter_urge(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_letter_more_t  *more;

    more = ngx_patient_guard_letter_more(zone, ref);

    ngx_patient_guard_letter_unlink(zone, outbox, ref);
    ngx_patient_guard_save(zone, ngx_patient_guard_letter(zone, ref));
    ngx_patient_guard_save(zone, more);

    more->waits = 0;
    ngx_patient_guard_letter(zone, ref)->claimed = 0;

    ngx_patient_guard_letter_link(zone, outbox, ref);
    ngx_patient_guard_commit(zone);
}


ngx_patient_guard_ref_t
ngx_patient_guard_letter_next(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, uint64_t now)
{
    ngx_patient_guard_ref_t      ref;
    ngx_patient_guard_letter_t  *letter;

    for (ref = outbox->first; ref; ref = letter->newer) {

        letter = ngx_patient_guard_letter(zone, ref);

        if (letter->claimed == 0
            || (uint32_t) (now + NGX_PATIENT_GUARD_DRIFT) - letter->claimed
               >= NGX_PATIENT_GUARD_CLAIM + NGX_PATIENT_GUARD_DRIFT)
        {
            return ref;
        }
    }

    ref = outbox->first_waits;

    if (ref
        && (uint32_t) (now + NGX_PATIENT_GUARD_DRIFT)
           - ngx_patient_guard_letter(zone, ref)->claimed
           >= NGX_PATIENT_GUARD_LETTER_WAITS + NGX_PATIENT_GUARD_DRIFT)
    {
        return ref;
    }

    return 0;
}


/* the letter's cell is new, or saved by whoever calls */

static void
ngx_patient_guard_letter_link(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t     *last, *line;
    ngx_patient_guard_letter_t  *letter;

    letter = ngx_patient_guard_letter(zone, ref);
    line = ngx_patient_guard_letter_line(zone, outbox, ref);

    last = line[1] ? &ngx_patient_guard_letter(zone, line[1])->newer
                   : &line[0];

    ngx_patient_guard_save(zone, last);
    ngx_patient_guard_save(zone, outbox);

    letter->older = line[1];
    letter->newer = 0;

    *last = ref;
    line[1] = ref;
}


static void
ngx_patient_guard_letter_unlink(ngx_patient_guard_zone_t *zone,
    ngx_patient_guard_outbox_t *outbox, ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t     *older, *newer, *line;
    ngx_patient_guard_letter_t  *letter;

    letter = ngx_patient_guard_letter(zone, ref);
    line = ngx_patient_guard_letter_line(zone, outbox, ref);

    older = letter->older
            ? &ngx_patient_guard_letter(zone, letter->older)->newer
            : &line[0];

    newer = letter->newer
            ? &ngx_patient_guard_letter(zone, letter->newer)->older
            : &line[1];

    ngx_patient_guard_save(zone, older);
    ngx_patient_guard_save(zone, newer);

    *older = letter->newer;
    *newer = letter->older;
}
