# Patients whom the body of a request names.

use lib 't/lib';
use PatientGuard;
use Pages;

use Http2;

our $FORM = 'application/x-www-form-urlencoded';
our $JSON = 'application/fhir+json';

# the status of a POST; the body as text, or in pieces

sub post {
    my ($account, $body, %headers) = @_;

    my $uri = delete $headers{uri} // '/';
    my $chunks = delete $headers{chunks};
    unlink bodies();
    my $rest = join '', map { "$_: $headers{$_}\r\n" } sort keys %headers;

    my $head = "POST $uri HTTP/1.1\r\nHost: localhost\r\nX-Account: $account\r\n"
        . "Connection: close\r\n$rest";
    return answer_of($chunks
        ? $head . "Transfer-Encoding: chunked\r\n\r\n"
          . join('', map { sprintf "%x\r\n%s\r\n", length, $_ }
                     grep { length } unpack "(a$chunks)*", $body) . "0\r\n\r\n"
        : $head . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
}

sub answer_of { PatientGuard::answer(raw($_[0])) }

# the upstream writes what it was sent to a file of its own

our $BODIES = <<'NGINX';
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/bodies.sock;
    client_max_body_size 0;
    client_body_in_file_only on;
    client_body_temp_path $TEST_NGINX_SERVROOT-bodies;
    location / {
        proxy_pass http://unix:$TEST_NGINX_SERVROOT/logs/portal.sock:;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
    }
}
NGINX

sub bodies { glob(server_root() . '-bodies/*') }

# of the last post

sub last_body {
    my @files = bodies();
    return @files == 1 ? PatientGuard::slurp($files[0]) : "@files";
}

run_tests();

__DATA__

=== TEST 1: a form, however it is spelt
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config eval: $::BODIES
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "(?:^|&)_?id(?:entifier)?=(?<patient>[^&]+)";
    proxy_pass                   http://unix:$TEST_NGINX_SERVROOT/logs/bodies.sock:;
}
--- after
my @form = ('Content-Type' => $::FORM);
for my $body ('_id=17', '_id=%31%37', 'x=y&_id=1%37&z', 'identifier=17&_id=17', '_id=17,17%2C17', 'id=+17+') {
    is(post('dupont', $body, @form)->{status}, 200, $body);
    is(last_body(), $body, 'goes on as it is');
}
has_counted('dupont', [1, 6], 'one patient, six times');
post('dupont', '_id=18,19%2c20', @form);
has_counted('dupont', [4, 9], 'three by one value');
post('dupont', '_id=21', 'Content-Type' => "$::FORM; charset=UTF-8", chunks => 1);
has_counted('dupont', [5, 10], 'in chunks');
post('dupont', 'name=x', @form);
has_counted('dupont', [6, 11], 'nobody: its URI');
post('dupont', '', @form);
has_counted('dupont', [6, 12], 'nothing at all: its URI');
get('/', 'X-Account' => 'dupont');
has_counted('dupont', [6, 13], 'nor a body');



=== TEST 2: JSON, however it is spelt; beside those in the URI
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config eval: $::BODIES
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_patient        $arg_id;
    patient_guard_request_match  "\"url\"\s*:\s*\"Patient/(?<patient>[A-Za-z0-9.-]{1,64})";
    proxy_pass                   http://unix:$TEST_NGINX_SERVROOT/logs/bodies.sock:;
}
--- after
my @json = ('Content-Type' => $::JSON);
for my $url ('Patient/17', 'Patient\/17', 'Patient/\u0031\u0037', '\u0050atient\u002F17/_history', 'Patient/17"x') {
    my $body = qq({"entry":[{"request":{"method":"GET","url" : "$url"}}]});
    is(post('dupont', $body, @json)->{status}, 200, $url);
    is(last_body(), $body, 'goes on as it is');
}
has_counted('dupont', [1, 5], 'one patient, five times');
post('dupont', '{"url":"Patient/17"}{"url":"Patient/18"}', @json, uri => '/?id=17,19');
has_counted('dupont', [3, 8], 'one of two is named by the URI, which names another');



