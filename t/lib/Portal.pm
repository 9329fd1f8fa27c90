package Portal;

# What a portal behind nginx makes of a request as it was forwarded: whose
# records it serves.  Three routers, each in a plain and in a lax variant:
#
#     tomcat    strips ";parameters" off each segment, decodes once, merges
#               "//", follows "/./" and "/../"; cases differ
#     express   splits, then decodes each segment once; cases are alike, a
#               slash may trail, dots mean nothing, "//" neither
#     wsgi      decodes the whole path, then routes; dots mean nothing
#
#     tomcat-lax   "\" and "%2F" are slashes, overlong UTF-8 is decoded, "#"
#                  is a character
#     express-lax  what is below a record belongs to it (app.use); a body's
#                  and any method may be overridden
#     wsgi-lax     merges "//", "#" is a character, decodes twice
#     url          as express, but resolves the path as browsers do:
#                  "/../" and "%2e%2e" are followed, "//" is not merged
#
# All of them read an identifier as laxly as any database might.

use strict;
use warnings;

use Encode ();
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Unicode::Normalize ();

our %ROUTERS = (
    'tomcat'      => sub { tomcat(@_) },
    'tomcat-lax'  => sub { tomcat(@_, lax => 1) },
    'express'     => sub { express(@_) },
    'express-lax' => sub { express(@_, lax => 1) },
    'wsgi'        => sub { wsgi(@_) },
    'wsgi-lax'    => sub { wsgi(@_, lax => 1) },
    'url'         => sub { express(@_, url => 1) },
);

# Each returns the records that it would serve: { method, target, headers,
# body } is the request.

sub tomcat {
    my ($request, %is) = @_;

    my ($path, $query) = split /\?/, $request->{target}, 2;
    return if $path =~ /#/ && !$is{lax};

    $path =~ s/;[^\/]*//g;
    return if $path =~ /%(?![0-9a-f]{2})|%00/i;
    return if $path =~ /%2f|%5c|\\|%c0|%e0%80/i && !$is{lax};
    $path = decoded($path);
    if ($is{lax}) {
        $path =~ s/\xc0([\x80-\xbf])/chr(ord($1) & 63)/ge;
        $path =~ tr{\\}{/};
    }

    $path =~ s{/+}{/}g;
    $path = followed($path) // return;

    return at($request, $path, $query, sub {
        $_[0] =~ m{^/fhir/Patient/([^/]+)(?:/(?:_history(?:/\w+)?|\$everything))?/?\z}
            ? ($1) : ();
    }, qr{^/fhir/Patient(?:/_search)?/?\z});
}

sub express {
    my ($request, %is) = @_;

    my $target = $request->{target} =~ s/#.*//sr;
    my ($path, $query) = split /\?/, $target, 2;
    if ($is{url}) {
        $path =~ tr{\\}{/};
        $path =~ s/%2e/./gi;
        $path = followed($path, 'clamped');
    }

    my @segments = split m{/}, $path, -1;
    return if grep { /%(?![0-9a-f]{2})/i } @segments;
    @segments = map { decoded($_) } @segments;

    # by now a slash within a segment is no separator
    $path = join '/', map { tr{/}{\0}r } @segments;

    my $below = $is{lax} ? qr{(?:/.*)?} : qr{(?:/(?:_history(?:/\w+)?|\$everything))?/?};
    return at($request, $path, $query, sub {
        $_[0] =~ m{^/fhir/patient/([^/]+)$below\z}is ? ($1 =~ tr{\0}{/}r) : ();
    }, qr{^/fhir/patient(?:/_search)?/?\z}i, $is{lax});
}

sub wsgi {
    my ($request, %is) = @_;

    my $target = $is{lax} ? $request->{target}
                          : $request->{target} =~ s/#.*//sr;
    my ($path, $query) = split /\?/, $target, 2;
    $path = decoded($path);
    $path = decoded($path) if $is{lax};
    $path =~ s{/+}{/}g if $is{lax};

    return at($request, $path, $query, sub {
        $_[0] =~ m{^/fhir/Patient/([^/]+)(?:/(?:_history(?:/\w+)?|\$everything))?/?\z}
            ? ($1) : ();
    }, qr{^/fhir/Patient(?:/_search)?/?\z});
}

