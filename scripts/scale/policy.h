
/* The limits of a run, written as in nginx.conf, with a ";" between them. */


#ifndef _POLICY_H_INCLUDED_
#define _POLICY_H_INCLUDED_


#include "ngx_patient_guard.h"

#include <err.h>


static struct {
    ngx_patient_guard_limit_t   limits[NGX_PATIENT_GUARD_LIMITS];
    ngx_uint_t                  nlimits;
    ngx_patient_guard_grants_t  grants;
} policy = { .grants = { 3, 86400000 } };


/* the place of a word in a list that ends with NULL, or -1 */

static inline int
policy_word(const char *word, const char **words)
{
    int  i;

    for (i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }

    return -1;
}


static inline void
policy_limit(const char *text)
{
    int                         signal, action;
    char                        signals[16], actions[16], unit, *state;
    uint64_t                    ms;
    unsigned                    count, length;
    ngx_patient_guard_limit_t  *limit;

    static const char  *signal_words[] = { "lookups", "patients", NULL };
    static const char  *action_words[] = {
        "log", "throttle", "challenge", "deny", NULL
    };

    if (policy.nlimits == NGX_PATIENT_GUARD_LIMITS
        || sscanf(text, " %15[^=]=%u/%u%c %15s", signals, &count, &length,
                  &unit, actions) != 5)
    {
        errx(2, "no limit: \"%s\"", text);
    }

    signal = policy_word(signals, signal_words);
    action = policy_word(actions, action_words);
    ms = unit == 'd' ? 86400000 : unit == 'h' ? 3600000
         : unit == 'm' ? 60000 : unit == 's' ? 1000 : 0;

    if (signal == -1 || action == -1 || count == 0 || length * ms == 0) {
        errx(2, "no limit: \"%s\"", text);
    }

    limit = &policy.limits[policy.nlimits++];

    limit->signal = signal;
    limit->action = action;
    limit->count = count;
    limit->window = length * ms;

    if (asprintf(&state, "%s/%lu", signals, limit->window / 1000) == -1) {
        err(2, "asprintf");
    }

    limit->state.data = (u_char *) state;
    limit->state.len = strlen(state);
}


static inline void
policy_parse(const char *text)
{
    char  *copy, *limit;

    copy = strdup(text);

    for (limit = strtok(copy, ";"); limit; limit = strtok(NULL, ";")) {
        policy_limit(limit);
    }

    free(copy);

    if (policy.nlimits == 0) {
        errx(2, "no limits");
    }
}


/* the limit on patients with the longest window, or NULL */

static inline ngx_patient_guard_limit_t *
policy_longest(void)
{
    ngx_uint_t                  i;
    ngx_patient_guard_limit_t  *limit, *longest;

    longest = NULL;

    for (i = 0; i < policy.nlimits; i++) {
        limit = &policy.limits[i];

        if (limit->signal == NGX_PATIENT_GUARD_PATIENTS_SEEN
            && (longest == NULL || limit->window > longest->window))
        {
            longest = limit;
        }
    }

    return longest;
}


#endif /* _POLICY_H_INCLUDED_ */
