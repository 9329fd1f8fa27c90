# HTTP/2: many requests on one connection, each of which may end at any time.

use lib 't/lib';
use PatientGuard;

use Http2;
use Time::HiRes qw(sleep time);

our $h2_socket;

# a server of its own, over a unix socket; in HTTP/1.0, also where nginx has
# another default, it has left the portal when its answer ends: sockets are
# counted

sub server {
    my ($rest) = @_;

    return <<"END";
server {
    listen  unix:\$PG_TMP/\$PG_POLICY.h2 http2;
    location / {
        patient_guard  \$PG_POLICY;
        add_header     X-Count \$patient_guard_count always;
        proxy_pass     http://\$PG_PORTAL;
        proxy_http_version  1.0;
    }
    $rest
}
END
}

sub curl {
    my ($path, @options) = @_;

    open my $curl, '-|', 'curl', '-sS', '--http2-prior-knowledge',
        '--unix-socket', $h2_socket, '-H', 'X-Account: dupont', '-i',
        @options, "http://localhost$path" or die "curl: $!\n";
    local $/;
    return <$curl> // '';
}

sub said {
    my ($what) = @_;
    return scalar(() = error_log() =~ /$what/g);
}

sub workers_of { split ' ', `ps -o pid= --ppid ${\ nginx_pid()}` }

