# ABORTS clients that are gone at any moment within 20 ms, while Redis takes
# 10 ms to answer: by RST, and by RST_STREAM.

use strict;
use warnings;
use Endure;

use List::Util qw(max sum0);

my $aborts = scaled(ABORTS => 100000, 5000);

for my $http (1, 2) {
    my $redis = start_redis("redis$http");
    my $delay = "$tmp/delay$http.sock";
    my $proxy = start_client('delay', $delay, $redis->{sock}, 10);
    wait_for(sub { -S $delay }) or die "no $delay\n";

    # whatever is logged here has come to the guard
    my $nginx = start_nginx("nginx$http", ports => 2,
        http => policy($delay, 'zone 32m; redis_timeout 10s;'
                       . ' limit lookups=4000000/1h deny;')
                . 'log_format asked "$status";',
        location => "access_log $tmp/asked$http asked buffer=1m;");

    # all workers connect to Redis, and find their size
    my $shape = sub { my @workers = workers($nginx);
                      return { fds => sum0(map { fds($_) } @workers),
                               anon => max(map { anon($_) } @workers),
                               clients => clients($redis) } };
    my @options = ('-c', $http == 2 ? 100 : 200, '-a', 1000, '-x', 20,
                   $http == 2 ? '-2' : (), $nginx->{ports}[$http - 1]);
    finish(start_client('load', '-c', 64, '-n', 2000, $nginx->{port}));
    my ($text, $is) = finish(start_client('abort', '-n',
                                          max($aborts / 10, 5000), @options));
    settled($nginx) or die "nginx does not come to rest\n";
    my $before = $shape->();
    my @workers = workers($nginx);

    my $start = time;
    my $all = { %$is };
    ($text, $is) = finish(start_client('abort', '-n', $aborts, @options));
    my $seconds = time - $start;
    $all->{$_} += $is->{$_} for keys %$is;

    my $rest = settled($nginx);
    my $after = $shape->();
    my $answer = get($nginx, '/?patient=1', 'X-Account' => 'hot');

    told("HTTP/$http: requests broken off", $is->{aborted});
    told("HTTP/$http: answered before", $is->{answered});
    told("HTTP/$http: a second",
         int(($is->{aborted} + $is->{answered}) / $seconds));
    told("HTTP/$http: closed by nginx", $is->{closed});
    check("HTTP/$http: requests left behind in nginx", $rest ? 0 : 1, '==',
          0, slurp("$nginx->{dir}/error.log") =~ /.*\n?\z/);
    check("HTTP/$http: descriptors of the workers, before $before->{fds}",
          $after->{fds}, '<=', $before->{fds});
    check("HTTP/$http: connections to Redis, before $before->{clients}",
          $after->{clients}, '<=', 4);
    my $grown = $after->{anon} - $before->{anon};
    sanitized() ? told("HTTP/$http: a worker's memory grew by, KiB", $grown)
        : check("HTTP/$http: a worker's memory grew by, KiB", $grown, '<=',
                2048);     # what waits is kept for the next to wait: a few
                           # hundred bytes for each of some thousands
    check("HTTP/$http: an answer after it", $answer->{status}, '==', 200);
    check("HTTP/$http: the workers are the same",
          same($nginx, @workers), '==', 1);

    check("HTTP/$http: it stops when told to", stop_nginx($nginx) ? 1 : 0,
          '==', 1);

    my %asked;
    open my $log, '<', "$tmp/asked$http" or die "$!\n";
    while (<$log>) {
        chomp;
        $asked{$_}++;
    }
    my $started = sum0(values %asked);
    my $sent = sent($redis);
    my $counted = sum0(values %{ counted($redis, 'lookups/3600') });
    told("HTTP/$http: lookups started, and of them ended by 499",
         $started . ' ' . ($asked{499} // 0));
    check("HTTP/$http: a quarter of those broken off are known by 499",
          $asked{499} // 0, '>=', int($all->{aborted} / 4));
    told("HTTP/$http: of them never sent to Redis", $started - $counted);
    check("HTTP/$http: sent to Redis, and not counted once",
          abs($sent - $counted), '==', 0);
    check("HTTP/$http: counted, and not started",
          max(0, $counted - $started), '==', 0);
    check("HTTP/$http: admitted, and not counted",
          max(0, ($asked{200} // 0) - $counted), '==', 0);
    check("HTTP/$http: started, and not among what clients asked",
          max(0, $started - $all->{asked} - 2001), '==', 0);
    check("HTTP/$http: complaints in the log", scalar(complaints($nginx)),
          '==', 0, complaints($nginx));
    finish($proxy, 'KILL');
    stop_redis($redis);
}

sub clients {
    my ($redis) = @_;

    return scalar grep { !/cmd=client/ }
        split /\n/, redis($redis, 'CLIENT', 'LIST');
}

# nobody is left with nginx but who asks

sub settled {
    my ($nginx) = @_;

    return wait_for(sub { status($nginx)->{active} == 0 }, 10);
}
