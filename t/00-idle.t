# A module that is loaded and not asked for anything changes nothing.

use lib 't/lib';
use PatientGuard;

run_tests();

__DATA__

=== TEST 1: files and proxied answers as without the module
--- config
location /portal {
    proxy_pass  http://$PG_PORTAL;
}
location /none {
    log_not_found  off;
}
--- pipelined_requests eval
["GET /", "GET /portal", "GET /none", "POST /portal"]
--- error_code eval
[200, 200, 404, 200]
--- no_error_log
patient guard



=== TEST 2: reads nothing of a request, adds nothing to an answer
--- config
location /portal {
    proxy_pass  http://$PG_PORTAL;
}
--- request
POST /portal
a body
--- response_body
record of /portal
--- after
my $answer = get('/portal');
is_deeply([sort keys %{ $answer->{headers} }],
          [qw(connection content-length content-type date server)],
          'no header of the module');



=== TEST 3: all that was asked for comes back after a reload
--- config
location /portal {
    proxy_pass  http://$PG_PORTAL;
}
--- after
my $pid = nginx_pid();
kill 'HUP', $pid;
ok(wait_for(sub { error_log() =~ /worker process \d+ exited with code 0/ }),
   'the old worker goes');
is(get('/portal')->{status}, 200, 'the new one answers');
