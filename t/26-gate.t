# A response that is held back until its patients are counted: sent as it is,
# or replaced by the verdict.

use lib 't/lib';
use PatientGuard;
use Pages;

use Http2;

sub verdict {
    my $answer = pages(@_);
    return join ' ', map { $_ // '-' } $answer->{status},
        $answer->{headers}{'x-verdict'}, $answer->{headers}{'x-count'};
}

# a bundle of that many patients

sub bundle {
    my ($n, $first) = @_;

    $first //= 1;
    return join ',', map { qq({"resource":{"resourceType":"Patient","id":"p$_"}}) }
        $first .. $first + $n - 1;
}

sub log_of { PatientGuard::slurp(server_root() . '/logs/guard.log') }

our $BUNDLES = join '', map { ">>> $_.json\n{\"entry\":[" . bundle($_) . "]}\n" }
    qw(1 99 100 101 1000);

run_tests();

__DATA__

=== TEST 1: over the limit the verdict is sent, not the page
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Verdict $patient_guard_verdict always;
    add_header                    X-Count $patient_guard_count always;
    add_header                    X-Page yes;
}
--- after
my $answer = pages('dupont', '/page/1/2/3?p=3');
is("$answer->{status} $answer->{body}", '200 patients: /page/1/2/3?p=3/', 'three');
is($answer->{headers}{'content-length'}, length $answer->{body}, 'its length');
has_counted('dupont', 3, 'are counted');

$answer = pages('dupont', '/page/4/5/6?p=5');
is("$answer->{status} $answer->{headers}{'content-type'}",
   '403 application/problem+json', 'three more are too many');
unlike($answer->{body}, qr/patients:/, 'nothing of the page');
like($answer->{body}, qr/"violated-policies":\["p"\]/, 'but whose limit it was');
is($answer->{headers}{'x-page'}, undef, 'nor its headers');
is($answer->{headers}{'x-verdict'}, 'deny');
has_counted('dupont', 3, 'who was refused is not counted');

is(verdict('dupont', '/page/4/5?p=5'), '200 allow 5', 'two fit');
is(verdict('dupont', '/page/1/2/3/4/5?p=6'), '200 allow 5', 'who is known fits');
is(verdict('dupont', '/page/1/2?id=1&p=5'), '200 allow 5', 'by name as well');
is(verdict('dupont', '/page/1/2/9?id=1&p=5'), '403 deny 5', 'but for a stranger');
is(verdict('dupont', '/page/1?id=9&p=5'), '403 deny 5', 'asked for before');
has_counted('dupont', [5, 12], 'lookups, too: 3 + 2 + 5 + 2');



=== TEST 2: a Bundle of a thousand, at a limit of a hundred
--- policy
account  $http_x_account trusted;
limit    patients=100/1h deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "\"resourceType\":\"Patient\",\"id\":\"(?<patient>[^\"]+)";
    patient_guard_response_gate   on buffer=4k;
    proxy_pass                    http://$PG_PAGES;
}
--- user_files eval: $::BUNDLES
--- after
my $answer = pages('dupont', '/1000.json');
is($answer->{status}, 403, 'a thousand');
unlike($answer->{body}, qr/p\d/, 'none of them');
is(pages('dupont', '/101.json')->{status}, 403, 'one too many');
$answer = pages('dupont', '/100.json');
is($answer->{status}, 200, 'just as many');
is(() = $answer->{body} =~ /"p\d+"/g, 100, 'all of them');
is(pages('dupont', '/99.json')->{status}, 403,
   'a search must have room before it is sent, whoever it finds');
is(pages('martin', '/99.json')->{status}, 200);
is(pages('martin', '/1.json')->{status}, 200, 'one is left');
has_counted('martin', 99, 'and was known');



=== TEST 3: each kind of verdict
--- policy
account          $http_x_account trusted;
limit            patients=$arg_t/1h default=1000 throttle name=t;
limit            patients=$arg_c/1h default=1000 challenge name=c;
limit            patients=$arg_s/10s default=1000 throttle name=s;
throttle_delay   20s;
proof            $http_x_proof;
challenge        redirect https://sso.example/;
challenge        step_up acr=eidas2;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
    send_timeout                  60s;
    add_header                    X-Verdict $patient_guard_verdict always;
    add_header                    X-Count $patient_guard_count always;
}
--- after
my $answer = pages('a', '/page/1/2?t=1');
is($answer->{status}, 429);
ok($answer->{headers}{'retry-after'} > 3000, 'when there is room');
like($answer->{body}, qr/quota-exceeded/);

