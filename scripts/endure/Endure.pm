package Endure;

# What the parts share: an nginx and a Redis of their own, clients, what the
# kernel knows of a process, and the table.  scripts/endure/run starts them.

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

use lib dirname(__FILE__) . '/..';
use Files;
use RedisClient;

our @EXPORT = qw(sleep time slurp spew wait_for scaled check told heading
                 sanitized start_redis stop_redis redis counted sent
                 start_nginx stop_nginx configure policy workers same
                 children reload alive fds anon complaints status
                 get start_client finish walk $tmp);

our $tmp = $ENV{ENDURE_TMP} // die "started by make endure\n";
our $part = $0 =~ s{.*/}{}r =~ s{\.pl$}{}r;

my ($failed, $checks, $names) = (0, 0, 0);
my (%started, @sockets);

$| = 1;
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';


# --- figures and the table

# what a variable says, or the full figure, or that for SHORT=1

sub scaled {
    my ($variable, $full, $short) = @_;

    return $ENV{$variable} || ($ENV{SHORT} ? $short : $full);
}

sub row {
    my ($what, $figure, $bound, $said) = @_;

    printf "%-8s %-58s %12s  %-12s %s\n", $part, $what, $figure, $bound,
        $said;
}

sub told { row($_[0], $_[1], '', '') }

# check('what', figure, '==', bound, [why]): a line of the table

sub check {
    my ($what, $figure, $op, $bound, @why) = @_;

    my %is = ('==' => $figure == $bound, '<=' => $figure <= $bound,
              '>=' => $figure >= $bound);
    my $passed = $is{$op} // die "no $op\n";

    row($what, $figure, ($op eq '==' ? '' : "$op ") . $bound,
        $passed ? 'ok' : 'FAIL');
    $checks++;

    if (!$passed) {
        $failed++;
        print map { "         | $_\n" } grep { length } map { split /\n/ }
            @why > 20 ? (@why[0 .. 19], '...') : @why;
    }
    return $passed;
}

# memory under a sanitizer tells of the sanitizer

sub sanitized { $ENV{ENDURE_SANITIZED} }


# --- time

sub wait_for {
    my ($condition, $seconds) = @_;

    my $end = time + ($seconds // 10) * (sanitized() ? 3 : 1);
    my $value;
    until ($value = $condition->()) {
        return $value if time > $end;
        sleep 0.01;
    }
    return $value;
}


# --- processes

# in a group of its own, so that a terminal's signals are ours alone

sub start {
    my ($out, @command) = @_;

    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        open STDOUT, '>', $out;
        open STDERR, '>>', "$out.err";
        exec @command or POSIX::_exit(127);
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

# also what is no child of ours: a master that became a daemon

sub alive {
    my ($pid) = @_;

    return slurp("/proc/$pid/stat") =~ /\) [^ZX] / ? 1 : 0;
}

sub children {
    my ($parent) = @_;

    return grep { slurp("/proc/$_/stat") =~ /\) [^ZX] $parent / }
        map { m{(\d+)$} } glob '/proc/[0-9]*';
}

# worker processes, not a new master

sub workers {
    my ($nginx) = @_;

    return grep { slurp("/proc/$_/cmdline") =~ /worker process/ }
        children($nginx->{pid});
}

# 1 if its workers are still these

sub same {
    my ($nginx, @pids) = @_;

    my %is = map { $_ => 1 } workers($nginx);
    return keys %is == @pids && !grep({ !$is{$_} } @pids) ? 1 : 0;
}

sub fds {
    my ($pid) = @_;

    return scalar(() = glob "/proc/$pid/fd/*");
}

# KiB of memory that is not shared: the zone's pages are not in it

sub anon {
    my ($pid) = @_;

    return slurp("/proc/$pid/status") =~ /^RssAnon:\s*(\d+)/m ? $1 : 0;
}

END {
    my $status = $?;

    for my $pid (keys %started) {
        kill $_, -$pid for qw(TERM CONT);
    }
    wait_for(sub { !grep { !reaped($_) } keys %started }, 5);
    for my $pid (keys %started) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }
    for my $file (glob "$tmp/*/nginx.pid") {
        my ($pid) = slurp($file) =~ /(\d+)/ or next;
        kill 'TERM', $pid;
    }

    $? = $status || ($failed ? 1 : !$checks);
}


# --- Redis

sub start_redis {
    my ($name, @options) = @_;

    my $dir = "$tmp/$name";
    mkdir $dir;
    my $redis = { sock => "$dir/redis.sock", dir => $dir };
    $redis->{pid} = start("$dir/log", 'redis-server', '--port', 0,
        '--unixsocket', $redis->{sock}, '--dir', $dir, '--save', '',
        '--enable-debug-command', 'yes', @options);
    wait_for(sub { eval { redis($redis, 'PING') eq 'PONG' } })
        or die "redis: " . slurp("$dir/log");
    return $redis;
}

