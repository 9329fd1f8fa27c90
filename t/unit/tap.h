
/* Test Anything Protocol, for t/unit: checks print, done() ends main(). */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdio.h>
#include <string.h>
#include <inttypes.h>


static int  tap_count, tap_failed;


#define ok(condition, ...)                                                   \
    tap_ok((condition) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)

#define is(got, expected, ...)                                               \
    tap_is((int64_t) (got), (int64_t) (expected), __FILE__, __LINE__,        \
           __VA_ARGS__)


static inline int __attribute__((format(printf, 4, 5)))
tap_ok(int passed, const char *file, int line, const char *name, ...)
{
    va_list  args;

    tap_count++;

    printf("%sok %d - ", passed ? "" : "not ", tap_count);
    va_start(args, name);
    vprintf(name, args);
    va_end(args);
    printf("\n");

    if (!passed) {
        tap_failed++;
        printf("# failed at %s:%d\n", file, line);
    }

    fflush(stdout);

    return passed;
}


static inline int __attribute__((format(printf, 5, 6)))
tap_is(int64_t got, int64_t expected, const char *file, int line,
    const char *name, ...)
{
    char     text[256];
    va_list  args;

    va_start(args, name);
    vsnprintf(text, sizeof(text), name, args);
    va_end(args);

    if (!tap_ok(got == expected, file, line, "%s", text)) {
        printf("# got %" PRId64 ", expected %" PRId64 "\n", got, expected);
        return 0;
    }

    return 1;
}


/* the value of main() */

static inline int
done(void)
{
    printf("1..%d\n", tap_count);

    return tap_failed || tap_count == 0;
}


#endif /* _TAP_H_INCLUDED_ */
