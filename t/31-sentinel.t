# Redis behind sentinels: who the master is, when it is another one, and what
# a lookup is told meanwhile.  Servers and sentinels are real.

use lib 't/lib';
use PatientGuard;
use BehindSentinels;

use Time::HiRes qw(sleep time);

run_tests();

__DATA__

=== TEST 1: the master is asked for, and found
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after: finds_the_master($::rigs{plain});



=== TEST 2: the master is killed under load
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after: dies($::rigs{plain});



=== TEST 3: the master stalls, and comes back as if it still were
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after: stalls($::rigs{plain});



=== TEST 4: SENTINEL FAILOVER under load
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after: is_moved($::rigs{plain});



=== TEST 5: a new master that has lost what was written last
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after: loses_the_tail($::rigs{plain});



=== TEST 6: each mode while there is no master
--- http_config eval
CORE::join '', map {
    "patient_guard_policy \$PG_POLICY_$_ {\n"
    . ::policy(::at('plain'), "on_outage $_;\n") . "}\n"
} qw(local deny allow);
--- config eval
CORE::join '', map { $::config =~ s/PG_POLICY/PG_POLICY_$_/r =~ s{/ }{/$_ }r }
    qw(local deny allow);
--- after
my $rig = $::rigs{plain};
my $told = sub {
    my $answer = get("/$_[0]?max=1", 'X-Account' => $_[1]);
    return "$answer->{status} $answer->{headers}{'x-source'}";
};
for my $mode (qw(local deny allow)) {
    ok(wait_for(sub { $told->($mode, rand) eq '200 redis' }), "$mode: well");
    is($told->($mode, 'full'), '200 redis', "$mode: one");
}
my $old = $rig->kill_master;
my %expected = (local => '200 local', deny => '503 none', allow => '200 none');
for my $mode (qw(local deny allow)) {
    is($told->($mode, 'dupont'), $expected{$mode}, "$mode: others");
    like($told->($mode, 'full'), $mode eq 'deny' ? qr/^(?:403|503)/ : qr/^403/,
         "$mode: who is stopped") if $mode ne 'allow';
}
$rig->failed_over($old);
for my $mode (qw(local deny allow)) {
    ok(wait_for(sub { $told->($mode, rand) eq '200 redis' }), "$mode: again");
    like($told->($mode, 'full'), qr/^403/, "$mode: who is stopped");
}
is(count(0, 'is away: '), 3, 'said once for each policy');
is(count(0, '\[notice\] .* is back'), 3, 'as that it is over');
$old->start;
$rig->settled;



=== TEST 7: reloads under load, and a failover in between
--- policy eval: ::policy(::at('plain'))
--- config eval: $::config
--- after
my $rig = $::rigs{plain};
$rig->settled;
is(well(), '200 redis', 'all is well');
my $load = Load->start(4, sub { ('/?patient=1', 'X-Account' => "r-$_[0]") });
for my $n (1 .. 6) {
    ok(reload(), "reload $n");
    $rig->fail_over if $n == 3;
}
is(well(), '200 redis', 'all is well');
my @answers = $load->stop;
my (%statuses, %admitted);
$statuses{$_->{status}}++ for @answers;
is_deeply([keys %statuses], [200], 'each was admitted')
    or diag(join ', ', %statuses);
$admitted{$_->{client}}++ for grep { $_->{status} == 200 } @answers;
exactly('reloads', "r-$_", $admitted{$_}) for sort keys %admitted;
unlike(error_log(), qr/open socket|\[alert\]|exited on signal/, 'in order');
is(connections($_), $_ == $rig->master ? 1 : 0, 'connections')
    for @{ $rig->{servers} };



=== TEST 8: consistency local: told to whoever is the master
--- policy eval: ::policy(::at('plain'), "consistency local interval=20ms;\n")
--- config eval: $::config
--- after
my $rig = $::rigs{plain};
$rig->settled;
my $old = $rig->master;
told('dupont') for 1 .. 10;
my $key = key('dupont');                          # the 11th
my $total = sub { $_[0]->total($key, 'lookups/3600') };
ok(wait_for(sub { $total->($old) == 11 }), 'the master is told');
ok(wait_for(sub { $total->(($rig->replicas)[0]) == 11 }), 'as are replicas');
$old->kill;
told('dupont') for 1 .. 10;
my $new = $rig->failed_over($old);
told('dupont') for 1 .. 10;
ok(wait_for(sub { $total->($new) == 31 }), 'the new one of all')
    or diag($total->($new));
$old->start;
$rig->settled;
