# scripts/replay: a log through the module, by the log's own clock.

use lib 't/lib';
use PatientGuard;

use File::Temp qw(tempdir);
use JSON::PP qw(decode_json encode_json);

our $folder = tempdir("$ENV{PG_TMP}/replay.XXXXXX");
$ENV{TZ} = 'UTC';

sub spew {
    my ($name, $text) = @_;

    open my $file, '>:raw', "$folder/$name" or die "$name: $!\n";
    print $file $text;
    close $file;
    return "$folder/$name";
}

# status, stdout, stderr of it; a policy and a log as text, or as files
sub replay {
    my ($policy, $log, @options) = @_;

    my $config = $policy =~ m{^/} ? $policy
               : spew('nginx.conf', "patient_guard_policy p {\n$policy\n}\n");
    my $file = $log =~ m{^(?:/|-$)} ? $log : spew('log', $log);
    my @store = store() eq 'redis' ? '--redis' : ();
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDOUT, '>', "$folder/out";
        open STDERR, '>', "$folder/err";
        exec 'scripts/replay', '--config', $config, @store,
            '--nginx', $ENV{TEST_NGINX_BINARY},
            '--module', $ENV{TEST_NGINX_LOAD_MODULES} || 'none',
            @options, $file;
        POSIX::_exit(99);
    }
    waitpid $pid, 0;
    return ($? >> 8, map { PatientGuard::slurp("$folder/$_") } 'out', 'err');
}

# a line from what it says beside its time, seconds of a day in 2022
sub line {
    my ($second, %says) = @_;

    my $time = sprintf '%.3f', 1646956800 + $second;
    return "{\"time\":$time," . substr(encode_json({
        account => 'dupont', status => 200, %says }), 1) . "\n";
}

sub lines { join '', map { line(@$_) } @_ }

# "SECOND VERDICT LIMIT COUNT" of each event, and the summary
sub events {
    my ($policy, $log, @options) = @_;

    my ($status, $out, $err) = replay($policy, $log, '--events', @options);
    my @events = map { eval { decode_json($_) } // die "no JSON: $_" }
                 split /\n/, $out;
    my $summary = pop @events;
    my $said = join ', ', map {
        ($_->{time} - 1646956800)
            . " $_->{account} $_->{verdict} $_->{limit} $_->{count}"
    } @events;
    return ($said, $summary->{summary}, $err, $status);
}

# --- verdicts

my ($out, $status, $events, $summary, $err);
($events, $summary, $err, $status) = events('
account  $portal_account;
secret   /nowhere/key;
redis    redis.example:6379;
limit    patients=2/1h deny;
limit    lookups=5/1d challenge;
', lines([0, patient => 1], [10.125, patient => 2], [20, patient => 3],
         [30, patient => 1], [3840, patient => '3,4'], [7680, patient => 5],
         [7681, patient => 5]));
is($events, '20 dupont deny patients/1h 2, 7680 dupont challenge lookups/1d 5',
   'when, who, by which limit; two patients are two');
is($status, 0, 'all lines were good');
is($err, '', 'and nothing is said');
is_deeply($summary->{verdicts},
          { allow => 5, throttle => 0, challenge => 1, deny => 1 }, 'in all');
is($summary->{roles}[0]{share_challenged}, 1, 'of one day');
is("@$summary{qw(lines lookups accounts policy)}", '7 7 1 p');

($events) = events('
account  $portal_account fold;
limit    patients=1/10s throttle;
', lines([0, account => 'Dupont', patient => 1],
         [1, account => 'dupont', patient => 2],
         [2, account => 'durand', patient => 2]));
is($events, '1 dupont throttle patients/10s 1', 'fold is kept');

($events, undef, $err) = events('
account  $portal_account;
limit    patients=$quota/1h default=1 deny;
exempt   ${replay_boss};
', lines([0, patient => 1, quota => 2], [1, patient => 2, quota => '2'],
         [2, patient => 3, quota => 2], [3, patient => 4, boss => 1],
         [4, account => 'durand', patient => 1],
         [5, account => 'durand', patient => 2]));
is($events, '2 dupont deny patients/1h 2, 5 durand deny patients/1h 1',
   'members are what its variables are');
is($err, <<'ERR', 'what is missing is said');
replay: 1 of 6 lookups have "boss", which the policy uses
replay: 3 of 6 lookups have "quota", which the policy uses
ERR

