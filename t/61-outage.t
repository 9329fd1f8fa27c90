# Redis is away, stalls, or says what it never should: on_outage answers,
# within redis_timeout, and Redis is used again as soon as it is well.

use lib 't/lib';
use PatientGuard;

use IO::Socket::INET;
use IO::Socket::UNIX;
use List::Util qw(max min);
use Time::HiRes qw(sleep time);

our @modes = qw(local deny allow);

# Of lookups that waited most are answered within redis_timeout, 200 ms, and
# 25 ms; a busy machine may be late with the one or the other, but none hangs.
sub in_time {
    my @took = sort { $a <=> $b } @_;
    my @waited = grep { $_ > 0.1 } @took;
    my $slow = $ENV{PG_SLOW} // 1;

    return $took[-1] < 1 * $slow
           && (@waited < 5 || $waited[@waited / 2] <= 0.2 + 0.025 * $slow)
           || !diag("took: @took");
}

# one policy for each mode, with a connection of its own

sub policies {
    my ($redis) = @_;

    return join '', map { <<"END" } @modes;
patient_guard_policy \$PG_POLICY_$_ {
    account        \$http_x_account\$arg_who trusted;
    secret         \$PG_KEY;
    redis          $redis prefix=\$PG_PREFIX;
    redis_timeout  200ms;
    on_outage      $_;
    limit          patients=2/1h deny;
    limit          lookups=100000/1h log;      # else known patients ask nobody
}
END
}

sub locations {
    return join '', map { <<"END" } @modes;
location /$_ {
    patient_guard          \$PG_POLICY_$_;
    patient_guard_patient  \$arg_patient;
    add_header             X-Source \$patient_guard_source always;
    proxy_pass             http://\$PG_PORTAL;
}
END
}

# A fake Redis which is the real one, until a file names a fault.  $at: which
# commands suffer from it; $fault: Perl, with the fault's name in $fault.

sub ill {
    my ($at, $fault) = @_;

    return <<"END";
return unless \@command;
my \$fault = slurp('\$PG_TMP/\$PG_POLICY.ill');
return \$peer->send(\$peer->real(\@command))
    unless \$fault && \$command[0] =~ /$at/;
$fault
END
}

# but for what a busy machine makes late
our $away = 'is away: (?!no reply in time)';

our ($file, @took, $asked);

sub fall_ill {
    ($file, my $fault) = @_;

    open my $out, '>', "$file.new" or die "$file: $!\n";
    print $out $fault // 'ill';
    close $out;
    rename "$file.new", $file or die "$file: $!\n";
}

sub recover { unlink $file }

# the same lookup in each mode: { local => 'status source', ... }

sub lookup {
    my ($account, $patient) = @_;

    return { map {
        my $start = time;
        my $answer = get("/$_?patient=$patient", 'X-Account' => $account);
        push @took, time - $start;
        $asked++;
        $_ => join ' ', $answer->{status},
                        $answer->{headers}{'x-source'} // '';
    } @modes };
}

our %well  = (local => '200 redis', deny => '200 redis',
              allow => '200 redis');
our %first = (local => '200 local', deny => '503 none',
              allow => '200 none');
our %third = (local => '403 local', deny => '503 none',
              allow => '200 none');

# a window of one patient as the script would write it: its newest slice, its
# total, and the count of its slice 0

sub forge {
    my ($dir, $key, $field, $newest, $total, $counted) = @_;

    my $said = redis_at($dir, 'EVAL', <<"END", 1, $key, $field);
local counts = {$counted}
for i = 2, 33 do counts[i] = 0 end
return redis.call('HSET', KEYS[1], ARGV[1],
    struct.pack('<I8I4' .. string.rep('I4', 33), $newest, $total,
                unpack(counts)) .. 'patient1')
END
    die "forge: $said" unless $said =~ /^[01]$/;
}

sub count {
    my ($from, $what) = @_;

    my $log = substr error_log(), $from;
    return scalar(() = $log =~ /$what/g);
}

