# Nodes of a cluster: which of them are asked, where they may send one, and how
# one speaks to them with TLS, users and passwords.

use lib 't/lib';
use Dns;
use PatientGuard;
use BehindCluster;

use Time::HiRes qw(sleep time);

start_dns();

run_tests();

__DATA__

=== TEST 1: with TLS, users and passwords
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after
$::rig = $::rigs{tls};
counts_where_the_slot_is();



=== TEST 2: and with TLS
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after
$::rig = $::rigs{tls};
is_resharded(2);



=== TEST 3: and with TLS
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('tls'))
--- config eval: $::config
--- after
$::rig = $::rigs{tls};
loses_a_master();



=== TEST 4: seeds: all dead but one, which is a replica
--- http_config eval: $::aliases
--- policy eval
::policy(::at('plain', ::closed() . ' '
    . ::rig('plain')->replica_of(::rig('plain')->owner(0))->address))
--- config eval: $::config
--- error_log eval: qr/start worker|[error]/
--- after
$::rig = $::rigs{plain};
my $start = time;
is(well(), '200 redis', 'it knows the others');
cmp_ok(time - $start, '<', 2 * $slow, 'and soon');
my %of = spread('seeds');
is(told($_->[0]), '200 redis', "$_->[0]: counted") for values %of;
ok(reload(), 'reloaded');
is(well(), '200 redis', 'again');
is(told($_->[0]), '200 redis', "$_->[0]: counted") for values %of;



=== TEST 5: seeds that are none
--- http_config eval: $::aliases
--- policy eval
::policy(::at('plain', ::closed()))
--- config eval: $::config
--- error_log eval: qr/start worker|[error]/
--- after
my %told;
my $end = time + 1.5;
while (time < $end) { $told{ told('dupont') }++; sleep 0.02 }
is_deeply([keys %told], ['200 local'], 'on_outage') or diag(join ', ', %told);
is(count(0, '\[error\] [^\n]*is away: '), 1, 'said once');
is(count(0, 'is away: '), 1, 'and not otherwise');



=== TEST 6: a Redis that is no cluster
--- http_config eval: $::aliases
--- policy eval
::policy(::at('plain', "127.0.0.1:\$PG_REDIS_PORT"))
--- config eval: $::config
--- error_log eval: qr/start worker|[crit]/
--- after
my %told;
my $end = time + 1.5;
wait_for(sub { error_log() =~ /is away/ });
while (time < $end) { $told{ told('dupont') }++; sleep 0.02 }
is_deeply([keys %told], ['200 local'], 'on_outage') or diag(join ', ', %told);
is(count(0, 'is away: '), 1, 'said once');
like(error_log(), qr/\[crit\] [^\n]*is away: [^\n]*cluster/i, 'and clearly');



=== TEST 7: nodes that are known by their names
--- http_config eval
"resolver 127.0.0.1:" . ::dns_port() . ";\nresolver_timeout 1s;\n" . $::aliases
--- policy eval
::policy(::at('names', 'one.test:' . ::rig('names')->{servers}[0]->port))
--- config eval: $::config
--- after
$::rig = $::rigs{names};
is(well(), '200 redis', 'all is well');
my %of = spread('names');
for my $address (sort keys %of) {
    my ($account) = @{ $of{$address} };
    is(well($account), '200 redis', "$account: counted");
    my $slot = slot($account);
    my ($to) = grep { $_->address ne $address } $rig->masters;
    $rig->move($to, $slot);
    is(told($account), '200 redis', "$account: moved") for 1, 2;
}
my %workers = map { $_ => 1 } PatientGuard::workers();
is(scalar(grep { $workers{$_} } map { started($_) } @hosts), 0,
   'no worker waited for a name');



=== TEST 8: nodes that send one round and round
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain', '127.0.0.1:$PG_FAKE_PORT'))
--- config eval: $::config
--- fake_redis
return unless @command;
my $name = uc $command[0];
my $says = slurp('$PG_TMP/$PG_POLICY.says') =~ s/\\r\\n/\r\n/gr;
my $bulk = sub { '$' . length($_[0]) . "\r\n$_[0]\r\n" };

# all slots are here
return $peer->send("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n"
    . $bulk->('127.0.0.1') . ":$fake_port\r\n" . $bulk->('0' x 40))
    if $name eq 'CLUSTER' && uc $command[1] eq 'SLOTS';
return $peer->send("+OK\r\n") if $name eq 'ASKING' || $name eq 'READONLY';
return $peer->send($says =~ s/PORT/$fake_port/r)
    if $name =~ /^EVAL/ && $says && $says !~ /^times/;