=== TEST 3: a Bundle of reads, at its limit
--- policy
account  $http_x_account trusted;
limit    patients=100/1h deny;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "\"url\":\"Patient/(?<patient>[^/?\"]+)";
    proxy_pass                   http://$PG_PORTAL;
}
--- after
my $bundle = sub { '{"entry":[' . join(',', map {
    qq({"request":{"method":"GET","url":"Patient/$_"}}) } 1 .. $_[0]) . ']}' };
my @json = ('Content-Type' => $::JSON);
is(post('dupont', $bundle->(1000), @json)->{status}, 400, 'a thousand');
like(error_log(), qr/deny by policy "\S+": too many patients in one request, client/);
is(post('dupont', $bundle->(101), @json)->{status}, 403, 'one too many');
is(post('dupont', $bundle->(100), @json)->{status}, 200, 'just as many');
is(post('dupont', $bundle->(50), @json)->{status}, 200, 'who is known');



=== TEST 4: bodies that are spilled, in pieces, or come late
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config eval: $::BODIES
--- config
patient_guard_request_match  "id=(?<patient>\d{9})(?!\d)";
location / {
    patient_guard            $PG_POLICY;
    client_body_buffer_size  1k;
    proxy_pass               http://unix:$TEST_NGINX_SERVROOT/logs/bodies.sock:;
}
location /file/ {
    patient_guard            $PG_POLICY;
    client_body_in_file_only clean;
    proxy_pass               http://unix:$TEST_NGINX_SERVROOT/logs/bodies.sock:;
}
location /unbuffered/ {
    patient_guard            $PG_POLICY;
    proxy_request_buffering  off;
    proxy_pass               http://unix:$TEST_NGINX_SERVROOT/logs/bodies.sock:;
}
--- after
my $body = join '', map { sprintf "some text id=%09d ", $_ % 300 } 1 .. 20000;
for my $uri ('/', '/file/', '/unbuffered/') {
    for my $chunks (0, 999, 100_000) {
        my $account = "$uri-$chunks";
        is(post($account, $body, uri => $uri, chunks => $chunks)->{status}, 200, $account);
        ok(last_body() eq $body, 'as it was sent');
        has_counted($account, 300, 'three hundred');
    }
}

my $socket = PatientGuard::client();
my $text = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Account: late\r\n"
    . "Connection: close\r\nContent-Length: 24\r\n\r\nid=000000001id=000000002";
for (split //, $text) {
    syswrite $socket, $_;
    select undef, undef, undef, 0.001;
}
local $/;
like(scalar <$socket>, qr{^HTTP/1\.1 200}, 'byte by byte');
has_counted('late', 2, 'two');



=== TEST 5: what can't be looked into
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "id=(?<patient>(a+)+)b";
    proxy_pass                   http://$PG_PORTAL;
}
location /dry/ {
    patient_guard                $PG_POLICY;
    patient_guard_dry_run        on;
    patient_guard_request_match  "id=(?<patient>(a+)+)b";
    proxy_pass                   http://$PG_PORTAL;
}
--- after
is(post('dupont', 'x', 'Content-Encoding' => 'gzip')->{status}, 415, 'compressed');
is(post('dupont', 'x', 'Content-Encoding' => 'identity')->{status}, 200, 'not so');
is(post('dupont', "i\0d\0=\0")->{status}, 400, 'UTF-16');
is(post('dupont', '%00', 'Content-Type' => $::FORM)->{status}, 400, 'a NUL in a form');
is(post('dupont', 'id=' . 'a' x 3000 . 'c')->{status}, 400, 'too much to match');
is(post('dupont', "i\0", uri => '/dry/')->{status}, 200, 'dry run');
for my $reason ('the body is compressed', 'the body is no text',
                'the body takes too long to be looked into') {
    like(error_log(), qr/deny by policy "\S+": $reason, client/, $reason);
}
like(error_log(), qr/deny \(dry run\) by policy "\S+": the body is no text/);
has_counted('dupont', 1, 'only what went through is counted');



