# what is new to an account, and what many share, on several nodes and through
# an outage
use lib 't/lib';
use PatientGuard;
use Totals;

sub becomes {
    my ($expected, $what, @lookup) = @_;

    my $said;
    wait_for(sub { ($said = totals(@lookup)) eq $expected }, 5);
    main::is($said, $expected, $what);
}

# since when, ms, sessions have to have proved themselves, of the one account
# that has to; 0
sub due {
    my ($dir) = @_;

    my ($due) = grep { length > 12 }
                map { redis_at($dir, 'HGET', $_, '!due') }
                split /\n/, redis_at($dir, 'KEYS', '*:{*}*');
    return $due ? unpack 'Q<', $due : 0;
}

our $own = <<'END';
account        $http_x_account trusted;
secret         $PG_KEY;
redis          unix:$PG_TMP/$PG_POLICY/sock prefix=$PG_PREFIX;
redis_timeout  2s;
END

our $sessions = $own . <<'END';
proof          $http_x_proof session;
limit          patients=1/1h challenge;
END

# Redis, and how many keys each COUNT names
our $says_keys = <<'END';
if (@command && $command[0] =~ /^EVAL/i && !($peer->flags(@command) & 16)) {
    open my $log, '>>', '$PG_TMP/$PG_POLICY.keys' or die;
    print $log "$command[2]\n";
}
$peer->send($peer->real(@command)) if @command;
END

# what two sessions send, of which the second one has passed a challenge by a
# proof of so many seconds from now
sub passed {
    my ($seconds) = @_;

    my ($old, $new) = map { ['X-Proof' => time + $_] } -100, $seconds;
    main::is(totals('a', '/?patient=1', @$old), '200 patients/1h=1');
    main::is(totals('a', '/?patient=2', @$old), '403 patients/1h=1', 'asked');
    main::is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'passed');
    return ($old, $new);
}

# whose Redis is there to begin with, for a log without errors
add_block_preprocessor(sub {
    my $block = shift;
    start_redis("$ENV{PG_TMP}/" . PatientGuard::next_policy()) if $block->name =~ /desk orders while Redis is away$/;
});

run_tests();

__DATA__

=== TEST 1: who is known to one node is not new to the other
--- policy
account  $http_x_account trusted;
limit    new_patients=3/1h deny;
--- config eval: $::location
--- after
start_another();
is(totals('a', '/?patient=1'), '200 new_patients/1h=1');
another { is(totals('a', '/?patient=1'), '200 new_patients/1h=1', 'known') };
another { is(totals('a', '/?patient=2'), '200 new_patients/1h=2') };
is(totals('a', '/?patient=2'), '200 new_patients/1h=2', 'known here as well');
is(totals('a', '/?patient=3'), '200 new_patients/1h=3');
another { is(totals('a', '/?patient=4'), '403 new_patients/1h=3') };
another { is(totals('a', '/?patient=3'), '200 new_patients/1h=3') };
another { is(totals('b', '/?patient=3'), '200 new_patients/1h=1') };
stop_another();



=== TEST 2: what many share is counted by the fleet, to the last one
--- policy
account  $http_x_account trusted;
limit    lookups=4/1h deny per=all;
limit    accounts=2/1h deny per=$http_x_site;
--- config eval: $::location
--- after
start_another();
is(totals('a', '/?patient=1', 'X-Site' => 1), '200 lookups/1h/all=1,accounts/1h/http_x_site=1');
another { is(totals('b', '/?patient=1', 'X-Site' => 1), '200 lookups/1h/all=2,accounts/1h/http_x_site=2') };
is(totals('c', '/?patient=1', 'X-Site' => 1), '403 lookups/1h/all=2,accounts/1h/http_x_site=2');
another { is(totals('c', '/?patient=1', 'X-Site' => 2), '200 lookups/1h/all=3,accounts/1h/http_x_site=1') };
is(totals('b', '/?patient=2', 'X-Site' => 1), '200 lookups/1h/all=4,accounts/1h/http_x_site=2');
another { is(totals('b', '/?patient=2', 'X-Site' => 1), '403 lookups/1h/all=4,accounts/1h/http_x_site=2') };
is(totals('d', '/?patient=2'), '403 lookups/1h/all=4,accounts/1h/http_x_site=0');
stop_another();



