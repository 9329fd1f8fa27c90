
/*
 * guardlog exposed|timeline -s SECRET -a LOGIN [options] LOG ...
 *
 * guardctl starts it, and has checked what it is given.
 *
 *   -A          LOGIN is an alias
 *   -f          upper and lower case of the login are the same
 *   -p LIST     of patients
 *   -n          these are NIR
 *   -P POLICY   only its lines
 *   -F, -U MS   since and until, both belong to it
 *   -j          JSON
 */


#include "guardlog.h"

#include <err.h>
#include <stdio.h>
#include <unistd.h>


int
main(int argc, char **argv)
{
    int          c;
    guardlog_t   ask;
    ngx_uint_t   alias, fold;
    const char  *command, *login, *secret;

    memset(&ask, 0, sizeof(ask));
    ask.asked.until = INT64_MAX;
    alias = fold = 0;
    login = secret = NULL;

    argv[0] = "guardctl";
    program_invocation_short_name = "guardctl";
    command = argc > 1 ? argv[1] : "";
    argc--;
    argv++;

    while ((c = getopt(argc, argv, "s:a:Afp:nP:F:U:j")) != -1) {
        switch (c) {
        case 's': secret = optarg; break;
        case 'a': login = optarg; break;
        case 'A': alias = 1; break;
        case 'f': fold = 1; break;
        case 'p': ask.list = optarg; break;
        case 'n': ask.nir = 1; break;
        case 'P': ask.asked.policy.data = (u_char *) optarg;
                  ask.asked.policy.len = strlen(optarg); break;
        case 'F': ask.asked.since = strtoll(optarg, NULL, 10); break;
        case 'U': ask.asked.until = strtoll(optarg, NULL, 10); break;
        case 'j': ask.json = 1; break;
        default: return 2;
        }
    }

    ask.logs = argv + optind;
    ask.nlogs = argc - optind;

    if (login == NULL || ask.nlogs == 0 || (secret == NULL && !alias)) {
        errx(2, "what whose lookups in which logs?");
    }

    if (secret) {
        names_read(&ask.names, secret);
    }

    if (alias) {
        names_of_alias(login, &ask.asked.account);
    } else {
        names_of_login(&ask.names, login, fold, &ask.asked.account);
    }

    if (strcmp(command, "timeline") == 0) {
        return timeline(&ask);
    }

    if (strcmp(command, "exposed") == 0 && secret && ask.list) {
        return exposed(&ask);
    }

    errx(2, "no such command, or no list of patients");
}
