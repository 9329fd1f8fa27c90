package Chromium;

# A Chromium without a screen, driven by its DevTools protocol through a pipe:
# JSON in messages that end with a NUL, in by its descriptor 3, out by 4.

use strict;
use warnings;
use Fcntl;
use File::Path 'remove_tree';
use File::Temp 'tempdir';
use IO::Select;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(time sleep);

my $json = JSON::PP->new->utf8;

sub start {
    my ($class) = @_;
    my $profile = tempdir('/tmp/patient-browser.XXXXXX');

    pipe my $its_in, my $in or die "pipe: $!\n";
    pipe my $out, my $its_out or die "pipe: $!\n";

    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDERR, '>', "$profile/stderr";
        # out of the way of 3 and 4 first
        my ($r, $w) = map { fcntl $_, F_DUPFD, 10 } $its_in, $its_out;
        POSIX::dup2($r, 3);
        POSIX::dup2($w, 4);
        POSIX::close($_) for $r, $w;
        $ENV{HOME} = $profile;
        exec('chromium', '--headless=new', '--remote-debugging-pipe',
            "--user-data-dir=$profile", '--no-first-run', '--disable-gpu',
            '--disable-dev-shm-usage', '--disable-background-networking',
            '--disable-component-update', '--disable-sync', '--mute-audio',
            ($> == 0 ? '--no-sandbox' : ()), 'about:blank')
            or POSIX::_exit(127);
    }
    close $its_in;
    close $its_out;
    binmode $_ for $in, $out;
    $in->autoflush(1);

    my $self = bless { pid => $pid, profile => $profile, in => $in,
                       out => $out, buffer => '', id => 0, events => [],
                       owner => $$ }, $class;
    my ($page) = grep { $_->{type} eq 'page' }
        @{$self->call('Target.getTargets')->{targetInfos}};
    $self->{session} = $self->call('Target.attachToTarget',
        targetId => $page->{targetId}, flatten => JSON::PP::true)->{sessionId};
    return $self;
}

# what came in until then: events are kept
sub receive {
    my ($self, $until) = @_;

    while ($self->{buffer} !~ /\0/) {
        my $left = $until - time;
        return undef if $left <= 0;
        IO::Select->new($self->{out})->can_read($left) or return undef;
        sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer}
            or die "chromium is gone: " . $self->said;
    }
    $self->{buffer} =~ s/^([^\0]*)\0//;
    return $json->decode($1);
}

sub call {
    my ($self, $method, %params) = @_;
    my $id = ++$self->{id};

    print {$self->{in}} $json->encode({
        id => $id, method => $method, params => \%params,
        $self->{session} ? (sessionId => $self->{session}) : () }), "\0";

    my $until = time + 60;
    while (my $message = $self->receive($until)) {
        if (($message->{id} // 0) == $id) {
            die "$method: $message->{error}{message}\n" if $message->{error};
            return $message->{result};
        }
        push @{$self->{events}}, $message if $message->{method};
    }
    die "$method: no answer\n";
}

# events of that name so far, and what passes meanwhile
sub events {
    my ($self, $name) = @_;
    return map { $_->{params} } grep { $_->{method} eq $name }
        @{$self->{events}};
}

sub forget_events { $_[0]{events} = [] }

# the value of an expression in the page
sub value {
    my ($self, $expression) = @_;
    my $is = $self->call('Runtime.evaluate', expression => $expression,
        returnByValue => JSON::PP::true, awaitPromise => JSON::PP::true);

    die "$expression: $is->{exceptionDetails}{exception}{description}\n"
        if $is->{exceptionDetails};
    return $is->{result}{value};
}

# the seconds until it is true, or undef
sub becomes {
    my ($self, $expression, $within) = @_;
    my $began = time;

    do {
        my $is = $self->value($expression);
        return time - $began if $is;
        sleep .05;
    } while time - $began < $within;
    return undef;
}

my %keys = (Tab => 9, Enter => 13, Escape => 27, ArrowDown => 40);

sub press {
    my ($self, $key) = @_;
    my @is = (key => $key, code => $key,
              windowsVirtualKeyCode => $keys{$key});

    $self->call('Input.dispatchKeyEvent', type => 'keyDown', @is,
                $key eq 'Enter' ? (text => "\r") : ());
    $self->call('Input.dispatchKeyEvent', type => 'keyUp', @is);
}

sub said {
    my ($self) = @_;
    open my $file, '<', "$self->{profile}/stderr" or return '';
    local $/;
    return <$file> // '';
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    close $self->{in};              # with its pipe Chromium goes
    for my $signal (0, 'TERM', 'KILL') {
        kill $signal, -$pid if $signal;
        my $until = time + 5;
        while (time < $until) {
            if (waitpid($pid, POSIX::WNOHANG) == $pid) {
                kill 'KILL', -$pid;     # what it has left behind
                remove_tree($self->{profile});
                # a child that was just killed may have written once more
                for (1 .. 20) {
                    last unless -e $self->{profile};
                    sleep .1;
                    remove_tree($self->{profile});
                }
                return;
            }
            sleep .05;
        }
    }
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@);
    $self->stop if $self->{owner} == $$;
}

1;