=== TEST 3: two nodes that decide locally tell each other, and count nobody twice
--- policy
account      $http_x_account trusted;
consistency  local interval=10ms;
limit        new_patients=50/1h deny;
limit        lookups=50/1h deny per=all;
--- config eval: $::location
--- after
start_another();
is(totals('a', "/?patient=$_"), "200 new_patients/1h=$_,lookups/1h/all=$_") for 1 .. 5;
another {
    totals('a', "/?patient=$_") for 1 .. 5;
    my $total;
    wait_for(sub { ($total) = totals('a', '/?patient=1') =~ /new_patients\/1h=(\d+)/; $total == 5 });
    is($total, 5, 'those whom the other one knew are not new');
};
my ($new, $all);
wait_for(sub { ($new, $all) = totals('a', '/?patient=1') =~ /=(\d+)/g; $all > 11 });
is($new, 5, 'nor are they now');
ok($all > 11, 'the lookups of both are counted');
stop_another();



=== TEST 4: what an outage counted is told
--- http_config
set_real_ip_from  127.0.0.1;
set_real_ip_from  unix:;
real_ip_header    X-Address;
--- policy eval
$::own . <<'END'
limit        new_patients=50/1h deny;
limit        new_patients=60/1h deny per=all;
limit        addresses=50/1h deny;
limit        accounts=50/1h deny per=$http_x_site;
limit        misses=50/1h deny;
END
--- config eval: $::location
--- init
start_redis("$ENV{PG_TMP}/$PatientGuard::policy");
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my @from = map { ('X-Address' => "192.0.2.$_", 'X-Site' => 's') } 1 .. 9;
is(totals('a', '/?patient=1', @from[0 .. 3]), '200 new_patients/1h=1,new_patients/1h/all=1,addresses/1h=1,accounts/1h/http_x_site=1,misses/1h=0');
stop_redis($dir);
totals('a', '/?patient=1', @from[0 .. 3]);
is(totals('a', '/?patient=2', @from[4 .. 7]), '200 new_patients/1h=2,new_patients/1h/all=2,addresses/1h=2,accounts/1h/http_x_site=1,misses/1h=0');
like(totals('b', '/missing?patient=3', @from[4 .. 7]), qr/^404 new_patients\/1h=1,new_patients\/1h\/all=3,addresses\/1h=1,accounts\/1h\/http_x_site=2,/);
start_redis($dir);
ok(wait_for(sub { my @keys = redis_at($dir, 'KEYS', '*') =~ /\S+/g; @keys == 4 }),
   'two accounts, a site, and all');
becomes('200 new_patients/1h=2,new_patients/1h/all=3,addresses/1h=2,accounts/1h/http_x_site=2,misses/1h=0',
        'of an account', 'a', '/?patient=1', @from[0 .. 3]);
start_another();
another {
    becomes('200 new_patients/1h=1,new_patients/1h/all=2,addresses/1h=1,accounts/1h/http_x_site=2,misses/1h=1',
            'Redis has what was counted without it', 'b', '/?patient=3', @from[4 .. 7]);
};
stop_another();
stop_redis($dir);
unlike(error_log(), qr/\[alert\]|malformed|PGSTATE|protocol/);



