# what is new to the account, what was not found, where it comes from, and what
# many share
use lib 't/lib';
use PatientGuard;
use Totals;

our $who = 'dupont';

sub told { return totals($who, @_) }

sub by {
    my ($account, @request) = @_;

    local $who = $account;
    return told(@request);
}

# the second of an hour in 2022
sub at {
    my ($second, $uri, %headers) = @_;

    return told($uri, 'X-Time' => 1647000000 + $second, %headers);
}

our $DAY = 86400;

run_tests();

__DATA__

=== TEST 1: who was seen already is not new, whatever the window
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    new_patients=2/1h deny;
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, '/?patient=1'), '200 new_patients/1h=1');
is(at(1, '/?patient=1'), '200 new_patients/1h=1', 'known');
is(at(2, '/?patient=2'), '200 new_patients/1h=2');
is(at(3, '/?patient=3'), '403 new_patients/1h=2', 'one too many');
is(at(4, '/?patient=1,2'), '200 new_patients/1h=2', 'known ones stay readable');
is(at(5, '/?patient=1,3'), '403 new_patients/1h=2');
is(at(7200, '/?patient=3'), '200 new_patients/1h=1', 'refused is not seen');
is(at(20 * $DAY, '/?patient=1'), '200 new_patients/1h=0');
is(at(20 * $DAY + 1, '/?patient=4'), '200 new_patients/1h=1');
is(at(20 * $DAY + 2, '/?patient=2,3,1'), '200 new_patients/1h=1');
is(at(40 * $DAY, '/?patient=1,2,3,4'), '200 new_patients/1h=0',
   'seen again, so still known 40 days after the first time');
is(at(69 * $DAY, '/?patient=1,2'), '200 new_patients/1h=2',
   'after 28 days everybody is forgotten');
is(by('durand', '/?patient=1', 'X-Time' => 1647000000 + 69 * $DAY),
   '200 new_patients/1h=1', 'to another account he is new');



=== TEST 2: memory says how long
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
memory   1d;
limit    new_patients=10/1h deny;
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, '/?patient=1'), '200 new_patients/1h=1');
is(at($DAY - 60, '/?patient=1'), '200 new_patients/1h=0');
is(at(2 * $DAY - 120, '/?patient=1'), '200 new_patients/1h=0');
is(at(3 * $DAY + 3600, '/?patient=1'), '200 new_patients/1h=1');



=== TEST 3: many at once, and a request that names nobody
--- policy
account  $http_x_account trusted;
limit    new_patients=100/1h deny;
--- config eval: $::location
--- after
is(told('/?patient=' . CORE::join ',', 1 .. 60), '200 new_patients/1h=60');
is(told('/?patient=' . CORE::join ',', 40 .. 90), '200 new_patients/1h=90');
is(told('/?patient=' . CORE::join ',', 80 .. 101), '403 new_patients/1h=90');
is(told('/?patient=' . CORE::join ',', 1 .. 90), '200 new_patients/1h=90');
is(told('/some/where'), '200 new_patients/1h=91', 'its URI stands for one');
is(told('/some/where'), '200 new_patients/1h=91');
is(told('/some/where/else'), '200 new_patients/1h=92');



=== TEST 4: passing a challenge opens a fresh allowance, and forgets nobody
--- policy
account  $http_x_account trusted;
proof    $http_x_proof;
limit    new_patients=2/1h challenge;
--- config eval: $::location
--- suppress_stderr
--- after
is(told('/?patient=1'), '200 new_patients/1h=1');
is(told('/?patient=2'), '200 new_patients/1h=2');
is(told('/?patient=3'), '403 new_patients/1h=2');
is(told('/?patient=1'), '403 new_patients/1h=2', 'challenged');
is(told('/?patient=1', 'X-Proof' => time + 2), '200 new_patients/1h=0');
is(told('/?patient=2'), '200 new_patients/1h=0');
is(told('/?patient=3'), '200 new_patients/1h=1');



=== TEST 5: misses, by the portal's answer
--- policy
account  $http_x_account trusted;
limit    misses=3/1h deny;
limit    patients=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Totals $patient_guard_totals always;
    proxy_pass             http://$PG_PORTAL;

    location /gone {
        return 204;
    }

    location /found {
        proxy_pass          http://$PG_PORTAL/missing;
        proxy_intercept_errors on;
        error_page          404 = /empty;
    }

    location /empty {
        proxy_pass          http://$PG_PORTAL;
    }
}
--- after
is(told('/?patient=1'), '200 misses/1h=0,patients/1h=1');
is(told('/missing?patient=2'), '404 misses/1h=1,patients/1h=2');
is(told('/missing?patient=2'), '404 misses/1h=2,patients/1h=2',
   'of the same one, too');
is(told('/found?patient=2'), '200 misses/1h=2,patients/1h=2',
   'what the client sees is the answer');
ok(wait_for(sub { told('/?patient=3') eq '200 misses/1h=2,patients/1h=3' }),
   'Redis is told within an interval');
