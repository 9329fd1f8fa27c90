# proof ... session: who passed a challenge has proved that session only
use lib 't/lib';
use PatientGuard;
use Totals;

my $T = 1_647_000_000;

# at(second, patient, proof or undef, headers): what became of it
sub at {
    my ($when, $patient, $proof, %headers) = @_;

    return totals('a', "/?patient=$patient", 'X-Time' => $T + $when,
                  defined $proof ? ('X-Proof' => $T + $proof) : (), %headers);
}

# a challenge, by a proof of the fifth second
sub passed {
    main::is(at(0, 1, -100), '200 patients/1d=1');
    main::is(at(1, 2, -100), '403 patients/1d=1', 'challenged');
    main::is(at(9, 2, 5), '200 patients/1d=1', 'passed');
}

our $location = $Totals::location;
our $policy = <<'END';
account  $http_x_account trusted;
clock    $http_x_time;
proof    $http_x_proof session;
limit    patients=1/1d challenge;
END

run_tests();

__DATA__

=== TEST 1: each session proves itself, and one pass makes room for all
--- policy eval: $::policy
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, 1, -100), '200 patients/1d=1');
is(at(1, 2, -100), '403 patients/1d=1', 'challenged');
is(at(2, 1, -200), '403 patients/1d=1', 'and so is another session');
is(at(9, 2, 5), '200 patients/1d=1', 'one has proved itself');
is(at(10, 2, 5), '200 patients/1d=1', 'and goes on');
is(at(11, 2, -200), '403 patients/1d=1', 'not so the other one');
is(at(11, 2, 1), '403 patients/1d=1', 'nor one that did so before');
is(at(11, 2), '403 patients/1d=1', 'nor one that says nothing');
is(at(12, 2, 3), '200 patients/1d=1', 'whoever does is free');



=== TEST 2: that takes no grant, is no denial, and opens no allowance
--- policy eval
$::policy . "challenge_grants 1/10d;\nlimit patients=50/7d deny;\n";
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Totals "$patient_guard_verdict $patient_guard_limit $patient_guard_count $patient_guard_retry_after" always;
}
--- suppress_stderr
--- after
is(at(0, 1, -100), '200 allow patients/1d 1 ');
is(at(1, 2, -100), '403 challenge patients/1d 1 ');
is(at(9, 2, 5), '200 allow patients/1d 1 ');
is(at(11, 2, -200), '403 challenge patients/1d 1 ', 'not denied, though no grant is left');
is(at(12, 2, 7), '200 allow patients/1d 1 ', 'a second session proves itself');
is(at(13, 2, 8), '200 allow patients/1d 1 ', 'and a third one');
like(at(14, 3, 8), qr/^403 deny patients\/1d 1 \d+$/, 'all of them have one allowance');



=== TEST 3: for as long as grants are held, and no longer
--- policy eval: $::policy . "challenge_grants 3/1h;\n"
--- config eval: $::location
--- suppress_stderr
--- after
passed();
is(at(3600, 2, -100), '403 patients/1d=1', 'nearly an hour later');
is(at(3720, 2, -100), '200 patients/1d=1', 'later than a window and a 32nd');



=== TEST 4: a later challenge asks all of them again
--- policy eval: $::policy
--- config eval: $::location
--- suppress_stderr
--- after
passed();
is(at(12, 2, 7), '200 patients/1d=1', 'two of them');
is(at(20, 3, 7), '403 patients/1d=1', 'challenged anew');
is(at(21, 2, 5), '403 patients/1d=1');
is(at(30, 3, 25), '200 patients/1d=1', 'one passes');
is(at(31, 3, 7), '403 patients/1d=1', 'the other one has not');
is(at(32, 3, 26), '200 patients/1d=1');



=== TEST 5: nobody is asked for what the account has not been asked
--- policy eval: $::policy
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, 1), '200 patients/1d=1');
is(at(1, 1, -100), '200 patients/1d=1');
is(at(2, 1, 1), '200 patients/1d=1');
is(totals('b', '/?patient=1', 'X-Time' => 1_647_000_000), '200 patients/1d=1');



=== TEST 6: a refused session neither counts nor challenges
--- policy eval: $::policy . "limit lookups=4/1d deny;\n"
--- config eval: $::location
--- suppress_stderr
--- after
is(at(0, 1, -100), '200 patients/1d=1,lookups/1d=1');
is(at(1, 2, -100), '403 patients/1d=1,lookups/1d=1');
is(at(9, 2, 5), '200 patients/1d=1,lookups/1d=2');
is(at(10 + $_, 3, -100), '403 patients/1d=1,lookups/1d=2', 'the robot') for 1 .. 5;
is(at(20, 2, 5), '200 patients/1d=1,lookups/1d=3', 'the owner is not troubled by it');



=== TEST 7: exempt ones are counted, in dry run all of them
--- policy eval: $::policy . "exempt \$http_x_exempt;\n"
--- config eval
$::location . $::location =~ s{location /}{location /dry/}r
                          =~ s/proxy_pass/patient_guard_dry_run on;\n    proxy_pass/r;
--- suppress_stderr
--- after
passed();
is(at(10, 3, -100, 'X-Exempt' => 1), '200 patients/1d=2', 'exempt');
is(totals('a', '/dry/?patient=2', 'X-Time' => 1_647_000_011), '200 patients/1d=2', 'in dry run');
like(error_log(), qr/challenge \(dry run\) by limit "patients\/1d"/, 'but told');



=== TEST 8: without "session" one proof is good for the account
--- policy eval: $::policy =~ s/ session//r
--- config eval: $::location
--- suppress_stderr
--- after
passed();
is(at(10, 2, -100), '200 patients/1d=1');
is(at(10, 2), '200 patients/1d=1');



=== TEST 9: reloads keep it, a limit that is gone as well
--- policy eval: $::policy
--- config eval: $::location
--- suppress_stderr
--- after
passed();
my $conf = main::server_root() . '/conf/nginx.conf';
my $text = PatientGuard::slurp($conf) =~ s/patients=1\/1d challenge/patients=9\/1h challenge/r;
open my $file, '>', $conf or die "$conf: $!\n";
print $file $text;
close $file;
ok(reload(), 'another limit instead');
is(at(10, 2, -100), '403 patients/1h=0');
is(at(11, 2, 4), '200 patients/1h=1');



=== TEST 10: not excused by the grant of another session
--- policy
account  $http_x_account trusted;
clock    $http_x_time;
proof    $http_x_proof session;
challenge_grants 3/1h;
limit    patients=1/1d challenge;
limit    lookups=6/1d challenge per=$http_x_site;
--- config eval: $::location
--- suppress_stderr
--- after
my $T = 1_647_000_000;
my $at = sub { my ($w, $p, $pr, $acc) = @_; totals($acc // 'a', "/?patient=$p", 'X-Time' => $T + $w, 'X-Proof' => $T + $pr, 'X-Site' => 's') };
$at->(0, 1, -100); $at->(1, 2, -100);
like($at->(9, 2, 5), qr/^200/, 'passed');
$at->(10, 2, 5) for 1 .. 9;
like($at->(20, 2, 5), qr/^200 .*=1\d$/, 'excused of what all share');
like($at->(3000, 2, -100), qr/^403/, 'the old session is not');
like($at->(3650, 2, -100), qr/^403/, 'nor by the grant that another session took');
