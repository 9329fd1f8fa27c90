# Where the guard stands among nginx' phases: behind whoever says who is
# asking, before whatever answers, once for each request of a client.

use lib 't/lib';
use PatientGuard;

use IO::Select;

# pipelined requests, the last of which closes; their statuses

sub pipelined {
    my (@requests) = @_;

    return statuses(raw(join '', @requests));
}

sub statuses { [$_[0] =~ m{HTTP/1\.1 (\d+) }g] }

sub one {
    my ($uri, @headers) = @_;

    return join "\r\n", "GET $uri HTTP/1.1", 'Host: localhost',
                        'X-Account: dupont', @headers, '', '';
}

sub workers_of { split ' ', `ps -o pid= --ppid ${\ nginx_pid()}` }

run_tests();

__DATA__

=== TEST 1: behind auth_request, which says who is asking
--- policy
account  $account;
limit    lookups=2/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    location / {
        if ($http_x_session = '') {
            return 401;
        }
        add_header  X-Login "login-$http_x_session";
        return      204;
    }
}
--- config
location = /session {
    internal;
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location / {
    auth_request      /session;
    auth_request_set  $account $upstream_http_x_login;
    patient_guard     $PG_POLICY;
    add_header        X-Count $patient_guard_count always;
    proxy_pass        http://$PG_PORTAL;
}
--- after
is(thrice('/a'), '401 -, 401 -, 401 -', 'nobody is asking: not counted');
is(thrice('/a', 'X-Session' => 1), $::COUNTED, 'the first session');
is(thrice('/a', 'X-Session' => 2), $::COUNTED, 'the second one');



=== TEST 2: satisfy any lets nobody past the guard
--- policy
account  $account;
limit    lookups=2/1h deny;
--- http_config
map $http_x_account $account {
    ~(?<login>.+)  $login;
}
--- config
location = /no {
    internal;
    return 401;
}
location / {
    satisfy        any;
    allow          all;
    auth_request   /no;
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(thrice('/a'), $::COUNTED, 'counted and refused');
is(get('/a')->{status}, 403, 'and no account is no way, either');



=== TEST 3: internal redirects are one request
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    location / {
        add_header  X-Accel-Redirect "/accel-target$http_x_target";
        return      200;
    }
}
--- user_files
>>> try/file.html
a file
>>> index/index.html
an index
--- config
patient_guard  $PG_POLICY;
add_header     X-Count $patient_guard_count always;

location /try {
    try_files  $uri.html $uri /tried;
}
location = /tried {
    proxy_pass  http://$PG_PORTAL;
}
location /named {
    try_files  $uri @named;
}
location @named {
    proxy_pass  http://$PG_PORTAL;
}
location /error {
    error_page              404 =200 /tried;
    proxy_intercept_errors  on;
    proxy_pass              http://$PG_PORTAL/missing;
}
location /error-named {
    error_page              404 =200 @named;
    proxy_intercept_errors  on;
    proxy_pass              http://$PG_PORTAL/missing;
}
location /error-file {
    error_page  404 =200 /tried;
}
location /rewrite {
    rewrite  ^ /rewritten last;
}
location /rewritten {
    rewrite     ^ /portal break;
    proxy_pass  http://$PG_PORTAL;
}
location /accel {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location /accel-target {
    internal;
    proxy_pass  http://$PG_PORTAL;
}
location /index {
}
location /refused {
    error_page  403 = @refused;
    try_files   $uri @named;
}
location @refused {
    try_files  /none @refused-again;
}
location @refused-again {
    proxy_pass  http://$PG_PORTAL;
}
--- after
for my $uri (qw(/try/file /try/none /named /error /error-named /error-file
                /rewrite /accel /index/))
{
    is(thrice($uri, 'X-Account' => "a$uri"), $::COUNTED, $uri);
}

# error_page decides what is said to whoever is refused; it counts nothing
is(thrice('/refused', 'X-Account' => 'refused'), '200 1, 200 2, 200 2',
   'an error_page behind the guard');
is(get('/tried', 'X-Account' => 'refused')->{status}, 403, 'is not counted');



=== TEST 4: guarded at one end of a redirect only
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
location /from-guarded {
    patient_guard  $PG_POLICY;
    try_files      $uri @open;
}
location @open {
    add_header  X-Count $patient_guard_count always;
    proxy_pass  http://$PG_PORTAL;
}
location /from-open {
    try_files  $uri @guarded;
}
location /from-open-to-uri {
    try_files  $uri /guarded;
}
location /from-error {
    error_page  404 =200 /guarded;
}
location @guarded {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
location = /guarded {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(thrice('/from-guarded', 'X-Account' => 'a'), '200 1, 200 2, 403 -', 'from');
is(thrice('/from-open', 'X-Account' => 'b'), $::COUNTED, 'to a named one');
is(thrice('/from-open-to-uri', 'X-Account' => 'c'), $::COUNTED, 'to a URI');

# what is refused behind an error_page keeps the status that this one has
is(thrice('/from-error', 'X-Account' => 'd') =~ s/\d+ (?=\d)//gr, '1, 2, 2',
   'to an error page');



=== TEST 5: subrequests are not lookups
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- user_files
>>> ssi/page.html
<!--# include virtual="/guarded?a" --><!--# include virtual="/guarded?b" -->
--- config
location /guarded {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
location /ssi {
    ssi  on;
}
location /guarded-ssi {
    alias          html/ssi;
    ssi            on;
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
}
location /mirror {
    mirror      /guarded;
    proxy_pass  http://$PG_PORTAL;
}
location /guarded-mirror {
    mirror         /guarded;
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
location /auth {
    auth_request  /guarded;
    proxy_pass    http://$PG_PORTAL;
}
location /guarded-auth {
    auth_request   /guarded;
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
like(get('/ssi/page.html', 'X-Account' => 'dupont')->{body},
     qr/record of \/guarded\?a\n.*record of \/guarded\?b/s, 'SSI works');
get("/$_", 'X-Account' => 'dupont') for qw(ssi/page.html mirror auth);
is(thrice('/guarded'), $::COUNTED, 'none of them was counted');

is(thrice('/guarded-ssi/page.html', 'X-Account' => 'a'), $::COUNTED,
   'a page with two includes is one lookup');
is(thrice('/guarded-mirror', 'X-Account' => 'b'), $::COUNTED, 'a mirrored one');
is(thrice('/guarded-auth', 'X-Account' => 'c'), $::COUNTED,
   'one behind a guarded auth_request');



=== TEST 6: a hundred pipelined requests are a hundred lookups
--- policy
account  $http_x_account trusted;
limit    lookups=150/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @hundred = ((one('/?a')) x 99, one('/?a', 'Connection: close'));
my $answers = raw(join '', @hundred);
is_deeply([$answers =~ /^X-Count: (\d+)/mg], [1 .. 100], 'one after the other');
is_deeply(pipelined(@hundred), [(200) x 50, (403) x 50], 'until it is full');



=== TEST 7: what is a lookup: HEAD, a range, a cached or unchanged answer
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- http_config
proxy_cache_path  $PG_TMP/$PG_POLICY.cache keys_zone=$PG_POLICY:1m;
--- user_files
>>> file
0123456789
--- config
patient_guard  $PG_POLICY;
add_header     X-Count $patient_guard_count always;

location = /file {
}
location /cached {
    proxy_cache        $PG_POLICY;
    proxy_cache_valid  any 1h;
    add_header         X-Cache $upstream_cache_status always;
    add_header         X-Count $patient_guard_count always;
    proxy_pass         http://$PG_PORTAL;
}
location /portal {
    proxy_pass  http://$PG_PORTAL;
}
location = /gif {
    empty_gif;
}
--- after
is(thrice('/portal', method => 'HEAD', 'X-Account' => 'head'), $::COUNTED,
   'HEAD');
is(get('/portal', method => 'HEAD', 'X-Account' => 'head')->{body}, '',
   'and its refusal has no body');
is(thrice('/file', Range => 'bytes=2-4', 'X-Account' => 'range'),
   '206 1, 206 2, 403 2', 'Range');
my $etag = get('/file', 'X-Account' => 'etag')->{headers}{etag};
is(thrice('/file', 'If-None-Match' => $etag, 'X-Account' => 'etag-2'),
   '304 1, 304 2, 403 2', 'If-None-Match');
get('/cached', 'X-Account' => 'somebody');
is(get('/cached', 'X-Account' => 'cache')->{headers}{'x-cache'}, 'HIT',
   'an answer from the cache');
is(thrice('/cached', 'X-Account' => 'cache'), '200 2, 403 2, 403 2',
   'is counted');
is(thrice('/gif', 'X-Account' => 'gif'), $::COUNTED, 'a content handler');
is(thrice('/portal', method => 'FOO', 'X-Account' => 'foo'), $::COUNTED,
   'an unknown method');
is(thrice('/portal', method => 'OPTIONS', 'X-Account' => 'options'),
   '200 -, 200 -, 200 -', 'OPTIONS is none');



=== TEST 8: a refused request may have a body: the next one is understood
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    client_max_body_size  1m;
    patient_guard         $PG_POLICY;
    proxy_pass            http://$PG_PORTAL;
}
location /open {
    proxy_pass  http://$PG_PORTAL;
}
--- after
my $post = sub {
    my ($body, @headers) = @_;
    return join "\r\n", 'POST / HTTP/1.1', 'Host: localhost',
                        'X-Account: dupont', @headers, '', $body;
};
my $last = one('/open', 'Connection: close');
my $large = 'GET /open HTTP/1.1' x 30_000;

is_deeply(pipelined($post->('body', 'Content-Length: 4'), $last), [200, 200],
          'let through');
is_deeply(pipelined($post->('', 'Content-Length: 0'), $last), [403, 200],
          'no body');
is_deeply(pipelined($post->('body', 'Content-Length: 4'), $last), [403, 200],
          'a short one');
is_deeply(pipelined($post->($large, 'Content-Length: ' . length $large),
                    $last), [403, 200], 'a large one');
is_deeply(pipelined($post->("4\r\nbody\r\n0\r\n\r\n",
                            'Transfer-Encoding: chunked'), $last),
          [403, 200], 'a chunked one');
is_deeply(pipelined($post->(sprintf("%x\r\n%s\r\n0\r\n\r\n", length $large,
                                    $large), 'Transfer-Encoding: chunked'),
                    $last), [403, 200], 'a large chunked one');
is_deeply(pipelined($post->('body', 'Content-Length: 4',
                            'Expect: 100-continue'), $last),
          [403, 200], 'one that is announced, without a 100');

# byte by byte, on two connections at once
my @sockets = map { PatientGuard::client() } 1 .. 2;
for my $byte (split //, $post->('body', 'Content-Length: 4') . $last) {
    syswrite $_, $byte for @sockets;
}
for my $socket (@sockets) {
    my $answers = do { local $/; <$socket> };
    is_deeply(statuses($answers), [403, 200], 'byte by byte');
}



=== TEST 9: a body is there for whoever comes behind the guard
--- policy
account  $http_x_account trusted;
limit    lookups=100/1h deny;
--- config
location / {
    client_body_buffer_size  16k;
    client_max_body_size     1m;
    patient_guard            $PG_POLICY;
    add_header               X-Body $request_body;
    add_header               X-File $request_body_file;
    proxy_pass               http://$PG_PORTAL;
}
--- after
my $post = sub {
    my ($body, @headers) = @_;
    return PatientGuard::answer(raw(
        join "\r\n", 'POST / HTTP/1.1', 'Host: localhost',
             'X-Account: dupont', 'Connection: close', @headers, '', $body));
};
is($post->('', 'Content-Length: 0')->{headers}{'x-body'}, undef, 'none');
is($post->('body', 'Content-Length: 4')->{headers}{'x-body'}, 'body', 'short');
is($post->("4\r\nbody\r\n0\r\n\r\n", 'Transfer-Encoding: chunked')
       ->{headers}{'x-body'}, 'body', 'chunked');
my $large = $post->('x' x 900_000, 'Content-Length: 900000');
is($large->{status}, 200, 'large');
ok($large->{headers}{'x-file'}, 'in a file');



=== TEST 10: beside limit_req, limit_except, if, and return
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- http_config
limit_req_zone  $http_x_account zone=$PG_POLICY:1m rate=1r/m;
--- config
patient_guard  $PG_POLICY;
add_header     X-Count $patient_guard_count always;

location /limit_req {
    limit_req         zone=$PG_POLICY burst=1 nodelay;
    limit_req_status  429;
    proxy_pass        http://$PG_PORTAL;
}
location /limit_except {
    limit_except GET {
        deny  all;
    }
    proxy_pass  http://$PG_PORTAL;
}
location /if {
    if ($arg_open) {
        add_header  X-If yes;
    }
    proxy_pass  http://$PG_PORTAL;
}
location /return {
    return 200 "before the guard\n";
}
--- after
is(thrice('/limit_req', 'X-Account' => 'a'), '200 1, 200 2, 429 -',
   'what limit_req refuses is not counted');
is(thrice('/limit_except', 'X-Account' => 'b', method => 'POST'),
   '403 -, 403 -, 403 -', 'nor what limit_except refuses');
is(thrice('/limit_except', 'X-Account' => 'b'), $::COUNTED,
   'what it lets through is');
is(get('/if?open=1', 'X-Account' => 'c')->{headers}{'x-if'}, 'yes', 'an if');
is(thrice('/if', 'X-Account' => 'c'), '200 2, 403 2, 403 2',
   'has the guard of its location');
is(thrice('/return', 'X-Account' => 'd'), '200 -, 200 -, 200 -',
   'return answers before the guard is asked');



=== TEST 11: whoever hangs up while the guard holds a lookup
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  30s;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $sockets = sub {
    my ($worker) = workers_of();
    return scalar grep { (readlink($_) // '') =~ /^socket:/ }
        glob "/proc/$worker/fd/*";
};
is(get('/', 'X-Account' => "account-$_")->{status}, 200, 'the first lookup')
    for 1 .. 3;
my $before = $sockets->();

# in the ways that a client may go: some wait, and some did not even ask
my @clients = map {
    my $client = PatientGuard::client();
    syswrite $client, one('/', "X-Account: account-" . ($_ % 3 + 1))
                      =~ s/X-Account: dupont\r\n//r;
    $client;
} 1 .. 60;
ok(wait_for(sub { $sockets->() >= $before + 60 }), 'sixty are held');
for my $i (0 .. $#clients) {
    setsockopt $clients[$i], Socket::SOL_SOCKET, Socket::SO_LINGER,
               pack 'ii', 1, 0 if $i % 2;
    close $clients[$i];
}
ok(wait_for(sub { $sockets->() <= $before }), 'their connections are closed');
ok(wait_for(sub { (() = access_log() =~ /" 499 /g) == 60 }),
   'and logged as such');
is(get('/', 'X-Account' => 'other')->{status}, 200, 'others go on');
unlike(error_log(), qr/\[(alert|crit|emerg)\]/, 'nothing is wrong');



=== TEST 12: a worker that is told to go waits for what the guard holds
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  30s;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(get('/', 'X-Account' => 'dupont')->{status}, 200, 'the first lookup');
my ($worker) = workers_of();
my $client = PatientGuard::client();
syswrite $client, one('/held');
ok(wait_for(sub { error_log() =~ m{http request line: "GET /held } }), 'held');
kill 'HUP', nginx_pid();
ok(wait_for(sub { error_log() =~ /gracefully shutting down/ }), 'told to go');
is(get('/', 'X-Account' => 'durand')->{status}, 200, 'the new one answers');
ok(kill(0, $worker), 'the old one is still there');
ok(IO::Select->new($client)->can_read(15 * ($ENV{PG_SLOW} // 1)), 'it holds');
sysread $client, my $answer, 65536;
like($answer, qr{^HTTP/1.1 200}, 'and lets through, when it fits');
close $client;
ok(wait_for(sub { !kill(0, $worker) }), 'then it goes');
unlike(error_log(), qr/\[alert\]|open socket/, 'and leaves nothing open');



=== TEST 13: with worker_shutdown_timeout it does not
--- main_config
worker_shutdown_timeout  200ms;
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  30s;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(get('/', 'X-Account' => 'dupont')->{status}, 200, 'the first lookup');
my ($worker) = workers_of();
my @clients = map {
    my $client = PatientGuard::client();
    syswrite $client, one('/held');
    $client;
} 1 .. 5;
ok(wait_for(sub { 5 == (() = error_log() =~ m{request line: "GET /held }g) }),
   'five are held');
my $start = Time::HiRes::time();
kill 'HUP', nginx_pid();
for my $client (@clients) {
    ok(IO::Select->new($client)->can_read(5 * ($ENV{PG_SLOW} // 1)), 'closed');
    sysread $client, my $answer, 65536;
    is($answer, '', 'without an answer');
}
ok(wait_for(sub { !kill(0, $worker) }), 'the old worker goes');
cmp_ok(Time::HiRes::time() - $start, '<', 5 * ($ENV{PG_SLOW} // 1), 'soon');
like(error_log(), qr/exited with code 0/, 'in order');
unlike(error_log(), qr/\[alert\].*(signal|open socket)/,
       'and leaves nothing open');
is(get('/', 'X-Account' => 'durand')->{status}, 200, 'the new one answers');