=== TEST 5: Redis forgets, and nobody who is known here is new
--- policy
account  $http_x_account trusted;
limit    new_patients=5/1h deny;
limit    lookups=100/1h deny;
--- config eval: $::location
--- after
is(totals('a', "/?patient=$_"), "200 new_patients/1h=$_,lookups/1h=$_") for 1 .. 4;
redis('FLUSHALL');
is(totals('a', '/?patient=2'), '200 new_patients/1h=0,lookups/1h=1');
is(totals('a', '/?patient=3'), '200 new_patients/1h=0,lookups/1h=2');
is(totals('a', '/?patient=5'), '200 new_patients/1h=1,lookups/1h=3');
is((split ' ', totals('a', '/?patient=6'))[0], 403, 'below the floor of this node nothing falls');



=== TEST 6: a session that has to prove itself has to on each node
--- policy
account  $http_x_account trusted;
proof    $http_x_proof session;
limit    patients=1/1h challenge;
--- config eval: $::location
--- suppress_stderr
--- after
start_another();
my ($old, $new) = (['X-Proof' => time - 100], ['X-Proof' => time + 60]);
is(totals('a', '/?patient=1', @$old), '200 patients/1h=1');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
another { is(totals('a', '/?patient=2', @$old), '403 patients/1h=1') };
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'passed here');
another { becomes('403 patients/1h=1', 'there as well: the old one not', 'a', '/?patient=2', @$old) };
another { is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'the new one') };
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
another { is(totals('a', '/?patient=2', @$old), '403 patients/1h=1', 'again') };
stop_another();



=== TEST 7: nor does a node forget it with Redis
--- policy eval: $::sessions
--- config eval: $::location
--- init
start_redis("$ENV{PG_TMP}/$PatientGuard::policy");
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my ($old, $new) = passed(60);
redis_at($dir, 'FLUSHALL');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1', 'after a flush');
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1');
stop_redis($dir);
becomes('403 patients/1h=1', 'without Redis', 'a', '/?patient=2', @$old);
becomes('200 patients/1h=1', 'the new one', 'a', '/?patient=2', @$new);
start_redis($dir);
ok(wait_for(sub { totals(rand, '/?patient=1'); redis_at($dir, 'DBSIZE') > 0 }), 'with an empty one');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1');



=== TEST 8: a challenge that is passed while Redis is away
--- policy eval: $::sessions
--- config eval: $::location
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my ($old, $new) = passed(60);
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
start_redis($dir);
ok(wait_for(sub { totals('a', '/?patient=2', @$new); error_log() =~ /is back/ }), 'Redis is back');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1', 'remembered here');
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1');
stop_redis($dir);



=== TEST 9: deciding locally, too
--- policy
account      $http_x_account trusted;
consistency  local interval=10ms;
proof        $http_x_proof session;
limit        patients=1/1h challenge;
--- config eval: $::location
--- suppress_stderr
--- after
start_another();
my ($old, $new) = (['X-Proof' => time - 100], ['X-Proof' => time + 60]);
is(totals('a', '/?patient=1', @$old), '200 patients/1h=1');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
another { becomes('403 patients/1h=1', 'challenged there', 'a', '/?patient=1', @$old) };
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'passed here');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
another { becomes('200 patients/1h=1', 'the new one', 'a', '/?patient=2', @$new) };
another { is(totals('a', '/?patient=2', @$old), '403 patients/1h=1', 'the old one') };
stop_another();



=== TEST 10: what Redis knows does not undercut what was passed while it was away
--- policy eval: $::sessions
--- config eval: $::location
--- init
start_redis("$ENV{PG_TMP}/$PatientGuard::policy", '--appendonly', 'yes', '--appendfsync', 'always');
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my ($old, $first) = passed(30);
my ($thief, $new) = map { ['X-Proof' => time + $_] } 40, 60;
is(totals('a', '/?patient=2', @$thief), '200 patients/1h=1', 'a session proved later');
stop_redis($dir);
totals('a', '/?patient=2', @$thief);
is(totals('a', '/?patient=3', @$thief), '403 patients/1h=1', 'challenged without Redis');
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'passed without Redis');
is(totals('a', '/?patient=2', @$thief), '403 patients/1h=1', 'this session has not proved itself');
start_redis($dir, '--appendonly', 'yes', '--appendfsync', 'always');
ok(wait_for(sub { totals('b', '/?patient=2', @$new); error_log() =~ /is back/ }), 'Redis is back');
is(totals('a', '/?patient=2', @$thief), '403 patients/1h=1', 'still not');
ok(wait_for(sub { totals('a', '/?patient=2', @$new); due($dir) > 1000 * $first->[1] }), 'Redis is told');
is(totals('a', '/?patient=2', @$thief), '403 patients/1h=1', 'nor now');
stop_redis($dir);



