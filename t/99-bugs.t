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



=== TEST 9: commas that were encoded hid patients behind one
--- policy
account  $http_x_account trusted;
limit    patients=5/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg__id;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- after
my $ask = sub {
    my $answer = get("/?_id=$_[0]", 'X-Account' => 'dupont');
    return "$answer->{status} $answer->{headers}{'x-count'}";
};
is($ask->('a%2Cb'), '200 2', 'as URLSearchParams writes it');
is($ask->('%2cb%2C%2C,c,a%2c'), '200 3', 'any case, and none between');
is($ask->('d%2'), '200 4', 'the start of one');
is($ask->('%2Ce%2'), '200 5', 'no comma at the end');
is($ask->('f%2Cg%2Ch'), '403 5');



=== TEST 10: expressions behind a patient overwrote the captures of the next
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- http_config
map $arg_id $other {
    "~^(.)(.*)"  "";
}
--- config
location ~ ^/record/(\w+)$ {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $other $1;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(join(' ', map { get("/record/$_?id=QQ", 'X-Account' => 'dupont')->{status} }
             qw(a b c d)),
   '200 200 200 403', 'four patients are four');



=== TEST 11: nor need such an expression match to do so
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- http_config
map $http_x_role $role {
    "~^(nobody)(x)"  x;
    default          r;
}
--- config
location ~ ^/record/(\w+)$ {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $role-$1;
    proxy_pass             http://$PG_PORTAL;
}
location ~ ^/asked/(\w+)$ {
    patient_guard          $PG_POLICY;
    patient_guard_patient  p$1;
    proxy_pass             http://$PG_PORTAL/asked/$role/$1;
}
--- after
my @doctor = ('X-Role' => 'doctor', 'X-Account');
is(join(' ', map { get("/record/$_", @doctor, 'dupont')->{status} } qw(a b c d e f)),
   '200 200 200 403 403 403', 'six patients are six');
is(get('/asked/abc', @doctor, 'durand')->{body},
   "record of /asked/r/abc\n", 'and the portal is asked for whom they are');



=== TEST 12: and expressions behind any value those that the portal is asked by
--- policy
account  $login;
limit    lookups=$quota/1h default=10 deny;
proof    $proof;
exempt   $exempt;
--- http_config
map $http_x_account $login  { "~^(\w)(\w+)"  "$1$2"; }
map $http_x_account $quota  { "~^(d)(u)"     "5"; }
map $http_x_account $proof  { "~^(du)(p)"    "0"; }
map $http_x_account $exempt { "~^(dup)(o)"   "0"; }
--- config
location ~ ^/record/(\w+)$ {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $1;
    proxy_pass             http://$PG_PORTAL/asked/$1;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /record/a", "GET /record/b"]
--- response_body eval
["record of /asked/a\n", "record of /asked/b\n"]



=== TEST 13: control characters beyond ASCII made accounts of their own
--- policy
account  $http_x_account trusted;
limit    lookups=10/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $status = sub { get('/', 'X-Account' => $_[0])->{status} };
is($status->("dupont\xc2\x80"), 403, 'U+0080 is one');
is($status->("du\xc2\x9fpont"), 403, 'U+009F is the last');
is($status->("dupont\xc2\xa9"), 200, 'U+00A9 is none');
is($status->("dupont\xc3\x80"), 200, 'nor is U+00C0');
is($status->("dupont\xc2"), 200, 'nor half of one');



=== TEST 14: an exempt lookup was refused while Redis was away
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE;
on_outage      deny;
limit          lookups=1/1h deny;
exempt         $exempt;
--- http_config
map $http_x_exempt $exempt { default $http_x_exempt; }
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Verdict $patient_guard_verdict always;
}
--- after
my $ask = sub {
    my $answer = get('/', 'X-Account' => 'dupont', 'X-Exempt' => $_[0]);
    return "$answer->{status} $answer->{headers}{'x-verdict'}";
};
is($ask->(0), '503 deny');
is($ask->(1), '200 allow');



=== TEST 15: what was held was told by a limit that only logs
--- policy
account         $http_x_account trusted;
limit           patients=1/10s throttle;
limit           lookups=1/1h log;
throttle_delay  60s;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header X-Guard "$patient_guard_verdict $patient_guard_limit" always;
}
--- after
is(get("/?patient=$_", 'X-Account' => 'dupont')->{status}, 200) for 1;
local $ENV{PG_SLOW} = 3 * ($ENV{PG_SLOW} // 1);
my $held = get('/?patient=2', 'X-Account' => 'dupont');
is($held->{status}, 200);
is($held->{headers}{'x-guard'}, 'throttle patients/10s');
like(error_log(), qr{allow after a delay by limit "patients/10s"});



=== TEST 16: a refusal behind X-Accel-Redirect bore the record's header
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- http_config
server {
    listen unix:$PG_TMP/$PG_POLICY.accel;
    location / {
        add_header  X-Accel-Redirect     /record;
        add_header  Content-Disposition  'attachment; filename="dupont-hiv.pdf"';
        add_header  Content-Language     fr;
        add_header  Cache-Control        'public, max-age=3600';
        add_header  Expires              'Thu, 31 Dec 2037 23:55:55 GMT';
        add_header  Set-Cookie           session=1;
        return      200 '';
    }
}
--- config
location / {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.accel:/;
}
location = /record {
    internal;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @answers = map { raw("GET / HTTP/1.1\r\nHost: a\r\nX-Account: dupont\r\n"
                        . "Connection: close\r\n\r\n") } 1, 2;
like($answers[0], qr{^HTTP/1\.1 200 .*^Content-Disposition: .*^record of}ms,
     'with the record');
like($answers[1], qr{^HTTP/1\.1 403 .*^Set-Cookie: }ms);
is(join(' ', sort map { lc } $answers[1] =~ /^([\w-]+): /mg),
   'cache-control connection content-length content-type date server'
   . ' set-cookie', 'not with the refusal');
like($answers[1], qr{^Cache-Control: no-store\r$}m);



=== TEST 17: a page that reads the body waited for one that nobody asked for
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
challenge  page /prove;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /prove {
    proxy_pass  http://$PG_PORTAL;
}
--- after
my @head = ("POST / HTTP/1.1", "Host: a", "X-Account: dupont",
            "Accept: text/html", "Connection: close");
is(get('/', 'X-Account' => 'dupont')->{status}, 200);
my $answer = raw(join "\r\n", @head, 'Content-Length: 10',
                 'Expect: 100-continue', '', '');
like($answer, qr{^HTTP/1\.1 403 .*"status":403}s, 'answered at once');
$answer = raw(join "\r\n", @head, 'Content-Length: 10', '', '0123456789');
like($answer, qr{^HTTP/1\.1 403 .*record of /prove}s, 'others see the page');



=== TEST 18: a dry run logged a refusal that was none, and not of what
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
location / {
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
location /dry {
    patient_guard_unmatched  deny;
    patient_guard_dry_run    on;
    proxy_pass               http://$PG_PORTAL;
}
--- after
my @dupont = ('X-Account' => 'dupont');
is(get('/?patient=1')->{status}, 403);
is(get('/', @dupont)->{status}, 403);
is(get('/dry?patient=1')->{status}, 200);
is(get('/dry', @dupont)->{status}, 200);
is_deeply([error_log() =~ /patient guard: (deny.*) by .*: (.*), client/g],
          ['deny', 'no account is given', 'deny', 'no patient is named',
           'deny (dry run)', 'no account is given',
           'deny (dry run)', 'no patient is named']);



=== TEST 19: a proof in milliseconds is none, nor one of the future
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
proof    $proof;
--- http_config
map $http_x_proof $proof { default $http_x_proof; }
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $ask = sub { get('/', 'X-Account' => 'dupont',
                    'X-Proof' => $_[0])->{status} };
is(join(' ', map { $ask->('') } 1, 2), '200 403', 'challenged');
my $now = CORE::int(Time::HiRes::time()) + 2;
is($ask->("${now}000"), 403, 'in milliseconds');
is($ask->("${now}000.5"), 403, 'and a part of one');
is($ask->($now + 400), 403, 'too far ahead');
is($ask->("$now.1234567x"), 403, 'no number');
is($ask->("$now.123456789"), 200, 'nanoseconds are a number');
is($ask->("$now.123456789"), 403, 'and good for one challenge');



=== TEST 20: a count out of a variable was cut below its own default
--- policy
account  $http_x_account trusted;
zone     64k;
limit    patients=$quota/1h default=400 deny;
limit    patients=$other/1d default=1 name=two log;
--- http_config
map $http_x_quota $quota { default $http_x_quota; }
map $http_x_other $other { default $http_x_other; }
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header  X-Allowance $patient_guard_allowance always;
}
--- after
my $many = '/?patient=' . CORE::join ',', 1 .. 400;
my $answer = get($many, 'X-Account' => 'dupont');
is($answer->{status}, 200, 'as many as the default');
$answer = get('/?patient=401', 'X-Account' => 'dupont');
is($answer->{status}, 403, 'and no more');
is($answer->{headers}{'x-allowance'}, 400);
$answer = get("$many,401", 'X-Account' => 'durand', 'X-Quota' => 1_000_000);
is($answer->{status}, 403, 'nor where the variable has more than fits');
is($answer->{headers}{'x-allowance'}, 400);



=== TEST 21: a page of a challenge had the type of the record
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
challenge  page /prove.html;
--- http_config
server {
    listen unix:$PG_TMP/$PG_POLICY.accel;
    location / {
        default_type  application/pdf;
        add_header    X-Accel-Redirect  /record;
        return        200 '';
    }
}
--- config
location / {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.accel:/;
}
location = /record {
    internal;
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location = /prove.html {
    types { text/html html; }
}
--- user_files
>>> prove.html
prove it
--- after
my @answers = map { get('/', 'X-Account' => 'dupont', Accept => 'text/html') }
              1, 2;
is($answers[0]{status}, 200);
is($answers[1]{status}, 403);
is($answers[1]{body}, "prove it\n");
is($answers[1]{headers}{'content-type'}, 'text/html');



=== TEST 22: a page of a challenge that fails led to an error_page, and past the guard
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
challenge  page @prove;
--- config
error_page  500 502 504 = @other;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location @prove {
    proxy_pass  http://unix:$PG_TMP/no-such-socket:;
}
location @other {
    proxy_pass  http://$PG_PORTAL;
}
--- after
my @answers = map { get('/', 'X-Account' => 'dupont', Accept => 'text/html') }
              1, 2;
is($answers[0]{body}, "record of /\n");
is($answers[1]{status}, 502);
unlike($answers[1]{body}, qr/record/);
