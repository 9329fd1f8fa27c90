# Requests of all shapes: whatever it looks like, a lookup is counted once,
# and a request that nginx itself turns away is not.

use lib 't/lib';
use PatientGuard;

use Http2;
use IO::Select;

sub count { get('/', 'X-Account' => $_[0])->{headers}{'x-count'} }

sub post {
    my ($account, $body, @headers) = @_;

    return join "\r\n", 'POST / HTTP/1.1', 'Host: localhost',
                        "X-Account: $account", @headers, '', $body;
}

sub one {
    my ($uri, $account, @headers) = @_;

    return join "\r\n", "GET $uri HTTP/1.1", 'Host: localhost',
                        "X-Account: $account", @headers, '', '';
}

sub statuses { [$_[0] =~ m{HTTP/1\.1 (\d+) }g] }

# sends bytes and waits for an answer, not for an end: nothing more is sent

sub first_status {
    my ($bytes) = @_;

    my $socket = PatientGuard::client();
    syswrite $socket, $bytes;
    IO::Select->new($socket)->can_read(PatientGuard::patience())
        or return 'none';
    sysread $socket, my $answer, 65536;
    return $answer =~ m{^HTTP/1\.1 (\d+)} ? $1 : $answer;
}

sub fields_of {
    my ($account, $method, $path, @more) = @_;

    return [':method' => $method, ':scheme' => 'http', ':path' => $path,
            ':authority' => 'localhost', 'x-account' => $account, @more];
}

run_tests();

__DATA__

=== TEST 1: a refusal does not wait for a body
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    add_header             X-Count $patient_guard_count always;
    client_max_body_size   100k;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(count('dupont'), 1);
is(first_status(post('dupont', '', 'Content-Length: 99999')), 403,
   'announced, and never sent');
is(first_status(post('dupont', '', 'Transfer-Encoding: chunked')), 403,
   'in chunks');
is(first_status(post('dupont', "400\r\nx", 'Transfer-Encoding: chunked')), 403,
   'the first of them begun');
is(first_status(post('dupont', '', 'Content-Length: 9',
                     'Expect: 100-continue')), 403, 'expected');
is(first_status(post('dupont', '', 'Transfer-Encoding: chunked',
                     'Expect: 100-continue')), 403, 'and in chunks');



=== TEST 2: a body that is not as long as it is said to be
--- policy
account  $http_x_account trusted;
limit    lookups=1000/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    add_header             X-Count $patient_guard_count always;
    client_max_body_size   100k;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(count('dupont'), 1);
my %answered = (
    'more than allowed'    => [[413], 'Content-Length: 102401'],
    'two lengths'          => [[400], 'Content-Length: 1', 'Content-Length: 2'],
    'the same twice'       => [[400], 'Content-Length: 1', 'Content-Length: 1'],
    'a negative length'    => [[400], 'Content-Length: -1'],
    'no number'            => [[400], 'Content-Length: 1x'],
    'two lengths in one'   => [[400], 'Content-Length: 1, 1'],
    'a length and chunks'  => [[400], 'Content-Length: 1',
                               'Transfer-Encoding: chunked'],
    'chunks and a length'  => [[400], 'Transfer-Encoding: chunked',
                               'Content-Length: 1'],
    'chunks twice'         => [[400], 'Transfer-Encoding: chunked',
                               'Transfer-Encoding: chunked'],
    'another encoding'     => [[501], 'Transfer-Encoding: gzip'],
    'chunks within gzip'   => [[501], 'Transfer-Encoding: gzip, chunked'],
);
for (sort keys %answered) {
    my ($statuses, @headers) = @{ $answered{$_} };
    is_deeply(statuses(raw(post('dupont', 'x', @headers,
                                'Connection: close'))), $statuses, $_);
}
is(count('dupont'), 2, 'none of them was a lookup');

# what is left of a longer one is the next request, and none
is_deeply(statuses(raw(post('dupont', "bodyx\r\n\r\n", 'Content-Length: 4'))),
          [200, 400], 'a rest');
