# The synthetic patients, by rule: 2 sexes x 85 years x 12 months x 250 places
# in the birth registers = 510,000 social-security numbers (NIR).
#
#     S YY MM 00 CCCOOO KK
#
# The departement is 00, which INSEE gives to nobody.  CCCOOO (the commune and
# the entry) is a multiple of 97, so the key KK = 97 - N mod 97 hangs on S, YY
# and MM alone, and nginx checks it by looking up 2,040 heads.
#
# awk -v work=DIR -f patients.awk: heads.map, towns.map, patients.txt; and
# round.map, by which the ward goes from one of the first to the next

BEGIN {
    for (i = 0; i < 250; i++) {
        town[i] = sprintf("%06d", 97 * (41 * i + 11))
        print town[i], "known;" > (work "/towns.map")
    }

    for (sex = 1; sex <= 2; sex++) {
        for (year = 1921; year <= 2005; year++) {
            for (month = 1; month <= 12; month++) {
                head = sprintf("%d%02d%02d", sex, year % 100, month)

                # 10 ^ 8 mod 97 is 81
                key = sprintf("%02d", 97 - head * 81 % 97)
                print head, key ";" > (work "/heads.map")

                for (i = 0; i < 250; i++) {
                    nir = head "00" town[i] key
                    print nir > (work "/patients.txt")
                    if (n++ < 100) {
                        print last ? last : "default", nir ";" \
                            > (work "/round.map")
                        last = nir
                    }
                }
            }
        }
    }
}
