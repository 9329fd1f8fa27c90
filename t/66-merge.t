# What an outage counted is told to Redis, each charge once; and nobody waits
# for a Redis that is away.

use lib 't/lib';
use PatientGuard;

use List::Util qw(sum max);
use Time::HiRes qw(sleep time);

workers(2);

our $slow = $ENV{PG_SLOW} // 1;
our $location = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
END

# the Redis of a block: its own one, or a fake before the shared one

sub policy {
    my ($redis) = @_;

    return <<"END";
account        \$http_x_account trusted;
secret         \$PG_KEY;
redis          $redis prefix=\$PG_PREFIX;
redis_timeout  200ms;
limit          patients=60/1h deny;
limit          lookups=100/1h deny;
END
}

# A fake that loses what a file says: "replies" or "commands", of what matches
# $of.  SYNC is told by its flags, behind one key.

sub loses {
    my ($of) = @_;

    return <<"END";
return unless \@command;
my \$lost = slurp('\$PG_TMP/\$PG_POLICY.lost');
my \$sync = \$command[0] =~ /^EVAL/ && \$peer->flags(\@command) >= 8;
return \$peer->send(\$peer->real(\@command))
    unless \$lost && \$command[0] =~ /^EVAL/ && ($of);
\$peer->real(\@command) if \$lost =~ /replies/;
\$lost =~ /close/ ? \$peer->close : \$peer->pause(3600);
END
}

our ($file, %made, %alias);

sub lose {
    ($file, my $what) = @_;

    open my $out, '>', "$file.new" or die "$file: $!\n";
    print $out $what;
    close $out;
    rename "$file.new", $file;
}

sub found { unlink $file }

# admitted or not, and by whom; %made keeps what was

sub lookup {
    my ($account, $patient) = @_;

    my $answer = get("/?patient=$patient", 'X-Account' => $account);
    $alias{$account} = $answer->{headers}{'x-alias'} || $alias{$account};

    if ($answer->{status} == 200) {
        $made{$account}{lookups}++;
        $made{$account}{patients}{$patient} = 1;
    }
    return "$answer->{status} " . ($answer->{headers}{'x-source'} // '');
}

# Each worker is asked, while the other one is stopped: one of them might take
# all that come.

sub knock {
    my ($account) = @_;

    for my $stopped (split ' ', `ps -o pid= --ppid ${\ nginx_pid()}`) {
        kill 'STOP', $stopped;
        wait_for(sub { PatientGuard::slurp("/proc/$stopped/stat") =~ /\) T/ });
        lookup($account, 1);
        kill 'CONT', $stopped;
    }
}

sub begin { %made = %alias = () }

