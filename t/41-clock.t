# a log replayed: the clock is what each lookup says, not the node's
use lib 't/lib';
use PatientGuard;
use Totals;

# what limits count at that second of an hour in 2022
sub at {
    my ($second, $patient, %headers) = @_;

    return totals('dupont', "/?patient=$patient",
                  'X-Time' => 1647000000 + $second, %headers);
}

run_tests();

__DATA__

=== TEST 1: windows go by the clock of the log, and totals tell of each limit
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    patients=2/1h deny;
limit    lookups=4/1d deny name=daily;
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, 1), '200 patients/1h=1,daily=1');
is(at(10.5, 2), '200 patients/1h=2,daily=2');
is(at(20, 3), '403 patients/1h=2,daily=2');
is(at(3600 + 240, 3), '200 patients/1h=1,daily=3');
is(at(2 * 3600 + 480, 3), '200 patients/1h=1,daily=4');
is(at(2 * 3600 + 481, 3), '403 patients/1h=1,daily=4');
is(at(26 * 3600 + 481, 3), '200 patients/1h=1,daily=2',
   'those of the first hour are gone');



=== TEST 2: what gives no time is refused, lest it be now
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    patients=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- suppress_stderr
--- after
for my $time ('', 'x', '0', '-1', '1e9', '4294967296', '99999999999999') {
    my $answer = get('/?patient=1', 'X-Account' => 'dupont',
                     'X-Time' => $time);
    is($answer->{status}, 400, "\"$time\"");
}
like(error_log(), qr/patient guard: deny by policy "$PG_POLICY": the clock gives no time, client: /);
is(at(0, 1), '200 ');



=== TEST 3: nginx -t warns, for whoever sets the clock is not held by windows
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    patients=2/1h deny;
--- suppress_stderr
--- error_log
[warn]
"clock" of policy "$PG_POLICY" is for replaying logs only: whoever sets it sets the time that limits go by in
--- after



=== TEST 4: a proof is one of that time, and so is a challenge
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
proof    $http_x_proof;
limit    patients=1/1d challenge;
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, 1), '200 patients/1d=1');
is(at(1, 2), '403 patients/1d=1');
is(at(2, 2, 'X-Proof' => time), '403 patients/1d=1', 'of the future');
is(at(3, 2, 'X-Proof' => 1646999999), '403 patients/1d=1', 'too old');
is(at(9, 2, 'X-Proof' => 1647000005), '200 patients/1d=1');



=== TEST 5: a challenge that can't be passed any more is a denial, until it can
--- policy
account           $http_x_account trusted;
clock             $http_x_time;
proof             $http_x_proof;
limit             patients=1/10s challenge;
challenge_grants  1/1h;
--- config eval: $::location
--- suppress_stderr
--- after
my $proof = sub { ('X-Proof' => 1647000000 + $_[0]) };
is(at(0, 1), '200 patients/10s=1');
is(at(1, 2), '403 patients/10s=1');
is(at(9, 2, $proof->(5)), '200 patients/10s=1', 'passed');
is(at(10, 3, $proof->(5)), '403 patients/10s=1', 'and challenged again');
is(at(11, 3, $proof->(11)), '403 patients/10s=1', 'no proof passes it');
is(at(30, 2, $proof->(25)), '403 patients/10s=0', 'though the limit has room');
is(at(3800, 2, $proof->(5)), '403 patients/10s=0', 'with a grant it is a challenge');
is(at(3801, 2, $proof->(3800)), '200 patients/10s=1', 'that is passed');
