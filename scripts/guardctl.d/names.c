
#include "names.h"

#include <err.h>
#include <stdio.h>


#define NAMES_FILE_MOST  4096                  /* bytes, as in the module */


/* what the rooms want of nginx' core, which is in its binary only */

ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char      ch;
    size_t      i;
    ngx_int_t   value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (i = 0, value = 0; i < n; i++) {
        ch = line[i] | 0x20;

        if (line[i] >= '0' && line[i] <= '9') {
            value = value * 16 + (line[i] - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            value = value * 16 + (ch - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return value;
}


void
ngx_explicit_memzero(void *buf, size_t n)
{
    explicit_bzero(buf, n);
}


/* the next line of what is left, without its end */

static ngx_str_t
names_line(ngx_str_t *left)
{
    u_char     *eol, *last;
    ngx_str_t   line;

    last = left->data + left->len;
    eol = memchr(left->data, '\n', left->len);

    line.data = left->data;
    line.len = (eol ? eol : last) - line.data;

    left->data = eol ? eol + 1 : last;
    left->len = last - left->data;

    if (line.len && line.data[line.len - 1] == '\r') {
        line.len--;
    }

    return line;
}


void
names_read(names_t *names, const char *file)
{
    FILE         *in;
    u_char        buf[NAMES_FILE_MOST + 1];
    ngx_str_t     left, line;
    struct stat   st;

    in = fopen(file, "r");

    if (in == NULL || fstat(fileno(in), &st) == -1) {
        err(2, "%s", file);
    }

    if (S_ISREG(st.st_mode) && (st.st_mode & S_IROTH)) {
        errx(2, "%s: a secret that others can read, expected a mode such as "
             "0640", file);
    }

    left.data = buf;
    left.len = fread(buf, 1, sizeof(buf), in);

    if (ferror(in)) {
        err(2, "%s", file);
    }

    fclose(in);

    if (left.len == 0 || left.len > NAMES_FILE_MOST) {
        errx(2, "%s: a secret has 1 to %d bytes", file, NAMES_FILE_MOST);
    }

    for (names->n = 0; names->n < NAMES_KEYS; names->n++) {

        line = names_line(&left);

        if (names->n && line.len == 0) {
            break;
        }

        if (line.len < NGX_PATIENT_GUARD_SECRET_MIN) {
            errx(2, "%s: line %d has %d bytes, a key has %d at least", file,
                 (int) names->n + 1, (int) line.len,
                 NGX_PATIENT_GUARD_SECRET_MIN);
        }

        if (ngx_patient_guard_keys_derive(&names->keys[names->n], &line)
            != NGX_OK)
        {
            errx(2, "HMAC-SHA-256 failed");
        }
    }

    explicit_bzero(buf, sizeof(buf));
}


void
names_of_login(names_t *names, const char *login, ngx_uint_t fold,
    names_account_t *account)
{
    size_t      i;
    u_char      text[NGX_PATIENT_GUARD_ACCOUNT_LEN];
    ngx_str_t   value;

    value.data = (u_char *) login;
    value.len = strlen(login);

    names_trim(&value);

    if (value.len == 0 || value.len > NGX_PATIENT_GUARD_ACCOUNT_LEN
        || names_has_control(&value))
    {
        errx(2, "no login: it has 1 to %d bytes, without control characters",
             NGX_PATIENT_GUARD_ACCOUNT_LEN);
    }

    for (i = 0; i < value.len; i++) {
        text[i] = fold ? ngx_tolower(value.data[i]) : value.data[i];
    }

    value.data = text;
    account->n = names->n;

    for (i = 0; i < names->n; i++) {
        ngx_patient_guard_account_alias(&names->keys[i], &value,
                                        &account->alias[i]);
    }
}


void
names_of_alias(const char *hex, names_account_t *account)
{
    const u_char  *p;

    p = (const u_char *) hex;

    if (strlen(hex) != NGX_PATIENT_GUARD_ACCOUNT_HEX
        || !names_hex(p, &account->alias[0].word[0])
        || !names_hex(p + 16, &account->alias[0].word[1]))
    {
        errx(2, "\"%s\" is no alias: it has 32 hexadecimal digits", hex);
    }

    account->n = 1;
}


/* as ngx_patient_guard_patient_hex() wrote them: the least byte first */

ngx_uint_t
names_hex(const u_char *p, uint64_t *word)
{
    u_char     ch;
    uint64_t   digit, value;
    ngx_uint_t  i;

    value = 0;

    for (i = 0; i < NGX_PATIENT_GUARD_PATIENT_HEX; i++) {
        ch = p[i];

        if (ch >= '0' && ch <= '9') {
            digit = ch - '0';

        } else if (ch >= 'a' && ch <= 'f') {
            digit = ch - 'a' + 10;

        } else {
            return 0;
        }

        value |= digit << (4 * (i ^ 1));
    }

    *word = value;

    return 1;
}


ngx_uint_t
names_is(names_account_t *account, ngx_patient_guard_account_t *alias)
{
    ngx_uint_t  i;

    for (i = 0; i < account->n; i++) {
        if (account->alias[i].word[0] == alias->word[0]
            && account->alias[i].word[1] == alias->word[1])
        {
            return 1;
        }
    }

    return 0;
}


void
names_trim(ngx_str_t *text)
{
    while (text->len && (text->data[0] == ' ' || text->data[0] == '\t')) {
        text->data++;
        text->len--;
    }

    while (text->len && (text->data[text->len - 1] == ' '
                         || text->data[text->len - 1] == '\t'))
    {
        text->len--;
    }
}


/* of ASCII, or U+0080 to U+009F in UTF-8 */

ngx_uint_t
names_has_control(ngx_str_t *text)
{
    size_t   i;
    u_char  *p;

    p = text->data;

    for (i = 0; i < text->len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f
            || (p[i] == 0xc2 && i + 1 < text->len
                && (p[i + 1] & 0xe0) == 0x80))
        {
            return 1;
        }
    }

    return 0;
}
