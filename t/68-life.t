# A node whose connections are used up, or whose clock is wrong, while Redis
# comes and goes.

use lib 't/lib';
use Clock;
use PatientGuard;

worker_connections(16);

# workers see what the master passes on
env_to_nginx('PG_CLOCK');

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Alias $patient_guard_account always;
    empty_gif;
}
location /now {
    return  200 $msec;
}
END

sub policy {
    my ($outage) = @_;

    return <<"END";
account        \$http_x_account trusted;
secret         \$PG_KEY;
redis          unix:\$PG_TMP/\$PG_POLICY.d/sock prefix=\$PG_PREFIX;
redis_timeout  1s;
on_outage      $outage;
limit          lookups=4/1h deny;
END
}

# status and source; undef if nginx had no connection for the client

sub lookup {
    my ($account) = @_;

    my $answer = eval { get('/?patient=1', 'X-Account' => $account) };
    return undef unless $answer && $answer->{status};
    return join ' ', $answer->{status}, $answer->{headers}{'x-source'} // '-';
}

# A client that never ends its request keeps a connection, once nginx has read
# the beginning; before, it would be closed to make room.

sub hold {
    my $client = PatientGuard::client();
    print $client "GET / HTTP/1.1\r\nHost: x\r\n";

    my $peer = sprintf ':%04X', $client->sockport;
    wait_for(sub {
        for my $line (split /\n/, PatientGuard::slurp('/proc/net/tcp')) {
            my (undef, undef, $remote, $state, $queues, undef, undef, undef,
                undef, $inode) = split ' ', $line;
            next unless defined $inode && $remote =~ /$peer$/;
            return 0 if $state eq '01' && ($queues !~ /:0+$/ || !$inode);
        }
        return 1;
    }) or die "nginx does not read\n";

    return $client;
}

# one connection after the other, until there is none for a client; each lookup
# has to connect to Redis.  What lookups said meanwhile

sub used_up {
    my ($dir) = @_;

    my (@held, %seen);
    for my $n (1 .. 20) {
        redis_at($dir, qw(CLIENT KILL TYPE normal));
        push @held, hold();
        $seen{ lookup("b$n") // 'closed' }++;
    }
    return join ', ', sort keys %seen;
}

run_tests();

__DATA__

=== TEST 1: no connection is left for Redis
--- policy eval: ::policy('local')
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
is(lookup('a'), '200 redis', 'there are enough');

is(used_up($dir), '200 local, 200 redis, closed',
   'first Redis has none, then the client');
like(error_log(), qr/worker_connections are not enough/, "nginx' own word");
ok(wait_for(sub { (lookup('c' . rand) // '') eq '200 redis' }),
   'when there are, Redis is asked again');
stop_redis($dir);
unlike(error_log(), qr/exited on signal/, 'and no worker died');



=== TEST 2: and on_outage decides
--- policy eval: ::policy('deny')
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
is(used_up($dir), '200 redis, 503 none, closed', 'as it says');
stop_redis($dir);



=== TEST 3: what was counted by a wrong clock is told
--- policy eval: ::policy('local')
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
ahead(0);
is(lookup('well'), '200 redis', 'Redis is there');
stop_redis($dir);
is(lookup('one'), '200 local', 'on time');
ahead(7200);
is(lookup('one'), '200 local', 'two hours ahead') for 1 .. 2;
ahead(0);
start_redis($dir);
ok(wait_for(sub { lookup('well' . rand) eq '200 redis' }), 'it is back');
is(lookup('one'), '200 redis', 'those two, and one more') for 1 .. 2;
like(lookup('one'), qr/^403/, 'full');

my $alias = get('/?patient=1', 'X-Account' => 'one')->{headers}{'x-alias'};
is(window_at($dir, $alias, 'lookups/3600')->{total}, 4, 'in Redis as well');
stop_redis($dir);
