
/* Social-security numbers: examples, and what the key finds. */


/* rooms: ngx_patient_guard_nir */

#include "ngx_patient_guard_nir.h"
#include "tap.h"
#include "vectors.h"

#include <stdlib.h>


#define NUMBERS  2000
#define GUESSES  1000000
#define LONG     (1024 * 1024)


/* from memory of just its size */

static int
nir(const char *text, size_t len, int keyless, char *canonical)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    value.len = len;
    value.data = malloc(len ? len : 1);
    memcpy(value.data, text, len);

    rc = ngx_patient_guard_nir(&value, keyless, (u_char *) canonical);

    free(value.data);

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        ok(0, "an answer that there is not: %d", (int) rc);
    }

    return rc == NGX_OK;
}


static size_t
unescape(const char *word, char *text)
{
    char      *start = text;
    unsigned   byte;

    if (strcmp(word, "\"\"") == 0) {
        return 0;
    }

    while (*word) {
        if (sscanf(word, "\\x%2x", &byte) == 1) {
            *text++ = byte;
            word += 4;

        } else {
            *text++ = *word++;
        }
    }

    return text - start;
}


static void
row(vectors_t *v)
{
    int          keyless, taken;
    char         text[128], canonical[NGX_PATIENT_GUARD_NIR];
    size_t       len;
    const char  *expected = "-";

    if (v->nwords != 3) {
        vectors_malformed(v, v->words[0]);
    }

    len = unescape(v->words[0], text);

    for (keyless = 0; keyless < 2; keyless++) {

        if (strcmp(v->words[1 + keyless], "=") != 0) {
            expected = v->words[1 + keyless];
        }

        taken = nir(text, len, keyless, canonical);

        ok(*expected == '-'
           ? !taken
           : taken && memcmp(canonical, expected, sizeof(canonical)) == 0,
           "line %d: %s is %s%s", v->line, v->words[0], expected,
           keyless ? ", with or without its key" : "");
    }
}


/*
 * By weights, from the right, and another wording of the rule for Corsica: a
 * letter is 0, and 1,000,000 is taken off for A, 2,000,000 for B.
 */

