# patient_guard_pass: back from the portal's step-up, with the state
use lib 't/lib';
use Clock;
use PatientGuard;

# workers see what the master passes on
env_to_nginx('PG_CLOCK');

our $policy = <<'END';
account   $http_x_account trusted;
limit     patients=2/1d challenge;
challenge redirect https://sso.example/step-up;
END

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
location /pass {
    patient_guard_pass     $PG_POLICY;
}
location /now {
    return 200 $msec;
}
END

# an account's browser reads that record: status, or the state it is sent off by
sub reads {
    my ($account, $uri) = @_;

    my $answer = get($uri, 'X-Account' => $account, Accept => 'text/html');
    return $answer->{status} if $answer->{status} != 302;
    my ($state) = $answer->{headers}{location}
        =~ m{^https://sso\.example/step-up\?state=([\w-]+)$};
    return $state;
}

# and comes back: status, and where it is sent to, or what it is told
sub passes {
    my ($account, $state, %headers) = @_;

    my $answer = get("/pass?state=$state", 'X-Account' => $account, %headers);
    my ($detail) = $answer->{body} =~ /"detail":"([^"]*)"/;
    my $where = $answer->{headers}{location} // $detail;
    return "$answer->{status} " . ($where // '') =~ s{^http://[^/]*}{}r;
}

our $used = '403 the challenge is passed or lifted already: open the record'
    . ' again';

run_tests();

__DATA__

