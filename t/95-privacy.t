# Nobody is named: in what is written, answered or stored there are aliases
# only, whatever the guard decides.

use lib 't/lib';
use PatientGuard;

use Digest::MD5 qw(md5 md5_hex);
use Digest::SHA qw(sha1 sha1_hex sha256 sha256_hex sha512_hex);
use IO::Select;
use List::Util qw(uniq);
use MIME::Base64 qw(encode_base64 encode_base64url decode_base64url);

# the raw values: who looks, at whom, and by which URI

our %raw = (
    account => 'Praticienne.Wojtyla',
    patient => 'NIR279077503412345',
    other   => 'Zacharie-Quatrevaux',
    uri     => 'dossier-medical',
    args    => 'motif=hepatite',
    token   => 'JetonSecret4711',
);

# what would tell one of them, in other words as well: name => bytes

our %traces = map {
    my ($name, $raw) = ($_, $raw{$_});
    my $hex = unpack 'H*', $raw;
    (
        $name => $raw,
        "$name in hexadecimal digits" => $hex,
        "$name backwards" => scalar reverse($raw),
        "$name, encoded" => join('', map { sprintf '%%%02x', ord }
                                     split //, $raw),
        "$name in UTF-16" => join('', map { "$_\0" } split //, $raw),

        # in the midst of something else, it starts at any of three places
        (map {
            my $code = encode_base64('x' x $_ . $raw, '');
            ("$name in base64, $_" => substr $code, $_ ? 4 : 0,
                                            length($code) - ($_ ? 8 : 4))
        } 0 .. 2),

        # digests without a key can be tried through
        (map {
            my ($digest, $value) = @$_;
            ("$name by $digest" => $value)
        } [md5 => md5($raw)], [sha1 => sha1($raw)], [sha256 => sha256($raw)],
          ['md5, hex' => md5_hex($raw)], ['sha1, hex' => sha1_hex($raw)],
          ['sha256, hex' => sha256_hex($raw)],
          ['sha512, hex' => substr sha512_hex($raw), 0, 32]),
    )
} keys %raw;

# which of them are in a text, upper and lower case alike

sub traces {
    my $text = lc $_[0];
    return join ', ', sort grep { index($text, lc $traces{$_}) >= 0 }
                      keys %traces;
}

# what a client sends: it names all of them

sub look {
    my ($uri, %headers) = @_;

    my $account = delete $headers{account} // "$raw{account}-1";
    return get($uri, 'X-Account' => $account, Cookie => "sid=$raw{token}",
               Authorization => "Basic $raw{token}",
               Referer => "http://localhost/$raw{uri}?$raw{args}",
               'User-Agent' => "Browser/$raw{token}", %headers);
}

sub record {
    my ($at, $n) = @_;
    return "/$at/$raw{uri}?patient=$raw{patient}-$n,$raw{other}&$raw{args}";
}

# all that a client is answered; the body of the portal's is the portal's own

sub answered {
    my ($answer) = @_;

    my $headers = $answer->{headers};
    my $state = ($headers->{location} // '') =~ /[?&]state=([^&]+)/ ? $1 : '';

    return join "\n", $answer->{status},
        (map { "$_: $headers->{$_}" } sort keys %$headers),
        $state, decode_base64url($state),
        $answer->{body} =~ /^record of / ? () : $answer->{body};
}

# the lines of the error log that are the guard's

sub lines { grep { /patient guard: / } split /^/, error_log() }

# what Redis holds: how many keys with this prefix, the names of all keys,
# and what is in those that no other suite has made

sub stored {
    my ($prefix) = @_;

    my ($cursor, @keys) = 0;
    do {
        ($cursor, my @some) = redis('SCAN', $cursor, 'COUNT', 1000);
        # those of t/unit's traces are many, and no request's
        @some = grep { !/^unit:/ } @some;
        push @keys, @some;
    } while $cursor;
    @keys = uniq @keys;

    my @own = grep { /^\Q$prefix\E:/ } @keys;
    return scalar @own, join "\n", @keys,
        map { (redis('HGETALL', $_), redis('DUMP', $_)) }
        @own, grep { !/^tp\d+_\d+:/ && redis('TYPE', $_) eq 'hash' } @keys;
}

# the format that README.md proposes

our ($format) = PatientGuard::slurp('README.md')
    =~ /^ +log_format guard (('.*'\s+)*'.*');$/m
    or die "no log_format in README.md\n";

sub policy {
    my ($name, $lines) = @_;
    return "patient_guard_policy \$PG_POLICY_$name {\n"
        . "account \$http_x_account trusted;\n"
        . ($lines =~ /^redis / ? "secret \$PG_KEY;\n"
                               : "\$PG_STORE_DIRECTIVES\n")
        . "$lines\n}\n";
}

sub location {
    my ($name, $lines) = @_;
    return <<"END";
location /$name/ {
    patient_guard          \$PG_POLICY_$name;
    patient_guard_patient  \$arg_patient;
    access_log             logs/guard.log guard;
    proxy_pass             http://\$PG_PORTAL;
    add_header X-Guard "\$patient_guard_verdict \$patient_guard_limit \$patient_guard_account \$patient_guard_patient \$patient_guard_source" always;
    @{[ $lines // '' ]}
}
END
}

run_tests();

__DATA__

=== TEST 1: what is logged, answered and stored, whatever the guard decides
--- http_config eval
"log_format guard $::format;\n"
. ::policy('allow', 'limit patients=1000/1h deny;')
. ::policy('log', 'limit lookups=1/1h log;')
. ::policy('deny', 'limit patients=2/1h deny;')
. ::policy('throttle', 'limit patients=2/1h throttle;')
. ::policy('held', "limit lookups=2/10s throttle;\nthrottle_delay 30s;")
. ::policy('status', 'limit patients=2/1h challenge;')
. ::policy('redirect', "limit patients=2/1h challenge;\n"
           . "challenge redirect https://sso.example/step-up?client=1;\n"
           . 'challenge step_up acr=eidas2;')
. ::policy('page', "limit patients=2/1h challenge;\n"
           . 'challenge page /challenge.html;')
. ::policy('proof', "limit patients=2/1h challenge;\nproof \$http_x_proof;")
. ::policy('dry', "limit patients=2/1h deny;")
. ::policy('covered', "limit patients=2/1h deny;")
. ::policy('unmatched', "limit patients=2/1h deny;")
. ::policy('refuse', "limit patients=2/1h deny;")
. ::policy('ignore', "limit patients=2/1h deny;")
. ::policy('exempt', "limit patients=2/1h deny;\nexempt \$http_x_exempt;")
--- config eval
(CORE::join '', map { ::location($_) }
    qw(allow log deny throttle held status redirect page proof exempt))
. ::location('dry', 'patient_guard_dry_run on;')
. ::location('covered', 'error_page 403 /sorry.html;')
. ::location('unmatched', 'patient_guard_patient $http_x_nobody;')
  =~ s/patient_guard_patient  \S+arg_patient;//r
. ::location('refuse', 'patient_guard_unmatched deny;')
. ::location('ignore', 'patient_guard_unmatched ignore;')
. 'location = /challenge.html { return 200 "prove yourself\n"; }'
. 'location = /sorry.html { internal; return 200 "sorry\n"; }'
--- user_files
>>> empty
--- after
my (@answers, %verdicts);
my $look = sub {
    my $answer = look(@_);
    push @answers, $answer;
    my ($verdict) = ($answer->{headers}{'x-guard'} // '-') =~ /^(\S*)/;
    $verdicts{"$answer->{status} $verdict"}++;
    return $answer;
};

# one is held for ten seconds; all else is done meanwhile
$look->(record('held', 1));
my $held = PatientGuard::client();
syswrite $held, PatientGuard::request(record('held', 2),
    'X-Account' => "$::raw{account}-1", Cookie => "sid=$::raw{token}");

for my $at (qw(allow log deny throttle status redirect page proof dry covered
               unmatched exempt))
{
    $look->(record($at, $_)) for 1 .. 3;
    $look->(record($at, 1));
}
$look->(record('redirect', 4), Accept => 'text/html',
        'Sec-Fetch-Mode' => 'navigate');
$look->(record('page', 4), Accept => 'text/html');
$look->(record('redirect', 4), Authorization => "Bearer $::raw{token}");
$look->(record('proof', 5), 'X-Proof' => CORE::time + 60);
$look->(record('exempt', 5), 'X-Exempt' => 1);
$look->("/$_/$::raw{uri}/$::raw{patient}?$::raw{args}")
    for qw(refuse ignore unmatched deny);
$look->(record('deny', 1), account => '');
$look->(record('deny', 1), account => $::raw{account} x 20);
$look->(record('deny', 1), account => "$::raw{account}\tx");
$look->(record('deny', CORE::join ",$::raw{patient}-", 1 .. 200)
        =~ s/&/CORE::join ',x', '', 1 .. 400/er . "&$::raw{args}");
$look->(record('deny', 1), method => 'HEAD');
$look->(record('deny', 3), method => 'POST', 'Content-Length' => 0);

IO::Select->new($held)->can_read(20 * ($ENV{PG_SLOW} // 1));
push @answers, PatientGuard::answer(do { local $/; <$held> } // '');
like($answers[-1]{headers}{'x-guard'}, qr/^throttle lookups/, 'one was held');
is($answers[-1]{status}, 200, 'and let through');

is(CORE::join(', ', sort keys %verdicts),
   '200 allow, 200 deny, 302 challenge, 400 deny, '
   . '401 challenge, 403 -, 403 challenge, 403 deny, 429 throttle',
   'all that the guard may decide');

# answers
my $all = CORE::join "\n\n", map { answered($_) } @answers;
is(traces($all), '', 'nobody is named in an answer');
like($all, qr/#abnormal-usage-detected"/, 'which were refusals as well');
like($all, qr/^x-guard: deny \S+ [0-9a-f]{32} [0-9a-f]{16} /m,
     'and bore aliases');
like($all, qr/^location: https:\/\/sso\.example\/step-up\?client=1&state=/m,
     'and a state');
like($all, qr/^www-authenticate: Bearer /m, 'and a step-up');

# the error log
my @lines = lines();
is(scalar(grep { index($_, ', request:') >= 0 } lines()), 0,
   'no line of the guard names the request');
is(traces(CORE::join '', lines()), '', 'nor anybody');
for my $said ('deny by limit', 'throttle by limit', 'challenge by limit',
              'deny \(dry run\) by limit', 'throttle after a delay|allow after a delay',
              'no account is given', 'too many patients')
{
    ok(scalar(grep { /$said/ } @lines), "it said: $said");
}
unlike(error_log(), qr/\[(?:error|crit|alert|emerg)\]/, 'nothing is wrong');
isnt(traces(error_log()), '', "(nginx' own lines do name them)");

# the access log
my $log = PatientGuard::slurp(server_root() . '/logs/guard.log');
is(traces($log), '', 'nobody is named in the access log');
cmp_ok(scalar(() = $log =~ /^\S+ \d+ \w+ \S+ \d+\/\d+ account=[0-9a-f]{32} patient=[0-9a-f]{16} source=(?:redis|local|cache) dry_run=[01]$/mg),
       '>', 40, 'but there are aliases');

# Redis
if (store() eq 'redis') {
    my ($keys, $text) = stored('$PG_PREFIX');
    is($keys, 13, 'a key for each policy that counted');
    is(traces($text), '', 'nobody is named in Redis');
    ok($text =~ /^patients\/3600$/m, 'but limits are');
    ok($text !~ /127\.0\.0\.1|localhost|unmatched\//,
       'and nothing else of a request');
}



=== TEST 2: while Redis is away, or ill
--- http_config eval
"log_format guard $::format;\n"
. CORE::join '', map {
    ::policy("away_$_", "redis unix:\$PG_TMP/nobody.sock;\n"
             . "on_outage $_;\nlimit patients=2/1h deny;")
    . ::policy("ill_$_", "redis \$PG_FAKE prefix=\$PG_PREFIX;\n"
               . "redis_timeout 5s;\n"
               . "on_outage $_;\nlimit patients=2/1h deny;")
} qw(local deny allow)
--- config eval
CORE::join '', map { ::location("away_$_") . ::location("ill_$_") }
         qw(local deny allow)
--- fake_redis
return unless @command;
return $peer->send($peer->real(@command)) unless $command[0] =~ /^EVAL/;
open my $log, '>>', '$PG_TMP/$PG_POLICY.wire';
print $log join "\0", @command, '';
close $log;
my $said = join ' ', map { "'$_'" } @command[0, 2 .. $#command];
$said =~ s/[^ -~]/./g;
$peer->send("-ERR unknown command, with args beginning with: $said\r\n");
--- after
my (@answers, %verdicts);
for my $at (map { ("away_$_", "ill_$_") } qw(local deny allow)) {
    for my $n (1 .. 3) {
        my $answer = look(record($at, $n));
        push @answers, $answer;
        $verdicts{"$at $answer->{status}"}++;
    }
}
is(CORE::join(', ', sort keys %verdicts),
   CORE::join(', ', map { ("${_}_allow 200", "${_}_deny 503",
                           "${_}_local 200", "${_}_local 403") }
              qw(away ill)), 'by on_outage');
is(traces(CORE::join "\n", map { answered($_) } @answers), '',
   'nobody is named in an answer');
is(scalar(grep { index($_, ', request:') >= 0 } lines()), 0,
   'no line of the guard names the request');
is(traces(CORE::join '', lines()), '', 'nor anybody');
for my $said ('is away: connect', 'answered "ERR unknown command, with args',
              'no store answers')
{
    ok(scalar(grep { /$said/ } lines()), "it said: $said");
}
is(traces(PatientGuard::slurp(server_root() . '/logs/guard.log')), '',
   'nobody is named in the access log');
my $wire = PatientGuard::slurp('$PG_TMP/$PG_POLICY.wire');
like($wire, qr/\0$PG_PREFIX:$PG_POLICY_ill_deny:\{[0-9a-f]{32}\}\0/,
     'Redis was asked');
is(traces($wire), '', 'but told of nobody');
unlink '$PG_TMP/$PG_POLICY.wire';



=== TEST 3: what the shared memory holds
--- policy
account  $http_x_account trusted;
zone     1m;
limit    patients=2/1h deny;
limit    lookups=100/1h challenge;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Alias $patient_guard_account always;
}
--- after
my $alias;
for my $n (1 .. 3) {
    $alias = look(record('x', $n))->{headers}{'x-alias'};
}
look("/x/$::raw{uri}/$::raw{patient}?$::raw{args}", account => 'durand');

# the one shared mapping of a megabyte is the zone
my ($worker) = PatientGuard::workers();
my @zones;
for (split /\n/, PatientGuard::slurp("/proc/$worker/maps")) {
    no warnings 'portable';
    my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw-s/ or next;
    push @zones, CORE::hex $from if CORE::hex($to) - CORE::hex($from) == 1 << 20;
}
is(scalar @zones, 1, 'the zone is found');

SKIP: {
    open my $memory, '<:raw', "/proc/$worker/mem"
        or skip("/proc/$worker/mem: $!", 2);
    sysseek $memory, $zones[0], 0;
    my $held = '';
    while (length $held < 1 << 20) {
        sysread $memory, $held, (1 << 20) - length $held, length $held
            or last;
    }
    my $bytes = pack 'H*', $alias;
    my ($one, $two) = unpack 'a8 a8', $bytes;
    ok(index($held, $bytes) >= 0
       || index($held, reverse($one) . reverse($two)) >= 0,
       'with the alias in it') or diag($alias, ' ', length $held);
    is(traces($held), '', 'nobody is named there');
}
