# The ways by which a response comes, and goes wrong: it is counted, or not
# sent, and nothing hangs.

use lib 't/lib';
use PatientGuard;
use Pages;

use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);

# an upstream of its own: what it answers to the path, as bytes, in pieces;
# undef waits until the client is gone

our %ANSWERS = (
    dies    => ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n/1/2/3/4"],
    slow    => ["HTTP/1.1 200 OK\r\n\r\n", map { "/$_ " } 1 .. 30],
    chunks  => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", map({ "2\r\n/$_\r\n" } 1 .. 9), "0\r\n\r\n"],
    broken  => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\n/1\r\n", "oops"],
    upgrade => ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", '/1/2'],
    empty   => ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    none    => ["HTTP/1.1 204 No Content\r\n\r\n"],
    early   => ["HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/1"],
    gzip    => ["HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n/1/2"],
    stuck   => ["HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/1", undef],
    silent  => [undef],
    accel   => ["HTTP/1.1 200 OK\r\nX-Accel-Redirect: /inner/page/5/6\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"],
);

sub upstream {
    my $path = server_root() . '/logs/scripted.sock';
    unlink $path;
    my $server = IO::Socket::UNIX->new(Local => $path, Listen => 64)
        or die "$path: $!\n";
    chmod 0777, $path;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{TERM} = 'DEFAULT';
    $SIG{CHLD} = 'IGNORE';
    while (my $socket = $server->accept) {
        next if fork;
        my $text = '';
        until ($text =~ /\r\n\r\n/) {
            sysread $socket, $text, 4096, length $text or POSIX::_exit(0);
        }
        my ($name) = $text =~ m{^\w+ /(\w+)};
        for my $piece (@{$ANSWERS{$name} // ["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]}) {
            if (!defined $piece) { sysread $socket, $text, 1; last }
            syswrite $socket, $piece;
            select undef, undef, undef, 0.002;
        }
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

our $pid;
sub begin { $pid = upstream() }
sub end { kill 'TERM', $pid; waitpid $pid, 0 }

sub nginx_is { `$ENV{TEST_NGINX_BINARY} -v 2>&1` =~ m{/(\d+\.\d+)} ? $1 : 0 }

sub told { my $answer = pages(@_); return "$answer->{status} $answer->{body}" =~ s/\s+\z//r }

run_tests();

__DATA__

=== TEST 1: upstreams that die, dribble, switch, or say nothing
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard_response_match  "/(?<patient>\d+)";
proxy_http_version            1.1;
proxy_read_timeout            2s;
proxy_next_upstream           off;
location / {
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:;
}
location /unbuffered/ {
    patient_guard                 $PG_POLICY;
    proxy_buffering               off;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /gated/unbuffered/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_buffering               off;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /upgrade {
    patient_guard                 $PG_POLICY;
    proxy_set_header              Upgrade x;
    proxy_set_header              Connection upgrade;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:;
}
location /gated/upgrade {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_set_header              Upgrade x;
    proxy_set_header              Connection upgrade;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/upgrade;
}
--- after
begin();
my $all = join ' ', map { "/$_" } 1 .. 30;
my $nine = join '', map { "/$_" } 1 .. 9;
for my $way ('/', '/unbuffered/', '/gated/', '/gated/unbuffered/') {
    my $gated = $way =~ /gated/;
    is(told("${way}slow", "${way}slow"), "200 $all", "${way}slow");
    has_counted("${way}slow", 30, 'thirty');
    is(told("${way}chunks", "${way}chunks"), "200 $nine", "${way}chunks");
    has_counted("${way}chunks", 9, 'nine');
    like(told("${way}dies", "${way}dies"), $gated ? qr/^502 / : qr{^200 /1/2/3/4$}, "${way}dies");
    has_counted("${way}dies", $gated ? 0 : 4, 'what had left');
    my $answer = pages("${way}broken", "${way}broken");
    unlike($answer->{body}, qr{/1}, "${way}broken") if $gated;
    is(told("${way}empty", "${way}empty"), '200', "${way}empty");
    is(told("${way}none", "${way}none"), '204', "${way}none");
    has_counted("${way}empty", 1, 'its URI');
    has_counted("${way}none", 1, 'its URI');
    is(told("${way}early", "${way}early"), '200 /1', "${way}early") if nginx_is() >= 1.29;
    is(pages("${way}gzip", "${way}gzip")->{status}, 502, "${way}gzip");
    is(pages("${way}silent", "${way}silent")->{status}, 504, "${way}silent");
    $answer = pages("${way}stuck", "${way}stuck");
    like($answer->{body}, $gated ? qr/"Bad Gateway"/ : qr{^(/1)?$}, "${way}stuck");
}
for my $way ('/', '/gated/') {
    my $answer = pages('dupont', "${way}upgrade", Upgrade => 'x', Connection => 'upgrade');
    is($answer->{status}, 502, "${way}upgrade");
    unlike($answer->{body}, qr{/1/2}, 'no tunnel');
}
end();
--- error_log eval
qr/start worker|\[error\]/



=== TEST 2: X-Accel-Redirect, error pages, mirrors, what is added, try_files
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard_response_match  "/(?<patient>\d+)";
location / {
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /inner/ {
    internal;
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   off;
    proxy_pass                    http://$PG_PAGES/;
}
location /missing/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_intercept_errors        on;
    error_page                    404 /inner/page/7/8/9;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /tried/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    try_files                     /nothing @tried;
}
location @tried {
    rewrite                       ^ /page/1/2 break;
    proxy_pass                    http://$PG_PAGES;
}
location /mirrored/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    mirror                        /mirror;
    proxy_pass                    http://$PG_PAGES/page/;
}
location /mirror {
    internal;
    proxy_pass                    http://$PG_PAGES/page/100/101;
}
location /added/ {
    patient_guard                 $PG_POLICY;
    add_before_body               /before;
    add_after_body                /after;
    addition_types                *;
    proxy_pass                    http://$PG_PAGES/page/;
}
location /gated/added/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    add_before_body               /before;
    add_after_body                /after;
    addition_types                *;
    proxy_pass                    http://$PG_PAGES/page/;
}
location = /before { proxy_pass http://$PG_PAGES/page/50/51; }
location = /after { proxy_pass http://$PG_PAGES/page/52/1; }
location /auth/ {
    auth_request                  /before;
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://$PG_PAGES/page/;
}
location /rewritten/ {
    error_page                    418 = /gated/none;
    patient_guard                 $PG_POLICY;
    return                        418;
}
--- after
begin();
is(told('a', '/accel'), '200 patients: /page/5/6/', 'redirected');
has_counted('a', 2, 'two');
is(told('b', '/gated/accel'), '200 patients: /page/5/6/', 'redirected, and held');
has_counted('b', 2, 'two');
is(told('b2', '/gated/accel?p=1') =~ s/ ?\{.*//r, '403', 'or refused');
has_counted('b2', 0, 'nobody');
is(told('c', '/missing/x'), '404 patients: /page/7/8/9/', 'an error page');
has_counted('c', 3, 'three');
is(told('d', '/tried/x'), '200 patients: /page/1/2/', 'tried');
has_counted('d', 2, 'two');
is(told('e', '/mirrored/1'), '200 patients: /page/1/', 'mirrored');
has_counted('e', 1, 'one');
is(told('f', '/added/1/2'), '200 patients: /page/50/51/patients: /page/1/2/patients: /page/52/1/', 'added');
has_counted('f', 5, 'five');
is(told('g', '/gated/added/1/2'), '200 patients: /page/50/51/patients: /page/1/2/patients: /page/52/1/', 'added, and held');
has_counted('g', 5, 'five');
is(pages('g', '/gated/added/3/4?p=6')->{status}, 403, 'or refused');
unlike(pages('h', '/gated/added/1/2?p=3')->{body} // '', qr{/52}, 'or cut off');
is(told('i', '/auth/1/2'), '200 patients: /page/1/2/', 'auth_request');
has_counted('i', 2, 'two');
end();



=== TEST 3: clients that go away, at any time, and slow readers
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard_response_match  "id=(?<patient>\d+)";
location /gated/ {
    alias                         $TEST_NGINX_SERVROOT/html/;
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k;
}
location /proxied/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k;
    proxy_pass                    http://$PG_PAGES/;
}
location /open/ {
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://$PG_PAGES/;
}
location /stuck/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:/;
}
location /limited/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on buffer=1k;
    limit_rate                    20m;
    proxy_pass                    http://$PG_PAGES/;
}
--- user_files eval
">>> large\n" . CORE::join '', map { sprintf "id=%03d %060d\n", $_ / 10, $_ } 1 .. 4000
--- after
begin();
my $file = PatientGuard::slurp(server_root() . '/html/large');
for my $way (qw(gated proxied open limited)) {
    for my $n (1 .. 30) {
        my $socket = PatientGuard::client();
        syswrite $socket, "GET /$way/large HTTP/1.1\r\nHost: localhost\r\nX-Account: $way\r\n\r\n";
        select undef, undef, undef, 0.001 * ($n % 10);
        sysread $socket, my $text, 1000 if $n % 2;
        $n % 3 ? close $socket : setsockopt($socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
    }
    my $socket = PatientGuard::client();
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, pack 'i', 16384;
    syswrite $socket, "GET /$way/large HTTP/1.0\r\nX-Account: $way-slow\r\n\r\n";
    my $text = '';
    while (sysread $socket, $text, 30_000, length $text) {
        select undef, undef, undef, 0.0005;
    }
    ok((split /\r\n\r\n/, $text, 2)[1] eq $file, "$way: read slowly, it is all there");
    has_counted("$way-slow", 401, 'and counted');
}
for my $n (1 .. 30) {
    my $socket = PatientGuard::client();
    syswrite $socket, "GET /stuck/" . ($n % 2 ? 'stuck' : 'silent') . " HTTP/1.1\r\nHost: localhost\r\nX-Account: stuck\r\n\r\n";
    select undef, undef, undef, 0.002 * ($n % 5);
    close $socket;
}
is(told('late', '/proxied/none') =~ s/\s.*//sr, 404, 'it goes on');
ok(wait_for(sub { !glob(server_root() . '/client_body_temp/*/*/*') }), 'no file is left');
end();



=== TEST 4: a cache that is filled, renewed in the background, waited for
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
proxy_cache_path $TEST_NGINX_SERVROOT/cache keys_zone=ways:1m;
--- config
patient_guard_response_match     "/(?<patient>\d+)";
proxy_cache                      ways;
proxy_cache_key                  $uri;
proxy_cache_lock                 on;
proxy_cache_use_stale            updating;
proxy_cache_background_update    on;
proxy_cache_valid                200 1s;
location / {
    patient_guard                 $PG_POLICY;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Cache $upstream_cache_status;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_gate   on;
    rewrite                       ^/gated(.*) $1 break;
    proxy_pass                    http://$PG_PAGES;
    add_header                    X-Cache $upstream_cache_status;
}
--- after
my %statuses;
$statuses{$_}++ for burst(20, sub { ($_[0] % 2 ? '/gated' : '') . '/page/1/2/3' }, 'X-Account' => 'burst');
is_deeply(\%statuses, { 200 => 20 }, 'twenty at once');
has_counted('burst', [3, 60], 'three, twenty times');
my %seen;
ok(wait_for(sub {
    my $answer = pages('stale', '/gated/page/1/2/3');
    $seen{$answer->{headers}{'x-cache'} // '-'}++;
    return $seen{STALE} || $seen{EXPIRED};
}), 'until it is stale');
my $counted = counted('stale');
is($counted->[0], 3, 'it is counted all the same');
is($counted->[1] % 3, 0, 'whole');



=== TEST 5: reloaded while responses are held
--- policy
account         $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/scripted.sock:;
}
--- after
begin();
my @sockets = map {
    my $socket = PatientGuard::client();
    syswrite $socket, "GET /slow HTTP/1.0\r\nX-Account: dupont\r\n\r\n";
    $socket;
} 1 .. 10;
ok(reload(), 'old workers go');
local $/;
my @statuses = map { (<$_> // '') =~ m{^HTTP/1\.1 (\d+)} } @sockets;
is("@statuses", join(' ', (200) x 10), 'when all are answered');
has_counted('dupont', [30, 300], 'and counted');
end();
--- no_error_log
open socket
