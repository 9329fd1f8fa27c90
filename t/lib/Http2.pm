package Http2;

# An HTTP/2 client which says what it is told to, as frames: it corrects
# nothing.  It does not decode what nginx compresses: of an answer it knows
# the status, the body and the end.
#
#     my $h2 = h2("$PG_TMP/socket");
#     say_h2($h2, headers(1, '/uri', account => 'dupont'));
#     is(join(' ', ended($h2, 1)), 200);
#     $h2->{streams}{1}{body}

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::UNIX;

# frames' types and flags
use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
               PING => 6, GOAWAY => 7,
               END_STREAM => 1, END_HEADERS => 4 };

our @EXPORT = qw(DATA HEADERS RST_STREAM SETTINGS PING GOAWAY
                 END_STREAM END_HEADERS
                 h2 frame literal headers fields data reset_stream
                 say_h2 read_h2 ended odd tally);

sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return pack('Cn', length($payload) >> 16, length($payload) & 0xffff)
           . pack('CCN', $type, $flags, $stream) . $payload;
}

# "literal without indexing", nothing of it compressed

sub literal { map { string($_) } @_ }

sub string {
    my ($text) = @_;

    my $length = length $text;
    return chr($length) . $text if $length < 127;

    my $bytes = chr 127;
    for ($length -= 127; $length > 127; $length >>= 7) {
        $bytes .= chr($length & 127 | 128);
    }
    return $bytes . chr($length) . $text;
}

sub headers {
    my ($stream, $path, %is) = @_;

    return fields($stream, [
        ':method'    => $is{body} ? 'POST' : 'GET',
        ':scheme'    => 'http',
        ':path'      => $path,
        ':authority' => 'localhost',
        'x-account'  => $is{account} // 'dupont',
    ], $is{body});
}

# any fields, in their order; a body is said to follow, if one does

sub fields {
    my ($stream, $fields, $body) = @_;

    my @fields = @$fields;
    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= join '', "\0", literal($name, $value);
    }

    return frame(HEADERS, END_HEADERS | ($body ? 0 : END_STREAM), $stream,
                 $block);
}

sub data { frame(DATA, $_[2] ? END_STREAM : 0, $_[0], $_[1]) }

sub reset_stream { frame(RST_STREAM, 0, $_[0], pack 'N', 8) }

sub h2 {
    my ($path) = @_;

    my $socket = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";
    my $self = { socket => $socket, read => '', streams => {} };
    say_h2($self, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, ''));
    return $self;
}

sub say_h2 {
    my ($h2, @frames) = @_;

    my $bytes = join '', @frames;
    while (length $bytes) {
        my $n = syswrite $h2->{socket}, $bytes or die "h2: $!\n";
        substr $bytes, 0, $n, '';
    }
}

# what has come, or comes in time; false at the end of the connection

sub read_h2 {
    my ($h2, $seconds) = @_;

    return IO::Select->new($h2->{socket})->can_read($seconds)
           && sysread($h2->{socket}, $h2->{read}, 65536, length $h2->{read});
}

# reads frames until the streams named are at their end

sub ended {
    my ($h2, @streams) = @_;

    until (!grep { !$h2->{streams}{$_}{ended} } @streams) {
        while (length $h2->{read} >= 9) {
            my ($high, $low, $type, $flags, $stream) =
                unpack 'CnCCN', $h2->{read};
            my $length = ($high << 16) + $low;
            last if length $h2->{read} < 9 + $length;
            my $payload = substr $h2->{read}, 9, $length;
            substr $h2->{read}, 0, 9 + $length, '';

            my $is = $h2->{streams}{$stream} //= { body => '' };
            $is->{status} = status($payload) if $type == HEADERS;
            $is->{body} .= $payload if $type == DATA;
            $is->{status} = 'reset' if $type == RST_STREAM && !$is->{ended};
            $is->{ended} = 1
                if $type == RST_STREAM
                   || $flags & END_STREAM && ($type == HEADERS
                                              || $type == DATA);
            say_h2($h2, frame(PING, 1, 0, $payload))
                if $type == PING && !($flags & 1);
        }
        last if !grep { !$h2->{streams}{$_}{ended} } @streams;

        read_h2($h2, PatientGuard::patience()) or last;
    }

    return map { $h2->{streams}{$_}{status} // 'none' } @streams;
}

# in nginx's own words: an index of the static table, or its name's and digits

sub status {
    my ($block) = @_;

    my %by = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404,
              14 => 500);

    $block =~ s/^[\x20-\x3f]+//;
    my $first = ord $block;
    return $by{$first & 127} // 'unknown' if $first & 128;
    return $block =~ /^\x48\x03(\d+)/ ? $1 : 'unknown';
}

sub odd { map { 2 * $_ - 1 } 1 .. $_[0] }

sub tally {
    my %by;
    $by{$_}++ for @_;
    return join ', ', map { "$by{$_} x $_" } sort keys %by;
}

1;
