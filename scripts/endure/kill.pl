# SIGKILL for random workers under load: KILLS with Redis, three times as many
# with the embedded store.

use strict;
use warnings;
use Endure;

use List::Util qw(max sum0);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $kills = scaled(KILLS => 100, 10);

# seconds after which every other worker has answered somebody
my $go_on = sanitized() ? 3 : 1;

# what a killed worker makes its master say
my $expected = qr/exited on signal 9|was locked by/;

srand 20220317;
with_redis();
embedded();

# Each kill and what was seen then: time, pid, who lived on.  "each" is called
# between them.

sub kill_workers {
    my ($nginx, $n, $each) = @_;

    my @kills;
    for (1 .. $n) {
        sleep 0.05 + rand 0.15;
        my @workers = workers($nginx);
        my $victim = $workers[rand @workers];
        push @kills, { time => clock_gettime(CLOCK_MONOTONIC),
                       pid => $victim,
                       others => [grep { $_ != $victim } @workers] };
        kill 'KILL', $victim;
        wait_for(sub {
            my @now = workers($nginx);
            return @now == 4 && !grep { $_ == $victim } @now;
        }) or die "worker $victim has no successor\n";
        $each->() if $each;
    }
    return @kills;
}

# answers: [time, status, worker, account, alias, patient]

sub answers { map { [split / /] } split /\n/, slurp($_[0]) }

# workers that were silent for too long after another one was killed