sub totals {
    my ($dir, $account) = @_;

    my $lookups = window_at($dir, $alias{$account}, 'lookups/3600');
    my $patients = window_at($dir, $alias{$account}, 'patients/3600');

    return join ' ', map { $_ // 0 } $lookups->{total}, $patients->{total},
                     scalar(keys %{{ map { $_ => 1 }
                                     @{ $patients->{set} // [] } }});
}

# all accounts, within two seconds; and no more a while later

sub counted_once {
    my ($dir, $what) = @_;

    for my $account (sort keys %made) {
        my $n = keys %{ $made{$account}{patients} };
        my $expected = "$made{$account}{lookups} $n $n";
        wait_for(sub { totals($dir, $account) eq $expected }, 2 * $slow);
        main::is(totals($dir, $account), $expected,
                 "$what: $account is counted");
    }

    # whatever is still on its way would come by the next lookups
    for my $account (sort keys %made) {
        lookup($account, 1) for 1 .. 2;
        my $n = keys %{ $made{$account}{patients} };
        my $expected = "$made{$account}{lookups} $n $n";
        wait_for(sub { totals($dir, $account) eq $expected }, 2 * $slow);
        main::is(totals($dir, $account), $expected,
                 "$what: $account is counted once");
    }
}

# each worker's connection is well: lookups say where they come from

sub well {
    my $well = 0;
    return wait_for(sub {
        $well = lookup('well', 1) =~ /redis/ ? $well + 1 : 0;
        return $well >= 10;
    }, 5 * $slow);
}

sub busy {
    my ($n, @accounts) = @_;

    for my $i (1 .. $n) {
        lookup($_, $i % 20 + 1) for @accounts;
    }
}

# fill up to the limit, whoever answers: exactly so many are admitted

sub limit_holds {
    my ($account, $what) = @_;

    my $n = $made{$account}{lookups};
    my $admitted = grep { lookup($account, 1) =~ /^200/ } 1 .. 110 - $n;
    main::is($n + $admitted, 100, "$what: the limit holds to the lookup");
}

sub count {
    my ($what) = @_;
    return scalar(() = error_log() =~ /$what/g);
}

run_tests();

__DATA__

=== TEST 1: killed, and started with its data
--- policy eval: ::policy('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
my @aof = ('--appendonly', 'yes', '--appendfsync', 'always');
my @accounts = map { "account-$_" } 1 .. 5;
start_redis($dir, @aof);
for my $round (1 .. 2) {
    ok(well(), 'all is well');
    busy(5, @accounts);
    stop_redis($dir);
    is(lookup($_, 2), '200 local', "$_: admitted") for @accounts, @accounts;
    busy(12, @accounts);
    like(lookup($accounts[0], 21), qr/^200 local/, 'patients of the outage');
    start_redis($dir, @aof);
    counted_once($dir, "round $round");
}
limit_holds($accounts[0], 'in Redis');
stop_redis($dir);
like(lookup($accounts[0], 1), qr/^403/, 'and without it');



=== TEST 2: stopped, and it goes on
--- policy eval: ::policy('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
my @accounts = map { "account-$_" } 1 .. 5;
start_redis($dir);
for my $round (1 .. 3) {
    ok(well(), 'all is well');
    busy(3, @accounts);
    kill 'STOP', redis_pid($dir);

    # these are in the socket when it goes on, and come late
    busy(6, @accounts);
    is(lookup($accounts[0], 30), '200 local', 'in the outage');
    kill 'CONT', redis_pid($dir);
    counted_once($dir, "round $round");
}
limit_holds($accounts[1], 'in Redis');
stop_redis($dir);



=== TEST 3: replies are lost, or commands
--- policy eval: ::policy('$PG_FAKE')
--- config eval: $::location
--- fake_redis eval: ::loses('1')
--- after
begin();
my @accounts = map { "account-$_" } 1 .. 4;
for my $what (qw(replies commands replies-close commands-close)) {
    ok(well(), 'all is well');
    busy(2, @accounts);
    lose('$PG_TMP/$PG_POLICY.lost', $what);

    # several at once are lost with one connection
    my @statuses = burst(16, sub { '/?patient=' . ($_[0] % 20 + 1) },
                         'X-Account' => 'burst');
    $alias{burst} //= get('/?patient=1', 'X-Account' => 'burst')
                      ->{headers}{'x-alias'};
    $made{burst}{lookups} += grep { $_ == 200 } @statuses;
    $made{burst}{patients}{$_ % 20 + 1} = 1 for 0 .. 15;
    $made{burst}{lookups}++ if $what eq 'replies';

    busy(5, @accounts);
    found();

    # the very next lookups must not make Redis forget those
    lookup($accounts[0], 1) for 1 .. 10;
    counted_once('', $what);
}



=== TEST 4: two nodes come back together
--- policy eval: ::policy('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
my @aof = ('--appendonly', 'yes', '--appendfsync', 'always');
my @accounts = map { "account-$_" } 1 .. 3;
start_redis($dir, @aof);
start_another();
ok(well(), 'all is well');
another { ok(well(), 'there as well'); busy(3, @accounts) };
busy(3, @accounts);
stop_redis($dir);
busy(9, @accounts);
lookup($_, 40) for @accounts;
another { busy(12, @accounts); lookup($_, 50) for @accounts };
start_redis($dir, @aof);
counted_once($dir, 'two nodes');
another { counted_once($dir, 'and there') };

# what they both know is one count
lookup('account-1', 1) for $made{'account-1'}{lookups} .. 97;
counted_once($dir, 'nearly full');
limit_holds('account-1', 'together');
another { like(lookup('account-1', 1), qr/^403/, 'there as well') };
stop_redis($dir);



=== TEST 5: a worker is killed in the outage, or all are told to go
--- policy eval: ::policy('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
my @aof = ('--appendonly', 'yes', '--appendfsync', 'always');
my @accounts = map { "account-$_" } 1 .. 3;
start_redis($dir, @aof);
ok(well(), 'all is well');
busy(2, @accounts);
stop_redis($dir);
busy(4, @accounts);

my @before = PatientGuard::workers();
kill 'KILL', $_ for @before;
ok(wait_for(sub {
    my @now = PatientGuard::workers();
    return @now == @before && !grep { my $pid = $_; grep { $_ == $pid } @now }
                                    @before;
}), 'other workers');
busy(3, @accounts);
start_redis($dir, @aof);
counted_once($dir, 'killed');

ok(well(), 'all is well');
stop_redis($dir);
busy(3, @accounts);
ok(reload(), 'reloaded');
busy(3, @accounts);
start_redis($dir, @aof);
counted_once($dir, 'reloaded');

# while it comes back
stop_redis($dir);
busy(3, @accounts);
start_redis($dir, @aof);
ok(reload(), 'reloaded at once');
counted_once($dir, 'reloaded as it comes');
stop_redis($dir);



=== TEST 6: what is told is lost as well
--- policy eval: ::policy('$PG_FAKE')
--- config eval: $::location
--- fake_redis eval: ::loses('$sync || $lost =~ /all/')
--- after
begin();
my @accounts = map { "account-$_" } 1 .. 3;
for my $what (qw(replies replies-close commands commands-close)) {
    ok(well(), 'all is well');
    lose('$PG_TMP/$PG_POLICY.lost', "all-commands-close");
    busy(6, @accounts);

    # now lookups are answered, and merges are not
    lose('$PG_TMP/$PG_POLICY.lost', $what);
    my $before = grep { /^EVAL/ } fake_commands();
    ok(wait_for(sub { (grep { /^EVAL/ } fake_commands()) > $before + 4 }),
       "$what: it is tried again and again");
    busy(2, @accounts);
    found();
    counted_once('', $what);
}



=== TEST 7: nobody waits for a Redis that is known to be away
--- policy eval: ::policy('unix:$PG_TMP/$PG_POLICY.d/sock')
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
ok(well(), 'all is well');
is(count('is away'), 0, 'and nothing is said');
kill 'STOP', redis_pid($dir);

# both workers find out, each by one lookup
ok(wait_for(sub { knock('first'); count('is away') == 2 }), 'away');
my @took;
my $end = time + 1;
while (time < $end) {
    my $start = time;
    like(lookup('durand', @took % 20), qr/ local/, 'by this node')
        if @took < 5;
    lookup('durand', 1) if @took >= 5;
    push @took, time - $start;
}
@took = sort { $a <=> $b } @took;
cmp_ok($took[@took / 2], '<', 0.05 * $slow, 'the median does not wait')
    or diag("median $took[@took / 2]");
cmp_ok(scalar(grep { $_ > 0.1 } @took), '<=', 10,
       'one in a while may ask') or diag("@took[-12 .. -1]");

my $start = time;
kill 'CONT', redis_pid($dir);
ok(wait_for(sub { lookup('new-' . int(1000 * time), 1) =~ /redis/ }, 1 * $slow),
   'counted by Redis within a second');
cmp_ok(time - $start, '<', 1.1 * $slow, 'of its return');
ok(well(), 'and on and on');
is(count('is away'), 2, 'a line for each worker when it went');
ok(wait_for(sub { lookup('again', 1); count('" is back') == 2 }),
   'and when it came back');
stop_redis($dir);



=== TEST 8: one is asked at a time, and five errors are as good as silence
--- policy eval: ::policy('$PG_FAKE')
--- config eval: $::location
--- fake_redis
return unless @command;
my $fault = slurp('$PG_TMP/$PG_POLICY.lost');
return $peer->send($peer->real(@command))
    unless $fault && $command[0] =~ /^EVAL/;
return $peer->send("-LOADING Redis is loading\r\n") if $fault eq 'loading';
$peer->pause(3600);
--- after
begin();
ok(well(), 'all is well');
lose('$PG_TMP/$PG_POLICY.lost', 'silent');
ok(wait_for(sub { knock('first'); count('is away') == 2 }), 'away');

# half-open each worker asks one thing, and waits for its end
my $before = grep { /^EVAL/ } fake_commands();
my $start = time;
burst(20, '/?patient=1', 'X-Account' => "account-$_") for 1 .. 20;
my $end = $start + 1.5;
sleep 0.05 while time < $end;
my $asked = (grep { /^EVAL/ } fake_commands()) - $before;
my $most = 2 * (2 + (time - $start) / 0.2);
cmp_ok($asked, '<=', $most, "$asked probes, one at a time");
cmp_ok($asked, '>=', 2, 'and it is asked');
found();
ok(wait_for(sub { knock('again'); count('" is back') == 2 }),
   'all is well again');

lose('$PG_TMP/$PG_POLICY.lost', 'loading');
$before = grep { /^EVAL/ } fake_commands();
my $away = count('is away');
my $n = 0;
ok(wait_for(sub { knock('errors-' . $n++); count('is away') == $away + 2 }),
   'away by errors');
$asked = (grep { /^EVAL/ } fake_commands()) - $before;
cmp_ok($asked, '>=', 10, 'five of each worker');
like(error_log(), qr/is away: LOADING/, 'as is said');
found();
ok(well(), 'and back');



=== TEST 9: what is in doubt is told before the next lookup supersedes it
--- policy eval: ::policy('$PG_FAKE')
--- config eval: $::location
--- fake_redis eval: ::loses('1')
--- after
for my $what (qw(commands-close replies-close)) {
    for my $round (1 .. 5) {
        begin();
        ok(well(), 'all is well');
        begin();

        my $account = "$what-$round";
        lookup($account, 1) for 1 .. 4;
        lose('$PG_TMP/$PG_POLICY.lost', $what);
        lookup($account, $_) for 1 .. 4;
        found();

        # one after the other, until Redis is asked again
        my $redis = 0;
        wait_for(sub {
            $redis += (lookup($account, 1) =~ /redis/);
            return $redis > 3 || $made{$account}{lookups} > 90;
        });
        counted_once('', "$what $round");
    }
}



=== TEST 10: thousands of patients are told in parts, none of which takes long
--- policy eval
::policy('unix:$PG_TMP/$PG_POLICY.d/sock') =~ s/=60/=5000/r =~ s/=100\//=99999\//r
--- config eval: $::location
--- after
begin();
my $dir = '$PG_TMP/$PG_POLICY.d';
my @aof = ('--appendonly', 'yes', '--appendfsync', 'always');
start_redis($dir, @aof);
ok(well(), 'all is well');
stop_redis($dir);
ok(wait_for(sub { knock('first'); count('is away') == 2 }), 'away');
for my $i (1 .. 6) {
    my $answer = get('/?patient=' . join(',', map { "$i-$_" } 1 .. 500),
                     'X-Account' => 'robot');
    is($answer->{status}, 200, "500 patients, $i");
    $alias{robot} = $answer->{headers}{'x-alias'};
}
start_redis($dir, @aof);
ok(wait_for(sub { totals($dir, 'robot') eq '3000 3000 3000' }),
   'all are counted') or diag(totals($dir, 'robot'));
is(count('is away'), 2, 'and Redis was not away again');
stop_redis($dir);
