# Processor time of one worker for a megabyte of response that it looks into,
# beside the same megabyte that it only forwards, and beside sub_filter.
#
# Each row is asked for once in each round, over one connection that stays
# open; the ratio is to "proxy_pass" of the same round.  The time is the
# kernel's own of the worker, /proc/PID/schedstat, in ns.

use strict;
use warnings;

use IO::Socket::UNIX;
use List::Util qw(max min);
use Time::HiRes qw(sleep);

my $tmp    = $ENV{BENCH_TMP} // die "started by make bench\n";
my $rounds = $ENV{ROUNDS} || ($ENV{SHORT} ? 3 : 7);
my $bytes  = ($ENV{SHORT} ? 8 : 48) << 20;      # for a row of a round

my %SIZES = ('10 KB' => 10 << 10, '100 KB' => 100 << 10, '1 MB' => 1 << 20);

my $PATTERN = '"Patient/(?<patient>[A-Za-z0-9.-]{1,64})"';

my @ROWS = (
    ['proxy_pass' => ''],
    ['the guard, responses not counted' => 'patient_guard p;'],
    ['response_match, by "Patient/..."' =>
     "patient_guard p; patient_guard_response_match '$PATTERN';"],
    ['response_match kind=nir' => 'patient_guard p; '
     . q(patient_guard_response_match '(?<![0-9])(?<patient>[1-8][0-9]{14})(?![0-9])' kind=nir;)],
    ['response_match, with a gate' => 'patient_guard p; '
     . "patient_guard_response_match '$PATTERN'; patient_guard_response_gate on buffer=2m;"],
    ['sub_filter, nothing found' =>
     q(sub_filter 'Nobody/' 'nobody/'; sub_filter_once off; sub_filter_types *;)],
    ['sub_filter, each replaced' =>
     q(sub_filter 'Patient/' 'patient/'; sub_filter_once off; sub_filter_types *;)],
);

# --- searches: some 800 bytes for an entry, half of them say who

sub bundle {
    my ($size) = @_;

    my ($text, $n) = ('{"resourceType":"Bundle","type":"searchset","entry":[', 0);
    while (length $text < $size - 1000) {
        my $nir = sprintf '%d%02d%02d75%03d%03d', 1 + $n % 2, 20 + $n % 80,
                          1 + $n % 12, $n % 990, $n / 7 % 990;
        $text .= sprintf '%s{"fullUrl":"https://portal.example/fhir/Patient/p%d",'
            . '"resource":{"resourceType":"Observation","id":"o%d","status":"final",'
            . '"identifier":[{"system":"urn:oid:1.2.250.1.213.1.4.8","value":"%s%02d"}],'
            . '"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}],'
            . '"text":"Blood pressure panel with all children optional"},'
            . '"subject":{"reference":"Patient/p%d"},"effectiveDateTime":'
            . '"2026-11-%02dT09:30:10+01:00","note":[{"text":"%s"}]}}',
            $n ? ',' : '', $n, $n, $nir, 97 - $nir % 97, $n, 1 + $n % 28,
            'measured twice, sitting, after five minutes of rest; ' x 5;
        $n++;
    }
    return "$text]}";
}

sub spew {
    my ($path, $text) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

sub slurp {
    open my $file, '<', $_[0] or return '';
    local $/;
    return <$file> // '';
}

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

sub stop {
    local $?;
    for my $pid (grep { $_ } values %pids) {
        kill 'QUIT', $pid;
        for (1 .. 500) { kill 0, $pid or last; sleep 0.02 }
    }
}

END { stop() }
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub worker {
    my ($pid) = map { m{/(\d+)/} } grep {
        slurp($_) =~ /.*\) \w $pids{front} / } glob '/proc/[0-9]*/stat';
    return $pid // die "no worker\n";
}

my $client;
my $asked = 0;

# asks for a body until so many bytes have come