sub silent {
    my ($answers, $kills) = @_;

    my (%times, %killed, @silent);
    push @{ $times{$_->[2]} }, $_->[0] for @$answers;
    $killed{$_->{pid}} = $_->{time} for @$kills;
    my $end = max(map { $_->[0] } @$answers);

    for my $kill (@$kills) {
        my $until = $kill->{time} + $go_on;
        next if $until > $end;
        for my $other (@{ $kill->{others} }) {
            next if ($killed{$other} // 1e9) < $until;
            push @silent, sprintf 'worker %d after %d was killed', $other,
                $kill->{pid}
                if after($times{$other} // [], $kill->{time}) > $until;
        }
    }
    return @silent;
}

# the first of ascending times that is after one

sub after {
    my ($times, $time) = @_;

    my ($from, $to) = (0, scalar @$times);
    while ($from < $to) {
        my $middle = int(($from + $to) / 2);
        $times->[$middle] > $time ? ($to = $middle) : ($from = $middle + 1);
    }
    return $times->[$from] // 1e9;
}

sub with_redis {
    my $redis = start_redis('redis');
    my $nginx = start_nginx('nginx', http => policy($redis,
        'zone 24m; limit patients=300/1h deny; limit lookups=5000/1h deny;'));
    my $log = "$tmp/kill.answers";
    my $load = start_client('load', '-k', '-c', 64, '-w', 5, '-l', 400,
                            '-o', $log, $nginx->{port});

    my @kills = kill_workers($nginx, $kills);
    sleep 1.1 * $go_on;
    my ($text, $is) = finish($load, 'TERM');
    my @answers = answers($log);
    my @admitted = grep { $_->[1] == 200 } @answers;

    told('redis: workers killed', scalar @kills);
    told('redis: answers', scalar @answers);
    told('redis: requests lost with their workers', $is->{lost});
    check('redis: answers that were neither 200 nor 403',
          scalar(@answers) - $is->{s200} - ($is->{s403} // 0), '==', 0, $text);
    check('redis: requests that hang', $is->{hung}, '==', 0);
    my @silent = silent(\@answers, \@kills);
    check("redis: workers silent for ${go_on}s after another was killed",
          scalar(@silent), '==', 0, @silent);

    # account => { patient's alias => 1 }, as Redis has them
    my (%known, @missing, %by);
    for my $answer (@admitted) {
        my ($alias, $patient) = @$answer[4, 5];
        $known{$alias} //= { map { $_ => 1 } unpack '(H16)*',
            substr redis($redis, 'HGET', "e:p:{$alias}", 'patients/3600')
                   // '', 144 };
        push @missing, "$patient of $alias" if !$known{$alias}{$patient};
        $by{$alias}++;
    }
    told('redis: admitted', scalar @admitted);
    check('redis: of them not in Redis', scalar(@missing), '==', 0, @missing);
    check('redis: the most that one account was admitted', max(values %by),
          '<=', 300);

    # whoever was refused had reached its limit, by what was lost as well
    my %refused = map { $_->[4] => 1 } grep { $_->[1] == 403 } @answers;
    check('redis: accounts refused before their limit',
          scalar(grep { keys %{ $known{$_} // {} } != 300 } keys %refused),
          '==', 0);

    my $walk = walk($nginx, 24 << 20);
    check("redis: the zone's structure is whole", $walk->{whole}, '==', 1,
          $walk->{said});
    told("redis: accounts in it", $walk->{accounts});

    check('redis: a reload', reload($nginx) ? 1 : 0, '==', 1);
    ($text, $is) = finish(start_client('load', '-c', 64, '-n', 5000, '-a',
                                       50, $nginx->{port}));
    check('redis: 5,000 requests after it, failed',
          $is->{failed} + $is->{hung} + 5000 - $is->{answered}, '==', 0,
          $text);
    check('redis: complaints in the log, but of who was killed',
          scalar(complaints($nginx, $expected)), '==', 0,
          complaints($nginx, $expected));
    check('redis: it stops when told to', stop_nginx($nginx) ? 1 : 0, '==',
          1);
    stop_redis($redis);
}

# Lookups of 50 patients in four limits: the lock is held for as long as can
# be.  The zone has room for some 60 of the accounts.

sub embedded {
    my $nginx = start_nginx('embedded', http => policy(undef, join ' ',
        'zone 8m;', map { "limit patients=1000/${_}h deny;" } 1 .. 4));
    my $log = "$tmp/embedded.answers";
    my $load = start_client('load', '-k', '-c', 64, '-w', 2, '-l', 40,
                            '-p', 50, '-o', $log, $nginx->{port});

    my (@broken, $midst, $locked);
    my @kills = kill_workers($nginx, 3 * $kills, sub {
        my $walk = walk($nginx, 8 << 20);
        push @broken, $walk->{said} if !$walk->{whole};
        $midst++ if $walk->{saved};
    });
    sleep 1.1 * $go_on;
    my ($text, $is) = finish($load, 'TERM');
    my @answers = answers($log);
    $locked = () = slurp("$nginx->{dir}/error.log") =~ /was locked by/g;

    my (%admitted, %answered);
    for (@answers) {
        $admitted{$_->[3]} += 50 if $_->[1] == 200;
        $answered{$_->[3]}++;
    }

    told('embedded: workers killed', scalar @kills);
    told('embedded: of them while they held the lock', $locked);
    told('embedded: answers', scalar @answers);
    told('embedded: requests lost with their workers', $is->{lost});
    check('embedded: answers that were neither 200 nor 403',
          scalar(@answers) - $is->{s200} - ($is->{s403} // 0), '==', 0,
          $text);
    check('embedded: requests that hang', $is->{hung}, '==', 0);
    my @silent = silent(\@answers, \@kills);
    check("embedded: workers silent for ${go_on}s after another was killed",
          scalar(@silent), '==', 0, @silent);
    check('embedded: the most that one account was admitted',
          max(values %admitted), '<=', 1000);

    # of an account's forty lookups twenty fit, but for those that were lost,
    # and the last accounts', who may not have asked them all
    my @short = grep { $answered{$_} == 40 && $admitted{$_} != 1000 }
                keys %answered;
    check('embedded: accounts that lost nothing, and had no 1,000',
          scalar(@short), '==', 0, map { "$_: $admitted{$_}" } @short);
    check('embedded: walks that found the structure broken',
          scalar(@broken), '==', 0, @broken);
    told('embedded: walks, and of them in the midst of a change',
         @kills . ' ' . ($midst // 0));
    check('embedded: a reload', reload($nginx) ? 1 : 0, '==', 1);
    ($text, $is) = finish(start_client('load', '-c', 64, '-n', 5000, '-a',
                                       5000, $nginx->{port}));
    check('embedded: 5,000 requests after it, failed',
          $is->{failed} + $is->{hung} + 5000 - $is->{answered}, '==', 0,
          $text);
    my $walk = walk($nginx, 8 << 20);
    check("embedded: the zone's structure is whole", $walk->{whole}, '==', 1,
          $walk->{said});
    check('embedded: complaints in the log, but of who was killed',
          scalar(complaints($nginx, $expected)), '==', 0,
          complaints($nginx, $expected));
    check('embedded: it stops when told to', stop_nginx($nginx) ? 1 : 0,
          '==', 1);
}