if ($name =~ /^EVAL/ && $says =~ /^times (\d+) (.*)/s) {
    my ($times, $text) = ($1, $2);
    return $peer->send($text =~ s/PORT/$fake_port/r)
        if $peer->{times}++ < $times;
}
$peer->send($peer->real(@command));
--- after
my $says = '$PG_TMP/$PG_POLICY.says';
my %odd = (
    moved   => '-MOVED 1 127.0.0.1:PORT\r\n',
    ask     => '-ASK 1 127.0.0.1:PORT\r\n',
    again   => '-TRYAGAIN Multiple keys request during rehashing of slot\r\n',
    closed  => '-MOVED 1 127.0.0.1:1\r\n',
    askclosed => '-ASK 1 127.0.0.1:1\r\n',
    nowhere => '-MOVED 1 nowhere.test:6379\r\n',
    port    => '-MOVED 1 127.0.0.1:65536\r\n',
    zero    => '-MOVED 1 127.0.0.1:0\r\n',
    noport  => '-MOVED 1 127.0.0.1\r\n',
    nohost  => '-MOVED 1 :PORT\r\n',
    unknown => '-MOVED 1 ?:PORT\r\n',
    slot    => '-MOVED 16384 127.0.0.1:PORT\r\n',
    negative => '-MOVED -1 127.0.0.1:PORT\r\n',
    huge    => '-MOVED 99999999999999999999 127.0.0.1:PORT\r\n',
    short   => '-MOVED\r\n', shorter => '-ASK \r\n',
    long    => '-MOVED 1 ' . 'x' x 2000 . ':6379\r\n',
    v6      => '-MOVED 1 ::1:1\r\n', brackets => '-MOVED 1 [::1]:1\r\n',
    down    => '-CLUSTERDOWN Hash slot not served\r\n',
    cross   => '-CROSSSLOT Keys in request don\'t hash to the same slot\r\n',
);
for my $name (sort keys %odd) {
    unlink $says;
    is(well(), '200 redis', "$name: all is well before");
    PatientGuard::spew($says, $odd{$name});
    my $from = fake_commands();
    my $start = time;
    like(told('dupont'), qr/^200 (?:local|redis)$/, "$name: answered");
    cmp_ok(time - $start, '<', 0.5 + 0.3 * $slow, "$name: in time");
    my @sent = fake_commands();
    @sent = grep { /^EVAL/ } splice @sent, $from;
    cmp_ok(scalar @sent, '<=', 25, "$name: no loop");
}
is(count(0, '\[(?:alert|emerg)\]|exited on'), 0, 'nothing worse');

# a few times are no outage
unlink $says;
is(well(), '200 redis', 'all is well');
for my $text ('-TRYAGAIN Multiple keys request during rehashing of slot\r\n',
              '-MOVED 1 127.0.0.1:PORT\r\n', '-ASK 1 127.0.0.1:PORT\r\n') {
    PatientGuard::spew($says, "times 1 $text");
    my $from = length error_log();
    ok(reload(), 'new connections');
    my @told = map { told('duval') } 1 .. 3;
    is("@told[1, 2]", '200 redis 200 redis', "$text");

    # or what a node tells by itself has met it first
    like($told[0], $text =~ /TRYAGAIN/ ? qr/^200 (?:local|redis)/
                                       : qr/^200 redis/, "$text: at once");
    ok(wait_for(sub { count($from, 'answered "TRYAGAIN') }), 'as is said')
        if $text =~ /TRYAGAIN/;
    unlink $says;
}



=== TEST 9: a map of slots that is none
--- http_config eval: $::aliases
--- policy eval
::policy(::at('plain', '127.0.0.1:$PG_FAKE_PORT '
                       . ::rig('plain')->addresses))
--- config eval: $::config
--- error_log eval: qr/start worker|[error][crit]/
--- fake_redis
return unless @command;
my $says = slurp('$PG_TMP/$PG_POLICY.says') =~ s/\\r\\n/\r\n/gr;
return $peer->send($says) if uc $command[0] eq 'CLUSTER' && $says;
return $peer->send($peer->real(@command)) if $command[0] !~ /^EVAL/i;
$peer->send("-MOVED 1 127.0.0.1:$fake_port\r\n");
--- after
my $says = '$PG_TMP/$PG_POLICY.says';
my $host = '$9\r\n127.0.0.1\r\n';
my $entry = sub {
    my ($from, $to, $at, $port) = @_;
    return CORE::join '\r\n', '*3', ":$from", ":$to", '*3',
        "$at:$port", '$1', '0', '';
};
my %odd = (
    empty    => '*0\r\n',
    nil      => '*-1\r\n',
    string   => '$2\r\nOK\r\n',
    error    => '-ERR This instance has cluster support disabled\r\n',
    down     => '-CLUSTERDOWN The cluster is down\r\n',
    noperm   => '-NOPERM this user has no permissions\r\n',
    integers => '*2\r\n:1\r\n:2\r\n',
    few      => '*1\r\n*2\r\n:0\r\n:16383\r\n',
    reversed => '*1\r\n' . $entry->(16383, 0, $host, 1),
    beyond   => '*1\r\n' . $entry->(0, 16384, $host, 1),
    negative => '*1\r\n' . $entry->(-1, 16383, $host, 1),
    huge     => '*1\r\n' . $entry->(0, '99999999999', $host, 1),
    port     => '*1\r\n' . $entry->(0, 16383, $host, 65536),
    zero     => '*1\r\n' . $entry->(0, 16383, $host, 0),
    host     => '*1\r\n' . $entry->(0, 16383, '$3\r\n?.?\r\n', 1),
    unknown  => '*1\r\n' . $entry->(0, 16383, '$1\r\n?\r\n', 1),
    number   => '*1\r\n' . $entry->(0, 16383, ':1\r\n', 1),
    twice    => '*2\r\n' . $entry->(0, 16383, $host, 1) x 2,
    many     => '*100000\r\n',
    deep     => '*1\r\n' x 100,
    cut      => '*1\r\n*3\r\n:0\r\n',
);
$::rig = $::rigs{plain};
for my $name (sort keys %odd) {
    PatientGuard::spew($says, $odd{$name});
    ok(reload(), "$name: new workers ask");
    my $start = time;
    is(well(), '200 redis', "$name: and find another node");
    cmp_ok(time - $start, '<', 3 * $slow, "$name: soon");
}
is(count(0, '\[(?:alert|emerg)\]|exited on'), 0, 'nothing worse');
