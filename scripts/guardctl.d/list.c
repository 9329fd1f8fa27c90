
#include "list.h"
#include "ngx_patient_guard_nir.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>


#define LIST_TOLD  5                           /* malformed lines, by number */


static void *
list_grow(void *p, size_t *room, size_t size)
{
    *room = *room ? 2 * *room : 4096;
    p = realloc(p, *room * size);

    if (p == NULL) {
        err(2, "malloc");
    }

    return p;
}


/* aliases are as good as random */

static size_t
list_slot(list_t *list, ngx_patient_guard_patient_t alias)
{
    return (alias ^ alias >> 32) & (list->nslots - 1);
}


static void
list_put(list_t *list, ngx_patient_guard_patient_t alias, uint32_t which)
{
    size_t  i;

    i = list_slot(list, alias);

    while (list->slots[i]) {
        i = (i + 1) & (list->nslots - 1);
    }

    list->slots[i] = which + 1;
}


static void
list_rehash(list_t *list)
{
    size_t      i;
    ngx_uint_t  key;

    free(list->slots);

    list->nslots = list->nslots ? 2 * list->nslots : 8192;
    list->slots = calloc(list->nslots, sizeof(uint32_t));

    if (list->slots == NULL) {
        err(2, "malloc");
    }

    for (i = 0; i < list->n; i++) {
        for (key = 0; key < list->names->n; key++) {
            list_put(list, list->patients[i].alias[key], i);
        }
    }
}


list_patient_t *
list_find(list_t *list, ngx_patient_guard_patient_t alias)
{
    size_t           i;
    ngx_uint_t       key;
    list_patient_t  *patient;

    for (i = list_slot(list, alias);
         list->nslots && list->slots[i];
         i = (i + 1) & (list->nslots - 1))
    {
        patient = &list->patients[list->slots[i] - 1];

        for (key = 0; key < list->names->n; key++) {
            if (patient->alias[key] == alias) {
                return patient;
            }
        }
    }

    return NULL;
}


static void
list_add(list_t *list, ngx_str_t *identifier, ngx_str_t *text)
{
    ngx_uint_t       key;
    list_patient_t   new;

    memset(&new, 0, sizeof(new));

    for (key = 0; key < list->names->n; key++) {
        new.alias[key] = ngx_patient_guard_patient_alias(
                                       &list->names->keys[key], identifier);
    }

    if (list_find(list, new.alias[0])) {
        list->twice++;
        return;
    }

    if (list->n == UINT32_MAX - 1) {
        errx(2, "a list has 4 billion patients at the most");
    }

    if (list->n == list->room) {
        list->patients = list_grow(list->patients, &list->room,
                                   sizeof(list_patient_t));
    }

    while (list->texts_n + text->len + 1 > list->texts_room) {
        list->texts = list_grow(list->texts, &list->texts_room, 1);
    }

    new.text = list->texts_n;
    memcpy(list->texts + new.text, text->data, text->len);
    list->texts[new.text + text->len] = '\0';
    list->texts_n += text->len + 1;

    if ((list->n + 1) * list->names->n > list->nslots / 3 * 2) {
        list_rehash(list);
    }

    for (key = 0; key < list->names->n; key++) {
        list_put(list, new.alias[key], list->n);
    }

    list->patients[list->n++] = new;
}


/* what is wrong with it, or NULL */

static const char *
list_line(list_t *list, ngx_str_t *text, ngx_uint_t nir)
{
    u_char     canonical[NGX_PATIENT_GUARD_NIR];
    ngx_str_t  identifier;

    if (names_has_control(text)) {
        return "control characters";
    }

    /* the module takes these for two */

    if (memchr(text->data, ',', text->len)
        || memmem(text->data, text->len, "%2c", 3)
        || memmem(text->data, text->len, "%2C", 3))
    {
        return "a comma: one identifier a line";
    }

    identifier = *text;

    if (nir) {
        if (ngx_patient_guard_nir(text, 1, canonical) != NGX_OK) {
            return "no NIR";
        }

        identifier.data = canonical;
        identifier.len = sizeof(canonical);
    }

    list_add(list, &identifier, text);

    return NULL;
}


void
list_read(list_t *list, names_t *names, const char *file, ngx_uint_t nir)
{
    FILE        *in;
    char        *line;
    size_t       size;
    ssize_t      n;
    uint64_t     number;
    ngx_str_t    text;
    const char  *wrong;

    memset(list, 0, sizeof(list_t));
    list->names = names;

    in = strcmp(file, "-") == 0 ? stdin : fopen(file, "r");

    if (in == NULL) {
        err(2, "%s", file);
    }

    line = NULL;
    size = 0;

    for (number = 1; (n = getline(&line, &size, in)) != -1; number++) {

        text.data = (u_char *) line;
        text.len = n;

        if (text.len && line[text.len - 1] == '\n') {
            text.len--;
        }

        if (text.len && line[text.len - 1] == '\r') {
            text.len--;
        }

        /* a byte order mark */

        if (number == 1 && text.len >= 3 && memcmp(line, "\xef\xbb\xbf", 3)
                                            == 0)
        {
            text.data += 3;
            text.len -= 3;
        }

        names_trim(&text);

        if (text.len == 0) {
            continue;
        }

        wrong = list_line(list, &text, nir);

        if (wrong && ++list->malformed <= LIST_TOLD) {
            warnx("%s:%" PRIu64 ": malformed: %s", file, number, wrong);
        }
    }

    if (ferror(in)) {
        err(2, "%s", file);
    }

    free(line);
    fclose(in);

    if (list->n == 0) {
        errx(2, "%s: no patient is listed", file);
    }
}


size_t
list_each(list_t *list)
{
    return (list->n * sizeof(list_patient_t) + list->texts_n
            + list->nslots * sizeof(uint32_t)) / list->n;
}
