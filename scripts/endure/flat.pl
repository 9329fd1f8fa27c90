# REQUESTS lookups over HTTP/1 and HTTP/2, aborts among them, while Redis is
# killed and started again RESTARTS times: memory and descriptors stay flat.

use strict;
use warnings;
use Endure;

use List::Util qw(max sum0);

my $requests = scaled(REQUESTS => 5_000_000, 120_000);
my $restarts = scaled(RESTARTS => 20, 3);

# KiB by which a worker, or the master, may grow between the first third of
# the requests and the last: the heap grows by steps, and the worst of the last
# outage's queues may be a little longer than that of the first
my $bound = 512;

my $redis = start_redis('redis');
my $nginx = start_nginx('nginx', ports => 2, http => policy($redis,
    'zone 32m; redis_timeout 50ms; limit lookups=100000/1h deny;'
    . ' limit patients=100/1h deny;') . 'map $status $bad { ~^5 1; default 0; }
    log_format bad "$status $request_uri";',
    location => "access_log $tmp/bad bad if=\$bad;");

# all workers know Redis before the first look
finish(start_client('load', '-c', 64, '-n', 5000, $nginx->{port}));
wait_for(sub { status($nginx)->{active} == 0 });
my @workers = workers($nginx);
my $fds = sum0(map { fds($_) } @workers);

spew("$tmp/uris", join '', map {
    "http://127.0.0.1:$nginx->{ports}[1]/?patient=$_\n" } 1 .. 100);
my @loads = (
    start_client('wrk', '-t', 2, '-c', 64, '-d', '24h', '--timeout', '10s',
                 '-s', 'scripts/endure/flat.lua',
                 "http://127.0.0.1:$nginx->{port}/"),
    start_client('abort', '-c', 10, '-n', 1e9, '-a', 100, $nginx->{port}),
    start_client('abort', '-c', 10, '-n', 1e9, '-a', 100, '-2',
                 $nginx->{ports}[1]));

# h2load counts requests, not seconds
my $h2load;
my $again = sub {
    finish($h2load) if $h2load;
    $h2load = start_client('h2load', '-n', 10000, '-c', 4, '-m', 10,
                           '-H', 'X-Account: h2', '-i', "$tmp/uris");
};

my ($killed, $done, @seen) = (0, 0);
my $first = status($nginx)->{requests};
my $start = time;

while (($done = status($nginx)->{requests} - $first) < $requests) {
    die "nothing moves\n" if @seen > 60 && $seen[-60]{done} == $done;
    $again->() if !$h2load || !alive($h2load->{pid});

    if ($killed < $restarts && $done > $requests * ($killed + 0.5) / $restarts)
    {
        stop_redis($redis, 'KILL');
        sleep 0.3;
        $redis = start_redis('redis');
        $killed++;
    }

    push @seen, { done => $done, master => anon($nginx->{pid}),
                  worker => max(map { anon($_) } @workers),
                  fds => sum0(map { fds($_) } @workers),
                  clients => eval { clients() } // 0 };
    sleep $requests > 1e6 ? 1 : 0.1;
}
my $seconds = time - $start;

kill 'INT', $loads[0]{pid};
my ($wrk) = finish($loads[0]);
finish($_, 'KILL') for @loads[1, 2];
finish($h2load);
my $settled = wait_for(sub { status($nginx)->{active} == 0 });

# of the first and of the last third, the most

sub most {
    my ($third, $what) = @_;

    return max(map { $_->{$what} }
        grep { int(3 * $_->{done} / $requests) == $third } @seen) // 0;
}

sub clients {
    return scalar grep { !/cmd=client/ }
        split /\n/, redis($redis, 'CLIENT', 'LIST');
}

told('requests', $done);
told('a second', int($done / $seconds));
told('Redis killed and started', $killed);
for my $what ('worker', 'master') {
    my ($from, $to) = map { most($_, $what) } 0, 2;
    my $line = "memory of a $what, of $from KiB in the first third, grew by";
    sanitized() ? told($line, $to - $from)
        : check($line, $to - $from, '<=', $bound,
                join ' ', map { $_->{$what} } @seen);
}
told('descriptors of the workers, first and last third',
     join ' ', map { most($_, 'fds') } 0, 2);
check("descriptors when all is over, before $fds",
      sum0(map { fds($_) } @workers), '<=', $fds);
check('requests left behind in nginx', $settled ? 0 : 1, '==', 0);
# Redis may not have noticed yet that a worker gave a connection up
told('connections to Redis, the most at any time',
     max(map { $_->{clients} } @seen));
check('connections to Redis in the end', clients(), '<=', 4);
check('the workers are the same',
      same($nginx, @workers), '==', 1);
check('answers of 5xx', scalar(() = slurp("$tmp/bad") =~ /\n/g), '==', 0,
      split /\n/, slurp("$tmp/bad"));
check('requests that wrk gave up',
      sum0($wrk =~ /(?:connect|read|write|timeout) (\d+)/g), '==', 0, $wrk);
check('an answer after it',
      get($nginx, '/?patient=1', 'X-Account' => 'new')->{status}, '==', 200);
my $expected = qr/patient guard: redis/;
check('complaints in the log, but of Redis', scalar(complaints($nginx,
      $expected)), '==', 0, complaints($nginx, $expected));
check('it stops when told to', stop_nginx($nginx) ? 1 : 0, '==', 1);
