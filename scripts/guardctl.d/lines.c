
#include "lines.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <zlib.h>


#define LINES_DEPTH  16                        /* of values in values */


typedef struct {
    gzFile       file;
    const char  *name;
    u_char      *buf;
    size_t       start;                        /* of what was not read yet */
    size_t       end;
    uint64_t     number;                       /* of the line */
    unsigned     over:1;
    unsigned     broken:1;                     /* before its end */
} lines_log_t;


typedef enum {
    LINES_TIME = 0,
    LINES_ACTION,
    LINES_ACCOUNT,
    LINES_PATIENTS,
    LINES_STATUS,
    LINES_POLICY,
    LINES_DRY_RUN,
    LINES_MEMBERS
} lines_member_e;


#define lines_name(name)  name, sizeof(name) - 1

static const struct {
    const char  *name;
    size_t       len;
    ngx_uint_t   wanted;
} members[LINES_MEMBERS] = {
    { lines_name("@timestamp"), 1 },
    { lines_name("event.action"), 1 },
    { lines_name("user.id"), 1 },
    { lines_name("patient_guard.patients"), 1 },
    { lines_name("http.response.status_code"), 1 },
    { lines_name("patient_guard.policy"), 0 },
    { lines_name("patient_guard.dry_run"), 0 }
};


const char  *lines_verdicts[LINES_VERDICTS] = {
    "allow", "throttle", "challenge", "deny", "unavailable"
};


/* the end of the string whose first quotation mark is at p, or NULL */

static u_char *
lines_string(u_char *p, u_char *last)
{
    for (p++; p < last; p++) {

        if (*p == '"') {
            return p + 1;
        }

        if (*p < 0x20) {
            return NULL;
        }

        if (*p != '\\') {
            continue;
        }

        if (++p == last) {
            return NULL;
        }

        if (*p == 'u') {
            if (last - p < 5 || ngx_hextoi(p + 1, 4) == NGX_ERROR) {
                return NULL;
            }

            p += 4;

        } else if (strchr("\"\\/bfnrt", *p) == NULL || *p == '\0') {
            return NULL;
        }
    }

    return NULL;
}


static u_char *
lines_blank(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }

    return p;
}


/* numbers and words: nginx writes 000 for no status, which JSON knows not */

static u_char *
lines_word(u_char *p, u_char *last)
{
    u_char  *start;

    for (start = p; p < last; p++) {
        if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z')
              || *p == '-' || *p == '+' || *p == '.' || *p == 'E'))
        {
            break;
        }
    }

    return p > start ? p : NULL;
}


/* the end of the value at p, or NULL */

static u_char *
lines_value(u_char *p, u_char *last, ngx_uint_t depth)
{
    u_char  end;

    if (p == last || depth == LINES_DEPTH) {
        return NULL;
    }

    if (*p == '"') {
        return lines_string(p, last);
    }

    if (*p != '{' && *p != '[') {
        return lines_word(p, last);
    }

    end = *p + 2;
    p = lines_blank(p + 1, last);

    if (p < last && *p == end) {
        return p + 1;
    }

    for ( ;; ) {

        if (end == '}') {

            if (p == last || *p != '"') {
                return NULL;
            }

            p = lines_string(p, last);

            if (p == NULL) {
                return NULL;
            }

            p = lines_blank(p, last);

            if (p == last || *p++ != ':') {
                return NULL;
            }

            p = lines_blank(p, last);
        }

        p = lines_value(p, last, depth + 1);

        if (p == NULL) {
            return NULL;
        }

        p = lines_blank(p, last);

        if (p == last) {
            return NULL;
        }

        if (*p == end) {
            return p + 1;
        }

        if (*p++ != ',') {
            return NULL;
        }

        p = lines_blank(p, last);
    }
}


/* without its quotation marks */

static void
lines_keep(ngx_str_t *values, u_char *name, size_t len, u_char *value,
    u_char *end)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_MEMBERS; i++) {

        if (len != members[i].len
            || memcmp(name, members[i].name, len) != 0)
        {
            continue;
        }

        if (*value == '"') {
            value++;
            end--;
        }

        values[i].data = value;
        values[i].len = end - value;
        return;
    }
}


/* the members of a line that are of interest; what is wrong, or NULL */

