# A Redis that others manage: with the rights that README asks for and no
# more, with passwords that change, and with settings that are not ours.

use lib 't/lib';
use PatientGuard;

use Behind qw($slow $config count);
use List::Util qw(sum);
use Time::HiRes qw(sleep time);

sub secret {
    my ($name, $text) = @_;

    my $path = "$ENV{PG_TMP}/33-$name";
    PatientGuard::spew($path, $text);
    chmod 0600, $path;
    return $path;
}

our $password = secret('password', "pass one\n");
our $key = secret('key', '0' x 40 . "\n");

# as README says it, but for the password and the prefix

sub rights {
    my ($prefix) = @_;

    my ($said) = PatientGuard::slurp('README.md')
        =~ /^ACL SETUSER guard on >PASSWORD ((?:.*\\\n)*.*)$/m
        or die "README says no \"ACL SETUSER guard\"\n";
    $said =~ s/\\\n/ /g;
    $said =~ s/~pg:/~$prefix:/ or die "no ~pg:* in it\n";
    return split ' ', $said;
}

# a user with them, and without what @without says; nobody else gets in

sub start_guarded {
    my ($dir, $prefix, @without) = @_;

    my %without = map { $_ => 1 } @without;
    start_redis($dir);
    redis_at($dir, 'ACL', 'SETUSER', 'guard', 'on', '>pass one',
             grep { !$without{$_} } rights($prefix)) =~ /OK/
        or die "ACL SETUSER: " . redis_at($dir, 'ACL', 'LIST');
    redis_at($dir, qw(ACL LOG RESET));
}

# what was denied, as Redis says

sub denied {
    my ($dir) = @_;

    return join ' ', redis_at($dir, 'ACL', 'LOG')
        =~ /^object\n(\S*)\n/mg;
}