sub stop_redis {
    my ($redis, $signal) = @_;

    delete $redis->{client};
    kill $_, $redis->{pid} for $signal // 'TERM', 'CONT';
    wait_for(sub { reaped($redis->{pid}) }) or die "redis does not stop\n";
}

# what was counted in a field, of each account: { alias => total }

sub counted {
    my ($redis, $field) = @_;

    my ($cursor, %counted) = (0);
    do {
        my $found = redis($redis, 'EVAL', <<'END_OF_SCRIPT', 0, $cursor, $field);
local found = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
local totals = {found[1]}
for _, key in ipairs(found[2]) do
    local held = redis.call('HGET', key, ARGV[2])
    if held then
        totals[#totals + 1] = key
        totals[#totals + 1] = tostring((select(2, struct.unpack('<I8I4', held))))
    end
end
return totals
END_OF_SCRIPT
        $cursor = shift @$found;
        my %some = @$found;
        $counted{/\{(\w+)\}/ ? $1 : $_} = $some{$_} for keys %some;
    } while ($cursor);

    return \%counted;
}

# scripts that were called for nginx, and did not fail

sub sent {
    my ($redis) = @_;

    my $stats = redis($redis, 'INFO', 'commandstats');
    my $n = 0;
    while ($stats =~ /^cmdstat_(eval|evalsha):calls=(\d+).*?rejected_calls=(\d+),failed_calls=(\d+)/mg) {
        $n += $2 - $4;
    }
    return $n;
}


# --- nginx

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die "no free port: $!\n";
    push @sockets, $socket;
    return $socket->sockport;
}

# a policy's block: where it counts, what it limits

sub policy {
    my ($redis, $rest, $name) = @_;

    $name //= 'p';
    my $key = "$tmp/secret";
    if (!-e $key) {
        my $umask = umask 077;
        spew($key, join '', map { chr(97 + rand 26) } 1 .. 40);
        umask $umask;
    }

    my $store = !$redis ? '' : "secret $key;\n redis unix:"
        . (ref $redis ? $redis->{sock} : $redis) . " prefix=e;\n"
        . ($rest =~ /redis_timeout/ ? '' : " redis_timeout 20s;\n");
    return "patient_guard_policy $name {\n"
        . " account \$http_x_account trusted;\n $store $rest\n}\n";
}

# name, http => '...', and what may be said else: workers, main, server,
# location, log (level), ports (how many), daemon

sub start_nginx {
    my ($name, %is) = @_;

    my $nginx = { %is, name => $name, dir => "$tmp/$name" };
    mkdir $nginx->{dir};
    $nginx->{ports} = [map { free_port() } 1 .. $is{ports} // 1];
    close $_ for splice @sockets;
    $nginx->{port} = $nginx->{ports}[0];
    configure($nginx);

    $nginx->{binary} = $ENV{ENDURE_NGINX};
    $nginx->{started} = start("$nginx->{dir}/out", $nginx->{binary},
        '-p', $nginx->{dir}, '-c', "$nginx->{dir}/nginx.conf",
        '-e', "$nginx->{dir}/error.log");

    # all workers, for whoever wants to know them
    my $n = $is{main} && $is{main} =~ /master_process off/ ? 0
          : ($is{workers} // 4) eq 'auto' ? `nproc` + 0 : $is{workers} // 4;
    wait_for(sub {
        ($nginx->{pid}) = slurp("$nginx->{dir}/nginx.pid") =~ /(\d+)/;
        return $nginx->{pid} && eval {
            get($nginx, '/started')->{status} == 204
        } && (workers($nginx) == $n);
    }) or die "nginx: " . slurp("$nginx->{dir}/out.err")
              . slurp("$nginx->{dir}/error.log");
    return $nginx;
}

sub configure {
    my ($nginx, %is) = @_;

    $nginx->{$_} = $is{$_} for keys %is;
    my $dir = $nginx->{dir};
    my $module = $ENV{ENDURE_MODULE} ? "load_module $ENV{ENDURE_MODULE};" : '';
    my $env = join ' ', map { "env ${_}_OPTIONS;" }
              sanitized() ? qw(ASAN LSAN UBSAN) : ();
    my $user = $< == 0 ? 'user root;' : '';
    my $listen = join "\n        ", map {
        "listen 127.0.0.1:$nginx->{ports}[$_]" . ($_ == 1 ? ' http2' : '')
        . ' backlog=4096' . ($nginx->{shared} ? '' : ' reuseport') . ';' }
        0 .. $#{ $nginx->{ports} };
    my $value = sub { $nginx->{$_[0]} // $_[1] };

    spew("$dir/nginx.conf", <<"END_OF_CONF");
$module
$user
worker_processes      ${\ $value->(workers => 4)};
worker_rlimit_nofile  16384;
daemon                ${\ $value->(daemon => 'off')};
pid                   $dir/nginx.pid;
error_log             $dir/error.log ${\ $value->(log => 'notice')};
${\ $value->(main => '')}
$env
events {
    worker_connections  8192;
}
http {
    access_log             off;
    log_not_found          off;
    client_body_temp_path  $dir/body;
    proxy_temp_path        $dir/proxy;
    fastcgi_temp_path      $dir/fastcgi;
    scgi_temp_path         $dir/scgi;
    uwsgi_temp_path        $dir/uwsgi;
    keepalive_requests     1000000000;
    keepalive_timeout      3600s;

    # a refusal is what is asked for here, thousands of times
    patient_guard_log_level  info;

    ${\ $value->(http => '')}
    server {
        $listen
        ${\ $value->(server => '')}
        location / {
            patient_guard          p;
            patient_guard_patient  \$arg_patient;
            add_header  X-Worker   \$pid always;
            add_header  X-Account  \$patient_guard_account always;
            add_header  X-Patient  \$patient_guard_patient always;
            add_header  X-Source   \$patient_guard_source always;
            add_header  X-Count    \$patient_guard_count always;
            ${\ $value->(location => '')}
            empty_gif;
        }
        location = /started { return 204; }
        location = /status  { stub_status; }
    }
}
END_OF_CONF
}

sub reload {
    my ($nginx, $seconds) = @_;

    my %old = map { $_ => 1 } workers($nginx);
    kill 'HUP', $nginx->{pid};
    return wait_for(sub {
        my @now = workers($nginx);
        return @now && !grep { $old{$_} } @now;
    }, $seconds);
}

# true when master and workers are gone in time

sub stop_nginx {
    my ($nginx, $signal, $seconds) = @_;

    my @all = ($nginx->{pid}, workers($nginx));
    kill $signal // 'QUIT', $nginx->{pid};
    return wait_for(sub {
        reaped($nginx->{started});
        return !grep { alive($_) } @all;
    }, $seconds // 10);
}

# lines of the error log that should not be there; but for what is expected

sub complaints {
    my ($nginx, $but) = @_;

    return grep { !$but || !/$but/ }
        grep { /\[(?:alert|crit|emerg|error)\]|open socket/ }
        split /^/, slurp("$nginx->{dir}/error.log");
}

# stub_status: { active, waiting ... }, without who asks for it

sub status {
    my ($nginx) = @_;

    my $body = get($nginx, '/status')->{body};
    my %is;
    @is{qw(active accepted handled requests reading writing waiting)} =
        $body =~ /(\d+)/g;
    $is{active}--;
    return \%is;
}


# --- clients

sub get {
    my ($nginx, $uri, %headers) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $nginx->{port}) or die "connect: $!\n";
    print $socket "GET $uri HTTP/1.1\r\nHost: localhost\r\n",
        (map { "$_: $headers{$_}\r\n" } keys %headers),
        "Connection: close\r\n\r\n";
    $socket->flush;

    my ($text, $select) = ('', IO::Select->new($socket));
    while ($select->can_read(20)) {
        sysread($socket, $text, 65536, length $text) or last;
    }
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($status) = ($head // '') =~ m{^HTTP/\S+ (\d+)};
    return { status => $status // 0, body => $body // '',
             headers => { map { /^([^:]+):\s*(.*)/ ? (lc $1 => $2) : () }
                          split /\r\n/, $head // '' } };
}

# a program of scripts/endure, in the background

sub start_client {
    my ($program, @args) = @_;

    my $out = "$tmp/$program-" . $names++;
    my $command = $program =~ m{^(?:wrk|h2load)$} ? $program
                : "$ENV{ENDURE_BUILD}/$program";
    my $pid = start($out, $command, @args);
    return { pid => $pid, out => $out };
}

# when it is done: what it said, as text, and { name => value } of its facts

sub finish {
    my ($client, $signal) = @_;

    kill $signal, $client->{pid} if $signal;
    waitpid $client->{pid}, 0;
    delete $started{$client->{pid}};
    my $status = $?;
    my $text = slurp($client->{out});
    my $said = slurp("$client->{out}.err");
    die "$client->{out} ended with $status: $said\n"
        if $status && !($signal && $signal eq 'KILL');
    return ($text, { $text =~ /(\w+)=(\S+)/g }, $said);
}

# The zone's structure, while nobody moves: what is wrong, or "".

sub walk {
    my ($nginx, $size) = @_;

    my %stopped;
    my $pid = $nginx->{pid};
    while (my @more = grep { !$stopped{$_}++ } $pid, workers($nginx)) {
        kill 'STOP', @more;
        for my $each (@more) {
            wait_for(sub { slurp("/proc/$each/stat") !~ /\) [^TZX] / });
        }
    }

    my ($said, $status) = ('', 3);
    for (1 .. 20) {
        $said = `$ENV{ENDURE_BUILD}/walk $pid $size 2>&1`;
        $status = $? >> 8;
        last if $status != 3;
    }
    kill 'CONT', keys %stopped;

    chomp $said;
    return { said => $said, whole => $status == 0 ? 1 : 0,
             $said =~ /(\w+)=(\d+)/g };
}

1;
