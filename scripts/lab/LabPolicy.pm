package LabPolicy;

# The policies under test: which limits they have, how their counts are
# chosen, and how they are written for nginx.

use strict;
use warnings;

use List::Util qw(max min sum0);

our @ROLES = qw(pharmacy large practitioner nurse clerk);

# Limits.  name: as totals tell it; column: as the tuning counts it; by: "all"
# for one count, "role" for one for each; shared: counted by another key than
# the account; stop: a denial behind the challenges, for passing a challenge
# starts those anew, and whoever steals an account waits for its owner to pass
my %WINDOWS = ('10s' => 10, '1m' => 60, '10m' => 600, '1h' => 3600, '1d' => 86400, '7d' => 7 * 86400,
               '28d' => 28 * 86400);

sub limit {
    my ($signal, $window, %more) = @_;

    my $name = "$signal/$window";
    return { signal => $signal, window => $window, name => $name,
             column => $name, seconds => $WINDOWS{$window},
             action => 'challenge', %more };
}

sub stop {
    my ($signal, $window) = @_;

    return limit($signal, $window, name => "stop-$window", action => 'deny',
                 stop => 1, column => "$signal/$window");
}

# floor: what no baseline goes below
my %FLOORS = ('1h' => 10, '1d' => 25, '7d' => 80, '28d' => 200);

sub floors { %FLOORS }

sub news {
    map { limit('new_patients', $_, floor => $FLOORS{$_}) } qw(1h 1d 7d 28d);
}

# faster than hands: no baseline
sub bursts { map { limit('new_patients', $_, burst => 1) } qw(10s 1m) }

sub news_stops { map { stop('new_patients', $_) } qw(7d 28d) }

sub fleet {
    return (limit('misses', '1d'), limit('addresses', '1d'),
            limit('accounts', '1h', per => '$remote_addr',
                  name => 'place', shared => 1.25),
            limit('new_patients', '1d', per => '$http_replay_establishment',
                  name => 'establishment', shared => 1.25),
            limit('new_patients', '1d', per => 'all', name => 'all',
                  shared => 1.5),
            limit('new_patients', '10m', per => 'all', name => 'rush',
                  shared => 1.5));
}

# what is kept in reserve, for lives that chose nothing are others
my $CHALLENGED = 1;              # of the share asked for
my $BURSTS = .4;                 # of that, where there are limits on bursts
my $STOP = 2;                    # times all that was seen
my $LEAST = .4;                  # of a count, it is not lowered further
my $STEP = .93;                  # of a count, when one is lowered

# family: those of one family go on from one history
sub policies {
    return (
        { name => 'P0', title => 'none', mock => 1 },
        { name => 'P1', title => 'limit_req per address', mock => 1,
          request => 1 },
        { name => 'P2', title => 'lookups per account', family => 'pages',
          by => 'all', limits => [limit('lookups', '1h'),
                                  limit('lookups', '1d'),
                                  stop('lookups', '1d')] },
        { name => 'P3', title => 'patients', family => 'patients',
          by => 'all', limits => [
              # thousands of patients in a set of 28 days, at each lookup
              (map { limit('patients', $_) } qw(1h 1d 7d)),
              stop('patients', '7d')] },
        { name => 'P4', title => 'new patients', family => 'news',
          by => 'all', limits => [news(), news_stops()] },
        { name => 'P5', title => 'new patients by role', family => 'news',
          by => 'role', limits => [news(), news_stops()] },
        { name => 'P6', title => 'and by the own baseline', family => 'news',
          by => 'role', baseline => 1, limits => [news(), news_stops()] },
        seventh('P7', 'and bursts, the fleet, proofs of sessions',
                [bursts(), fleet()], session => 1),
        # what each of them is worth: all but one
        seventh('P7-bursts', 'P7 without bursts', [fleet()], session => 1),
        seventh('P7-fleet', 'P7 without the fleet', [bursts()],
                session => 1),
        seventh('P7-session', 'P7 with proofs of accounts',
                [bursts(), fleet()]));
}

