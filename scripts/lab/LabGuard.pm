package LabGuard;

# A private Redis and nginx with the module, on sockets in a folder of their
# own.  What Redis holds can be kept, and given to another one.

use strict;
use warnings;

use File::Copy qw(copy);
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(sleep);

# module => path of the .so, nginx => of nginx, secret => of another guard
sub new {
    my ($class, %with) = @_;

    my $folder = tempdir('/tmp/patient-lab.XXXXXX', CLEANUP => 1);
    my $self = bless { %with, folder => $folder, running => {} }, $class;
    if (!$self->{secret}) {
        open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
        read $random, my $bytes, 16;
        $self->{secret} = unpack 'H*', $bytes;
    }
    umask 077;
    spew("$folder/key", "$self->{secret}\n");
    return $self;
}

sub slurp {
    open my $file, '<', $_[0] or return '';
    local $/;
    return <$file> // '';
}

sub spew {
    my ($path, $text) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

# in the background
sub run {
    my ($self, $name, @command) = @_;

    my $log = "$self->{folder}/$name.log";
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        exec @command or print "$command[0]: $!\n";
        POSIX::_exit(1);
    }
    $self->{running}{$name} = $pid;
    my $socket = "$self->{folder}/$name.sock";
    for (1 .. 1000) {
        # Redis answers when it has loaded what was kept
        my $line = IO::Socket::UNIX->new(Peer => $socket);
        if ($line) {
            return $pid if $name ne 'redis';
            print $line "PING\r\n";
            return $pid if (<$line> // '') =~ /PONG/;
        }
        last if waitpid($pid, POSIX::WNOHANG()) != 0;
        sleep 0.02;
    }
    die "lab: $name does not start: " . slurp($log) . "\n";
}

# from what was kept at $path, if anything
sub start_redis {
    my ($self, $path) = @_;

    my $folder = $self->{folder};
    unlink "$folder/redis.sock", "$folder/dump.rdb";
    if (defined $path) {
        copy($path, "$folder/dump.rdb") or die "$path: $!\n";
    }
    return $self->run('redis', 'redis-server', '--port', 0, '--unixsocket',
                      "$folder/redis.sock", '--dir', $folder, '--save', '');
}

sub keep {
    my ($self, $path) = @_;

    my $line = IO::Socket::UNIX->new(Peer => "$self->{folder}/redis.sock")
        or die "redis: $!\n";
    print $line "SAVE\r\n";
    (<$line> // '') =~ /^\+OK/ or die "redis does not save\n";
    copy("$self->{folder}/dump.rdb", $path) or die "$path: $!\n";
}

sub configuration {
    my ($self, $policy) = @_;

    my $folder = $self->{folder};
    my $user = $< == 0 ? 'user root;' : '';
    my $temps = join '', map { "    ${_}_temp_path $folder/$_;\n" }
                qw(client_body proxy fastcgi uwsgi scgi);
    return <<"NGINX";
load_module $self->{module};
$user
daemon            off;
worker_processes  1;
pid               $folder/nginx.pid;
error_log         $folder/error.log error;
events { worker_connections 1024; }
http {
    access_log                   off;
    patient_guard_log_level      info;
    keepalive_requests           1000000000;
    keepalive_timeout            3600s;
    client_header_timeout        3600s;
    client_header_buffer_size    16k;
    large_client_header_buffers  64 64k;
    open_file_cache              max=10 inactive=1d;
    open_file_cache_valid        1d;
    open_file_cache_errors       on;
    root                         $folder;
$temps
$policy->{maps}
    patient_guard_policy lab {
        account           \$http_replay_as trusted;
        clock             \$http_replay_time;
        proof             \$http_replay_proof;
        zone              512m;
        secret            $folder/key;
        redis             unix:$folder/redis.sock;
        redis_timeout     2s;
        consistency       strict;
        on_outage         local;
$policy->{directives}
    }
    server {
        listen            unix:$folder/nginx.sock;
        set_real_ip_from  unix:;
        real_ip_header    Replay-Address;
        add_header Replay-Verdict      \$patient_guard_verdict always;
        add_header Replay-Limit        \$patient_guard_limit always;
        add_header Replay-Count        \$patient_guard_count always;
        add_header Replay-Totals       \$patient_guard_totals always;
        add_header Replay-Retry-After  \$patient_guard_retry_after always;
        location = / {
            patient_guard          lab;
            patient_guard_patient  \$http_replay_patient;
            try_files              /none \@\$http_replay_status;
        }
        location \@200 { return 200 -; }
        location \@404 { return 404 -; }
    }
}
NGINX
}

# what nginx has against the policy, or ''
sub fault {
    my ($self, $policy) = @_;

    my $folder = $self->{folder};
    spew("$folder/nginx.conf", $self->configuration($policy));
    my $said = `$self->{nginx} -t -q -p $folder -e $folder/test.log \\
                -c $folder/nginx.conf 2>&1`;
    return '' if $? == 0;
    my ($fault) = $said =~ /\[emerg\] (.*?)(?: in $folder\S*)?$/m;
    return $fault // $said;
}

# its socket
sub start {
    my ($self, $policy) = @_;

    my $folder = $self->{folder};
    spew("$folder/nginx.conf", $self->configuration($policy));
    unlink "$folder/nginx.sock";
    $self->run('nginx', $self->{nginx}, '-p', $folder, '-e',
               "$folder/error.log", '-c', "$folder/nginx.conf");
    return "$folder/nginx.sock";
}

sub stop {
    my ($self) = @_;

    local $?;
    for my $name (qw(nginx redis)) {
        my $pid = delete $self->{running}{$name} or next;
        # nothing is to be saved; a signal may be lost while it starts
        for (1 .. 500) {
            kill $name eq 'redis' ? 'KILL' : 'TERM', $pid;
            last if waitpid($pid, POSIX::WNOHANG()) != 0;
            sleep 0.01;
        }
    }
}

sub DESTROY { $_[0]->stop }

1;
