# A zone that is too small for its ACCOUNTS; zones and limits that change at a
# reload; WRONG reloads whose configuration is wrong.

use strict;
use warnings;
use Endure;

use List::Util qw(max sum0);

my $accounts = scaled(ACCOUNTS => 1_000_000, 20_000);
my $wrong = scaled(WRONG => 1000, 50);

full();
changed();
wrong();

# Every tenth lookup is of one account, which is never idle: its limit holds,
# whoever has to make room.

sub full {
    my $nginx = start_nginx('full', http => policy(undef,
        'zone 32k; limit patients=40/1h deny;'));
    finish(start_client('load', '-l', 1, '-n', 10000, $nginx->{port}));
    my $before = max(map { anon($_) } workers($nginx));
    my $start = time;
    my ($text, $is) = finish(start_client('load', '-l', 1, '-x', 10,
        '-n', int($accounts / 0.9), $nginx->{port}));
    my $minutes = int((time - $start) / 60) + 2;
    my $walk = walk($nginx, 32 << 10);

    told('full: lookups of accounts in a zone of 32k', $is->{answered});
    told('full: forgotten', $walk->{evicted});
    check('full: lookups without a verdict', $is->{answered} - $is->{s200}
          - ($is->{s403} // 0) + $is->{failed} + $is->{hung}, '==', 0, $text);
    check('full: who was always there was admitted', $is->{hot}, '==', 40);
    check('full: others that were refused',
          $is->{s403} - (int($is->{asked} / 10) - 40), '<=', 1, $text);
    check("full: the zone's structure is whole", $walk->{whole}, '==', 1,
          $walk->{said});
    check('full: warnings, one a minute and worker',
          scalar(() = slurp("$nginx->{dir}/error.log") =~ /\[warn\].*is full/g),
          '<=', 4 * $minutes);
    my $grown = max(map { anon($_) } workers($nginx)) - $before;
    sanitized() ? told("full: a worker's memory grew by, KiB", $grown)
        : check("full: a worker's memory grew by, KiB", $grown, '<=', 256);
    check('full: complaints in the log', scalar(complaints($nginx)), '==', 0,
          complaints($nginx));
    check('full: it stops when told to', stop_nginx($nginx) ? 1 : 0, '==', 1);
}

# Another size, another count, another name, another window, in turn and under
# load.

sub changed {
    my $n = max(8, int($wrong / 5));
    my $http = sub {
        my ($i) = @_;
        return policy(undef, 'zone ' . (1 + int($i / 4) % 2) . 'm;'
            . ' limit patients=' . ($i % 4 == 1 ? 30 : 40) . '/'
            . ($i % 4 == 3 ? 2 : 1) . 'h deny'
            . ($i % 4 == 2 ? ' name=other' : '') . ';');
    };
    my $nginx = start_nginx('changed', http => $http->(0));
    my $load = start_client('load', '-c', 32, '-w', 10, '-a', 50,
                            $nginx->{port});
    my (@grown, @odd, $warned);

    for my $i (1 .. $n) {
        get($nginx, '/?patient=1', 'X-Account' => 'dupont');
        configure($nginx, http => $http->($i));
        reload($nginx) or push @odd, "$i: old workers stay";

        # who was counted under the same name and window, in a zone that is
        # the same, is known still; nobody else
        my $get = get($nginx, '/?patient=2', 'X-Account' => 'dupont');
        push @odd, "$i: $get->{status}, counted $get->{headers}{'x-count'}"
            if $get->{status} != 200
               || $get->{headers}{'x-count'} != ($i % 4 == 1 ? 2 : 1);
        $warned = () = slurp("$nginx->{dir}/error.log")
            =~ /\[warn\].*starts anew/g;
        push @odd, "$i: warned $warned times" if $warned != int($i / 4);
        push @grown, anon($nginx->{pid});
    }

    my ($text, $is, $said) = finish($load, 'TERM');
    my $walk = walk($nginx, (1 + int($n / 4) % 2) << 20);
    told('changed: reloads, and zones that started anew', "$n $warned");
    told('changed: requests', $is->{answered});
    check('changed: reloads after which counts or warnings were odd',
          scalar(@odd), '==', 0, @odd);
    check('changed: failed requests', $is->{failed} + $is->{hung}, '==', 0,
          split /\n/, $said);
    check('changed: lookups without a verdict', $is->{answered} - $is->{s200}
          - ($is->{s403} // 0), '==', 0, $text);
    check("changed: the zone's structure is whole", $walk->{whole}, '==', 1,
          $walk->{said});
    check('changed: zones of old configurations in the master',
          scalar(() = slurp("/proc/$nginx->{pid}/maps")
                     =~ m{rw-s .*/dev/zero}g) - 2, '<=', 1);
    my $grown = max(@grown) - $grown[7];
    sanitized() ? told("changed: the master's memory grew by, KiB", $grown)
        : check("changed: the master's memory grew by, KiB", $grown, '<=',
                $ENV{SHORT} ? 128 : 1024, "@grown");
    check('changed: complaints in the log', scalar(complaints($nginx)), '==',
          0, complaints($nginx));
    check('changed: it stops when told to', stop_nginx($nginx) ? 1 : 0, '==',
          1);
}

sub wrong {
    my $redis = start_redis('wrong');
    my $limits = 'limit patients=4000/1h deny; limit lookups=$arg_n/1h'
        . ' default=1000000 deny;';
    my $good = policy($redis, $limits) . policy(undef, $limits, 'q');
    my $nginx = start_nginx('wrong-nginx', http => $good);
    spew("$tmp/readable", 'x' x 40);
    chmod 0644, "$tmp/readable";
    my @wrong = (
        policy($redis, "$limits limit lookups=0/1h deny;"),
        policy($redis, "$limits zone 32k; limit patients=100000/2h deny;"),
        policy($redis, "$limits zone 64m; limit patients=9/1d deny;")
            . policy(undef, 'zone 32k; limit patients=90000/1h deny;', 'q'),
        policy($redis, "$limits proof \$no_such_variable;"),
        policy($redis, $limits) =~ s{redis unix:\S+}{redis 127.0.0.1:99999}r,
        policy(undef, "$limits secret $tmp/readable; redis unix:$tmp/x;"),
        policy($redis, "$limits limit lookups=4/1h deny;"),
        policy($redis, $limits) =~ s/patient_guard_policy p/patient_guard_policy r/r,
        "$good access_log $tmp/no/such/folder;",
    );
    my $load = start_client('load', '-c', 16, '-w', 20, '-a', 1000,
                            $nginx->{port});
    my @workers = workers($nginx);
    my (@grown, @odd, %by, $read);

    for my $i (1 .. $wrong) {
        my $kind = $i % @wrong;
        configure($nginx, http => $wrong[$kind]);
        kill 'HUP', $nginx->{pid};
        open my $log, '<', "$nginx->{dir}/error.log" or die "$!\n";
        seek $log, $read // 0, 0;
        my $said = '';
        wait_for(sub {
            seek $log, 0, 1;
            $said .= join '', <$log>;
            return $said =~ /\[emerg\].*\n/;
        }) or push @odd, "$i, kind $kind: was taken";
        $read = tell $log;
        $by{$kind} //= $said =~ /\[emerg\] \S+ (.*)/ ? $1 : '-';
        push @grown, anon($nginx->{pid});
    }

    my ($text, $is, $said) = finish($load, 'TERM');
    told('wrong: reloads that failed', scalar @grown);
    told('wrong: requests meanwhile', $is->{answered});
    check('wrong: configurations that were taken', scalar(@odd), '==', 0,
          @odd);
    check('wrong: failed requests', $is->{failed} + $is->{hung} + $is->{again}
          + $is->{answered} - $is->{s200}, '==', 0, split(/\n/, $said), $text);
    check('wrong: the workers are the same',
          same($nginx, @workers), '==', 1);
    check('wrong: zones of failed configurations in the master',
          scalar(() = slurp("/proc/$nginx->{pid}/maps")
                     =~ m{rw-s .*/dev/zero}g) - 5, '<=', 0);
    my $settled = $grown[@grown > 200 ? 99 : @grown / 2];
    my $grown = max(@grown) - $settled;
    sanitized() ? told("wrong: the master's memory grew by, KiB", $grown)
        : check("wrong: the master's memory grew by, KiB", $grown, '<=', 1024,
                "@grown");

    configure($nginx, http => $good);
    check('wrong: a reload with what is right', reload($nginx) ? 1 : 0, '==',
          1);
    check('wrong: it stops when told to', stop_nginx($nginx) ? 1 : 0, '==',
          1);
    stop_redis($redis);

    if ($ENV{VERBOSE}) {
        told("wrong: $_ $by{$_}", '') for sort keys %by;
    }
}
