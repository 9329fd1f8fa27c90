package Servers;

# What the parts measure: servers, each on the core it is told, the clients
# that ask them, and what the kernel knows of their time.  All of it lives in
# $BENCH_TMP and ends, by its pid, with the part.

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use IO::Handle;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

use lib dirname(__FILE__) . '/..';
use Files;
use RedisClient;

our @EXPORT = qw(sleep time slurp spew wait_for start stop free_port listening
                 children start_nginx complaints worker
                 start_redis redis start_haproxy start_client
                 told lookups hang_up get busy waited $tmp);

our $tmp = $ENV{BENCH_TMP} // '/nowhere';

my (%started, @sockets);

$| = 1;
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';


# --- processes

sub wait_for {
    my ($condition, $seconds) = @_;

    my $end = time + ($seconds // 20);
    my $value;
    until ($value = $condition->()) {
        return $value if time > $end;
        sleep 0.01;
    }
    return $value;
}

# on these cores ("0", "0,1"), its output in a file; in a group of its own, so
# that a terminal's signals are ours alone

sub start {
    my ($cores, $out, @command) = @_;

    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        open STDOUT, '>>', $out;
        open STDERR, '>&', \*STDOUT;
        exec 'taskset', '-c', $cores, @command or POSIX::_exit(127);
    }
    $started{$pid} = 1;
    return $pid;
}

sub reaped {
    my ($pid) = @_;

    return 1 unless $started{$pid};
    waitpid($pid, POSIX::WNOHANG) or return 0;
    delete $started{$pid};
    return 1;
}

sub stop {
    my (@pids) = @_;

    kill 'TERM', $_ for @pids;
    wait_for(sub { !grep { !reaped($_) } @pids }, 10) and return;
    kill 'KILL', $_ for @pids;
    wait_for(sub { !grep { !reaped($_) } @pids }, 10);
}

END {
    my $status = $?;

    stop(keys %started) if keys %started;
    $? = $status;
}

sub children {
    my ($parent) = @_;

    return grep { slurp("/proc/$_/stat") =~ /.*\) [^ZX] $parent / }
        map { m{(\d+)$} } glob '/proc/[0-9]*';
}

# ns that a process, or the threads of its that are no helpers', has run; and
# for how many it was ready, but others had its core

sub schedstat { return split ' ', slurp("/proc/$_[0]/schedstat") }
sub busy { return (schedstat($_[0]))[0] // die "bench: $_[0] has gone\n" }
sub waited { return (schedstat($_[0]))[1] }


# --- servers

# so many that nobody has, held until they are asked for

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die "no free port: $!\n";
    push @sockets, $socket;
    return $socket->sockport;
}

sub listening {
    my ($port, $pid, $log) = @_;

    wait_for(sub {
        die slurp($log) if reaped($pid);
        return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
    }, 60) or die "bench: nobody listens: " . slurp($log);
}

# name, http => '...' with at least one server, port => one of its, and what
# may be said else: main, log (level), workers, cores, under => [a command that
# runs it]

