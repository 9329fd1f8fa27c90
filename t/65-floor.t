# The floor: what a node knows of Redis by itself, below which no verdict
# falls, and what it answers without asking.

use lib 't/lib';
use PatientGuard;

use List::Util qw(sum);
use Time::HiRes qw(sleep time);

our @actions = qw(deny throttle challenge);
our %stopped = (deny => 403, throttle => 429, challenge => 403);

sub proofs { 'map $http_x_proof $proved { default $http_x_proof; }' . "\n" }

# a policy for each action, at a Redis of the block's own

sub policies {
    my ($more) = @_;

    return join '', map { <<"END" } @actions;
patient_guard_policy \$PG_POLICY_$_ {
    account         \$http_x_account trusted;
    proof           \$proved;
    secret          \$PG_KEY;
    redis           unix:\$PG_TMP/\$PG_POLICY.d/sock prefix=\$PG_PREFIX;
    redis_timeout   5s;
    throttle_delay  1ms;
    limit           patients=3/1h $_;
    $more
}
END
}

sub locations {
    return join '', map { <<"END" } @actions;
location /$_ {
    patient_guard          \$PG_POLICY_$_;
    patient_guard_patient  \$arg_patient;
    add_header             X-Source \$patient_guard_source always;
    add_header             X-Alias \$patient_guard_account always;
    proxy_pass             http://\$PG_PORTAL;
}
END
}

# "status source"

sub told {
    my ($action, $account, $patient, @headers) = @_;

    my $answer = get("/$action?patient=$patient", 'X-Account' => $account,
                     @headers);
    return join ' ', $answer->{status}, $answer->{headers}{'x-source'} // '';
}

sub status { (split ' ', told(@_))[0] }

# until it is so; what it was at last

sub told_at_last {
    my ($expected, $ask, $seconds) = @_;

    my $told;
    wait_for(sub { ($told = $ask->()) =~ /$expected/ }, $seconds);
    return $told;
}

# EVAL and EVALSHA that Redis has run

sub asked {
    my ($dir) = @_;

    return sum(0, redis_at($dir, 'INFO', 'commandstats')
                  =~ /^cmdstat_eval(?:sha)?:calls=(\d+)/mg);
}

sub fill {
    my ($action, $account) = @_;

    my @told = map { status($action, $account, $_) } 1 .. 4;
    main::is("@told", "200 200 200 $::stopped{$action}",
             "$action $account: three patients, and no fourth");
}

run_tests();

__DATA__

=== TEST 1: Redis loses its data, and whom this node has stopped stays so
--- http_config eval: ::proofs() . ::policies('')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my %loses = (
    flushed   => sub { redis_at($dir, 'FLUSHALL') },
    deleted   => sub {
        redis_at($dir, 'DEL', split /\n/, redis_at($dir, 'KEYS', '*'));
    },
    restarted => sub {
        stop_redis($dir);
        is(told('deny', 'noticed', 1), '200 local', 'it is away');
        is(status($_, 'restarted', 5), $stopped{$_}, "$_: in the outage")
            for @actions;
        start_redis($dir);
    },
);

for my $loss (sort keys %loses) {
    fill($_, $loss) for @actions;
    $loses{$loss}->();

    # but for a challenge, which this node may have told anew already
    cmp_ok(redis_at($dir, 'DBSIZE') + 0, '<=', 1, "$loss: Redis lost it");

    for my $action (@actions) {
        is(status($action, $loss, $_), $stopped{$action},
           "$action $loss: patient $_ is not to be had") for 4, 5, 6;
        is(status($action, $loss, 2),
           $action eq 'challenge' ? 403 : 200,
           "$action $loss: who is counted");
    }

    # well again, and asked again: Redis has been told, or it does not matter
    ok(wait_for(sub { status('deny', "new-$loss", 1) == 200
                      && redis_at($dir, 'DBSIZE') > 0 }), "$loss: back");
    sleep 0.6;
    is(status($_, $loss, 7), $stopped{$_}, "$_ $loss: asked anew")
        for @actions;
}
stop_redis($dir);
ok(error_log() !~ /\[(?:alert|crit|emerg)\]/, 'nothing worse is said');