is(count('dupont'), 4, 'is not counted');
is_deeply(statuses(raw(post('dupont', 'body' . one('/', 'dupont', 'Connection: close'),
                            'Content-Length: 4'))), [200, 200],
          'which may be a request');
is(count('dupont'), 7, 'and then is');
is_deeply(statuses(raw(post('dupont', "0\r\n\r\n" . one('/', 'dupont', 'Connection: close'),
                            'Transfer-Encoding: chunked'))), [200, 200], 'in chunks');
is(count('dupont'), 10, 'too');



=== TEST 3: methods
--- policy
account  $http_x_account trusted;
limit    lookups=1000/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.h2 http2;
    location / {
        patient_guard  $PG_POLICY;
        proxy_pass     http://$PG_PORTAL;
    }
}
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $expected = 1;
is(count('dupont'), $expected);
for (['GET', 200, 1], ['HEAD', 200, 1], ['POST', 200, 1], ['PUT', 200, 1],
     ['PATCH', 200, 1], ['DELETE', 200, 1], ['FOO', 200, 1], ['PRI', 200, 1],
     ['M-SEARCH', 200, 1], ['LOCK', 200, 1], ['OPTIONS', 200, 0],
     ['TRACE', 405, 0], ['CONNECT', 405, 0], ['get', 400, 0],
     ['OPTIONSX', 200, 1], ['Options', 400, 0])
{
    my ($method, $status, $counts) = @$_;
    # over HTTP/1 nginx 1.30 wants a host and a port to CONNECT to
    like(get('/', method => $method, 'X-Account' => 'dupont')->{status},
         $method eq 'CONNECT' ? qr/^40[05]$/ : qr/^$status$/, $method);
    is(count('dupont'), $expected += $counts + 1, "$method over HTTP/1: $counts");

    my $h2 = h2('$PG_TMP/$PG_POLICY.h2');
    say_h2($h2, fields(1, fields_of('dupont', $method, '/')));
    is((ended($h2, 1))[0], $status, $method);
    is(count('dupont'), $expected += $counts + 1, "$method over HTTP/2: $counts");
}



=== TEST 4: identifiers of any length and any bytes
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
limit    lookups=1/1h log;
--- config
large_client_header_buffers  4 32k;
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $uri;
    add_header             X-Patient $patient_guard_patient always;
    empty_gif;
}
--- after
my %seen;
my $ask = sub { get("/$_[0]", 'X-Account' => 'dupont') };
my $long = 'x' x 8192;
my @distinct = ('a', $long, "${long}y", "${long}z", "${long}yy",
    "\xff", "\xfe", '%ff%fe', '%c3', '%c3%28', "\xc3", '%80', '%0d%0a', '%0a', '%0d',
    '%0d%0aX-Account:%20durand', '%1b%5b31m', '%7f', 'a%0d%0a*1%0d%0a$8%0d%0aFLUSHALL%0d%0a',
    '%25s%25n', '%22', '%5c', "'", 'a%20b', 'a%09b', '%e2%80%ae');
for (@distinct) {
    my $answer = $ask->($_);
    my $told = $answer->{headers}{'x-patient'} // '';
    is($answer->{status}, 200, substr($_, 0, 40) =~ s/[^!-~]/?/gr);
    like($told, qr/^[0-9a-f]{16}$/, 'has an alias');
    $seen{$told}++;
}
is(scalar(keys %seen), @distinct - 1, 'each is another, but for an encoded one');
is($ask->($_)->{headers}{'x-patient'}, $ask->($_)->{headers}{'x-patient'},
   'and the same again') for @distinct[1 .. 3];
is($ask->('a%00')->{status}, 400, 'NUL is no byte of a URI');
is($ask->('%00')->{status}, 400);