sub start_nginx {
    my ($name, %is) = @_;

    my $dir = "$tmp/$name";
    mkdir $dir;
    my $paths = join '', map { "    ${_}_temp_path  $dir/$_;\n" }
                qw(client_body proxy fastcgi uwsgi scgi);
    spew("$dir/nginx.conf", <<"NGINX");
${\($is{main} // '')}
${\($< == 0 ? 'user root;' : '')}
worker_processes  ${\($is{workers} // 1)};
daemon            off;
pid               $dir/pid;
error_log         $dir/error.log ${\($is{log} // 'warn')};
events { worker_connections 4096; }
http {
    access_log          off;
    keepalive_requests  1000000000;
    keepalive_timeout   3600s;
    client_header_timeout  3600s;
    default_type        application/fhir+json;
$paths
    $is{http}
}
NGINX
    close $_ for splice @sockets;
    my $pid = start($is{cores} // 1, "$dir/out", @{ $is{under} // [] },
        $ENV{BENCH_NGINX}, '-p', $dir, '-e', "$dir/error.log",
        '-c', "$dir/nginx.conf");
    my $nginx = { %is, pid => $pid, dir => $dir, log => "$dir/error.log" };
    listening($is{port}, $pid, "$dir/out");
    wait_for(sub {
        $nginx->{workers_pids} = [children($pid)];
        return @{ $nginx->{workers_pids} } == ($is{workers} // 1);
    }, 60) or die "bench: no workers: " . slurp($nginx->{log});
    return $nginx;
}

# what its log says that it should not; one warning is meant for others, who
# have a session to take the proof from

sub complaints {
    my ($server) = @_;

    return join '', grep { !/"proof \$\w+" is what the client says of itself/ }
        slurp($server->{log}) =~ /(.*\n)/g;
}

sub worker { return $_[0]{workers_pids}[0] }

sub start_redis {
    my ($cores, $name) = @_;

    my $dir = "$tmp/$name";
    mkdir $dir;
    my $port = free_port();
    close $_ for splice @sockets;
    my $redis = { sock => "$dir/sock", port => $port };
    $redis->{pid} = start($cores, "$dir/log", 'redis-server', '--port', $port,
        '--bind', '127.0.0.1', '--unixsocket', $redis->{sock}, '--dir', $dir,
        '--save', '', '--loglevel', 'warning');
    wait_for(sub {
        die 'redis: ' . slurp("$dir/log") if reaped($redis->{pid});
        return eval { redis($redis, 'PING') eq 'PONG' };
    }) or die 'redis: ' . slurp("$dir/log");
    return $redis;
}

sub start_haproxy {
    my ($name, $cores, $port, $text) = @_;

    my $dir = "$tmp/$name";
    mkdir $dir;
    spew("$dir/conf", $text);
    close $_ for splice @sockets;
    my $pid = start($cores, "$dir/out", 'haproxy', '-db', '-f', "$dir/conf");
    listening($port, $pid, "$dir/out");
    return { pid => $pid, port => $port, workers_pids => [$pid], dir => $dir,
             log => "$dir/none" };
}


# --- who asks: see load.c

sub start_client {
    my ($cores, $port, @options) = @_;

    my ($theirs, $to, $from, $out);
    pipe($theirs, $to) && pipe($from, $out)
        or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        open STDIN, '<&', $theirs;
        open STDOUT, '>&', $out;
        close $_ for $theirs, $to, $from, $out;
        exec 'taskset', '-c', $cores, "$ENV{BENCH_BUILD}/load", @options, $port
            or POSIX::_exit(127);
    }
    $started{$pid} = 1;
    close $theirs;
    close $out;
    $to->autoflush(1);
    my $client = { pid => $pid, to => $to, from => $from };
    heard($client) eq 'ready' or die "bench: the client is not ready\n";
    return $client;
}

sub heard {
    my ($client) = @_;

    my $line = readline($client->{from}) // die "bench: the client gave up\n";
    chomp $line;
    return $line;
}

sub told { my ($client, $line) = @_; print { $client->{to} } "$line\n" }

# n => how many; known (per cent), rate (a second), status: as load.c has them.
# It dies if one had another status.

sub lookups {
    my ($client, %of) = @_;

    my $status = $of{status} // 200;
    told($client, join ' ', 'lookups', $of{n}, $of{known} // 0,
         $of{rate} // 0, $status);
    my %was;
    @was{qw(wanted others fresh us median p99 most)} =
        split ' ', heard($client);
    $was{wanted} == $of{n} && !$was{others} or die "bench: of $of{n} answers "
        . "$was{others} are no $status\n";
    return \%was;
}

sub hang_up {
    my ($client) = @_;

    close $client->{to};
    wait_for(sub { reaped($client->{pid}) }) or stop($client->{pid});
}

# the body of one answer, over a connection that is kept

my %kept;

sub get {
    my ($port, $uri) = @_;

    my $to = $kept{$port} //= IO::Socket::INET->new(
        PeerAddr => "127.0.0.1:$port") || die "port $port: $!\n";
    print $to "GET $uri HTTP/1.1\r\nHost: localhost\r\n\r\n";
    $to->flush;
    my $head = '';
    while (my $line = <$to>) {
        last if $line eq "\r\n";
        $head .= $line;
    }
    my ($length) = $head =~ /^Content-Length: (\d+)/mi;
    $head =~ m{^HTTP/1.1 200 } && defined $length
        or die "bench: $uri: " . ($head || 'no answer') . "\n";
    read $to, my ($body), $length;
    return $body;
}

1;
