# What the guard asks of Redis, and what it leaves there.

use lib 't/lib';
use PatientGuard;

use IO::Select;
use IO::Socket::IP;
use Time::HiRes qw(sleep time);

# the passwords, which nginx reads when it starts

my %passwords = (password => "geh eim\r\nnot this\n", user => 'open sesame');

while (my ($name, $text) = each %passwords) {
    my $path = "$ENV{PG_TMP}/60-$name";
    open my $file, '>', $path or die "$path: $!\n";
    chmod 0600, $path;
    print $file $text;
}

sub policies {
    my (%hosts) = @_;

    return join '', map { <<"END" } sort keys %hosts;
patient_guard_policy \$PG_POLICY_$_ {
    account        \$http_x_account trusted;
    secret         \$PG_KEY;
    redis          $hosts{$_}:\$PG_FAKE_PORT prefix=\$PG_PREFIX;
    redis_timeout  5s;
    limit          lookups=2/1h deny;
}
END
}

# the count that a lookup is told, and from where

sub told {
    my ($uri, %headers) = @_;

    my $answer = get($uri, 'X-Account' => 'dupont', %headers);
    return join ' ', $answer->{status},
                     map { $answer->{headers}{$_} // '-' }
                     qw(x-count x-source);
}

sub workers_of { split ' ', `ps -o pid= --ppid ${\ nginx_pid()}` }

# a server's own numbers
sub number {
    my ($dir, $name) = @_;

    my ($value) = redis_at($dir, 'INFO', 'ALL') =~ /^\Q$name\E:(\d+)/m;
    return $value // 0;
}

sub clients {
    my ($dir) = @_;

    return scalar grep { !/cmd=client/ }
        split /\n/, redis_at($dir, 'CLIENT', 'LIST') =~ s/\n+\z//r;
}

sub said {
    my ($what) = @_;
    return scalar(() = error_log() =~ /$what/g);
}

run_tests();

__DATA__

=== TEST 1: aliases only: on the way to Redis, and in it
--- policy
account    $http_x_account trusted;
redis      $PG_FAKE prefix=$PG_PREFIX;
limit      patients=2/1h name=some-patients challenge;
limit      lookups=100/1h deny;
challenge  redirect https://sso.example/;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
open my $log, '>>', '$PG_TMP/$PG_POLICY.wire';
print $log "$_\0" for @command;
close $log;
$peer->send($peer->real(@command));
--- after
my %person = ('X-Account' => 'Doctor.Dupont@example.org',
              'User-Agent' => 'SecretBrowser', Cookie => 'sid=biscuit');
get("/dossier/Uriel?patient=$_", %person)
    for '179039912345678', '279039912345678', '379039912345678,x';
get('/dossier/Uriel', %person);
get("/?patient=179039912345678", %person, Accept => 'text/html');

my @keys = redis('KEYS', '$PG_PREFIX*');
is(scalar @keys, 1, 'one account, one key');
like($keys[0], qr/^$PG_PREFIX:$PG_POLICY:\{[0-9a-f]{32}\}$/, 'by its alias');

my $left = join "\n", @keys, map { redis('HGETALL', $_) } @keys;
my $wire = PatientGuard::slurp('$PG_TMP/$PG_POLICY.wire');
like($left, qr{^patients/3600/some-patients$}m, 'a field for each limit');
like($wire, qr/EVALSHA/, 'all that was sent');

for my $raw (qw(Dupont example.org 179039912345678 279039912345678
                379039912345678 Uriel dossier Secret biscuit 127.0.0.1))
{
    is(index(lc $left, lc $raw), -1, "no $raw in Redis");
    is(index(lc $wire, lc $raw), -1, "nor on the way");
}



=== TEST 2: every key has an end
--- policy
account  $http_x_account trusted;
limit    patients=2/1h challenge;
limit    lookups=3/10s deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- after
get("/?patient=$_ ", 'X-Account' => 'dupont') for 1, 2;
get("/?patient=$_ ", 'X-Account' => "account-$_") for 1 .. 5;
my @keys = redis('KEYS', '$PG_PREFIX:*');
is(scalar @keys, 6, 'six accounts');

# "challenge_grants 3/1d" is the longest window of this policy
for my $key (@keys) {
    my $ttl = redis('PTTL', $key);
    ok($ttl > 86_400_000 - 60_000 && $ttl <= 86_400_000 * 33 / 32 + 1000,
       "$ttl ms") or diag($key);
}

# a challenge stays until it is passed
get('/?patient=3', 'X-Account' => 'dupont');
is(scalar(grep { redis('PTTL', $_) > 89 * 86_400_000 } @keys), 1,
   'who is challenged is remembered longer');
is(scalar(grep { redis('PTTL', $_) > 90 * 86_400_000 } @keys), 0,
   'but not for ever');



=== TEST 3: db=, and the prefix that is not configured
--- policy
account  $http_x_account trusted;
redis    $PG_REDIS db=7;
limit    lookups=2/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    add_header     X-Source $patient_guard_source always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(told('/'), '200 1 redis', 'counted');
is(redis(qw(-n 0 EXISTS), redis(qw(-n 7 KEYS), 'pg:$PG_POLICY:*')), 0,
   'not in 0');
my @keys = redis(qw(-n 7 KEYS), 'pg:$PG_POLICY:*');
is(scalar @keys, 1, 'but in 7');
redis(qw(-n 7 DEL), @keys);



=== TEST 4: a database that is not there
--- policy
account     $http_x_account trusted;
redis       $PG_REDIS db=1000000;
on_outage   deny;
limit       lookups=2/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    add_header     X-Source $patient_guard_source always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(told('/'), '503 - none', 'is an outage');
is(said('\[error\] .* is away: ERR DB index is out of range'), 1, 'is said');



=== TEST 5: a password
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_auth     password_file=$PG_TMP/60-password;
redis_timeout  5s;
limit          lookups=2/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_user {
    account        $http_x_account trusted;
    secret         $PG_KEY;
    redis          unix:$PG_TMP/$PG_POLICY.d/sock db=3 prefix=guard;
    redis_auth     user=guard password_file=$PG_TMP/60-user;
    redis_timeout  5s;
    limit          lookups=2/1h deny;
}
--- config
add_header  X-Count $patient_guard_count always;
add_header  X-Source $patient_guard_source always;

location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location /user {
    patient_guard  $PG_POLICY_user;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
redis_at($dir, qw(ACL SETUSER guard on ~guard:* +eval +evalsha +hmget +hset
                  +hdel +pexpire +pttl +exists +rename +select +ping),
         '>open sesame');
redis_at($dir, qw(CONFIG SET requirepass), 'geh eim');
is(told('/'), '200 1 redis', 'a password');
is(told('/user'), '200 1 redis', 'a user with a password, and few rights');
is(told('/user'), '200 2 redis', 'again');
is(said('is away'), 0, 'nothing is wrong');
is(said('geh eim|open sesame'), 0, 'no password is logged');
stop_redis($dir);



=== TEST 6: a wrong password
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_auth     password_file=$PG_TMP/60-password;
redis_timeout  5s;
limit          lookups=2/1h deny;
--- config
add_header  X-Count $patient_guard_count always;
add_header  X-Source $patient_guard_source always;

location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir, '--requirepass', 'another');
is(told('/'), '200 1 local', 'is an outage');

# one try a second at the most, however many ask
my $start = time;
my %told;
while (time < $start + 2.5) {
    $told{told('/', 'X-Account' => 'durand')}++;
    sleep 0.01;
}
my ($tries) = redis_at($dir, '-a', 'another', 'INFO', 'commandstats')
    =~ /cmdstat_auth:calls=(\d+)/;
cmp_ok($tries - 1, '<=', 3 + 1, 'about one AUTH a second, and redis-cli\'s');
cmp_ok($tries - 1, '>=', 2, 'but it tries again');
is_deeply([map { s/ \d//r } sort keys %told],
          ['200 local', '200 local', '403 local'], 'local counts hold');
is(said('\[crit\] .* is away: WRONGPASS'), 1, 'said once');
is(said('\[notice\] .* is back'), 0, 'nor is it back');

redis_at($dir, qw(-a another CONFIG SET requirepass), 'geh eim');
ok(wait_for(sub { told('/') =~ /redis/ }, 5 * ($ENV{PG_SLOW} // 1)),
   'it finds out when it is right');
is(said('\[notice\] .* is back'), 1, 'said once');
stop_redis($dir);



=== TEST 7: addresses: IPv4, IPv6, a name
--- http_config eval
::policies(v4 => '127.0.0.1', v6 => '[::1]', name => 'localhost');
--- config
add_header  X-Count $patient_guard_count always;
add_header  X-Source $patient_guard_source always;

location /v4 {
    patient_guard  $PG_POLICY_v4;
    proxy_pass     http://$PG_PORTAL;
}
location /v6 {
    patient_guard  $PG_POLICY_v6;
    proxy_pass     http://$PG_PORTAL;
}
location /name {
    patient_guard  $PG_POLICY_name;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
my $v6 = IO::Socket::IP->new(LocalHost => '::1', Listen => 1);
start_redis($dir, '--port', $PG_FAKE_PORT, '--bind',
            '127.0.0.1', $v6 ? '::1' : ());
is(told('/v4'), '200 1 redis', 'IPv4');
SKIP: {
    skip('no IPv6 on this machine', 1) unless $v6;
    is(told('/v6'), '200 1 redis', 'IPv6');
}
ok(wait_for(sub { told('/name') =~ /redis/ }), 'a name, one of its addresses');
stop_redis($dir);



=== TEST 8: SCRIPT FLUSH in the midst
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_timeout  5s;
limit          lookups=10000/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    add_header     X-Source $patient_guard_source always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
is(told('/'), '200 1 redis', 'taught');
is(told('/'), '200 2 redis', 'known');
redis_at($dir, 'SCRIPT', 'FLUSH');
is(told('/'), '200 3 redis', 'taught anew, and counted once');
is(told('/'), '200 4 redis', 'known again');

# a batch in one pipeline, each answered NOSCRIPT
my ($worker) = workers_of();
for my $round (1 .. 3) {
    my $taught = sub {
        redis_at($dir, 'INFO', 'commandstats') =~ /cmdstat_eval:calls=(\d+)/;
        return $1;
    };
    my $before = $taught->();
    redis_at($dir, 'SCRIPT', 'FLUSH');
    my %statuses;
    $statuses{$_}++ for burst(100, '/', 'X-Account' => 'dupont');
    is_deeply(\%statuses, { 200 => 100 }, 'a hundred at once');
    is(told('/'), join(' ', 200, 4 + 101 * $round, 'redis'), 'once each');
    cmp_ok($taught->() - $before, '<=', 10, 'and not taught by each of them');
}

# by whoever else, at any moment
my $flusher = fork // die "fork: $!\n";
if (!$flusher) {
    open STDOUT, '>', '/dev/null';
    exec 'redis-cli', '-s', "$dir/sock", '-r', '-1', '-i', '0.02',
         'SCRIPT', 'FLUSH';
}
my %statuses;
for (1 .. 5) {
    $statuses{$_}++ for burst(100, '/', 'X-Account' => 'durand');
}
kill 'TERM', $flusher;
waitpid $flusher, 0;
my ($counted) = told('/', 'X-Account' => 'durand') =~ / (\d+) /;
is($statuses{200}, 500, 'all are answered');

# one that meets two flushes is counted here, not there
cmp_ok($counted, '<=', 501, 'none is counted twice');
cmp_ok($counted, '>', 250, 'and most are');
is(said('is away'), 0, 'no connection is closed for that');
stop_redis($dir);



=== TEST 9: what is asked in one turn of the loop leaves in one write
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_timeout  5s;
limit          lookups=300/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    add_header     X-Source $patient_guard_source always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my ($worker) = workers_of();

# the connections, and that to Redis, are there before
is(told('/'), '200 1 redis', 'one');
my @clients = map { PatientGuard::client() } 1 .. 80;
wait_for(sub { (() = glob "/proc/$worker/fd/*") > 80 }) or die "no clients\n";

kill 'STOP', $worker;
my $reads = number($dir, 'total_reads_processed');
syswrite $_, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\n"
             . "Connection: close\r\n\r\n" for @clients;
kill 'CONT', $worker;
my $answers = join '', map { local $/; <$_> } @clients;
$reads = number($dir, 'total_reads_processed') - $reads;

is(scalar(() = $answers =~ m{HTTP/1.1 200}g), 80, 'all are answered');
is(join(' ', sort { $a <=> $b } $answers =~ /^X-Count: (\d+)/mg),
   join(' ', 2 .. 81), 'each with a count of its own');
cmp_ok($reads, '<=', 20, 'Redis did not have to read often');
is(clients($dir), 1, 'from one connection');
stop_redis($dir);



=== TEST 10: Redis lets go of an idle client
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_timeout  5s;
limit          lookups=300/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    add_header     X-Source $patient_guard_source always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
for my $n (1 .. 5) {
    is(told('/'), "200 $n redis", 'a lookup');
    is(clients($dir), 1, 'one connection');
    redis_at($dir, qw(CLIENT KILL TYPE normal SKIPME yes));
    ok(wait_for(sub { clients($dir) == 0 }), 'and then none');
}
is(told('/'), '200 6 redis', 'the next lookup connects');
is(said('\[(?:error|crit|alert|emerg)\]'), 0, 'that is no error');
is(said('is away|is back'), 0, 'nor news');
stop_redis($dir);



=== TEST 11: as many patients as one lookup may name
--- policy
account  $http_x_account trusted;
limit    patients=2000/1h deny;
limit    lookups=100000/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Source $patient_guard_source always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my $many = sub { join ',', $_[0] .. $_[0] + $_[1] - 1 };
is(told('/?patient=' . $many->(1, 512)), '200 512 redis', 'with 512');
is(told('/?patient=' . $many->(257, 512)), '200 768 redis', 'half are known');
is(get('/?patient=' . $many->(1, 513), 'X-Account' => 'dupont')->{status}, 400,
   'more than that are too many');
my %statuses;
$statuses{$_}++ for burst(60, sub { '/?patient=' . $many->(1, 512) },
                          'X-Account' => 'dupont');
is_deeply(\%statuses, { 200 => 60 }, 'sixty such at once');



=== TEST 12: what waits for a Redis that does not read is bounded
--- policy
account        $http_x_account trusted;
redis          $PG_FAKE;
redis_timeout  4s;
on_outage      deny;
limit          patients=2000/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->pause(3600) if $command[0] =~ /^EVAL/;
$peer->send($peer->real(@command));
--- after
my @clients = map {
    my $client = PatientGuard::client();
    syswrite $client, "GET /?patient=" . join(',', $_ .. $_ + 511)
        . " HTTP/1.1\r\nHost: localhost\r\nX-Account: account-$_\r\n"
        . "Connection: close\r\n\r\n";
    $client;
} 1 .. 500;

# those who found no room are told at once, the others when time is out
my %answered;
my $select = IO::Select->new(@clients);
my $start = time;
my $early = 0;
while ($select->count) {
    for my $client ($select->can_read(10 * ($ENV{PG_SLOW} // 1))) {
        sysread $client, my $answer, 65536;
        $answered{$1}++ if $answer =~ m{^HTTP/1.1 (\d+)};
        $early++ if time - $start < 3;
        $select->remove($client);
    }
}
is_deeply(\%answered, { 503 => 500 }, 'all are answered');
ok($early > 50, "$early of them at once");
ok($early < 450, 'and the others waited');
is(said('\[(?:crit|alert|emerg)\]'), 0, 'nothing is wrong');



=== TEST 13: an idle connection that is lost, politely or not, costs nobody
--- policy
account        $http_x_account trusted;
redis          127.0.0.1:$PG_FAKE_PORT prefix=$PG_PREFIX;
redis_timeout  5s;
on_outage      deny;
limit          patients=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Source $patient_guard_source always;
    proxy_pass             http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->send($peer->real(@command));
if ($command[0] =~ /^EVAL/) {
    Time::HiRes::sleep(0.01) until -e '$PG_TMP/$PG_POLICY.lose';
    my $politely = -s '$PG_TMP/$PG_POLICY.lose';
    unlink '$PG_TMP/$PG_POLICY.lose';
    $politely ? $peer->close : $peer->reset;
}
--- after
# as the kernel sees it: connections to that port which are established
my $there = sprintf ' 0100007F:%04X 01 ', $PG_FAKE_PORT;
my $connections = sub {
    scalar(() = PatientGuard::slurp('/proc/net/tcp') =~ /$there/g);
};
for my $n (1 .. 6) {
    is(told("/?patient=$n"), "200 $n redis", "lookup $n");
    is($connections->(), 1, 'by a connection that stays');
    open my $file, '>', '$PG_TMP/$PG_POLICY.new' or die "$!\n";
    print $file 'politely' if $n % 2;
    close $file;
    rename '$PG_TMP/$PG_POLICY.new', '$PG_TMP/$PG_POLICY.lose' or die "$!\n";
    ok(wait_for(sub { $connections->() == 0 }), 'until it is lost');
}
is(said('is away'), 0, 'nobody noticed');



=== TEST 14: and what is asked in the moment in which it is lost
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock prefix=$PG_PREFIX;
redis_timeout  5s;
on_outage      deny;
limit          patients=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Source $patient_guard_source always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
ok(wait_for(sub { PatientGuard::workers() == 1 }), 'one worker');
my ($worker) = PatientGuard::workers();
my $patient = 1;
is(told("/?patient=$patient"), "200 $patient redis");
for my $order (0, 1) {
    $patient++;
    my $client = PatientGuard::client();
    ok(wait_for(sub { said('accept: 127.0.0.1') > $patient - 1 }),
       'a client is there');
    kill 'STOP', $worker;
    wait_for(sub { PatientGuard::slurp("/proc/$worker/stat") =~ /\) T/ })
        or die "it does not stop\n";
    my @turns = (
        sub { syswrite $client, "GET /?patient=$patient HTTP/1.1\r\nHost: a\r\n"
                  . "X-Account: dupont\r\nConnection: close\r\n\r\n" },
        sub { redis_at($dir, qw(CLIENT KILL TYPE normal SKIPME yes)) });
    $_->() for $order ? @turns : reverse @turns;
    kill 'CONT', $worker;
    IO::Select->new($client)->can_read(PatientGuard::patience());
    sysread $client, my $answer, 65536;
    like($answer, qr{^HTTP/1\.1 200 .*X-Count: $patient.*X-Source: redis}s,
         'it is asked of Redis all the same');
}
stop_redis($dir);
is(said('is away'), 0, 'nobody noticed');
