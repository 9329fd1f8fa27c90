# What takes the place of a response that is held back: at any moment, with any
# error page; and what can be held at all.

use lib 't/lib';
use PatientGuard;
use Pages;
use Upstream;

# what comes in so many seconds, and whether the connection was closed

sub within {
    my ($seconds, $bytes) = @_;
    my $socket = PatientGuard::client();
    print $socket $bytes;
    $socket->flush;
    my $text = '';
    my $end = time + $seconds;
    my $select = IO::Select->new($socket);
    while (time < $end) {
        $select->can_read(0.2) or next;
        sysread $socket, $text, 65536, length $text or return ($text, 1);
    }
    return ($text, 0);
}

run_tests();

__DATA__

=== TEST 1: a Range of what is held by its number of records alone
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(0.2)
--- config
set $records_said 3;
location /files/ {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $records_said;
    patient_guard_response_gate   on;
    alias html/;
}
--- user_files
>>> a.txt
0123456789abcdefghijklmnopqrstuvwxyz
--- after
my $answer = pages('dupont', '/files/a.txt', Range => 'bytes=0-3');
is("$answer->{status} " . length $answer->{body},
   "$answer->{status} $answer->{headers}{'content-length'}", 'as long as it says');



=== TEST 2: the same, whole before Redis answers, and the error_page takes its time
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(1)
--- config
set $records_said 3;
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $records_said;
    patient_guard_response_gate   on buffer=4k file=0;
    proxy_pass                    http://$UP;
    error_page                    502 = @sorry;
}
location @sorry {
    rewrite ^ /sorry break;
    proxy_pass http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    if ($text =~ m{^GET /sorry}) {
        sleep 3;
        print $socket "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsorry";
        return;
    }
    print $socket "HTTP/1.1 200 OK\r\n\r\n" . 'patient ' x 1000;
};
my $answer = pages('dupont', '/big');
unlike($answer->{body}, qr/patient/, 'nothing of what was too large');
is(substr($answer->{body}, 0, 99), 'sorry', 'but the page in its place');
upstream_gone();
--- error_log eval
qr/start worker|\[error\]/



=== TEST 3: too large while Redis is asked, not whole yet
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(1)
--- config
set $records_said 3;
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $records_said;
    patient_guard_response_gate   on buffer=4k file=0;
    proxy_pass                    http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\n\r\n" . 'patient ' x 5000;
    sleep 2;
    print $socket "the end";
};
my $answer = pages('dupont', '/big');
is($answer->{status}, 502, 'refused, not cut short');
unlike($answer->{body}, qr/patient/, 'nothing of what was too large');
upstream_gone();
--- error_log eval
qr/start worker|\[error\]/



=== TEST 4: the upstream dies in the middle of what is held
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n/1/2/3";
};
my ($text, $closed) = within(5, PatientGuard::request('/x', 'X-Account' => 'dupont'));
ok($closed, 'the client does not wait for send_timeout');
upstream_gone();
--- error_log eval
qr/start worker|\[error\]/



