# A clock that jumps, and a log that is full: neither opens a door.

use lib 't/lib';
use Clock;
use PatientGuard;

# workers see what the master passes on
env_to_nginx('PG_CLOCK');

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
location /now {
    return  200 $msec;
}
END

run_tests();

__DATA__

=== TEST 1: what was counted holds, whichever way the clock goes
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
limit    patients=2/1d deny;
--- config eval: $::config
--- after
my @one = ('X-Account' => 'one');
my @two = ('X-Account' => 'two');
ahead(0);
is(thrice('/?patient=1', @one), $::COUNTED, 'full');
is(get('/?patient=2', @two)->{status}, 200, 'a patient');

# what would leave with the hour must not come back with it
ahead(7200);
is(thrice('/?patient=1', @one), $::COUNTED, 'two hours later: afresh');
ahead(0);
is(thrice('/?patient=1', @one), '403 2, 403 2, 403 2', 'two hours back: full');
ahead(-90 * 86400);
is(thrice('/?patient=1', @one), '403 2, 403 2, 403 2', 'a quarter of a year');
is(thrice('/?patient=1', 'X-Account' => 'three'), $::COUNTED, 'for others, too');
is(get('/?patient=3', @two)->{status}, 200, 'and one more is two');

# back in time, all is of that time, and holds for a window from there
ahead(-90 * 86400 + 7200);
is(get('/?patient=4', @two)->{status}, 403, 'not three in a day');
is(get('/?patient=2', @two)->{status}, 200, 'but who was known');



=== TEST 2: a challenge of the future can be passed in the present
--- policy
account  $http_x_account trusted;
proof    $http_x_proof;
limit    lookups=2/1h challenge;
--- config eval: $::config
--- after
my @one = ('X-Account' => 'one');
ahead(86400);
is(thrice('/?patient=1', @one), $::COUNTED, 'challenged tomorrow');
ahead(0);
is(get('/?patient=1', @one)->{status}, 403, 'and today');
is(get('/?patient=1', @one, 'X-Proof' => time - 60)->{status}, 403,
   'an old proof is none');
ok(wait_for(sub {
    get('/?patient=1', @one, 'X-Proof' => time)->{status} == 200;
}), 'one of now is');
ahead(-86400);
is(get('/?patient=1', @one)->{status}, 200, 'and yesterday, as passed');



=== TEST 3: who cannot log goes on
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
location / {
    error_log              /dev/full debug;
    access_log             /dev/full;
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(thrice('/?patient=1', 'X-Account' => $_), $::COUNTED, "account $_")
    for 1 .. 20;