# $bad starts what ails Redis, $good ends it; $said: what the log says of it,
# for each policy, or with "perhaps" for those whose breaker opens: five error
# replies do that, and how many there are is a matter of time

sub outage {
    my ($fault, $bad, $good, $said, %is) = @_;

    my $account = "account-$fault";

    is_deeply(wait_well($account), \%well, "$fault: all is well before");
    my $log = length error_log();
    $bad->();
    @took = ();

    is_deeply(lookup($account, 2), \%first, "$fault: each mode answers");
    is_deeply(lookup($account, 3), \%third,
              "$fault: what Redis admitted before counts, too");
    is_deeply(lookup($account, 1), \%first,
              "$fault: who is counted stays readable");
    ok(in_time(@took), "$fault: within redis_timeout");

    my ($level, $what) = @$said;
    my $says = qr/\[$level\] .*$what/;
    wait_for(sub { count($log, $says) >= 3 }) unless $is{perhaps};
    my $lines = count($log, $says);
    cmp_ok($lines, '<=', 3, "$fault: said once for each policy");
    is($lines, 3, "$fault: which all say it") unless $is{perhaps};

    $good->();
    is_deeply(wait_well($account), \%well, "$fault: all is well again");
    is(count($log, qr/\[notice\] .* is back/),
       min(3, count($log, qr/is away: /)), "$fault: said when it is back");
    is(count($log, qr/\[(alert|emerg)\]/), 0, "$fault: nothing worse");
}

sub connections {
    my ($file) = @_;

    return scalar(() = PatientGuard::slurp($file) =~ /one/g);
}

# a second until it tries again, and the time to be sure that it does