=== TEST 5: a tunnel, held by its number of records
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $upstream_http_x_records;
    patient_guard_response_gate   on;
    proxy_http_version            1.1;
    proxy_set_header              Upgrade $http_upgrade;
    proxy_set_header              Connection upgrade;
    proxy_pass                    http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 101 Switching Protocols\r\nX-Records: 5\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    sleep 1;
    print $socket "patients of the tunnel";
};
my ($text, $closed) = within(5, "GET /x HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
unlike($text, qr/patients of the tunnel/, 'nothing comes through');
like($text, qr/^HTTP\/1.1 (403|502)/, 'but a refusal');
upstream_gone();



=== TEST 6: what the gate refuses has a body, which its error_page's upstream gets
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config
client_body_buffer_size 1k;
location / {
    error_page                    403 = @other;
    patient_guard                 $PG_POLICY;
    patient_guard_methods         POST;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
location @other {
    proxy_pass http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsorry";
};
my ($text) = within(3, "POST /page/1/2 HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nConnection: close\r\nContent-Length: 9000\r\n\r\n" . 'x' x 9000);
like($text, qr/sorry/, 'the page');
upstream_gone();



=== TEST 7: a client that went away, whom the upstream does not care about
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(1)
--- config
set $records_said 3;
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $records_said;
    patient_guard_response_gate   on;
    proxy_ignore_client_abort     on;
    proxy_buffer_size             4k;
    proxy_pass                    http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\n\r\n" . 'patient ' x 100_000;
    sleep 3;
    print $socket "the end";
};
my $socket = PatientGuard::client();
print $socket PatientGuard::request('/x', 'X-Account' => 'dupont');
$socket->flush;
sleep 1.5;
setsockopt $socket, Socket::SOL_SOCKET, Socket::SO_LINGER, pack 'ii', 1, 0;
close $socket;
sleep 2.5;
is(pages('dupont', '/started')->{status}, 204, 'the worker lives');
ok(error_log() !~ /exited on signal|AddressSanitizer|exited with code [1-9]/, 'and none has died');
upstream_gone();



=== TEST 8: HEAD of a file that is too large to be held
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(0.2)
--- config
location /files/ {
    patient_guard                 $PG_POLICY;
    patient_guard_methods         GET HEAD;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on buffer=4k file=8k;
    alias html/;
}
--- user_files eval: ">>> a.txt\n" . 'x' x 100000
--- after
is(pages('dupont', '/files/a.txt', method => 'HEAD')->{status}, 200, 'it has no body to hold');
--- error_log eval
qr/start worker|\[error\]/



=== TEST 9: allowed while the upstream pauses: what is there goes on
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
limit          lookups=1000/1h deny;
--- fake_redis eval: ::slow(1.5)
--- config
set $records_said 3;
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_records         $records_said;
    patient_guard_response_gate   on buffer=4k;
    proxy_pass                    http://$UP;
}
--- after
upstream {
    my ($socket, $text) = @_;
    print $socket "HTTP/1.1 200 OK\r\n\r\n" . 'patient ' x 2_000_000;
    sleep 12;
    print $socket "the end";
};
my ($text, $closed) = within(9, PatientGuard::request('/x', 'X-Account' => 'dupont'));
cmp_ok(length $text, '>', 16_000_000, 'all of it that is there');
upstream_gone();



=== TEST 10: slices: who stands across two of them
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/files.sock;
    location / { root $TEST_NGINX_SERVROOT/html; }
}
--- config
location / {
    slice 8;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)!";
    proxy_set_header Range $slice_range;
    proxy_pass http://unix:$TEST_NGINX_SERVROOT/logs/files.sock:/;
}
--- user_files
>>> a.txt
xxxxx/777!xxxxx/778!xxx/8!
--- after
my ($text, $closed) = within(5, PatientGuard::request('/a.txt', 'X-Account' => 'dupont'));
like($text, qr{^HTTP/1\.1 502 }, 'it is not sent');
unlike($text, qr{/\d+!}, 'nor any of it');
has_counted('dupont', [0, 1], 'it was asked for');
like(error_log(), qr/the response comes in slices, and can't be counted/);



=== TEST 11: slices at a gate
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/files.sock;
    location / { root $TEST_NGINX_SERVROOT/html; }
}
--- config
location / {
    slice 8;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)!";
    patient_guard_response_gate on;
    proxy_set_header Range $slice_range;
    proxy_pass http://unix:$TEST_NGINX_SERVROOT/logs/files.sock:/;
}
--- user_files
>>> b.txt
/1!/2!/3!/4!/5!/6!/7!/8!
--- after
my ($text, $closed) = within(5, PatientGuard::request('/b.txt?p=4', 'X-Account' => 'martin'));
unlike($text, qr{/\d!}, 'nothing of what is over the limit');



=== TEST 12: slices at a gate, and Redis takes its time
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  3s;
$PG_LIMITS;
--- fake_redis eval: ::slow(0.3)
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/files.sock;
    location / { root $TEST_NGINX_SERVROOT/html; }
}
--- config
location / {
    slice 8;
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)!";
    patient_guard_response_gate on;
    proxy_set_header Range $slice_range;
    proxy_pass http://unix:$TEST_NGINX_SERVROOT/logs/files.sock:/;
}
--- user_files
>>> b.txt
/1!/2!/3!/4!/5!/6!/7!/8!
--- after
my ($text, $closed) = within(6, PatientGuard::request('/b.txt?p=1', 'X-Account' => 'martin'));
ok($closed, 'it does not hang');
