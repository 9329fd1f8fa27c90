package ReplayGuard;

# A private nginx, and Redis, in a folder of their own: they serve sockets
# there, and end with whoever started them.

use strict;
use warnings;

use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use Time::HiRes qw(sleep);

# set-up, then what each part of it is waited for
sub new {
    my ($class, %with) = @_;

    my $folder = tempdir("/tmp/patient-replay.$$.XXXXXX", CLEANUP => 1);
    return bless { %with, folder => $folder, pids => [] }, $class;
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

# in the background, told to by its pid
sub run {
    my ($self, $log, @command) = @_;

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
        # what a terminal sends is for replay, which stops it
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        exec @command or print "$command[0]: $!\n";
        require POSIX;
        POSIX::_exit(1);
    }
    push @{$self->{pids}}, $pid;
    return $pid;
}

# in the foreground, reading that; true if it is well
sub attend {
    my ($self, $in, @command) = @_;

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
        open STDIN, '<&', $in and exec @command;
        print STDERR "$command[0]: $!\n";
        require POSIX;
        POSIX::_exit(1);
    }
    push @{$self->{pids}}, $pid;
    waitpid $pid, 0;
    my $well = $? == 0;
    pop @{$self->{pids}};
    return $well;
}

sub wait_for {
    my ($self, $socket, $log) = @_;

    for (1 .. 500) {
        return if IO::Socket::UNIX->new(Peer => $socket);
        last if waitpid($self->{pids}[-1], 1) != 0;
        sleep 0.02;
    }
    die "replay: it does not start: " . slurp($log) . "\n";
}

sub start_redis {
    my ($self) = @_;

    my $folder = $self->{folder};
    $self->run("$folder/redis.log", 'redis-server', '--port', 0,
               '--unixsocket', "$folder/redis.sock", '--dir', $folder,
               '--save', '');
    $self->wait_for("$folder/redis.sock", "$folder/redis.log");
}

# what Redis and its secret need in a policy
sub redis {
    my ($self) = @_;

    my $key = "$self->{folder}/key";
    umask 077;
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 16;
    spew($key, unpack('H*', $bytes) . "\n");
    return ("redis unix:$self->{folder}/redis.sock;", "secret $key;",
            'redis_timeout 2s;', 'consistency strict;', 'on_outage deny;');
}

sub configuration {
    my ($self, $policies, @locations) = @_;

    my $folder = $self->{folder};
    my $load = $self->{module} eq 'none' ? ''
             : "load_module $self->{module};";
    my $user = $< == 0 ? 'user root;' : '';
    my $temps = join '', map { "    ${_}_temp_path $folder/$_;\n" }
                grep { $self->{has}{$_} }
                qw(client_body proxy fastcgi uwsgi scgi);
    my $realip = $self->{has}{realip} ? 'set_real_ip_from unix:; '
               . 'real_ip_header Replay-Address;' : '';
    my $pages = join '', map { "    location \@$_ { return $_ -; }\n" }
                grep { !/^(?:408|444|499)$/ } 200 .. 599;
    my $guarded = join '', map { <<"LOCATION" } @locations;
    location = $_->[0] {
        patient_guard          $_->[1];
        patient_guard_patient  \$http_replay_patient;
        patient_guard_records  \$http_replay_records;
        try_files              /none \@\$http_replay_status;
    }
LOCATION
    return <<"NGINX";
$load
$user
daemon            off;
worker_processes  1;
pid               $folder/nginx.pid;
error_log         $folder/error.log notice;
events { worker_connections 512; }
http {
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
$policies
    server {
    listen unix:$folder/sock;
    $realip
    add_header Replay-Verdict      \$patient_guard_verdict always;
    add_header Replay-Limit        \$patient_guard_limit always;
    add_header Replay-Count        \$patient_guard_count always;
    add_header Replay-Totals       \$patient_guard_totals always;
    add_header Replay-Retry-After  \$patient_guard_retry_after always;
$guarded
$pages
    }
}
NGINX
}

# which of the modules that are not always there it has
sub probe {
    my ($self) = @_;

    my $said = `$self->{nginx} -V 2>&1`;
    $self->{has} = { client_body => 1,
                     realip => $said =~ /with-http_realip_module/ };
    for my $name (qw(proxy fastcgi uwsgi scgi)) {
        $self->{has}{$name} = $said !~ /without-http_${name}_module/;
    }
}

# what nginx has against it, or ''
sub try {
    my ($self, $policies, @locations) = @_;

    my $folder = $self->{folder};
    $self->probe unless $self->{has};
    spew("$folder/nginx.conf",
         $self->configuration($policies, @locations));
    my $said = `$self->{nginx} -t -q -p $folder -e $folder/test.log \\
                -c $folder/nginx.conf 2>&1`;
    return '' if $? == 0;
    my ($fault) = $said =~ /\[emerg\] (.*?)(?: in $folder\S*)?$/m;
    return $fault // $said;
}

sub start {
    my ($self) = @_;

    my $folder = $self->{folder};
    $self->run("$folder/said", $self->{nginx}, '-p', $folder,
               '-e', "$folder/error.log", '-c', "$folder/nginx.conf");
    $self->wait_for("$folder/sock", "$folder/error.log");
    return "$folder/sock";
}

# what its error log has beside the daily round
sub complaints {
    my ($self) = @_;

    my %seen;
    return grep { !$seen{$_}++ }
        map { s/^\S+ \S+ (\[\w+\]) [^:]*: /$1 /r =~ s/\*\d+ //r }
        grep { /\[(?:warn|error|crit|alert|emerg)\]/
               && !/is for replaying logs only/
               && !/is what the client says of itself/ }
        split /\n/, slurp("$self->{folder}/error.log");
}

sub stop {
    my ($self) = @_;

    local $?;
    for my $pid (reverse splice @{$self->{pids}}) {
        # a signal may be lost while it starts
        for (1 .. 500) {
            kill 'TERM', $pid;
            last if waitpid($pid, 1) != 0;
            sleep 0.02;
        }
    }
}

sub DESTROY { $_[0]->stop }

1;
