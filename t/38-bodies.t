# Bodies that can't be read, or hide whom they name; responses without one that
# are held back.

use lib 't/lib';
use PatientGuard;
use Pages;
use Upstream;

use Http2;

# what comes in so many seconds, whether the connection was closed, and when

sub within {
    my ($seconds, @pieces) = @_;
    my $socket = PatientGuard::client();
    my $text = '';
    my $begun = time;
    for my $i (0 .. $#pieces) {
        select undef, undef, undef, 0.2 if $i;
        syswrite $socket, $pieces[$i];
    }
    my $end = $begun + $seconds;
    my $select = IO::Select->new($socket);
    while (time < $end) {
        $select->can_read(0.1) or next;
        sysread $socket, $text, 65536, length $text
            or return ($text, 1, time - $begun);
    }
    return ($text, 0, $seconds);
}

our $SLOWLY = <<'POLICY';
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
$PG_LIMITS;
POLICY

our $FILES = <<'NGINX';
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/files.sock;
    location / { root $TEST_NGINX_SERVROOT/html; }
}
NGINX

run_tests();

__DATA__

=== TEST 1: HEAD and 304 of what is larger than may be held
--- policy eval: $::SLOWLY
--- fake_redis eval: ::slow(0.3)
--- config
location / {
    root html;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on buffer=1k file=0;
}
--- user_files eval
">>> a.txt\n" . 'x' x 100_000
--- after
is(pages('dupont', '/a.txt', method => 'HEAD')->{status}, 200, 'HEAD');
is(pages('dupont', '/a.txt', 'If-Modified-Since' => POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime +(stat server_root() . '/html/a.txt')[9]))->{status}, 304, 'not modified');

=== TEST 2: HEAD that nginx asks for as GET, to cache it, while Redis is asked
--- policy eval: $::SLOWLY
--- fake_redis eval: ::slow(0.5)
--- http_config
proxy_cache_path $PG_TMP/cache5-$PG_POLICY keys_zone=c5:1m;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_cache c5;
    proxy_cache_valid 200 1m;
    proxy_pass http://$UP;
}
location /convert {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_method GET;
    proxy_max_temp_file_size 0;
    proxy_pass http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n";
    for (1 .. 40) { print $socket 'x' x 100_000; select undef, undef, undef, 0.04; }
};
for my $uri ('/a', '/convert') {
my ($text, $closed, $after) = within(7, PatientGuard::request($uri, method => 'HEAD', 'X-Account' => 'dupont'));
ok($closed, "$uri: no hanging");
like($text, qr/^HTTP\/1.1 200/);

}
upstream_gone();

=== TEST 3: a body that is found too large, or broken, when it is being read; with an error_page
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    client_max_body_size 1k;
    error_page 413 400 /sorry;
    patient_guard                 $PG_POLICY;
    patient_guard_request_match   "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
location /sorry { internal; root html; }
--- user_files
>>> sorry
so sorry
--- after
my $head = "POST /x HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
my $large = "1000\r\n" . 'x' x 4096 . "\r\n0\r\n\r\n";
for (['413 at once', $head . $large], ['413 later', $head, $large],
     ['400 at once', $head . "zz\r\n"], ['400 later', $head, "zz\r\n"])
{
    my ($name, @pieces) = @$_;
    my ($text, $closed) = within(4, @pieces);
    my ($status) = $name =~ /(\d+)/;
    ok($closed, "$name: no hanging");
    like($text, qr{^HTTP/1.1 $status .*so sorry}s, "$name: its page");
}
--- error_log eval
qr/start worker|\[error\]/

=== TEST 4: identifiers behind padding
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_request_match   "(?:^|&)(?:_id|identifier)=(?<patient>[^&]+)";
    proxy_pass                    http://$PG_PAGES;
}
location /json {
    patient_guard                 $PG_POLICY;
    patient_guard_request_match   "\"id\"\s*:\s*\"(?<patient>[^\"]+)\"";
    proxy_pass                    http://$PG_PAGES;
}
--- after
my $post = sub {
    my ($account, $uri, $type, $body) = @_;
    my ($text) = within(3, "POST $uri HTTP/1.1\r\nHost: localhost\r\nX-Account: $account\r\nConnection: close\r\nContent-Type: $type\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
    return $text =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
};
my $form = 'application/x-www-form-urlencoded';
my $status = $post->('a', '/x', $form, '_id=' . CORE::join ',', map { 1000000000 + $_ } 1 .. 500);

is(counted('a')->[0], 500, 'all of a long list, or none') if $status < 400 || $status == 404;
$status = $post->('b', '/x', $form, '_id=' . ',' x 5000 . CORE::join ',', map { 1000000000 + $_ } 1 .. 300);

is(counted('b')->[0], 300, 'all of a padded list, or none') if $status < 400 || $status == 404;
$status = $post->('c', '/json', 'application/json', '[' . CORE::join(',', map { '{"id":' . ' ' x 4200 . "\"$_\"}" } 1 .. 200) . ']');

is(counted('c')->[0], 200, 'all of a padded Bundle, or none') if $status < 400 || $status == 404;

