package Front;

# A scripted Redis: a process between nginx and the real one, which passes on
# what both say until it is told to be ill.  It knows what Redis has charged,
# told or not.
#
#     my $front = Front->new(dir => ..., redis => path, port => number if TCP,
#                            ill => { ... });
#     $front->address                   for the directive "redis"
#     $front->tell('ill'), 'well'       the fault, and its end
#     $front->tell('hang-up'), 'drop'   closes or resets all links
#     $front->tell('leave'), 'come'     does not listen any more; does again
#     $front->tell('block')             its queue is full, nobody accepts
#     $front->stats                     { links, accepted, asked, charged }
#
# ill => the fault as functions, called while it is ill:
#     hello => sub { my ($link) }                      a connection came
#     ask   => sub { my ($link, @command) }            true: dealt with, Redis
#                                                      never hears of it
#     reply => sub { my ($link, $reply, @command) }    true: dealt with
#     all   => 1        for all commands, not only for scripts
#     deaf  => 1        it reads nothing; n: n bytes at a time
#
# A link is one connection of nginx's:
#     $link->say($bytes, $seconds)      in order; later, if so told
#     $link->answer($bytes)             when those before have their replies
#     $link->close($seconds), reset

use strict;
use warnings;

use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use IO::Socket::INET;
use IO::Socket::UNIX;
use List::Util qw(min);
use POSIX qw(EAGAIN EINTR);
use Resp;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC SOL_SOCKET SO_LINGER
              IPPROTO_TCP TCP_NODELAY);
use Storable qw(nstore retrieve);
use Time::HiRes qw(sleep time);

sub new {
    my ($class, %self) = @_;

    my $self = bless { %self, path => "$self{dir}/front.sock" }, $class;

    socketpair my $mine, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

    $self->listen unless $self->{away};

    $self->{pid} = fork // die "fork: $!\n";
    if (!$self->{pid}) {
        close $mine;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        $SIG{PIPE} = 'IGNORE';
        $self->{control} = $its;
        eval { $self->serve; 1 } or print STDERR "front: $@";
        POSIX::_exit(0);
    }

    close $its;
    $self->{control} = $mine;
    $self->{control}->autoflush(1);
    $self->unlisten;
    return $self;
}

sub address {
    my ($self) = @_;
    return $self->{port} ? "127.0.0.1:$self->{port}" : "unix:$self->{path}";
}

sub tell {
    my ($self, $word) = @_;

    print { $self->{control} } "$word\n";
    my $said = readline $self->{control};
    die "the scripted Redis is gone\n" unless defined $said;
}

sub stats {
    my ($self) = @_;

    $self->tell('stats');
    return retrieve("$self->{dir}/front.stats");
}

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    kill $_, $pid for qw(KILL CONT);
    waitpid $pid, 0;
}


# --- the process

