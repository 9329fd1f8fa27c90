# TLS to Redis: who is trusted, what is said of who is not, and nobody waits.

use lib 't/lib';
use Certificates;
use PatientGuard;

use Time::HiRes qw(sleep time);

our $dir = $Certificates::dir;

authority($_) for qw(ours theirs);
certificate('server', 'ours', 'DNS:redis.test,IP:127.0.0.1');
certificate('next', 'ours', 'DNS:redis.test,DNS:next.test');
certificate('expired', 'ours', 'DNS:redis.test', '20210101000000Z');
certificate('stranger', 'theirs', 'DNS:redis.test');
certificate('guard', 'ours', 'DNS:guard.test');

sub start_tls {
    my ($redis, $port, $name, @options) = @_;

    start_redis($redis, '--tls-port', $port, '--bind', '127.0.0.1',
                '--tls-cert-file', "$dir/$name.pem",
                '--tls-key-file', "$dir/$name.key",
                '--tls-ca-cert-file', "$dir/ours.pem",
                '--tls-auth-clients', 'no', @options);
}

# another certificate, and everybody has to look at it

sub present {
    my ($redis, $name) = @_;

    redis_at($redis, qw(CONFIG SET tls-cert-file), "$dir/$name.pem",
             'tls-key-file', "$dir/$name.key");
    redis_at($redis, qw(CLIENT KILL TYPE normal));
}

# as one OpenSSL or the other calls it
our $unknown = join '|', 'unable to get local issuer certificate',
    'self-signed .*', 'unable to verify the first certificate';

sub policy {
    my ($tls) = @_;

    return <<"END";
account        \$http_x_account trusted;
secret         \$PG_KEY;
redis          127.0.0.1:\$PG_FAKE_PORT prefix=\$PG_PREFIX;
redis_tls      $tls;
redis_timeout  1s;
limit          lookups=1000/1h deny;
END
}

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    proxy_pass             http://$PG_PORTAL;
}
END

sub lookup {
    my $answer = get('/?patient=1', 'X-Account' => 'one');
    return "$answer->{status} " . ($answer->{headers}{'x-source'} // '-');
}

sub well { wait_for(sub { lookup() eq '200 redis' }) }

# what the log says of it, from $from on, once
sub said {
    my ($from) = @_;

    my @away = substr(error_log(), $from)
        =~ /\[(\w+)\] [^\n]* is away: ([^\n]*); on_outage/g;
    return join ' ', @away;
}

run_tests();

__DATA__

=== TEST 1: a server that its authority vouches for
--- policy eval: ::policy("on ca=$::dir/ours.pem name=redis.test")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server');
is(lookup(), '200 redis', 'by its name') for 1 .. 3;
is(burst_statuses(), 1, 'several at once');
ok(reload(), 'reloaded');
ok(well(), 'by new workers');

# what was opened once is resumed, or opened anew
for (1 .. 5) {
    redis_at('$PG_TMP/$PG_POLICY.d', qw(CLIENT KILL TYPE normal));
    ok(well(), 'and again');
}
is(said(0), '', 'it never was away');
unlike(error_log(), qr/open socket|\[alert\]/, 'and nothing is left behind');
stop_redis('$PG_TMP/$PG_POLICY.d');

sub burst_statuses {
    my @statuses = burst(16, sub { "/?patient=$_[0]" }, 'X-Account' => 'many');
    return scalar(grep { $_ == 200 } @statuses) == 16 ? 1 : "@statuses";
}



=== TEST 2: by its address
--- policy eval: ::policy("on ca=$::dir/ours.pem")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server');
is(lookup(), '200 redis', 'which its certificate names');
stop_redis('$PG_TMP/$PG_POLICY.d');
my $from = length error_log();
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'next');
ok(wait_for(sub { lookup(); said($from) =~ /is not for/ }), 'or does not');
like(said($from), qr/crit its certificate is not for "127\.0\.0\.1"$/,
     'and says so');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 3: who is not trusted
