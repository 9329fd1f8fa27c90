# Processor time of one worker for a megabyte of response that it looks into,
# beside the same megabyte that it only forwards, and beside sub_filter.
#
# Each row is asked for once in each round, forth and back in turn, over four
# connections; the ratio is to "proxy_pass" of the same round.  The time is the
# kernel's own of the worker, /proc/PID/schedstat, in ns.  It ends with an
# error if an answer is not 200 and whole, or if not each of its patients has
# been counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/..";

use Files;
use IO::Socket::UNIX;
use List::Util qw(max min);
use Time::HiRes qw(sleep);

my $tmp    = $ENV{BENCH_TMP} // die "started by make bench\n";
my $rounds = $ENV{ROUNDS} || 7;
my $seed   = $ENV{SEED} || 1;
my $bytes  = ($ENV{SHORT} ? 12 : 64) << 20;      # for a row of a round

my @SIZES = (['10 KB', 10 << 10], ['100 KB', 100 << 10], ['1 MB', 1 << 20]);

# of so many entries of a search one is a patient's
my @SEARCHES = (['few patients', 10], ['many patients', 1]);

my $PATTERN = '"Patient/(?<patient>[A-Za-z0-9.-]{1,64})"';
my $NIR     = '(?<![0-9])(?<patient>[1-8][0-9]{12}[0-9]{2})(?![0-9])';

# what it is called, its directives, what is counted: nothing, the URI, or what
# a body has of "reference" or "nir"
my @ROWS = (
    ['proxy_pass', ''],
    ['the guard, responses not counted', 'patient_guard p;', 'uri'],
    ['response_match, by "Patient/..."', 'patient_guard p; '
     . "patient_guard_response_match '$PATTERN';", 'reference'],
    ['response_match kind=nir', 'patient_guard p; '
     . "patient_guard_response_match '$NIR' kind=nir;", 'nir'],
    ['response_match, with a gate', 'patient_guard p; '
     . "patient_guard_response_match '$PATTERN'; "
     . 'patient_guard_response_gate on buffer=2m;', 'reference'],
    ['sub_filter, nothing found', q(sub_filter 'Nobody/' 'nobody/'; )
     . 'sub_filter_once off; sub_filter_types *;'],
    ['sub_filter, each replaced', q(sub_filter 'Patient/' 'patient/'; )
     . 'sub_filter_once off; sub_filter_types *;'],
);

# --- searches: some 800 bytes for an entry, nobody in it exists

srand $seed;

# all that a row is asked for: { text, of ({ reference => [...] }), requests }
my @bodies;