static const char *
lines_object(u_char *p, u_char *last, ngx_str_t *values)
{
    u_char  *name, *end, *value;

    static const char  broken[] = "no JSON object, or cut off";

    memset(values, 0, LINES_MEMBERS * sizeof(ngx_str_t));

    p = lines_blank(p, last);

    if (p == last || *p != '{') {
        return broken;
    }

    do {
        name = lines_blank(p + 1, last);

        if (name == last || *name != '"') {
            return broken;
        }

        end = lines_string(name, last);

        if (end == NULL) {
            return broken;
        }

        p = lines_blank(end, last);

        if (p == last || *p != ':') {
            return broken;
        }

        value = lines_blank(p + 1, last);
        p = lines_value(value, last, 0);

        if (p == NULL) {
            return broken;
        }

        lines_keep(values, name + 1, end - name - 2, value, p);

        p = lines_blank(p, last);

    } while (p < last && *p == ',');

    if (p == last || *p != '}' || lines_blank(p + 1, last) != last) {
        return broken;
    }

    return NULL;
}


/* "width" digits that are "most" at most, else -1 */

static int
lines_digits(const u_char *p, int width, int most)
{
    int  value;

    for (value = 0; width; width--, p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }

        value = value * 10 + (*p - '0');
    }

    return value <= most ? value : -1;
}


/* by the calendar, of a time in UTC (H. Hinnant, days_from_civil) */

static int64_t
lines_days(int year, int month, int day)
{
    int  era, of_era;

    year -= month <= 2;
    era = year / 400;
    of_era = year - era * 400;
    day += (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 - 1;

    return (int64_t) era * 146097 + of_era * 365 + of_era / 4 - of_era / 100
           + day - 719468;
}


/* 2022-03-11T07:03:00[.123](Z|+01:00); 0 if it is no such time */

static ngx_uint_t
lines_clock(ngx_str_t *text, int64_t *ms)
{
    int      year, month, day, hour, minute, second, fraction, unit, zone;
    u_char  *p, *last;

    static const int  month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30,
                                       31, 30, 31 };

    p = text->data;
    last = p + text->len;

    if (text->len < sizeof("2022-03-11T07:03:00Z") - 1
        || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':'
        || p[16] != ':')
    {
        return 0;
    }

    year = lines_digits(p, 4, 9999);
    month = lines_digits(p + 5, 2, 12);
    day = lines_digits(p + 8, 2, 31);
    hour = lines_digits(p + 11, 2, 23);
    minute = lines_digits(p + 14, 2, 59);
    second = lines_digits(p + 17, 2, 60);

    if (year < 1970 || month < 1 || day < 1 || day > month_days[month - 1]
        || hour < 0 || minute < 0 || second < 0)
    {
        return 0;
    }

    p += 19;
    fraction = 0;

    if (*p == '.') {
        unit = 100;

        for (p++; p < last && *p >= '0' && *p <= '9'; p++, unit /= 10) {
            fraction += (*p - '0') * unit;
        }
    }

    zone = 0;

    if (last - p == 6 && (*p == '+' || *p == '-') && p[3] == ':') {
        int  of_hour = lines_digits(p + 1, 2, 23);
        int  of_minute = lines_digits(p + 4, 2, 59);

        if (of_hour < 0 || of_minute < 0) {
            return 0;
        }

        zone = (of_hour * 60 + of_minute) * (*p == '-' ? -60 : 60);

    } else if (last - p != 1 || *p != 'Z') {
        return 0;
    }

    *ms = ((lines_days(year, month, day) * 24 + hour) * 60 + minute) * 60
          + second - zone;
    *ms = *ms * 1000 + fraction;

    return 1;
}


/* nginx writes "-", or nothing, for a variable without a value */

static ngx_uint_t
lines_empty(ngx_str_t *value)
{
    return value->len == 0 || (value->len == 1 && value->data[0] == '-');
}


