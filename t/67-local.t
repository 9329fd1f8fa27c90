# consistency local: every lookup is decided at once, and the nodes meet in
# Redis each interval.  And strict: no account is in another one's way.

use lib 't/lib';
use PatientGuard;

use IO::Select;
use List::Util qw(sum max);
use Time::HiRes qw(sleep time);

our $slow = $ENV{PG_SLOW} // 1;

sub policy {
    my ($more, $redis) = @_;

    $redis //= 'unix:$PG_TMP/$PG_POLICY.d/sock';

    return <<"END";
account        \$http_x_account trusted;
proof          \$proved;
secret         \$PG_KEY;
redis          $redis prefix=\$PG_PREFIX;
redis_timeout  1s;
$more
END
}

our $map = 'map $http_x_proof $proved { default $http_x_proof; }';
our $location = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
END

our ($alias, @took);

sub told {
    my ($account, $patient, @headers) = @_;

    my $start = time;
    my $answer = get("/?patient=$patient", 'X-Account' => $account, @headers);
    push @took, time - $start;
    $alias = $answer->{headers}{'x-alias'} || $alias;
    return join ' ', $answer->{status}, $answer->{headers}{'x-source'} // '';
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[@sorted / 2] }

sub total {
    my ($dir, $field) = @_;

    return (window_at($dir, $alias, $field) // {})->{total} // 0;
}

# how long it takes until it is so

sub until_so {
    my ($condition) = @_;

    my $start = time;
    return wait_for($condition) ? time - $start : 1e9;
}

# what one connection is answered to requests that are sent at once

sub asking {
    my ($uri, $account) = @_;

    my $client = PatientGuard::client();
    syswrite $client, PatientGuard::request($uri, 'X-Account' => $account);
    return $client;
}

sub answers {
    my (@clients) = @_;

    my %texts;
    my $select = IO::Select->new(@clients);
    my $end = time + PatientGuard::patience();
    while ($select->count && time < $end) {
        for my $client ($select->can_read(0.1)) {
            sysread($client, $texts{$client}, 65536,
                    length($texts{$client} // ''))
                or $select->remove($client);
        }
    }
    return map {
        my $answer = PatientGuard::answer($texts{$_} // '');
        "$answer->{status} " . ($answer->{headers}{'x-source'} // '');
    } @clients;
}

run_tests();

__DATA__

=== TEST 1: nobody waits for Redis, not even for a new patient
--- http_config eval: $::map
--- policy eval
::policy("consistency local;\nlimit patients=100/1h deny;\n"
         . "limit lookups=1000/1h deny;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my %seen;
@took = ();
$seen{told('dupont', $_)}++ for 1 .. 50;
is_deeply(\%seen, { '200 local' => 50 }, 'each is decided by this node');
cmp_ok(median(@took), '<', 0.01 * $slow, 'without waiting');
ok(wait_for(sub { total($dir, 'patients/3600') == 50
                  && total($dir, 'lookups/3600') == 50 }), 'Redis is told');

kill 'STOP', redis_pid($dir);
@took = ();
%seen = ();
$seen{told('dupont', 50 + $_)}++ for 1 .. 50;
is_deeply(\%seen, { '200 local' => 50 }, 'nor where Redis does not answer');
cmp_ok(max(@took), '<', 0.5 * $slow, 'nobody waits');
like(told('dupont', 101), qr/^403 local/, 'until the limit is reached');
kill 'CONT', redis_pid($dir);
ok(wait_for(sub { total($dir, 'patients/3600') == 100 }), 'it is told again');
is(total($dir, 'lookups/3600'), 100, 'once');
stop_redis($dir);



=== TEST 2: nodes meet within an interval or two
--- http_config eval: $::map
--- policy eval
::policy("consistency local interval=50ms;\nlimit patients=20/1h deny;\n"
         . "limit lookups=1000/1h log;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
start_another();
like(told('dupont', $_), qr/^200 local/, "$_ here") for 1 .. 10;
another { like(told('dupont', $_), qr/^200 local/, "$_ there") for 11 .. 20 };
my $took = until_so(sub { total($dir, 'patients/3600') == 20 });
cmp_ok($took, '<', 0.5 * $slow, 'both counts are in Redis');

# one that was idle may admit some more, until it has heard of it
my $n = 100;
my $full = sub { wait_for(sub { told('dupont', $n++) =~ /^403 local/ }, 1) };
ok($full->(), 'full here');
another { ok($full->(), 'full there') };
for my $patient (1 .. 20) {
    my $is_known = sub { told('dupont', $patient) =~ /^200 local/ };
    ok(wait_for($is_known, 1), "$patient is readable");
    another { ok(wait_for($is_known, 1), 'there too') };
}
my $all = total($dir, 'patients/3600');
ok($full->(), 'and stays so');
is(total($dir, 'patients/3600'), $all, 'no more are counted');
stop_redis($dir);



=== TEST 3: a robot on both nodes gets no more than is documented
--- http_config eval: $::map
--- policy eval
::policy("consistency local interval=100ms;\nlimit patients=300/1h deny;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
start_another();
like(told('robot', 'first'), qr/^200/, 'begins');

# so many a second on each node; N - 1 is one
my ($rate, $n) = (100, 0);
my @admitted = (0, 0);
my $start = time;
my $end = $start + 6;
my $late = 0;
while (time < $end) {
    my $due = $start + $n / $rate;
    sleep $due - time if $due > time;
    $late = max($late, time - $due);
    $admitted[0] += (told('robot', "here-$n") =~ /^200/);
    another { $admitted[1] += (told('robot', "there-$n") =~ /^200/) };
    $n++;
}
my $over = 1 + sum(@admitted) - 300;
cmp_ok($over, '>=', 0, 'the limit is reached');

# an interval and a round trip, and what this machine was late by
my $bound = $rate * (0.1 + 0.02 + $late) + 2;
cmp_ok($over, '<=', $bound, "$over more than the limit");
diag("$admitted[0] and $admitted[1], $over over, bound $bound, late $late")
    if $over > $bound;
like(told('robot', 'last'), qr/^403/, 'and then it is stopped');
another { like(told('robot', 'last'), qr/^403/, 'everywhere') };
stop_redis($dir);



=== TEST 4: the interval is honoured
--- http_config eval: $::map
--- policy eval
::policy("consistency local interval=2s;\nlimit patients=100/1h deny;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
told('dupont', 1);
ok(wait_for(sub { total($dir, 'patients/3600') == 1 }), 'told');
my $calls = sub {
    redis_at($dir, 'INFO', 'commandstats') =~ /^cmdstat_hset:calls=(\d+)/m;
    return $1;
};
my $before = $calls->();
my $start = time;
my $i = 2;
while (time < $start + 3) { told('dupont', $i++ % 90); sleep 0.02 }
my $n = $calls->() - $before;
cmp_ok($n, '<=', 2, 'at most one an interval');
cmp_ok($n, '>=', 1, 'but one');
stop_redis($dir);



=== TEST 5: on_outage deny and allow
--- http_config eval
CORE::join '', $::map, map { "\npatient_guard_policy \$PG_POLICY_$_ {\n"
    . ::policy("consistency local;\non_outage $_;\n"
               . 'limit patients=3/1h deny;') . "}\n" } qw(deny allow local);
--- config eval
CORE::join '', map {
    $::location =~ s/PG_POLICY/PG_POLICY_$_/r =~ s{location /}{location /$_}r
} qw(deny allow local);
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my $in = sub {
    my ($mode, $patient, $account) = @_;
    my $answer = get("/$mode?patient=$patient", 'X-Account' => $account);
    return "$answer->{status} $answer->{headers}{'x-source'}";
};
for my $mode (qw(deny allow local)) {
    is($in->($mode, $_, 'robot'), $_ < 4 ? '200 local' : '403 local',
       "$mode: $_") for 1 .. 4;
}
stop_redis($dir);
my %is = (deny => '503 none', allow => '200 none', local => '200 local');
for my $mode (qw(deny allow local)) {
    ok(wait_for(sub { $in->($mode, 1, 'other') eq $is{$mode}
                      && error_log() =~ /is away: .*on_outage $mode/ }),
       "$mode: as it says");
    like($in->($mode, 5, 'robot'), qr/^403/, "$mode: stopped is stopped");
}
start_redis($dir);
for my $mode (qw(deny allow local)) {
    ok(wait_for(sub { $in->($mode, 1, 'other') eq '200 local' }),
       "$mode: back");
}
stop_redis($dir);



=== TEST 6: a challenge, its pass, and the grants, across nodes
--- http_config eval: $::map
--- policy eval
::policy("consistency local;\nlimit patients=3/1h challenge;\n"
         . "challenge_grants 2/1d;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
start_another();
my $now = int time;
my $next = 1;
my $challenged = sub {
    wait_for(sub { told('dupont', $next++) =~ /^403/ });
    return told('dupont', $next++) =~ /^403/;
};
for my $pass (1 .. 2) {
    another { ok($challenged->(), "challenged there, $pass") };
    ok(wait_for(sub { told('dupont', 1) =~ /^403/ }, 1), 'and here');

    # each later than the one before, and than the challenge
    my $proof = $now + 60 * $pass;
    like(told('dupont', $next++, 'X-Proof' => $proof), qr/^200 redis/,
         'passed here: Redis is asked');
    another { ok(wait_for(sub { told('dupont', $next++) =~ /^200/ }, 1),
                 'seen there') };
}
another { ok($challenged->(), 'and again') };
ok(wait_for(sub { told('dupont', 1) =~ /^403/ }, 1), 'here as well');
like(told('dupont', 1, 'X-Proof' => $now + 200), qr/^403/, 'no grant is left');
another { like(told('dupont', 1, 'X-Proof' => $now + 200), qr/^403/,
               'nor there') };
stop_redis($dir);



=== TEST 7: a flood of one account is in nobody's way
--- http_config eval: $::map
--- policy eval
::policy("limit patients=100000/1h deny;\nlimit lookups=1000000/1h deny;")
    =~ s/redis_timeout  1s/redis_timeout 20s/r . "zone 64m;\n"
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
like(told('quiet', 1), qr/^200 redis/, 'all is well');

# more than are under way and in line
kill 'STOP', redis_pid($dir);
my @flood = map { asking("/?patient=$_", 'flood') } 1 .. 620;
my $quiet = asking('/?patient=2', 'quiet');

# 100 of them find no place any more
my @now;
ok(wait_for(sub {
    @now = IO::Select->new(@flood)->can_read(0);
    return @now >= 100;
}, 8 * $slow), 'what is beyond is answered at once');
kill 'CONT', redis_pid($dir);
is((answers($quiet))[0], '200 redis', 'another account is answered by Redis');
my %seen;
$seen{$_}++ for answers(@flood);
is($seen{'200 redis'}, 520, 'the others as well, in their turn');
is($seen{'200 local'}, 100, 'and the excess by this node');
unlike(error_log(), qr/patient guard: .*is away/, 'Redis was never away');
wait_for(sub { told('flood', 1); total($dir, 'lookups/3600') >= 621 });
ok(wait_for(sub { total($dir, 'patients/3600') == 620 }), 'all are counted');

# many patients at once
my $many = sub { join ',', map { "$_[0]-$_" } 1 .. 500 };
my @big = map { asking('/?patient=' . $many->($_), 'big') } 1 .. 80;
my @took;
for my $i (1 .. 20) {
    my $start = time;
    is((answers(asking("/?patient=new-$i", 'quiet')))[0], '200 redis',
       "another account, $i");
    push @took, time - $start;
}
cmp_ok(median(@took), '<', 0.5 * $slow, 'in time') or diag("@took");
%seen = ();
$seen{substr $_, 0, 3}++ for answers(@big);
is_deeply(\%seen, { 200 => 80 }, 'and all of those are answered');
unlike(error_log(), qr/patient guard: .*is away/, 'Redis was never away');
stop_redis($dir);



=== TEST 8: beyond its place in line on_outage decides, for that account alone
--- http_config eval: $::map
--- policy eval
::policy("on_outage deny;\nlimit lookups=1000000/1h deny;")
    =~ s/redis_timeout  1s/redis_timeout 20s/r
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
like(told('quiet', 1), qr/^200 redis/, 'all is well');
kill 'STOP', redis_pid($dir);
my @flood = map { asking("/?patient=$_", 'flood') } 1 .. 600;
my @quiet = map { asking("/?patient=$_", "quiet-$_") } 1 .. 5;
ok(wait_for(sub { my @now = IO::Select->new(@flood)->can_read(0);
                  return @now >= 80 }, 8 * $slow), 'the excess');
kill 'CONT', redis_pid($dir);
is_deeply([answers(@quiet)], [('200 redis') x 5], 'others do not notice');
my %seen;
$seen{$_}++ for answers(@flood);
is_deeply(\%seen, { '200 redis' => 520, '503 none' => 80 }, 'those are 503');
unlike(error_log(), qr/patient guard: .*is away/, 'Redis was never away');
stop_redis($dir);



=== TEST 9: whose turn comes late does not cost all others the connection
--- http_config eval: $::map
--- policy eval
::policy("limit lookups=100000/1h deny;\n", '$PG_FAKE')
    =~ s/redis_timeout  1s/redis_timeout 600ms/r
--- config eval: $::location
--- fake_redis
return unless @command;
my $reply = $peer->real(@command);
$peer->pause(0.05) if $command[0] =~ /^EVAL/;
$peer->send($reply);
--- after
like(told('quiet', 1), qr/^200 redis/, 'all is well');

# each alone under way, for 50 ms: the twelfth would be too late
my $many = sub { join ',', map { "$_[0]-$_" } 1 .. 300 };
my @big = map { asking('/?patient=' . $many->($_), 'big') } 1 .. 30;
my %seen;
$seen{$_}++ for answers(@big);
cmp_ok($seen{'200 redis'}, '>=', 3, 'some have their turn');
is($seen{'200 redis'} + $seen{'200 local'}, 30, 'others are answered here');
is(scalar(() = error_log() =~ /patient guard: .*is away/g), 0,
   'Redis is not away');
like(told('quiet', 2), qr/^200 redis/, 'nor for others');



=== TEST 10: each way to write consistency
--- http_config eval
CORE::join '', $::map, map { "\npatient_guard_policy \$PG_POLICY_$_->[0] {\n"
    . ::policy("consistency $_->[1];\nlimit patients=2/1h deny;", '$PG_REDIS')
    . "}\n" } ['strict', 'strict'], ['local', 'local'],
              ['least', 'local interval=1ms'], ['most', 'local interval=10s'];
--- config eval
CORE::join '', map {
    $::location =~ s/PG_POLICY/PG_POLICY_$_/r =~ s{location /}{location /$_}r
} qw(strict local least most);
--- after
for my $way (qw(strict local least most)) {
    my @told = map {
        my $answer = get("/$way?patient=$_", 'X-Account' => 'dupont');
        "$answer->{status} $answer->{headers}{'x-source'}";
    } 1 .. 3;
    is("@told[0, 1]", $way eq 'strict' ? '200 redis 200 redis'
                                       : '200 local 200 local', $way);
    like($told[2], qr/^403/, "$way: and no third");
}



=== TEST 11: what is little beside the room that is left is told of later, with more
--- http_config eval: $::map
--- policy eval
::policy("consistency local interval=20ms;\nlimit patients=10000/1h deny;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my $calls = sub {
    redis_at($dir, 'INFO', 'commandstats') =~ /^cmdstat_hset:calls=(\d+)/m;
    return $1 // 0;
};
my $start = time;
my $i = 0;
while (time < $start + 1.5) { told('dupont', ++$i); sleep 0.01 }
ok(wait_for(sub { total($dir, 'patients/3600') == $i }), 'all are told');
cmp_ok($calls->(), '<=', 2 + (time - $start) / 0.4, 'twice or thrice a second');

# of many at once it is told at once
my $before = $calls->();
told('dupont', join ',', map { "many-$_" } 1 .. 300);
my $took = until_so(sub { $calls->() > $before });
cmp_ok($took, '<', 0.3 * $slow, 'but at once of many');
stop_redis($dir);



=== TEST 12: and at once where there is little room
--- http_config eval: $::map
--- policy eval
::policy("consistency local interval=20ms;\nlimit patients=20/1h deny;")
--- config eval: $::location
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my @took;
for my $i (1 .. 20) {
    told('dupont', $i);
    push @took, until_so(sub { total($dir, 'patients/3600') == $i });
}
@took = sort { $a <=> $b } @took[5 .. 19];
cmp_ok($took[7], '<', 0.2 * $slow, 'within an interval or two');
is(told('dupont', 21), '403 local', 'to the last');
stop_redis($dir);
