# limits, actions, and what a verdict is made of
use lib 't/lib';
use PatientGuard;

# "status verdict limit counted/allowance", where a location says it in
# X-Guard: $patient_guard_verdict $patient_guard_limit ...
sub told {
    my ($uri, %headers) = @_;

    return told_of(get($uri, 'X-Account' => 'dupont', %headers));
}

sub told_of {
    my ($answer) = @_;

    return "$answer->{status} " . ($answer->{headers}{'x-guard'} // '');
}

# a request, and later its answer, however long it takes
sub ask {
    my $socket = PatientGuard::client();
    syswrite $socket, PatientGuard::request(@_);
    return $socket;
}

sub reply {
    my ($socket) = @_;

    my $text = '';
    my $select = IO::Select->new($socket);
    while ($select->can_read(20 * ($ENV{PG_SLOW} // 1))) {
        sysread($socket, $text, 65536, length $text) or last;
    }
    return PatientGuard::answer($text);
}

run_tests();

__DATA__

=== TEST 1: the third patient is one too many, one already counted stays readable
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /?patient=1", "GET /?patient=2", "GET /?patient=3", "GET /?patient=1"]
--- error_code eval
[200, 200, 403, 200]



=== TEST 2: another account has an allowance of its own
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(get('/?patient=1', 'X-Account' => 'dupont')->{status}, 200);
is(get('/?patient=1', 'X-Account' => 'dupont')->{status}, 403);
is(get('/?patient=1', 'X-Account' => 'durand')->{status}, 200);



=== TEST 3: a limit that only logs counts on, and says so
--- policy
account  $http_x_account trusted;
limit    patients=2/1h log;
limit    lookups=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow patients/1h 1/2');
is(told('/?patient=2'), '200 allow patients/1h 2/2');
unlike(error_log(), qr/patient guard: /);
is(told('/?patient=3'), '200 allow patients/1h 3/2');
my @said = grep { /patient guard: / } split /\n/, error_log();
is(scalar @said, 1);
like($said[0], qr/\[warn\] .* patient guard: allow by limit "patients\/1h" of policy "$PG_POLICY", counted 3 of 2, account: /);
is(told('/?patient=4'), '200 allow patients/1h 4/2');
is(told('/?patient=5'), '200 allow patients/1h 4/2',
   'to twice its count: what a set may take is bounded');



=== TEST 4: lookups that are logged are counted without an end
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h log;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1,2,3'), '200 allow lookups/1h 3/1');
is(told('/?patient=1,2,3'), '200 allow lookups/1h 6/1');



=== TEST 5: denied until the window has room, and told how many were counted
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/'), '200 allow lookups/1h 1/2');
is(told('/'), '200 allow lookups/1h 2/2');
is(told('/'), '403 deny lookups/1h 2/2') for 1 .. 3;



=== TEST 6: throttled for longer than anyone would wait
--- policy
account  $http_x_account trusted;
limit    patients=1/1h throttle;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow patients/1h 1/1');
my $answer = get('/?patient=2', 'X-Account' => 'dupont');
is(told_of($answer), '429 throttle patients/1h 1/1');
my $wait = $answer->{headers}{'retry-after'};
ok($wait > 3590 && $wait <= 3713, "Retry-After: $wait, the window and a 32nd");
is(told('/?patient=1'), '200 allow patients/1h 1/1', 'who is counted is not');



=== TEST 7: throttled: held until it fits, as many as fit
--- policy
account         $http_x_account trusted;
limit           lookups=2/10s throttle;
throttle_delay  15s;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- timeout: 30
--- after
# what is asked when both have come is asked within a slice, mostly
my $began = time;
is(told('/'), '200 allow lookups/10s 1/2');
is(told('/'), '200 allow lookups/10s 2/2');

my @held = map { ask('/', 'X-Account' => 'dupont') } 1 .. 4;
is(told('/', 'X-Account' => 'durand'), '200 allow lookups/10s 1/2',
   'nobody else waits');

my @answers = map { reply($_) } @held;
my $took = time - $began;
ok($took >= 9, "held for $took seconds");
is(CORE::join(' ', sort map { $_->{status} } @answers), '200 200 429 429',
   'then two fit, for two more it is too long');

for my $answer (@answers) {
    like($answer->{headers}{'x-guard'}, qr{^throttle lookups/10s [12]/2$});
    my $wait = $answer->{headers}{'retry-after'};
    ok($answer->{status} == 429 ? $wait && $wait <= 11 : !defined $wait,
       'is told to wait only if it is refused');
}

my @said = grep { /patient guard: / } split /\n/, error_log();
is(scalar grep({ /\[notice\] .* patient guard: allow after a delay by limit "lookups\/10s" of / } @said),
   2, 'a delay is said one level lower');
is(scalar grep({ /\[warn\] .* patient guard: throttle after a delay by / }
               @said), 2, 'than a refusal');
is(scalar @said, 4);



=== TEST 8: a client that goes away while it is held is not charged
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  1m;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/'), '200 allow lookups/10s 1/1');
my $socket = ask('/gone', 'X-Account' => 'dupont');
ok(wait_for(sub { error_log() =~ /http request line: "GET \/gone/ }));
close $socket;
ok(wait_for(sub { access_log() =~ m{"GET /gone \S+" 499 } }), 'gone');
unlike(error_log(), qr/patient guard: /, 'nothing was decided');



=== TEST 9: of two limits the one with the harder action decides
--- suppress_stderr
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h log       name=log;
limit    lookups=2/1h throttle  name=throttle;
limit    lookups=3/1h challenge name=challenge;
limit    lookups=4/1h deny      name=deny;
exempt   $http_x_exempt;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/', 'X-Exempt' => 1), '200 allow log 1/1');
is(told('/', 'X-Exempt' => 1), '200 allow log 2/1');
is(told('/'), '429 throttle throttle 2/2');
is(told('/', 'X-Exempt' => 1), '200 allow log 3/1');
is(told('/'), '403 challenge challenge 3/3');
is(told('/', 'X-Exempt' => 1), '200 allow log 4/1');
is(told('/'), '403 deny deny 4/4');



=== TEST 10: of two with the same action the one that lasts longer
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
limit    lookups=1/2h deny;
limit    lookups=1/30m deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/'), '200 allow lookups/1h 1/1');
is(told('/'), '403 deny lookups/2h 1/1');



=== TEST 11: what one limit refuses no other is charged with
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
limit    lookups=3/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow patients/1h 1/1');
is(told('/?patient=2'), '403 deny patients/1h 1/1') for 1 .. 5;
is(told('/?patient=1'), '200 allow patients/1h 1/1');
is(told('/?patient=1'), '200 allow patients/1h 1/1');
is(told('/?patient=1'), '403 deny lookups/1h 3/3', 'the fourth lookup');



=== TEST 12: several patients fit as a whole, or not at all
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1,2'), '200 allow patients/1h 2/3');
is(told('/?patient=3,4'), '403 deny patients/1h 2/3', 'two for one place');
is(told('/?patient=2,1,3'), '200 allow patients/1h 3/3', 'one for one');
is(told('/?patient=3,4'), '403 deny patients/1h 3/3');
is(told('/?patient=3,2'), '200 allow patients/1h 3/3');



=== TEST 13: more patients than there will ever be room for
--- policy
account  $http_x_account trusted;
limit    patients=2/1h throttle;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
my $answer = get('/?patient=1,2,3', 'X-Account' => 'dupont');
is(told_of($answer), '429 throttle patients/1h 0/2');
is($answer->{headers}{'retry-after'}, 3600);



=== TEST 14: a count that the portal gives
--- policy
account  $http_x_account trusted;
limit    lookups=$http_x_quota/1h deny default=3;
limit    lookups=1$http_x_quota/1d deny default=7;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
my $allowance = sub {
    told('/', 'X-Quota' => $_[0], 'X-Account' => rand) =~ m{ (\S+) \d+/(\d+)$};
    return "$1 $2";
};
is($allowance->('2'), 'lookups/1h 2');
is($allowance->('1'), 'lookups/1h 1');
is($allowance->(''), 'lookups/1d 1', 'a value may be made of parts');
is($allowance->('none'), 'lookups/1h 3', 'no number');
is($allowance->('0'), 'lookups/1h 3', 'not allowed in nginx.conf either');
is($allowance->('-1'), 'lookups/1h 3', 'negative');
is($allowance->('2.5'), 'lookups/1h 3', 'no whole number');
is($allowance->('4294967296'), 'lookups/1h 3', 'too much');
is($allowance->('99999999999999999999'), 'lookups/1h 3', 'far too much');
is($allowance->('4294967295'), 'lookups/1d 7');



=== TEST 15: and may change: what was counted stays
--- policy
account  $http_x_account trusted;
limit    patients=$http_x_quota/1h deny default=2;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow patients/1h 1/2');
is(told('/?patient=2'), '200 allow patients/1h 2/2');
is(told('/?patient=3'), '403 deny patients/1h 2/2');
is(told('/?patient=3', 'X-Quota' => 4), '200 allow patients/1h 3/4');
is(told('/?patient=4'), '403 deny patients/1h 3/2', 'lower than the count');
is(told('/?patient=3'), '200 allow patients/1h 3/2');



=== TEST 16: a challenge stays until it is passed
--- suppress_stderr
--- policy
account  $http_x_account trusted;
limit    patients=1/1h challenge;
proof    $http_x_auth_time;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
my $before = time;
is(told('/?patient=1', 'X-Auth-Time' => $before),
   '200 allow patients/1h 1/1');
is(told('/?patient=2', 'X-Auth-Time' => $before),
   '403 challenge patients/1h 1/1');
is(told('/?patient=1', 'X-Auth-Time' => $before),
   '403 challenge patients/1h 1/1', 'whoever is looked at');
is(told('/?patient=1', 'X-Auth-Time' => $_),
   '403 challenge patients/1h 1/1', "a proof of '$_' is none")
    for '', 0, 'yes', $before - 1, -1, '1e12', "$before,9", '.', '1' x 20;
is(told('/?patient=1', 'X-Account' => 'durand'),
   '200 allow patients/1h 1/1', 'nobody else is asked for one');
is(told('/?patient=2', 'X-Auth-Time' => $before + 60),
   '200 allow patients/1h 1/1', 'a later one is');
is(told('/?patient=2'), '200 allow patients/1h 1/1', 'once');
is(told('/?patient=3', 'X-Auth-Time' => $before),
   '403 challenge patients/1h 1/1');
is(told('/?patient=3', 'X-Auth-Time' => $before + 60.5),
   '200 allow patients/1h 1/1', 'fractions of a second are welcome');



=== TEST 17: a challenge is opened once and for all limits
--- suppress_stderr
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
limit    patients=2/1h challenge;
limit    lookups=4/1d deny;
proof    $http_x_auth_time;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow lookups/1h 1/1');
is(told('/?patient=2'), '403 challenge lookups/1h 1/1');
is(told('/?patient=2,3,4'), '403 challenge lookups/1h 1/1',
   'by the one that opened it, though another would not fit');
is(told('/?patient=5', 'X-Auth-Time' => time + 60),
   '200 allow lookups/1h 1/1', 'passed: both start afresh');
is(told('/?patient=1,2,3,4'), '403 deny lookups/1d 2/4',
   'but no limit that denies');



=== TEST 18: how often it may be passed
--- suppress_stderr
--- policy
account           $http_x_account trusted;
limit             lookups=1/1h challenge;
challenge_grants  2/1d;
proof             $http_x_auth_time;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
    add_header             X-Wait  $patient_guard_retry_after always;
}
--- after
my $now = time;
is(told('/'), '200 allow lookups/1h 1/1');
for my $n (1, 2) {
    is(told('/'), '403 challenge lookups/1h 1/1');
    is(told('/', 'X-Auth-Time' => $now + 60), '200 allow lookups/1h 1/1',
       "passed $n of 2");
}
my $answer = get('/', 'X-Account' => 'dupont', 'X-Auth-Time' => $now + 60);
is(told_of($answer), '403 deny lookups/1h 1/1', 'not a third time');
my $wait = $answer->{headers}{'x-wait'};
ok($wait > 86390 && $wait <= 89101, "until a grant is left, in $wait seconds");



=== TEST 19: a dry run counts and decides, and refuses nobody
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
limit    patients=2/1d challenge;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
location / {
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
location /earnest {
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow patients/1h 1/1');
is(told('/?patient=2'), '200 deny patients/1h 1/1');
is(told('/?patient=2,3'), '200 deny patients/1h 1/1');
is(told('/earnest?patient=1'), '200 allow patients/1h 1/1',
   'and it has opened no challenge');
is(told('/earnest?patient=2'), '403 deny patients/1h 1/1');
like(error_log(), qr/\[warn\] .* patient guard: deny \(dry run\) by limit "patients\/1h"/);



=== TEST 20: a dry run of a challenge, of a delay, of what has no account or patient
--- policy
account  $http_x_account trusted;
limit    lookups=$http_x_quota/1h challenge default=1;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account         $http_x_account trusted;
    limit           lookups=1/10s throttle;
    throttle_delay  1m;
    $PG_STORE_DIRECTIVES
}
--- config
patient_guard          $PG_POLICY;
patient_guard_dry_run  on;
location / {
    proxy_pass  http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
location /earnest {
    patient_guard_dry_run  off;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
location /throttle {
    patient_guard  $PG_POLICY_2;
    proxy_pass     http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
location /deny {
    patient_guard_patient    $arg_patient;
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/'), '200 allow lookups/1h 1/1');
is(told('/'), '200 challenge lookups/1h 1/1');
is(told('/earnest', 'X-Quota' => 9), '200 allow lookups/1h 2/9',
   'the challenge is none');
is(told('/throttle'), '200 allow lookups/10s 1/1');
is(told('/throttle'), '200 throttle lookups/10s 1/1', 'held by nobody');
is(told('/deny'), '200 deny  /');
is(told('/', 'X-Account' => ''), '200 deny  /');



=== TEST 21: a dry run does not end what is earnest elsewhere
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
--- config
patient_guard  $PG_POLICY;
location / {
    proxy_pass  http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
location /dry {
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/'), '200 allow lookups/1h 1/1');
is(told('/'), '403 challenge lookups/1h 1/1');
is(told('/dry'), '200 challenge lookups/1h 1/1');
is(told('/'), '403 challenge lookups/1h 1/1');



=== TEST 22: limits bear names
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h30m deny;
limit    patients=1/90m deny name=per-shift_1:a/b.c;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance" always;
}
--- after
is(told('/?patient=1'), '200 allow per-shift_1:a/b.c 1/1');
is(told('/?patient=1'), '200 allow lookups/1h30m 2/2');
my $answer = get('/?patient=1', 'X-Account' => 'dupont');
is(told_of($answer), '403 deny lookups/1h30m 2/2');
like($answer->{body}, qr{"violated-policies":\["lookups/1h30m"\]});
