package Dns;

# Names that end in ".test": for nginx when it starts, by getaddrinfo(), and
# later by a DNS server of the suite's own.  It stands before "use
# PatientGuard", like Preload.
#
#     zone('a.test' => '127.0.0.2 ::1',     # adds, or changes
#          'b.test' => 'ttl=1 delay=0.5 127.0.0.1',
#          'c.test' => 'NXDOMAIN 127.0.0.1');   # SERVFAIL, REFUSED, SILENT,
#                                               # GARBAGE: not by DNS
#     start_dns();  stop_dns();             # at 127.0.0.1:dns_port()
#     asked('a.test')                       # queries that have come for it
#     started('a.test')                     # pids that asked getaddrinfo()
#
# The TTL is 1 unless given.

use strict;
use warnings;

use Preload 'names';

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_INET6 inet_aton inet_pton);
use Time::HiRes qw(time);

our ($pid, $port, %zone);
our $file = $ENV{PG_ZONE} = "$ENV{PG_TMP}/zone-$$";

sub import {
    no strict 'refs';

    *{"main::$_"} = \&$_
        for qw(zone start_dns stop_dns dns_port asked started);
}

sub zone {
    my (%new) = @_;

    %zone = (%zone, %new);
    open my $out, '>', "$file.new" or die "$file: $!\n";
    print $out map { "$_ $zone{$_}\n" } sort keys %zone;
    close $out;
    rename "$file.new", $file or die "$file: $!\n";
}

sub lines {
    my ($path) = @_;

    open my $in, '<', $path or return;
    chomp(my @lines = <$in>);
    return @lines;
}

sub asked { scalar grep { /^\Q$_[0]\E / } lines("$file.queries") }

sub started { map { /^(\d+) \Q$_[0]\E$/ ? $1 : () } lines("$file.asked") }

sub dns_port {
    $port //= IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                    Proto => 'udp')->sockport;
    return $port;
}

sub start_dns {
    return if $pid;

    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => dns_port(), Proto => 'udp', ReuseAddr => 1)
        or die "DNS at $port: $!\n";

    $pid = fork // die "fork: $!\n";
    return close $socket if $pid;

    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    eval { serve($socket) };
    print STDERR "DNS: $@";
    POSIX::_exit(1);
}

sub stop_dns {
    return unless $pid;

    kill 'KILL', $pid;
    waitpid $pid, 0;
    undef $pid;
}

our $owner = $$;
END { local $?; stop_dns() if $$ == $owner }


# --- the server

sub serve {
    my ($socket) = @_;

    my $parent = getppid;
    my @late;                                # [when, to whom, what]
    for (;;) {
        @late = sort { $a->[0] <=> $b->[0] } @late;
        my $patience = @late ? $late[0][0] - time : 1;
        if (IO::Select->new($socket)->can_read($patience > 0 ? $patience : 0))
        {
            my $from = recv $socket, my $query, 4096, 0;
            my ($delay, $answer) = answer($query);
            push @late, [time + $delay, $from, $answer] if defined $answer;
        }
        while (@late && $late[0][0] <= time) {
            my (undef, $to, $answer) = @{ shift @late };
            send $socket, $answer, 0, $to;
        }
        POSIX::_exit(0) if getppid != $parent;
    }
}

our %codes = (NXDOMAIN => 3, SERVFAIL => 2, REFUSED => 5);

# (delay, bytes), nothing if nobody answers

sub answer {
    my ($query) = @_;

    my ($id, $flags) = unpack 'nn', $query;
    my ($at, @labels) = 12;
    while (my $length = ord substr $query, $at, 1) {
        push @labels, substr $query, $at + 1, $length;
        $at += 1 + $length;
    }
    my $question = substr $query, 12, $at + 5 - 12;
    my $type = unpack 'n', substr $query, $at + 1, 2;
    my $name = lc join '.', @labels;

    open my $log, '>>', "$file.queries" or die "$file: $!\n";
    print $log "$name $type\n";
    close $log;

    my ($line) = grep { /^\Q$name\E / } lines($file);
    my (undef, @words) = split ' ', $line // "$name NXDOMAIN";
    my %is = (ttl => 1, delay => 0,
              map { split /=/, $_, 2 } grep { /=/ } @words);
    my ($word) = grep { /^[A-Z]+$/ } @words;

    return if ($word // '') eq 'SILENT';
    return $is{delay}, substr($query, 0, 2) . 'x' x 30
        if ($word // '') eq 'GARBAGE';

    my @answers;
    for my $address (grep { /^[\d:]/ && !$word } @words) {
        my $v6 = $address =~ /:/;
        next if $type != ($v6 ? 28 : 1);
        my $bytes = $v6 ? inet_pton(AF_INET6, $address) : inet_aton($address);
        push @answers, pack 'nnnNn/a', 0xc00c, $type, 1, $is{ttl}, $bytes;
    }
    return $is{delay}, pack('nnnnnn', $id, 0x8180 | ($codes{$word // ''} // 0),
                            1, scalar @answers, 0, 0)
                       . $question . join '', @answers;
}

1;
