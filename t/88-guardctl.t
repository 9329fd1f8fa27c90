# scripts/guardctl: the API from a terminal, and what logs tell of an account.

use strict;
use warnings;

use Test::More;

BEGIN {
    plan(skip_all => 'it makes no difference where is counted')
        if ($ENV{PG_STORE} // 'memory') ne 'memory';
}

use Digest::SHA qw(hmac_sha256);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP qw(decode_json encode_json);
use POSIX ();
use Time::HiRes qw(sleep);

my $folder = tempdir(($ENV{PG_TMP} // '/tmp') . '/guardctl.XXXXXX',
                     CLEANUP => 1);
$ENV{TZ} = 'UTC';
delete @ENV{qw(GUARDCTL_URL http_proxy)};

sub spew {
    my ($name, $text) = @_;

    open my $file, '>:raw', "$folder/$name" or die "$name: $!\n";
    print $file $text;
    close $file;
    return "$folder/$name";
}

sub slurp {
    my ($file) = @_;

    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return <$in> // '';
}

# starts it: its pid
sub start {
    my ($in, @words) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    open STDIN, '<', $in;
    open STDOUT, '>', "$folder/stdout";
    open STDERR, '>', "$folder/stderr";
    { exec 'scripts/guardctl', @words }
    POSIX::_exit(99);
}

# status, stdout, stderr
sub guardctl_with {
    my $pid = start(@_);
    waitpid $pid, 0;
    return ($? >> 8, slurp("$folder/stdout"), slurp("$folder/stderr"));
}

# blanks as one
sub squeezed { $_[0] =~ s/\s+/ /gr }

sub guardctl { guardctl_with('/dev/null', @_) }

sub wait_for {
    my ($what, $till) = @_;

    for (1 .. 400) {
        return pass($what) if $till->();
        sleep 0.05;
    }
    fail($what);
}

# --- an API, scripted

my $ALIAS = '0123456789abcdef' x 2;

my %event = (time => 1647000000.125, account => $ALIAS, verdict => 'deny',
             limit => 'lookups/1d', count => 5000, allowance => 5000,
             until => 1647001000, dry_run => JSON::PP::false, times => 7);

my %policy = (
    name => 'practitioners', consistency => 'strict', on_outage => 'local',
    lookups => 1234, records => 1300,
    verdicts => { allow => 1200, delay => 3, throttle => 10, challenge => 20,
                  deny => 1, unavailable => 0 },
    dry_run => { throttle => 0, challenge => 5, deny => 0 },
    sources => { redis => 1000, local => 0, cache => 234, none => 0 },
    limits => [{ name => 'patients/1d', signal => 'patients', count => 600,
                 window => 86400, action => 'challenge', per => undef,
                 refused => 20, dry_run => 0 }],
    redis => { mode => 'standalone', servers => ['unix:/run/redis.sock'],
               breaker => 'closed', workers_open => 0, connections => 2,
               waiting => 0, calls => 1000,
               latency => { p50 => 0.0005, p99 => 0.002 },
               errors => { timeout => 3, closed => 0 } },
    zone => { size => 8388608, used => 1048576, accounts => 17, evicted => 0,
              evicted_early => 0 },
    accounts => [{ account => $ALIAS, verdict => 'challenge',
                   limit => 'patients/1d', count => 600, allowance => 600,
                   share => 1, until => 1647001000 }],
    blocked => [{ account => $ALIAS, until => 1647001000 }],
    recent => [\%event]);

# a node without Redis, and with what a terminal would obey
my %alone = (%policy, name => "al\x1b[31mone", redis => undef,
             consistency => undef, on_outage => undef, accounts => [],
             blocked => [], recent => [], limits => []);

my %status = (time => 1647000000, write => JSON::PP::true,
              policies => [\%policy, \%alone]);

my %account = (
    policy => 'practitioners', account => $ALIAS, source => 'redis',
    verdict => 'challenge', limit => 'patients/1d', retry_after => undef,
    challenge => { since => 1647000000, limit => 'patients/1d' },
    grants => { allowance => 3, window => 86400, wait => 0 },
    blocked => { until => 1647001000 },
    limits => [{ name => 'patients/1d', signal => 'patients', count => 600,
                 allowance => 600, window => 86400, action => 'challenge',
                 wait => 3600, per => undef }],
    recent => [\%event]);

sub written {
    my ($operation, $reach) = @_;

    return JSON::PP->new->canonical->encode({ time => 1, accounts => [{
        policy => 'practitioners', account => $ALIAS,
        operation => $operation, reach => $reach }] });
}

my $JSON = 'application/json';
my $polls = 0;

# status, type, content; nothing: the connection is closed
sub answer {
    my ($method, $path) = @_;

    return (200, $JSON, encode_json(\%status))
        if "$method $path" eq 'GET /guard/status';
    return (200, $JSON, encode_json({ time => 1, accounts => [\%account] }))
        if "$method $path" =~ m{^GET /guard/accounts/[^/?]+(?:\?.*)?$};
    return (200, $JSON, written($1, 'fleet'))
        if "$method $path" =~ m{^POST /guard/accounts/d%27.*/(clear|block)};
    return (200, $JSON, written('forget', 'node'))
        if "$method $path" =~ m{^DELETE /guard/accounts/d};
    return (503, $JSON, written('clear', 'node'))
        if $path =~ m{/accounts/away/clear$};
    return (404, 'application/problem+json; charset=utf-8',
            encode_json({ type => 'about:blank', title => 'Not found',
                          status => 404, detail => "no policy \x{e9}" }))
        if $path =~ m{/accounts/nobody/};
    return (403, 'text/html', '<html>') if $path =~ m{^/closed/};
    return (200, 'text/html', '<html>') if $path =~ m{^/web/};
    return (302, 'text/html', '<html>') if $path =~ m{^/login/};
    return (200, $JSON, '{"time":') if $path =~ m{^/cut/};
    if ($path =~ m{^/follow/}) {
        # whose connection was closed tries it again at once
        $polls++;
        return if $polls == 3 || $polls == 4;
        my %first = (%event, times => $polls > 4 ? 9 : 7,
                     time => $polls > 4 ? 1647000060 : $event{time});
        my %second = (%event, verdict => 'challenge', until => undef,
                      time => 1647000030, dry_run => JSON::PP::true);
        return (200, $JSON, encode_json({ policies => [{
            name => 'p', recent => [$polls > 1 ? \%second : (), \%first]
        }] }));
    }
    return (404, 'text/html', '<html>');
}

sub serve {
    my ($client) = @_;

    my $head = '';
    while ($head !~ /\r\n\r\n/) {
        sysread $client, $head, 4096, length $head or last;
    }
    open my $log, '>>', "$folder/requests";
    print $log $head;
    close $log;
    my ($method, $path) = $head =~ /^(\S+) (\S+)/ or return;
    my ($status, $type, $content) = answer($method, $path) or return;
    print $client "HTTP/1.1 $status X\r\nContent-Type: $type\r\n",
        'Content-Length: ', length($content), "\r\nConnection: close\r\n\r\n",
        $path =~ m{^/cut/short/} ? substr($content, 1) : $content;
}

my $inet = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
    or die "listen: $!\n";
my $unix = IO::Socket::UNIX->new(Local => "$folder/api.sock", Listen => 8)
    or die "listen: $!\n";
my $server = fork // die "fork: $!\n";
if ($server == 0) {
    $SIG{TERM} = sub { POSIX::_exit(0) };
    my $select = IO::Select->new($inet, $unix);
    while (1) {
        for my $socket ($select->can_read) {
            my $client = $socket->accept or next;
            serve($client);
            close $client;
        }
    }
}
close $unix;
my $host = 'http://127.0.0.1:' . $inet->sockport;
close $inet;
END {
    if ($server) {
        local $?;
        kill 'TERM', $server;
        waitpid $server, 0;
    }
}

sub requested {
    my $text = -e "$folder/requests" ? slurp("$folder/requests") : '';
    unlink "$folder/requests";
    return $text;
}

my ($code, $out, $err);
for my $url ("$host/guard/", "$host/guard", "unix:$folder/api.sock:/guard/") {
    local $ENV{GUARDCTL_URL} = $url;
    my $over = $url =~ /^unix/ ? 'a socket' : $url =~ m{/$} ? 'http'
                                                            : 'no slash';

    ($code, $out, $err) = guardctl('status');
    is("$code $err", '0 ', "status, over $over");
    like($out, qr/^node +2022-03-11 12:00:00, may write$/m, 'the node');
    like($out, qr/^verdicts +allow 1200, delay 3, throttle 10, challenge 20,/m,
         'verdicts');
    like($out, qr/^dry run +challenge 5$/m, 'dry run');
    like($out, qr/^calls +1000, half within 0.5 ms, 99 % within 2 ms$/m,
         'latency');
    like($out, qr/^patients\/1d +600 +1d +challenge  -  +20 +0$/m, 'a limit');
    like($out, qr/^policy +al\?\[31mone$/m, 'nothing that a terminal obeys');

    requested();
    ($code, $out) = guardctl('account', "d'Arc/../\xe9\n%", '--policy', 'a&b');
    is($code, 0, 'account');
    like(requested(), qr{^GET\ /guard/accounts/d%27Arc%2F%2E%2E%2F%E9%0A%25
                         \?policy=a%26b\ HTTP}x, 'byte by byte');
    like($out, qr/^next +challenge by patients\/1d$/m, 'what is next');
    like($out, qr/^grants +3\/1d, one is left$/m, 'grants');
    like($out, qr/^patients\/1d +600 +600 +1d +challenge +1h +-$/m, 'a limit');
    like($out, qr/^2022-03-11 12:00:00 .* deny .* 5000\/5000 .* 7 times$/m,
         'what was of late');

    ($code, $out, $err) = guardctl('clear', "d'Arc", '--header',
                                   'Authorization: Basic xyz');
    is("$code $err", '0 ', 'clear');
    my $said = requested();
    like($said, qr{^POST /guard/accounts/d%27Arc/clear HTTP}, 'is posted');
    like($said, qr/^x-patient-guard: write\r$/mi, 'as a write');
    like($said, qr/^authorization: basic xyz\r$/mi, 'with the header');
    like($out, qr/^practitioners  $ALIAS  clear +fleet$/m, 'and is said');

    ($code) = guardctl('block', "d'Arc", '--for', '1h');
    is($code, 0, 'block');
    like(requested(), qr{^POST /guard/accounts/d%27Arc/block\?for=1h }, 'POST');

    ($code, $out) = guardctl('forget', 'dupont', '--yes', '--json');
    is($code, 0, 'forget');
    like(requested(), qr{^DELETE /guard/accounts/dupont HTTP}, 'is deleted');
    is($out, written('forget', 'node') . "\n", 'raw');

    ($code, $out, $err) = guardctl('clear', 'away');
    is($code, 1, 'one node only: 1');
    like($out, qr/ clear +node$/m, 'what was done is said');
    like($err, qr/^guardctl: Redis did not answer/, 'and what was not');

    ($code, $out, $err) = guardctl('clear', 'nobody');
    is("$code $out$err", "1 guardctl: Not found: no policy \xc3\xa9\n",
       'a problem');
}

my @url = ('--url', "$host/guard/");
($code, $out) = guardctl(@url, 'top');
like(squeezed($out), qr/ practitioners $ALIAS challenge patients\/1d 600 600 100 % 2022-03-11 12:16:40 $/,
     'top');
($code, $out) = guardctl(@url, qw(status --json));
is_deeply(decode_json($out), \%status, 'status as it came');
($code, $out) = guardctl(@url, qw(status --json --policy practitioners));
is_deeply(decode_json($out)->{policies}, [\%policy], 'one policy of it');
($code, $out, $err) = guardctl(@url, qw(status --policy x));
is("$code $err", qq(1 guardctl: no policy is called "x"\n), 'no such policy');
requested();
guardctl(@url, qw(account --alias), $ALIAS);
like(requested(), qr{accounts/$ALIAS\?by=alias }, 'by alias');
my $headers = spew('headers', "Authorization: Bearer abc\nX-Other: 1\n");
guardctl(@url, 'status', '--header', "\@$headers");
like(requested(), qr/(?=.*^authorization: bearer abc)(?=.*^x-other: 1)/msi,
     'headers of a file');

for (['/closed/', 1, qr/status 403/], ['/web/', 3, qr/no guard's API/],
     ['/login/', 3, qr/no guard's API: status 302/],
     ['/cut/', 3, qr/no JSON/], ['/cut/short/', 3, qr/./])
{
    my ($path, $expected, $says) = @$_;
    for my $url ("$host$path", "unix:$folder/api.sock:$path") {
        ($code, $out, $err) = guardctl('status', '--url', $url);
        is("$code $out", "$expected ", "$path: $expected");
        like($err, $says, 'and why');
    }
}

# --- events

($code, $out) = guardctl(@url, 'events');
is($out, "2022-03-11 12:00:00  practitioners  $ALIAS  deny         lookups/1d"
   . "  5000/5000  until 2022-03-11 12:16:40  7 times\n", 'an event');
my $pid = start('/dev/null', 'events', '--follow', '--url', "$host/follow/");
wait_for('three events', sub { 3 == (() = slurp("$folder/stdout") =~ /\n/g) });
kill 'TERM', $pid;
waitpid $pid, 0;
is(join('', map {
       join(' ', /^\S+ (\S+)/, /(deny|challenge)/, /(\d+ times)/,
            /(dry run)/) . "\n"
   } split /\n/, slurp("$folder/stdout")), <<'OUT', 'the old one, a new one, and the old one again');
12:00:00 deny 7 times
12:00:30 challenge 7 times dry run
12:01:00 deny 9 times
OUT
is((() = slurp("$folder/stderr") =~ /\n/g), 2, 'away and back are said once');
($code, $out) = guardctl(@url, qw(events --json));
is(decode_json($out)->{policy}, 'practitioners', 'an event a line');

kill 'TERM', $server;
waitpid $server, 0;
$server = 0;
for my $url ("$host/guard/", "unix:$folder/api.sock:/guard/") {
    ($code, $out, $err) = guardctl('status', '--url', $url);
    is($code, 3, 'nobody is there: 3');
    like($err, qr/^guardctl: \Q$url\E: can't be reached: /, 'and is said');
}

# --- how it is not used

for (['expected a command'], ['no command is called "x"', 'x'],
     ['unknown option: wrong', qw(status --wrong)],
     ['unknown option: alias', qw(--alias top)],
     ['option url requires an argument', qw(status --url)],
     ['"x" was not expected', qw(status x)],
     ['expected one LOGIN', 'account'], ['expected one LOGIN', 'clear', ''],
     ['expected one LOGIN', qw(account a b)],
     ['"a" is no alias', qw(account --alias a)],
     ['expected --for TIME', qw(block a)],
     ['--for long: expected a time', qw(block a --for long)],
     ['nothing was forgotten', qw(forget a)],
     ['"x" is no URL', qw(status --url x)],
     ['a header is "Name: value"', qw(status --header x)],
     ['expected --secret', qw(exposed log)],
     ['expected --patients', qw(exposed --secret k --account a log)],
     ['expected a LOG', qw(exposed --secret k --account a --patients p)],
     ['--kind x: expected nir', qw(exposed --secret k --account a --patients p
                                   --kind x log)],
     ['expected a LOGIN', 'timeline'])
{
    my ($says, @words) = @$_;
    ($code, $out, $err) = guardctl(@words);
    is("$code $out", '2 ', "2: $says");
    like($err, qr/^guardctl: \Q$says\E.*\n\z/, 'one line, and why');
}
for my $command ([], map { [$_] } qw(status top account clear block forget
                                     events exposed timeline)) {
    ($code, $out, $err) = guardctl(@$command, '--help');
    is("$code $err", '0 ', "@$command --help");
    like($out, qr/^guardctl @$command/, 'tells of it');
}

my $manual = slurp('scripts/guardctl.1') =~ s/\\-/-/gr;
my %option = map { $_ => 1 } map { (guardctl($_, '--help'))[1] =~ /(--[a-z]+)/g }
             qw(status block forget events exposed timeline);
is(join(' ', grep { $manual !~ /\Q$_\E\b/ } sort keys %option), '',
   'the manual page knows each option');

# --- aliases, by another hand than the module's

sub sum { use integer; return $_[0] + $_[1] }
sub rotate { return $_[0] << $_[1] | $_[0] >> 64 - $_[1] }

sub round {
    my ($v) = @_;

    for ([0, 1, 13, 32], [2, 3, 16, 0], [0, 3, 21, 0], [2, 1, 17, 32]) {
        my ($a, $b, $turn, $half) = @$_;
        $v->[$a] = sum($v->[$a], $v->[$b]) & ~0;
        $v->[$b] = rotate($v->[$b], $turn) ^ $v->[$a];
        $v->[$a] = rotate($v->[$a], 32) if $half;
    }
}

# SipHash-2-4 as hexadecimal digits, of 8 bytes or 16
sub sip {
    my ($key, $bytes, $long) = @_;

    no warnings 'portable';
    my @k = unpack 'Q<2', $key;
    my @v = ($k[0] ^ 0x736f6d6570736575, $k[1] ^ 0x646f72616e646f6d,
             $k[0] ^ 0x6c7967656e657261, $k[1] ^ 0x7465646279746573);
    $v[1] ^= 0xee if $long;
    my $padded = $bytes . "\0" x (7 - length($bytes) % 8)
        . chr(length($bytes) & 0xff);
    for my $m (unpack 'Q<*', $padded) {
        $v[3] ^= $m;
        round(\@v) for 1 .. 2;
        $v[0] ^= $m;
    }
    my $hash = '';
    for my $end ($long ? ([2, 0xee], [1, 0xdd]) : [2, 0xff]) {
        $v[$end->[0]] ^= $end->[1];
        round(\@v) for 1 .. 4;
        $hash .= pack 'Q<', $v[0] ^ $v[1] ^ $v[2] ^ $v[3];
    }
    return unpack 'H*', $hash;
}

my @vector = split ' ',
    (grep { !/^#/ && /\S/ } split /\n/, slurp('t/unit/siphash.vectors'))[13];
my ($key, $text) = map { pack 'C*', 0 .. $_ } 15, 12;
is(sip($key, $text), $vector[0], 'the authors\' vector, 64 bits');
is(sip($key, $text, 1), $vector[1], 'and 128');

my @keys = ('the current key, of 28 bytes', 'the key before, of 28 bytes.');
my $secret = spew('key', "$keys[0]\r\n$keys[1]\n");
chmod 0600, $secret;

sub account_alias {
    my ($login, $key) = @_;

    return sip(substr(hmac_sha256('patient_guard account', $keys[$key // 0]),
                      0, 16), $login, 1);
}

sub patient_alias {
    my ($patient, $key) = @_;

    return sip(substr(hmac_sha256('patient_guard patient', $keys[$key // 0]),
                      0, 16), $patient);
}

# --- whom an account has read

sub at { POSIX::strftime('%Y-%m-%dT%H:%M:%S+00:00', gmtime 1646956800 + $_[0]) }

# a line of the log: second, patients by comma, and what else it says
sub line {
    my ($second, $patients, %says) = @_;

    my $key = delete $says{key} // 0;
    my $login = delete $says{login} // 'dupont';
    my %line = (
        '@timestamp' => at($second), 'event.kind' => 'event',
        'event.action' => 'allow', 'http.response.status_code' => 200,
        'user.id' => account_alias($login, $key),
        'patient_guard.patients' => join(',', map { patient_alias($_, $key) }
                                         split /,/, $patients),
        'patient_guard.limit' => '', 'patient_guard.policy' => 'p',
        'source.address' => '192.0.2.1', %says);
    delete $line{$_} for grep { !defined $line{$_} } keys %line;
    return encode_json(\%line) . "\n";
}

sub refused {
    my ($action, $status) = @_;

    return ('event.action' => $action, 'http.response.status_code' => $status);
}

our $list = spew('list', join '', map { "$_\n" } 1 .. 20);

# "patient first-second last-second times failed", by comma; code, stderr
sub exposed {
    my ($log, @options) = @_;

    my $file = ref $log ? $log : [spew('log', $log)];
    my ($code, $out, $err) = guardctl(
        'exposed', '--secret', $secret, '--account', 'dupont', '--patients',
        $list, '--json', @options, @$file);
    my @found = map {
        my $found = eval { decode_json($_) } // die "no JSON: $_";
        my @seconds = map {
            my ($h, $m, $s) = /^2022-03-11T(\d\d):(\d\d):(\d\d)\+00:00$/;
            defined $h ? $h * 3600 + $m * 60 + $s : $_;
        } @$found{qw(first last)};
        "$found->{patient} @seconds $found->{times} $found->{failed}";
    } split /\n/, $out;
    return (join(', ', @found), $code, $err);
}

my ($found, $log);

$log = line(0, '1,2') . line(10, '2') . line(20, '3', login => 'durand')
    . line(30, '', 'user.id' => '-', 'event.action' => '-')
    . line(40, '', 'user.id' => '', 'event.action' => '')
    . line(50, '4', 'http.response.status_code' => 404) . line(60, '');
($found, $code, $err) = exposed($log);
is($found, '1 0 0 1 0, 2 0 10 2 0, 4 50 50 1 1', 'whom, when, how often');
is($code, 0, 'and nothing is in doubt');
like($err, qr/^list +20 patients, 0 lines twice, 0 malformed; \d+ bytes/m,
     'the list');
like(squeezed($err), qr/ log 7 lines, 0 malformed, \Q@{[at(0)]} to @{[at(60)]}\E /,
     'the log');
like($err, qr/^read +4 lookups, 1 .* by 4xx or 5xx, 1 name no patient$/m,
     'the account');
like($err, qr/^patients  3 exposed, 1 of them by failed/m, 'patients');

($code, $out) = guardctl('exposed', '--secret', $secret, '--account', 'dupont',
                         '--patients', $list, spew('log', $log));
is($out, <<'OUT', 'as text');
patient  first                      last                       times  failed
1        2022-03-11T00:00:00+00:00  2022-03-11T00:00:00+00:00      1       0
2        2022-03-11T00:00:00+00:00  2022-03-11T00:00:10+00:00      2       0
4        2022-03-11T00:00:50+00:00  2022-03-11T00:00:50+00:00      1       1
OUT

($found, $code, $err) = exposed(line(50, 1) . line(5, 1) . line(20, 1));
is("$found, $code", '1 5 50 3 0, 0', 'in any order');

# refused, delayed, let through by a dry run
($found, $code, $err) = exposed(
    line(0, 1, refused('deny', 403)) . line(1, 2, refused('challenge', 401))
    . line(2, 3, refused('throttle', 429)) . line(3, 4, refused('throttle', 206))
    . line(4, 5, refused('unavailable', 503))
    . line(5, 6, refused('deny', 200), 'patient_guard.dry_run' => '1')
    . line(6, 7, refused('deny', 200), 'patient_guard.dry_run' => '0')
    . line(7, 6, refused('deny', 403)) . line(8, 1));
is($found, '1 8 8 1 0, 4 3 3 1 0, 6 5 5 1 0', 'refused lookups disclose nobody');
is($code, 0, 'nor are they in doubt');
like($err, qr/^refused +6 .*, throttle 1, challenge 1, deny 3, unavailable 1$/m,
     'told apart');
like($err, qr/^read .* 1 let through by a dry run only/m, 'as is a dry run');
like($err, qr/; 4 asked for in vain$/m, 'and who was not read at all');

# a rotation: the account and the patients under either key
($found, $code) = exposed(line(0, 1, key => 1) . line(10, '1,2'));
is("$found, $code", '1 0 10 2 0, 2 10 10 1 0, 0', 'both keys');

# who is not in the list
($found, $code, $err) = exposed(line(0, '1,77') . line(1, '77,78'));
is("$found, $code", '1 0 0 1 0, 1', 'an answer that is not whole: 1');
like($err, qr/^unlisted  2 aliases .*: PATIENTS ARE MISSING/m, 'how many');

# the time, both of whose ends belong to it
$log = join '', map { line($_, $_ + 1) } 0 .. 4;
for (['1646956801', '1646956803', '2 1 1 1 0, 3 2 2 1 0, 4 3 3 1 0'],
     ['2022-03-11T00:00:03Z', undef, '4 3 3 1 0, 5 4 4 1 0'],
     ['2022-03-11 01:00:03+01:00', undef, '4 3 3 1 0, 5 4 4 1 0'],
     [undef, '2022-03-10T19:00:00-0500', '1 0 0 1 0'],
     ['2022-03-11', '2022-03-11T00:00', '1 0 0 1 0'],
     ['1646956800.5', '2022-03-11T00:00:01.5', '2 1 1 1 0'],
     ['0', '2022-03-10', ''], ['2022-03-12', undef, ''])
{
    my ($since, $until, $says) = @$_;
    ($found, undef, $err) = exposed($log,
        defined $since ? ('--since', $since) : (),
        defined $until ? ('--until', $until) : ());
    is($found, $says, join ' to ', map { $_ // '...' } $since, $until);
}
like($err, qr/^account +0 lookups within the time, 5 outside of it$/m,
     'and what is outside');
($found) = exposed($log, '--until', '2022-03-11');
is((() = $found =~ /,/g), 4, 'a date as the end is that day');
for my $wrong ('yesterday', '20220311', '2022-02-30', '2022-03-11T25:00') {
    (undef, $code, $err) = exposed($log, '--since', $wrong);
    is($code, 2, "$wrong: 2");
    like($err, qr/^guardctl: --since \Q$wrong\E: /, 'and why');
}
(undef, $code, $err) = exposed($log, '--since', 2e9, '--until', 1e9);
is("$code $err", "2 guardctl: --until is before --since\n", 'the wrong way');

# fold, alias, policy
$log = line(0, 1) . line(1, 2, 'patient_guard.policy' => 'q');
($found) = exposed($log, '--account', ' DuPont ', '--fold');
is($found, '1 0 0 1 0, 2 1 1 1 0', 'fold');
($found) = exposed($log, '--account', 'DuPont');
is($found, '', 'and no fold');
($found) = exposed($log, '--account', account_alias('dupont'), '--alias');
is($found, '1 0 0 1 0, 2 1 1 1 0', 'by alias');
($found) = exposed($log, '--policy', 'q');
is($found, '2 1 1 1 0', 'of one policy');

# NIR, in whatever spelling
{
    local $list = spew('nirs', "2 55 08 14 168 025 38\n255081416802538\n"
                       . "1.51.02.4610204.325\n1 51 02 46 102 043\nx\n"
                       . "255081416802539\n");
    ($found, $code, $err) = exposed(line(0, '255081416802538')
        . line(1, '255 0814168025 38'), qw(--kind nir));
    is("$found, $code", '2 55 08 14 168 025 38 0 0 1 0, 1', 'a NIR as listed');
    like($err, qr/:5: malformed: no NIR\n.*:6: malformed: no NIR\n/, 'wrong');
    like($err, qr/^list +2 patients, 2 lines twice, 2 malformed/m, 'spellings');
}
{
    local $list = spew('odd', "\xef\xbb\xbf1\r\n\n \t2 \na,b\na%2Cb\nc\x01d\n"
                       . "\"\\q\"\n2\nlast");
    ($found, $code, $err) = exposed(line(0, '1,2') . line(1, 'last')
                                    . line(2, '"\\q"'));
    is("$found, $code", '1 0 0 1 0, 2 0 0 1 0, "\\q" 2 2 1 0, last 1 1 1 0, 1',
       'a list with blanks, and what it may not have');
    like($err, qr/:4: .*comma.*:5: .*comma.*:6: malformed: control/s, 'is told');
    like($err, qr/^list +4 patients, 1 lines twice, 3 malformed/m, 'counted');
}

# malformed lines, of which some are told; truncated ones
my $good = line(0, 1);
my @wrong = (
    'x', '', '[1]', '{}', '{"a":1', '{"a":1}}', "\0", '{"a":"\x"}', '{"a" 1}',
    '{"a":"' . "\t" . '"}', '[' x 100000, '{"a":' . '[' x 100 . ']' x 100 . '}',
    substr($good, 0, 100), $good =~ s/\n//r . ' {}',
    map { line(0, 1, @$_) =~ s/\n//r }
    ['@timestamp' => undef], ['@timestamp' => '2022-13-11T00:00:00Z'],
    ['@timestamp' => '2022-03-11T00:00:00'], ['@timestamp' => ''],
    ['@timestamp' => 1646956800], ['user.id' => 'dupont'],
    ['user.id' => account_alias('dupont') . '0'], ['user.id' => undef],
    ['event.action' => 'maybe'], ['event.action' => undef],
    ['patient_guard.patients' => 'p1'], ['patient_guard.patients' => undef],
    ['patient_guard.patients' => patient_alias(1) . ','],
    ['patient_guard.patients' => uc patient_alias('abc')],
    ['http.response.status_code' => 'ok'],
    ['http.response.status_code' => undef]);
($found, $code, $err) = exposed(join '', map { "$_\n" } @wrong, $good =~ s/\n//r);
is("$found, $code", '1 0 0 1 0, 1', 'a good line among malformed ones');
like($err, qr/^log +${\(@wrong + 1)} lines, ${\scalar @wrong} malformed/m,
     'all are counted');
is(join(' ', $err =~ /log:(\d+): malformed/g), '1 2 3 4 5', 'five are told');
for my $n (0 .. $#wrong) {
    (undef, $code, $err) = exposed($good . "$wrong[$n]\n$good");
    like($err, qr/log:2: malformed: /, 'malformed: '
         . substr $wrong[$n] =~ s/[^ -~]/?/gr, 0, 60);
}
($found, $code, $err) = exposed(line(0, 1) . substr line(1, 2), 0, -20);
is("$found, $code", '1 0 0 1 0, 1', 'a truncated last line');
like($err, qr/:2: malformed: .*cut off/, 'is told');
($found, $code) = exposed(line(0, 1) . line(1, 2) =~ s/\n//r);
is("$found, $code", '1 0 0 1 0, 2 1 1 1 0, 0', 'a last line without its end');
($found, $code, $err) = exposed($good . 'x' x (3 << 20) . "\n" . line(1, 2)
                                . 'y' x (1 << 20));
is("$found, $code", '1 0 0 1 0, 2 1 1 1 0, 1', 'lines of megabytes');
like($err, qr/:2: malformed: over a mega.*:4: malformed: over a mega/s, 'told');
($found, $code) = exposed(line(0, 1, nested => { a => [1, { b => 'c"' }, []] },
    number => -1.5e3, none => JSON::PP::null) . line(1, 2) =~ s/,"/ , "/gr
    . line(2, 3) =~ s/\n/\r\n/r);
is("$found, $code", '1 0 0 1 0, 2 1 1 1 0, 3 2 2 1 0, 0', 'JSON of all kinds');
my $many = join ',', 1 .. 20, map { "x$_" } 1 .. 4076;
($found, $code) = exposed(line(0, $many));
is((() = $found =~ /,/g), 19, 'a response with 4096 patients');

# files: several, gzip, stdin, those that are not there
my @logs = (spew('one', line(10, 1)), spew('two.gz', line(0, '1,2')));
rename $logs[1], "$folder/two";
system 'gzip', '-f', "$folder/two";
($found, $code) = exposed(\@logs);
is("$found, $code", '1 0 10 2 0, 2 0 0 1 0, 0', 'several files, one of them gzip');
my @words = ('exposed', '--secret', $secret, '--account', 'dupont',
             '--patients', $list, '--json', '-');
($code, $out) = guardctl_with($logs[1], @words);
is((() = $out =~ /\n/g), 2, 'stdin');
my $zipped = spew('cut', join '', map { line($_, 1) } 1 .. 300);
system 'gzip', '-f', $zipped;
spew('cut.gz', substr slurp("$folder/cut.gz"), 0, -400);
($found, $code, $err) = exposed(["$folder/cut.gz"]);
is($code, 1, 'a gzip that breaks off: 1');
like($err, qr/cut.gz: broken off after line \d+: .*^log .* 1 logs broken off/ms,
     'is told');
for (['/nowhere/log', 'No such'], ['-', 'stdin can be', '--patients', '-'],
     [$folder, 'is a folder'], ["$folder/log", 'No such', '--patients', '/no'],
     ["$folder/log", 'No such', '--secret', '/no'],
     ["$folder/log", 'no patient is listed', '--patients', '/dev/null'],
     ["$folder/log", 'no login', '--account', "a\x01"],
     ["$folder/log", 'no login', '--account', 'a' x 257],
     ["$folder/log", 'is no alias', '--alias'])
{
    my ($file, $says, @options) = @$_;
    ($found, $code, $err) = exposed([$file], @options);
    is("$found $code", ' 2', "$file @options: 2"
       =~ s/[^ -~]/?/gr);
    like($err, qr/^guardctl: .*\Q$says\E/, 'and why');
}
for (['others', "$keys[0]\n", 0644], ['short', "short\n", 0600],
     ['second', "$keys[0]\nshort\n", 0600], ['empty', '', 0600],
     ['long', 'x' x 5000, 0600])
{
    my ($name, $text, $mode) = @$_;
    my $file = spew($name, $text);
    chmod $mode, $file;
    ($found, $code, $err) = exposed($good, '--secret', $file);
    is("$found $code", ' 2', "a secret that nginx would refuse: $name");
}
my $single = spew('single', $keys[0]);
chmod 0600, $single;
($found, $code) = exposed(line(0, 1) . line(1, 2, key => 1), '--secret', $single);
is("$found, $code", '1 0 0 1 0, 0', 'a secret of one key');

# --- what it did, hour by hour

$log = line(0, '1,2') . line(3599, 2) . line(7200, '1,3')
    . line(7201, 4, refused('deny', 403))
    . line(7202, 5, refused('challenge', 401))
    . line(7203, 6, refused('throttle', 200))
    . line(7204, 7, refused('deny', 200), 'patient_guard.dry_run' => '1')
    . line(1800, 3, login => 'durand') . line(3600, 3) . line(3601, '');
my @timeline = ('timeline', 'dupont', '--secret', $secret);
($code, $out, $err) = guardctl(@timeline, spew('log', $log));
is($code, 0, 'timeline');
is($out =~ s/ +/ /gr, <<'OUT', 'by the hour, whatever the order');
hour lookups patients new throttle challenge deny unavailable dry_run # read, x refused
2022-03-11 00:00 2 2 2 0 0 0 0 0 ################
2022-03-11 01:00 2 1 1 0 0 0 0 0 ################
2022-03-11 02:00 5 4 2 0 1 1 0 1 ########################xxxxxxxxxxxxxxxx
all 9 5 5 0 1 1 0 1
OUT
($code, $out) = guardctl(@timeline, '--json', '--since', '2022-03-11T01:00',
                         "$folder/log");
my @rows = map { decode_json($_) } split /\n/, $out;
is(join(' ', map { "$_->{start}:$_->{lookups}:$_->{new}" } @rows[0, 1]),
   '1646960400:2:1 1646964000:5:2', 'new is who is not in the log before');
is_deeply($rows[2]{all}, { lookups => 7, patients => 4, new => 3, throttle => 0,
                           challenge => 1, deny => 1, unavailable => 0,
                           dry_run => 1 }, 'and all');
{
    local $ENV{TZ} = 'Asia/Kolkata';
    ($code, $out) = guardctl(@timeline, "$folder/log");
    like($out, qr/^2022-03-11 05:00 +1 .*\n2022-03-11 06:00 +3 /m,
         'hours are those of TZ');
}
($code, $out) = guardctl('timeline', account_alias('dupont'), '--alias',
                         '--html', "$folder/page", '--svg', "$folder/plot",
                         "$folder/log");
is($code, 0, 'by alias, which wants no secret');
like(slurp("$folder/page"), qr/^<!DOCTYPE.*<svg .*<rect .*<\/html>\n\z/s,
     'a page');
unlike(slurp("$folder/page"), qr/(?:src|href)=|url\(|<script/, 'of its own');
my $plot = slurp("$folder/plot");
like($plot, qr{^<svg xmlns="http://www.w3.org/2000/svg" .*</svg>\n\z}s,
     'a plot');
like($plot, qr/02:00: read 3, throttle 0, challenge 1, deny 1,/, 'is right');
($code, $out) = guardctl('timeline', '<b>&', '--secret', $secret, '--html',
                         "$folder/page", "$folder/log");
is($code, 0, 'who did nothing');
like(slurp("$folder/page"), qr/&lt;b&gt;&amp; did/, 'is no HTML');
($code, $out, $err) = guardctl(@timeline, spew('log', "x\n$log"));
is($code, 1, 'malformed lines: 1');
($code, $out, $err) = guardctl(@timeline, '--svg', '/nowhere/plot',
                               "$folder/log");
is($code, 2, 'a plot that can\'t be written: 2');
like($err, qr{^guardctl: /nowhere/plot: }m, 'and why');

# --- and with what nginx itself writes

SKIP: {
    skip('no nginx', 3) if !$ENV{TEST_NGINX_BINARY} || !$ENV{PG_PORT};

    my $load = $ENV{TEST_NGINX_LOAD_MODULES}
             ? "load_module $ENV{TEST_NGINX_LOAD_MODULES};" : '';
    my $user = $< == 0 ? 'user root;' : '';
    my $config = spew('nginx.conf', <<"NGINX");
$load
$user
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log;
events {}
http {
    log_format ecs escape=json
        '{"\@timestamp":"\$time_iso8601","event.kind":"event",'
        '"event.action":"\$patient_guard_verdict",'
        '"http.response.status_code":\$status,'
        '"user.id":"\$patient_guard_account",'
        '"patient_guard.patients":"\$patient_guard_patient",'
        '"patient_guard.limit":"\$patient_guard_limit",'
        '"patient_guard.policy":"p","source.address":"\$remote_addr"}';
    access_log $folder/access.log ecs;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    patient_guard_policy p {
        account \$arg_who trusted fold;
        secret $secret;
        limit patients=3/1h deny;
    }
    server {
        listen unix:$folder/nginx.sock;
        root $folder;
        location /any/ {
            patient_guard p;
            patient_guard_patient \$arg_patient;
            try_files /log =404;
        }
        location /nir/ {
            patient_guard p;
            patient_guard_patient \$arg_patient kind=nir;
            try_files /log =404;
        }
    }
}
NGINX
    my $nginx = fork // die "fork: $!\n";
    if ($nginx == 0) {
        open STDOUT, '>', "$folder/nginx.out";
        open STDERR, '>&', \*STDOUT;
        { exec $ENV{TEST_NGINX_BINARY}, '-p', $folder, '-e',
              "$folder/error.log", '-c', $config }
        POSIX::_exit(99);
    }
    my $get = sub {
        my $socket = IO::Socket::UNIX->new(Peer => "$folder/nginx.sock")
            or return '';
        print $socket "GET $_[0] HTTP/1.0\r\n\r\n";
        local $/;
        my ($status) = (<$socket> // '') =~ /^HTTP\S+ (\d+)/;
        return $status // '';
    };
    wait_for('nginx is there', sub { $get->('/') ne '' });
    is(join(' ', map { $get->($_) } '/any/?who=DuPont&patient=7',
            '/any/?who=dupont&patient=Z-1', '/any/?patient=8',
            '/nir/?who=dupont&patient=2550814168025', '/any/?who=durand&patient=9',
            '/any/?who=dupont&patient=10'), '200 200 403 200 200 403',
       'lookups, the last of which is refused');
    kill 'QUIT', $nginx;
    waitpid $nginx, 0;

    local $list = spew('list', "7\nZ-1\n8\n9\n10\n");
    ($found, $code, $err) = exposed(["$folder/access.log"], '--account',
                                    'DUPONT', '--fold');
    is(join(' ', map { /^(\S+)/ } split /, /, $found), '7 Z-1',
       'are whom the module means');
    like($err, qr/^refused +1 .*^unlisted  1 /ms, 'or else told');
    $list = spew('list', "2 55 08 14 168 025 38\n");
    ($found) = exposed(["$folder/access.log"], '--fold', '--kind', 'nir');
    like($found, qr/^2 55 08 14 168 025 38 /, 'and the NIR');
}

done_testing();