sub listen {
    my ($self, $backlog) = @_;

    unlink $self->{path};
    $self->{listener} = $self->{port}
        ? IO::Socket::INET->new(LocalAddr => '127.0.0.1',
              LocalPort => $self->{port}, Listen => $backlog // 128,
              ReuseAddr => 1, Blocking => 0)
        : IO::Socket::UNIX->new(Local => $self->{path},
              Listen => $backlog // 128, Blocking => 0);
    $self->{listener} or die "front: $!\n";
    chmod 0777, $self->{path} unless $self->{port};
}

sub unlisten {
    my ($self) = @_;

    close $_ for grep { defined } delete $self->{listener};
}

sub serve {
    my ($self) = @_;

    $self->{links} = {};
    $self->{accepted} = $self->{asked} = 0;
    $self->{charged} = {};

    for (;;) {
        my $now = time;
        $_->flush($now) for values %{ $self->{links} };

        my ($read, $write, $due) = ('', '', $now + 1);
        my %at = map { fileno $_ => $_ }
            grep { defined } $self->{control},
            $self->{blocked} ? undef : $self->{listener};
        vec($read, $_, 1) = 1 for keys %at;

        my $deaf = $self->{ill_now} && $self->{ill}{deaf};
        for my $link (values %{ $self->{links} }) {
            if ($link->{nginx} && !(($deaf // 0) eq '1')) {
                vec($read, fileno $link->{nginx}, 1) = 1;
            }
            vec($read, fileno $link->{redis}, 1) = 1 if $link->{redis};
            if (my $next = $link->{out}[0]) {
                if ($next->[0] <= $now) {
                    vec($write, fileno $link->{nginx}, 1) = 1;
                } else {
                    $due = min($due, $next->[0]);
                }
            }
        }
        select $read, $write, undef, min(1, $due - $now);

        for my $fd (keys %at) {
            next unless vec $read, $fd, 1;
            $at{$fd} == $self->{control} ? $self->told : $self->accept;
        }
        for my $link (values %{ $self->{links} }) {
            $link->from_redis
                if $link->{redis} && vec $read, fileno $link->{redis}, 1;
            $link->from_nginx($deaf)
                if $link->{nginx} && vec $read, fileno $link->{nginx}, 1;
        }
        sleep 0.0005 if $deaf;
    }
}

sub told {
    my ($self) = @_;

    my $word = readline($self->{control}) // POSIX::_exit(0);
    chomp $word;
    my @links = values %{ $self->{links} };

    if ($word eq 'ill')        { $self->{ill_now} = 1 }
    elsif ($word eq 'well')    { $self->{ill_now} = 0 }
    elsif ($word eq 'hang-up') { $_->close for @links }
    elsif ($word eq 'drop')    { $_->reset for @links }
    elsif ($word eq 'leave') {
        $self->unlisten;
        unlink $self->{path};
        $_->close for @links;
    }
    elsif ($word eq 'come') {
        $self->unlisten;
        $self->{blocked} = undef;
        $self->listen;
    }
    elsif ($word eq 'block') {
        $self->unlisten;
        $_->close for @links;
        $self->listen(1);
        $self->{blocked} = [map {
            $self->{port}
                ? IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                      PeerPort => $self->{port}, Blocking => 0)
                : IO::Socket::UNIX->new(Peer => $self->{path},
                      Blocking => 0)
        } 1 .. 8];
    }
    elsif ($word eq 'stats') {
        nstore({ links => scalar(grep { $_->{nginx} } @links),
                 map { $_ => $self->{$_} } qw(accepted asked charged) },
               "$self->{dir}/front.stats");
    }
    else { die "told to $word\n" }

    syswrite $self->{control}, "done\n";
}

sub accept {
    my ($self) = @_;

    my $socket = $self->{listener}->accept or return;
    $socket->blocking(0);
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if $self->{port};
    $self->{accepted}++;

    my $link = bless { front => $self, nginx => $socket, asks => '',
                       said => '', pending => [], out => [],
                       number => $self->{accepted}, last => 0 },
                     'Front::Link';
    $self->{links}{$link} = $link;

    my $redis = IO::Socket::UNIX->new(Peer => $self->{redis});
    return $link->close unless $redis;
    $redis->blocking(0);
    $link->{redis} = $redis;

    my $hello = $self->{ill}{hello};
    $hello->($link) if $self->{ill_now} && $hello;
}

# what Redis charged: the reply to a script repeats its nonce, and an odd
# number of flags says so

sub charge {
    my ($self, $reply, @command) = @_;

    my ($nonce, $flags) = $reply =~ /^\$\d+\r\n(.{8})(.)/s or return;
    my $keys = $command[2];
    return unless substr($command[3 + $keys] // '', 0, 8) eq $nonce
        && ord($flags) % 2;

    my ($account) = $command[3] =~ /^(.*)$/s;
    my @patients = unpack '(a8)*', $command[5 + $keys];
    $self->{charged}{$account}{lookups} += @patients;
    $self->{charged}{$account}{patients}{unpack 'H*', $_}++ for @patients;
}


package Front::Link;

use Time::HiRes qw(time);

sub say {
    my ($link, $bytes, $seconds) = @_;

    return unless $link->{nginx};
    my $due = time + ($seconds // 0);
    $due = $link->{last} if $due < $link->{last};
    $link->{last} = $due;
    push @{ $link->{out} }, [$due, $bytes];
    $link->flush(time) unless $seconds;
}

sub answer {
    my ($link, $bytes) = @_;

    push @{ $link->{pending} }, \$bytes;
    $link->answers;
}

# what is first in line and is no question to Redis

sub answers {
    my ($link) = @_;

    my $pending = $link->{pending};
    $link->say(${ shift @$pending })
        while @$pending && ref $pending->[0] eq 'SCALAR';
}

sub close {
    my ($link, $seconds) = @_;
    $link->say(undef, $seconds);
}

sub reset {
    my ($link) = @_;

    setsockopt $link->{nginx}, Socket::SOL_SOCKET, Socket::SO_LINGER,
               pack 'ii', 1, 0 if $link->{nginx};
    $link->hang_up;
}

# sends what is due; undef is the end

sub flush {
    my ($link, $now) = @_;

    while (my $next = $link->{out}[0]) {
        return if $next->[0] > $now;
        return $link->hang_up if !defined $next->[1];

        my $n = syswrite $link->{nginx}, $next->[1];
        if (!defined $n) {
            return if $! == POSIX::EAGAIN;
            return $link->hang_up;
        }
        if ($n < length $next->[1]) {
            substr $next->[1], 0, $n, '';
            return;
        }
        shift @{ $link->{out} };
    }
}

# nginx is gone, or so we want it; Redis goes on with what it was told

sub hang_up {
    my ($link) = @_;

    CORE::close($_) for grep { defined } delete $link->{nginx};
    $link->{out} = [];
    $link->end unless @{ $link->{pending} };
}

sub end {
    my ($link) = @_;

    CORE::close($_) for grep { defined } delete @$link{qw(nginx redis)};
    delete $link->{front}{links}{$link};
}

sub from_nginx {
    my ($link, $most) = @_;

    my $n = sysread $link->{nginx}, $link->{asks}, $most || 65536,
                    length $link->{asks};
    if (!$n) {
        return if !defined $n && $! == POSIX::EAGAIN;
        return $link->hang_up;
    }

    my $front = $link->{front};
    while (my @command = Resp::take_command(\$link->{asks})) {
        my $script = $command[0] =~ /^EVAL/;
        $front->{asked}++ if $script;

        my $ask = $front->{ill}{ask};
        next if $front->{ill_now} && $ask && ($script || $front->{ill}{all})
                && $ask->($link, @command);
        $link->pass(@command);
        return unless $link->{nginx};
    }
}

sub pass {
    my ($link, @command) = @_;

    return unless $link->{redis};
    my $text = Resp::command(@command);
    my $end = time + 5;

    # few bytes, but Redis may be stopped
    while (length $text) {
        my $n = syswrite $link->{redis}, $text;
        if (defined $n) {
            substr $text, 0, $n, '';
        } elsif ($! != POSIX::EAGAIN || time > $end) {
            return $link->hang_up;
        }
    }
    push @{ $link->{pending} }, \@command;
}

sub from_redis {
    my ($link) = @_;

    my $n = sysread $link->{redis}, $link->{said}, 65536,
                    length $link->{said};
    return if !defined $n && $! == POSIX::EAGAIN;

    my $front = $link->{front};
    while (length $link->{said}
           && defined(my $reply = Resp::take(\$link->{said})))
    {
        my $command = shift @{ $link->{pending} };
        my $script = $command && $command->[0] =~ /^EVAL/;
        $front->charge($reply, @$command) if $script;

        my $function = $front->{ill}{reply};
        $link->say($reply)
            unless $front->{ill_now} && $function
                   && ($script || $front->{ill}{all})
                   && $function->($link, $reply, @{ $command // [] });
        $link->answers;
    }

    if (!$n) {
        $link->{pending} = [];
        CORE::close(delete $link->{redis});
        return $link->{nginx} ? $link->close : $link->end;
    }
    $link->end if !$link->{nginx} && !@{ $link->{pending} };
}

1;