for (['15s', '1 dupont throttle patients/10s 1, 100 dupont deny patients/1d 2'],
     ['1s', '1 dupont throttle patients/10s 1'])
{
    my ($delay, $says) = @$_;
    ($events) = events("
account  \$portal_account;
limit    patients=1/10s throttle;
limit    patients=2/1d deny;
throttle_delay $delay;
", lines(map { [$_, patient => $_] } 0, 1, 100));
    is($events, $says, "who is throttled is held for $delay at the most");
}

# --- signals, and limits that accounts share

($events, $summary) = events('
account  $account;
memory   7d;
limit    misses=2/1h deny;
limit    accounts=2/1h per=$remote_addr challenge;
limit    new_patients=3/1d per=${portal_unit} log;
limit    addresses=2/1d deny;
limit    lookups=1000/1h per=all deny name=whole;
', lines(
    (map { [$_, patient => $_, status => $_ == 1 ? 410 : 404,
            address => '10.0.0.1', portal_unit => 'u'] }
     store() eq 'redis' ? () : 0 .. 2),
    (map { [3 + $_, account => "a$_", patient => $_, address => '10.0.0.7',
            portal_unit => 'u'] } 0 .. 2),
    (map { [10 + $_, account => 'b', patient => 1, address => "10.0.1.$_",
            portal_unit => 'v'] } 0 .. 2)));
is($events, (store() eq 'redis' ? '' : '2 dupont deny misses/1h 2, ')
   . '5 a2 challenge accounts/1h/remote_addr 2, 12 b deny addresses/1d 2',
   'each has what it counts');
is(join(' ', map { "$_->{limit}=$_->{roles}[0]{max}" } @{$summary->{limits}}),
   store() eq 'redis'
   ? 'misses/1h=0 accounts/1h/remote_addr=3 new_patients/1d/portal_unit=3 '
     . 'addresses/1d=3 whole=6'
   : 'misses/1h=3 accounts/1h/remote_addr=3 new_patients/1d/portal_unit=6 '
     . 'addresses/1d=3 whole=9', 'and its own name');

(undef, undef, $err) =
    events('account $a; limit accounts=2/1h per=$remote_addr log;', line(0));
is($err, qq(replay: no line has "address", which the policy uses\n));

# --- challenges

sub challenges {
    my ($policy, $log, @options) = @_;

    my ($events) = events($policy, $log, @options);
    return join ' ', $events =~ /(\d+) dupont (?=challenge)/g,
        $events =~ /dupont (deny)/g;
}

my $challenge = "account \$a;\nlimit patients=1/1d challenge;\n";
my $log = lines(map { [$_, patient => int(($_ + 1) / 2)] } 0 .. 8);
is(challenges($challenge, $log), '1 3 5 deny deny',
   'passed by the next lookup, three times a day');
is(challenges($challenge, $log, '--no-passes'), '1 2 3 4 5 6 7 8');

$challenge .= "proof \$auth;\n";
my @log = map { [$_, patient => int(($_ + 1) / 2)] } 0 .. 4;
push @{$log[$_]}, auth => 1646956800 for 0 .. 4;
is(challenges($challenge, lines(@log)), '1 2 3 4', "the log's own proof");
$log[3][4] = 1646956803;
is(challenges($challenge, lines(@log), '--no-passes'), '1 2');
(undef, undef, $err) = events($challenge, $log);
is($err, '', 'nobody asks for a proof that is not needed');
my $session = $challenge =~ s/auth;/auth session;/r;
push @log, [5, patient => 2, auth => 1646956800], [6, patient => 2, auth => 1646956803];
is(challenges($session, lines(@log), '--no-passes'), '1 2 4 5',
   'a session that has not proved itself stays challenged');
is(challenges($challenge, lines(@log), '--no-passes'), '1 2');
(undef, undef, $err) = events($challenge, $log, '--no-passes');
like($err, qr/^replay: no line has "auth", which the policy uses$/m);

# --- what accounts did a day: n patients for the n-th of ten, and by role

@log = map {
    my $n = $_;
    map { [$n * 60 + $_, account => "a$n", patient => $_,
           role => $n > 7 ? 'clerk' : 'nurse'] } 1 .. $n
} 1 .. 10;
(undef, $summary) = events('account $a; limit patients=8/1d challenge;',
                           lines(@log), '--share', '20%');
my ($all, @roles) = @{$summary->{limits}[0]{roles}};
is("@$all{qw(role account_days p50 p90 p99 p99.9 max suggested)}",
   'all 10 5 9 10 10 10 8', 'quantiles, and what two of ten go over');
is(join(' | ', sort map {
       "@$_{qw(role account_days p50 max suggested)}" } @roles),
   'clerk 3 9 10 10 | nurse 7 4 7 6', 'by role');
is(join(' | ', sort map {
       "@$_{qw(role account_days challenged share_challenged)}"
   } @{$summary->{roles}}),
   'all 10 2 0.2 | clerk 3 2 0.666666666666667 | nurse 7 0 0');

for (['1%', 10], ['0.1', 9], ['19.9%', 9], ['100%', 1], [0, 10]) {
    my ($share, $enough) = @$_;
    (undef, $summary) = events('account $a; limit patients=8/1d challenge;',
                               lines(@log), '--share', $share);
    is($summary->{limits}[0]{roles}[0]{suggested}, $enough, $share);
}

