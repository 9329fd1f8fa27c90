
/* Social-security numbers: the key by another way, and what it finds. */


/* rooms: ngx_patient_guard_nir */

#include "ngx_patient_guard_nir.h"
#include "tap.h"

#include <stdlib.h>


static const struct {
    const char  *text;
    int          keyless;
    const char  *nir;           /* NULL: it is none */
} examples[] = {
    { "255081416802538", 0, "255081416802538" },
    { "2 55 08 14 168 025 38", 0, "255081416802538" },
    { "2-55-08-14-168-025/38", 0, "255081416802538" },
    { "\t2.55.08.14.168.025_38 ", 0, "255081416802538" },
    { "2%2055%2008+14+168+025+38", 0, "255081416802538" },
    { "%32%35%35081416802538", 0, "255081416802538" },
    { "2\xc2\xa0" "55081416802538", 0, "255081416802538" },
    { "2%C2%A055081416802538", 0, "255081416802538" },
    { "2\xe2\x80\xaf" "55081416802538", 0, "255081416802538" },
    { "2\xe2%80\xaf" "55081416802538", 0, "255081416802538" },
    { "2550814168025", 1, "255081416802538" },
    { "255081416802538", 1, "255081416802538" },
    { "2550814168025", 0, NULL },
    { "25508141680253", 1, NULL },
    { "255081416802539", 0, NULL },
    { "255081416802539", 1, NULL },
    { "2550814168025380", 0, NULL },
    { "x255081416802538", 0, NULL },
    { "255081416802538x", 0, NULL },
    { "255081416802538\xc2", 0, NULL },
    { "%", 0, NULL },
    { "", 1, NULL },
    { "000000000000097", 0, NULL },
    { "955081416802500", 1, NULL },
    { "2550A1416802538", 0, NULL },
    { "25508A416802538", 0, NULL },

    /* 97 - 1850519004017 % 97, and 97 - 1850518004017 % 97 */
    { "185052A004017", 1, "185052A00401765" },
    { "185052a00401765", 0, "185052A00401765" },
    { "185052b004017", 1, "185052B00401792" },
    { "185052B00401792", 0, "185052B00401792" },
    { "185052A00401792", 0, NULL },
    { "185052C00401765", 0, NULL },
    { "185053A00401765", 0, NULL }
};


static int
nir(const char *text, size_t len, int keyless, u_char *canonical)
{
    ngx_str_t  value;

    value.data = (u_char *) text;
    value.len = len;

    return ngx_patient_guard_nir(&value, keyless, canonical) == NGX_OK;
}


/* digit by digit, as on paper */

static void
write_key(char *text)
{
    int   i, rest;
    char  digits[14];

    memcpy(digits, text, 13);

    if (digits[6] == 'A' || digits[6] == 'B') {
        digits[6] = digits[6] == 'A' ? '9' : '8';
        digits[5] = '1';
    }

    for (i = rest = 0; i < 13; i++) {
        rest = (rest * 10 + digits[i] - '0') % 97;
    }

    rest = 97 - rest;
    text[13] = '0' + rest / 10;
    text[14] = '0' + rest % 10;
}


static void
draw(char *text)
{
    int  i;

    for (i = 0; i < 13; i++) {
        text[i] = '0' + random() % 10;
    }

    text[0] = '1' + random() % 8;

    if (random() % 4 == 0) {
        text[5] = '2';
        text[6] = 'A' + random() % 2;
    }
}


int
main(void)
{
    int      i, n, round, refused, wrong, swapped, by_chance;
    char     text[16], again[16];
    size_t   e;
    u_char   canonical[NGX_PATIENT_GUARD_NIR];

    for (e = 0; e < sizeof(examples) / sizeof(examples[0]); e++) {

        n = nir(examples[e].text, strlen(examples[e].text),
                examples[e].keyless, canonical);

        ok(examples[e].nir
           ? n && memcmp(canonical, examples[e].nir, sizeof(canonical)) == 0
           : !n,
           "\"%s\" is %s", examples[e].text,
           examples[e].nir ? examples[e].nir : "none");
    }

    ok(!nir("25508141680253\0", 15, 0, canonical), "a NUL is no digit");

    srandom(1);
    refused = wrong = swapped = by_chance = 0;

    for (round = 0; round < 20000; round++) {

        draw(text);
        write_key(text);

        refused += !nir(text, 15, 0, canonical)
                   || memcmp(canonical, text, 15) != 0;
        refused += !nir(text, 13, 1, canonical)
                   || memcmp(canonical, text, 15) != 0;

        /* one digit is another one, or two neighbours change places */

        for (i = 1; i < 15; i++) {

            if (i == 5 || i == 6) {
                continue;
            }

            memcpy(again, text, sizeof(text));
            again[i] = '0' + (text[i] - '0' + 1 + random() % 9) % 10;
            wrong += nir(again, 15, 0, canonical);

            if (i < 12 && i != 4 && i != 7 && text[i] != text[i + 1]
                && i + 1 != 5)
            {
                memcpy(again, text, sizeof(text));
                again[i] = text[i + 1];
                again[i + 1] = text[i];
                swapped += nir(again, 15, 0, canonical);
            }
        }

        for (i = 0; i < 15; i++) {
            again[i] = '0' + random() % 10;
        }

        again[0] = '1' + random() % 2;

        by_chance += nir(again, 15, 0, canonical);
    }

    is(refused, 0, "every number with its key is one");
    is(wrong, 0, "none with another digit is");
    is(swapped, 0, "nor with two digits that changed places");

    ok(by_chance > 20000 / 97 - 80 && by_chance < 20000 / 97 + 80,
       "of 20,000 guessed ones %d are, one in 97", by_chance);

    return done();
}
