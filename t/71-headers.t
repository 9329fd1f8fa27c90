# how the account stands, in the response: patient_guard_headers
use lib 't/lib';
use PatientGuard;

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    patient_guard_headers  on;
    proxy_pass             http://$PG_PORTAL;
}
END

# status, RateLimit-Policy and RateLimit of an answer to "dupont"
sub told {
    my ($uri, %headers) = @_;

    my $answer = get($uri, 'X-Account' => 'dupont', %headers);
    my ($policy, $room) = @{$answer->{headers}}{qw(ratelimit-policy ratelimit)};
    return CORE::join ' | ', $answer->{status}, $policy // '-',
        ($room // '-') =~ s/;t=\K\d+/T/gr;
}

run_tests();

__DATA__

=== TEST 1: allowed, and denied
--- policy
account  $http_x_account trusted;
limit    lookups=9/1d deny;
limit    patients=2/1h deny name=few;
--- config eval: $::config
--- after
my $policy = '"lookups/1d";q=9;w=86400, "few";q=2;w=3600';
is(told('/?patient=1'), qq{200 | $policy | "lookups/1d";r=8, "few";r=1});
is(told('/?patient=2'), qq{200 | $policy | "lookups/1d";r=7, "few";r=0});
is(told('/?patient=3'), qq{403 | $policy | "lookups/1d";r=7, "few";r=0;t=T},
   'what does not fit, and when it will');
is(told('/?patient=1'), qq{200 | $policy | "lookups/1d";r=6, "few";r=0},
   'who is counted stays readable');



=== TEST 2: the time is that of Retry-After
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
--- config eval: $::config
--- after
get('/?patient=1', 'X-Account' => 'dupont');
my $answer = get('/?patient=2', 'X-Account' => 'dupont');
is($answer->{status}, 429);
is($answer->{headers}{ratelimit},
   qq{"lookups/1h";r=0;t=$answer->{headers}{'retry-after'}});



=== TEST 3: not of limits that only log, nor of what others share
--- policy
account  $http_x_account trusted;
limit    lookups=9/1d log;
limit    patients=9/1h deny per=all;
limit    lookups=5/1h deny;
--- config eval: $::config
--- after
is(told('/?patient=1'), '200 | "lookups/1h";q=5;w=3600 | "lookups/1h";r=4');



=== TEST 4: nothing where no limit would be told
--- policy
account  $http_x_account trusted;
limit    lookups=9/1d log;
--- config eval: $::config
--- after
is(told('/?patient=1'), '200 | - | -');



=== TEST 5: a dry run refuses nothing, nor does who is exempt hear of it
--- policy
account  $http_x_account trusted;
limit    lookups=9/1d deny;
exempt   $arg_exempt;
--- config eval
($::config =~ s{location /}{location /dry}r
           =~ s/(?=proxy_pass)/patient_guard_dry_run on;\n/r) . $::config
--- after
is(told('/dry?patient=1'), '200 | - | -', 'dry run');
is(told('/?patient=1&exempt=1'), '200 | - | -', 'exempt');
is(told('/?patient=1'), '200 | "lookups/1d";q=9;w=86400 | "lookups/1d";r=6');



=== TEST 6: inherited, and turned off
--- policy
account  $http_x_account trusted;
limit    lookups=9/1d deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
patient_guard_headers  on;
location / {
    proxy_pass             http://$PG_PORTAL;
}
location /off {
    patient_guard_headers  off;
    proxy_pass             http://$PG_PORTAL;
}
location /unguarded {
    patient_guard          off;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(told('/?patient=1'), '200 | "lookups/1d";q=9;w=86400 | "lookups/1d";r=8');
is(told('/off?patient=1'), '200 | - | -');
is(told('/unguarded?patient=1'), '200 | - | -');



=== TEST 7: an error page, a redirect within, a challenge
--- policy
account  $http_x_account trusted;
limit    lookups=2/1d challenge;
--- config
location /record {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    patient_guard_headers  on;
    error_page             403 @page;
    proxy_pass             http://$PG_PORTAL;
}
location @page {
    return 403 page;
}
--- after
is(told('/record?patient=1'),
   '200 | "lookups/1d";q=2;w=86400 | "lookups/1d";r=1');
told('/record?patient=2');
is(told('/record?patient=3'),
   '403 | "lookups/1d";q=2;w=86400 | "lookups/1d";r=0;t=T', 'once, on a page');



=== TEST 8: what the response told, at a gate
--- policy
account  $http_x_account trusted;
limit    patients=3/1d deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_patient;
    patient_guard_response_match  'id=(?<patient>\d+)';
    patient_guard_response_gate   on;
    patient_guard_headers         on;
    proxy_pass                    http://$PG_PORTAL;
}
--- after
is(told('/?patient=1&answer=id=2,id=3'),
   '200 | "patients/1d";q=3;w=86400 | "patients/1d";r=0');
is(told('/?patient=1&answer=id=2,id=4'),
   '403 | "patients/1d";q=3;w=86400 | "patients/1d";r=0;t=T');
