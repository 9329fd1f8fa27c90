# Redis as a cluster: each account is counted by the node that has its slot,
# whichever that is by now.  Nodes are real.

use lib 't/lib';
use Dns;
use PatientGuard;
use BehindCluster;

use Time::HiRes qw(sleep time);

run_tests();

__DATA__

=== TEST 1: each account is counted where its slot is
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
counts_where_the_slot_is();



=== TEST 2: slots move under load
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
is_resharded(4);



=== TEST 3: a slot that is half moved
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
$rig->settled;
is(well(), '200 redis', 'all is well');
my $move = sub {
    my ($account) = @_;
    my $slot = slot($account);
    my $from = $rig->owner($slot);
    my ($to) = grep { $_ != $from } $rig->masters;
    return ($slot, $from, $to);
};
my $has = sub { $_[0]->cli('CLUSTER', 'COUNTKEYSINSLOT', $_[1]) };

# a new account: its key is not there, and the other one is to be asked, which
# does not know the script either
my ($slot, $from, $to) = $move->('new');
$to->cli('SCRIPT', 'FLUSH');
$rig->open($to, $slot);
is(told('new'), '200 redis', "ASK: lookup $_") for 1 .. 5;
is($has->($to, $slot), 1, 'the key is at its new place');
is($has->($from, $slot), 0, 'and not at the old one');
$to->cli('SCRIPT', 'FLUSH');
is(told('new'), '200 redis', 'ASK: without the script') for 1, 2;
$rig->close($to, $slot);
is(told('new'), '200 redis', 'moved') for 1 .. 3;
is(total('new'), 10, 'ten in all');
exactly('new', 'new', 10);

# one whose key is there: it is taken away, and is asked for elsewhere
($slot, $from, $to) = $move->('known');
is(told('known'), '200 redis', "lookup $_") for 1, 2;
$rig->open($to, $slot);
is(told('known'), '200 redis', "not yet carried: $_") for 1, 2;
is($has->($from, $slot), 1, 'its key stays');
$rig->carry($to, $slot);
is(told('known'), '200 redis', "ASK: $_") for 1, 2;
is($has->($to, $slot), 1, 'its key has gone');
$rig->close($to, $slot);
is(told('known'), '200 redis', "MOVED: $_") for 1, 2;
exactly('known', 'known', 8);

# given up half-way
($slot, $from, $to) = $move->('stays');
$rig->open($to, $slot);
is(told('stays'), '200 redis', 'ASK');
$rig->open($from, $slot);
$to->many(['CLUSTER', 'SETSLOT', $slot, 'STABLE']);
$from->many(['CLUSTER', 'SETSLOT', $slot, 'STABLE']);
is(told('stays'), '200 redis', 'STABLE');
like(told('stays', max => 2), qr/^403/, 'what the one lost a node knows');
is(count(0, 'is away'), 0, 'nothing of all this is an outage');



=== TEST 4: a master is handed over to its replica under load
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
is_handed_over();



=== TEST 5: a master is killed under load
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
loses_a_master();



=== TEST 6: the accounts of other masters do not notice that one is gone
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'), "on_outage deny;\n")
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
$rig->settled;
is(well(), '200 redis', 'all is well');
my %of = spread('others');
my $slot = slot($of{ (sort keys %of)[0] }[0]);
my $old = $rig->owner($slot);
my ($theirs) = @{ delete $of{$old->address} };
my @others = map { $_->[0] } values %of;

# as long as two thirds are there, and before anybody finds out
$rig->{servers}[0]->cli('PING');
$old->freeze;
my $end = time + 0.6;
my (%told, @took);
while (time < $end) {
    for (@others) {
        my $start = time;
        $told{ told($_) }++;
        push @took, time - $start;
    }
}
is_deeply([keys %told], ['200 redis'], 'the others') or diag(join ', ', %told);
cmp_ok((sort { $a <=> $b } @took)[-1], '<', 0.4 * $slow, 'at once');
$rig->promoted($slot, $old);
is(well($theirs), '200 redis', 'by the replica');
$old->thaw;
$rig->settled;



=== TEST 7: a slot that nobody serves
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
$rig->settled;
is(well(), '200 redis', 'all is well');
is(told('dupont'), '200 redis', 'one');
my $from = length error_log();
my $slot = slot('nobody');
$rig->forget($slot);
my %told;
my $end = time + 1.5;
while (time < $end) { $told{ told('dupont', max => 10) }++; sleep 0.05 }
is(scalar(grep { !/^(?:200|403) (?:local|cache)$/ } keys %told), 0,
   'CLUSTERDOWN: on_outage') or diag(join ', ', %told);
cmp_ok($told{'200 local'}, '<=', 9, 'to the same limit');
is(count($from, 'is away: '), 1, 'said once');
like(substr(error_log(), $from), qr/CLUSTERDOWN/, 'and why');
$rig->remember($slot);
is(well(), '200 redis', 'all is well');
ok(wait_for(sub { count($from, '\[notice\] .* is back') == 1 }), 'said once');
like(told('dupont', max => 10), qr/^403/, 'who was stopped stays so');