sub wait_well {
    my ($account) = @_;

    my $seen;
    wait_for(sub {
        $seen = lookup($account, 1);
        return join(' ', map { $seen->{$_} } @modes)
               eq join(' ', map { $well{$_} } @modes);
    }, 3 * ($ENV{PG_SLOW} // 1));
    return $seen;
}

sub answered_once {
    # the portal, in the same log, is asked over its socket
    my $log = access_log();
    is(scalar(() = $log =~ m{^127\.\S+ .*"GET /(?:local|deny|allow)\S* HTTP}mg),
       $asked, 'each was answered once');
    unlike(error_log(), qr/exited on signal/, 'and no worker died');
    $asked = 0;
}

run_tests();

__DATA__

=== TEST 1: replies to a script that are no tally
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
my ($tally) = $peer->real(@command) =~ /\r\n(.*)\r\n/s;
my $string = sub { '$' . length($_[0]) . "\r\n$_[0]\r\n" };

# other bytes from there on: see the script for what is where
my $with = sub {
    my ($at, $bytes) = @_;
    my $text = $tally;
    substr $text, $at, length $bytes, $bytes;
    return $text;
};

# what a node tells by itself (SYNC, by its flags) is to fail as well
return $peer->send("+OK\r\n") if $peer->flags(@command) >= 8;

return $peer->send({
    garbage     => "what?\r\n",
    http        => "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
    ok          => "+OK\r\n",
    status      => "+$tally\r\n",
    nil         => "\$-1\r\n",
    'nil-array' => "*-1\r\n",
    'no-length' => "\$-2\r\n",
    integer     => ":1\r\n",
    array       => "*1\r\n" . $string->($tally),
    'no-array'  => "*0\r\n",
    nested      => "*1\r\n" x 200,
    many        => "*1000000\r\n" . $string->($tally),
    huge        => "\$1000000000\r\n" . 'x' x 300_000,
    long        => $string->('1' x 5000),
    line        => '+' . 'x' x 300_000,
    cr          => "-ERR a\rb\r\n",
    lf          => "-ERR a\nb\r\n",
    map         => "%1\r\n+a\r\n+b\r\n",
    push        => ">1\r\n+a\r\n",
    double      => ",1.5\r\n",
    big         => "(123456789012345678901234567890\r\n",
    bool        => "#t\r\n",
    verbatim    => "=7\r\ntxt:abc\r\n",
    empty       => $string->(''),
    blank       => $string->(' '),
    less        => $string->(substr $tally, 0, -1),
    fewer       => $string->(substr $tally, 0, -16),
    head        => $string->(substr $tally, 0, 49),
    more        => $string->("$tally\0"),
    another     => $string->($tally . substr $tally, -16),
    twice       => $string->($tally x 2),
    nonce       => $string->($with->(0, chr(1 ^ ord $tally))),
    zero        => $string->($with->(0, "\0" x 8)),
    flags       => $string->($with->(8, chr 32)),
    unproved    => $string->($with->(8, chr 16)),
    charged     => $string->($with->(8, chr(1 ^ ord substr $tally, 8))),
    limit       => $string->($with->(9, chr 17)),
    grants      => $string->($with->(14, pack 'Q<', 1 << 60)),
    since       => $string->($with->(22, pack 'Q<', 1)),
    cleared     => $string->($with->(30, pack 'Q<', (1 << 53) + 1)),
    due         => $string->($with->(38, pack 'Q<', 1)),
    ends        => $string->($with->(46, pack 'V', 1)),
    wait        => $string->($with->(-12, pack 'Q<', 1 << 60)),
    more_count  => $string->($with->(-4, pack 'V', 4294967295)),
    text        => $string->($tally =~ s/[^0-9]/0/gr),
}->{$fault} // die "no such fault: $fault\n");
END
--- after
for my $fault (qw(garbage http ok status nil nil-array no-length integer
                  array no-array nested many huge long line cr lf map push
                  double big bool verbatim empty blank less fewer head more
                  another twice nonce zero flags unproved charged limit grants
                  since cleared due ends wait more_count text))
{
    outage($fault, sub { fall_ill('$PG_TMP/$PG_POLICY.ill', $fault) },
           \&recover, ['error', $::away]);
}
answered_once();



=== TEST 2: half a reply, then the connection is closed, or reset
--- http_config eval: ::policies('127.0.0.1:$PG_FAKE_PORT')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
my $reply = $peer->real(@command);
$peer->send(substr $reply, 0, length($reply) / 2) if $fault =~ /^half/;
$fault =~ /reset/ ? $peer->reset : $peer->close;
END
--- after
for my $fault (qw(half-close half-reset close reset)) {
    outage($fault, sub { fall_ill('$PG_TMP/$PG_POLICY.ill', $fault) },
           \&recover, ['error', 'is away: (connection closed|recv\(\))']);
}
answered_once();



=== TEST 3: whoever greets as Redis does not
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis
my $fault = slurp('$PG_TMP/$PG_POLICY.ill');
if (!@command) {
    open my $log, '>>', '$PG_TMP/$PG_POLICY.connections';
    print $log "one\n";
    $peer->send("+OK ready\r\n") if $fault eq 'pop3';
    $peer->send("220 mail ESMTP\r\n") if $fault eq 'smtp';
    $peer->send("\x15\x03\x01\x00\x02\x02\x28") if $fault eq 'tls';
    $peer->send("-ERR max number of clients reached\r\n")
        if $fault eq 'full';
    $peer->close if $fault eq 'full' || $fault eq 'close';
    return;
}

# the connection that was greeted well ends here
return $peer->close if $fault && $command[0] =~ /^EVAL/;

return $peer->close if $fault eq 'bye';
return $peer->send("+OK\r\n") if $fault eq 'ok';
return $peer->send("+PONG\r\n") if $fault eq 'pong';
return $peer->send("HTTP/1.1 400 Bad Request\r\n\r\n") if $fault eq 'http';
return $peer->send("-LOADING Redis is loading\r\n") if $fault eq 'loading';
return if $fault eq 'silent';
$peer->send($peer->real(@command));
--- after
my $connections = '$PG_TMP/$PG_POLICY.connections';
for my $fault (qw(pop3 smtp tls full close bye ok pong http loading silent))
{
    my $start;
    outage($fault, sub {
        fall_ill('$PG_TMP/$PG_POLICY.ill', $fault);
        unlink $connections;
        $start = time;
    }, sub {

        # the second try, and no more than back-off of 25, 50, 100 ... allows
        wait_for(sub { connections($connections) >= 6 });
        cmp_ok(connections($connections), '<=',
               3 * (1 + log(1 + (time - $start) / 0.025) / log 2),
               "$fault: it tries again, and less and less often");
        recover();
    }, ['error', $::away]);
}
answered_once();



=== TEST 4: what Redis answers one lookup when it can't serve it
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
$peer->send({
    loading  => "-LOADING Redis is loading the dataset in memory\r\n",
    busy     => "-BUSY Redis is busy running a script.\r\n",
    oom      => "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    misconf  => "-MISCONF Errors writing to the AOF file\r\n",
    replicas => "-NOREPLICAS Not enough good replicas to write.\r\n",
    masterdown => "-MASTERDOWN Link with MASTER is down\r\n",
    down     => "-CLUSTERDOWN Hash slot not served\r\n",
    moved    => "-MOVED 3999 127.0.0.1:6381\r\n",
    ask      => "-ASK 3999 127.0.0.1:6381\r\n",
    unknown  => "-ERR unknown command 'EVALSHA'\r\n",
    script   => "-NOSCRIPT No matching script.\r\n",
    empty    => "-\r\n",
    control  => "-ERR \e[31m \0 \x80 \t\r\n",
    long     => '-ERR ' . 'x' x 4000 . "\r\n",
}->{$fault} // die "no such fault: $fault\n");
END
--- after
for my $fault (qw(loading busy oom misconf replicas masterdown down moved ask
                  unknown script empty control long))
{
    my $log = length error_log();

    # each policy, in its worker, says it once a second at most: it does
    # not say anything of a fault that comes in the same second
    my $least = $fault =~ /loading|control|long/ ? 3 : 0;
    my $start;

    outage($fault, sub {
        my $now = time;
        wait_for(sub { int time > int $now }) if $least;
        $start = time;
        fall_ill('$PG_TMP/$PG_POLICY.ill', $fault);
    }, sub {
        my $n = count($log, qr/answered/);
        ok($n >= $least && $n <= 3 * (int(time) - int($start) + 1),
           "$fault: said once a second") or diag("$n lines");
        recover();
    }, ['error', $::away], perhaps => 1);
}
unlike(error_log(), qr/patient guard: .*[^\x20-\x7e\n]/,
       'nothing but what can be printed is logged');
unlike(error_log(), qr/patient guard: .{500}/, 'and nothing long');
my %count;
$count{$_}++ for map { /^(\w+)/ } fake_commands();
is($count{PING}, 3, 'no connection was closed for that');
answered_once();



=== TEST 5: what Redis answers whoever is not wanted, or a replica
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
$peer->send({
    noperm   => "-NOPERM this user has no permissions\r\n",
    noauth   => "-NOAUTH Authentication required.\r\n",
    readonly => "-READONLY You can't write against a read only replica.\r\n",
}->{$fault} // die "no such fault: $fault\n");
END
--- after
for my $fault (qw(readonly noperm noauth)) {
    my $before = fake_commands();
    outage($fault, sub { fall_ill('$PG_TMP/$PG_POLICY.ill', $fault) }, sub {
        my $log = length error_log();
        my $end = time + 1.5;

        my %seen;
        while (time < $end) {
            my $answers = lookup('another', 1);
            $seen{$_}{$answers->{$_}} = 1 for @modes;
            sleep 0.02;
        }
        is_deeply(\%seen, { map { $_ => { $first{$_} => 1 } } @modes },
                  "$fault: always by the mode");

        my $n = () = substr(error_log(), $log) =~ /is (?:away|back)/g;
        is($n, 0, "$fault: nothing new is said of it");

        # a password does not get right by trying again soon
        my @commands = fake_commands();
        my $tries = grep { /^PING/ } splice @commands, $before;
        cmp_ok($tries, '<=', $fault eq 'readonly' ? 3 * 8 : 3 * 3,
               "$fault: not tried too often");
        recover();
    }, [$fault eq 'readonly' ? 'error' : 'crit', 'is away: ' . uc $fault]);
}
answered_once();



=== TEST 6: nobody answers in time, and a late reply is nobody's
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
my $reply = $peer->real(@command);
$peer->pause($fault eq 'late' ? 0.25 : 3600);
$peer->send($reply);
END
--- after
for my $fault (qw(late never)) {
    outage($fault, sub { fall_ill('$PG_TMP/$PG_POLICY.ill', $fault) },
           \&recover, ['error', 'is away: no reply in time']);

    # each of these waits until the time is out
    my @out;
    for (1 .. 5) {
        is_deeply(wait_well("again-$_"), \%::well, 'all is well in between');
        fall_ill('$PG_TMP/$PG_POLICY.ill', $fault);
        @took = ();
        is_deeply(lookup("again-$_", 2), \%::first, 'each mode answers');
        push @out, @took;
        recover();
    }
    cmp_ok(min(@out), '>', 0.19, 'not before the time is out');
    ok(in_time(@out), 'and then at once');
}

# others ask meanwhile: none gets the verdict on "late", who is over
fall_ill('$PG_TMP/$PG_POLICY.ill', 'late');
lookup('late', 3);
recover();
is_deeply(wait_well('somebody'), \%::well, 'somebody else is let through');
is_deeply(lookup('somebody', 2), \%::well, 'and once more');
is(lookup('somebody', 3)->{deny}, '403 redis', 'and is counted alone');
answered_once();



=== TEST 7: a reply too many
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval
::ill('^EVAL', <<'END');
my $reply = $peer->real(@command);
$peer->send($fault eq 'twice' ? $reply . $reply : "\$-1\r\n$reply");
END
--- after
is_deeply(lookup('dupont', 1), \%::well, 'all is well');
fall_ill('$PG_TMP/$PG_POLICY.ill', 'twice');
is_deeply(lookup('dupont', 1), \%::well, 'the first reply is the lookup\'s');
ok(wait_for(sub { count(0, qr/\[error\] .* is away: unsolicited reply/) == 3 }),
   'the second one closes the connection');
recover();
wait_well('dupont');
is_deeply(lookup('dupont', 2), \%::well, 'it is nobody\'s');
my $third = lookup('dupont', 3);
is($third->{$_}, '403 redis', "$_: nor is the limit") for @::modes;
outage('before', sub { fall_ill('$PG_TMP/$PG_POLICY.ill', 'before') },
       \&recover, ['error', 'is away: invalid reply']);
answered_once();



=== TEST 8: whoever waits on a lost connection is answered once, by the mode
--- http_config eval: ::policies('$PG_FAKE')
--- config eval: ::locations()
--- fake_redis eval: ::ill('^EVAL', '$peer->pause(0.05); $peer->close;')
--- after
is_deeply(lookup('dupont', 1), \%::well, 'all is well');
my %statuses;
for my $mode (@::modes) {
    fall_ill('$PG_TMP/$PG_POLICY.ill', 'close');
    $statuses{$_}++ for map { "$mode $_" }
        burst(40, sub { "/$mode?patient=$_[0]" }, 'X-Account' => 'durand');
    $::asked += 40;
    recover();
}
is_deeply(\%statuses, { 'local 200' => 2, 'local 403' => 38,
                        'deny 503' => 40, 'allow 200' => 40 },
          'all of them, and local counts admit no more than the limit');
wait_well('dupont');
answered_once();



=== TEST 9: byte by byte, and many replies at once, are as good as any
--- http_config eval
my $http = ::policies('$PG_FAKE');
$http =~ s/redis_timeout  200ms/redis_timeout  5s/g;
$http;
--- config eval: ::locations()
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
if (slurp('$PG_TMP/$PG_POLICY.ill')) {
    $peer->{held} .= $reply;
    return if ++$peer->{many} < 16;
    $reply = $peer->{held};
    $peer->{held} = '';
    return $peer->send($reply);
}
for my $byte (split //, $reply) {
    $peer->send($byte);
    $peer->pause(0.001);
}
--- after
is_deeply(lookup('dupont', 1), \%::well, 'greeted, and answered');
is_deeply(lookup('dupont', 2), \%::well, 'answered');
my $third = lookup('dupont', 3);
is($third->{$_}, '403 redis', "$_: over the limit") for @::modes;
unlike(error_log(), qr/is away/, 'nothing is wrong with that');

# sixteen replies come in one piece, for as many accounts
fall_ill('$PG_TMP/$PG_POLICY.ill');
my %statuses;
$statuses{$_}++ for burst(16, sub { "/deny?patient=1&who=$_[0]" },
                          'X-Account' => 'durand');
$::asked += 16;
is_deeply(\%statuses, { 200 => 16 }, 'each gets its own');
answered_once();



=== TEST 10: Redis is not there when nginx starts, and comes later
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
is_deeply(lookup('dupont', 1), \%::first, 'each mode answers');
is_deeply(lookup('dupont', 2), \%::first, 'and again');
is_deeply(lookup('dupont', 3), \%::third, 'local counts have limits');
is(get('/deny?patient=4', 'X-Account' => 'dupont')->{headers}{'retry-after'},
   1, 'the refused one is told to try again');
my $answer = get('/deny?patient=4', 'X-Account' => 'dupont');
is($answer->{headers}{'content-type'}, 'application/problem+json',
   'a problem document');
like($answer->{body}, qr/#temporary-reduced-capacity"/, 'of its own type');
is($answer->{headers}{'cache-control'}, 'no-store', 'that is not stored');
$::asked += 2;
is(count(0, qr/\[error\] .* is away: connect\(\) failed.*No such file/), 3,
   'said once for each policy');
start_redis($dir);
is_deeply(wait_well('dupont'), \%::well, 'Redis answers as soon as it can');
is(count(0, qr/\[notice\] .* is back/), 3, 'said once');
stop_redis($dir);
answered_once();



=== TEST 11: Redis is killed, and started anew
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
outage('idle', sub { stop_redis($dir) }, sub { start_redis($dir) },
       ['error', 'is away: (connect|connection closed|recv)']);

# in the midst of lookups, which wait for it at that moment
redis_at($dir, 'CLIENT', 'PAUSE', 10000, 'ALL');
my $pid = fork // die "fork: $!\n";
if (!$pid) {
    Time::HiRes::sleep(0.05);
    kill 'KILL', redis_pid($dir);
    POSIX::_exit(0);
}
my %statuses;
my $start = time;
$statuses{$_}++ for burst(30, sub { "/$::modes[$_[0] % 3]?patient=$_[0]" },
                          'X-Account' => 'durand');
$::asked += 30;
ok(in_time(time - $start), 'nobody waits for a reply now');
waitpid $pid, 0;
is_deeply(\%statuses, { 200 => 2 + 10, 403 => 8, 503 => 10 },
          'each is answered by its mode, once');
stop_redis($dir);
start_redis($dir);
is_deeply(wait_well('dubois'), \%::well, 'all is well again');
like(lookup('durand', 99)->{local}, qr/^403 (?:cache|redis)$/,
     'and who was stopped, by a node or by the Redis that is gone, still is');
stop_redis($dir);
answered_once();



=== TEST 12: Redis is stopped: established connections are silent
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
outage('stopped', sub { kill 'STOP', redis_pid($dir) }, sub {

    # new connections are not answered, either, and there is one at a time
    my ($worker) = split ' ', `ps -o pid= --ppid ${\ nginx_pid()}`;
    my $sockets = sub {
        return scalar grep { (readlink($_) // '') =~ /^socket:/ }
            glob "/proc/$worker/fd/*";
    };
    my $most = 0;
    my $end = time + 1;
    while (time < $end) {
        $most = max($most, $sockets->());
        sleep 0.005;
    }
    kill 'CONT', redis_pid($dir);
    wait_well('stopped');
    cmp_ok($most, '<=', $sockets->(), 'one connection for each policy');
}, ['error', 'is away: no reply in time']);
stop_redis($dir);
answered_once();



=== TEST 13: connecting takes too long
--- http_config eval: ::policies('127.0.0.1:$PG_FAKE_PORT')
--- config eval: ::locations()
--- after
# a queue of one that nobody accepts from: who comes later is not answered
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                   LocalPort => $PG_FAKE_PORT,
                                   ReuseAddr => 1) or die "listen: $!\n";
my @queued = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', Blocking => 0,
                          PeerPort => $PG_FAKE_PORT)
} 1 .. 8;
@::took = ();
is_deeply(lookup('dupont', 1), \%::first, 'each mode answers');
is_deeply(lookup('dupont', 2), \%::first, 'and again');
is_deeply(lookup('dupont', 3), \%::third, 'local counts have limits');
cmp_ok(max(@::took), '>', 0.1, 'they waited');
ok(in_time(@::took), 'no longer than redis_timeout');
is(count(0, qr/\[error\] .* is away: no reply in time/), 3, 'said once');
close $server;
answered_once();



=== TEST 14: what a real Redis answers in its worst hours
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir, '--enable-protected-configs', 'yes',
            '--busy-reply-threshold', 10);
my @perhaps = (perhaps => 1);

outage('oom', sub { redis_at($dir, qw(CONFIG SET maxmemory 1)) },
       sub { redis_at($dir, qw(CONFIG SET maxmemory 0)) },
       ['error', $::away], @perhaps);
is(count(0, qr/\[error\] .* answered "OOM /), 3, 'OOM is said');

outage('replica', sub { redis_at($dir, qw(REPLICAOF 127.0.0.1 1)) },
       sub { redis_at($dir, qw(REPLICAOF NO ONE)) },
       ['error', 'is away: READONLY']);

outage('replicas', sub { redis_at($dir, qw(CONFIG SET min-replicas-to-write 1)) },
       sub { redis_at($dir, qw(CONFIG SET min-replicas-to-write 0)) },
       ['error', $::away], @perhaps);

outage('noperm', sub { redis_at($dir, qw(ACL SETUSER default -evalsha -eval)) },
       sub { redis_at($dir, qw(ACL SETUSER default +@all)) },
       ['crit', 'is away: NOPERM']);

outage('keys', sub { redis_at($dir, qw(ACL SETUSER default resetkeys ~x)) },
       sub { redis_at($dir, qw(ACL SETUSER default allkeys)) },
       ['crit', 'is away: NOPERM']);

outage('password', sub {
    redis_at($dir, qw(CONFIG SET requirepass geheim));
    redis_at($dir, qw(-a geheim CLIENT KILL TYPE normal));
}, sub { redis_at($dir, '-a', 'geheim', 'CONFIG', 'SET', 'requirepass', '') },
       ['crit', 'is away: NOAUTH']);

outage('misconf', sub {
    mkdir "$dir/gone";
    redis_at($dir, 'CONFIG', 'SET', 'dir', "$dir/gone");
    rmdir "$dir/gone";
    redis_at($dir, 'CONFIG', 'SET', 'save', '3600 1');
    redis_at($dir, 'BGSAVE');
    wait_for(sub { redis_at($dir, 'INFO') =~ /last_bgsave_status:err/ });
}, sub { redis_at($dir, 'CONFIG', 'SET', 'save', '') },
       ['error', $::away], @perhaps);

# a busy one answers when its patience of 10 ms is over
my $pid;
outage('busy', sub {
    $pid = fork // die "fork: $!\n";
    exec 'redis-cli', '-s', "$dir/sock", 'EVAL', 'while true do end', 0
        if !$pid && open STDOUT, '>', '/dev/null';
    wait_for(sub { redis_at($dir, 'GET', 'x') =~ /BUSY/ });
}, sub {
    redis_at($dir, 'SCRIPT', 'KILL');
    waitpid $pid, 0;
}, ['error', $::away], @perhaps);

stop_redis($dir);
answered_once();



=== TEST 15: Redis loads its data
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
is_deeply(lookup('dupont', 1), \%::well, 'all is well');
redis_at($dir, qw(DEBUG POPULATE 20000 key 500)) =~ /OK/
    or redis_at($dir, 'EVAL', 'for i = 1, 20000 do redis.call("SET", "key:" .. i, '
           . 'string.rep("x", 500)) end', 0);
redis_at($dir, 'SAVE');
stop_redis($dir);

# 20,000 keys at 100 us each
start_redis($dir, qw(--key-load-delay 100
                     --loading-process-events-interval-bytes 1024));
$::loading = redis_at($dir, 'INFO') =~ /loading:1/;
ok($::loading, 'it loads');
is_deeply(lookup('dupont', 2), \%::first, 'each mode answers');
is_deeply(lookup('dupont', 3), \%::third, 'local counts know of Redis\'');
is(count(0, qr/\[error\] .* is away: /), 3, 'said once');
redis_at($dir, qw(CONFIG SET key-load-delay 0));
is_deeply(wait_well('dupont'), \%::well, 'all is well again');
is(count(0, qr/\[notice\] .* is back/), 3, 'said once');
stop_redis($dir);
answered_once();



=== TEST 16: a poisoned key is its account's own trouble
--- http_config eval: ::policies('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
is_deeply(lookup('dupont', 1), \%::well, 'one account');
my @keys = split ' ', redis_at($dir, 'KEYS', '*');
is(scalar @keys, 3, 'a key for each policy');
my ($field) = grep { /^p/ } split ' ', redis_at($dir, 'HKEYS', $keys[0]);

my %poisons = (
    string => sub { redis_at($dir, 'DEL', $_[0]); redis_at($dir, 'SET', $_[0], 'x') },
    set    => sub { redis_at($dir, 'DEL', $_[0]); redis_at($dir, 'SADD', $_[0], 'x') },
    short  => sub { redis_at($dir, 'HSET', $_[0], $field, 'x') },
    long   => sub { redis_at($dir, 'HSET', $_[0], $field, 'x' x 500) },
    empty  => sub { redis_at($dir, 'HSET', $_[0], $field, '') },
    challenge => sub { redis_at($dir, 'HSET', $_[0], '!challenge', 'x') },
    grants => sub { redis_at($dir, 'HSET', $_[0], '!grants', 'x' x 144 . 'y') },

    # well-formed, but for what it says: a sum of counts that is not the total,
    # and a slice so late that the next one is the same number
    more   => sub { forge($dir, $_[0], $field, 0, 1, 2) },
    fewer  => sub { forge($dir, $_[0], $field, 0, 1, 0) },
    late   => sub { forge($dir, $_[0], $field, '2^53 + 8', 1, 1) },
    latest => sub { forge($dir, $_[0], $field, '2^63', 1, 1) },
);

for my $poison (sort keys %poisons) {
    my $clients = redis_at($dir, 'CLIENT', 'LIST') =~ s/(id=\d+) .*/$1/gr;
    $poisons{$poison}->($_) for @keys;
    my $second = time;
    wait_for(sub { int time > int $second });
    my $log = length error_log();

    is_deeply(lookup('dupont', 1), \%::first, "$poison: by the mode");
    is_deeply(lookup("durand-$poison", 1), \%::well,
              "$poison: others do not notice");
    is(count($log, qr/\[error\] .* answered "/), 3, "$poison: said");
    is(count($log, qr/is away/), 0, "$poison: no connection is closed");

    # a number would be right, but for the limit
    my $local = get('/local?patient=2', 'X-Account' => 'dupont');
    is($local->{status}, 200, "$poison: a second patient is within limits");
    $local = get('/local?patient=3', 'X-Account' => 'dupont');
    is($local->{status}, 403, "$poison: a third one is not");
    $::asked += 2;

    redis_at($dir, 'DEL', @keys);
    is_deeply(lookup('dupont', 1), \%::well, "$poison: gone with the key");
}
stop_redis($dir);
answered_once();
