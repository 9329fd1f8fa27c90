# Requests that wait for Redis, and what may happen to them meanwhile.

use lib 't/lib';
use PatientGuard;

use IO::Select;
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time);

sub asks {
    my ($uri, @headers) = @_;

    return join "\r\n", "GET $uri HTTP/1.1", 'Host: localhost',
                        'X-Account: dupont', @headers, '', '';
}

sub asking {
    my $client = PatientGuard::client();
    syswrite $client, asks(@_);
    return $client;
}

sub hang_up {
    my ($client, $reset) = @_;

    setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $reset;
    close $client;
}

sub statuses { [$_[0] =~ m{HTTP/1\.1 (\d+) }g] }

sub workers_of { split ' ', `ps -o pid= --ppid ${\ nginx_pid()}` }

sub sockets_of {
    my ($worker) = @_;

    return scalar grep { (readlink($_) // '') =~ /^socket:/ }
        glob "/proc/$worker/fd/*";
}

# GET requests that nginx has read
sub requests_read {
    return scalar(() = error_log() =~ m{http request line: "GET /\?}g);
}

sub logged {
    my ($what) = @_;
    return scalar(() = error_log() =~ /$what/g);
}

run_tests();

__DATA__

=== TEST 1: clients hang up while Redis thinks
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  10s;
limit          lookups=1000/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
my $wait = '$PG_TMP/$PG_POLICY.wait';
my ($worker) = workers_of();
is(get('/?', 'X-Account' => 'dupont')->{status}, 200, 'Redis answers');
my $sockets = sockets_of($worker);

open my $file, '>', $wait;
my @clients = map { asking("/?$_") } 1 .. 50;
ok(wait_for(sub { requests_read() >= 51 }), 'fifty wait');
hang_up($clients[$_], $_ % 2) for 0 .. $#clients;
ok(wait_for(sub { sockets_of($worker) == $sockets }), 'they are let go');
ok(wait_for(sub { (() = access_log() =~ /" 499 /g) == 50 }), 'logged as 499');

# the replies come, for nobody
unlink $wait;
my $answer = get('/?', 'X-Account' => 'dupont');
is($answer->{status}, 200, 'the next one is answered');
is($answer->{headers}{'x-count'}, 10,
   'who was under way counts, who waited in line was never asked for');
is(logged('is away'), 0, 'nothing is wrong');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'at all');



=== TEST 2: clients hang up at any moment
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  10s;
limit          lookups=10000/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->pause(0.002);
$peer->send($peer->real(@command));
--- after
my ($worker) = workers_of();
is(get('/?', 'X-Account' => 'dupont')->{status}, 200, 'Redis answers');
my $sockets = sockets_of($worker);

srand 20220317;
my $n = $ENV{PG_SLOW} ? 60 : 600;
for my $i (1 .. $n / 3) {
    my @clients = map { asking("/?$i-$_") } 1 .. 3;
    sleep rand 0.012;
    hang_up($_, rand > 0.5) for @clients;
}
ok(wait_for(sub { sockets_of($worker) == $sockets }), 'all are let go');
my $answer = get('/?', 'X-Account' => 'dupont');
is($answer->{status}, 200, 'the next one is answered');

# nothing is counted twice; a client may be gone before it was read
cmp_ok($answer->{headers}{'x-count'}, '<=', $n + 2, 'each once');
cmp_ok($answer->{headers}{'x-count'}, '>', 2, 'and some were counted');
is((workers_of())[0], $worker, 'by the same worker');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 3: a reload while lookups wait
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=20/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
my ($worker) = workers_of();
open my $file, '>', '$PG_TMP/$PG_POLICY.wait';
my @clients = map { asking("/?$_", 'Connection: close') } 1 .. 30;
ok(wait_for(sub { requests_read() >= 30 }), 'thirty wait');
kill 'HUP', nginx_pid();
ok(wait_for(sub { logged('gracefully shutting down') }), 'told to go');
unlink '$PG_TMP/$PG_POLICY.wait';

my %statuses;
$statuses{$_}++ for map { @{ statuses(do { local $/; <$_> }) } } @clients;
is_deeply(\%statuses, { 200 => 20, 403 => 10 }, 'all are answered, and right');
ok(wait_for(sub { !kill 0, $worker }), 'the old worker goes');
is(get('/?', 'X-Account' => 'durand')->{status}, 200, 'the new one answers');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 4: an idle connection does not keep a worker
--- policy
account        $http_x_account trusted;
limit          lookups=20/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
for (1 .. 5) {
    my ($worker) = workers_of();
    is(get('/?', 'X-Account' => 'dupont')->{headers}{'content-type'},
       'text/plain', 'Redis answers');
    kill 'HUP', nginx_pid();
    ok(wait_for(sub { !kill 0, $worker }, 3 * ($ENV{PG_SLOW} // 1)),
       'the worker goes at once');
    wait_for(sub { my @new = workers_of(); @new == 1 && $new[0] != $worker });
}
is(logged('open socket'), 0, 'and leaves nothing open');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 5: worker_shutdown_timeout while lookups wait
--- main_config
worker_shutdown_timeout  200ms;
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  60s;
limit          lookups=20/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->send($peer->real(@command)) if $command[0] eq 'PING';
--- after
my ($worker) = workers_of();
my @clients = map { asking("/?$_") } 1 .. 10;
ok(wait_for(sub { grep { /^EVAL/ } fake_commands() }), 'Redis is asked');
ok(wait_for(sub { requests_read() >= 10 }), 'ten wait');
kill 'HUP', nginx_pid();
ok(wait_for(sub { !kill 0, $worker }, 5 * ($ENV{PG_SLOW} // 1)),
   'the old worker goes soon');
my $answers = join '', map { do { local $/; <$_> } // '' } @clients;
unlike($answers, qr{HTTP/1.1 200}, 'nobody is let through');
like(error_log(), qr/process $worker exited with code 0/, 'in order');
is(logged('\[(?:crit|emerg)\]|exited on signal|open socket'), 0,
   'and leaves nothing open');



=== TEST 6: a worker that is stopped at once, while lookups wait
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  60s;
limit          lookups=20/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->send($peer->real(@command))
    if $command[0] eq 'PING' || -e '$PG_TMP/$PG_POLICY.well';
--- after
my ($worker) = workers_of();
my @clients = map { asking("/?$_") } 1 .. 10;
ok(wait_for(sub { requests_read() >= 10 }), 'ten wait');
kill 'TERM', $worker;
ok(wait_for(sub { !kill 0, $worker }), 'it goes');
open my $well, '>', '$PG_TMP/$PG_POLICY.well';
ok(wait_for(sub { my @new = workers_of(); @new == 1 }), 'another one comes');
is(get('/?', 'X-Account' => 'durand')->{status}, 200, 'and answers');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 7: requests behind one that waits, on the same connection
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=60/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->pause(0.005);
$peer->send($peer->real(@command));
--- after
my $answers = raw(join '', (asks('/?')) x 99, asks('/?', 'Connection: close'));
is_deeply(statuses($answers), [(200) x 60, (403) x 40], 'each in its turn');
is_deeply([$answers =~ /^X-Count: (\d+)/mg], [1 .. 60, (60) x 40],
          'and each counted once');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 8: a body that arrives while the lookup waits
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=2/1h deny;
--- config
location / {
    client_max_body_size  1m;
    patient_guard         $PG_POLICY;
    add_header            X-Length $request_length always;
    add_header            X-Body $request_body always;
    proxy_pass            http://$PG_PORTAL;
}
location /open {
    proxy_pass  http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
my $lookup = sub {
    my ($account, $early, $meanwhile, $late, @headers) = @_;
    my $n = () = fake_commands();
    open my $file, '>', '$PG_TMP/$PG_POLICY.wait';
    my $client = PatientGuard::client();
    syswrite $client, join "\r\n", 'POST /? HTTP/1.1', 'Host: localhost',
                      "X-Account: $account", @headers, '', $early;
    wait_for(sub { (() = fake_commands()) > $n }) or die "not asked\n";
    syswrite $client, $meanwhile;
    unlink '$PG_TMP/$PG_POLICY.wait';
    syswrite $client, $late . asks('/open', 'Connection: close');
    local $/;
    return scalar <$client>;
};
get('/open');
my $answer = $lookup->('dupont', 'bo', 'd', 'y', 'Content-Length: 4');
is_deeply(statuses($answer), [200, 200], 'let through');
like($answer, qr/^X-Body: body\r/m, 'with its body');
$answer = $lookup->('dupont', "4\r\nbo", "dy\r\n", "0\r\n\r\n",
                    'Transfer-Encoding: chunked');
is_deeply(statuses($answer), [200, 200], 'let through');
like($answer, qr/^X-Body: body\r/m, 'with its body in chunks');

# the first refusal of each is Redis' to say
for my $account ('durand', 'martin') {
    get('/?', 'X-Account' => $account) for 1, 2;
}
is_deeply(statuses($lookup->('dupont', 'bo', 'd', 'y', 'Content-Length: 4')),
          [403, 200], 'refused, and the next one is understood');
is_deeply(statuses($lookup->('durand', "4\r\nbo", "dy\r\n", "0\r\n\r\n",
                             'Transfer-Encoding: chunked')),
          [403, 200], 'refused in chunks');
is_deeply(statuses($lookup->('martin', 'x' x 300_000, 'x' x 100_000, 'x' x 100_000,
                             'Content-Length: 500000')),
          [403, 200], 'refused with a large one');
is(logged('\[(?:alert|crit|emerg|error)\]'), 0, 'nothing is wrong');



=== TEST 9: redirects and subrequests around a lookup that waits
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=2/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    location / {
        add_header  X-Accel-Redirect /guarded;
        return      200;
    }
}
--- config
add_header  X-Count $patient_guard_count always;

location /guarded {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location @guarded {
    patient_guard  $PG_POLICY;
    try_files      /none @open;
}
location @open {
    proxy_pass  http://$PG_PORTAL;
}
location /accel {
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location /error {
    error_page  404 =200 /guarded;
}
location /named {
    try_files  $uri @guarded;
}
location /auth {
    auth_request   /guarded;
    patient_guard  $PG_POLICY;
    mirror         /guarded;
    proxy_pass     http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->pause(0.01);
$peer->send($peer->real(@command));
--- after
for my $uri (qw(/accel /named /auth /error)) {
    is(join(' ', map { get($uri, 'X-Account' => $uri)->{headers}{'x-count'}
                       // '-' } 1 .. 3), '1 2 2', $uri);
}
is(logged('\[(?:alert|crit|emerg)\]'), 0, 'nothing is wrong');



=== TEST 10: who comes back from the step-up, and hangs up while Redis thinks
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  10s;
on_outage      deny;
limit          patients=1/1h challenge;
challenge      redirect /sso;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
location /pass {
    patient_guard_pass     $PG_POLICY;
}
--- fake_redis
return unless @command;
my $slow = "$PG_TMP/$PG_POLICY.slow";
if (-e $slow) {
    $peer->pause(0.01) while -e $slow;
    return $peer->close if -e "$slow.away";
}
$peer->send($peer->real(@command));
--- after
my $slow = "$ENV{PG_TMP}/$PatientGuard::policy.slow";
my $touch = sub { open my $file, '>', $_[0] or die; };
my $read = sub { get('/?patient=' . shift, 'X-Account' => 'dupont', Accept => 'text/html') };
is($read->(1)->{status}, 200);
my ($state) = ($read->(2)->{headers}{location} // '') =~ /state=(.*)/;
for my $reset (0, 1) {
    my $asked = fake_commands();
    $touch->($slow);
    my $client = asking("/pass?state=$state");
    wait_for(sub { logged('GET /pass') > $reset });
    sleep 0.05;
    hang_up($client, $reset);
    ok(wait_for(sub { logged('client prematurely closed') > 0 || logged('http finalize request: 499') > $reset }), 'noticed');
    unlink $slow;
    wait_for(sub { fake_commands() > $asked });
}
is(get("/pass?state=$state", 'X-Account' => 'dupont')->{status}, 403,
   'what was asked was carried out');
is($read->(2)->{status}, 200, 'passed');
($state) = ($read->(3)->{headers}{location} // '') =~ /state=(.*)/;
$touch->("$slow.away");
$touch->($slow);
my $client = asking("/pass?state=$state", 'Connection: close');
sleep 0.05;
unlink $slow;
my $answer = PatientGuard::answer(do { local $/; <$client> });
is($answer->{status}, 503, 'no store answers');
like($answer->{body}, qr/"detail":"no store answers: try again in a moment"/);
unlink "$slow.away";
ok(wait_for(sub { get("/pass?state=$state", 'X-Account' => 'dupont')->{status} == 303 }), 'and then one does');
is(logged('\[(?:alert|crit|emerg)\]'), 0, 'nothing is wrong');