sub ask {
    my ($uri, $size, $n) = @_;

    $client //= IO::Socket::UNIX->new(Peer => "$tmp/front/sock")
        or die "connect: $!\n";

    for (1 .. $n) {
        my $account = 'a' . $asked++ % 50;
        syswrite $client, "GET $uri HTTP/1.1\r\nHost: localhost\r\n"
            . "X-Account: $account\r\n\r\n";
        my $text = '';
        until ($text =~ /\r\n\r\n/) {
            sysread $client, $text, 1 << 20, length $text
                or die "no answer to $uri\n" . slurp("$tmp/front/error.log");
        }
        my ($head, $body) = split /\r\n\r\n/, $text, 2;
        $head =~ m{ 200 OK} or die "$uri: $head\n";
        if ($head =~ /^Content-Length: (\d+)/mi) {
            my $left = $1 - length $body;
            while ($left > 0) {
                $left -= sysread($client, $text, 1 << 20) || die "$uri ends\n";
            }
        } else {
            $body = substr $body, -7;
            until ($body =~ /\r\n0\r\n\r\n\z/) {
                sysread($client, $text, 1 << 20) || die "$uri ends\n";
                $body = substr $body . $text, -7;
            }
        }
    }
}

mkdir "$tmp/html";
spew("$tmp/html/$_", bundle($_)) for values %SIZES;

start('pages', "server { listen unix:$tmp/pages/sock; root $tmp/html; }");
start('front', <<"NGINX" . join('', map { <<"LOCATION" } 0 .. $#ROWS) . '}');
patient_guard_policy p {
    account  \$http_x_account trusted;
    zone     64m;
    limit    patients=3000/1h deny;
    limit    lookups=4000000000/1h deny;
}
upstream pages { server unix:$tmp/pages/sock; keepalive 4; }
server {
    listen              unix:$tmp/front/sock;
    proxy_http_version  1.1;
    proxy_max_temp_file_size  0;
    proxy_set_header    Connection "";
NGINX
    location /$_/ { proxy_pass http://pages/; $ROWS[$_][1] }
LOCATION

my $worker = worker();

sub used { (split ' ', slurp("/proc/$worker/schedstat"))[0] }

my %ns;

for my $name (sort { $SIZES{$a} <=> $SIZES{$b} } keys %SIZES) {
    my $size = -s "$tmp/html/$SIZES{$name}";
    my $n = int($bytes / $size) || 1;

    ask("/$_/$SIZES{$name}", $size, min($n, 20)) for 0 .. $#ROWS;
    for my $round (1 .. $rounds) {
        for my $row (0 .. $#ROWS) {
            my $before = used();
            ask("/$row/$SIZES{$name}", $size, $n);
            push @{$ns{$name}[$row]}, (used() - $before) / ($n * $size / (1 << 20));
        }
    }
}

sub median { (sort { $a <=> $b } @_)[$#_ / 2] }

print "Processor time of a worker for a megabyte of response, as a ratio to ",
      "proxy_pass of the\nsame round: median of $rounds rounds (least to most).  ",
      "In brackets ms, the median.\n\n";
printf "%-34s %-28s %-28s %-28s\n", '', map { "bodies of $_" }
    sort { $SIZES{$a} <=> $SIZES{$b} } keys %SIZES;
for my $row (0 .. $#ROWS) {
    printf "%-34s", $ROWS[$row][0];
    for my $name (sort { $SIZES{$a} <=> $SIZES{$b} } keys %SIZES) {
        my @ratios = map { $ns{$name}[$row][$_] / $ns{$name}[0][$_] } 0 .. $rounds - 1;
        printf ' %-28s', sprintf '%.2f (%.2f to %.2f) [%.2f]', median(@ratios),
            min(@ratios), max(@ratios), median(@{$ns{$name}[$row]}) / 1e6;
    }
    print "\n";
}

my $log = slurp("$tmp/front/error.log");
die "bench: the error log says: $log\n" if $log ne '';