sub entry {
    my ($n, $who) = @_;

    my $id = sprintf '%d-%06x', $n, rand 1 << 24;
    my $subject = ($who ? 'Patient' : 'Device') . "/$id";
    my $nir = sprintf '%d%02d%02d75%03d%03d', 1 + rand 2, rand 100,
        1 + rand 12, 1 + rand 990, 1 + rand 999;
    $nir .= sprintf '%02d', 97 - $nir % 97;
    push @{$who->{reference}}, $subject if $who;
    push @{$who->{nir}}, $nir if $who;

    my $identifier = $who
        ? qq({"system":"urn:oid:1.2.250.1.213.1.4.8","value":"$nir"})
        : qq({"system":"urn:oid:1.2.250.1.213.1.4.9","value":"S-$id-7"});
    return qq({"fullUrl":"https://portal.example/fhir/$subject","resource":{)
        . qq("resourceType":"Observation","id":"o-$id","status":"final",)
        . qq("identifier":[$identifier],"code":{"coding":[{"system":)
        . '"http://loinc.org","code":"85354-9"}],"text":"Blood pressure panel '
        . qq(with all children optional"},"subject":{"reference":"$subject"},)
        . sprintf('"effectiveDateTime":"2026-11-%02dT09:%02d:10+01:00",',
                  1 + rand 28, rand 60)
        . '"note":[{"text":"'
        . 'measured twice, sitting, after five minutes of rest; ' x 5
        . '"}]}}';
}

sub bundle {
    my ($size, $every) = @_;

    my %of = (reference => [], nir => []);
    my $text = '{"resourceType":"Bundle","type":"searchset","entry":[';
    for (my $n = 0; length $text < $size - 1000; $n++) {
        $text .= ($n ? ',' : '') . entry($n, $n % $every ? undef : \%of);
    }
    $text .= ']}';
    return { text => $text, of => \%of,
             requests => int($bytes / length $text) || 1 };
}

sub uniq { my %is = map { $_ => 1 } @_; return keys %is }

# --- two servers

my %pids;

sub start {
    my ($name, $http) = @_;

    my $dir = "$tmp/$name";
    mkdir $dir;
    my $module = $name eq 'front' ? "load_module $ENV{BENCH_MODULE};" : '';
    my $paths = join '', map { "${_}_temp_path $dir/$_;\n" }
                qw(client_body proxy fastcgi uwsgi scgi);
    spew("$dir/nginx.conf", <<"NGINX");
$module
@{[$< == 0 ? 'user root;' : '']}
worker_processes  1;
pid               $dir/pid;
error_log         $dir/error.log warn;
events { worker_connections 512; }
http {
    access_log          off;
    sendfile            on;
    keepalive_requests  1000000000;
    keepalive_timeout   3600s;
    default_type        application/fhir+json;
    $paths
    $http
}
NGINX
    system($ENV{BENCH_NGINX}, '-p', $dir, '-e', "$dir/error.log",
           '-c', "$dir/nginx.conf") == 0 or die "nginx: " . slurp("$dir/error.log");
    for (1 .. 500) {
        ($pids{$name}) = slurp("$dir/pid") =~ /(\d+)/ and -S "$dir/sock"
            and return;
        sleep 0.02;
    }
    die "nginx does not start: " . slurp("$dir/error.log");
}

# told again and again: a signal may be lost while it starts

sub stop {
    local $?;
    for my $pid (grep { $_ } values %pids) {
        for (1 .. 500) { kill 'TERM', $pid or last; sleep 0.02 }
    }
}

END { stop() }
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# the pid file may be there before it is

sub worker {
    for (1 .. 500) {
        my ($pid) = map { m{/(\d+)/} } grep {
            slurp($_) =~ /.*\) \w $pids{front} / } glob '/proc/[0-9]*/stat';
        return $pid if $pid;
        sleep 0.02;
    }
    die "no worker\n";
}

# one answer, by hand

sub get {
    my ($uri, $row) = @_;

    my $client = IO::Socket::UNIX->new(Peer => "$tmp/front/sock")
        or die "connect: $!\n";
    print $client "GET $uri HTTP/1.0\r\nX-Account: row$row\r\n\r\n";
    $client->flush;
    my ($head, $body) = split /\r\n\r\n/, do { local $/; <$client> // '' }, 2;
    ($head // '') =~ m{^HTTP/1.1 200 }
        or die "bench: $uri: " . ($head // 'no answer') . "\n";
    return ($head, $body);
}

# many, all of them 200 and whole

sub load {
    my ($row, $body, $n) = @_;

    my $uri = "http://localhost/$row/$body";
    my $said = slurp_command('h2load', '--h1', '-n', $n, '-c', min($n, 4),
        '-B', "unix:$tmp/front/sock", '-H', "X-Account: row$row", $uri);
    my $size = $n * length $bodies[$body]{text};
    $said =~ /^status codes: $n 2xx/m && $said =~ /\($size\) data/
        or die "bench: $ROWS[$row][0]: not all is well:\n$said";
}

sub slurp_command {
    open my $out, '-|', @_ or die "$_[0]: $!\n";
    local $/;
    return <$out> // '';
}

mkdir "$tmp/html";
for my $search (@SEARCHES) {
    for my $size (@SIZES) {
        push @bodies, bundle($size->[1], $search->[1]);
        spew("$tmp/html/$#bodies", $bodies[-1]{text});
    }
}

start('pages', "server { listen unix:$tmp/pages/sock; root $tmp/html; }");
start('front', <<"NGINX" . join('', map { <<"LOCATION" } 0 .. $#ROWS) . '}');
patient_guard_policy p {
    account  \$http_x_account trusted;
    zone     64m;
    limit    patients=10000/1h deny;
    limit    lookups=\$arg_lookups/1h default=4000000000 deny;
}
upstream pages { server unix:$tmp/pages/sock; keepalive 8; }
server {
    listen              unix:$tmp/front/sock;
    proxy_http_version  1.1;
    proxy_max_temp_file_size  0;
    proxy_set_header    Connection "";
    location ~ ^/counted/ {
        patient_guard            p;
        patient_guard_dry_run    on;
        patient_guard_unmatched  ignore;
        patient_guard_response_match  "(?<patient>nobody)";
        add_header               X-Counted \$patient_guard_count;
        empty_gif;
    }
NGINX
    location /$_/ { proxy_pass http://pages/; $ROWS[$_][1] }
LOCATION

my $worker = worker();

sub used { (split ' ', slurp("/proc/$worker/schedstat"))[0] }

# --- the rounds

my (%ns, @asked);

for my $body (0 .. $#bodies) {
    my ($text, $n) = @{$bodies[$body]}{qw(text requests)};

    for my $row (0 .. $#ROWS) {
        my (undef, $got) = get("/$row/$body", $row);
        lc $got eq lc $text or die "bench: $ROWS[$row][0]: another body\n";
        load($row, $body, min($n, 20));
        $asked[$row][$body] = 1 + min($n, 20);
    }
    for my $round (1 .. $rounds) {
        for my $row ($round % 2 ? 0 .. $#ROWS : reverse 0 .. $#ROWS) {
            my $before = used();
            load($row, $body, $n);
            push @{$ns{$body}[$row]},
                (used() - $before) / ($n * length($text) / (1 << 20));
            $asked[$row][$body] += $n;
        }
    }
}

# --- has each been counted?

for my $row (0 .. $#ROWS) {
    my $what = $ROWS[$row][2] // next;
    my ($lookups, @patients) = (0);
    for my $body (0 .. $#bodies) {
        my @each = $what eq 'uri' ? $body : uniq(@{$bodies[$body]{of}{$what}});
        $lookups += $asked[$row][$body] * @each;
        push @patients, @each;
    }
    my $patients = uniq(@patients);

    # of two limits it tells the one that has less room
    for (['patients', $patients, ''],
         ['lookups', $lookups, '?lookups=' . ($lookups + 1)])
    {
        my ($signal, $expected, $args) = @$_;
        my ($head) = get("/counted/$args", $row);
        my ($counted) = $head =~ /^X-Counted: (\d+)/m;
        ($counted // -1) == $expected
            or die "bench: $ROWS[$row][0]: $signal: " . ($counted // 'none')
                   . " were counted, not $expected\n";
    }
}

# --- the table

sub median { (sort { $a <=> $b } @_)[$#_ / 2] }

print "Processor time of a worker for a megabyte of response, as a ratio to ",
      "proxy_pass of\nthe same round: median of $rounds rounds (least-most), ",
      "and the time itself in ms\n\n";
for my $search (0 .. $#SEARCHES) {
    my @columns = map { $search * @SIZES + $_ } 0 .. $#SIZES;
    printf "%-34s" . ' %-24s' x @SIZES . "\n", $SEARCHES[$search][0],
        map { sprintf '%s (%d)', $SIZES[$_][0],
              scalar @{$bodies[$columns[$_]]{of}{nir}} } 0 .. $#SIZES;
    for my $row (0 .. $#ROWS) {
        printf "%-34s", "  $ROWS[$row][0]";
        for my $body (@columns) {
            my @ratios = map { $ns{$body}[$row][$_] / $ns{$body}[0][$_] }
                         0 .. $rounds - 1;
            printf ' %-24s', sprintf '%.2f (%.2f-%.2f) %6.2f',
                median(@ratios), min(@ratios), max(@ratios),
                median(@{$ns{$body}[$row]}) / 1e6;
        }
        print "\n";
    }
    print "\n" if $search < $#SEARCHES;
}

my $log = slurp("$tmp/front/error.log");
die "bench: the error log says: $log\n" if $log ne '';
