package LabGuard;

# A private Redis and nginx with the module, on sockets in a folder of their
# own.  What Redis holds can be kept, and given to another one.

use strict;
use warnings;

use File::Copy qw(copy);
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(sleep);

use Guard;

# module => path of the .so, nginx => of nginx, secret => of another guard
sub new {
    my ($class, %with) = @_;

    my $folder = Guard::folder('patient-lab');
    my $self = bless { %with, folder => $folder, running => {} }, $class;
    $self->{secret} ||= Guard::secret();
    umask 077;
    Guard::spew("$folder/key", "$self->{secret}\n");
    return $self;
}

# in the background
sub run {
    my ($self, $name, @command) = @_;

    my $log = "$self->{folder}/$name.log";
    my $pid = Guard::spawn($log, @command);
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
    die "lab: $name does not start: " . Guard::slurp($log) . "\n";
}

# from what was kept at $path, if anything
sub start_redis {
    my ($self, $path) = @_;

    my $folder = $self->{folder};
    unlink "$folder/redis.sock", "$folder/dump.rdb";
    if (defined $path) {
        copy($path, "$folder/dump.rdb") or die "$path: $!\n";
    }
    return $self->run('redis', Guard::redis_command($folder));
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
    my $head = Guard::main_conf($folder, "load_module $self->{module};",
                                'error');
    my $http = Guard::http_conf($folder,
                                qw(client_body proxy fastcgi uwsgi scgi));
    my $answers = Guard::answers();
    return <<"NGINX";
$head
http {
$http
$policy->{maps}
    patient_guard_policy lab {
        account           \$http_replay_as trusted;
        clock             \$http_replay_time;
        proof             \$http_replay_proof$policy->{proof};
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
$answers
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
    Guard::spew("$folder/nginx.conf", $self->configuration($policy));
    return Guard::fault($self->{nginx}, $folder);
}

# its socket
sub start {
    my ($self, $policy) = @_;

    my $folder = $self->{folder};
    Guard::spew("$folder/nginx.conf", $self->configuration($policy));
    unlink "$folder/nginx.sock";
    $self->run('nginx', Guard::nginx_command($self->{nginx}, $folder));
    return "$folder/nginx.sock";
}

sub stop {
    my ($self) = @_;

    local $?;
    for my $name (qw(nginx redis)) {
        my $pid = delete $self->{running}{$name} or next;
        # nothing is to be saved
        Guard::end($pid, $name eq 'redis' ? 'KILL' : 'TERM');
    }
}

sub DESTROY { $_[0]->stop }

1;