=== TEST 11: after a flush all nodes are told again
--- policy eval: $::sessions
--- config eval: $::location
--- init
start_redis("$ENV{PG_TMP}/$PatientGuard::policy");
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my ($old, $new) = passed(60);
redis_at($dir, 'FLUSHALL');
is(totals('a', '/?patient=2', @$new), '200 patients/1h=1', 'the owner goes on');
ok(wait_for(sub { totals('a', '/?patient=2', @$new); due($dir) }), 'Redis is told');
is(totals('a', '/?patient=2', @$old), '403 patients/1h=1');
start_another();
another { is((split ' ', totals('a', '/?patient=2', @$old))[0], 403, 'another node') };
stop_another();
stop_redis($dir);



=== TEST 12: what was passed in an outage is told to the fleet
--- policy eval: $::sessions
--- config eval: $::location
--- suppress_stderr
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my ($old, $new) = passed(60);
start_redis($dir);
ok(wait_for(sub { totals('a', '/?patient=2', @$new); error_log() =~ /is back/ }), 'Redis is back');
ok(wait_for(sub { totals('a', '/?patient=2', @$new); due($dir) }), 'and is told');
like(totals('a', '/?patient=2', @$old), qr/^403/, 'here');
start_another();
another { is((split ' ', totals('a', '/?patient=2', @$old))[0], 403, 'another node') };
stop_another();
stop_redis($dir);



=== TEST 13: what has much room is told apart from the lookups
--- policy
account  $http_x_account trusted;
redis    $PG_FAKE prefix=$PG_PREFIX;
limit    lookups=4000/1h deny per=all;
limit    patients=100/1h deny;
--- config eval: $::location
--- fake_redis eval: $::says_keys
--- after
my $keys = "$ENV{PG_TMP}/$PatientGuard::policy.keys";
my $n = 0;
my $look = sub { $n++; is(totals('a', "/?patient=$n"), "200 lookups/1h/all=$n,patients/1h=$n") };
ok(wait_for(sub { $look->(); PatientGuard::slurp($keys) =~ /^1$/m }), 'a call names the account only');
$look->() for 1 .. 5;
start_another();
another { is((split ' ', totals('b', '/?patient=1'))[0], 200) };
my $told;
another { wait_for(sub { $n++; ($told) = totals('b', '/?patient=1') =~ /all=(\d+)/; $told > $n }) };
cmp_ok($told, '>', $n, 'and yet the other node hears of all');
stop_another();
unlink $keys;



=== TEST 14: as long as there is much room
--- policy
account  $http_x_account trusted;
redis    $PG_FAKE prefix=$PG_PREFIX;
limit    lookups=4000/1h deny per=all;
limit    lookups=3999/1h deny per=$http_x_site;
limit    addresses=9000/1h deny per=$http_x_group;
--- config eval: $::location
--- fake_redis eval: $::says_keys
--- after
my $keys = "$ENV{PG_TMP}/$PatientGuard::policy.keys";
my $many = sub { join ',', map { $_[0] * 100 + $_ } 1 .. 100 };
totals('a', '/?patient=' . $many->($_)) for 1 .. 28;
ok(wait_for(sub { totals('a', '/?patient=1'); PatientGuard::slurp($keys) =~ /^1$/m }), 'told apart');
totals('a', '/?patient=' . $many->($_)) for 29 .. 31;
my $said;
ok(wait_for(sub { $said = totals('a', '/?patient=1'); PatientGuard::slurp($keys) =~ /2\n\z/ && $said =~ /all=31\d\d,/ }), 'named again')
    or diag($said);
