# Sentinels: which of them are asked, what they are believed, and how one
# speaks to them with TLS, users and passwords.

use lib 't/lib';
use PatientGuard;
use BehindSentinels;

use List::Util qw(max);
use Time::HiRes qw(sleep time);

run_tests();

__DATA__

=== TEST 1: with TLS, users and passwords
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after: finds_the_master($::rigs{tls});



=== TEST 2: and with TLS
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after: dies($::rigs{tls});



=== TEST 3: and with TLS
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after: is_moved($::rigs{tls});



=== TEST 4: a sentinel of another password
--- policy eval
::policy(::at('tls') =~ s/sentinel_password_file=\S+;/"sentinel_password_file="
    . ::secret('wrong', 'wrong') . ";"/er)
--- config eval: $::config
--- error_log eval: qr/start worker|[crit]/
--- after
my %told;
my $end = time + 3;
my $rig = $::rigs{tls};
my $before = $rig->{sentinels}[0]->calls('auth');
while (time < $end) { $told{ told('dupont') }++; sleep 0.02 }
my $n = $rig->{sentinels}[0]->calls('auth') - $before;
is_deeply([keys %told], ['200 local'], 'on_outage') or diag(join ', ', %told);
is(count(0, '\[crit\] [^\n]*no sentinel tells [^\n]*WRONGPASS'), 1,
   'said, as crit');

# of which one is ours each time that we look
cmp_ok($n, '<=', 5, 'it is not tried too often') or diag("$n times");



=== TEST 5: a sentinel that is dead, or says nothing, is not asked twice
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
my $rig = $::rigs{plain};
is(well(), '200 redis', 'all three');
for my $way (qw(freeze kill)) {
    my ($first, $second) = @{ $rig->{sentinels} };
    $_->$way for $first, $second;
    my $start = time;
    ask_again();
    my $told = well();
    is($told, '200 redis', "$way: the third one knows");
    cmp_ok(time - $start, '<', 3 * $slow, "$way: and soon");
    $way eq 'freeze' ? $_->thaw : $_->start for $first, $second;
}
$rig->settled;
ask_again();
is(well(), '200 redis', 'all three');



=== TEST 6: no sentinel is there, when nginx starts and later
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
my $rig = $::rigs{plain};
is(well(), '200 redis', 'all is well');
$_->kill for @{ $rig->{sentinels} };
my $from = length error_log();
is(told('well'), '200 redis', 'the master is known') for 1 .. 20;
is(count($from, 'is away'), 0, 'that no sentinel is there is no outage');

ask_again();
my %told;
my $end = time + 2;
while (time < $end) { $told{ told('dupont') }++; sleep 0.02 }
is_deeply([keys %told], ['200 local'], 'but for who must ask')
    or diag(join ', ', %told);
is(count($from, 'is away: '), 1, 'said once');
$_->start for @{ $rig->{sentinels} };
is(well(), '200 redis', 'they are back');
is(count($from, '\[notice\] .* is back'), 1, 'said once');
$rig->settled;



=== TEST 7: no sentinel knows a master of that name
--- policy eval: ::policy(::at('plain', undef, 'nobody'))
--- config eval: $::config
--- error_log eval: qr/start worker|[error]/
--- after
my %told;
my $end = time + 2;
while (time < $end) { $told{ told('dupont') }++; sleep 0.02 }
is_deeply([keys %told], ['200 local'], 'on_outage') or diag(join ', ', %told);
is(count(0, 'is away: '), 1, 'said once');
like(error_log(), qr/is away: [^\n]*\bnobody\b/, 'and clearly');
like(error_log(), qr/\[error\] [^\n]*no sentinel tells [^\n]*"nobody"/,
     'as an error');
my @connected = map { $_->info('total_connections_received') }
    @{ $::rigs{plain}{sentinels} };
sleep 1;
my @now = map { $_->info('total_connections_received') }
    @{ $::rigs{plain}{sentinels} };
cmp_ok(max(map { $now[$_] - $connected[$_] } 0 .. 2), '<', 20,
       'nor are they asked all the time');



=== TEST 8: a sentinel that knows it wrongly: the next one is asked
--- policy eval: ::policy(::at('plain', '127.0.0.1:$PG_FAKE_PORT'))
--- config eval: $::config
--- fake_redis
return unless @command;
return $peer->send("+PONG\r\n") if uc $command[0] eq 'PING' && @command == 1;
return $peer->send('$' . length($command[1]) . "\r\n$command[1]\r\n")
    if uc $command[0] eq 'PING';
return $peer->send("-ERR unknown command\r\n")
    unless uc $command[0] eq 'SENTINEL';
my $says = slurp('$PG_TMP/$PG_POLICY.says');
my ($host, $port) = $says =~ /^at (\S+) (\d+)/;
return if $says =~ /^silent/;
return $peer->close if $says =~ /^close/;
return $peer->send("*2\r\n\$" . length($host) . "\r\n$host\r\n\$"
                   . length($port) . "\r\n$port\r\n") if $host;
$peer->send($says =~ s/\\r\\n/\r\n/gr);
--- after
my $rig = $::rigs{plain};
my ($replica) = $rig->replicas;
my ($closed) = Server::ports(1);
my %says = (
    replica  => 'at 127.0.0.1 ' . $replica->port,
    closed   => "at 127.0.0.1 $closed",
    itself   => 'at 127.0.0.1 $PG_FAKE_PORT',
    name     => 'at not.an.address. 6379',
    empty    => 'at :: 0',
    port     => 'at 127.0.0.1 65536',
    unknown  => '*-1\r\n',
    nil      => '$-1\r\n',
    none     => '*0\r\n',
    one      => '*1\r\n$9\r\n127.0.0.1\r\n',
    three    => '*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n',
    numbers  => '*2\r\n:1\r\n:2\r\n',
    nils     => '*2\r\n$-1\r\n$-1\r\n',
    status   => '+OK\r\n',
    error    => '-ERR what\r\n',
    noauth   => '-NOAUTH Authentication required.\r\n',
    idontknow => '-IDONTKNOW the master\r\n',
    garbage  => 'HTTP/1.1 400 Bad Request\r\n\r\n',
    huge     => '$100000000\r\n' . 'x' x 100000,
    line     => '*2\r\n$11\r\n127.0.0.1' . "\n" . 'x\r\n$4\r\n6379\r\n',
    silent   => 'silent', close => 'close',
);
for my $name (sort keys %says) {
    PatientGuard::spew('$PG_TMP/$PG_POLICY.says', $says{$name});
    my $start = time;
    ask_again();
    is(well(), '200 redis', "$name: the next one is asked");
    cmp_ok(time - $start, '<', 3 * $slow, "$name: and soon");
}
is($replica->calls(qw(eval evalsha)), 0, 'no replica is asked')
    if $replica->info('role') eq 'slave';
is(count(0, '\[(?:alert|emerg)\]|exited on signal'), 0, 'nothing worse');
unlike(error_log(), qr/^x:6379/m, 'nobody else writes lines into the log');

# the silent ones are given up by the lookup that waits for them
cmp_ok(count(0, 'is away: '), '<=', 2 * keys %says, 'no more said than that');
