package GuardApi;

# Asks the API of a node.  Dies of { code => exit code, text => why }.

use strict;
use warnings;

use HTTP::Tiny;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use Time::HiRes qw(time);

my $TIMEOUT = 10;
my $LONGEST = 64 << 20;            # bytes of an answer

sub fail {
    my ($code, $text) = @_;

    die { code => $code, text => $text };
}

# of http://host/guard/, or unix:/path:/guard/; headers as "Name: value"
sub new {
    my ($class, $url, @headers) = @_;

    my $self = bless { url => $url, headers => {} }, $class;
    if ($url =~ m{^unix:(/[^:]+):(/.*)\z}s) {
        ($self->{socket}, $self->{prefix}) = ($1, $2);
    } elsif ($url =~ m{^https?://[^/]+/}) {
        $self->{prefix} = $url;
    } else {
        fail(2, "\"$url\" is no URL such as http://127.0.0.1/guard/ or "
                . 'unix:/path:/guard/');
    }
    $self->{prefix} =~ s{/*\z}{/};
    for my $header (@headers) {
        my ($name, $value) = $header =~ /^([\w-]+):[ \t]*([^\r\n]*)\z/
            or fail(2, 'a header is "Name: value"');
        $self->{headers}{$name} = $value;
    }
    return $self;
}

# a login holds any byte, and a dot may be more than a dot in a path
sub encoded {
    my ($bytes) = @_;

    return $bytes =~ s/([^A-Za-z0-9_-])/sprintf '%%%02X', ord $1/ger;
}

# path of an account, and what is asked of it
sub account_path {
    my ($login, $verb, %asked) = @_;

    my @asked = map { "$_=" . encoded($asked{$_}) }
                grep { defined $asked{$_} } sort keys %asked;
    return 'accounts/' . encoded($login) . (defined $verb ? "/$verb" : '')
        . (@asked ? '?' . join '&', @asked : '');
}

# what a unix socket answers: { status, content, type }
sub over_socket {
    my ($self, $method, $path, %headers) = @_;

    my $socket = IO::Socket::UNIX->new(Peer => $self->{socket})
        or fail(3, "$self->{url}: can't be reached: $!");
    my $request = "$method $path HTTP/1.0\r\nHost: localhost\r\n"
        . join('', map { "$_: $headers{$_}\r\n" } sort keys %headers)
        . ($method eq 'POST' ? "Content-Length: 0\r\n" : '')
        . "Connection: close\r\n\r\n";
    local $SIG{PIPE} = 'IGNORE';
    print $socket $request;
    $socket->flush;

    my ($said, $until) = ('', time + $TIMEOUT);
    my $select = IO::Select->new($socket);
    while (1) {
        my $left = $until - time;
        $left > 0 && $select->can_read($left)
            or fail(3, "$self->{url}: no answer within $TIMEOUT s");
        my $n = sysread $socket, $said, 65536, length $said;
        defined $n or fail(3, "$self->{url}: $!");
        last if $n == 0;
        length $said <= $LONGEST
            or fail(3, "$self->{url}: the answer does not end");
    }

    my ($head, $content) = split /\r?\n\r?\n/, $said, 2;
    my ($status) = ($head // '') =~ m{^HTTP/1\.\d (\d\d\d)}
        or fail(3, "$self->{url}: that is no HTTP");
    my ($length) = $head =~ /^Content-Length:\s*(\d+)/mi;
    length($content // '') >= ($length // 0)
        or fail(3, "$self->{url}: the answer is cut off");
    my ($type) = $head =~ /^Content-Type:\s*([^\r\n]*)/mi;
    return { status => $status, content => $content, type => $type };
}

sub over_http {
    my ($self, $method, $url, %headers) = @_;

    # the API redirects nobody, and no proxy stands before it
    $self->{http} //= HTTP::Tiny->new(
        timeout => $TIMEOUT, max_redirect => 0, max_size => $LONGEST,
        verify_SSL => 1, agent => 'guardctl', proxy => undef,
        http_proxy => undef, https_proxy => undef);
    my $answer = $self->{http}->request($method, $url,
                                        { headers => \%headers });
    if ($answer->{status} == 599) {
        my $why = $answer->{content} =~ s/\s+\z//r;
        fail(3, "$self->{url}: can't be reached: $why");
    }
    return { %$answer{qw(status content)},
             type => $answer->{headers}{'content-type'} };
}

# { status, content (as it came), said (as it is understood) }
sub ask {
    my ($self, $method, $path) = @_;

    my %headers = %{$self->{headers}};
    $headers{'X-Patient-Guard'} = 'write' if $method ne 'GET';
    my @request = ($method, "$self->{prefix}$path", %headers);
    my $answer = $self->{socket} ? $self->over_socket(@request)
                                 : $self->over_http(@request);
    my $type = $answer->{type} // 'nothing';
    if ($type =~ m{^application/(?:problem\+)?json\b}) {
        $answer->{said} = eval { decode_json($answer->{content}) };
        ref $answer->{said} eq 'HASH'
            or fail(3, "$self->{url}: the answer is no JSON");
    }
    my $said = $answer->{said};
    # what one node knows is an answer, if not the whole of it
    return $answer if $said && $answer->{status} =~ /^(?:2|503)/
                      && $type !~ /problem/;
    fail(1, join ': ', grep { defined } @$said{qw(title detail)})
        if $said && defined $said->{title};
    fail(1, "$self->{url}: status $answer->{status}")
        if $answer->{status} >= 400;
    fail(3, "$self->{url}: that is no guard's API: status $answer->{status}, "
            . $type);
}

1;