unlink $keys;
totals('a', '/?patient=1') for 1 .. 3;
is(PatientGuard::slurp($keys) =~ s/\n//gr, '222', 'from then on each time');
is((split ' ', totals('a', '/?patient=1', 'X-Site' => 1))[0], 200);
is((split ' ', totals('a', '/?patient=1', 'X-Site' => 1))[0], 200);
is(PatientGuard::slurp($keys) =~ s/\n//gr, '22233', 'as is what has a small count');
unlink $keys;
is((split ' ', totals('a', '/?patient=1', 'X-Group' => 1))[0], 200) for 1 .. 20;
is(PatientGuard::slurp($keys) =~ s/\n//gr, '3' x 20, 'and whatever keeps a set');



=== TEST 15: a state is good once, on whatever node
--- policy
account   $http_x_account trusted;
limit     patients=2/1d challenge;
challenge redirect /sso;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
location /pass {
    patient_guard_pass     $PG_POLICY;
}
--- after
my $read = sub { get("/?patient=$_[0]", 'X-Account' => 'a', Accept => 'text/html') };
my $state = sub { ($read->($_[0])->{headers}{location} // '') =~ /state=(.*)/ ? $1 : undef };
my $pass = sub { get("/pass?state=$_[0]", 'X-Account' => 'a')->{status} };
start_another();
is($read->($_)->{status}, 200) for 1, 2;
my @states = map { $state->(3) } 1, 2;
another { is($pass->($states[0]), 303, 'a node that knows nothing of it') };
is($pass->($states[0]), 403, 'no more here');
another { is($pass->($_), 403, 'nor there') } for @states;
ok(wait_for(sub { $read->(3)->{status} == 200 }), 'passed here as well');
another { $read->($_) for 4, 5 };
another { is($pass->($_), 403, 'the next challenge is another') } for @states;
is($pass->($_), 403) for @states;
my $next;
another { $next = $state->(6) };
is($pass->($next), 303);
stop_another();



=== TEST 16: what the desk orders is done on all nodes
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
limit    lookups=90/1d challenge;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
location /guard/ {
    patient_guard_api  write;
    allow  127.0.0.1;
    deny   all;
}
--- after
my $look = sub { get("/?patient=$_[1]", 'X-Account' => $_[0])->{status} };
my $order = sub {
    my $answer = get("/guard/accounts/$_[1]", 'X-Patient-Guard' => 'write', method => $_[0]);
    $answer->{status} . ($answer->{body} =~ /"reach":"fleet"/ ? ' fleet' : '');
};
start_another();
is($look->('a', $_), $_ < 3 ? 200 : 403) for 1 .. 3;
another { is($look->('a', 3), 403, 'refused there as well') };
is($order->(POST => 'a/clear'), '200 fleet');
is($look->('a', 3), 200);
another { ok(wait_for(sub { $look->('a', 4) == 200 }), 'cleared there') };
is($look->('a', 5), 403);

is($order->(POST => 'b/block?for=1h'), '200 fleet');
is($look->('b', 1), 403);
another { ok(wait_for(sub { $look->('b', 1) == 403 }), 'blocked there') };
another { is($order->(POST => 'b/clear'), '200 fleet') };
another { is($look->('b', 1), 200) };
ok(wait_for(sub { $look->('b', 1) == 200 }), 'lifted here');

my $alias = get('/?patient=1', 'X-Account' => 'b')->{headers}{'x-alias'};
another { $look->('b', 2) };
my $known = sub { get('/guard/status')->{body} =~ /"account":"$alias"/ };
ok($known->(), 'known here');
another { ok($known->(), 'and there') };
is($order->(DELETE => 'b'), '200 fleet');
ok(!$known->(), 'forgotten');
another { ok(wait_for(sub { !$known->() }), 'there as well') };
ok(wait_for(sub { !grep { /\{$alias\}/ } PatientGuard::redis('KEYS', "*:$PatientGuard::policy:*") }), 'and by Redis');

is($order->(POST => 'c/block?for=1h'), '200 fleet');
stop_another();
start_another();
another { ok(wait_for(sub { $look->('c', 1) == 403 }), 'a node that starts later hears of it') };
stop_another();



=== TEST 17: what the desk orders while Redis is away
--- policy
account    $http_x_account trusted;
redis      unix:$PG_TMP/$PG_POLICY/sock prefix=$PG_PREFIX;
limit      patients=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
location /guard/ {
    patient_guard_api  write;
    allow  127.0.0.1;
    deny   all;
}
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
my $look = sub { get("/?patient=$_[1]", 'X-Account' => $_[0])->{status} };
my $order = sub { get("/guard/accounts/$_[1]?policy=$PatientGuard::policy" . ($_[2] // ''), 'X-Patient-Guard' => 'write', method => $_[0]) };
stop_redis($dir);
my $answer = $order->(POST => 'a/block', '&for=1h');
is($answer->{status}, 503, 'nobody is told');
like($answer->{body}, qr/"reach":"node"/);
is($look->('a', 1), 403, 'but this node does it');
is($look->('b', $_), $_ < 3 ? 200 : 403) for 1 .. 3;
is(get("/guard/accounts/b?policy=$PatientGuard::policy")->{status}, 200, 'this node tells what it knows');
start_redis($dir);
ok(wait_for(sub { $order->(POST => 'b/clear')->{status} == 200 }), 'Redis is back');
is($look->('a', 1), 403, 'and he is blocked still');
is($look->('b', 3), 200);
is(PatientGuard::redis_at($dir, 'FLUSHALL'), "OK\n");
is($look->('a', 1), 403);
ok($order->(POST => 'c/block', '&for=1h')->{status} == 200, 'a list anew');
is($look->('c', 1), 403);
stop_redis($dir);



=== TEST 18: two desks at once, and a node that starts later, agree
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
location /guard/ {
    patient_guard_api  write;
    allow  127.0.0.1;
    deny   all;
}
--- after
my $look = sub { get("/?patient=1", 'X-Account' => $_[0])->{status} };
my $order = sub { get("/guard/accounts/$_[0]/$_[1]", 'X-Patient-Guard' => 'write', method => 'POST')->{status} };
start_another();
for my $n (1 .. 20) {
    $order->("a$n", 'block?for=1h');
    another { $order->("a$n", 'clear') };
    another { $order->("b$n", 'block?for=1h') };
    $order->("b$n", 'clear');
    $order->("c$n", 'clear');
    another { $order->("c$n", 'block?for=1h') };
}
my @accounts = map { my $n = $_; map { "$_$n" } qw(a b c) } 1 .. 20;
my $said = sub { CORE::join ' ', map { $look->($_) } @accounts };
my $expected = CORE::join ' ', (200, 200, 403) x 20;
ok(wait_for(sub { $said->() eq $expected }), 'here') or diag($said->());
another { ok(wait_for(sub { $said->() eq $expected }), 'there') or diag($said->()) };

# both age by ten minutes
my $key = "t$PatientGuard::policy:$PatientGuard::policy:{" . '0' x 32 . '}';
PatientGuard::redis('EVAL', <<'LUA', 1, $key);
local list, aged = redis.call('HGET', KEYS[1], 'orders'), {}
for at = 1, #list, 65 do
    local time = struct.unpack('<I8', list, at + 8)
    aged[#aged + 1] = string.sub(list, at, at + 7) .. struct.pack('<I8', time - 600000)
                      .. string.sub(list, at + 16, at + 64)
end
redis.call('HSET', KEYS[1], 'orders', table.concat(aged))
LUA
stop_another();
start_another();
another { ok(wait_for(sub { $said->() eq $expected }), 'and by who starts later') or diag($said->()) };
stop_another();