=== TEST 1: there and back again
--- policy eval: $::policy
--- config eval: $::config
--- after
is(reads('a', "/?patient=$_"), 200) for 1, 2;
my $state = reads('a', '/?patient=3&x=%2f%2fevil');
like($state, qr/^[\w-]{80,}$/, 'sent off');
my $answer = get("/pass?state=$state", 'X-Account' => 'a');
is($answer->{status}, 303);
like($answer->{headers}{location},
     qr{^http://localhost(:\d+)?/\?patient=3&x=%2f%2fevil$}, 'to the record');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{headers}{'referrer-policy'}, 'no-referrer');
is(reads('a', "/?patient=$_"), 200, 'a fresh allowance') for 3, 4;
isnt(reads('a', '/?patient=5'), 200, 'and no more');
like(error_log(),
     qr/notice.*patient guard: pass of policy "\S+": passed, account: \w{32}/);
--- log_level: notice



=== TEST 2: a state is good once
--- policy eval: $::policy
--- config eval: $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
my @states = map { reads('a', "/?patient=$_") } 3, 4;
is(passes('a', $states[0]), '303 /?patient=3');
is(passes('a', $_), $::used, 'no more') for @states;
reads('a', "/?patient=$_") for 3, 4;
my $next = reads('a', '/?patient=5');
is(passes('a', $_),
   '403 the state is of an earlier challenge: open the record again')
    for @states;
is(passes('a', $next), '303 /?patient=5');
like(error_log(), qr/warn.*pass of policy .*: $_/)
    for 'the challenge is passed or lifted', 'the state is of an earlier';



=== TEST 3: as often as there are grants
--- policy eval: $::policy . "challenge_grants 2/1d;\n"
--- config eval: $::config
--- after
for my $n (1, 2) {
    reads('a', '/?patient=' . (10 * $n + $_)) for 1, 2;
    is(passes('a', reads('a', "/?patient=9$n")), "303 /?patient=9$n");
}
reads('a', "/?patient=$_") for 31, 32;
my $state = do {
    my $answer = get('/?patient=33', 'X-Account' => 'a',
                     Accept => 'text/html');
    is($answer->{status}, 403, 'a denial, which has no state');
    $answer->{headers}{location};
};
is($state, undef);



=== TEST 4: another's state, and what is none
--- policy eval: $::policy
--- config eval: $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
reads('b', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
reads('b', '/?patient=3');
my $not_his = '403 the state is not of this account';
is(passes('b', $state), $not_his);
is(passes('a', substr $state, 0, -1), $not_his, 'a part');
is(passes('a', "$state="), $not_his, 'more');
is(passes('a', ''), $not_his, 'nothing');
is(passes('a', 'A' x 100), $not_his);
for my $at (map { 7 * $_ } 0 .. length($state) / 7 - 1) {
    my $forged = $state;
    substr($forged, $at, 1) =~ tr{A-Za-z0-9_-}{B-Zb-z0-9_\-Aa};
    is(passes('a', $forged), $not_his, "byte $at");
}
is(get('/pass', 'X-Account' => 'a')->{status}, 400, 'none at all');
isnt(reads($_, '/?patient=1'), 200, "$_ has passed nothing") for 'a', 'b';
is(passes('', $state), '403 no account is given');
is(passes('a', $state), '303 /?patient=3', 'nothing has harmed it');



=== TEST 5: of another policy
--- policy eval: $::policy
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account   $http_x_account trusted;
    limit     patients=2/1d challenge;
}
--- config eval: $::config . 'location /other { patient_guard_pass $PG_POLICY_2; }'
--- after
reads('a', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
is(get("/other?state=$state", 'X-Account' => 'a')->{status}, 403);
is(passes('a', $state), '303 /?patient=3');



=== TEST 6: a quarter of an hour
--- policy eval: $::policy
--- config eval: $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
ahead(910);
is(passes('a', $state), '403 the state has expired: open the record again');
isnt(reads('a', '/?patient=1'), 200, 'and has passed nothing');
$state = reads('a', '/?patient=3');
ahead(910 + 880);
is(passes('a', $state), '303 /?patient=3');
ahead(0);



=== TEST 7: what a request was sent off from
--- policy eval: $::policy
--- config eval: $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
for my $uri ('//evil.example/?patient=3', '/%5c/evil.example?patient=3',
             '/a\\evil?patient=3')
{
    my $state = reads('a', $uri);
    like(passes('a', $state), $uri =~ /%5c/ ? qr{^303 /%5c/} : qr{^303 /$},
         $uri);
    reads('a', "/?patient=$_$_") for 1, 2;
}



=== TEST 8: how it is asked
--- policy eval: $::policy
--- config eval: $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
is(get("/pass?state=$state", 'X-Account' => 'a', method => 'HEAD')->{status}, 405,
   'not by HEAD, which changes nothing');
is(get("/pass?state=$state", 'X-Account' => 'a', method => 'DELETE')->{status}, 405);
is(get("/pass?state=$state", 'X-Account' => 'a', method => 'POST')->{status}, 303,
   'by POST, as some SSO come back');



=== TEST 9: guarded or not, it is no lookup
--- policy eval: $::policy
--- config eval
"patient_guard \$PG_POLICY;\n" . $::config
--- after
reads('a', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
is(passes('a', $state), '303 /?patient=3');
is(reads('a', "/?patient=$_"), 200) for 3, 4;



=== TEST 10: who was never challenged
--- policy eval: $::policy
--- config eval: $::config
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account  $http_x_account trusted;
    limit    patients=2/1d challenge;
}
--- after
reads('a', "/?patient=$_") for 1, 2;
my $state = reads('a', '/?patient=3');
is(passes('a', $state), '303 /?patient=3');
is(passes('a', $state), $::used);



=== TEST 11: an unknown policy
--- config
location /pass {
    patient_guard_pass  $PG_POLICY;
}
--- must_die
--- error_log
unknown policy "$PG_POLICY" in "patient_guard_pass", expected the name of a "patient_guard_policy"



=== TEST 12: of sessions that prove themselves
--- policy
account  $remote_user;
proof    $remote_port session;
limit    lookups=5/1h challenge;
--- config
location /pass {
    patient_guard_pass  $PG_POLICY;
}
--- must_die
--- error_log
"patient_guard_pass $PG_POLICY" would pass for all sessions of the account, and "proof ... session" of that policy wants each to prove itself: use one of them



=== TEST 13: twice
--- policy
account  $remote_user;
limit    lookups=5/1h challenge;
--- config
location /pass {
    patient_guard_pass  $PG_POLICY;
    patient_guard_pass  $PG_POLICY;
}
--- must_die
--- error_log
"patient_guard_pass" directive is duplicate



=== TEST 14: in no location
--- policy
account  $remote_user;
limit    lookups=5/1h challenge;
--- config
patient_guard_pass  $PG_POLICY;
--- must_die
--- error_log
"patient_guard_pass" directive is not allowed here