=== TEST 2: in an outage whom this node has stopped stays so, in all modes
--- http_config eval
::proofs() . CORE::join '', map { ::policies("on_outage $_;") =~ s/(POLICY_\w+)/$1_$_/gr }
    qw(deny allow local);
--- config eval
CORE::join '', map {
    ::locations() =~ s/(POLICY_\w+)/$1_$_/gr =~ s{/(?=\w+ \{)}{/$_-}gr
} qw(deny allow local);
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
for my $mode (qw(deny allow local)) {
    for my $action (@actions) {
        my @told = map { status("$mode-$action", 'dupont', $_) } 1 .. 4;
        is("@told", "200 200 200 $stopped{$action}", "$mode $action: full");
    }
}
stop_redis($dir);
for my $mode (qw(deny allow local)) {
    for my $action (@actions) {
        my %seen;
        $seen{told("$mode-$action", 'dupont', 10 + $_)}++ for 1 .. 20;

        # "local" from the first one on that had to ask
        my @wrong = grep { !/^$stopped{$action} (?:cache|local)$/ } keys %seen;
        is("@wrong", '', "$mode $action: stopped");
        like(told("$mode-$action", 'durand', 1),
             { deny => qr/503 none/, allow => qr/200 none/,
               local => qr/200 local/ }->{$mode}, "$mode $action: others");
    }
}



=== TEST 3: refusals repeated cost Redis nothing
--- http_config eval: ::proofs() . ::policies('')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
for my $action (@actions) {
    fill($action, 'robot');

    my $before = asked($dir);
    my $start = time;
    my %seen;
    $seen{told($action, 'robot', 100 + $_)}++ for 1 .. 200;
    my $took = time - $start;
    my $calls = asked($dir) - $before;

    cmp_ok($calls, '<=', 2 + 2 * $took, "$action: twice a second");
    is($seen{"$stopped{$action} cache"} + ($seen{"$stopped{$action} redis"}
                                            // 0), 200, "$action: refused")
        or diag(join ', ', %seen);
    cmp_ok($seen{"$stopped{$action} redis"} // 0, '<=', 2 + 2 * $took,
           "$action: and nearly all by what is known");

    # many at once are one question
    sleep 0.6;
    $before = asked($dir);
    my %statuses;
    $statuses{$_}++ for burst(100, "/$action?patient=50",
                              'X-Account' => 'robot');
    is_deeply(\%statuses, { $stopped{$action} => 100 }, "$action: a burst");
    cmp_ok(asked($dir) - $before, '<=', 8, "$action: hardly asked");
}
stop_redis($dir);



=== TEST 4: who is counted stays readable, by whichever node
--- http_config eval: ::proofs() . ::policies('')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
start_another();
for my $action (qw(deny throttle)) {
    is(status($action, 'dupont', 1), 200, "$action: one here");
    another { is(status($action, 'dupont', $_), 200, "$action: $_ there")
              for 2, 3 };
    is(status($action, 'dupont', 4), $stopped{$action}, "$action: full");
    is(status($action, 'dupont', $_), 200, "$action: $_ is readable here")
        for 1 .. 3;
    another {
        is(status($action, 'dupont', 4), $stopped{$action},
           "$action: full there as well");
        is(status($action, 'dupont', $_), 200, "$action: $_ readable there")
            for 1 .. 3;
    };
}

# nor is that forgotten without Redis
stop_redis($dir);
for my $action (qw(deny throttle)) {
    is(status($action, 'dupont', $_), 200, "$action: $_ in the outage")
        for 1 .. 3;
    is(status($action, 'dupont', 4), $stopped{$action}, "$action: and no 4");
    another {
        is(status($action, 'dupont', $_), 200, "$action: $_ there as well")
            for 1 .. 3;
        is(status($action, 'dupont', 4), $stopped{$action}, "$action: no 4");
    };
}



=== TEST 5: a challenge, and its pass, are seen on the other node
--- http_config eval: ::proofs() . ::policies('')
--- config eval: ::locations()
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir, '--appendonly', 'yes');
start_another();
another { is(status('challenge', 'dupont', $_), 200, "$_ there") for 1 .. 3 };
another { is(status('challenge', 'dupont', 4), 403, 'challenged there') };
like(told_at_last('^403', sub { told('challenge', 'dupont', 1) }, 1),
     qr/^403/, 'and here');

# who knows of it by the cache hears of a pass within a second
is(status('challenge', 'dupont', 1), 403, 'still');
my $proof = time + 1;
another { is(status('challenge', 'dupont', 5, 'X-Proof' => int $proof), 200,
             'passed there') };
like(told_at_last('^200', sub { told('challenge', 'dupont', 6) }, 1),
     qr/^200/, 'seen here');
is(status('challenge', 'dupont', 7), 200, 'a fresh allowance of three');
is(status('challenge', 'dupont', 8), 403, 'and not of six');

# one that knows of the patient only learns of a challenge soon
another { is(status('challenge', 'duval', 1), 200, 'a patient there') };
is(status('challenge', 'duval', 1), 200, 'and the same one here');
another { status('challenge', 'duval', $_) for 2 .. 4 };
like(told_at_last('^403', sub { told('challenge', 'duval', 1) }, 1),
     qr/^403/, 'a known patient is challenged as well');

# opened without Redis, told afterwards
stop_redis($dir);
is(status('challenge', 'durand', $_), $_ < 4 ? 200 : 403, "outage: $_")
    for 1 .. 4;
start_redis($dir, '--appendonly', 'yes');
my $alias = get('/challenge?patient=1', 'X-Account' => 'durand')
            ->{headers}{'x-alias'};
ok(wait_for(sub { my ($key) = split /\n/, redis_at($dir, 'KEYS', "*{$alias}");
                  $key && redis_at($dir, 'HEXISTS', $key, '!challenge') == 1
                }, 3), 'Redis is told of the challenge');
another { like(told_at_last('^403', sub { told('challenge', 'durand', 1) }, 2),
               qr/^403/, 'and the other node') };
stop_redis($dir);



=== TEST 6: known patients are answered at once, and renewed
--- http_config
patient_guard_policy $PG_POLICY {
    account        $http_x_account trusted;
    secret         $PG_KEY;
    redis          unix:$PG_TMP/$PG_POLICY.d/sock prefix=$PG_PREFIX;
    redis_timeout  10s;
    limit          patients=3/20s deny;
}
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my $answer = get('/?patient=1', 'X-Account' => 'dupont');
is($answer->{headers}{'x-source'}, 'redis', 'a new one is asked for');
my $alias = $answer->{headers}{'x-alias'};
my $first = window_at($dir, $alias, 'patients/20');
is($first->{total}, 1, 'and counted');

# in the slices that come: where it was counted it is no more
ok(wait_for(sub {
    is_known(get('/?patient=1', 'X-Account' => 'dupont'));
    my $now = window_at($dir, $alias, 'patients/20');
    return $now->{newest} > $first->{newest}
           && $now->{counts}[$now->{newest} % 33] == 1;
}), 'a patient seen again is counted in a later slice');
my $now = window_at($dir, $alias, 'patients/20');
is($now->{total}, 1, 'once');
is($now->{counts}[$first->{newest} % 33], 0, 'and no more in the first');

kill 'STOP', redis_pid($dir);
my $start = time;
is_known(get('/?patient=1', 'X-Account' => 'dupont'), 1) for 1 .. 20;
cmp_ok(time - $start, '<', 2 * ($ENV{PG_SLOW} // 1), 'nobody waits for Redis');

my $client = PatientGuard::client();
syswrite $client, PatientGuard::request('/?patient=2',
                                        'X-Account' => 'dupont');
ok(!IO::Select->new($client)->can_read(0.3), 'but for a new patient');
kill 'CONT', redis_pid($dir);
ok(IO::Select->new($client)->can_read(5), 'who is answered when it goes on');
sysread $client, my $text, 65536;
like($text, qr{^HTTP/1.1 200.*X-Source: redis}s, 'by Redis');
stop_redis($dir);

sub is_known {
    my ($answer, $tell) = @_;
    my $told = "$answer->{status} $answer->{headers}{'x-source'}";
    is($told, '200 cache', 'known') if $tell || $told ne '200 cache';
}



=== TEST 7: where lookups are counted each asks, whoever is known
--- policy
account        $http_x_account trusted;
limit          patients=100/1h deny;
limit          lookups=100000/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(get('/?patient=1', 'X-Account' => 'dupont')->{headers}{'x-source'}, 'redis') for 1 .. 10;