$answer = pages('b', '/page/1/2?c=1');
like($answer->{headers}{'www-authenticate'}, qr/insufficient_user_auth/, 'step up');
$answer = pages('b', '/page/1?c=1', Accept => 'text/html');
is($answer->{status}, 302, 'redirect');
is(verdict('b', '/page/1', 'X-Proof' => time + 2), '200 allow 1', 'passed');

local $ENV{PG_SLOW} = 3 * ($ENV{PG_SLOW} // 1);
is(verdict('d', '/page/1/2/3'), '200 allow 3');
is(verdict('d', '/page/4/5?s=4'), '200 throttle 2', 'held until it fits');



=== TEST 4: error pages in its place
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config
location / {
    error_page                    403 /sorry;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
location /named/ {
    error_page                    403 = @other;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES/page/;
}
location /sorry {
    return 200 "sorry";
}
location @other {
    proxy_pass http://$PG_PORTAL;
}
--- after
my $answer = pages('dupont', '/page/1/2');
is("$answer->{status} $answer->{body}", '403 sorry', 'one of its own');
$answer = pages('dupont', '/named/1/2');
is("$answer->{status} $answer->{body}", "200 record of /named/1/2\n", 'from upstream');



=== TEST 5: a challenge's page in its place
--- policy
account    $http_x_account trusted;
limit      patients=1/1h challenge;
challenge  page @step_up;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
location @step_up {
    rewrite ^ /step-up break;
    proxy_pass http://$PG_PORTAL;
}
--- after
my $answer = pages('dupont', '/page/1/2', Accept => 'text/html');
is("$answer->{status} $answer->{body}", "403 record of /step-up\n");



=== TEST 6: keepalive: what comes behind it on the connection
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- after
my $one = sub {
    my ($uri, $connection) = @_;
    return "GET $uri HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\n"
           . "Connection: $connection\r\n\r\n";
};
my $text = raw(join '', $one->('/page/1/2/3', 'keep-alive'),
                        $one->('/page/1/2', 'keep-alive'),
                        $one->('/page/1', 'close'));
is(join(' ', $text =~ m{HTTP/1\.1 (\d+)}g), '403 200 403', 'in one go');
like($text, qr{patients: /page/1/2/}, 'each its own');



=== TEST 7: a page that is larger than its buffer
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard_response_match  "id=(?<patient>\d+)";
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k;
    proxy_pass                    http://$PG_PAGES;
}
location /small/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k file=0;
    proxy_pass                    http://$PG_PAGES/;
}
location /exact/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=2k file=2k;
    proxy_pass                    http://$PG_PAGES/;
}
location /static/ {
    alias                         $TEST_NGINX_SERVROOT/html/;
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k;
}
--- user_files eval
CORE::join '', map { my ($name, $size) = @$_;
    ">>> $name\n" . CORE::join('', map { sprintf "id=%03d %06d\n", $_ / 1000, $_ } 1 .. $size / 14)
} ['large', 3_000_000], ['some', 4095 - 4095 % 14], ['few', 1008], ['more', 4200];
--- after
for my $name (qw(large some few more)) {
    my $file = PatientGuard::slurp(server_root() . "/html/$name");
    for my $where ('', 'static/') {
        my $answer = pages($where . 'dupont', "/$where$name");
        ok($answer->{body} eq $file, "$where$name is what it was")
            or diag($answer->{status}, ' ', length $answer->{body}, ' of ', length $file);
    }
}
is(pages('martin', '/small/few')->{status}, 200, 'what fits into memory');
is(pages('martin', '/small/some')->{status}, 502, 'and what does not');
is(pages('martin', '/exact/some')->{status}, 200, 'what fits into the file');
is(pages('martin', '/exact/more')->{status}, 502, 'and what does not');
like(error_log(), qr/deny by policy "\S+": the response is too large to be held back/);
ok(!glob(server_root() . '/client_body_temp/*/*/*'), 'no file is left');



=== TEST 8: more patients than one response may disclose
--- policy
account  $http_x_account trusted;
limit    patients=100000/1h deny;
zone     16m;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "id=(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
location /open/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "id=(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES/;
    add_header                    X-Count $patient_guard_count always;
}
--- user_files eval
CORE::join '', map { my $n = $_; ">>> $n\n" . CORE::join('', map { "id=$_\n" } 1 .. $n) } 4096, 4097, 10000
--- after
is(pages('dupont', '/4096')->{status}, 200);
is(pages('dupont', '/4097')->{status}, 403, 'with a gate');
like(error_log(), qr/deny by policy "\S+": too many patients in one response/);
pages('martin', '/open/10000');
ok(wait_for(sub { verdict('martin', '/open/nobody') =~ /^404 - 1000[1-9]$/ }),
   'without one, as many as there are');