sub policy {
    my ($more) = @_;

    return <<"END" . ($more // '');
account        \$http_x_account trusted;
redis          unix:\$PG_TMP/\$PG_POLICY.d/sock prefix=\$PG_PREFIX;
redis_auth     user=guard password_file=$password;
redis_timeout  500ms;
limit          patients=3/1h challenge;
limit          lookups=100000/1h deny;
proof          \$proved;
END
}

our $http = 'map $http_x_proof $proved { default $http_x_proof; }' . "\n";

sub told {
    my ($account, $patient, @headers) = @_;

    my $answer = get('/?patient=' . ($patient // 1),
                     'X-Account' => $account, @headers);
    return "$answer->{status} " . ($answer->{headers}{'x-source'} // '-');
}

sub well { wait_for(sub { told('well') eq '200 redis' }) }

sub number {
    my ($dir, $name) = @_;

    my ($value) = redis_at($dir, 'INFO', 'ALL') =~ /^\Q$name\E(\d+)/m;
    return $value // 0;
}

# what it says within seconds, asked all the time: { "status source" => n }

sub seen {
    my ($seconds, $account) = @_;

    my %seen;
    my $end = time + $seconds;
    while (time < $end) { $seen{ told($account // 'dupont') }++; sleep 0.01 }
    return \%seen;
}

run_tests();

__DATA__

=== TEST 1: the rights that README asks for are enough
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX');
ok(well(), 'well');
is(told('dupont', $_), '200 redis', "patient $_") for 1 .. 3;
is(told('dupont', 4), '403 redis', 'a challenge');
is(told('dupont', 4, 'X-Proof' => int(time) + 1), '200 redis', 'passed');
is(told('dupont', $_), '200 redis', "patient $_") for 5, 6;
is(told('dupont', 7), '403 redis', 'another one');

# told by itself, taught anew, and by another server
redis_at($dir, 'SCRIPT', 'FLUSH');
is(told('duval', 1), '200 redis', 'without the script');
start_another();
another { is(told('durand', $_), '200 redis', "another node: $_") for 1 .. 3 };
is(told('durand', 4), '403 redis', 'and this one');
stop_redis($dir);
ok(wait_for(sub { told('dubois', 1) eq '200 local' }), 'an outage');
start_guarded($dir, '$PG_PREFIX');
ok(well(), 'well');
ok(wait_for(sub { redis_at($dir, 'DBSIZE') >= 2 }), 'which Redis is told of');

is(denied($dir), '', 'and nothing was denied');
is(count(0, 'NOPERM'), 0, 'nor is it said');
stop_redis($dir);



=== TEST 2: a key of the old secret is found with them
--- http_config eval: $::http
--- policy eval: ::policy("secret $::key;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX');
is(told('dupont', $_), '200 redis', "patient $_") for 1 .. 3;
::secret('key', '1' x 40 . "\n" . '0' x 40 . "\n");
ok(reload(), 'another secret');
is(told('dupont', 4), '403 redis', 'and the same account');
is(denied($dir), '', 'nothing was denied');
stop_redis($dir);



=== TEST 3: a right that is missing is an outage, which says so
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX');

# Redis calls it ERR when a script may not
my %said = map { $_ => qr/NOPERM/ } qw(eval ping);
$said{$_} = qr/NOPERM|The user executing the script|ACL failure/
    for qw(hmget hset pexpire);
for my $right (sort keys %said) {
    ok(well(), "+$right: well");
    my $from = length error_log();
    redis_at($dir, 'ACL', 'SETUSER', 'guard', "-$right",
             $right eq 'eval' ? '-evalsha' : ());
    redis_at($dir, qw(CLIENT KILL TYPE normal)) if $right eq 'ping';
    my $seen;
    ok(wait_for(sub { $seen = told("new-$right", rand);
                      $seen eq '200 local' }), "-$right: on_outage")
        or diag($seen);
    seen(0.5, "n-$right");
    ok(count($from, '\[(?:error|crit)\] [^\n]*patient guard: [^\n]*'
                    . $said{$right}), "-$right: is said");
    redis_at($dir, 'ACL', 'SETUSER', 'guard', "+$right", '+evalsha');
}
ok(well(), 'well');

# as are the keys of others
my $from = length error_log();
redis_at($dir, qw(ACL SETUSER guard resetkeys), '~other:*');
ok(wait_for(sub { told('duval', rand) eq '200 local' }), 'keys: on_outage');
is(count($from, '\[crit\] .* is away: NOPERM'), 1, 'is said');
stop_redis($dir);



=== TEST 4: who is refused does not try again and again
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
my $auths = sub { number($dir, 'cmdstat_auth:calls=') };
my $connections = sub { number($dir, 'total_connections_received:') };

my %ways = (
    WRONGPASS => [sub { redis_at($dir, qw(ACL SETUSER guard resetpass)) },
                  sub { redis_at($dir, qw(ACL SETUSER guard resetpass),
                                 '>pass one') }],
    'off'     => [sub { redis_at($dir, qw(ACL SETUSER guard off)) },
                  sub { redis_at($dir, qw(ACL SETUSER guard on)) }],
    'gone'    => [sub { redis_at($dir, qw(ACL DELUSER guard)) },
                  sub { redis_at($dir, 'ACL', 'SETUSER', 'guard', 'on',
                                 '>pass one', rights('$PG_PREFIX')) }],
    NOPERM    => [sub { redis_at($dir, qw(ACL SETUSER guard -ping)) },
                  sub { redis_at($dir, qw(ACL SETUSER guard +ping)) }],
);
start_guarded($dir, '$PG_PREFIX');
for my $way (sort keys %ways) {
    my ($worse, $better) = @{ $ways{$way} };
    ok(well(), "$way: well before");
    my $from = length error_log();
    $worse->();
    redis_at($dir, qw(CLIENT KILL TYPE normal));
    my ($auth, $connected) = ($auths->(), $connections->());
    my $seen = seen(3);
    is_deeply([keys %$seen], ['200 local'], "$way: on_outage")
        or diag(join ', ', %$seen);
    cmp_ok($auths->() - $auth, '<=', 4, "$way: at most each second");
    cmp_ok($auths->() - $auth, '>=', 2, "$way: but again");

    # one of our own for each number
    cmp_ok($connections->() - $connected, '<=', 4 + 5, "$way: connections");
    is(count($from, '\[crit\] .* is away: '), 1, "$way: said once, as crit");
    $better->();
    ok(well(), "$way: well, without a reload");
    is(count($from, '\[notice\] .* is back'), 1, "$way: said once");
}
stop_redis($dir);



=== TEST 5: no password where one is wanted
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock prefix=$PG_PREFIX;
redis_timeout  500ms;
limit          patients=3/1h deny;
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir, '--requirepass', 'secret');
my $number = sub {
    my ($n) = redis_at($dir, '-a', 'secret', 'INFO', 'STATS')
        =~ /total_connections_received:(\d+)/;
    return $n;
};
my $connected = $number->();
my $seen = seen(3);
is_deeply([keys %$seen], ['200 local'], 'on_outage')
    or diag(join ', ', %$seen);
cmp_ok($number->() - $connected, '<=', 1 + 4, 'at most each second');
is(count(0, '\[crit\] .* is away: NOAUTH'), 1, 'said once, as crit');
stop_redis($dir);



=== TEST 6: a password that is changed
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX');
ok(well(), 'well');
my $from = length error_log();
redis_at($dir, qw(ACL SETUSER guard resetpass), '>pass two');
is(told('dupont'), '200 redis', 'who is in stays in') for 1 .. 10;
is(count($from, 'is away'), 0, 'and nothing is said');

# a new connection is another matter
redis_at($dir, qw(CLIENT KILL TYPE normal));
ok(wait_for(sub { told('dupont') eq '200 local' }), 'on_outage');
is(count($from, '\[crit\] .* is away: WRONGPASS'), 1, 'is said');

# the file is read at a reload
::secret('password', "pass two\n");
is(told('dupont'), '200 local', 'not before');
ok(reload(), 'reloaded');
ok(well(), 'well');

# both hold for a while: the way to change it without an outage
$from = length error_log();
redis_at($dir, 'ACL', 'SETUSER', 'guard', '>pass one');
::secret('password', "pass one\n");
ok(reload(), 'reloaded');
redis_at($dir, 'ACL', 'SETUSER', 'guard', '<pass two');
redis_at($dir, qw(CLIENT KILL TYPE normal));
is(told('dupont'), '200 redis', 'nobody noticed') for 1 .. 10;
is(count($from, 'is away'), 0, 'nor does the log');
stop_redis($dir);



=== TEST 7: a policy of memory that evicts counts
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
for my $policy (qw(allkeys-lru allkeys-random volatile-ttl noeviction)) {
    start_guarded($dir, '$PG_PREFIX');
    redis_at($dir, 'CONFIG', 'SET', 'maxmemory-policy', $policy);
    redis_at($dir, 'CONFIG', 'SET', 'maxmemory', '100mb');
    my $from = length error_log();
    ok(reload(), "$policy: a new connection");
    ok(well(), "$policy: well");
    is(told('dupont'), '200 redis', "$policy: counted") for 1 .. 10;
    my $evicts = $policy ne 'noeviction';
    wait_for(sub { count($from, 'maxmemory-policy') }, 2) if $evicts;
    is(count($from, '\[warn\] [^\n]*maxmemory-policy'), $evicts ? 1 : 0,
       "$policy: warned once, or not at all");
    ok(count($from, "maxmemory-policy[^\\n]*$policy"), "$policy: by its name")
        if $evicts;
    is(count($from, 'is away'), 0, "$policy: no outage");
    is(denied($dir), '', "$policy: nothing was denied");
    stop_redis($dir);
}



=== TEST 8: who may not ask does not
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX', '+info');
redis_at($dir, qw(ACL SETUSER guard -info));
redis_at($dir, qw(CONFIG SET maxmemory-policy allkeys-lru));
my $from = length error_log();
ok(reload(), 'a new connection');
ok(well(), 'well');
is(told('dupont'), '200 redis', 'counted') for 1 .. 10;
is(count($from, '\[(?:warn|error|crit)\]'), 0, 'and nothing is said');
stop_redis($dir);



=== TEST 9: connections that are closed when idle
--- http_config eval: $::http
--- policy eval: ::policy("secret \$PG_KEY;\n")
--- config eval: $::config
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_guarded($dir, '$PG_PREFIX');
redis_at($dir, qw(CONFIG SET timeout 1));
ok(well(), 'well');
my $clients = sub { scalar grep { /user=guard/ }
                    split /\n/, redis_at($dir, qw(CLIENT LIST)) };
for my $n (1 .. 2) {
    ok(wait_for(sub { !$clients->() }), "closed, $n");
    is(told('dupont'), '200 redis', 'and opened anew');
}
is(count(0, 'is away'), 0, 'which is no outage');
stop_redis($dir);