sub at {
    my ($request, $path, $query, $read, $search, $any_method) = @_;

    my $method = $request->{method};
    my %arguments = arguments(join '&', $query // '',
                              $method eq 'POST' ? $request->{body} : ());
    my ($other) = grep { defined } @{ $request->{headers} }{qw(
        x-http-method-override x-http-method x-method-override)},
        @{ $arguments{_method} // [] };
    $method = uc $other if $other && ($any_method || $method eq 'POST');

    if ($path =~ $search && $path !~ /_search/i
        || $path =~ /_search/i && $path =~ $search && $method =~ /^(GET|POST)\z/)
    {
        return unless $method =~ /^(?:GET|HEAD|POST)\z/;
        return map { record($_) } map { split /,/ } map { @$_ }
               grep { $_ } @arguments{qw(_id _id[] _id[0] _id:exact)};
    }

    return unless $method =~ /^(?:GET|HEAD)\z/;
    return map { record($_) } $read->($path);
}

# name => [values], decoded, "+" is a blank

sub arguments {
    my ($query) = @_;

    my %arguments;
    for (split /[&;]/, $query) {
        my ($name, $value) = map { decoded(tr/+/ /r) } split /=/, $_, 2;
        push @{ $arguments{$name} }, $value // '' if defined $name;
    }
    return %arguments;
}

sub decoded { $_[0] =~ s/%([0-9a-f]{2})/chr hex $1/gier }

# "." and ".." are followed; undef where they lead above the root

sub followed {
    my ($path, $clamped) = @_;

    my @segments;
    my @from = split m{/}, $path, -1;
    shift @from;
    while (@from) {
        my $segment = shift @from;
        if ($segment eq '.' || $segment eq '..') {
            if ($segment eq '..') {
                @segments || $clamped or return undef;
                pop @segments;
            }
            push @segments, '' unless @from;
        } else {
            push @segments, $segment;
        }
    }
    return '/' . join '/', @segments;
}

# the record that is meant, "412345"; nothing, if none is

sub record {
    my ($id) = @_;

    my $text = eval { Encode::decode('UTF-8', my $copy = $id, Encode::FB_CROAK) }
               // $id;
    $text = lc Unicode::Normalize::NFKC($text);
    $text =~ s/^[\s\0+]+|[\s\0.]+\z//g;
    $text =~ s/^(?:nir-|\x{e9}-)//;
    return $text =~ /^0*([1-9]\d{5})\z/ ? ($1) : ();
}

# start($socket, $log): the process of a portal, which writes down a line for
# each request: its X-Number, then "router=record,record" for those who serve

sub start {
    my ($path, $log) = @_;

    my $server = IO::Socket::UNIX->new(Local => $path, Listen => 511)
        or die "$path: $!\n";
    open my $out, '>>', $log or die "$log: $!\n";
    $out->autoflush(1);

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    while (my $client = $server->accept) {
        my $request = request($client) or next;
        my %records;
        for my $name (sort keys %ROUTERS) {
            my @records = $ROUTERS{$name}->($request) or next;
            $records{$name} = join ',', @records;
        }
        print $out join(' ', $request->{headers}{'x-number'} // '-',
            map { "$_=$records{$_}" } sort keys %records), "\n";

        my $status = %records ? '200 OK' : '404 Not Found';
        my $body = $request->{method} eq 'HEAD' ? '' : "a record, or none\n";
        syswrite $client, "HTTP/1.1 $status\r\nConnection: close\r\n"
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
        close $client;
    }
    POSIX::_exit(0);
}

sub request {
    my ($client) = @_;

    my $text = '';
    until ($text =~ /\r\n\r\n/) {
        sysread($client, $text, 65536, length $text) or return;
    }
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($first, @lines) = split /\r\n/, $head;
    my ($method, $target) = $first =~ m{^(\S+) (.*) HTTP/1\.[01]\z}s or return;
    my %headers = map { /^([^:]+):\s*(.*)/s ? (lc $1 => $2) : () } @lines;
    while (length $body < ($headers{'content-length'} // 0)) {
        sysread($client, $body, 65536, length $body) or return;
    }

    return { method => $method, target => $target, headers => \%headers,
             body => $body };
}

sub stop {
    my ($pid) = @_;

    kill 'TERM', $pid;
    waitpid $pid, 0;
}

1;
