package Resp;

# Redis' protocol, as far as the runner and its scripted Redis need it.

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use Time::HiRes qw(sleep time);

sub command {
    return join '', '*' . @_ . "\r\n",
                    map { '$' . length($_) . "\r\n$_\r\n" } @_;
}

sub bulk { '$' . length($_[0]) . "\r\n$_[0]\r\n" }

# end($text, $from): where the reply that begins there ends; undef if it is
# not whole yet

sub end {
    my ($text, $at) = @_;

    my $line = index $$text, "\r\n", $at;
    return undef if $line < 0;

    my $type = substr $$text, $at, 1;
    my $number = substr $$text, $at + 1, $line - $at - 1;
    $at = $line + 2;

    if ($type eq '$' && $number >= 0) {
        $at += $number + 2;
        return $at <= length $$text ? $at : undef;
    }
    if ($type eq '*' && $number > 0) {
        for (1 .. $number) {
            $at = end($text, $at) // return undef;
        }
    }
    return $at;
}

# take($text): the first whole reply, taken off its head

sub take {
    my ($text) = @_;

    my $end = end($text, 0) // return undef;
    return substr $$text, 0, $end, '';
}

# take_command($text): the first whole command, as a list; none if there is
# not one yet

sub take_command {
    my ($text) = @_;

    my $end = length $$text ? end($text, 0) : undef;
    return unless defined $end;
    return words(substr $$text, 0, $end, '');
}

# a flat array or a string: what is in it

sub words {
    my ($reply) = @_;

    return substr $reply, 1, -2 if $reply =~ /^[+:-]/;

    my @words;
    my $at = $reply =~ /^\*/ ? index($reply, "\r\n") + 2 : 0;
    while ($at < length $reply) {
        my $line = index $reply, "\r\n", $at;
        my $type = substr $reply, $at, 1;
        my $number = substr $reply, $at + 1, $line - $at - 1;
        $at = $line + 2;
        if ($type ne '$') {
            push @words, $number;
        } elsif ($number < 0) {
            push @words, undef;
        } else {
            push @words, substr $reply, $at, $number;
            $at += $number + 2;
        }
    }
    return @words;
}


# A client that waits: Resp->new($path)->ask('GET', 'key').  Dies if there is
# no answer; an error is an answer.

sub new {
    my ($class, $path) = @_;

    my $socket = IO::Socket::UNIX->new(Peer => $path)
        or die "$path: $!\n";
    return bless { socket => $socket, read => '' }, $class;
}

sub send {
    my ($self, @command) = @_;

    my $text = command(@command);
    while (length $text) {
        my $n = syswrite $self->{socket}, $text or die "Redis: $!\n";
        substr $text, 0, $n, '';
    }
}

sub reply {
    my ($self, $seconds) = @_;

    my $select = IO::Select->new($self->{socket});
    my $until = time + ($seconds // 10);

    my $reply;
    until (defined($reply = take(\$self->{read}))) {
        die "Redis: no answer\n" if time > $until;
        $select->can_read(0.1) or next;
        sysread $self->{socket}, $self->{read}, 65536, length $self->{read}
            or die "Redis: hung up\n";
    }
    my @words = words($reply);
    return wantarray ? @words : $words[0];
}

sub ask {
    my ($self, @command) = @_;

    $self->send(@command);
    return $self->reply;
}

1;
