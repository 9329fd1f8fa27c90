# The table and the conclusion of a play, from the facts of its two runs:
#
#     awk -v limit=N -f report.awk open.facts guarded.facts
#
# Fails if more than the limit left with any account, if honest work was
# disturbed under the guard, or if the portal failed to answer.

BEGIN {
    split("delayed challenged refused failed", kinds)
}

FNR == 1 { run++ }

$1 == "robots" || $1 == "humans" {
    n[run, $1, $2] = $3
    n[run, $1] += $3
}

$1 == "account" {
    if (run == 1)
        name[++accounts] = $2

    left[run, $2] = $3
    all[run] += $3

    if ($4 < 0)
        never[run] = 1
    else if ($4 > last[run])
        last[run] = $4
}

$1 == "seconds" || $1 == "slowest" || $1 == "cut" { fact[run, $1] = $2 }

# 509998 -> 509,998
function commas(x,    s) {
    s = sprintf("%d", x)
    while (match(s, /[0-9][0-9][0-9][0-9]($|,)/))
        s = substr(s, 1, RSTART) "," substr(s, RSTART + 1)
    return s
}

function row(what, off, on) { printf "  %-45s %12s %12s\n", what, off, on }

function counts(what, key) { row(what, commas(n[1, key]), commas(n[2, key])) }

function stopped(r) { return never[r] ? "never" : sprintf("%.2f s", last[r]) }

function rate(r) {
    return commas((n[r, "robots"] + n[r, "humans"]) / fact[r, "seconds"])
}

function failed(why) {
    print "FAILED: " why
    bad = 1
}

END {
    if (run != 2)
        exit 2

    print ""
    row("", "guard off", "guard on")
    for (i = 1; i <= accounts; i++)
        row("records that left with " name[i],
            commas(left[1, name[i]]), commas(left[2, name[i]]))
    row("records that left in all", commas(all[1]), commas(all[2]))
    row("first stolen request to last account stopped", stopped(1), stopped(2))

    print ""
    counts("stolen requests", "robots")
    for (i = 1; i <= 4; i++)
        counts("    " kinds[i], "robots" SUBSEP kinds[i])

    counts("honest requests", "humans")
    for (i = 1; i <= 4; i++)
        counts("    " kinds[i], "humans" SUBSEP kinds[i])

    row("    slowest answer", fact[1, "slowest"] " ms", fact[2, "slowest"] " ms")
    row("requests a second", rate(1), rate(2))

    printf "\n%s records left without the guard, %s with it " \
           "(limit %s x %d accounts = %s)\n", commas(all[1]), commas(all[2]),
           commas(limit), accounts, commas(limit * accounts)

    for (r = 1; r <= 2; r++)
        if (fact[r, "cut"])
            printf "(guard %s: ended after %.0f seconds, lists unfinished)\n",
                   r == 1 ? "off" : "on", fact[r, "seconds"]

    for (i = 1; i <= accounts; i++)
        over += left[2, name[i]] > limit
    if (over)
        failed("more than the limit left with " over " of the accounts")

    if (n[2, "humans"] > n[2, "humans", "ok"])
        failed("honest work was disturbed")

    if (n[1, "robots", "failed"] + n[1, "humans", "failed"] \
        + n[2, "robots", "failed"])
        failed("the portal left requests without a proper answer")

    exit bad
}
