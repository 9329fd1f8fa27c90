# limits, actions, and what a verdict is made of
use lib 't/lib';
use PatientGuard;

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