=== TEST 9: by what the response says of its records
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $upstream_http_x_records;
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Verdict $patient_guard_verdict always;
    add_header                    X-Count $patient_guard_count always;
}
location /static/ {
    alias                         $TEST_NGINX_SERVROOT/html/;
    patient_guard                 $PG_POLICY;
    patient_guard_records         $arg_n;
    patient_guard_response_gate   on buffer=1k;
    add_header                    X-Verdict $patient_guard_verdict always;
    add_header                    X-Count $patient_guard_count always;
}
--- user_files eval
">>> large\n" . CORE::join '', map { "line $_\n" } 1 .. 200000;
--- after
is(verdict('dupont', '/told/?n=5'), '200 allow 5', 'five');
is(verdict('dupont', '/told/x?n=5&p=9'), '403 deny 5', 'five more are too many');
is(verdict('dupont', '/told/x?n=5000'), '403 deny 5', 'as are so many');
is(verdict('dupont', '/told/x?n=5&p=10'), '200 allow 10', 'just as many');
has_counted('dupont', 10, 'ten');

my $answer = pages('martin', '/static/large?n=3');
is(length $answer->{body}, -s server_root() . '/html/large', 'the whole');
is(verdict('martin', '/static/large?n=4&p=4'), '403 deny 3', 'or nothing');
has_counted('martin', 3, 'three');

$answer = pages('martin', '/static/large?n=3', Range => 'bytes=5-9');
is("$answer->{status} " . length $answer->{body},
   '200 ' . -s server_root() . '/html/large', 'no range of it');



=== TEST 10: 200 at once, at a limit of which one is left
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- after
is(pages('dupont', '/page/' . join('/', 1001 .. 1009))->{status}, 200, 'nine');
my %statuses;
$statuses{$_}++ for burst(200, sub { "/page/$_[0]?p=10" }, 'X-Account' => 'dupont');
is_deeply(\%statuses, { 200 => 1, 403 => 199 }, 'one of two hundred')
    or diag(explain(\%statuses));
has_counted('dupont', 10, 'ten');



=== TEST 11: HTTP/2, and a client that goes away
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/h2.sock http2;
    location / {
        patient_guard                 $PG_POLICY;
        patient_guard_response_match  "/(?<patient>\d+)";
        patient_guard_response_gate   on;
        proxy_pass                    http://$PG_PAGES;
    }
    location /large {
        alias                         $TEST_NGINX_SERVROOT/html/large;
        patient_guard                 $PG_POLICY;
        patient_guard_response_match  "line (?<patient>1\d\d)\n";
        patient_guard_response_gate   on buffer=1k;
    }
}
--- config
--- user_files eval
">>> large\n" . CORE::join '', map { "line $_\n" } 1 .. 300;
--- after
my $h2 = h2(server_root() . '/logs/h2.sock');
say_h2($h2, headers(1, '/page/1/2', account => 'dupont'),
            headers(3, '/page/3/4?p=3', account => 'dupont'),
            headers(5, '/large', account => 'martin'));
is(join(' ', ended($h2, 1, 3, 5)), '200 403 200');
has_counted('dupont', 2, 'two');
has_counted('martin', 100, 'a hundred');
for my $n (1 .. 20) {
    say_h2($h2, headers(5 + 2 * $n, '/large', account => 'martin'), reset_stream(5 + 2 * $n));
}
say_h2($h2, headers(101, '/page/5', account => 'dupont'));
is(join(' ', ended($h2, 101)), 200, 'it goes on');



=== TEST 12: the log has the last word
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- http_config
log_format guard '$status $patient_guard_verdict $patient_guard_limit $patient_guard_count/$patient_guard_allowance';
--- config
access_log logs/guard.log guard;
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- after
pages('dupont', $_) for '/page/1/2', '/page/3', '/page/4/5';
ok(wait_for(sub { log_of() =~ s/^204.*\n//r eq "200 allow patients/1h 2/2\n"
                            . "403 deny patients/1h 2/2\n" x 2 }))
    or diag(log_of());
like(error_log(), qr/\[warn\] .*: deny by limit "patients\/1h" of policy "\S+", counted 2 of 2/);
