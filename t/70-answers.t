# what a refused client gets
use lib 't/lib';
use PatientGuard;

use MIME::Base64 ();

# an answer to the account "dupont", who has had what it may have
sub refused {
    my ($uri, %headers) = @_;

    return get($uri, 'X-Account' => 'dupont', %headers);
}

# the names of its header fields, but for those that nginx always sends
sub fields {
    my ($answer) = @_;

    return CORE::join ' ', grep { !/^(?:connection|date|server)$/ }
        sort keys %{ $answer->{headers} };
}

# how the client is challenged: status, and what tells the kinds apart
sub challenged {
    my $answer = refused('/', @_);

    return CORE::join ' ', $answer->{status},
        $answer->{headers}{location} ? 'redirect' : (),
        $answer->{headers}{'www-authenticate'} ? 'step_up' : (),
        $answer->{body} eq "prove it\n" ? 'page' : ();
}

our $types = 'https://iana.org/assignments/http-problem-types';
our $quota = qq({"type":"$types#quota-exceeded","title":"Request cannot be )
    . 'satisfied as assigned quota has been exceeded","status":429,'
    . '"violated-policies":["lookups/1h"]}';
our $abnormal = qq({"type":"$types#abnormal-usage-detected","title":"Request )
    . 'not satisfied due to detection of abnormal request pattern",'
    . '"status":%s,"violated-policies":["lookups/1h"]}';

run_tests();

__DATA__

=== TEST 1: throttled
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/');
is($answer->{status}, 429);
is(fields($answer), 'cache-control content-length content-type retry-after');
is($answer->{headers}{'content-type'}, 'application/problem+json');
is($answer->{headers}{'cache-control'}, 'no-store');
like($answer->{headers}{'retry-after'}, qr/^3[567]\d\d$/);
is($answer->{body}, $quota);
is($answer->{headers}{'content-length'}, length $quota);



=== TEST 2: denied
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/');
is($answer->{status}, 403);
is(fields($answer), 'cache-control content-length content-type');
is($answer->{headers}{'content-type'}, 'application/problem+json');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{body}, sprintf $abnormal, 403);



=== TEST 3: challenged, and nothing said of how
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/', Accept => 'text/html');
is($answer->{status}, 403);
is(fields($answer), 'cache-control content-length content-type');
is($answer->{body}, sprintf $abnormal, 403);



=== TEST 4: what is allowed is left alone
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $answer = refused('/');
is($answer->{status}, 200);
is(fields($answer), 'content-length content-type');
is($answer->{body}, "record of /\n");



=== TEST 5: HEAD gets the header alone
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/', method => 'HEAD');
is($answer->{status}, 403);
is($answer->{body}, '');
is($answer->{headers}{'content-length'}, length sprintf $abnormal, 403);
is($answer->{headers}{'content-type'}, 'application/problem+json');



=== TEST 6: a charset is for what is text
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    charset        utf-8;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
is(refused('/')->{headers}{'content-type'}, 'application/problem+json');



=== TEST 7: error_page with a page of one's own
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
error_page  403 /sorry.html;
patient_guard  $PG_POLICY;
location /Patient/ {
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html {
    add_header  X-Verdict $patient_guard_verdict always;
}
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/Patient/1')->{status}, 200);
for (1, 2) {
    my $answer = refused('/Patient/1');
    is($answer->{status}, 403);
    is($answer->{body}, "sorry\n");
    is($answer->{headers}{'content-type'}, 'text/html');
    is($answer->{headers}{'cache-control'}, 'no-store');
    is($answer->{headers}{'x-verdict'}, 'deny');
}
is(refused('/Patient/1', 'X-Account' => '')->{body}, "sorry\n",
   'whatever it is refused for');



=== TEST 8: error_page with a named location, and the wait is told
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
--- config
location / {
    error_page     429 @later;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location @later {
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/a')->{status}, 200);
my $answer = refused('/a');
is($answer->{status}, 429);
is($answer->{body}, "record of /a\n", 'of the named location');
like($answer->{headers}{'retry-after'}, qr/^3[567]\d\d$/);
is($answer->{headers}{'cache-control'}, 'no-store');



=== TEST 9: error_page with another status
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    error_page     403 =200 /sorry.html;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html { }
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/a')->{status}, 200);
my $answer = refused('/a');
is("$answer->{status} $answer->{body}", "200 sorry\n");
is($answer->{headers}{'cache-control'}, 'no-store', 'of all things this one');



=== TEST 10: error_page with the status of the page
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    error_page     403 = @gone;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location @gone {
    return 410 "gone\n";
}
--- after
is(refused('/a')->{status}, 200);
my $answer = refused('/a');
is("$answer->{status} $answer->{body}", "410 gone\n");
is($answer->{headers}{'cache-control'}, 'no-store');



=== TEST 11: error_page with a page elsewhere
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    error_page     403 https://portal.example/sorry;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/a')->{status}, 200);
my $answer = refused('/a');
is($answer->{status}, 302);
is($answer->{headers}{location}, 'https://portal.example/sorry');



=== TEST 12: error_page for another status does not matter
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
--- config
location / {
    error_page     403 500 /sorry.html;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/a')->{status}, 200);
my $answer = refused('/a');
is($answer->{status}, 429);
is($answer->{body}, $quota);



=== TEST 13: error_page that led here is not gone through again
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
error_page  403 404 /sorry.html;
location / {
    proxy_intercept_errors on;
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html {
    patient_guard  $PG_POLICY;
}
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/missing')->{status}, 404, 'counted where the guard stands');
my $answer = refused('/missing');
is($answer->{status}, 403);
is($answer->{body}, sprintf $abnormal, 403);



=== TEST 14: a redirect of a person's browser
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my @browser = (Accept => 'text/html');
is(refused('/?patient=1790775123456', @browser)->{status}, 200);
my @states = map {
    my $answer = refused('/?patient=1790775123456', @browser);
    is($answer->{status}, 302);
    is(fields($answer),
       'cache-control content-length content-type location');
    is($answer->{headers}{'cache-control'}, 'no-store');
    is($answer->{body}, sprintf $abnormal, 302);
    $answer->{headers}{location}
        =~ m{^https://sso\.example/step-up\?state=([\w-]+)$};
    $1;
} 1, 2;
isnt($states[0], $states[1], 'no two states are the same');
for my $state (@states) {
    my $bytes = MIME::Base64::decode_base64($state =~ tr{-_}{+/}r);
    ok(length $bytes > 60);
    unlike($state . $bytes, qr/1790775|dupont|patient/,
           'and none tells of anybody');
}



=== TEST 15: a redirect to a URL with arguments, with variables, on this server
--- http_config
patient_guard_policy $PG_POLICY_1 {
    account    $http_x_account trusted;
    limit      lookups=1/1h challenge;
    challenge  redirect "$scheme://sso.example/?from=$host";
    $PG_STORE_DIRECTIVES
}
patient_guard_policy $PG_POLICY_2 {
    account    $http_x_account trusted;
    limit      lookups=1/1h challenge;
    challenge  redirect /step-up;
    $PG_STORE_DIRECTIVES
}
--- config
location /1 {
    patient_guard  $PG_POLICY_1;
    proxy_pass     http://$PG_PORTAL;
}
location /2 {
    patient_guard  $PG_POLICY_2;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @browser = ('Sec-Fetch-Mode' => 'navigate');
is(refused($_, @browser)->{status}, 200) for qw(/1 /2);
like(refused('/1', @browser)->{headers}{location},
     qr{^http://sso\.example/\?from=localhost&state=[\w-]+$});
like(refused('/2', @browser)->{headers}{location},
     qr{^http://localhost(?::\d+)?/step-up\?state=[\w-]+$});



=== TEST 16: a URI too long to be returned to
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @browser = (Accept => 'text/html');
is(refused('/', @browser)->{status}, 200);
my %length = map {
    $_ => length refused('/' . 'x' x $_, @browser)->{headers}{location}
} 0, 1023, 1024;
ok($length{1023} > 1023, 'is held in the state');
is($length{1024}, $length{0}, 'is left out of it');
is(length refused('/' . 'x' x 9, @browser, method => 'POST')
       ->{headers}{location}, $length{0}, 'as is that of a POST');
is(length refused('//x.example/', @browser)->{headers}{location},
   $length{0}, 'and one that may be taken for another server');



=== TEST 17: a step up of an API client
--- http_config
patient_guard_policy $PG_POLICY_1 {
    account    $http_x_account trusted;
    limit      lookups=1/1h challenge;
    challenge  step_up "acr=eidas2 eidas3" max_age=300;
    $PG_STORE_DIRECTIVES
}
patient_guard_policy $PG_POLICY_2 {
    account    $http_x_account trusted;
    limit      lookups=1/1h challenge;
    challenge  step_up;
    $PG_STORE_DIRECTIVES
}
--- config
location /1 {
    patient_guard  $PG_POLICY_1;
    proxy_pass     http://$PG_PORTAL;
}
location /2 {
    patient_guard  $PG_POLICY_2;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $bearer = 'Bearer error="insufficient_user_authentication", '
    . 'error_description="Too many patients were looked up, prove that it '
    . 'is you"';
is(refused($_)->{status}, 200) for qw(/1 /2);
my $answer = refused('/1', Accept => 'application/fhir+json');
is($answer->{status}, 401);
is(fields($answer),
   'cache-control content-length content-type www-authenticate');
is($answer->{headers}{'www-authenticate'},
   qq($bearer, acr_values="eidas2 eidas3", max_age="300"));
is($answer->{headers}{'content-type'}, 'application/problem+json');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{body}, sprintf $abnormal, 401);
is(refused('/2')->{headers}{'www-authenticate'}, $bearer);



=== TEST 18: a page
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page /prove-it.html?from=$uri;
--- config
patient_guard  $PG_POLICY;
location /Patient/ {
    proxy_pass  http://$PG_PORTAL;
}
location = /prove-it.html {
    add_header  X-From $arg_from always;
    add_header  X-Method $request_method always;
}
--- user_files
>>> prove-it.html
prove it
--- after
my @browser = (Accept => 'text/html');
is(refused('/Patient/1', @browser)->{status}, 200);
for my $method (qw(GET HEAD POST)) {
    my $answer = refused('/Patient/1', @browser, method => $method);
    is($answer->{status}, 403, $method);
    is($answer->{body}, $method eq 'HEAD' ? '' : "prove it\n");
    is($answer->{headers}{'content-type'}, 'text/html');
    is($answer->{headers}{'cache-control'}, 'no-store');
    is($answer->{headers}{'x-from'}, '/Patient/1');
    is($answer->{headers}{'x-method'}, $method eq 'POST' ? 'GET' : $method);
}



=== TEST 19: a page of a named location
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page @prove_it;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location @prove_it {
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Page yes always;
}
--- after
my @browser = (Accept => 'text/html');
is(refused('/1', @browser)->{headers}{'x-page'}, undef);
my $answer = refused('/1', @browser);
is($answer->{status}, 403);
is($answer->{headers}{'x-page'}, 'yes');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{body}, "record of /1\n");



=== TEST 20: no page is sent to a client that does not take HTML
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page /prove-it.html;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- user_files
>>> prove-it.html
prove it
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/', Accept => 'application/json, */*');
is($answer->{status}, 403);
is($answer->{body}, sprintf $abnormal, 403);
is(fields($answer), 'cache-control content-length content-type');



=== TEST 21: a page that is missing withholds the record all the same
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page /prove-it.html;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /prove-it.html {
    log_not_found  off;
}
--- after
my @browser = (Accept => 'text/html');
is(refused('/', @browser)->{status}, 200);
is(refused('/', @browser)->{status}, 404);



=== TEST 22: a status
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge status 451;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/', Accept => 'text/html');
is($answer->{status}, 451);
is(fields($answer), 'cache-control content-length content-type');
is($answer->{body}, sprintf $abnormal, 451);



=== TEST 23: 444 is no answer at all
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge status 444;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
is(raw("GET / HTTP/1.1\r\nHost: a\r\nX-Account: dupont\r\n\r\n"), '');
ok(wait_for(sub { access_log() =~ m{"GET / HTTP/1\.1" 444 } }));



=== TEST 24: error_page for a challenge
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge step_up acr=eidas2;
--- config
location / {
    error_page     401 /sorry.html;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html { }
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/')->{status}, 200);
my $answer = refused('/');
is("$answer->{status} $answer->{body}", "401 sorry\n");
like($answer->{headers}{'www-authenticate'}, qr/acr_values="eidas2"/);
is($answer->{headers}{'cache-control'}, 'no-store');



=== TEST 25: the first that suits: redirect, or step up
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge redirect https://sso.example/step-up;
challenge step_up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(challenged(), '200');
my $firefox = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
my @bearer = (Authorization => 'Bearer abc');

is(challenged(), '401 step_up', 'says nothing of itself');
is(challenged('Sec-Fetch-Mode' => 'navigate'), '302 redirect');
is(challenged('sec-fetch-mode' => 'navigate'), '302 redirect');
is(challenged('Sec-Fetch-Mode' => 'cors'), '401 step_up', 'a script');
is(challenged('Sec-Fetch-Mode' => 'navigate-not'), '401 step_up');
is(challenged(Accept => $firefox), '302 redirect');
is(challenged(Accept => 'TEXT/HTML'), '302 redirect');
is(challenged(Accept => 'a/b , text/html ;q=0.1'), '302 redirect');
is(challenged(Accept => 'text/html;level=1;q=1'), '302 redirect');
is(challenged(Accept => '*/*'), '401 step_up', 'curl');
is(challenged(Accept => 'application/fhir+json'), '401 step_up');
is(challenged(Accept => 'text/html;q=0'), '401 step_up');
is(challenged(Accept => 'text/html; q=0.000, */*'), '401 step_up');
is(challenged(Accept => 'text/html;Q=0'), '401 step_up');
is(challenged(Accept => 'application/xhtml+xml'), '401 step_up');
is(challenged(Accept => 'a/b', accept => 'text/html'), '302 redirect',
   'in whichever of two fields');
is(challenged(@bearer), '401 step_up');
is(challenged(@bearer, Accept => $firefox), '302 redirect', 'is the first');



=== TEST 26: the first that suits: step up, or redirect
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge step_up;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(challenged(), '200');
my @html = (Accept => 'text/html');
is(challenged(), '401 step_up');
is(challenged(@html), '302 redirect', 'a browser does not know step_up');
is(challenged(@html, Authorization => 'Bearer abc'), '401 step_up');
is(challenged(@html, Authorization => 'dpop abc'), '401 step_up');



=== TEST 27: the first that suits: a browser that has no better gets step_up
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge step_up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(challenged(), '200');
is(challenged(Accept => 'text/html'), '401 step_up');



=== TEST 28: the first that suits: status suits all
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge step_up;
challenge status 451;
challenge page /prove-it.html;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- user_files
>>> prove-it.html
prove it
--- after
is(challenged(), '200');
is(challenged(), '401 step_up');
is(challenged(Accept => 'text/html'), '451');



=== TEST 29: the first that suits: page before redirect, the next one of a kind never
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page /prove-it.html;
challenge page /no-such.html;
challenge redirect https://sso.example/step-up;
challenge status 451;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /prove-it.html { }
--- user_files
>>> prove-it.html
prove it
--- after
is(challenged(), '200');
is(challenged(Accept => 'text/html'), '403 page');
is(challenged(), '451');



=== TEST 30: the body of a refused request is not the next one
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
lingering_timeout  100ms;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /free {
    proxy_pass  http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my @head = ("POST /refused HTTP/1.1", "Host: a", "X-Account: dupont");
my @next = ("GET /free HTTP/1.1", "Host: a", "Connection: close");
my $ask = sub {
    my ($body, @fields) = @_;
    return raw(CORE::join("\r\n", @head, @fields, '', '') . $body
               . CORE::join("\r\n", @next, '', ''));
};
my $statuses = sub { CORE::join ' ', $_[0] =~ m{HTTP/1\.1 (\d+) }g };
my $get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

for my $n (1, 100, 1000, 100_000) {
    my $answer = $ask->(substr($get x $n, 0, 10 * $n),
                        'Content-Length: ' . 10 * $n);
    is($statuses->($answer), '403 200', 10 * $n . ' bytes');
    like($answer, qr/record of \/free\n\z/, 'the next is answered');
}
my $answer = $ask->("5\r\nGET /\r\n0\r\n\r\n",
                    'Transfer-Encoding: chunked');
is($statuses->($answer), '403 200', 'chunks');
like($answer, qr/record of \/free\n\z/);

$answer = $ask->("0123456789", 'Content-Length: 10', 'Expect: 100-continue');
is($statuses->($answer), '403 200', 'a body that nobody asked for');
like($answer, qr/record of \/free\n\z/);

$answer = $ask->("no chunk\r\n", 'Transfer-Encoding: chunked');
is($statuses->($answer), 403, 'a body that has no end');



=== TEST 31: nor is it with an error_page
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    error_page     403 /sorry.html;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html { }
location = /free {
    proxy_pass  http://$PG_PORTAL;
}
--- user_files
>>> sorry.html
sorry
--- after
is(refused('/')->{status}, 200);
my @head = ("POST /refused HTTP/1.1", "Host: a", "X-Account: dupont");
my @next = ("GET /free HTTP/1.1", "Host: a", "Connection: close");
my $ask = sub {
    my ($body, @fields) = @_;
    return raw(CORE::join("\r\n", @head, @fields, '', '') . $body
               . CORE::join("\r\n", @next, '', ''));
};
my $statuses = sub { CORE::join ' ', $_[0] =~ m{HTTP/1\.1 (\d+) }g };
my $get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

for my $n (1, 100, 1000, 100_000) {
    my $answer = $ask->(substr($get x $n, 0, 10 * $n),
                        'Content-Length: ' . 10 * $n);
    is($statuses->($answer), '403 200', 10 * $n . ' bytes');
    like($answer, qr/record of \/free\n\z/, 'the next is answered');
}
my $answer = $ask->("5\r\nGET /\r\n0\r\n\r\n",
                    'Transfer-Encoding: chunked');
is($statuses->($answer), '403 200', 'chunks');
like($answer, qr/record of \/free\n\z/);

$answer = $ask->("0123456789", 'Content-Length: 10', 'Expect: 100-continue');
is($statuses->($answer), '403 200', 'a body that nobody asked for');
like($answer, qr/record of \/free\n\z/);



=== TEST 32: nor with a challenge of any kind
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge step_up;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /free {
    proxy_pass  http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
my @head = ("POST /refused HTTP/1.1", "Host: a", "X-Account: dupont");
my @next = ("GET /free HTTP/1.1", "Host: a", "Connection: close");
my $ask = sub {
    my ($body, @fields) = @_;
    return raw(CORE::join("\r\n", @head, @fields, '', '') . $body
               . CORE::join("\r\n", @next, '', ''));
};
my $statuses = sub { CORE::join ' ', $_[0] =~ m{HTTP/1\.1 (\d+) }g };
my $get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

for my $n (1, 100, 1000, 100_000) {
    my $answer = $ask->(substr($get x $n, 0, 10 * $n),
                        'Content-Length: ' . 10 * $n);
    is($statuses->($answer), '401 200', 10 * $n . ' bytes');
    like($answer, qr/record of \/free\n\z/, 'the next is answered');
}
my $answer = $ask->("5\r\nGET /\r\n0\r\n\r\n",
                    'Transfer-Encoding: chunked');
is($statuses->($answer), '401 200', 'chunks');
like($answer, qr/record of \/free\n\z/);

$answer = $ask->("0123456789", 'Content-Length: 10', 'Expect: 100-continue');
is($statuses->($answer), '401 200', 'a body that nobody asked for');
like($answer, qr/record of \/free\n\z/);



=== TEST 33: nor with a page
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
challenge page /prove-it.html;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /prove-it.html { }
location = /free {
    proxy_pass  http://$PG_PORTAL;
}
--- user_files
>>> prove-it.html
prove it
--- after
is(refused('/')->{status}, 200);
my @head = ("POST /refused HTTP/1.1", "Host: a", "X-Account: dupont",
            "Accept: text/html");
my @next = ("GET /free HTTP/1.1", "Host: a", "Connection: close");
my $ask = sub {
    my ($body, @fields) = @_;
    return raw(CORE::join("\r\n", @head, @fields, '', '') . $body
               . CORE::join("\r\n", @next, '', ''));
};
my $statuses = sub { CORE::join ' ', $_[0] =~ m{HTTP/1\.1 (\d+) }g };
my $get = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

for my $n (1, 100, 1000, 100_000) {
    my $answer = $ask->(substr($get x $n, 0, 10 * $n),
                        'Content-Length: ' . 10 * $n);
    is($statuses->($answer), '403 200', 10 * $n . ' bytes');
    like($answer, qr/record of \/free\n\z/, 'the next is answered');
}
my $answer = $ask->("5\r\nGET /\r\n0\r\n\r\n",
                    'Transfer-Encoding: chunked');
is($statuses->($answer), '403 200', 'chunks');
like($answer, qr/record of \/free\n\z/);

$answer = $ask->("0123456789", 'Content-Length: 10', 'Expect: 100-continue');
is($statuses->($answer), '403 200', 'a body that nobody asked for');
like($answer, qr/record of \/free\n\z/);



=== TEST 34: who is nobody, or asks for nobody, or for too many
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard            $PG_POLICY;
    patient_guard_patient    $http_x_patient;
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
--- after
my %answers = (
    403 => refused('/', 'X-Account' => '', 'X-Patient' => 1),
    '403 ' => refused('/', Accept => 'text/html'),
    400 => refused('/', 'X-Patient' => CORE::join ',', 1 .. 513),
);
for (sort keys %answers) {
    my $title = $_ == 403 ? 'Forbidden' : 'Bad Request';
    my $answer = $answers{$_};
    is($answer->{status}, $_ + 0);
    is(fields($answer), 'cache-control content-length content-type');
    is($answer->{headers}{'content-type'}, 'application/problem+json');
    is($answer->{headers}{'cache-control'}, 'no-store');
    is($answer->{body},
       qq({"type":"about:blank","title":"$title","status":) . ($_ + 0) . '}');
}
is(refused('/', 'X-Patient' => 1)->{status}, 200, 'none was charged');



=== TEST 35: Redis is away, and nobody is let through meanwhile
--- policy
account        $http_x_account trusted;
limit          lookups=1/1h challenge;
challenge      redirect https://sso.example/step-up;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  5s;
on_outage      deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location /page {
    error_page     503 /sorry.html;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /sorry.html { }
--- user_files
>>> sorry.html
sorry
--- after
for (1 .. 3) {
    my $answer = refused('/', Accept => 'text/html');
    is($answer->{status}, 503);
    is(fields($answer),
       'cache-control content-length content-type retry-after');
    is($answer->{headers}{'content-type'}, 'application/problem+json');
    is($answer->{headers}{'cache-control'}, 'no-store');
    is($answer->{headers}{'retry-after'}, 1);
    is($answer->{body}, qq({"type":"$::types#temporary-reduced-capacity",)
       . '"title":"Request cannot be satisfied due to temporary server '
       . 'capacity constraints","status":503}');
}
my $answer = refused('/page');
is("$answer->{status} $answer->{body}", "503 sorry\n");
is($answer->{headers}{'retry-after'}, 1);
is($answer->{headers}{'cache-control'}, 'no-store');



=== TEST 36: a limit with a name of its own is called by it
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny name=per-shift_1:a/b.c;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(refused('/')->{status}, 200);
is(refused('/')->{body},
   (sprintf $abnormal, 403) =~ s{lookups/1h}{per-shift_1:a/b.c}r);



=== TEST 37: a challenge that can't be passed any more is a denial
--- policy
account           $http_x_account trusted;
limit             lookups=1/1h challenge;
challenge         redirect https://sso.example/step-up;
challenge_grants  1/1h;
proof             $proof;
--- http_config
map $http_x_proof $proof { default $http_x_proof; }
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @browser = (Accept => 'text/html');
is(challenged(@browser), '200');
is(challenged(@browser), '302 redirect');
is(challenged(@browser, 'X-Proof' => time + 2), '200', 'passed');
my $answer = refused('/', @browser);
is($answer->{status}, 403);
is(fields($answer), 'cache-control content-length content-type');
is($answer->{body}, sprintf $abnormal, 403);
