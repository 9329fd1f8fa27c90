# A server of Redis with several addresses: what waits for it need not know.

use lib 't/lib';
use Preload 'addresses';
use PatientGuard;

run_tests();

__DATA__

=== TEST 1: the first of two refuses
--- policy
account        $http_x_account  trusted;
limit          lookups=1/1h deny;
secret         $PG_KEY;
redis          prefix=$PG_PREFIX second.test:$PG_REDIS_PORT;
redis_timeout  5s;
on_outage      deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Source $patient_guard_source always;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /", "GET /"]
--- error_code eval
[200, 403]
--- response_headers eval
["X-Source: redis", "X-Source: redis"]
--- no_error_log
is away



=== TEST 2: the first two of three
--- policy
account        $http_x_account  trusted;
limit          lookups=50/1h deny;
secret         $PG_KEY;
redis          prefix=$PG_PREFIX third.test:$PG_REDIS_PORT;
redis_timeout  5s;
on_outage      deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my %by;
$by{$_}++ for burst(100, '/', 'X-Account' => 'dupont');
is_deeply(\%by, { 200 => 50, 403 => 50 }, 'all that waited are answered');
unlike(error_log(), qr/is away/, 'and nobody noticed');



=== TEST 3: all refuse, and one outage it is
--- policy
account        $http_x_account  trusted;
limit          lookups=50/1h deny;
secret         $PG_KEY;
redis          none.test:$PG_REDIS_PORT;
redis_timeout  5s;
on_outage      deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $start = Time::HiRes::time();
my %by;
$by{$_}++ for burst(100, '/', 'X-Account' => 'dupont');
is_deeply(\%by, { 503 => 100 }, 'by on_outage');
cmp_ok(Time::HiRes::time() - $start, '<', 5, 'without waiting for a time-out');
is(scalar(() = error_log() =~ /is away: connect\(\) failed/g), 1,
   'a line in the log');



=== TEST 4: an address that takes the connection and lets go of it
the next one is tried when the back-off is over
--- http_config eval
"server { listen 127.0.0.2:\$PG_FAKE_PORT; return 444; }"
--- policy
account        $http_x_account  trusted;
limit          lookups=50/1h deny;
secret         $PG_KEY;
redis          prefix=$PG_PREFIX second.test:$PG_FAKE_PORT;
redis_timeout  5s;
on_outage      deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->send($peer->real(@command));
--- after
is(get('/', 'X-Account' => 'dupont')->{status}, 503, 'no Redis at the first');
ok(wait_for(sub { get('/', 'X-Account' => 'dupont')->{status} == 200 }),
   'but at the second');
like(error_log(), qr/is away.*is back/s, 'as the log says');
