# A server that is known by a name: nginx' resolver says where it is by now,
# and no lookup waits for DNS.

use lib 't/lib';
use Dns;
use PatientGuard;

use Behind qw($slow $config count);
use IO::Socket::IP;
use Load;
use Server;
use Time::HiRes qw(sleep time);

our @hosts = map { "127.0.0.$_" } 2 .. 4;
our ($port) = Server::ports(1, @hosts);
our $v6 = IO::Socket::IP->new(LocalHost => '::1', Listen => 1);

# one at each address, all of the same port
our %at = map {
    $_ => Server->new(dir => "$ENV{PG_TMP}/30-$_-$$", host => $_,
                      port => $port)
} @hosts, $v6 ? '::1' : ();
$_->start for values %at;

# a name for each block
zone(map { $_ => '127.0.0.2' } map { "$_.test" }
     qw(moves slow nothing started fixed managed reload valid local));
zone('dead.test' => '127.0.0.2', 'several.test' => '127.0.0.2 127.0.0.3',
     'v6.test' => '127.0.0.2', 'unresolved.test' => 'NXDOMAIN');

sub resolver {
    my ($more) = @_;

    return 'resolver 127.0.0.1:' . dns_port() . ' ' . ($more // '') . ";\n"
        . "resolver_timeout 1s;\n";
}

sub policy {
    my ($name, $more) = @_;

    return <<"END" . ($more // '');
account        \$http_x_account trusted;
secret         \$PG_KEY;
redis          $name:$port prefix=\$PG_PREFIX;
redis_timeout  500ms;
limit          lookups=100000/1h deny;
END
}

sub told {
    my ($account) = @_;

    my $answer = get('/?patient=1', 'X-Account' => $account // 'dupont');
    return "$answer->{status} " . ($answer->{headers}{'x-source'} // '-');
}

sub well { wait_for(sub { told() eq '200 redis' }) }

# a lookup is counted at that address, before long

sub counted_at {
    my ($address, $seconds) = @_;

    my $server = $at{$address};
    return wait_for(sub {
        my $before = $server->calls(qw(eval evalsha));
        return told() eq '200 redis'
               && $server->calls(qw(eval evalsha)) > $before;
    }, $seconds);
}

sub connected { scalar $at{$_[0]}->clients }

sub quiet {
    my ($from) = @_;

    is(count($from, '\[(?:error|crit|alert|emerg)\]'), 0, 'nothing is said');
}

# whoever asked getaddrinfo() for the name, it was no worker

sub nobody_waited {
    my ($name) = @_;

    my %workers = map { $_ => 1 } PatientGuard::workers();
    is(scalar(grep { $workers{$_} } started($name)), 0,
       'no worker waits for DNS');
}

start_dns();

run_tests();

__DATA__

=== TEST 1: the name moves, under load
--- http_config eval: ::resolver()
--- policy eval: ::policy('moves.test')
--- config eval: $::config
--- after
ok(counted_at('127.0.0.2'), 'counted where it was at first');
my $load = Load->start(4, sub { ('/?patient=1', 'X-Account' => "a-$_[0]") });
for my $to (qw(127.0.0.3 127.0.0.4 127.0.0.2 127.0.0.3)) {
    my $start = time;
    zone('moves.test' => $to);
    ok(wait_for(sub { connected($to) }), "$to: connected");
    cmp_ok(time - $start, '<', 1 + 2 * $slow, "$to: when the TTL is over");
    ok(counted_at($to), "$to: counted there");
    ok(wait_for(sub { !grep { $_ ne $to && connected($_) } @hosts }),
       "$to: and nowhere else");
}
my @answers = $load->stop;
my @other = grep { "$_->{status} $_->{source}" ne '200 redis' } @answers;
is(scalar @other, 0, 'nobody noticed');
quiet(0);
nobody_waited('moves.test');



=== TEST 2: valid= says how long an answer holds
--- http_config eval: ::resolver('valid=1s ipv6=off')
--- policy eval: ::policy('valid.test')
--- config eval: $::config
--- after
zone('valid.test' => 'ttl=3600 127.0.0.2');
ok(counted_at('127.0.0.2'), 'counted');
ok(wait_for(sub { asked('valid.test') }), 'it is asked for');
zone('valid.test' => 'ttl=3600 127.0.0.3');
ok(counted_at('127.0.0.3', 4 * $slow), 'and found elsewhere');
cmp_ok(asked('valid.test'), '<', 20, 'not all the time');
quiet(0);



=== TEST 3: whatever DNS says, or does not: the last address holds
--- http_config eval: ::resolver()
--- policy eval: ::policy('nothing.test')
--- config eval: $::config
--- after
zone('nothing.test' => '127.0.0.3');
ok(counted_at('127.0.0.3'), 'counted');
my ($id) = map { $_->{id} } $at{'127.0.0.3'}->clients;

for my $word (qw(NXDOMAIN SERVFAIL REFUSED SILENT GARBAGE)) {
    my $from = length error_log();
    zone('nothing.test' => $word);
    my $asked = asked('nothing.test');
    my (%told, @took);
    my $n = 0;
    wait_for(sub {
        my $start = time;
        $told{ told() }++;
        push @took, time - $start;
        return asked('nothing.test') >= $asked + 2 && ++$n > 50;
    });
    cmp_ok(asked('nothing.test'), '>=', $asked + 2, "$word: it was asked");
    is_deeply([keys %told], ['200 redis'], "$word: nobody noticed")
        or diag(join ', ', %told);
    cmp_ok((sort { $a <=> $b } @took)[-1], '<', 0.3 * $slow,
           "$word: nor waited");
    is(count($from, 'is away|\[(?:crit|alert|emerg)\]'), 0,
       "$word: nor does the log");
    cmp_ok(count($from, '\[error\] [^\n]*patient guard'), '<=', 3,
           "$word: or not much");
    my ($now) = map { $_->{id} } $at{'127.0.0.3'}->clients;
    is($now, $id, "$word: over the same connection");
}
zone('nothing.test' => '127.0.0.4');
ok(counted_at('127.0.0.4'), 'until it says something');



=== TEST 4: an answer that takes its time
--- http_config eval: ::resolver()
--- policy eval: ::policy('slow.test')
--- config eval: $::config
--- after
ok(counted_at('127.0.0.2'), 'counted');
zone('slow.test' => 'delay=0.7 127.0.0.3');
my @took;
ok(wait_for(sub {
    my $start = time;
    my $told = told();
    push @took, time - $start;
    is($told, '200 redis', 'counted') if $told ne '200 redis';
    return connected('127.0.0.3');
}), 'it comes');
cmp_ok((sort { $a <=> $b } @took)[-1], '<', 0.3 * $slow, 'nobody waits');
ok(counted_at('127.0.0.3'), 'and holds');
quiet(0);
stop_dns();



=== TEST 5: no DNS when nginx starts, nor for a while
--- http_config eval: ::resolver()
--- policy eval: ::policy('started.test')
--- config eval: $::config
--- error_log eval: qr/start worker|[error]/
--- after
my %told;
my $end = time + 2;
while (time < $end) { $told{ told() }++; sleep 0.02 }
is_deeply([keys %told], ['200 redis'], 'the address of the start holds')
    or diag(join ', ', %told);
is(count(0, 'is away'), 0, 'and Redis is there');
like(error_log(), qr/\[error\] [^\n]*while resolving/, 'as nginx says');
zone('started.test' => '127.0.0.4');
start_dns();
ok(counted_at('127.0.0.4'), 'until DNS comes');

# and when it goes
stop_dns();
%told = ();
$end = time + 2;
while (time < $end) { $told{ told() }++; sleep 0.02 }
is_deeply([keys %told], ['200 redis'], 'then that of DNS');
ok(reload(), 'reloaded without DNS');
ok(well(), 'well');
nobody_waited('started.test');
start_dns();



=== TEST 6: several addresses
--- http_config eval: ::resolver()
--- policy eval: ::policy('several.test')
--- config eval: $::config
--- after
ok(well(), 'well');
is(connected('127.0.0.2') + connected('127.0.0.3'), 1, 'one of them');

# it goes: there is the other one
my ($one, $other) = connected('127.0.0.2') ? qw(127.0.0.2 127.0.0.3)
                                           : qw(127.0.0.3 127.0.0.2);
$at{$one}->kill;
my $start = time;
ok(counted_at($other), 'the other one');
cmp_ok(time - $start, '<', 1 * $slow, 'at once');
$at{$one}->start;

# an address more, or another order, is no reason to leave
my ($id) = map { $_->{id} } $at{$other}->clients;
my $asked = asked('several.test');
zone('several.test' => "127.0.0.4 $one $other");
wait_for(sub { asked('several.test') >= $asked + 6 });
is(told(), '200 redis', 'counted');
my ($now) = map { $_->{id} } $at{$other}->clients;
is($now, $id, 'over the same connection');

# that it is no longer among them is one
zone('several.test' => "127.0.0.4 127.0.0.4");
ok(counted_at('127.0.0.4'), 'the one that is left');
ok(wait_for(sub { !connected($other) }), 'and no other');



=== TEST 7: an address that is dead is left when there is another
--- http_config eval: ::resolver()
--- policy eval: ::policy('dead.test')
--- config eval: $::config
--- after
ok(counted_at('127.0.0.2'), 'counted');
my $from = length error_log();
$at{'127.0.0.2'}->kill;
ok(wait_for(sub { told() eq '200 local' }), 'on_outage holds');
zone('dead.test' => '127.0.0.3');
my $start = time;
ok(counted_at('127.0.0.3'), 'until there is another address');
cmp_ok(time - $start, '<', 1 + 2 * $slow, 'soon');
is(count($from, 'is away: '), 1, 'it is said');
is(count($from, '\[notice\] .* is back'), 1, 'as that it is over');
$at{'127.0.0.2'}->start;

# one that is mute
$at{'127.0.0.3'}->freeze;
ok(wait_for(sub { told() eq '200 local' }), 'on_outage holds');
zone('dead.test' => '127.0.0.2');
ok(counted_at('127.0.0.2'), 'until there is another address');
$at{'127.0.0.3'}->thaw;
is(count(0, '\[(?:crit|alert|emerg)\]'), 0, 'nothing worse is said');



=== TEST 8: a failover behind a name: the old master is a replica
--- http_config eval: ::resolver()
--- policy eval: ::policy('managed.test')
--- config eval: $::config
--- after
my ($old, $new) = @at{qw(127.0.0.2 127.0.0.3)};
$new->cli('REPLICAOF', $old->{host}, $old->port);
ok(wait_for(sub { $new->info('master_link_status') eq 'up' }), 'a replica');
ok(counted_at('127.0.0.2'), 'counted by the master');
my $load = Load->start(4, sub { ('/?patient=1', 'X-Account' => "m-$_[0]") });
$new->cli('REPLICAOF', 'NO', 'ONE');
$old->cli('REPLICAOF', $new->{host}, $new->port);
zone('managed.test' => '127.0.0.3');
my $start = time;
ok(counted_at('127.0.0.3'), 'by the new one');
cmp_ok(time - $start, '<', 1 + 2 * $slow, 'soon');
my @answers = $load->stop;
is(scalar(grep { $_->{status} != 200 } @answers), 0, 'each was admitted');
cmp_ok((sort { $a <=> $b } map { $_->{took} } @answers)[-1], '<',
       0.5 + 0.5 * $slow, 'nobody waited for long');
$old->cli('REPLICAOF', 'NO', 'ONE');



=== TEST 9: IPv6
--- http_config eval: ::resolver()
--- policy eval: ::policy('v6.test')
--- config eval: $::config
--- after
if ($::v6) {
    ok(counted_at('127.0.0.2'), 'counted');
    zone('v6.test' => '::1');
    ok(counted_at('::1'), 'the name has moved to another family');
    zone('v6.test' => '127.0.0.3');
    ok(counted_at('127.0.0.3'), 'and back');
    quiet(0);
} else {
    pass('there is no ::1 here');
}



=== TEST 10: without a resolver a name is what it was at the start
--- policy eval: ::policy('fixed.test')
--- config eval: $::config
--- after
start_dns();
zone('fixed.test' => '127.0.0.3');
is(told(), '200 redis', 'counted') for 1 .. 20;
ok(counted_at('127.0.0.2'), 'where it was');
is(asked('fixed.test'), 0, 'DNS is not asked');
ok(reload(), 'reloaded');
ok(counted_at('127.0.0.3'), 'then where it is by now');
quiet(0);



=== TEST 11: reloads while DNS is asked
--- http_config eval: ::resolver()
--- policy eval: ::policy('reload.test')
--- config eval: $::config
--- after
for my $word (qw(SILENT NXDOMAIN), 'delay=0.5 127.0.0.3') {
    zone('reload.test' => '127.0.0.2');
    ok(well(), "$word: well");
    zone('reload.test' => "$word 127.0.0.2");
    my $asked = asked('reload.test');
    wait_for(sub { told(); asked('reload.test') > $asked });
    my $start = time;
    ok(reload(), "$word: reloaded");
    cmp_ok(time - $start, '<', 1 * $slow, "$word: old workers go at once");
    ok(well(), "$word: well");
}
unlike(error_log(), qr/open socket|\[(?:alert|emerg)\]|exited on signal/,
       'in order');



=== TEST 12: consistency local: what is told goes where the name is
--- http_config eval: ::resolver()
--- policy eval: ::policy('local.test', "consistency local interval=20ms;\n")
--- config eval: $::config
--- after
my $told = sub {
    my $server = $at{$_[0]};
    my $before = $server->calls(qw(eval evalsha));
    return wait_for(sub {
        told();
        return $server->calls(qw(eval evalsha)) > $before;
    });
};
ok($told->('127.0.0.2'), 'told');
zone('local.test' => '127.0.0.3');
ok($told->('127.0.0.3'), 'told elsewhere');
quiet(0);



=== TEST 13: a name that nobody knows
--- http_config eval: ::resolver()
--- policy eval: ::policy('unresolved.test')
--- config eval: $::config
--- must_die
--- error_log eval
qr/\[emerg\] .*host not found in "redis unresolved\.test:\d+"/
