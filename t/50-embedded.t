# The embedded store: what outlives a reload, a killed worker, a full zone,
# and what does not.

use lib 't/lib';
use PatientGuard;

use List::Util qw(max min sum uniq);

workers(2);
log_level('info');          # thousands of lookups, told in detail, take long

# status, count and alias of each, as a list: [uri, account], ...

sub ask {
    my (@asked) = @_;

    my @answers;
    while (my @some = splice @asked, 0, 250) {
        my $text = raw(join '', map {
            "GET $some[$_][0] HTTP/1.1\r\nHost: localhost\r\n"
            . "X-Account: $some[$_][1]\r\n"
            . ($_ == $#some ? "Connection: close\r\n\r\n" : "\r\n")
        } 0 .. $#some);

        push @answers, map { PatientGuard::answer($_) }
            split m{(?=HTTP/1\.1 \d+ )}, $text;
    }
    return @answers;
}

# "status count" for each patient

sub told {
    my ($account, @patients) = @_;

    return join ', ', map {
        "$_->{status} " . ($_->{headers}{'x-count'} // '-')
    } ask(map { ["/?patient=$_", $account] } @patients);
}

sub alias {
    my ($account, $uri) = @_;
    return (ask([$uri // '/?patient=1', $account]))[0]{headers}{'x-alias'};
}

# as an operator does: the file, then the signal

sub configure {
    my ($what, $by) = @_;

    my $path = server_root() . '/conf/nginx.conf';
    my $text = PatientGuard::slurp($path);
    $text =~ s/$what/$by/g or die "no $what in $path\n";
    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

# a worker is dead when another one has taken its place

sub murder {
    my ($worker) = @_;

    my @before = PatientGuard::workers();
    kill 'KILL', $worker;
    return wait_for(sub {
        my @now = PatientGuard::workers();
        return @now == @before && !grep { $_ == $worker } @now;
    });
}

# what one worker answers while the others are stopped

sub only {
    my ($worker, $ask) = @_;

    my @others = grep { $_ != $worker } PatientGuard::workers();
    for my $pid (@others) {
        kill 'STOP', $pid;
        wait_for(sub { PatientGuard::slurp("/proc/$pid/stat") =~ /\) T/ })
            or die "$pid does not stop\n";
    }
    my @answers = eval { $ask->() };
    kill 'CONT', @others;
    die $@ if $@;
    return @answers;
}

sub worse { join '', grep { /\[(?:error|crit|alert|emerg)\]/ }
            split /^/, error_log() }

# the most patients that a zone of 32k is enough for

sub most {
    my ($fits, $not) = (1, 4096);
    my $dir = server_root() . '-most';
    my $load = join '', map { "load_module $_;\n" }
               split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    mkdir $dir;

    while ($not - $fits > 1) {
        my $n = int(($fits + $not) / 2);
        open my $file, '>', "$dir/nginx.conf" or die "$dir: $!\n";
        print $file "${load}pid $dir/pid; events {} http { access_log off;\n"
            . "patient_guard_policy p { account \$remote_user; zone 32k;\n"
            . "limit patients=$n/1h deny; } }\n";
        close $file;
        my $said = `$ENV{TEST_NGINX_BINARY} -t -q -p $dir -e stderr \\
                    -c $dir/nginx.conf 2>&1`;
        $? && $said !~ /is too small: one account/ and die $said;
        $? ? ($not = $n) : ($fits = $n);
    }
    return $fits;
}

our $most = most();

our $location = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Alias $patient_guard_account always;
    add_header             X-Patient $patient_guard_patient always;
    add_header             X-Worker $pid always;
    empty_gif;
}
END

run_tests();

__DATA__

=== TEST 1: a full zone: whoever is at work is never over the limit
--- policy eval
"account  \$http_x_account trusted;
zone      32k;
limit     patients=$::most/1h deny;"
--- config eval: $::location
--- after
cmp_ok($::most, '>', 100, "$::most patients");

# 5,000 others, and between them one who tries all the time: new patients,
# and those of before
my $step = CORE::int($::most / 10);
my ($others, $new, @admitted, @odd) = (0, 0);

for my $round (1 .. 5000 / $step) {
    my @mine = map { "mine-" . $new++ } 1 .. CORE::int($::most / 25);
    my @known = map { $admitted[rand @admitted] } @admitted ? (1 .. 3) : ();

    my $before = @admitted;
    my @answers = ask(map { ["/?patient=$_", 'dupont'] } @mine, @known);
    for my $patient (@mine, @known) {
        my $answer = shift @answers;
        my $again = grep { $_ eq $patient } @known;
        push @admitted, $patient if $answer->{status} == 200 && !$again;
        push @odd, "$patient: $answer->{status}"
            if $answer->{status} != ($again || @admitted <= $::most
                                     && $admitted[-1] eq $patient ? 200 : 403)
            || $answer->{headers}{'x-count'} != @admitted;
    }
    push @odd, "refused at $before"
        if $before < $::most && $before == @admitted;

    push @odd, map { "other: $_->{status} $_->{headers}{'x-count'}" }
        grep { $_->{status} != 200 || $_->{headers}{'x-count'} != 1 }
        ask(map { ['/?patient=1', 'other-' . $others++] } 1 .. $step);
}

is_deeply(\@odd, [], 'each answer was right');
is(scalar @admitted, $::most, 'the limit was reached, and held');
cmp_ok($others, '>', 4900, "$others others");
is(scalar(grep { $_->{status} != 200 }
          ask(map { ["/?patient=$_", 'dupont'] } @admitted)), 0,
   'all who were admitted are known');
is(told('other-0', 2), '200 1', 'the zone was full: the oldest are forgotten');
is(told('other-' . ($others - 1), 2), '200 2', 'the latest are not');
is(worse(), '', 'nothing to complain of');



=== TEST 2: one account may take all of the zone that its limits allow
--- policy eval
"account  \$http_x_account trusted;
exempt    \$http_x_exempt;
zone      32k;
limit     patients=$::most/1h deny;"
--- config eval: $::location
--- after
like(told('durand', 1 .. 100), qr/, 200 100$/, 'somebody else');

# whoever is exempt gets to twice the count, as far as a set can grow
my $exempt = sub {
    return PatientGuard::answer(raw(
        "GET /?patient=" . CORE::join(',', @_) . " HTTP/1.1\r\n"
        . "Host: localhost\r\nX-Account: dupont\r\nX-Exempt: yes\r\n"
        . "Connection: close\r\n\r\n"));
};
my %statuses;
for my $n (0 .. 2 * $::most / 100 + 1) {
    $statuses{$exempt->($n * 100 + 1 .. $n * 100 + 100)->{status}}++;
}
$statuses{$exempt->($_ * 500 + 1 .. $_ * 500 + 500)->{status}}++ for 0 .. 3;
is_deeply([keys %statuses], [200], 'every lookup is counted');
is($exempt->(1)->{headers}{'x-count'}, 2 * $::most, 'up to twice the count');
is(told('durand', 101), '200 1', 'who was idle made room');
is(worse(), '', 'nothing to complain of');



=== TEST 3: a count out of a variable is what the zone can hold, at the most
--- policy
account  $http_x_account trusted;
zone     32k;
limit    patients=$quota/1h default=10 deny;
--- http_config
map $http_x_account $quota {
    ~^clinic  4000000000;
    default   "";
}
--- config eval: $::location
--- after
is(told('durand', 1 .. 10), CORE::join(', ', map { "200 $_" } 1 .. 10),
   'somebody else');
my @answers = ask(map { ["/?patient=$_", 'clinic'] } 1 .. 2000);
my ($full) = grep { $answers[$_]{status} != 200 } 0 .. $#answers;
is($full, $::most, "$full patients");
is(scalar(grep { $_->{status} != 403 } @answers[$full .. $#answers]), 0,
   'the others are refused');
is($answers[-1]{headers}{'x-count'}, $::most, 'as by any limit');
is(told('durand', 11), '403 10', 'nobody else was forgotten for it');
is(worse(), '', 'nothing to complain of');



=== TEST 4: an account that fills the zone by limits that are gone
--- policy eval
"account  \$http_x_account trusted;
zone      32k;
limit     patients=$::most/1h deny name=old;"
--- config eval: $::location
--- after
ask(map { ["/?patient=$_", 'dupont'] } 1 .. $::most);
my ($name, @answers, $full) = 'old';
for my $next ('a' .. 'f') {
    configure("name=$name", "name=$next");
    $name = $next;
    ok(reload(), 'another limit');
    @answers = ask(map { ["/?patient=$_", 'dupont'] } 1 .. $::most);
    ($full) = grep { $answers[$_]{status} != 200 } 0 .. $#answers;
    last if defined $full;
}
ok(defined $full, 'there is no room for all beside what is still held');
is(scalar(grep { $_->{status} != 503 } @answers[$full .. $#answers]), 0,
   'the others are refused, not let through uncounted');
is($answers[-1]{headers}{'content-type'}, 'application/problem+json',
   'by a problem document');
like(told('henry', 1 .. 10), qr/200 10$/, 'others find room');
like(error_log(), qr/\[warn\] .* patient guard: deny by policy "$PG_POLICY": no store answers, client: 127\.0\.0\.1$/m, 'and it is said');
is(worse(), '', 'nothing else to complain of');



=== TEST 5: who has to make room before the time is a warning, once
--- policy
account  $http_x_account trusted;
zone     32k;
limit    patients=20/1d deny;
--- config eval: $::location
--- after
is(told('robot', 1 .. 21),
   CORE::join(', ', (map { "200 $_" } 1 .. 20), '403 20'), 'a robot');
unlike(error_log(), qr/is full/, 'there is room');
ask(map { ["/?patient=$_", "other-$_"] } 1 .. 2000);
is(told('robot', 1 .. 1), '200 1', 'it is forgotten');
my @said = error_log() =~
    /\[warn\] .* patient guard: zone "patient_guard_$PG_POLICY" is full, .*: (\d+) since/g;
ok(@said >= 1 && @said <= 2 * PatientGuard::workers(),
   'each worker says so, once a minute');
is(worse(), '', 'nothing to complain of');



=== TEST 6: a reload keeps what was counted, and who is who
--- policy
account    $http_x_account trusted;
limit      patients=3/1h deny;
limit      lookups=100/1d challenge;
--- config eval: $::location
--- after
my $alias = alias('dupont');
like($alias, qr/^[0-9a-f]{32}$/, 'known by an alias');
is(told('dupont', 1, 2), '200 1, 200 2', 'counted');

for my $n (1 .. 5) {
    my @old = PatientGuard::workers();
    ok(reload(), 'reloaded');
    my %now = map { $_ => 1 } PatientGuard::workers();
    is(scalar(grep { $now{$_} } @old), 0, 'these are new workers');
    is(alias('dupont'), $alias, 'the random secret is the same');
    is(told('dupont', 1, 2), '200 2, 200 2', 'nothing is lost');
}
is(told('dupont', 3, 4, 3), '200 3, 403 3, 200 3', 'nor is it gained');
ok(reload(), 'reloaded');
is(told('dupont', 4, 1), '403 3, 200 3', 'a refusal stays one');
unlike(error_log(), qr/starts anew/, 'nothing starts anew');
is(worse(), '', 'nothing to complain of');



=== TEST 7: a challenge outlives a reload
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h challenge;
--- config eval: $::location
--- after
is(told('dupont', 1, 2, 3), '200 1, 200 2, 403 2', 'challenged');
configure('lookups=2/1h', 'lookups=200/1h');
ok(reload(), 'more is allowed now');
is(told('dupont', 3), '403 2', 'challenged it stays');
is(told('durand', 1, 2, 3), '200 1, 200 2, 200 3', 'others have more');



=== TEST 8: another count, another action: what was counted is kept
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
limit    lookups=1000/1h deny name=records;
--- config eval: $::location
--- after
is(told('dupont', 1, 2, 3), '200 1, 200 2, 403 2', 'two');
configure('patients=2/1h deny', 'patients=4/60m throttle');
ok(reload(), 'four');
is(told('dupont', 1, 3, 4, 5), '200 2, 200 3, 200 4, 429 4', 'and two were');
configure('patients=4', 'patients=1');
ok(reload(), 'one');
is(told('dupont', 4, 5), '200 4, 429 4', 'who was counted stays readable');
is(told('durand', 1, 2), '200 1, 429 1', 'for others, too');
configure('patients=1/60m', 'patients=1/2h');
ok(reload(), 'another window');
is(told('dupont', 5, 4), '200 1, 429 1', 'starts anew');
is(worse(), '', 'nothing to complain of');



=== TEST 9: the order of limits is nothing to go by
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
limit    lookups=3/1h deny;
--- config eval: $::location
--- after
is(told('dupont', 1, 1, 1), '200 1, 200 1, 200 3', 'counted by both');
configure('limit    patients=2/1h deny;\n\s*limit    lookups=3/1h deny;',
          "limit lookups=50/1d deny;\n"
          . "limit lookups=3/1h deny;\nlimit patients=2/1h deny;");
ok(reload(), 'exchanged, behind another one');
is(told('dupont', 1, 2), '403 3, 403 3', 'each has its own count');



=== TEST 10: a zone of another size starts anew, and says so
--- policy
account  $http_x_account trusted;
zone     1m;
limit    patients=2/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    patients=2/1h deny;
}
--- config eval
$::location . ($::location =~ s/location \//location \/2/r
               =~ s/PG_POLICY/PG_POLICY_2/r)
--- after
my $warned = sub {
    my ($policy) = @_;
    return scalar(() = error_log() =~ /\[warn\] .* the "zone" of policy "$policy" has another size than before: what this node has counted starts anew/g);
};
my $alias = alias('dupont');
is(told('dupont', 2, 3), '200 2, 403 2', 'counted');
is(told('2', 1), '200 1', 'somebody else');
get("/2?patient=$_", 'X-Account' => 'dupont') for 1, 2;

ok(reload(), 'the same size');
is($warned->('$PG_POLICY'), 0, 'is no news');
is(told('dupont', 3), '403 2', 'and no loss');

configure('zone     1m', 'zone     2m');
ok(reload(), 'another size');
is($warned->('$PG_POLICY'), 1, 'is said once');
is($warned->('$PG_POLICY_2'), 0, 'of one policy only');
is(told('dupont', 3), '200 1', 'and starts anew');
isnt(alias('dupont'), $alias, 'with a secret of its own');
is(get('/2?patient=3', 'X-Account' => 'dupont')->{status}, 403,
   'the other policy has lost nothing');

ok(reload(), 'the same again');
is($warned->('$PG_POLICY'), 1, 'is no news');
is(told('dupont', 1, 4), '200 2, 403 2', 'and no loss');
is(worse(), '', 'nothing to complain of');



=== TEST 11: a reload that fails leaves all as it was
--- policy
account  $http_x_account trusted;
zone     64k;
limit    patients=2/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    patients=2/1h deny;
}
--- config eval
$::location . ($::location =~ s/location \//location \/2/r
               =~ s/PG_POLICY/PG_POLICY_2/r)
--- after
my $alias = alias('dupont');
is(told('dupont', 1, 2), '200 1, 200 2', 'counted');
my @workers = sort(PatientGuard::workers());

configure('patients=2/1h', 'patients=100000/1h');
kill 'HUP', nginx_pid();
ok(wait_for(sub { error_log() =~ /\[emerg\] .* zone "patient_guard_$PG_POLICY" is too small: one account may take 6\d{3} KB of it/ }),
   'more than the zone can hold');
is(told('dupont', 3, 1), '403 2, 200 2', 'the old limits hold');

configure('zone     64k', 'zone     96k');
my $emerg = sub { () = error_log() =~ /\[emerg\]/g };
my $before = $emerg->();
kill 'HUP', nginx_pid();
ok(wait_for(sub { $emerg->() > $before }), 'nor a zone of another size');
is(told('dupont', 3, 1), '403 2, 200 2', 'the old zone is in use');
is(alias('dupont'), $alias, 'with the old secret');
is_deeply([sort(PatientGuard::workers())], \@workers, 'in the same workers');

configure('patients=100000/1h', 'patients=3/1h');
configure('zone     96k', 'zone     64k');
ok(reload(), 'what can be loaded');
is(told('dupont', 3, 4), '200 3, 403 3', 'is');



=== TEST 12: policies come and go, the others do not notice
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval: $::location
--- after
is(told('dupont', 1, 2), '200 1, 200 2', 'counted');
configure('patient_guard_policy \S+ \{',
    "patient_guard_policy $PG_POLICY_new {\n"
    . "account \$http_x_account trusted; limit lookups=1/1h deny; }\n"
    . "patient_guard_policy $PG_POLICY {");
ok(reload(), 'one more');
is(told('dupont', 3, 2), '403 2, 200 2', 'nothing is lost');
configure('patient_guard_policy $PG_POLICY_new \{\n[^}]*\}', '');
ok(reload(), 'and less');
is(told('dupont', 3, 2), '403 2, 200 2', 'nothing is lost');
configure('patient_guard          \S+;', 'patient_guard off;');
configure('patient_guard_policy \S+ \{[^}]*\}', '');
ok(reload(), 'none at all');
is((ask(['/?patient=3', 'dupont']))[0]{status}, 200, 'guards nothing');
is(worse(), '', 'nothing to complain of');



=== TEST 13: two workers, one count
--- policy
account  $http_x_account trusted;
limit    patients=10/1h deny;
--- config eval: $::location
--- after
my ($one, $other) = PatientGuard::workers();
my $alias = alias('dupont');
my @answers;
for my $patient (1 .. 6) {
    push @answers, only($one, sub { ask(["/?patient=$patient", 'dupont']) });
    push @answers, only($other, sub { ask(["/?patient=x$patient", 'dupont']) });
}
is_deeply([map { $_->{headers}{'x-worker'} } @answers], [($one, $other) x 6],
          'in turns');
is_deeply([map { "$_->{status} $_->{headers}{'x-count'}" } @answers],
          [(map { "200 $_" } 1 .. 10), '403 10', '403 10'], 'one count');
is_deeply([uniq(map { $_->{headers}{'x-alias'} } @answers)], [$alias],
          'one alias');
is((only($one, sub { ask(['/?patient=x1', 'dupont']) }))[0]{status}, 200,
   'who was counted by one is known to the other');



=== TEST 14: a killed worker takes nothing with it
--- policy
account  $http_x_account trusted;
limit    patients=4/1h deny;
--- config eval: $::location
--- after
my $alias = alias('dupont');
is(told('dupont', 2), '200 2', 'counted');
ok(murder($_), 'killed, and replaced') for PatientGuard::workers();
is(alias('dupont'), $alias, 'the secret is the same');
is(told('dupont', 1, 2), '200 2, 200 2', 'nothing is lost');
is(told('dupont', 3, 4, 5), '200 3, 200 4, 403 4', 'and it goes on');
ok(murder($_), 'killed, and replaced') for PatientGuard::workers();
is(told('dupont', 5, 4), '403 4, 200 4', 'a refusal stays one');
is(() = error_log() =~ /exited on signal 9/g, 4, 'four died');



=== TEST 15: workers are killed in the midst of counting
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
limit    patients=1001/2h deny;
limit    patients=1002/3h deny;
limit    patients=1003/4h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    lookups=1500/1h deny;
}
--- config eval
$::location . ($::location =~ s/location \//location \/2/r
               =~ s/PG_POLICY/PG_POLICY_2/r)
--- after
# Three clients name 400 patients out of 1,500 in each request, of a new
# account for every eighth; one client asks one at a time.  A request that a
# worker took with it may have been counted in part, or not.
my ($files, $stop) = ('$PG_TMP/$PG_POLICY', '$PG_TMP/$PG_POLICY.stop');
my @clients = map {
    my $client = $_;
    PatientGuard::child(sub {
        local $SIG{PIPE} = 'IGNORE';
        srand $client;
        open my $file, '>', "$files.$client" or die "$!\n";
        $file->autoflush(1);

        for (my $n = 0; !-e $stop; $n++) {
            my $account = $client ? "dupont-$client-" . CORE::int($n / 8)
                        : 'durand';
            my %named = map { 1 + CORE::int(rand 1500) => 1 } 1 .. 400;
            my $patients = CORE::join ',', sort keys %named;
            my $answer = eval {
                get($client ? "/?patient=$patients" : '/2?patient=1',
                    'X-Account' => $account)
            };
            print $file CORE::join(' ', $account, $answer->{status} // 0,
                                   $patients), "\n";
        }
        close $file;
    });
} 0 .. 3;

# until three of the killed held the lock, and fifty were killed in all
my $locked = sub { () = error_log() =~ /was locked by/g };
my $killed = 0;
my $end = Time::HiRes::time() + 60 * ($ENV{PG_SLOW} // 1);
while (($killed < 50 || $locked->() < 3) && Time::HiRes::time() < $end) {
    my @workers = PatientGuard::workers();
    murder($workers[rand @workers]) or last;
    $killed++;
}

# and then until each has come to a limit, however few were answered before
ok(wait_for(sub {
       !grep { PatientGuard::slurp("$files.$_") !~ / 403 / } 1 .. 3
   }), 'refused at last');
open my $file, '>', $stop;
close $file;
waitpid $_, 0 for @clients;
unlink $stop;

cmp_ok($killed, '>=', 50, "$killed were killed");
cmp_ok($locked->(), '>=', 3, $locked->() . ' of them held the lock');

# the latest accounts of each client are still there
my (%admitted, %lost, @latest);
for my $client (1 .. 3) {
    my @mine;
    for my $line (split /\n/, PatientGuard::slurp("$files.$client")) {
        my ($account, $status, $patients) = split / /, $line;
        push @mine, $account unless @mine && $mine[-1] eq $account;
        $admitted{$account}{$_} = 1
            for $status == 200 ? split /,/, $patients : ();
        $lost{$status}++;
    }
    push @latest, @mine[max(0, $#mine - 3) .. $#mine];
}
is(CORE::join(' ', sort keys %lost), '0 200 403', 'answers, and none');

my (@odd, $known);
for my $account (@latest) {
    my @answers = ask(map { ["/?patient=$_", $account] } 1 .. 1500);
    my %readable = map { $_ => 1 }
        grep { $answers[$_ - 1]{status} == 200 } 1 .. 1500;
    push @odd, "$account: " . keys(%readable) . ' readable'
        if keys %readable != 1000;
    push @odd, "$account: count $answers[-1]{headers}{'x-count'}"
        if $answers[-1]{headers}{'x-count'} != 1000;
    push @odd, map { "$account: $_ was admitted" }
        grep { !$readable{$_} } keys %{ $admitted{$account} };
    $known += keys %{ $admitted{$account} };
}
is_deeply(\@odd, [], 'each account has its limit, and whom it had');
cmp_ok($known, '>', 1000, "$known patients were");

my %single;
$single{(split / /)[1]}++
    for split /\n/, PatientGuard::slurp("$files.0");
$single{$_->{status}}++ for ask((['/2?patient=1', 'durand']) x 1500);
is($single{403} > 0, 1, 'the limit was reached');
cmp_ok($single{200}, '<=', 1500, 'and kept');
cmp_ok($single{200} + ($single{0} // 0), '>=', 1500,
       'by lookups, and what was lost') or diag(explain(\%single));
is(scalar(grep { !/ 9$/ } error_log() =~ /exited on signal \d+/g), 0,
   'nobody died of it');
unlink map { "$files.$_" } 0 .. 3;



=== TEST 16: each policy without a secret has one of its own
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    patients=2/1h deny;
}
--- config eval
$::location . ($::location =~ s/location \//location \/2/r
               =~ s/PG_POLICY/PG_POLICY_2/r)
--- after
my @of = map { get($_, 'X-Account' => 'dupont')->{headers} }
         '/?patient=1', '/2?patient=1';
like($of[0]{'x-alias'}, qr/^[0-9a-f]{32}$/, 'an alias');
isnt($of[0]{'x-alias'}, $of[1]{'x-alias'}, 'and another one');
like($of[0]{'x-patient'}, qr/^[0-9a-f]{16}$/, 'a patient has one, too');
isnt($of[0]{'x-patient'}, $of[1]{'x-patient'}, 'and another one');
ok(reload(), 'reloaded');
ok(murder($_), 'killed') for PatientGuard::workers();
is_deeply([map { get($_, 'X-Account' => 'dupont')->{headers}{'x-alias'} }
           '/?patient=1', '/2?patient=1'],
          [map { $_->{'x-alias'} } @of], 'both as before');