static void
write_key(char *text)
{
    int  i, weight, sum;

    for (i = 12, weight = 1, sum = 0; i >= 0; i--, weight = weight * 10 % 97) {

        if (text[i] == 'A' || text[i] == 'B') {
            sum -= weight * (text[i] - 'A' + 1);
            continue;
        }

        sum += weight * (text[i] - '0');
    }

    sum = 97 - ((sum % 97) + 97) % 97;

    text[13] = '0' + sum / 10;
    text[14] = '0' + sum % 10;
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


/* each character is each other one, also a letter */

static int
errors_taken(const char *text)
{
    int          i, n;
    char         wrong[15], canonical[15];
    const char  *p;

    for (i = n = 0; i < 15; i++) {
        memcpy(wrong, text, 15);

        for (p = "0123456789AB"; *p; p++) {
            wrong[i] = *p;
            n += *p != text[i] && nir(wrong, 15, 1, canonical);
        }
    }

    return n;
}


static int
transpositions_taken(const char *text)
{
    int   i, n;
    char  wrong[15], canonical[15];

    for (i = n = 0; i < 14; i++) {
        memcpy(wrong, text, 15);
        wrong[i] = text[i + 1];
        wrong[i + 1] = text[i];

        n += text[i] != text[i + 1] && nir(wrong, 15, 1, canonical);
    }

    return n;
}


static int
losses_taken(const char *text)
{
    int   i, n;
    char  wrong[14], canonical[15];

    for (i = n = 0; i < 15; i++) {
        memcpy(wrong, text, i);
        memcpy(wrong + i, text + i + 1, 14 - i);

        n += nir(wrong, 14, 1, canonical);
    }

    return n;
}


/* every character written in one of its ways, with separators between them */

static size_t
spell(const char *text, size_t len, char *spelt)
{
    char    *p;
    size_t   i;

    static const char  *separators[] = {
        "", "", " ", "\t", ".", "-", "_", "/", "+", "%20", "%09", "%2e",
        "%2D", "%5f", "%2F", "%2b", "\xc2\xa0", "%C2%a0", "%c2\xa0",
        "\xc2%A0", "\xe2\x80\xaf", "%e2%80%af", "\xe2%80\xaf", "%E2\x80%AF"
    };

    for (i = 0, p = spelt; i <= len; i++) {

        while (random() % 3 == 0) {
            p = stpcpy(p, separators[random() % 24]);
        }

        if (i < len) {
            p += sprintf(p, random() % 3 ? "%c" : "%%%02x",
                         text[i] + (text[i] >= 'A' && random() % 2 ? 32 : 0));
        }
    }

    return p - spelt;
}


static void
keys_find_what_is_wrong(void)
{
    int     i, missed, keyless, spelt, errors, transpositions, losses;
    char    text[15], canonical[15], long_text[4096];

    missed = keyless = spelt = errors = transpositions = losses = 0;

    for (i = 0; i < NUMBERS; i++) {
        draw(text);
        write_key(text);

        missed += !nir(text, 15, i & 1, canonical)
                  || memcmp(canonical, text, 15) != 0;

        keyless += !nir(text, 13, 1, canonical)
                   || memcmp(canonical, text, 15) != 0
                   || nir(text, 13, 0, canonical);

        spelt += !nir(long_text, spell(text, i & 1 ? 13 : 15, long_text),
                      i & 1, canonical)
                 || memcmp(canonical, text, 15) != 0;

        errors += errors_taken(text);
        transpositions += transpositions_taken(text);
        losses += losses_taken(text);
    }

    is(missed, 0, "%d numbers with their keys are themselves", NUMBERS);
    is(keyless, 0, "and without them, where that is allowed");
    is(spelt, 0, "and however they are spelt");
    is(errors, 0, "none with any one character wrong is one");
    is(transpositions, 0, "nor with any two neighbours that changed places");
    is(losses, 0, "nor with any character missing");
}


static void
guesses_fail(void)
{
    int   i, j, taken;
    char  text[15], canonical[15];

    for (i = taken = 0; i < GUESSES; i++) {

        for (j = 0; j < 15; j++) {
            text[j] = '0' + random() % 10;
        }

        text[0] = '1' + random() % 8;
        taken += nir(text, 15, 1, canonical);
    }

    /* keys of 98, 99 and 00 are nobody's: 1 in 100, not in 97 */

    ok(taken > GUESSES / 100 * .97 && taken < GUESSES / 97 * 1.03,
       "of %d guessed numbers %d are one", GUESSES, taken);
}


/* what a text is, is seen at its 16th character; separators are no end */

static void
texts_may_be_long(void)
{
    int       i;
    char     *text, canonical[15];
    clock_t   start;

    static const char  *fillings[] = { " ", "2", "x", "%", "%20", "\xc2\xa0",
                                       "\xe2", "\xe2\x80\xaf", "\xc2" };

    text = malloc(LONG + 15);
    start = clock();

    for (i = 0; i < 9; i++) {
        size_t  j, n = strlen(fillings[i]);

        for (j = 0; j + n <= LONG; j += n) {
            memcpy(text + j, fillings[i], n);
        }

        ok(!nir(text, j, 1, canonical), "1 MB of \"%s\" is none",
           fillings[i]);

        memcpy(text + j, "255081416802538", 15);

        is(nir(text, j + 15, 0, canonical),
           i == 0 || i == 4 || i == 5 || i == 7, "with a number behind it");
    }

    ok(clock() - start < 10 * CLOCKS_PER_SEC, "all of it in time");

    free(text);
}


int
main(void)
{
    vectors_t  v;

    srandom(1);
    vectors_open(&v, "t/unit/nir.vectors");

    while (vectors_next(&v)) {
        row(&v);
    }

    keys_find_what_is_wrong();
    guesses_fail();
    texts_may_be_long();

    return done();
}