is(told('/missing?patient=4') =~ s/=2,/=3,/r,
   '404 misses/1h=3,patients/1h=4');
is(told('/?patient=1'), '403 misses/1h=3,patients/1h=4',
   'there is no room for another miss');
is(told('/missing?patient=4'), '403 misses/1h=3,patients/1h=4');
is(by('durand', '/?patient=1'), '200 misses/1h=0,patients/1h=1');



=== TEST 6: what can't be an identifier is a miss, once with its 404
--- policy
account  $http_x_account trusted;
limit    misses=3/1h challenge;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient kind=nir;
    add_header             X-Totals $patient_guard_totals always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(told('/?patient=255081416802538'), '200 misses/1h=0');
is(told('/?patient=255081416802539'), '200 misses/1h=1', 'a wrong key');
is(told('/missing?patient=12'), '404 misses/1h=2');
is(told('/missing?patient=255081416802538'), '404 misses/1h=3');
is(told('/?patient=255081416802538'), '403 misses/1h=3');
like(error_log(), qr/patient guard: challenge by limit "misses\/1h" of policy "$PG_POLICY", counted 3 of 3, account: /);



=== TEST 7: a dry run counts misses, and says when they were too many
--- policy
account  $http_x_account trusted;
limit    misses=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_dry_run  on;
    patient_guard_patient  $arg_patient;
    add_header             X-Totals $patient_guard_totals always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(told('/missing?patient=1'), '404 misses/1h=1');
is(told('/missing?patient=1'), '404 misses/1h=1');
like(error_log(), qr/patient guard: deny \(dry run\) by limit "misses\/1h"/);



=== TEST 8: addresses
--- http_config
set_real_ip_from  127.0.0.1;
set_real_ip_from  unix:;
real_ip_header    X-Address;
--- policy
account  $http_x_account trusted;
limit    addresses=2/1h deny;
--- config eval: $::location
--- after
my $from = sub { told('/?patient=' . $_[1], 'X-Address' => $_[0]) };
is($from->('192.0.2.1', 1), '200 addresses/1h=1');
is($from->('192.0.2.1', 2), '200 addresses/1h=1');
is($from->('2001:db8::1', 2), '200 addresses/1h=2');
is($from->('2001:db8::2', 2), '200 addresses/1h=2',
   'the second half of an IPv6 address changes by itself');
is($from->('2001:db8:0:1::1', 2), '403 addresses/1h=2', 'a third network');
is($from->('192.0.2.1', 3), '200 addresses/1h=2', 'known ones go on');
is($from->('::ffff:192.0.2.1', 3), '200 addresses/1h=2', 'the same, mapped');



=== TEST 9: by what else limits count
--- policy
account  $http_x_account trusted;
limit    lookups=3/1h deny per=$http_x_site;
limit    accounts=2/1h deny per=$http_x_site;
limit    patients=3/1h deny;
--- config eval: $::location
--- after
my $at = sub {
    my ($site, $account, $patient) = @_;
    my $said = by($account, "/?patient=$patient", 'X-Site' => $site);
    return $said =~ s/,? ?[\/a-z_0-9]+=/ /gr;
};
is($at->('lyon', 'a', 1), '200 1 1 1');
is($at->('lyon', 'b', 1), '200 2 2 1');
is($at->('lyon', 'c', 1), '403 2 2 0', 'one account too many');
is($at->('nice', 'c', 1), '200 1 1 1', 'elsewhere it is welcome');
is($at->('lyon', 'a', 2), '200 3 2 2');
is($at->('lyon', 'a', 3), '403 3 2 2', 'the site has no lookup left');
is($at->('nice', 'a', 3), '200 2 2 3');
is($at->('nice', 'a', 4), '403 2 2 3', 'nor has the account a patient');
is($at->('nice', 'c', 2), '200 3 2 2', 'what was refused cost the site nothing');
is($at->('', 'c', 3), '200 0 0 3', 'without a value the limit does not apply');
like(error_log(), qr/deny by limit "accounts\/1h\/http_x_site" of policy/);



=== TEST 10: for all of a policy, and new patients there
--- policy
account  $http_x_account trusted;
limit    new_patients=3/1h deny per=all;
limit    new_patients=9/1h deny;
--- config eval: $::location
--- after
is(by('a', '/?patient=1'), '200 new_patients/1h/all=1,new_patients/1h=1');
is(by('b', '/?patient=1'), '200 new_patients/1h/all=2,new_patients/1h=1',
   'new to the account');
is(by('b', '/?patient=1'), '200 new_patients/1h/all=2,new_patients/1h=1');
is(by('c', '/?patient=2'), '200 new_patients/1h/all=3,new_patients/1h=1');
is(by('d', '/?patient=2'), '403 new_patients/1h/all=3,new_patients/1h=0');
is(by('d', '/?patient=2'), '403 new_patients/1h/all=3,new_patients/1h=0',
   'who was refused has not seen him');