my @lines = grep { /patient guard: / } split /\n/, error_log();
is(scalar @lines, @distinct + 6 - 1, 'a line each');
is(scalar(grep { !m{^\d+/\d+/\d+ \d\d:\d\d:\d\d \[warn\] \d+#\d+: \*\d+ patient guard: allow by limit "lookups/1h" of policy "\w+", counted \d+ of 1, account: [0-9a-f]{32}, client: 127\.0\.0\.1$} } @lines), 0,
   'and nothing in it is theirs') or diag($lines[0]);
if (store() eq 'redis') {
    is(redis('EXISTS', redis('KEYS', "$PG_PREFIX:*")), 1, 'Redis was told nothing else');
}



=== TEST 5: two thousand pipelined lookups do not pile up
--- policy
account  $http_x_account trusted;
limit    lookups=500/1h deny;
--- config
location / {
    patient_guard       $PG_POLICY;
    add_header          X-Count $patient_guard_count always;
    keepalive_requests  5000;
    empty_gif;
}
--- after
my ($worker) = PatientGuard::workers();
my $stack = sub {
    PatientGuard::slurp("/proc/$worker/status") =~ /^VmStk:\s*(\d+)/m ? $1 : 0
};
my $answers = raw(one('/', 'dupont') x 49 . one('/', 'dupont', 'Connection: close'));
my $before = $stack->();
cmp_ok($before, '>', 0, 'the stack is seen');
$answers = raw(one('/', 'dupont') x 1999 . one('/', 'dupont', 'Connection: close'));
is_deeply(statuses($answers), [(200) x 450, (403) x 1550], 'each is counted');
cmp_ok($stack->(), '<=', $before + 16, 'the stack is as it was');



=== TEST 6: subrequests that a cache makes are not lookups
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- http_config
proxy_cache_path  $PG_TMP/$PG_POLICY.cache keys_zone=$PG_POLICY:1m;
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    access_log  $PG_TMP/$PG_POLICY.log;
    location / {
        root  html;
    }
    location /stale {
        add_header  X-Accel-Expires @1;
        return      200 stale;
    }
}
--- user_files
>>> sliced
0123456789012345678901234567890123456789
--- config
patient_guard      $PG_POLICY;
proxy_cache        $PG_POLICY;
proxy_cache_key    $uri$slice_range;
proxy_cache_valid  any 1h;
add_header         X-Count $patient_guard_count always;
add_header         X-Cache $upstream_cache_status always;

location /sliced {
    slice               8;
    proxy_set_header    Range $slice_range;
    proxy_http_version  1.1;
    proxy_pass          http://unix:$PG_TMP/$PG_POLICY.sock;
}
location /stale {
    proxy_cache_use_stale          updating;
    proxy_cache_background_update  on;
    proxy_pass                     http://unix:$PG_TMP/$PG_POLICY.sock;
}
location /added {
    addition_types    *;
    add_before_body   /guarded;
    add_after_body    /guarded;
    proxy_cache       off;
    proxy_pass        http://$PG_PORTAL;
}
location /open {
    patient_guard     off;
    addition_types    *;
    add_before_body   /guarded;
    add_after_body    /guarded;
    proxy_cache       off;
    proxy_pass        http://$PG_PORTAL;
}
location /guarded {
    proxy_cache       off;
    proxy_pass        http://$PG_PORTAL;
}
--- after
is(get('/sliced', 'X-Account' => 'slice')->{body}, "0123456789" x 4 . "\n", 'slices');
is((() = PatientGuard::slurp('$PG_TMP/$PG_POLICY.log') =~ m{GET /sliced}g), 6, 'six of them');
is(thrice('/sliced', 'X-Account' => 'slice'), '200 2, 403 2, 403 2', 'are one');

get('/stale', 'X-Account' => 'somebody');
my $answer = get('/stale', 'X-Account' => 'stale');
is($answer->{headers}{'x-cache'}, 'STALE', 'an update in the background');
is($answer->{headers}{'x-count'}, 1);
ok(wait_for(sub { (() = PatientGuard::slurp('$PG_TMP/$PG_POLICY.log') =~ m{GET /stale}g) == 2 }),
   'is made');
is(thrice('/stale', 'X-Account' => 'stale'), '200 2, 403 2, 403 2', 'and not counted');

like(get('/added', 'X-Account' => 'added')->{body},
     qr{record of /guarded\n.*record of /added\n.*record of /guarded\n}s, 'additions');
is(thrice('/added', 'X-Account' => 'added'), '200 2, 403 2, 403 2', 'are not');
like(get('/open', 'X-Account' => 'open')->{body}, qr{record of /guarded\n}, 'nor are they');
is(thrice('/guarded', 'X-Account' => 'open'), $::COUNTED, 'behind what is not guarded');



=== TEST 7: redirects that do not end are one lookup, or none
--- policy
account  $http_x_account trusted;
limit    lookups=100/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    location / {
        add_header  X-Accel-Redirect $request_uri;
        return      200;
    }
    location /to-named {
        add_header  X-Accel-Redirect @named;
        return      200;
    }
}
--- config
patient_guard  $PG_POLICY;
add_header     X-Count $patient_guard_count always;

location / {
    proxy_pass  http://$PG_PORTAL;
}
location /error {
    recursive_error_pages   on;
    proxy_intercept_errors  on;
    error_page              404 /error;
    proxy_pass              http://$PG_PORTAL/missing;
}
location /accel {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location /to-named {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location @named {
    proxy_pass  http://$PG_PORTAL;
}
location /try {
    try_files  /none /try;
}
location /rewritten {
    rewrite  ^ /rewritten last;
}
location /two {
    try_files  /none @one;
}
location @one {
    error_page              404 = @two;
    proxy_intercept_errors  on;
    rewrite                 ^ /missing break;
    proxy_pass              http://$PG_PORTAL;
}
location @two {
    recursive_error_pages   on;
    error_page              404 = /three;
    proxy_intercept_errors  on;
    rewrite                 ^ /missing break;
    proxy_pass              http://$PG_PORTAL;
}
location /three {
    rewrite  ^ /last;
}
--- after
for (['/error', 500, 1], ['/accel', 500, 1], ['/try', 500, 1],
     ['/rewritten', 500, 0], ['/to-named', 200, 1])
{
    my ($uri, $status, $counts) = @$_;
    is(get($uri, 'X-Account' => "a$uri")->{status}, $status, $uri);
    is(count("a$uri"), $counts + 1, "counted $counts");
}
get('/two', 'X-Account' => 'two');
is(count('two'), 2, 'four locations are one');
like(error_log(), qr/rewrite or internal redirection cycle/);



=== TEST 8: bodies over HTTP/2 that are not as long as they are said to be
--- policy
account  $http_x_account trusted;
limit    lookups=3/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.h2 http2;
    location / {
        patient_guard  $PG_POLICY;
        proxy_pass     http://$PG_PORTAL;
    }
}
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $h2 = h2('$PG_TMP/$PG_POLICY.h2');
my @length = ('content-length' => 4);
say_h2($h2, fields(1, fields_of('dupont', 'POST', '/', @length), 1), data(1, 'xx', 1),
            fields(3, fields_of('dupont', 'POST', '/', @length), 1), data(3, 'x' x 9, 1));
is(tally(ended($h2, 1, 3)), '2 x 400', 'too short, too long');
is(count('dupont'), 3, 'were asked for, and are counted');
say_h2($h2, fields(5, fields_of('dupont', 'POST', '/', @length), 1), data(5, 'xx', 1),
            fields(7, fields_of('dupont', 'POST', '/', @length), 1), data(7, 'x' x 9, 1),
            fields(9, fields_of('dupont', 'POST', '/', @length), 1));
is(tally(ended($h2, 5, 7, 9)), '3 x 403', 'refused, with a body, and without');
say_h2($h2, data(9, 'x' x 9, 1), fields(11, fields_of('durand', 'GET', '/')));
is((ended($h2, 11))[0], 200, 'the connection goes on');
