# What a response discloses is counted as it leaves: each of its patients
# once, and none whom the request has named.

use lib 't/lib';
use PatientGuard;
use Pages;

use Http2;

our $FORBIDDEN = "deny by limit";

run_tests();

__DATA__

=== TEST 1: each patient of a page, as patients and as lookups
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
--- after
is(pages('dupont', '/page/1/2/3')->{body}, 'patients: /page/1/2/3/', 'a page');
has_counted('dupont', 3, 'three patients');

pages('dupont', '/page/1/2/3');
has_counted('dupont', [3, 6], 'read again: no more patients');

pages('dupont', '/page/4/4/4/1');
has_counted('dupont', [4, 8], 'who is there twice is counted once');

has_counted('martin', 0, 'nobody else has counted any');



=== TEST 2: whom the request names is not counted again
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
--- after
pages('dupont', '/page/1?id=1');
has_counted('dupont', 1, 'the same');

pages('dupont', '/page/2/3/1?id=2');
has_counted('dupont', [3, 4], 'and two others');

pages('dupont', '/page/x?id=5,6,7');
has_counted('dupont', [6, 7], 'three who are not in it');



=== TEST 3: a request that names nobody, and finds nobody
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
location /ignored/ {
    patient_guard                 $PG_POLICY;
    patient_guard_unmatched       ignore;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/page/;
}
location /denied/ {
    patient_guard                 $PG_POLICY;
    patient_guard_unmatched       deny;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/page/;
}
--- after
pages('dupont', '/page/none');
has_counted('dupont', 1, 'is counted under its URI');

pages('dupont', '/page/none');
has_counted('dupont', [1, 2], 'once');

pages('dupont', '/ignored/none');
has_counted('dupont', [1, 2], 'unless that is to be ignored');

pages('dupont', '/ignored/8/9');
has_counted('dupont', [3, 4], 'but whom it discloses is counted');

is(pages('dupont', '/denied/8')->{status}, 403, 'or it is to be denied');



=== TEST 4: a page that goes over is sent, and is the last one
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
--- after
is(pages('dupont', '/page/1/2')->{status}, 200, 'two');
is(pages('dupont', '/page/3/4/5/6')->{body}, 'patients: /page/3/4/5/6/',
   'four more have left');
is(pages('dupont', '/page/7')->{status}, 403, 'no page after that');
is(pages('dupont', '/x?id=7')->{status}, 403, 'and no other patient');
is(pages('dupont', '/x?id=6')->{status}, 404, 'but who is counted stays so');
like(error_log(),
     qr/\[warn\] .*: over with a response by limit "patients\/1h" of policy "$PatientGuard::policy", counted 6 of 3, account: [0-9a-f]{32}, client: 127\.0\.0\.1$/m,
     'which is said');
unlike(error_log(), qr{over with a response.*page}, 'without the URI');



=== TEST 5: a page that goes over a limit that challenges
--- policy
account  $http_x_account trusted;
limit    patients=3/1h challenge;
proof    $http_x_proof;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Verdict $patient_guard_verdict always;
}
--- after
pages('dupont', '/page/1/2/3/4');
my $answer = pages('dupont', '/x?id=1');
is("$answer->{status} $answer->{headers}{'x-verdict'}", '403 challenge',
   'challenged at once');
is(pages('dupont', '/x?id=1', 'X-Proof' => time + 2)->{status}, 404, 'passed');



=== TEST 6: dry run: counted, and sent
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_dry_run         on;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_dry_run         on;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES/page/;
    access_log                    logs/guard.log guard;
}
--- http_config
log_format guard '$patient_guard_verdict $patient_guard_limit $patient_guard_count $status';
--- after
is(pages('dupont', '/page/1/2/3')->{status}, 200);
is(pages('martin', '/gated/1/2/3')->{status}, 200, 'as with a gate');
ok(wait_for(sub {
    PatientGuard::slurp(server_root() . '/logs/guard.log')
        eq "deny patients/1h 3 200\n" }), 'and what it would have been is said')
    or diag(PatientGuard::slurp(server_root() . '/logs/guard.log'));
like(error_log(), qr/over with a response \(dry run\) by limit/);



=== TEST 7: who is exempt is counted
--- policy
account  $http_x_account trusted;
exempt   $http_x_exempt;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- after
is(pages('dupont', '/page/1/2/3?p=2', 'X-Exempt' => 1)->{status}, 200);
has_counted('dupont', 3, 'three, where two would be too many');
unlike(error_log(), qr/patient guard: /, 'and nothing is said');



