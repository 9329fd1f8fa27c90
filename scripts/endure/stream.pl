# MEGABYTES of response, and of request, stream through one worker, which
# looks into all of them: its memory stays what a megabyte takes.

use strict;
use warnings;
use Endure;

use Digest::MD5;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();

my $megabytes = scaled(MEGABYTES => 1024, 128);

use constant MEGABYTE => 1 << 20;

# a megabyte of a search: 500 patients, others in each

sub piece {
    my ($n) = @_;

    my $text = join ',', map {
        '{"resource":{"resourceType":"Patient","id":"' . ($n * 500 + $_)
            . '","text":"' . 'x' x 1900 . '"}}'
    } 1 .. 500;
    return $text . ' ' x (MEGABYTE - length $text);
}

my @pieces = map { piece($_) } 0 .. 7;

# a portal: /N answers N megabytes; a POST, the MD5 of its body

my $portal = "$tmp/portal.sock";

sub serve {
    my $server = IO::Socket::UNIX->new(Local => $portal, Listen => 8)
        or die "$portal: $!\n";

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(TERM PIPE);
    while (my $socket = $server->accept) {
        my ($head, $text) = ('', '');
        until ($head =~ /\r\n\r\n/) {
            sysread $socket, $head, 4096, length $head or last;
        }
        ($head, $text) = split /\r\n\r\n/, $head, 2;
        if ($head =~ m{^GET /(\d+)}) {
            print $socket "HTTP/1.0 200 OK\r\nContent-Length: "
                . $1 * MEGABYTE . "\r\n\r\n";
            print $socket $pieces[$_ % @pieces] for 0 .. $1 - 1;
        } else {
            my ($left) = $head =~ /^Content-Length: (\d+)/mi;
            my $md5 = Digest::MD5->new->add($text);
            $left -= length $text;
            while ($left > 0 && (my $n = sysread $socket, $text, 65536)) {
                $md5->add($text);
                $left -= $n;
            }
            my $hex = $md5->hexdigest;
            print $socket "HTTP/1.0 200 OK\r\nContent-Length: 32\r\n\r\n$hex";
        }
        close $socket;
    }
    POSIX::_exit(0);
}

my $pid = serve();

my $nginx = start_nginx('stream', workers => 1,
    http => policy(undef, 'zone 1m; limit patients=5000/1h log;'),
    server => <<"NGINX");
client_max_body_size 0;
patient_guard p;
patient_guard_unmatched ignore;
location /open/ {
    patient_guard_response_match  '"Patient","id":"(?<patient>[^"]{1,64})"';
    proxy_pass http://unix:$portal:/;
}
location /held/ {
    patient_guard_response_match  '"Patient","id":"(?<patient>[^"]{1,64})"';
    patient_guard_response_gate   on file=8g;
    proxy_pass http://unix:$portal:/;
}
location /posted/ {
    patient_guard_request_match  '"Nobody","id":"(?<patient>[^"]{1,64})"';
    proxy_pass http://unix:$portal:/;
}
NGINX

# the most that the worker has had since it was asked last, KiB

sub most {
    my ($worker) = workers($nginx);
    my ($most) = slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m;
    spew("/proc/$worker/clear_refs", 5);
    return $most;
}

sub ask {
    my ($method, $uri, $n) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $nginx->{port})
        or die "connect: $!\n";
    my $length = $method eq 'POST' ? $n * MEGABYTE : 0;
    print $socket "$method $uri HTTP/1.1\r\nHost: localhost\r\n"
        . "X-Account: dupont\r\nConnection: close\r\n"
        . "Content-Length: $length\r\n\r\n";
    my $md5 = Digest::MD5->new;
    if ($length) {
        for (0 .. $n - 1) {
            print $socket $pieces[$_ % @pieces];
            $md5->add($pieces[$_ % @pieces]);
        }
    }
    $socket->flush;

    my ($answer, $text, $size) = ('', '', 0);
    my $got = Digest::MD5->new;
    until ($answer =~ /\r\n\r\n/) {
        sysread $socket, $answer, 4096, length $answer or last;
    }
    my ($head, $begun) = split /\r\n\r\n/, $answer, 2;
    $got->add($begun // '');
    $size = length $begun;
    my $last = $begun;
    while (my $n = sysread $socket, $text, 1 << 20) {
        $got->add($text);
        $size += $n;
        $last = $text if $size < 100;
    }
    return { status => $head =~ m{ (\d+)} ? $1 : 0, size => $size,
             body => $last, sent => $md5->hexdigest, got => $got->hexdigest };
}

sub expected {
    my ($n) = @_;

    my $md5 = Digest::MD5->new;
    $md5->add($pieces[$_ % @pieces]) for 0 .. $n - 1;
    return $md5->hexdigest;
}

# the first ones bring what every later one needs

for ([open => 'GET', 2048], [held => 'GET', 4096], [posted => 'POST', 2048]) {
    my ($name, $method, $bound) = @$_;

    ask($method, "/$name/1", 1) for 1 .. 3;
    most();
    ask($method, "/$name/1", 1);
    my $before = most();
    my $answer = ask($method, "/$name/$megabytes", $megabytes);
    my $grown = most() - $before;

    check("$name: status", $answer->{status}, '==', 200);
    if ($method eq 'GET') {
        check("$name: MB, as they were",
              $answer->{got} eq expected($megabytes)
              ? $answer->{size} / MEGABYTE : -1, '==', $megabytes);
    } else {
        check("$name: MB, as they were",
              $answer->{body} eq $answer->{sent} ? $megabytes : -1,
              '==', $megabytes);
    }
    sanitized() ? told("$name: the worker's memory grew by, KiB", $grown)
        : check("$name: the worker's memory grew by, KiB", $grown, '<=', $bound);
}

check('complaints in the log', scalar(complaints($nginx)), '==', 0,
      complaints($nginx));
kill 'TERM', $pid;
waitpid $pid, 0;
check('it stops when told to', stop_nginx($nginx) ? 1 : 0, '==', 1);
