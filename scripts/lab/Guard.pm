package Guard;

# What the laboratory's guard and that of a replay share: a folder of their own
# under /tmp, servers on sockets there, and how nginx answers wire.c.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX ();
use Time::HiRes qw(sleep);

use lib dirname(__FILE__) . '/..';
use Files;

sub folder { tempdir("/tmp/$_[0].XXXXXX", CLEANUP => 1) }

# a secret for aliases, as text
sub secret {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    return unpack 'H*', $bytes;
}

# in the background, what it says in $log
sub spawn {
    my ($log, @command) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
    # what a terminal sends is for who started it, and stops it
    setpgrp;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $log;
    open STDERR, '>&', \*STDOUT;
    exec @command or print "$command[0]: $!\n";
    POSIX::_exit(1);
}

# a signal may be lost while it starts
sub end {
    my ($pid, $signal) = @_;

    for (1 .. 500) {
        kill $signal, $pid;
        last if waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.02;
    }
}

sub redis_command {
    my ($folder) = @_;

    return ('redis-server', '--port', 0, '--unixsocket', "$folder/redis.sock",
            '--dir', $folder, '--save', '');
}

# nginx in the foreground, by nginx.conf of the folder
sub nginx_command {
    my ($nginx, $folder) = @_;

    return ($nginx, '-p', $folder, '-e', "$folder/error.log",
            '-c', "$folder/nginx.conf");
}

# what stands before "http"; the level of the error log
sub main_conf {
    my ($folder, $load, $level) = @_;

    my $user = $< == 0 ? 'user root;' : '';
    return <<"NGINX";
$load
$user
daemon            off;
worker_processes  1;
pid               $folder/nginx.pid;
error_log         $folder/error.log $level;
events { worker_connections 1024; }
NGINX
}

# and what stands first in it; @temps: which modules have such a path
sub http_conf {
    my ($folder, @temps) = @_;

    my $temps = join '', map { "    ${_}_temp_path $folder/$_;\n" } @temps;
    return <<"NGINX";
    access_log                   off;
    patient_guard_log_level      info;
    keepalive_requests           1000000000;
    keepalive_timeout            3600s;
    client_header_timeout        3600s;
    client_header_buffer_size    32k;
    large_client_header_buffers  64 64k;
    variables_hash_max_size      4096;
    open_file_cache              max=10 inactive=1d;
    open_file_cache_valid        1d;
    open_file_cache_errors       on;
    root                         $folder;
$temps
NGINX
}

# what wire.c reads of an answer
sub answers {
    my %of = (Verdict => 'verdict', Limit => 'limit', Count => 'count',
              Totals => 'totals', 'Retry-After' => 'retry_after');
    return join '', map { "    add_header Replay-$_ \$patient_guard_$of{$_} "
                          . "always;\n" } sort keys %of;
}

# what nginx has against nginx.conf of the folder, or ''
sub fault {
    my ($nginx, $folder) = @_;

    my $said = `$nginx -t -q -p $folder -e $folder/test.log \\
                -c $folder/nginx.conf 2>&1`;
    return '' if $? == 0;
    my ($fault) = $said =~ /\[emerg\] (.*?)(?: in $folder\S*)?$/m;
    return $fault // $said;
}

1;
