# A reload each second under 64 connections, RELOADS of them; then reloads
# with worker_shutdown_timeout while Redis does not answer.

use strict;
use warnings;
use Endure;

use List::Util qw(max sum0);

my $reloads = scaled(RELOADS => 300, 15);
my $stalls = scaled(STALLS => 20, 2);

# whoever held the old configuration is gone in this time
my $gone = sanitized() ? 9 : 3;

sub clients {
    my ($redis) = @_;

    return scalar grep { !/cmd=client/ }
        split /\n/, redis($redis, 'CLIENT', 'LIST');
}

each_second();
stalled();

sub each_second {
    my $redis = start_redis('redis');
    my $nginx = start_nginx('nginx', http => policy($redis,
        'zone 16m; limit lookups=1000000/1h deny; limit patients=4000/1h deny;')
        . policy(undef, 'limit patients=100/1h deny;', 'embedded'));
    my $load = start_client('load', '-c', 64, '-w', 5, '-a', 1000,
                            $nginx->{port});

    my (%left, @late, $first, @grown);
    my $slowest = 0;

    for my $n (1 .. $reloads) {
        my $start = time;
        my @old = workers($nginx);
        kill 'HUP', $nginx->{pid};
        $left{$_} = $start for grep { !$left{$_} } @old;

        while (time < $start + 1 || $n == $reloads && %left) {
            for my $pid (grep { !alive($_) } keys %left) {
                $slowest = max($slowest, time - $left{$pid});
                delete $left{$pid};
            }
            last if time > $start + 3 * $gone;
            sleep 0.02;
        }
        push @late, map { "worker $_ after reload $n" }
            grep { time - $left{$_} > $gone } keys %left;

        # the heap has found its size after a few
        push @grown, anon($nginx->{pid});
    }

    my ($text, $is, $said) = finish($load, 'TERM');
    my $settled = $grown[@grown > 20 ? 9 : @grown / 2];
    my $counted = sum0(values %{ counted($redis, 'lookups/3600') });

    told('requests', $is->{answered});
    told('sent again, as nginx had let go of an idle connection',
         $is->{again});
    told('the slowest answer, s', $is->{slowest});
    check('failed requests', $is->{failed} + $is->{hung}, '==', 0,
          split /\n/, $said);
    check('answers that were not 200', $is->{answered} - ($is->{s200} // 0),
          '==', 0, $text);
    check('lookups counted, but not answered, or the reverse',
          abs($counted - $is->{answered}), '==', 0);
    check('old workers left behind', scalar(@late) + keys %left, '==', 0,
          @late);
    told('the slowest of them to go, s', sprintf '%.2f', $slowest);
    check('workers now', scalar(workers($nginx)), '==', 4);
    check("connections to Redis, one a worker at the most", clients($redis),
          '<=', 4);
    my $grown = max(@grown) - $settled;
    sanitized() ? told("the master's memory grew by, KiB", $grown)
        : check("the master's memory grew by, KiB", $grown, '<=',
                $ENV{SHORT} ? 128 : 1024,
                "@grown");
    check('complaints in the log', scalar(complaints($nginx)), '==', 0,
          complaints($nginx));
    check('it stops when told to', stop_nginx($nginx) ? 1 : 0, '==', 1);
    stop_redis($redis);
}

sub stalled {
    my $redis = start_redis('stalled');
    my $nginx = start_nginx('shutdown',
        main => 'worker_shutdown_timeout 1s;',
        http => policy($redis,
                       'redis_timeout 60s; limit lookups=1000000/1h deny;'));
    my $load = start_client('load', '-c', 64, '-w', 5, '-k', '-a', 1000,
                            $nginx->{port});
    my ($slowest, @wrong) = (0);

    for my $n (1 .. $stalls) {
        sleep 0.3;
        kill 'STOP', $redis->{pid};
        sleep 0.2;
        my $start = time;
        reload($nginx, 1 + $gone) or push @wrong, "old workers stay, $n";
        $slowest = max($slowest, time - $start);
        kill 'CONT', $redis->{pid};
        wait_for(sub { get($nginx, '/?patient=1', 'X-Account' => 'a1')
                           ->{status} == 200 })
            or push @wrong, "no answer after stall $n";
    }

    my ($text, $is) = finish($load, 'TERM');
    my $counted = sum0(values %{ counted($redis, 'lookups/3600') })
                  - $stalls;
    told('stalled: requests', $is->{answered});
    check("stalled: reloads of $stalls that were late, or led nowhere",
          scalar(@wrong), '==', 0, @wrong);
    check("stalled: the slowest to go under worker_shutdown_timeout 1s, s",
          sprintf('%.2f', $slowest), '<=', 1 + $gone);
    check('stalled: answers without a count',
          max(0, $is->{answered} - $counted), '==', 0);
    check('stalled: counted beyond what was answered or lost',
          max(0, $counted - $is->{answered} - $is->{lost}), '==', 0);
    told('stalled: lost with their workers', $is->{lost});
    check('stalled: requests that hang', $is->{hung}, '==', 0);
    check('stalled: complaints in the log', scalar(complaints($nginx)), '==',
          0, complaints($nginx));
    check('stalled: it stops when told to',
          stop_nginx($nginx) ? 1 : 0, '==', 1);
    stop_redis($redis);
}
