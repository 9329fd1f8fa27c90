# What was wrong once: a block for each.

use lib 't/lib';
use PatientGuard;

run_tests();

__DATA__

=== TEST 1: let through uncounted, then redirected to where it is a lookup
--- policy
account          $portal_account $http_x_account trusted;
account_missing  allow;
limit            lookups=1/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
set                    $portal_account '';

location /ignored {
    patient_guard_unmatched  ignore;
    try_files                /none /portal?patient=1;
}
location /ignored-named {
    patient_guard_unmatched  ignore;
    try_files                /none @portal;
}
location /no-account {
    try_files  /none @session;
}
location /portal {
    proxy_pass  http://$PG_PORTAL;
}
location @portal {
    proxy_pass  http://$PG_PORTAL;
}
location @session {
    set         $portal_account dupont;
    proxy_pass  http://$PG_PORTAL;
}
--- after
for my $uri (qw(/ignored /ignored-named)) {
    is(join(' ', map { get($uri, 'X-Account' => $uri)->{status} } 1 .. 2),
       '200 403', $uri);
}
is(join(' ', map { get('/no-account')->{status} } 1 .. 2), '200 403',
   'no account at first');



=== TEST 2: a refusal behind an error_page bore the status that led there
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
error_page  404 /sorry;
location / {
    proxy_intercept_errors  on;
    proxy_pass              http://$PG_PORTAL;
}
location = /sorry {
    patient_guard  $PG_POLICY;
}
--- user_files
>>> sorry
sorry
--- after
my @by = ('X-Account' => 'dupont');
is(get('/missing', @by)->{status}, 404);
my $answer = get('/missing', @by);
is($answer->{status}, 403);
like($answer->{body}, qr/"status":403,/);



=== TEST 3: a client was asked for the body of a request that was refused
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @by = ('X-Account' => 'dupont');
is(get('/', @by)->{status}, 200);
like(raw("POST / HTTP/1.1\r\nHost: a\r\nX-Account: dupont\r\n"
         . "Content-Length: 1\r\nExpect: 100-continue\r\n"
         . "Connection: close\r\n\r\nx"),
     qr{^HTTP/1\.1 403 }, 'not 100');



=== TEST 4: a body that could not be discarded was answered instead of refused
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
lingering_close  off;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @by = ('X-Account' => 'dupont');
is(get('/', @by)->{status}, 200);
like(raw("POST / HTTP/1.1\r\nHost: a\r\nX-Account: dupont\r\n"
         . "Transfer-Encoding: chunked\r\n\r\nno chunk\r\n"),
     qr{^HTTP/1\.1 403 }, 'not 400');



=== TEST 5: a browser with a password was taken for one with a token
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
challenge  step_up;
challenge  redirect https://sso.example/step-up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @by = ('X-Account' => 'dupont', Authorization => 'Basic ZHVwb250Og==');
is(get('/', @by)->{status}, 200);
is(get('/', @by, Accept => 'text/html')->{status}, 302);
is(get('/', @by)->{status}, 401);



=== TEST 6: a fragment of a page was taken for a page
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
challenge  step_up;
challenge  redirect https://sso.example/step-up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @by = ('X-Account' => 'dupont');
is(get('/', @by)->{status}, 200);
is(get('/', @by, Accept => 'text/html+fragment')->{status}, 401);
is(get('/', @by, Accept => 'text/html+fragment, text/html')->{status}, 302);
is(get('/', @by, Accept => 'text/html-part;q=1, text/html;q=0')->{status},
   401);



=== TEST 7: an empty method was one that no request has: nothing was counted
--- config
patient_guard_methods  "";
--- suppress_stderr
--- must_die
--- error_log
[emerg]
invalid value "" of "patient_guard_methods"



=== TEST 8: a lookup of many patients made a small zone forget everybody
--- policy
account  $http_x_account trusted;
zone     32k;
limit    patients=10/1h deny;
limit    patients=11/2h deny;
limit    patients=12/3h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- after
my $many = '/?patient=' . CORE::join ',', 1 .. 512;
is(get('/?patient=1', 'X-Account' => 'durand')->{headers}{'x-count'}, 1);
is(get($many, 'X-Account' => 'dupont')->{status}, 403);
is(get($many, 'X-Account' => 'durand')->{status}, 403);
is(get('/?patient=2', 'X-Account' => 'durand')->{headers}{'x-count'}, 2);