=== TEST 8: one more master, and slots for it
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
my $new;
survives('grows', sub {
    my ($accounts) = @_;

    $new //= $rig->join;
    $rig->move($new, map { slot($_) } @$accounts);
    $rig->settled;
});
ok($new->calls(qw(eval evalsha)), 'it has counted');
is(connections($new), 1, 'over one connection');

# and goes again, when it has none
my ($first) = grep { $_ != $new } $rig->masters;
my @slots = map { $_->[0] .. $_->[1] } map { @{ $_->{slots} } }
    grep { $_->{port} == $new->port } Cluster::nodes($first);
$rig->move($first, @slots);
$rig->settled;
is(well(), '200 redis', 'all is well');
my $from = length error_log();
$new->kill;
is(told("gone-$_"), '200 redis', 'nobody misses it') for 1 .. 20;
is(count($from, 'is away'), 0, 'nor does the log');
$new->start;
$rig->settled;



=== TEST 9: reloads under load, while slots move
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
my $olds = 0;
survives('reloads', sub {
    my ($accounts) = @_;

    for my $n (1 .. 3) {
        my @masters = $rig->masters;
        $rig->open($masters[$n % 3], map { slot($_) } @$accounts);
        $olds++ if reload();
        $rig->carry($masters[$n % 3], map { slot($_) } @$accounts);
        $olds++ if reload();
        $rig->close($masters[$n % 3], map { slot($_) } @$accounts);
        $rig->settled;
    }
});
is($olds, 6, 'old workers have gone');
unlike(error_log(), qr/open socket|\[alert\]|exited on signal/, 'in order');
cmp_ok(connections($_), '<=', 1, 'connections to ' . $_->address)
    for @{ $rig->{servers} };



=== TEST 10: consistency local: told to whoever has the slot
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'), "consistency local interval=20ms;\n")
--- config eval: $::config
--- after
$::rig = $::rigs{plain};
$rig->settled;
my %of = spread('local');
my @accounts = map { $_->[0] } values %of;
for my $account (@accounts) {
    told($account) for 1 .. 10;
    ok(wait_for(sub { total($account) == 10 }), "$account: ten");
    my $slot = slot($account);
    my $from = $rig->owner($slot);
    my ($to) = grep { $_ != $from } $rig->masters;
    $rig->open($to, $slot);
    told($account) for 1 .. 10;
    $rig->carry($to, $slot);
    told($account) for 1 .. 10;
    $rig->close($to, $slot);
    told($account) for 1 .. 10;
    ok(wait_for(sub { total($account) == 40 }), "$account: forty")
        or diag(total($account));
}
is(count(0, 'is away'), 0, 'no outage');



=== TEST 11: what the desk orders: accounts, and the list, each where its slot is
--- http_config eval: $::aliases
--- policy eval: ::policy(::at('plain'))
--- config eval
$::config . 'location /guard/ { patient_guard_api write; allow 127.0.0.1; deny all; }'
--- after
$::rig = $::rigs{plain};
$rig->settled;
is(well(), '200 redis', 'all is well');
my $order = sub {
    my ($method, $path) = @_;
    my $answer = get("/guard/accounts/$path" . ($path =~ /\?/ ? '&' : '?') . "policy=$PatientGuard::policy",
                     'X-Patient-Guard' => 'write', method => $method);
    return $answer->{status} . ($answer->{body} =~ /"reach":"fleet"/ ? ' fleet' : '');
};
start_another();
my @accounts = map { "desk$_" } 1 .. 12;
for my $account (@accounts) {
    is(told($account), '200 redis') for 1, 2;
    is(total($account), 2, "$account is counted");
    is($order->(POST => "$account/clear"), '200 fleet', 'cleared');
    is(total($account), 0, 'where it was');
}
is($order->(POST => "$_/block?for=1h"), '200 fleet', 'blocked') for @accounts;
another {
    for my $account (@accounts) {
        ok(PatientGuard::wait_for(sub { (split ' ', told($account))[0] == 403 }), "$account is blocked there");
    }
};
is($order->(POST => "$accounts[0]/clear"), '200 fleet');
is((split ' ', told($accounts[0]))[0], 200);
my ($there) = grep { $_->cli('EXISTS', key($accounts[0])) eq '1' } $rig->masters;
ok($there, 'it has a key');
is($order->(DELETE => $accounts[0]), '200 fleet', 'forgotten');
is($there->cli('EXISTS', key($accounts[0])), 0, 'and has none');

# the list moves as any key does
my $list = "t$PatientGuard::policy:$PatientGuard::policy:{" . '0' x 32 . '}';
my $slot = $rig->slot($list);
my $from = $rig->owner($slot);
my ($to) = grep { $_ != $from } $rig->masters;
$rig->open($to, $slot);
$rig->carry($to, $slot);
is($order->(POST => "$accounts[1]/clear"), '200 fleet', 'half moved');
$rig->close($to, $slot);
is($order->(POST => "$accounts[2]/clear"), '200 fleet', 'moved');
another {
    for my $account (@accounts[1, 2]) {
        ok(PatientGuard::wait_for(sub { (split ' ', told($account))[0] == 200 }), "$account is heard of there");
    }
};
stop_another();
is($to->cli('EXISTS', $list), 1);
