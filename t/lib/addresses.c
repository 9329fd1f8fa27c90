
/*
 * Preloaded into nginx by t/64-addresses.t: names with several addresses,
 * which no machine's /etc/hosts has for us.  127.0.0.2 and 127.0.0.3 are
 * this machine as well, but Redis listens at 127.0.0.1 alone.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>


typedef int (*getaddrinfo_pt)(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res);


static struct {
    const char  *name;
    const char  *addresses[3];
} names[] = {
    { "second.test", { "127.0.0.2", "127.0.0.1" } },
    { "third.test",  { "127.0.0.2", "127.0.0.3", "127.0.0.1" } },
    { "none.test",   { "127.0.0.2", "127.0.0.3" } }
};


int
getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res)
{
    int             rc;
    size_t          i, n;
    getaddrinfo_pt  resolve;

    resolve = (getaddrinfo_pt) dlsym(RTLD_NEXT, "getaddrinfo");

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (node == NULL || strcmp(node, names[i].name) != 0) {
            continue;
        }

        /* each is a list of one, freed with the first */

        for (n = 0; n < 3 && names[i].addresses[n]; n++) {

            rc = resolve(names[i].addresses[n], service, hints, res);

            if (rc != 0) {
                return rc;
            }

            while (*res) {
                res = &(*res)->ai_next;
            }
        }

        return 0;
    }

    return resolve(node, service, hints, res);
}