is(by('a', '/?patient=1'), '200 new_patients/1h/all=3,new_patients/1h=1');



=== TEST 11: a challenge by what many share is passed for a while
--- policy
account  $http_x_account trusted;
proof    $http_x_proof;
limit    patients=1/1h challenge per=all;
--- config eval: $::location
--- suppress_stderr
--- after
is(by('a', '/?patient=1'), '200 patients/1h/all=1');
is(by('b', '/?patient=2'), '403 patients/1h/all=1');
is(by('b', '/?patient=1'), '403 patients/1h/all=1', 'challenged');
is(by('a', '/?patient=1'), '200 patients/1h/all=1', 'the other one is not');
is(by('b', '/?patient=2', 'X-Proof' => time + 2), '200 patients/1h/all=2');
is(by('b', '/?patient=3'), '200 patients/1h/all=2', 'to twice the count');
is(by('c', '/?patient=3'), '403 patients/1h/all=2');
like(error_log(), qr/challenge by limit "patients\/1h\/all" of policy/);



=== TEST 12: a dry run opens no challenge by what many share
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge per=all;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_dry_run  on;
    patient_guard_patient  $arg_patient;
    add_header             X-Totals $patient_guard_totals always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(by('a', '/?patient=1'), '200 lookups/1h/all=1');
is(by('b', '/?patient=2'), '200 lookups/1h/all=1');
is(by('b', '/?patient=2'), '200 lookups/1h/all=1');



=== TEST 13: a limit by what is usual for the account
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    patients=100/1h deny baseline=1.5:4;
--- config eval: $::location
--- suppress_stderr
--- after

# ten an hour at most, on six days a week for four weeks
for my $day (grep { $_ % 7 } 0 .. 27) {
    at($day * $DAY, '/?patient=' . CORE::join ',', 1 .. 10 - $day % 3);
    at($day * $DAY + 7200, '/?patient=' . CORE::join ',', 1 .. 10);
}
is(at(30 * $DAY, '/?patient=' . CORE::join ',', 1 .. 100), '200 patients/1h=100',
   'what is learnt is not old enough yet');
$who = 'dupond';
for my $day (grep { $_ % 7 } 0 .. 27) {
    at($day * $DAY, '/?patient=' . CORE::join ',', 1 .. 10 - $day % 3);
    at($day * $DAY + 7200, '/?patient=' . CORE::join ',', 1 .. 10);
}
is(at(63 * $DAY, '/?patient=' . CORE::join ',', 1 .. 15), '200 patients/1h=15');
is(at(63 * $DAY + 1, '/?patient=16'), '403 patients/1h=15',
   'one and a half times as many as usual');
like(error_log(), qr/deny by limit "patients\/1h" of policy "$PG_POLICY", counted 15 of 15, account: /);
is(at(63 * $DAY + 2, '/?patient=3'), '200 patients/1h=15');
is(by('durand', '/?patient=' . CORE::join(',', 1 .. 90),
      'X-Time' => 1647000000 + 63 * $DAY), '200 patients/1h=90',
   'who has no habits has the whole count');
is(at(200 * $DAY, '/?patient=' . CORE::join ',', 1 .. 90), '200 patients/1h=90',
   'nor has who was away for long');



=== TEST 14: never under the floor
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    new_patients=100/1d deny baseline=1:4;
limit    lookups=3/1h deny baseline=10;
--- config eval: $::location
--- suppress_stderr
--- after

at($_ * $DAY, "/?patient=$_") for 0 .. 27;
is(at(63 * $DAY, '/?patient=x1'), '200 new_patients/1d=1,lookups/1h=1');
is(at(63 * $DAY + 1, '/?patient=x2'), '200 new_patients/1d=2,lookups/1h=2');
is(at(63 * $DAY + 2, '/?patient=x3'), '200 new_patients/1d=3,lookups/1h=3');
is(at(63 * $DAY + 3, '/?patient=x3'), '403 new_patients/1d=3,lookups/1h=3',
   'nor over the count');
is(at(63 * $DAY + 7200, '/?patient=x4'), '200 new_patients/1d=4,lookups/1h=1');
is(at(63 * $DAY + 7201, '/?patient=x5'), '403 new_patients/1d=4,lookups/1h=1');



=== TEST 15: a thief who works harder every day trains nothing in four weeks
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
limit    patients=1000/1h deny baseline=1.2;
--- config eval: $::location
--- suppress_stderr
--- after

at($_ * $DAY, '/?patient=' . CORE::join ',', 1 .. 10) for 0 .. 55;
my $most = 0;
for my $day (56 .. 84) {
    my $n = int(10 * 1.05 ** ($day - 55));
    at($day * $DAY, '/?patient=' . CORE::join ',', 1 .. $n);
    my ($total) = at($day * $DAY + 1, '/?patient=1') =~ /=(\d+)/;
    $most = $total if $total > $most;
}
is($most, 12, 'a fifth more than usual, whatever he tried');