@log = map { my $day = $_; map {
    [$day * 86400 + $_, patient => "$day-$_"] } 1 .. $day } 1 .. 3;
(undef, $summary) = events('account $a; limit patients=8/1h log;',
                           lines(@log));
is("@{$summary->{limits}[0]{roles}[0]}{qw(account_days p50 max)}", '3 2 3',
   'an account has many days');

# --- lines that are wrong

$log = line(0, patient => 1) . "{\"time\":1\n" . line(5, patient => 2)
    . "[1]\n\n" . line(4, patient => 3) . line(6, patient => [1])
    . line(6, status => 'x') . line(6, account => '')
    . "{\"account\":\"a\"}\n" . '{"time":1646956807,"account":"dup';
($status, undef, $err) = replay('account $a; limit lookups=9/1h deny;', $log);
is($status, 1, 'some lines were not good');
is($err =~ s/malformed: \K(?!no valid).*/.../gr =~ s/truncated\K.*//r,
   <<'ERR', 'which, and why');
replay: line 2: malformed: ...
replay: line 4: malformed: ...
replay: line 5: malformed: ...
replay: line 6: unsorted: 1.000 s before a line above
replay: line 7: malformed: no valid "patient"
replay: line 8: malformed: no valid "status"
replay: line 9: malformed: no valid "account"
replay: line 10: malformed: no valid "time"
replay: line 11: truncated
ERR

($events, $summary, $err, $status) =
    events('account $a; limit patients=2/1h deny;', $log);
is($events, '4 dupont deny patients/1h 2', 'nothing else is lost');
is("@$summary{qw(lines lookups skipped unsorted)}", '11 3 8 1');