--- policy eval: ::policy("on ca=$::dir/ours.pem name=redis.test")
--- config eval: $::config
--- after
my $redis = '$PG_TMP/$PG_POLICY.d';
my %wrong = (expired => 'certificate has expired', stranger => $::unknown);
start_tls($redis, $PG_FAKE_PORT, 'server');
for my $name (sort keys %wrong) {
    ok(well(), 'the right one is');
    my $from = length error_log();
    present($redis, $name);
    my $start = time;
    is(lookup(), '200 local', "$name: on_outage") for 1 .. 20;
    cmp_ok(time - $start, '<', 3 * ($ENV{PG_SLOW} // 1), 'and nobody waits');
    like(said($from), qr/^crit its certificate: (?:$wrong{$name})$/,
         'one line says why');
    present($redis, 'server');
}
ok(well(), 'the right one is again');
stop_redis($redis);
ok(wait_for(sub { lookup() eq '200 local' }), 'until it goes');

# a server that is wrong from the first moment on is told nothing
my $from = length error_log();
start_tls("$redis.2", $PG_FAKE_PORT, 'stranger');
ok(wait_for(sub {
    is(lookup(), '200 local', 'a stranger');
    said($from) =~ /^crit its certificate: (?:$::unknown)$/;
}), 'is told of, though there was nobody before');
is(redis_at("$redis.2", 'DBSIZE'), "0\n", 'learns nothing');
stop_redis("$redis.2");



=== TEST 4: another name
--- policy eval: ::policy("on ca=$::dir/ours.pem name=other.test")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server');
is(lookup(), '200 local', 'on_outage');
is(said(0), 'crit its certificate is not for "other.test"', 'and says so');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 5: no authority is known but the system's
--- policy eval: ::policy("on name=redis.test")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server');
is(lookup(), '200 local', 'on_outage');
like(said(0), qr/^crit its certificate: (?:$::unknown)$/, 'and says so');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 6: whoever it is
--- policy eval: ::policy("on verify=off")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'stranger');
is(lookup(), '200 redis', 'is asked');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 7: a certificate of our own
--- http_config eval
<<"END";
patient_guard_policy \$PG_POLICY {
@{[::policy("on ca=$::dir/ours.pem certificate=$::dir/guard.pem key=$::dir/guard.key")]}
}
patient_guard_policy \$PG_POLICY-without {
@{[::policy("on ca=$::dir/ours.pem")]}
}
END
--- config eval
"$::config location /without { patient_guard \$PG_POLICY-without;"
. ' add_header X-Source $patient_guard_source always;'
. ' proxy_pass http://$PG_PORTAL; }';
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server',
          '--tls-auth-clients', 'yes');
is(lookup(), '200 redis', 'opens the door');
is(get('/without', 'X-Account' => 'one')->{headers}{'x-source'}, 'local',
   'and without it stays shut');
like(said(0), qr/^err\w* SSL_\w+\(\) failed \(SSL: .*certificate required/,
     'as OpenSSL says');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 8: who does not speak TLS
--- policy eval: ::policy("on ca=$::dir/ours.pem")
--- config eval: $::config
--- after
start_redis('$PG_TMP/$PG_POLICY.d', '--port', $PG_FAKE_PORT);
is(lookup(), '200 local', 'on_outage');
like(said(0), qr/^err/, 'and says so');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 9: and who does, and is not expected to
--- policy eval: ::policy("off")
--- config eval: $::config
--- after
start_tls('$PG_TMP/$PG_POLICY.d', $PG_FAKE_PORT, 'server');
is(lookup(), '200 local', 'on_outage');
like(said(0), qr/^err/, 'and says so');
stop_redis('$PG_TMP/$PG_POLICY.d');



=== TEST 10: who says nothing
--- policy eval: ::policy("on ca=$::dir/ours.pem")
--- config eval: $::config
--- after
use IO::Socket::INET;
my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8,
    LocalPort => $PG_FAKE_PORT, ReuseAddr => 1) or die "$!\n";
my $start = time;
is(lookup(), '200 local', 'on_outage');
cmp_ok(time - $start, '<', 1.2 * ($ENV{PG_SLOW} // 1), 'within redis_timeout');
like(said(0), qr/^err\w* no reply in time/, 'and says so');
ok(reload(), 'and nothing hangs');
close $mute;



=== TEST 11: certificates change under load
--- policy eval: ::policy("on ca=$::dir/ours.pem name=redis.test")
--- config eval: $::config
--- after
my $redis = '$PG_TMP/$PG_POLICY.d';
start_tls($redis, $PG_FAKE_PORT, 'server');
is(lookup(), '200 redis', 'the first');
for my $name ('next', 'server', 'next') {
    my %said;
    $said{lookup()}++ for 1 .. 20;
    present($redis, $name);
    $said{lookup()}++ for 1 .. 50;
    is_deeply(\%said, { '200 redis' => 70 }, "$name: nobody noticed");
}
is(said(0), '', 'not the log either');
present($redis, 'expired');
ok(wait_for(sub { lookup(); said(0) =~ /expired/ }), 'but of a bad one');
stop_redis($redis);



=== TEST 12: sessions are resumed
--- policy eval: ::policy("on ca=$::dir/ours.pem name=redis.test")
--- config eval: $::config
--- after
pipe my $in, my $out or die "pipe: $!\n";
my $pid = fork // die "fork: $!\n";
if (!$pid) {
    open STDIN, '<&', $in or die "$!\n";
    open STDOUT, '>', "$::dir/s_server" or die "$!\n";
    open STDERR, '>&', \*STDOUT;
    exec 'openssl', 's_server', '-accept', '127.0.0.1:' . $PG_FAKE_PORT,
         '-cert', "$::dir/server.pem", '-key', "$::dir/server.key"
        or POSIX::_exit(1);
}
ok(wait_for(sub { PatientGuard::slurp("$::dir/s_server") =~ /ACCEPT/ }),
   'it is there');
ok(wait_for(sub {
    lookup();
    PatientGuard::slurp("$::dir/s_server") =~ /^Reused session-id/m;
}), 'the second time');
my ($first) = split /CONNECTION CLOSED/, PatientGuard::slurp("$::dir/s_server");
ok($first !~ /Reused/, 'not the first');
kill 'KILL', $pid;
waitpid $pid, 0;