=== TEST 6: HTTP/2
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/h2.sock http2;
    location / {
        patient_guard                $PG_POLICY;
        patient_guard_request_match  "id=(?<patient>\d+)";
        proxy_pass                   http://$PG_PORTAL;
    }
}
--- config
--- after
my $h2 = h2(server_root() . '/logs/h2.sock');
say_h2($h2, headers(1, '/', account => 'dupont', body => 1),
            data(1, 'id=1', 0), data(1, '7&id=18', 1));
is(join(' ', ended($h2, 1)), 200);
has_counted('dupont', 2, 'two, one of them cut in two');



=== TEST 7: inherited, replaced, switched off
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard                $PG_POLICY;
patient_guard_request_match  "id=(?<patient>\d+)";
location / {
    proxy_pass                   http://$PG_PORTAL;
}
location /other/ {
    patient_guard_request_match  "name=(?<patient>\w+)";
    proxy_pass                   http://$PG_PORTAL;
}
location /off/ {
    patient_guard_request_match  off;
    proxy_pass                   http://$PG_PORTAL;
}
--- after
post('dupont', 'id=1&id=2');
has_counted('dupont', 2, 'inherited');
post('dupont', 'id=3&id=4&name=x', uri => '/other/');
has_counted('dupont', 3, 'another one');
post('dupont', 'id=5&id=6', uri => '/off/');
has_counted('dupont', 4, 'off: its URI');



=== TEST 8: read before, by an internal redirect
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/first.sock;
    location / {
        add_header X-Accel-Redirect /guarded/;
        return 200;
    }
}
--- config
location / {
    client_body_buffer_size  1k;
    proxy_pass               http://unix:$TEST_NGINX_SERVROOT/logs/first.sock:;
}
location /guarded/ {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "id=(?<patient>\d+)";
    proxy_pass                   http://$PG_PORTAL;
}
--- after
is(post('dupont', 'id=1&id=2')->{status}, 200, 'from memory');
has_counted('dupont', 2, 'two');
is(post('dupont', join '&', map { "id=$_" } 1 .. 400)->{status}, 200, 'from a file');
has_counted('dupont', [400, 402], 'four hundred');



=== TEST 9: 100 Continue, and a client that goes away
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "id=(?<patient>\d+)";
    proxy_pass                   http://$PG_PORTAL;
}
--- after
my $socket = PatientGuard::client();
syswrite $socket, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
sysread $socket, my $text, 1000;
like($text, qr{^HTTP/1\.1 100 Continue});
syswrite $socket, 'id=1';
local $/;
like(scalar <$socket>, qr{^HTTP/1\.1 200});
has_counted('dupont', 1, 'one');

for (1 .. 50) {
    my $socket = PatientGuard::client();
    syswrite $socket, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nContent-Length: 1000\r\n\r\nid=" . $_ x 5;
    close $socket;
}
is(post('dupont', 'id=2')->{status}, 200);
has_counted('dupont', 2, 'who did not send it all is not counted');



=== TEST 10: keepalive, body after body
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "id=(?<patient>\d+)";
    proxy_pass                   http://$PG_PORTAL;
}
--- after
my $one = sub {
    my ($body, $connection) = @_;
    return "POST / HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nContent-Length: "
           . length($body) . "\r\nConnection: $connection\r\n\r\n$body";
};
my $text = raw(join '', $one->('id=1&id=2', 'keep-alive'), $one->('id=3&id=4', 'keep-alive'),
                        $one->('id=3', 'keep-alive'), $one->('id=4', 'close'));
is(join(' ', $text =~ m{HTTP/1\.1 (\d+)}g), '200 403 200 403');