sub seventh {
    my ($name, $title, $more, %is) = @_;

    my @days = grep { $_->{window} ne '1h' } news();

    # Where the owner's proof is not good for the thief, nothing starts anew.
    # The hour has no baseline: a login that is used by ever more people is
    # above its usual hour again and again, until no grant is left.
    return { name => $name, title => $title, family => 'news', by => 'role',
             baseline => 1, grants => $is{session} ? '5/7d' : '5/1d',
             limits => [limit('new_patients', '1h'), @days,
                        $is{session} ? () : news_stops(), @$more],
             fleet => (grep { $_->{shared} } @$more) ? 1 : 0, %is };
}

# every limit of a family, as its history is counted
sub family {
    my ($family) = @_;

    my (%seen, @limits);
    for my $policy (grep { ($_->{family} // '') eq $family } policies()) {
        push @limits, grep { !$seen{$_->{name}}++ } @{$policy->{limits}};
    }
    return @limits;
}

# --- for nginx

# $counts->{NAME}{ROLE or "all"}; without them all is counted, none refused
sub written {
    my ($limits, $counts, %more) = @_;

    my ($maps, $directives) = ('', '');
    $directives .= "    memory $more{memory}d;\n"
        if grep { $_->{signal} eq 'new_patients' } @$limits;
    $directives .= "    challenge_grants $more{grants};\n" if $more{grants};
    my $n = 0;
    for my $limit (@$limits) {
        my $count = $limit->{signal} =~ /^(?:lookups|misses|new_patients)$/
            ? 4294967295 : $limit->{signal} eq 'patients' ? 20000 : 1000;
        my ($action, $default) = ('log', '');
        if ($counts) {
            my $by = $counts->{$limit->{name}};
            $action = $limit->{action};
            $count = $by->{all} // '$lab_' . ++$n;
            if (!defined $by->{all}) {
                $default = ' default=' . min(values %$by);
                $maps .= "    map \$http_replay_role \$lab_$n {\n"
                    . (join '', map { "        $_ $by->{$_};\n" }
                       sort keys %$by)
                    . "        default \"\";\n    }\n";
            }
        }
        $directives .= "    limit $limit->{signal}=$count/$limit->{window}"
            . "$default $action name=$limit->{name}"
            . (defined $limit->{per} ? " per=$limit->{per}" : '')
            . ($limit->{floor} && $more{factors}
               ? ' baseline=' . ($more{factors}{$limit->{name}} // 2)
                 . ":$limit->{floor}" : '') . ";\n";
    }
    return { maps => $maps, directives => $directives,
             proof => $more{session} ? ' session' : '' };
}

# for a thief who knows them; shared limits look at all, so he can't
sub rules {
    my ($limits, $counts, $columns, $factors) = @_;

    my %at = map { $columns->[$_] => $_ } 0 .. $#$columns;
    return join '', map {
        my $limit = $_;
        my $by = $counts->{$limit->{name}};
        my $at = $at{$limit->{name}} // -1;
        my $factor = $limit->{floor} && $factors
            ? $factors->{$limit->{name}} : 0;
        my $habit = $at < 0 ? -1 : $at + @$columns;
        map { "$limit->{name} $limit->{seconds} $_ $by->{$_} $at $habit "
              . $factor . ' ' . ($limit->{floor} // 0) . "\n" } sort keys %$by
    } grep { !$_->{shared} && $_->{signal} !~ /^(?:misses|addresses)$/ }
      @$limits;
}

# --- choosing counts

# rows: [role, account, day, flags, totals by column ...], $columns by name
sub at_quantile {
    my ($sorted, $over) = @_;

    my $n = int($over * @$sorted);
    return $sorted->[$#$sorted - min($n, $#$sorted)];
}

# What is usual of an account, as the module learns it: the mean, over the days
# of three whole weeks that ended 29 to 35 days ago, of the most that the window
# held; none where there were too few such days.  Laid down in each row,
# 30 places behind the total.
my $BEHIND = 30;

sub learn {
    my ($rows, $world, @limits) = @_;

    my ($zero, $first, $last, $enough) = map { $world->("WORLD_$_") }
        qw(DAY_ZERO HABIT_FIRST HABIT_LAST HABIT_DAYS);
    for my $limit (@limits) {
        my $at = $limit->{at};
        $enough = $world->('WORLD_HABIT_MORE')
            if $limit->{window} =~ /^(?:7|28)d$/;
        my (%sum, %days);
        for my $row (grep { $_->[$at] } @$rows) {
            my $week = "$row->[1] " . int(($zero + $row->[2]) / 7);
            $sum{$week} += $row->[$at];
            $days{$week}++;
        }
        for my $row (@$rows) {
            my $week = int(($zero + $row->[2]) / 7);
            my @weeks = map { "$row->[1] " . ($week - $_) } $last .. $first;
            my $days = sum0(map { $days{$_} // 0 } @weeks);
            next if $days < $enough;
            $row->[$at + $BEHIND] = sum0(map { $sum{$_} // 0 } @weeks) / $days;
        }
    }
}

# the count that holds: a baseline may lower it
sub holds {
    my ($row, $limit, $count) = @_;

    return $count unless $limit->{factor};
    my $usual = $row->[$limit->{at} + $BEHIND] // return $count;
    my $own = max($limit->{floor}, $limit->{factor} * $usual);
    return $own < $count ? $own : $count;
}

# The share of account-days challenged under these counts.  Who is challenged
# passes, and all windows that challenge start anew: a window has to fill again
# before it can challenge once more.
sub challenged {
    my ($rows, $limits, $counts) = @_;

    my ($over, %quiet, $last) = (0);
    for my $row (@$rows) {
        my ($role, $account, $day) = @$row;
        if (!defined $last || $last ne $account) {
            %quiet = ();
            $last = $account;
        }
        my $hit = 0;
        for my $i (0 .. $#$limits) {
            next if ($quiet{$i} // -1e9) > $day;
            my $limit = $limits->[$i];
            $hit ||= $row->[$limit->{at}] > holds($row, $limit, $counts->[$i]);
        }
        next unless $hit;
        $over++;
        $quiet{$_} = $day + $limits->[$_]{seconds} / 86400
            for 0 .. $#$limits;
    }
    return $over;
}

# the only rows that can be over these counts, or that part of them
sub near {
    my ($rows, $limits, $counts, $part) = @_;

    return [grep {
        my $row = $_;
        grep { $row->[$limits->[$_]{at}]
               > $part * holds($row, $limits->[$_], $counts->[$_])
        } 0 .. $#$limits;
    } @$rows];
}

# One quantile for all windows, as low as the share allows: they are over
# together, so it is more than the share divided by their number.
sub choose_group {
    my ($rows, $limits, $allowed) = @_;

    my @sorted = map { my $at = $_->{at};
                       [sort { $a <=> $b } map { $_->[$at] } @$rows] }
                 @$limits;
    my ($low, $high, @best) = (0, 3 * $allowed);
    @best = map { $_->[-1] } @sorted;
    my @least = map { at_quantile($_, $high) } @sorted;
    my $near = near($rows, $limits, \@least, 1);
    for (1 .. 14) {
        my $over = ($low + $high) / 2;
        my @counts = map { at_quantile($_, $over) } @sorted;
        if (challenged($near, $limits, \@counts) <= $allowed * @$rows) {
            ($low, @best) = ($over, @counts);
        } else {
            $high = $over;
        }
    }
    return map { max($_, 1) } @best;
}

# One after the other is lowered a little, as long as it fits: some windows are
# over together with others, and cost nothing more.  "fits" judges @$values.
sub lower {
    my ($values, $whole, $fits) = @_;

    my %stuck;
    my @least = map { $_ * $LEAST } @$values;
    for (1 .. 30) {
        for my $i (grep { !$stuck{$_} } 0 .. $#$values) {
            my $was = $values->[$i];
            $values->[$i] = $whole ? int($was * $STEP) : $was * $STEP;
            if ($values->[$i] < max(1, $least[$i]) || !$fits->()) {
                $values->[$i] = $was;
                $stuck{$i} = 1;
            }
        }
        last if keys %stuck == @$values;
    }
    # as it was judged last
    $fits->();
}

sub grants { $_[0]{grants} // '5/1d' }

# the policy, as "lab foresee" takes it
sub played {
    my ($policy) = @_;

    my @lines;
    for my $limit (grep { !$_->{shared} } @{$policy->{limits}}) {
        my $column = $limit->{stop} && $limit->{signal} eq 'new_patients'
            ? "stop/$limit->{window}" : $limit->{column};
        # a stop on a count that challenges as well is left out
        next if $limit->{stop} && $column eq $limit->{column};
        my $by = $policy->{counts}{$limit->{name}};
        push @lines, map {
            "$column $_ $by->{$_} "
                . ($limit->{floor} && $policy->{factors}
                   ? "$policy->{factors}{$limit->{name}} $limit->{floor}"
                   : '0 0')
        } sort keys %$by;
    }
    my ($n, $days) = grants($policy) =~ /^(\d+)\/(\d+)d$/;
    return join '', map { "$_\n" } @lines,
                "grants all $n " . 86400 * $days . ' 0';
}

# One factor a window, of all roles, for "factor" is no variable: that quantile
# of how many times the usual a day has, where that is above the floor.
sub factors {
    my ($rows, $limits, $over) = @_;

    my %factors;
    for my $limit (@$limits) {
        my ($at, $floor) = @$limit{qw(at floor)};
        my @times = sort { $a <=> $b } map {
            my $usual = $_->[$at + $BEHIND];
            !defined $usual || $_->[$at] <= $floor ? 0
                : $_->[$at] / max($usual, 1);
        } @$rows;
        $factors{$limit->{name}}
            = max(int(100 * at_quantile(\@times, $over) + 1) / 100, 1);
    }
    return \%factors;
}

# the factors that, with the counts, use up the share
sub choose_factors {
    my ($rows, $limits, $counts, $share) = @_;

    my %of = map { my $role = $_;
                   $role => [grep { $_->[0] eq $role } @$rows] } @ROLES;
    my %near;
    my $look = sub {
        my ($part) = @_;
        %near = map { my $role = $_;
            $role => near($of{$role}, $limits,
                [map { $counts->{$_->{name}}{$role} } @$limits], $part)
        } @ROLES;
    };
    my $fits = sub {
        my $all = 0;
        for my $role (@ROLES) {
            my $n = challenged($near{$role}, $limits,
                [map { $counts->{$_->{name}}{$role} } @$limits]);
            return 0 if $n > 4 * $share * @{$of{$role}};
            $all += $n;
        }
        return $all <= $share * @$rows;
    };
    my ($low, $high, $best) = (0, 2 * $share);
    my $least = factors($rows, $limits, $high);
    $_->{factor} = $least->{$_->{name}} for @$limits;
    $look->(1);
    for (1 .. 10) {
        my $over = ($low + $high) / 2;
        my $factors = factors($rows, $limits, $over);
        $_->{factor} = $factors->{$_->{name}} for @$limits;
        if ($fits->()) {
            ($low, $best) = ($over, $factors);
        } else {
            $high = $over;
        }
    }
    return undef if !$best;
    # the longest first: it is what a thief who stays for weeks has to keep
    @$limits = sort { $b->{seconds} <=> $a->{seconds} } @$limits;
    my @factors = map { $best->{$_->{name}} } @$limits;
    $limits->[$_]{factor} = $factors[$_] for 0 .. $#factors;
    $look->($LEAST);
    lower(\@factors, 0, sub {
        $limits->[$_]{factor} = $factors[$_] for 0 .. $#factors;
        return $fits->();
    });
    $best = { map { $limits->[$_]{name} => sprintf '%.2f', $factors[$_] }
              0 .. $#factors };
    return $best;
}

# What a robot takes before it is stopped: first so that nobody is challenged,
# then lower and lower, where the fewest are challenged for the most that
# leaks less, as long as the share lasts.  The longer window has a tenth.
sub choose_bursts {
    my ($rows, $limits, $share, $counts) = @_;

    my ($short, $long) = @$limits;
    my (%of, %count, %over);
    push @{$of{$_->[0]}}, $_ for @$rows;
    my $above = sub {
        my ($role, $limit, $count) = @_;
        return scalar grep { $_->[$limit->{at}] > $count } @{$of{$role}};
    };
    for my $limit ($short, $long) {
        my $left = $share * @$rows * ($limit == $short ? .9 : .1);
        my %by = map { my $role = $_;
            $role => max(map { $_->[$limit->{at}] } @{$of{$role}}) } @ROLES;
        for (;;) {
            my ($best, $role, $cost);
            for my $of (grep { $by{$_} > 1 } @ROLES) {
                my $more = $above->($of, $limit, $by{$of} - 1)
                         - $above->($of, $limit, $by{$of});
                next if $more > $left
                    || $above->($of, $limit, $by{$of} - 1)
                       > 3 * $share * @{$of{$of}};
                my $gain = @{$of{$of}} * log($by{$of} / ($by{$of} - 1))
                         / ($more + 1);
                ($best, $role, $cost) = ($gain, $of, $more)
                    if !defined $best || $gain > $best;
            }
            last if !defined $best;
            $by{$role}--;
            $left -= $cost;
        }
        $counts->{$limit->{name}} = \%by;
    }
}

# so many times the most that was seen
sub shared {
    my ($limit, $seen) = @_;

    return int($limit->{shared} * ($seen->{$limit->{name}} // 1)) + 1;
}

# "share" of all account-days, and no role above five times that
sub choose {
    my ($policy, $rows, $columns, $share, $shared) = @_;

    $share *= $CHALLENGED;
    my %at = map { $columns->[$_] => $_ + 4 } 0 .. $#$columns;
    my @limits = map { { %$_, at => $at{$_->{column}} } }
                 grep { !$_->{shared} } @{$policy->{limits}};
    my @soft = grep { !$_->{stop} && !$_->{burst} } @limits;
    my @bursts = grep { $_->{burst} } @limits;
    my %counts;
    if (@bursts) {
        choose_bursts($rows, \@bursts, $share * $BURSTS, \%counts);
        $share *= 1 - $BURSTS;
    }
    my %groups = (all => $rows);
    if ($policy->{by} eq 'role') {
        %groups = map { my $role = $_;
                        $role => [grep { $_->[0] eq $role } @$rows] } @ROLES;
    }
    for my $group (keys %groups) {
        my $allowed = $share;
        my $those = $groups{$group};
        my @counts = choose_group($those, \@soft, $allowed);
        if ($group eq 'all') {
            for (1 .. 20) {
                last unless grep {
                    my $role = $_;
                    my @those = grep { $_->[0] eq $role } @$rows;
                    challenged(\@those, \@soft, \@counts)
                        > 5 * $share * @those;
                } @ROLES;
                $allowed *= .7;
                @counts = choose_group($rows, \@soft, $allowed);
            }
        }
        if ($policy->{baseline}) {
            $allowed /= 3;
            @counts = choose_group($those, \@soft, $allowed);
        }
        if ($group ne 'all') {
            my $near = near($those, \@soft, \@counts, $LEAST);
            lower(\@counts, 1, sub {
                challenged($near, \@soft, \@counts) <= $allowed * @$those;
            });
        }
        $counts{$soft[$_]{name}}{$group} = $counts[$_] for 0 .. $#soft;
        # beyond all that was seen
        for my $limit (grep { $_->{stop} } @limits) {
            $counts{$limit->{name}}{$group} = int($STOP * max(
                map { $_->[$limit->{at}] } @{$groups{$group}})) + 1;
        }
    }
    if ($policy->{baseline}) {
        my @based = grep { $_->{floor} } @soft;
        $policy->{factors} = choose_factors($rows, \@based, \%counts, $share);
    }
    for my $limit (grep { $_->{shared} } @{$policy->{limits}}) {
        $counts{$limit->{name}}{all} = shared($limit, $shared);
    }
    return \%counts;
}

1;
