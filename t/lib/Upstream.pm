package Upstream;

# For suites whose upstream misbehaves: upstream { my ($socket, $request) = @_ };
# serves at $UP in a block's config and http_config until upstream_gone().

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::UNIX;
use PatientGuard ();

our @EXPORT = qw(upstream upstream_gone slow);

our $upstream;

sub upstream (&) {
    my ($serve) = @_;

    my $path = "$ENV{PG_TMP}/up-$$.sock";
    unlink $path;
    my $server = IO::Socket::UNIX->new(Local => $path, Listen => 128)
        or die "$path: $!";
    chmod 0666, $path;
    $upstream = PatientGuard::child(sub {
        local $SIG{CHLD} = 'IGNORE';
        local $SIG{PIPE} = 'IGNORE';
        while (my $socket = $server->accept) {
            PatientGuard::child(sub {
                $socket->autoflush(1);
                my $text = '';
                until ($text =~ /\r\n\r\n/) {
                    sysread $socket, $text, 65536, length $text or last;
                }
                my ($length) = $text =~ /^Content-Length: (\d+)/mi;
                my ($head) = $text =~ /^(.*?\r\n\r\n)/s;
                while ($length && length $text < $length + length $head) {
                    sysread $socket, $text, 65536, length $text or last;
                }
                $serve->($socket, $text);
                shutdown $socket, 1;
                sysread $socket, $text, 65536;
            });
            close $socket;
        }
    });
}

sub upstream_gone { kill 'KILL', $upstream if $upstream; undef $upstream }

our $UP = "unix:$ENV{PG_TMP}/up-$$.sock";

# Redis answers the call that counts a response after so many seconds

sub slow {
    my ($seconds) = @_;
    return <<"PERL";
if (\@command) {
    \$peer->pause($seconds) if \$command[0] =~ /^EVAL/
        && \$peer->flags(\@command) == 0;
    \$peer->send(\$peer->real(\@command));
}
PERL
}

main::add_block_preprocessor(sub {
    my $block = shift;
    for my $name (qw(config http_config)) {
        my $text = $block->$name // next;
        $text =~ s/\$UP\b/$UP/g;
        $block->set_value($name, $text);
    }
});

END { upstream_gone() }

1;
