
/*
 * Vectors are data files, t/unit/NAME.vectors, read by whoever keeps to
 * them: words between blanks, a line each; "#" begins a comment.
 */


#ifndef _VECTORS_H_INCLUDED_
#define _VECTORS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define VECTORS_WORDS  64


typedef struct {
    FILE        *file;
    const char  *name;
    int          line;
    char         text[1024];
    char        *words[VECTORS_WORDS];
    int          nwords;
} vectors_t;


static inline void
vectors_open(vectors_t *v, const char *name)
{
    memset(v, 0, sizeof(vectors_t));

    v->name = name;
    v->file = fopen(name, "r");

    if (v->file == NULL) {
        printf("Bail out! %s cannot be read\n", name);
        exit(1);
    }
}


static inline void
vectors_malformed(vectors_t *v, const char *what)
{
    printf("Bail out! %s:%d: malformed %s\n", v->name, v->line, what);
    exit(1);
}


/* the next line that has words; 0 at the end of the file */

static inline int
vectors_next(vectors_t *v)
{
    char  *word;

    while (fgets(v->text, sizeof(v->text), v->file)) {
        v->line++;
        v->nwords = 0;
        v->text[strcspn(v->text, "#\n")] = '\0';

        for (word = strtok(v->text, " ");
             word && v->nwords < VECTORS_WORDS;
             word = strtok(NULL, " "))
        {
            v->words[v->nwords++] = word;
        }

        if (v->nwords) {
            return 1;
        }
    }

    fclose(v->file);

    return 0;
}


static inline uint64_t
vectors_number(vectors_t *v, const char *word)
{
    char      *end;
    uint64_t   n;

    n = strtoull(word, &end, 10);

    if (end == word || *end) {
        vectors_malformed(v, word);
    }

    return n;
}


/* 3, 0.25s, 1h, -90d: in ms; seconds without a unit */

static inline uint64_t
vectors_time(vectors_t *v, const char *word)
{
    char    *end;
    double   t;

    t = strtod(word, &end);

    switch (end == word ? '?' : *end) {
    case '\0':
    case 's': t *= 1000; break;
    case 'm': t *= 60 * 1000; break;
    case 'h': t *= 3600 * 1000; break;
    case 'd': t *= 86400 * 1000; break;
    default: vectors_malformed(v, word);
    }

    return (uint64_t) (int64_t) (t < 0 ? t - 0.5 : t + 0.5);
}


#endif /* _VECTORS_H_INCLUDED_ */