=== TEST 8: how many records it says it has
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_records         $upstream_http_x_records;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Counted $patient_guard_count;
}
--- after
my $answer = pages('dupont', '/told/?n=5');
is($answer->{headers}{'x-counted'}, 5, 'counted with the header');
has_counted('dupont', 5, 'five');

pages('dupont', '/told/?n=5');
has_counted('dupont', [5, 10], 'the same page: the same patients');

pages('dupont', '/told/x?n=5');
has_counted('dupont', [10, 15], 'another page: others');

pages('dupont', '/told/x?n=7&id=1,2,3');
has_counted('dupont', [17, 22], 'three of them are named by the request');

pages('dupont', '/told/y?n=1&id=1,2,3');
has_counted('dupont', [17, 25], 'it says fewer than were asked for');

pages('dupont', '/told/y?n=0');
pages('dupont', '/told/y?n=');
has_counted('dupont', [19, 27], 'none, or nothing: counted under its URI');



=== TEST 9: what is said of records is no number
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $arg_r;
    proxy_pass                    http://$PG_PAGES;
}
--- after
pages('dupont', '/page/?r=many');
has_counted('dupont', 1, 'as if nothing were');
pages('dupont', '/page/?r=2,3,,4');
has_counted('dupont', 10, 'several fields of the name count together');
pages('dupont', '/page/?r=99999999999999999999');
has_counted('dupont', [11, 11], 'beyond what a number is');
pages('dupont', '/page/?r=-1');
has_counted('dupont', [12, 12], 'below');
like(error_log(), qr/"patient_guard_records" is no number in a response of/);
--- error_log eval
qr/start worker|\[error\]/



=== TEST 10: a great many records
--- policy
account  $http_x_account trusted;
limit    patients=700/1h deny name=p;
limit    lookups=4000000000/1h deny name=l;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $arg_n;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Counted "$patient_guard_limit $patient_guard_count" always;
}
--- after
my $answer = pages('dupont', '/page/?n=5000000000');
is($answer->{headers}{'x-counted'}, 'p 1400', 'as many as a set may have');
is(pages('dupont', '/page/?n=1')->{status}, 403, 'too many');



=== TEST 11: records that are found, and those that are said beside them
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_records         $upstream_http_x_records;
    proxy_pass                    http://$PG_PAGES;
}
--- after
pages('dupont', '/told/1/2/3?n=5');
has_counted('dupont', 5, 'three are found, two are not');
pages('dupont', '/told/1/2/3?n=2');
has_counted('dupont', [5, 8], 'three are found where two are said');
pages('dupont', '/told/1/2/3?n=5&id=9');
has_counted('dupont', [7, 13],
            'three are found, one is named, and one at another URI is neither');



=== TEST 12: what has no body discloses nothing
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_records         $upstream_http_x_records;
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- user_files
>>> file
/1/2/3
--- after
is(pages('dupont', '/page/1/2', method => 'HEAD')->{status}, 200, 'HEAD');
is(pages('dupont', '/told/1/2?n=7', method => 'HEAD')->{status}, 200, 'HEAD');
has_counted('dupont', 2, 'two URIs');

my $file = pages('dupont', '/file');
has_counted('dupont', 5, 'GET has a body');
is(pages('dupont', '/file',
         'If-None-Match' => $file->{headers}{etag})->{status}, 304);
has_counted('dupont', [6, 6], 'not modified: its URI');



=== TEST 13: whatever the status
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
--- after
is(pages('dupont', '/status/404/1/2')->{status}, 404);
has_counted('dupont', 3, 'two, and the 404 in the path');



=== TEST 14: the upstream is asked for the whole, in plain text
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
    gzip                          on;
    gzip_types                    *;
    gzip_min_length               1;
}
location /echo {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PORTAL;
}
--- http_config
log_format asked '$http_accept_encoding|$http_range|$http_if_range|$http_x_a|$http_x_z';
server {
    listen unix:$PG_TMP/asked.sock;
    access_log logs/asked.log asked;
    location / { return 200 '/1/2'; }
}
--- user_files
>>> file
/1/2/3
--- after
my $answer = pages('dupont', '/file', 'Accept-Encoding' => 'gzip');
is($answer->{headers}{'content-encoding'}, 'gzip', 'compressed here');
has_counted('dupont', 3, 'and counted before');