($events, $summary, $err, $status) =
    events('account $a; limit patients=2/1h deny;',
           line(0, patient => 1) . line(1, patient => 2)
           . (line(2, patient => 3) =~ s/\n//r));
is("$status $events", '0 2 dupont deny patients/1h 2',
   'a line feed that is missing at the end harms nobody');

($status) = replay('account $a; limit patients=2/1h deny;',
                   lines([5], [4.5]), '--skew', 0.5);
is($status, 0, 'so late is in order');

# what nginx would stumble over
$log = line(0, patient => 1, account => "a\nX: y") . line(1, patient =>
    join ',', 1 .. 600) . line(2, patient => "\x{e9}\r\n\r\n") . line(3,
    patient => 'x' x 70000) . line(4, patient => 'y' x 50000) . line(5,
    patient => 2, status => 444) . line(6, patient => 3, status => 503);
($events, undef, $err, $status) =
    events('account $a; limit patients=2/1h deny;', $log);
is($status, 1);
like($err, qr/\Areplay: line 4: malformed: no valid "patient"\n\z/);
is(scalar(() = $events =~ /deny/g), 4, 'and it goes on') or diag $events;

# --- as files

$log = lines(map { [$_, patient => "<p>$_", account => '<b>&a'] } 1 .. 5);
system 'gzip', '-kf', spew('log', $log);
($status, $out) = replay('account $a; limit patients=2/1h deny;',
                         "$folder/log.gz", '--html', "$folder/page.html",
                         '--json', "$folder/report.json");
is($status, 0, 'a compressed log');
like($out, qr/^verdicts  allow 2, throttle 0, challenge 0, deny 3$/m);
like($out, qr/^<b>&a +all +deny +patients\/1h +2022-03-11 00:00:03 +2022-03-11 00:00:05 +1 +3$/m);
my $page = PatientGuard::slurp("$folder/page.html");
like($page, qr/<svg.*<rect.*<polyline.*&lt;b&gt;&amp;a.*<\/html>/s, 'a page');
unlike($page, qr{https?:|//|<script|<link|<img|\bsrc=|<b>&a},
       'that needs nothing else');
my $report = decode_json(PatientGuard::slurp("$folder/report.json"));
is_deeply($report->{stopped}, [{
    account => '<b>&a', role => 'all', verdict => 'deny', action => 'deny',
    limit => 'patients/1h', lookups => 3, days => 1, first => 1646956803,
    last => 1646956805 }], 'and JSON');

truncate "$folder/log.gz", -40 + -s "$folder/log.gz";
($status, undef, $err) = replay('account $a; limit patients=2/1h deny;',
                                "$folder/log.gz");
is($status, 1);
like($err, qr/gzip could not read it to its end/);

# --- what is configured

mkdir "$folder/conf.d";
spew('conf.d/one.conf', "patient_guard_policy one { # {\n"
     . "include limits;\n}");
spew('limits', q(account "$a;}"; limit 'patients=2/1h' deny name=two;));
spew('whole.conf', 'events {} http { include conf.d/*.conf; server { '
     . 'location ~ "^/{2}" { return 200 "}"; } } }');
($status, $out) = replay("$folder/whole.conf", lines([1, patient => 1]));
is($status, 0, 'a policy is found where nginx finds it');
like($out, qr{^policy    one of .*/whole.conf$}m);

spew('conf.d/two.conf', 'patient_guard_policy two { account $a; '
     . 'limit lookups=9/1h deny; }');
for (["$folder/whole.conf", [], qr/several policies.*: one two$/],
     ["$folder/whole.conf", ['--policy', 'x'], qr/"x", but: one two$/],
     ["$folder/limits", [], qr/there is no patient_guard_policy$/],
     ["$folder/nowhere", [], qr/nowhere: No such file/],
     ['limit x=2/1h deny;', [], qr/nginx.conf: policy "p": unknown signal "x"/],
     ['limit', [], qr/nginx.conf: unexpected "}"/],
     ['', ['--share', 'x'], qr/--share x: expected/],
     ['', ['--nonsense'], qr/Unknown option: nonsense/])
{
    my ($config, $options, $says) = @$_;
    ($status, $out, $err) = replay($config, $log, @$options);
    is("$status$out", 2);
    like($err, qr/\Areplay: .*$says/m);
}
($status) = replay("$folder/whole.conf", lines([1]), '--policy', 'two');
is($status, 0);
($status, undef, $err) = replay("$folder/whole.conf", "$folder/none",
                                '--policy', 'two');
is($status, 2);
($status, $out) = replay('', '', '--help');
is($status, 0);
like($out, qr{^scripts/replay \[options\] LOG$}m);

($status, $out) = replay('account $a; limit lookups=9/1h deny;', '');
is($status, 0, 'an empty log');
like($out, qr/^log       0 lookups/m);

# --- whatever ends it, nothing is left

sub left {
    my @left = glob "/tmp/patient-replay.$_[0].*";
    return @left;
}

sub ends {
    my ($how, $mode, $end, @more) = @_;

    my $pid = open my $pipe, $mode, 'scripts/replay',
        '--config', spew('nginx.conf', 'patient_guard_policy p { '
                         . 'account $a; limit patients=1/1h deny; }'),
        '--nginx', $ENV{TEST_NGINX_BINARY},
        '--module', $ENV{TEST_NGINX_LOAD_MODULES} || 'none', @more
        or die "fork: $!\n";
    ok(wait_for(sub { grep { -S "$_/sock" } left($pid) }), 'it is at work')
        if $mode eq '|-';
    $end->($pid);
    close $pipe;
    is(join(' ', left($pid)), '', $how);
}

$log = spew('log', lines(map { [$_, patient => $_] } 0 .. 9999));
open my $quiet, '>&', \*STDERR;
open STDERR, '>', "$folder/err";
ends('nobody reads events', '-|', sub {}, '--events', $log);
ends('nobody reads the report', '-|', sub {}, $log);
ends($_, '|-', sub { kill $_, $_[0] }, '-') for qw(INT TERM HUP);
open STDERR, '>&', $quiet;

# --- what the module does, and what it would have done

our $format = PatientGuard::slurp('scripts/policies/replay-log.conf');

run_tests();

__DATA__

=== TEST 1: a log of the live guard is replayed to the same verdicts
--- http_config eval: $::format
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
limit    lookups=6/1d challenge;
--- config
patient_guard_patient  $arg_patient;
access_log             $PG_TMP/$PG_POLICY.json patient_guard
                       if=$patient_guard_account;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Verdict "$patient_guard_account $patient_guard_verdict $patient_guard_limit $patient_guard_count" always;
}
location /open {
    patient_guard  off;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @live;
for my $n (0 .. 60) {
    my ($account, $patient) = ($n % 5, int $n / 5 % 4 + $n % 2);
    my $uri = $n % 7 ? '/' : '/missing';
    my $answer = get("$uri?patient=$patient", 'X-Account' => "a$account");
    push @live, $answer->{headers}{'x-verdict'};
    get('/open', 'X-Account' => 'nobody') if $n % 9 == 0;
}
my $log = '$PG_TMP/$PG_POLICY.json';
ok(wait_for(sub { (() = PatientGuard::slurp($log) =~ /\n/g) == 61 }),
   'all are logged');

my ($status, $out) = main::replay(main::server_root() . '/conf/nginx.conf',
                                  $log, '--events', '--no-passes',
                                  '--policy', '$PG_POLICY');
is($status, 0);
my @replayed = map { "$_->{account} $_->{verdict} $_->{limit} $_->{count}" }
               grep { $_->{verdict} } map { JSON::PP::decode_json($_) }
               split /\n/, $out;
is_deeply(\@replayed, [grep { !/ allow / } @live], 'as it was');
ok(@replayed > 9, 'which is many');
