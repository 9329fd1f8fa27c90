package ReplayGuard;

# A private nginx, and Redis, in a folder of their own: they serve sockets
# there, and end with whoever started them.

use strict;
use warnings;

use IO::Socket::UNIX;
use Time::HiRes qw(sleep);

use Guard;

# set-up, then what each part of it is waited for
sub new {
    my ($class, %with) = @_;

    my $folder = Guard::folder("patient-replay.$$");
    return bless { %with, folder => $folder, pids => [] }, $class;
}

# in the background, told to by its pid
sub run {
    my ($self, $log, @command) = @_;

    my $pid = Guard::spawn($log, @command);
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
    die "replay: it does not start: " . Guard::slurp($log) . "\n";
}

sub start_redis {
    my ($self) = @_;

    my $folder = $self->{folder};
    $self->run("$folder/redis.log", Guard::redis_command($folder));
    $self->wait_for("$folder/redis.sock", "$folder/redis.log");
}

# what Redis and its secret need in a policy
sub redis {
    my ($self) = @_;

    my $key = "$self->{folder}/key";
    umask 077;
    Guard::spew($key, Guard::secret() . "\n");
    return ("redis unix:$self->{folder}/redis.sock;", "secret $key;",
            'redis_timeout 2s;', 'consistency strict;', 'on_outage deny;');
}

sub configuration {
    my ($self, $policies, @locations) = @_;

    my $folder = $self->{folder};
    my $load = $self->{module} eq 'none' ? ''
             : "load_module $self->{module};";
    my $head = Guard::main_conf($folder, $load, 'notice');
    my $http = Guard::http_conf($folder, grep { $self->{has}{$_} }
                                qw(client_body proxy fastcgi uwsgi scgi));
    my $answers = Guard::answers();
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
$head
http {
$http
$policies
    server {
    listen unix:$folder/sock;
    $realip
$answers
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
    Guard::spew("$folder/nginx.conf",
                $self->configuration($policies, @locations));
    return Guard::fault($self->{nginx}, $folder);
}

sub start {
    my ($self) = @_;

    my $folder = $self->{folder};
    $self->run("$folder/said", Guard::nginx_command($self->{nginx}, $folder));
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
        split /\n/, Guard::slurp("$self->{folder}/error.log");
}

sub stop {
    my ($self) = @_;

    local $?;
    for my $pid (reverse splice @{$self->{pids}}) {
        Guard::end($pid, 'TERM');
    }
}

sub DESTROY { $_[0]->stop }

1;
