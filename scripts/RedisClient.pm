package RedisClient;

# Redis, asked over its socket, for what runs from a folder beside this one.

use strict;
use warnings;

use Exporter 'import';
use IO::Handle;
use IO::Socket::UNIX;

our @EXPORT = qw(redis);

# one command to { sock => PATH }, which keeps the connection in "client"; what
# Redis replies, lists as references

sub redis {
    my ($redis, @command) = @_;

    $redis->{client} //= IO::Socket::UNIX->new(Peer => $redis->{sock})
        || die "redis: $!\n";
    print { $redis->{client} } join '', '*' . @command . "\r\n",
        map { '$' . length($_) . "\r\n$_\r\n" } @command;
    $redis->{client}->flush;
    return reply($redis->{client});
}

sub reply {
    my ($client) = @_;

    local $/ = "\r\n";
    my $line = <$client> // die "redis: connection closed\n";
    chomp $line;
    my ($type, $rest) = $line =~ /^(.)(.*)/s;

    return $rest if $type eq '+' || $type eq ':';
    die "redis: $rest\n" if $type eq '-';
    return undef if $rest < 0;
    return [map { reply($client) } 1 .. $rest] if $type eq '*';

    read $client, my $bytes, $rest + 2;
    return substr $bytes, 0, $rest;
}

1;
