
/* Numbers by chance, from a state of one's own. */


#ifndef CHANCE_H
#define CHANCE_H


#include <math.h>
#include <stdint.h>


/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators" */

static inline uint64_t
chance(uint64_t *state)
{
    uint64_t  z;

    z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

    return z ^ (z >> 31);
}


/* from 0 to below 1 */

static inline double
part(uint64_t *state)
{
    return (chance(state) >> 11) / 9007199254740992.0;
}


/* with mean 1 */

static inline double
lognormal(uint64_t *state, double sigma)
{
    double  radius;

    radius = sqrt(-2 * log(1 - part(state)));

    return exp(sigma * radius * cos(2 * M_PI * part(state))
               - sigma * sigma / 2);
}


#endif /* CHANCE_H */