$answer = pages('martin', '/file', 'Range' => 'bytes=1-2',
                'If-Range' => $answer->{headers}{etag} // '"x"');
is("$answer->{status} $answer->{body}", "200 /1/2/3\n", 'the whole');
has_counted('martin', 3, 'is counted');



=== TEST 15: headers that are dropped, wherever they stand
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/asked.sock:;
}
--- http_config
log_format asked escape=none '$http_accept_encoding|$http_range|$http_if_range|$http_x_a|$http_x_z|$http_x_account|$http_host';
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/asked.sock;
    access_log logs/asked.log asked;
    location / { return 200 '/1/2'; }
}
--- after
my @cases;
for my $before (0, 1, 2, 16, 17, 18, 19, 20, 21) {
    for my $after (0, 1, 20) {
        for my $between (0, 1, 18) {
            push @cases, [$before, $between, $after];
        }
    }
}

for (@cases) {
    my ($before, $between, $after) = @$_;
    raw(join "\r\n", 'GET / HTTP/1.1',
        (map { "X-B$_: x" } 1 .. $before),
        'Range: bytes=0-1', (map { "X-M$_: x" } 1 .. $between), 'If-Range: "x"', 'Accept-Encoding: gzip',
        'range: bytes=1-2', 'X-A: a', 'Host: h', 'X-Account: dupont', 'X-Z: z', 'Connection: close',
        (map { "X-C$_: x" } 1 .. $after), ($after ? 'Range: bytes=2-3' : ()), '', '');
}
ok(wait_for(sub {
    my @lines = split /\n/, PatientGuard::slurp(server_root() . '/logs/asked.log');
    @lines == @cases && !grep { $_ !~ /^identity\|-?\|-?\|a\|z\|dupont\|unix:/ && $_ ne 'identity|||a|z|dupont|localhost' } @lines
}), 'no range, and all that is beside it')
    or diag(PatientGuard::slurp(server_root() . '/logs/asked.log'));



=== TEST 16: what can't be looked into is not sent
--- policy
account  $http_x_account trusted;
exempt   $http_x_exempt;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Verdict $patient_guard_verdict always;
}
location /dry/ {
    patient_guard                 $PG_POLICY;
    patient_guard_dry_run         on;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/;
    add_header                    X-Verdict $patient_guard_verdict always;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/;
}
location /page.html {
    error_page                    502 = /sorry;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/coded/br/1;
}
location /sorry {
    return 200 "sorry";
}
--- after
for my $uri ('/coded/br/1/2', '/coded/gzip/1', '/part/1/2', '/gated/coded/br/1/2', '/gated/part/1') {
    my $answer = pages('dupont', $uri);
    is("$answer->{status} $answer->{headers}{'content-type'}",
       '502 application/problem+json', $uri);
    is($answer->{headers}{'content-encoding'}, undef, 'its headers are gone');
    unlike($answer->{body}, qr/patients:/, 'and its body');
}
is(pages('dupont', '/coded/identity/1/2')->{status}, 200, 'but as it is');
is(pages('dupont', '/page.html')->{body}, 'sorry', 'an error page');

my $answer = pages('martin', '/dry/coded/br/1/2');
is("$answer->{status} $answer->{headers}{'x-verdict'}", '200 deny', 'dry run');
$answer = pages('martin', '/coded/br/1/2', 'X-Exempt' => 1);
is("$answer->{status} $answer->{headers}{'x-verdict'}", '200 allow', 'exempt');

