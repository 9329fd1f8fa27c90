# Who is logged in: 200 honest accounts in the roles' usual proportions, and 19
# stolen pharmacies.  Reads random tokens, a line each.
#
#     awk -v work=DIR -v seconds=NOW -f sessions.awk
#
# For nginx: sessions.map (token -> account, role, time of the login);
# logins.map and users/, by which the first account of each role logs in, with
# a password at /login and with a card's code at /step-up; codes.map, by which
# it shows that code as a second factor.
# For the play: sessions.txt, without the ward, which has no part in it.

function draw() {
    if ((getline random) <= 0)
        exit 1
    return random
}

function person(role, i, fate,    account, token, card) {
    account = sprintf("%s-%03d", role, i)
    token = draw()

    printf "%s \"%s %s %d\";\n", token, account, role, seconds > sessions
    if (fate)
        print token, role, account, fate > (work "/sessions.txt")

    if (i > 1)
        return

    card = draw()
    printf "%s \"%s %s card\";\n", card, account, role > sessions
    printf "\"%s /login\" %s;\n", account, token > logins
    printf "\"%s /step-up\" %s;\n", account, card > logins
    printf "%s:{PLAIN}%s\n", account, password > (work "/users/login")
    printf "%s:{PLAIN}%s\n", account, code > (work "/users/step-up")
    printf "\"%s %s\" yes;\n", account, code > (work "/codes.map")
}

BEGIN {
    sessions = work "/sessions.map"
    logins = work "/logins.map"

    password = substr(draw(), 1, 8)
    code = substr(draw(), 1, 6)
    print password > (work "/password")
    print code > (work "/code")

    for (i = 1; i <= 90; i++)
        person("pharmacy", i, "honest")
    for (i = 1; i <= 94; i++)
        person("practice", i, "honest")
    for (i = 1; i <= 16; i++)
        person("hospital", i, "honest")
    for (i = 91; i <= 109; i++)
        person("pharmacy", i, "stolen")
    person("ward", 1)

    # whoever sends the tokens shall not find the pipe broken
    while ((getline) > 0)
        ;
}