static ngx_uint_t
lines_patients(lines_lookup_t *lookup, ngx_str_t *value)
{
    uint64_t    word;
    ngx_uint_t  i;

    if (lines_empty(value)) {
        lookup->npatients = 0;
        return 1;
    }

    if ((value->len + 1) % (NGX_PATIENT_GUARD_PATIENT_HEX + 1)) {
        return 0;
    }

    lookup->patients = value->data;
    lookup->npatients = (value->len + 1) / (NGX_PATIENT_GUARD_PATIENT_HEX + 1);

    for (i = 0; i < lookup->npatients; i++) {
        if ((i && value->data[i * 17 - 1] != ',')
            || !names_hex(value->data + i * 17, &word))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
lines_verdict(lines_lookup_t *lookup, ngx_str_t *value)
{
    ngx_uint_t  i;

    for (i = 0; i < LINES_VERDICTS; i++) {
        if (value->len == strlen(lines_verdicts[i])
            && memcmp(value->data, lines_verdicts[i], value->len) == 0)
        {
            lookup->verdict = i;
            return 1;
        }
    }

    return 0;
}


/* what is wrong, or NULL */

static const char *
lines_lookup(u_char *p, u_char *last, lines_lookup_t *lookup)
{
    int          number;
    const char  *wrong;
    ngx_str_t    values[LINES_MEMBERS], *status, *dry_run;
    ngx_uint_t   i;

    wrong = lines_object(p, last, values);

    if (wrong) {
        return wrong;
    }

    for (i = 0; i < LINES_MEMBERS; i++) {
        if (members[i].wanted && values[i].data == NULL) {
            return members[i].name;
        }
    }

    memset(lookup, 0, sizeof(lines_lookup_t));

    if (!lines_clock(&values[LINES_TIME], &lookup->time)) {
        return members[LINES_TIME].name;
    }

    if (lines_empty(&values[LINES_ACCOUNT])) {
        lookup->nobody = 1;
        return NULL;
    }

    if (values[LINES_ACCOUNT].len != NGX_PATIENT_GUARD_ACCOUNT_HEX
        || !names_hex(values[LINES_ACCOUNT].data, &lookup->account.word[0])
        || !names_hex(values[LINES_ACCOUNT].data + 16,
                      &lookup->account.word[1]))
    {
        return members[LINES_ACCOUNT].name;
    }

    if (!lines_verdict(lookup, &values[LINES_ACTION])) {
        return members[LINES_ACTION].name;
    }

    if (!lines_patients(lookup, &values[LINES_PATIENTS])) {
        return members[LINES_PATIENTS].name;
    }

    status = &values[LINES_STATUS];
    number = status->len == 3 ? lines_digits(status->data, 3, 999) : -1;

    if (number < 0) {
        return members[LINES_STATUS].name;
    }

    lookup->status = number;
    dry_run = &values[LINES_DRY_RUN];
    lookup->dry_run = dry_run->len == 1 && dry_run->data[0] == '1';
    lookup->policy = values[LINES_POLICY];

    /* a throttled lookup that was answered has only waited */

    lookup->through = lookup->verdict == LINES_ALLOW || lookup->dry_run
                      || (lookup->verdict == LINES_THROTTLE
                          && lookup->status >= 200 && lookup->status < 300);

    return NULL;
}


static void
lines_malformed(lines_log_t *log, lines_seen_t *seen, const char *wrong)
{
    seen->malformed++;

    if (seen->malformed <= LINES_TOLD) {
        warnx("%s:%" PRIu64 ": malformed: %s", log->name, log->number, wrong);

    } else if (seen->malformed == LINES_TOLD + 1) {
        warnx("more are malformed, which are only counted");
    }
}


/* reads on behind what is held; 0 at the end */

static ngx_uint_t
lines_fill(lines_log_t *log)
{
    int          n, error;
    const char  *what;

    if (log->over) {
        return 0;
    }

    memmove(log->buf, log->buf + log->start, log->end - log->start);
    log->end -= log->start;
    log->start = 0;

    n = gzread(log->file, log->buf + log->end, LINES_LONGEST - log->end);

    if (n > 0) {
        log->end += n;
        return 1;
    }

    log->over = 1;
    what = gzerror(log->file, &error);

    if (n < 0 || error == Z_BUF_ERROR) {
        log->broken = 1;
        warnx("%s: broken off after line %" PRIu64 ": %s", log->name,
              log->number, error == Z_ERRNO ? strerror(errno) : what);
    }

    return 0;
}


/* NULL at the end; "last" is NULL for a line that is too long */

static u_char *
lines_next(lines_log_t *log, u_char **last)
{
    size_t       searched;
    u_char      *p, *eol;
    ngx_uint_t   skipped;

    searched = 0;
    skipped = 0;

    for ( ;; ) {
        p = log->buf + log->start;
        eol = memchr(p + searched, '\n', log->end - log->start - searched);

        if (eol) {
            break;
        }

        searched = log->end - log->start;

        if (searched == LINES_LONGEST) {
            log->start = log->end;
            searched = 0;
            skipped = 1;
        }

        if (!lines_fill(log)) {
            p = log->buf + log->start;
            eol = log->buf + log->end;

            if (eol == p && !skipped) {
                return NULL;
            }

            break;
        }
    }

    log->start = ngx_min((size_t) (eol + 1 - log->buf), log->end);
    log->number++;
    *last = skipped ? NULL : eol;

    return p;
}


static void
lines_read_log(lines_log_t *log, lines_asked_t *asked, lines_seen_t *seen,
    void (*each)(void *data, lines_lookup_t *lookup), void *data)
{
    u_char          *p, *last;
    const char      *wrong;
    lines_lookup_t   lookup;

    while ((p = lines_next(log, &last)) != NULL) {

        seen->lines++;

        wrong = last ? lines_lookup(p, last, &lookup) : "over a megabyte";

        if (wrong) {
            lines_malformed(log, seen, wrong);
            continue;
        }

        if (seen->first == 0 || lookup.time < seen->first) {
            seen->first = lookup.time;
        }

        seen->last = ngx_max(seen->last, lookup.time);

        if (lookup.nobody || !names_is(&asked->account, &lookup.account)
            || (asked->policy.len
                && (asked->policy.len != lookup.policy.len
                    || memcmp(asked->policy.data, lookup.policy.data,
                              lookup.policy.len) != 0)))
        {
            continue;
        }

        each(data, &lookup);
    }
}


void
lines_read(char **logs, ngx_uint_t nlogs, lines_asked_t *asked,
    lines_seen_t *seen, void (*each)(void *data, lines_lookup_t *lookup),
    void *data)
{
    u_char       *buf;
    ngx_uint_t    i;
    lines_log_t   log;

    memset(seen, 0, sizeof(lines_seen_t));

    buf = malloc(LINES_LONGEST);

    if (buf == NULL) {
        err(2, "malloc");
    }

    for (i = 0; i < nlogs; i++) {
        memset(&log, 0, sizeof(log));

        log.buf = buf;
        log.name = logs[i];
        log.file = strcmp(logs[i], "-") == 0 ? gzdopen(0, "r")
                                             : gzopen(logs[i], "r");
        if (log.file == NULL) {
            err(2, "%s", logs[i]);
        }

        gzbuffer(log.file, 1 << 18);
        lines_read_log(&log, asked, seen, each, data);
        seen->broken += log.broken;
        gzclose(log.file);
    }

    free(buf);
}


ngx_uint_t
lines_within(lines_asked_t *asked, lines_lookup_t *lookup)
{
    return lookup->time >= asked->since && lookup->time <= asked->until;
}


ngx_patient_guard_patient_t
lines_patient(lines_lookup_t *lookup, ngx_uint_t i)
{
    uint64_t  word;

    (void) names_hex(lookup->patients + i * 17, &word);

    return word;
}


const char *
lines_time(int64_t ms, char *buf)
{
    char       zone[8];
    time_t     seconds;
    struct tm  tm;

    seconds = ms / 1000;
    localtime_r(&seconds, &tm);

    strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(zone, sizeof(zone), "%z", &tm);
    sprintf(buf + strlen(buf), "%.3s:%.2s", zone, zone + 3);

    return buf;
}


void
lines_summary(lines_seen_t *seen)
{
    char  first[32], last[32];

    fprintf(stderr, "log       %" PRIu64 " lines, %" PRIu64 " malformed",
            seen->lines, seen->malformed);

    if (seen->broken) {
        fprintf(stderr, ", %" PRIu64 " logs broken off", seen->broken);
    }

    if (seen->first) {
        fprintf(stderr, ", %s to %s", lines_time(seen->first, first),
                lines_time(seen->last, last));
    }

    fputc('\n', stderr);
}