like(error_log(), qr/deny by policy "\S+": the response is compressed, and can't be counted/);
like(error_log(), qr/deny by policy "\S+": the response is a part, and can't be counted/);
like(error_log(), qr/deny \(dry run\) by policy "\S+": the response is compressed/);



=== TEST 17: a pattern that runs into its limit
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "(?<patient>(a+)+)b";
    proxy_pass                    http://$PG_PAGES;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "(?<patient>(a+)+)b";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES/;
}
--- user_files eval
">>> long\n" . 'a' x 3000 . "c\n"
--- after
is(pages('dupont', '/long')->{body}, '', 'is cut off before it leaves');
my $answer = pages('dupont', '/gated/long');
is("$answer->{status} $answer->{headers}{'content-type'}",
   '502 application/problem+json', 'or never begins');
like(error_log(), qr/deny by policy "\S+": the response takes too long to be looked into/);



=== TEST 18: parts of a response that subrequests bring
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
ssi on;
ssi_types *;
patient_guard_response_match  "/(?<patient>\d+)";
location / {
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://$PG_PAGES;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES/;
}
location /inner/ {
    proxy_pass                    http://$PG_PAGES/page/;
}
location /coded/ {
    proxy_pass                    http://$PG_PAGES/coded/br/;
}
--- user_files
>>> outer
/1 <!--# include virtual="/inner/2/3" --> /4 <!--# include virtual="/inner/4/5" -->
>>> bad
/1 <!--# include virtual="/coded/2/3" -->
>>> empty
<!--# include virtual="/inner/2/3" -->
--- after
like(pages('dupont', '/outer')->{body}, qr{^/1 patients: /page/2/3/ /4 patients: /page/4/5/\n$});
has_counted('dupont', 5, 'are counted with it');
pages('martin', '/empty');
has_counted('martin', 2, 'and nothing beside them');

like(pages('durand', '/gated/outer')->{body}, qr{/4 patients: /page/4/5/\n$});
has_counted('durand', 5, 'with a gate too');
unlike(pages('leroy', '/gated/outer?p=2')->{body}, qr{/[2345]},
       'where what is over is cut off') for 1;
unlike(pages('dupont', '/bad')->{body}, qr{/2}, 'as is what is compressed');
like(error_log(), qr/the response is compressed, and can't be counted/);



=== TEST 19: cached
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
proxy_cache_path $TEST_NGINX_SERVROOT/cache keys_zone=pages:1m;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_cache                   pages;
    proxy_cache_valid             200 1h;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Cache $upstream_cache_status;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_cache                   pages;
    proxy_cache_valid             200 1h;
    proxy_pass                    http://$PG_PAGES/;
    add_header                    X-Cache $upstream_cache_status;
}
--- after
is(pages('dupont', '/page/1/2/3')->{headers}{'x-cache'}, 'MISS');
is(pages('martin', '/page/1/2/3')->{headers}{'x-cache'}, 'HIT');
has_counted('martin', 3, 'is counted as well');
is(pages('dupont', '/gated/page/1/2/3/4?p=2')->{status}, 403);
is(pages('durand', '/gated/page/1/2/3/4?p=2')->{status}, 403);
is(pages('durand', '/gated/page/1/2/3/4')->{status}, 200);
has_counted('durand', 4, 'the verdict is of the moment');



=== TEST 20: HTTP/2
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/h2.sock http2;
    location / {
        patient_guard                 $PG_POLICY;
        patient_guard_response_match  "/(?<patient>\d+)";
        proxy_pass                    http://$PG_PAGES;
    }
    location /gated/ {
        patient_guard                 $PG_POLICY;
        patient_guard_response_match  "/(?<patient>\d+)";
        patient_guard_response_gate   on;
        proxy_pass                    http://$PG_PAGES/;
    }
}
--- config
--- after
my $h2 = h2(server_root() . '/logs/h2.sock');
say_h2($h2, headers(1, '/page/1/2', account => 'dupont'),
            headers(3, '/page/3', account => 'dupont'),
            headers(5, '/gated/page/4', account => 'dupont'));
is(join(' ', ended($h2, 1, 3, 5)), '200 200 200');
is($h2->{streams}{5}{body}, 'patients: /page/4/');
has_counted('dupont', 4, 'four');
say_h2($h2, headers(7, '/gated/page/5/6?p=5', account => 'dupont'),
            headers(9, '/page/7', account => 'dupont'));
is(join(' ', ended($h2, 7, 9)), '403 200', 'and one is refused');
like($h2->{streams}{7}{body}, qr/"violated-policies":\["p"\]/);



=== TEST 21: inherited, replaced, switched off
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard                 $PG_POLICY;
patient_guard_response_match  "/(?<patient>\d+)";
patient_guard_records         $upstream_http_x_records;
patient_guard_response_gate   on;
location / {
    proxy_pass                    http://$PG_PAGES;
}
location /open/ {
    patient_guard_response_gate   off;
    proxy_pass                    http://$PG_PAGES/;
}
location /other/ {
    patient_guard_response_match  "/x(?<patient>\d+)";
    patient_guard_records         $arg_r;
    proxy_pass                    http://$PG_PAGES/;
}
location /off/ {
    patient_guard_response_match  off;
    patient_guard_records         off;
    proxy_pass                    http://$PG_PAGES/;
}
--- after
pages('dupont', '/told/1/2?n=3');
has_counted('dupont', 3, 'inherited');
is(pages('dupont', '/told/3/4?p=4')->{status}, 403, 'with its gate');
is(pages('dupont', '/open/told/3/4?p=4')->{status}, 200, 'no gate');
has_counted('dupont', 5, 'two more');
pages('dupont', '/other/told/5/x8?n=9&r=2');
has_counted('dupont', 7, 'others');
pages('dupont', '/off/told/6/7?n=9');
has_counted('dupont', 8, 'none: its URI');



=== TEST 22: a gate that holds nothing
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_response_gate  on;
    proxy_pass                   http://$PG_PORTAL;
}
--- request
GET /
--- more_headers
X-Account: dupont
--- error_log
"patient_guard_response_gate on" beside "patient_guard $PG_POLICY" in