sub sockets_of {
    my ($worker) = @_;

    return scalar grep { (readlink($_) // '') =~ /^socket:/ }
        glob "/proc/$worker/fd/*";
}

run_tests();

__DATA__

=== TEST 1: counted, and refused with a body
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- http_config eval: ::server('')
--- config
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
like(curl('/'), qr{^HTTP/2 200.*x-count: 1.*record of /}s, 'the first');
like(curl('/', '-d', 'x' x 100_000), qr{^HTTP/2 200.*x-count: 2}s, 'a POST');
my $refused = curl('/');
like($refused, qr{^HTTP/2 403.*x-count: 2}s, 'refused');
like($refused, qr{cache-control: no-store}, 'not to be stored');
like($refused, qr{content-type: application/problem\+json.*"status":403}s,
     'with a problem document');
like(curl('/', '-I'), qr{^HTTP/2 403}, 'HEAD');
is(said('\[(?:alert|crit|error)\]'), 0, 'nothing is wrong');



=== TEST 2: a hundred streams at once
--- policy
account  $http_x_account trusted;
limit    lookups=60/1h deny;
--- http_config eval: ::server('')
--- config
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
my $h2 = h2($::h2_socket);
say_h2($h2, map { headers($_, "/$_") } odd(100));
is(tally(ended($h2, odd(100))), '60 x 200, 40 x 403', 'as the limit says');
is(scalar(grep { $_->{body} =~ /^record of / } values %{ $h2->{streams} }), 60,
   'sixty records');
is(said('\[(?:alert|crit|error)\]'), 0, 'nothing is wrong');



=== TEST 3: streams that are reset while the guard holds them
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  30s;
--- http_config eval: ::server('')
--- config
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
my ($worker) = workers_of();
my $h2 = h2($::h2_socket);
say_h2($h2, headers(1, '/'));
is(tally(ended($h2, 1)), '1 x 200', 'the first lookup');
my $sockets = sockets_of($worker);

my @held = map { 2 * $_ + 1 } 1 .. 50;
say_h2($h2, map { headers($_, "/held") } @held);
ok(wait_for(sub { said('":path: /held"') >= 50 }), 'fifty are held');
say_h2($h2, map { reset_stream($_) } @held);
ok(wait_for(sub { (() = access_log() =~ m{/held HTTP/2.0" 499 }g) == 50 }),
   'they end as 499');

say_h2($h2, headers(201, '/', account => 'durand'));
is(tally(ended($h2, 201)), '1 x 200', 'the connection goes on');

# HEADERS and RST_STREAM in one packet: as many as nginx bears at a time
say_h2($h2, map { (headers($_, '/rapid'), reset_stream($_)) }
            map { 2 * $_ + 1 } 200 .. 399);
say_h2($h2, headers(2001, '/', account => 'durant'));
is(tally(ended($h2, 2001)), '1 x 200', 'rapidly, as well');

# and a connection that goes with streams on it
say_h2($h2, map { headers($_, '/gone') } map { 2 * $_ + 1 } 1001 .. 1050);
ok(wait_for(sub { said('":path: /gone"') >= 50 }), 'fifty more');
close $h2->{socket};
ok(wait_for(sub { sockets_of($worker) == $sockets - 1 }), 'none stays open');
is((workers_of())[0], $worker, 'the worker lives');
is(said('\[(?:alert|crit|error)\]'), 0, 'nothing is wrong');



=== TEST 4: streams that are reset while Redis thinks
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=10000/1h deny;
--- http_config eval: ::server('')
--- config
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
my $wait = '$PG_TMP/$PG_POLICY.wait';
my ($worker) = workers_of();
my $h2 = h2($::h2_socket);
say_h2($h2, headers(1, '/'));
is(tally(ended($h2, 1)), '1 x 200', 'Redis answers');
my $sockets = sockets_of($worker);

open my $file, '>', $wait;
my @held = map { 2 * $_ + 1 } 1 .. 50;
say_h2($h2, map { headers($_, "/held") } @held);
ok(wait_for(sub { said('":path: /held"') >= 50 }), 'fifty wait');

# every other one is reset, and they are answered between
say_h2($h2, map { reset_stream($held[$_]) } grep { $_ % 2 } 0 .. $#held);
ok(wait_for(sub { (() = access_log() =~ m{/held HTTP/2.0" 499 }g) == 25 }),
   'half of them end');
unlink $wait;
is(tally(ended($h2, map { $held[$_] } grep { $_ % 2 == 0 } 0 .. $#held)),
   '25 x 200', 'the other half is answered');

# at any moment
srand 20220317;
for my $i (0 .. ($ENV{PG_SLOW} ? 20 : 200)) {
    my @streams = map { 1001 + 6 * $i + $_ } 0, 2, 4;
    say_h2($h2, map { headers($_, '/any') } @streams);
    sleep rand 0.003;
    say_h2($h2, map { reset_stream($_) } @streams);

    # nginx keeps a stream until all that it had to say of it is sent
    1 while read_h2($h2, 0);
}
say_h2($h2, headers(10001, '/', account => 'durand'));
is(tally(ended($h2, 10001)), '1 x 200', 'the connection goes on');

# a connection that goes with streams on it
open $file, '>', $wait;
say_h2($h2, map { headers($_, '/gone') } map { 2 * $_ + 1 } 10001 .. 10050);
ok(wait_for(sub { said('":path: /gone"') >= 50 }), 'fifty more');
close $h2->{socket};
ok(wait_for(sub { sockets_of($worker) == $sockets - 1 }), 'none stays open');
unlink $wait;
$h2 = h2($::h2_socket);
say_h2($h2, headers(1, '/'));
is(tally(ended($h2, 1)), '1 x 200', 'others go on');
is((workers_of())[0], $worker, 'the worker lives');
is(said('\[(?:alert|crit|error)\]'), 0, 'nothing is wrong');



=== TEST 5: a body that arrives before, while and after the guard decides
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=1/1h deny;
--- http_config eval: ::server('')
--- config
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
my $wait = '$PG_TMP/$PG_POLICY.wait';
my $h2 = h2($::h2_socket);
my $stream = 1;
for my $expected (200, 403) {
    my $asked = () = fake_commands();
    open my $file, '>', $wait;
    say_h2($h2, headers($stream, '/', body => 1), data($stream, 'x' x 1000));
    ok(wait_for(sub { (() = fake_commands()) > $asked }), 'Redis is asked');
    say_h2($h2, data($stream, 'x' x 1000));
    unlink $wait;
    say_h2($h2, data($stream, 'x' x 1000, 1)) if $expected == 200;
    is(tally(ended($h2, $stream)), "1 x $expected", 'answered');
    like($h2->{streams}{$stream}{body},
         $expected == 200 ? qr/^record of / : qr/"status":403,.*}$/, 'in full');
    say_h2($h2, data($stream, 'x' x 1000, 1)) if $expected != 200;
    $stream += 2;
}
say_h2($h2, headers(101, '/', account => 'durand'));
is(tally(ended($h2, 101)), '1 x 200', 'the connection goes on');
is(said('\[(?:alert|crit|error)\]'), 0, 'nothing is wrong');



=== TEST 6: a reload while streams wait
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          lookups=20/1h deny;
--- http_config eval: ::server('')
--- config
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
Time::HiRes::sleep(0.01) while -e '$PG_TMP/$PG_POLICY.wait';
$peer->send($reply);
--- after
$::h2_socket = '$PG_TMP/$PG_POLICY.h2';
my ($worker) = workers_of();
open my $file, '>', '$PG_TMP/$PG_POLICY.wait';
my $h2 = h2($::h2_socket);
say_h2($h2, map { headers($_, "/held") } odd(30));
ok(wait_for(sub { said('":path: /held"') >= 30 }), 'thirty wait');
kill 'HUP', nginx_pid();
ok(wait_for(sub { said('gracefully shutting down') }), 'told to go');
unlink '$PG_TMP/$PG_POLICY.wait';
is(tally(ended($h2, odd(30))), '20 x 200, 10 x 403', 'all are answered');
ok(wait_for(sub { !kill 0, $worker }), 'the old worker goes');
is(said('\[(?:alert|crit|error)\]|open socket'), 0, 'nothing is wrong');
