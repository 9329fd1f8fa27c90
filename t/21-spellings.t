# One record can be written in hundreds of ways: whichever a portal
# understands, nobody reads more records than were counted.  Each spelling of
# t/spellings.txt is sent, over HTTP/1 and HTTP/2, through nginx to a portal
# that tells which records each of its routers (t/lib/Portal.pm) would serve.

use lib 't/lib';
use PatientGuard;

use Http2;
use IO::Select;
use IO::Socket::UNIX;
use List::Util qw(max shuffle uniq);
use Portal;

log_level('info');
$SIG{PIPE} = 'IGNORE';

# what README.md says, word by word

our $readme = PatientGuard::slurp('README.md');

our ($map) = $readme =~ /^    (map \$request_uri \$patient_id \{.*?^    \})/ms
    or die "README.md shows no map of \$request_uri\n";

our ($location) = $readme =~ /^        location (\S+) \{ .*?patient_guard_patient/ms
    ? $1 : die "README.md shows no guarded location\n";

our ($odd) = $readme =~ /^ *(map \$request_uri \$odd \{.*?\n *\})/ms
    or die "README.md shows no map of odd spellings\n";

# --- the spellings: [text, function of two records: a request]

our @spellings = map { [$_, request_of($_)] } uniq(map { written($_) }
    grep { /^[^#]/ } split /\n+/, PatientGuard::slurp('t/spellings.txt'));

# a line of the table, or those that a rule makes of it

sub written {
    my ($line) = @_;

    if (my ($path) = $line =~ /^letters (.*)/) {
        my @tokens = $path =~ /\{1\}|./g;
        return map {
            my $i = $_;
            my $token = $tokens[$i];
            my @encoded = length $token > 1 ? map { "{1:$_}" } 0 .. 5
                                            : sprintf '%%%02x', ord $token;
            map { join '', @tokens[0 .. $i - 1], $_,
                           @tokens[$i + 1 .. $#tokens] } @encoded;
        } 0 .. $#tokens;
    }

    my @segments = qw(fhir Patient {1});
    if (my ($text) = $line =~ /^slashes (.*)/) {
        return "${text}fhir/Patient/{1}", "/fhir${text}Patient/{1}",
               "/fhir/Patient${text}{1}", join '', map { $text . $_ } @segments;
    }
    if (my ($where, $text) = $line =~ /^(before|behind) (.*)/) {
        return map {
            my @here = @segments;
            $here[$_] = $where eq 'before' ? $text . $here[$_]
                                           : $here[$_] . $text;
            '/' . join '/', @here;
        } 0 .. 2;
    }
    return $line;
}

our %forms = (
    '' => sub { $_[0] },
    (map { my $i = $_; ($i => sub {
        my $id = $_[0];
        substr($id, $i, 1) =~ /(.)/;
        substr $id, $i, 1, sprintf '%%%02x', ord $1;
        $id;
    }) } 0 .. 5),
    all       => sub { $_[0] =~ s/(.)/sprintf '%%%02x', ord $1/ger },
    twice     => sub { $_[0] =~ s/(.)/sprintf '%%25%02x', ord $1/ger },
    thrice    => sub { $_[0] =~ s/(.)/sprintf '%%2525%02x', ord $1/ger },
    wide      => sub { $_[0] =~ s/(.)/sprintf '%%ef%%bc%%%02x', 0x90 + $1/ger },
    widebytes => sub { $_[0] =~ s/(.)/sprintf "\xef\xbc%c", 0x90 + $1/ger },
    zeros     => sub { "0000$_[0]" },
    u         => sub { $_[0] =~ s/(.)/%u003$1/gr },
    over      => sub { $_[0] =~ s/(.)/sprintf '%%c0%%b%d', $1/ger },
);

sub request_of {
    my ($text) = @_;

    ($text, my $body) = split / > /, $text, 2;
    ($text, my @fields) = split / \| /, $text;
    my ($method, $target) = $text =~ /^([A-Z]{3,}) (.*)/ ? ($1, $2)
                                                         : ('GET', $text);
    return sub {
        my ($one, $other) = @_;
        my ($uri, $content) = map { defined() ?
            s/\{1(?::(\w+))?\}/$forms{$1 \/\/ ''}->($one)/ger
            =~ s/\{2(?::(\w+))?\}/$forms{$1 \/\/ ''}->($other)/ger
            =~ s/\\x(..)/chr hex $1/ger : undef } $target, $body;
        return { method => $method, target => $uri, body => $content,
                 fields => { map { /^(\S+): (.*)/ } @fields } };
    };
}

# --- a server of its own, with two sockets, in front of the portal

sub server {
    my ($locations, @http) = @_;

    return join "\n", @http, <<"END";
log_format \$PG_POLICY '\$http_x_number \$status \$patient_guard_count';
server {
    listen      unix:\$PG_TMP/\$PG_POLICY.h1;
    listen      unix:\$PG_TMP/\$PG_POLICY.h2 http2;
    access_log  \$PG_TMP/\$PG_POLICY.log \$PG_POLICY;
    client_header_timeout  5s;
    $locations
}
END
}

sub guarded {
    my (@more) = @_;

    return join "\n", 'patient_guard          $PG_POLICY;',
        'patient_guard_patient  $patient_id;', @more,
        'proxy_pass http://unix:$PG_TMP/$PG_POLICY.portal;';
}

our $open = 'location / { proxy_pass http://unix:$PG_TMP/$PG_POLICY.portal; }';

# --- clients: both send [number, account, request] and forget the answers

sub over_h1 {
    my ($path, @asked) = @_;

    my $select = IO::Select->new;
    while (@asked || $select->count) {
        while (@asked && $select->count < 32) {
            my ($number, $account, $is) = @{ shift @asked };
            my %fields = (Host => 'localhost', %{ $is->{fields} },
                'X-Number' => $number, 'X-Account' => $account,
                Connection => 'close');
            $fields{'Content-Length'} = length $is->{body}
                if defined $is->{body};
            my $socket = IO::Socket::UNIX->new(Peer => $path)
                or die "$path: $!\n";
            syswrite $socket, join "\r\n", "$is->{method} $is->{target} HTTP/1.1",
                (map { "$_: $fields{$_}" } keys %fields), '', $is->{body} // '';
            $select->add($socket);
        }
        my @ready = $select->can_read(PatientGuard::patience())
            or die "no answer\n";
        for my $socket (@ready) {
            sysread $socket, my $bytes, 65536 or $select->remove($socket);
        }
    }
}

sub over_h2 {
    my ($path, @asked) = @_;

    while (my @some = splice @asked, 0, 100) {
        my $h2 = h2($path);
        my @streams = odd(scalar @some);
        for my $stream (@streams) {
            my ($number, $account, $is) = @{ shift @some };
            my %fields = %{ $is->{fields} };
            my $host = delete $fields{Host} // 'localhost';
            my $body = defined $is->{body};
            say_h2($h2, fields($stream, [
                ':method' => $is->{method}, ':scheme' => 'http',
                ':path' => $is->{target}, ':authority' => $host,
                'x-number' => $number, 'x-account' => $account,
                map { (lc, $fields{$_}) } keys %fields
            ], $body), $body ? data($stream, $is->{body}, 1) : ());
        }
        ended($h2, @streams);
        die "a stream without an end\n"
            if grep { !$h2->{streams}{$_}{ended} } @streams;
    }
}

# --- what came of it

our ($number, $record) = (0, 200_000);

# Starts a portal for a block's server, and calls the function with another
# that sends [account, spelling, records] by a protocol and returns for each
# { status, count, reached, served => { router => [records] } }.

sub with_portal {
    my ($path, $code) = @_;

    # one portal over both stores and protocols; nginx' log may be old
    unlink "$path.portal", "$path.told";
    my $pid = Portal::start("$path.portal", "$path.told");

    my $send = sub {
        my ($protocol, @wanted) = @_;
        my @numbers = map { ++$number } @wanted;
        my @asked = map {
            my ($account, $spelling, @records) = @{ $wanted[$_] };
            [$numbers[$_], $account, $spelling->[1]->(@records)]
        } 0 .. $#wanted;
        my %over = (h1 => \&over_h1, h2 => \&over_h2);
        $over{$protocol}->("$path.$protocol", @asked);

        my (%told, %logged);
        for (split /\n/, PatientGuard::slurp("$path.told")) {
            my ($n, @by) = split / /;
            $told{$n} = { map { my ($router, $records) = split /=/;
                                ($router => [split /,/, $records]) } @by };
        }

        # whatever reached the portal is logged, at last
        my @reached = grep { $told{$_} } @numbers;
        wait_for(sub {
            %logged = map { /^(\d+) (\d+) (\d*)/ ? ($1 => [$2, $3 || 0]) : () }
                split /\n/, PatientGuard::slurp("$path.log");
            return !grep { !$logged{$_} } @reached;
        }) or die "nginx has not logged all\n";

        return map { { status => $logged{$_}[0] // 400,
                       count => $logged{$_}[1] // 0,
                       reached => $told{$_} ? 1 : 0,
                       served => $told{$_} // {} } } @numbers;
    };

    eval { $code->($send) };
    my $error = $@;
    Portal::stop($pid);
    die $error if $error;
}

# Every spelling, of two records, by an account of its own: the texts of
# those which a router serves more records of than were counted.

sub misses {
    my ($send, $protocol, @which) = @_;

    my @wanted = map { my $spelling = $_; map {
        ["$protocol-$spelling->[0]" =~ s/[^!-~]/?/gr =~ s/(.{250}).*/$1/sr,
         $spelling, $record += 2, $record + 1]
    } 1 .. 2 } @which;
    my @got = $send->($protocol, @wanted);

    my (@misses, %by);
    for my $spelling (@which) {
        my @both = splice @got, 0, 2;
        my $count = max(map { $_->{count} } @both);
        for my $router (sort keys %Portal::ROUTERS) {
            my $served = uniq(map { @{ $_->{served}{$router} // [] } } @both);
            $by{$router}++ if $served;
            push @misses, "$spelling->[0] ($router: $served for $count)"
                if $served > $count;
        }
    }
    return \@misses, \%by;
}

# none, over both protocols; what each router served is told, and more than
# so many spellings

sub no_miss {
    my ($send, $at_least, @which) = @_;

    for my $protocol (qw(h1 h2)) {
        my ($misses, $by) = misses($send, $protocol, @which);
        is_deeply($misses, [], "$protocol: none of " . @which
                  . ' spellings is cheaper than what it serves');
        for (sort keys %Portal::ROUTERS) {
            cmp_ok($by->{$_} // 0, '>=', $at_least,
                   "$protocol: $_ serves " . ($by->{$_} // 0));
        }
    }
}

# A robot that mixes all spellings, of a new record each, as often as it
# likes: how many records a router served it at the most, at least

sub robbed {
    my ($send, $account, @which) = @_;

    my %served;
    for my $round (1 .. 2) {
        for my $protocol (qw(h1 h2)) {
            for ($send->($protocol, map { [$account, $_, $record += 2, $record + 1] }
                         shuffle(@which)))
            {
                my $by = $_->{served};
                push @{ $served{$_} }, @{ $by->{$_} } for keys %$by;
            }
        }
    }
    my @counts = map { scalar uniq(@{ $served{$_} // [] }) }
                 keys %Portal::ROUTERS;
    return max(@counts), -max(map { -$_ } @counts);
}

# spellings that name one record only

sub single { grep { $_->[0] !~ /\{2/ } @_ }

# an OPTIONS which is overridden is a matter of methods, not of spelling

sub overridden { grep { $_->[0] =~ /^(?:OPTIONS|TRACE) .*(?:Override|_method)/ } @_ }
sub ordinary { grep { !overridden($_) } @_ }

cmp_ok(scalar @spellings, '>=', 300, @spellings . ' spellings');
srand 20220317;

run_tests();

__DATA__

=== TEST 1: as README.md has it
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server("location $::location {\n"
         . ::guarded('patient_guard_unmatched deny;') . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    no_miss($send, 30, ordinary(@::spellings));

    # and what is written as it is meant is not counted twice
    my @plain = grep { $_->[0] =~ m{^(?:HEAD )?/fhir/Patient/\{1\}(?:$|\?|/_history|/\$ev)} } @::spellings;
    my @got = $send->('h1', map { ['plain', $_, 123456, 1] } @plain[0 .. 5]);
    is_deeply([map { $_->{count} } @got], [(1) x 6], 'one record is one');
    my ($search) = grep { $_->[0] eq '/fhir/Patient?_id={1},{2}' } @::spellings;
    @got = $send->('h2', ['plain', $search, 123456, 234567]);
    is($got[0]{count}, 2, 'two are two');
    is_deeply($got[0]{served}{url}, [123456, 234567]);
});



=== TEST 2: a robot that mixes them reads no more than its limit
--- policy
account  $http_x_account trusted;
limit    patients=25/1h deny;
--- http_config eval
::server("location $::location {\n"
         . ::guarded('patient_guard_unmatched deny;') . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my ($most, $least) = robbed($send, 'robot', ordinary(@::spellings));
    cmp_ok($most, '<=', 25, "$most records at the most");
    cmp_ok($least, '>=', 10, "$least at the least");
    my @got = $send->('h1', map { ['robot', $::spellings[0], ++$record, 1] } 1 .. 3);
    is_deeply([map { $_->{status} } @got], [403, 403, 403], 'then no more');
});



=== TEST 3: where a request brings one record, counting under URIs is enough
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server("location $::location {\n" . ::guarded() . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    no_miss($send, 100, ordinary(single(@::spellings)));
    my ($misses) = misses($send, 'h1', ordinary(@::spellings));
    cmp_ok(scalar @$misses, '>=', 20, 'where it brings several, it is not');
    is(scalar(grep { !/\{2/ } @$misses), 0, 'for these alone');
});



=== TEST 4: a robot that mixes those
--- policy
account  $http_x_account trusted;
limit    patients=25/1h deny;
--- http_config eval
::server("location $::location {\n" . ::guarded() . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my ($most, $least) = robbed($send, 'robot', ordinary(single(@::spellings)));
    cmp_ok($most, '<=', 25, "$most records at the most");
    cmp_ok($least, '>=', 1, "$least at the least");
});



=== TEST 5: the rest of the portal behind the same nginx: what is odd is refused
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server("location $::location {\n"
         . ::guarded('patient_guard_unmatched deny;') . "}\n"
         . ($::open =~ s/\{/{ if (\$odd) { return 404; }/r), $::map, $::odd)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    no_miss($send, 30, ordinary(@::spellings));
    my $reached = sub {
        ($send->('h1', ['dupont', [$_[0], request_of($_[0])]]))[0]{reached}
    };
    is($reached->($_), 0, "$_ is not forwarded")
        for '/app/..;/x', '/app//a', '/app/%61', '/other', '/app/a#b',
            '/app/.a', '/app/../app';
    is($reached->($_), 1, "$_ is")
        for '/app', '/app/', '/app/a/b.min.js?v=1';
});



=== TEST 6: the traps: what is not refused there leaks
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server("location $::location {\n"
         . ::guarded('patient_guard_unmatched deny;') . "}\n$::open", $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my ($misses) = misses($send, 'h1', ordinary(@::spellings));
    for my $leak ('/fhir/patient/{1} (express:', '/app/..;/fhir/Patient/{1} (tomcat:',
                  '/fhir;x=y/Patient/{1} (tomcat:', '/fhir\Patient/{1} (tomcat-lax:',
                  '/app/a#/../../fhir/Patient/{1} (tomcat-lax:')
    {
        is(scalar(grep { index($_, $leak) == 0 } @$misses), 1, "$leak leaks");
    }
});



=== TEST 7: a location that a regular expression alone matches
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server('location ~ ^/fhir/Patient/(?<patient_id>[^/]+)$ {'
         . ::guarded() . "}\n$::open")
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my ($misses) = misses($send, 'h1', ordinary(single(@::spellings)));
    cmp_ok(scalar(grep { / 2 for 0\)/ } @$misses), '>=', 100,
           'lets others through uncounted');
});



=== TEST 8: with the prefix behind it, and nothing else
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server('location ~ ^/fhir/Patient/(?<id>[A-Za-z0-9][A-Za-z0-9.-]*)$ {'
         . ::guarded() . "}\n"
         . "location $::location {\n" . ::guarded() . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    no_miss($send, 100, ordinary(single(@::spellings)));
});



=== TEST 9: the patient as nginx reads it is not the one that a portal reads
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server('location /fhir/Patient/ {' . ::guarded() . '}',
         'map $uri $patient_id { ~^/fhir/Patient/(?<id>[^/]+)$ $id; }')
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my ($misses) = misses($send, 'h2', ordinary(single(@::spellings)));
    for my $leak ('/fhir/Patient/{1}//../_history (url:',
                  '/fhir/Patient/{1}/../1 (express-lax:',
                  '/fhir/Patient/1#/../{1} (tomcat-lax:')
    {
        is(scalar(grep { index($_, $leak) == 0 } @$misses), 1, "$leak leaks");
    }
    is(scalar(grep { / for 0\)/ } @$misses), 0, 'if at the price of one');
});



=== TEST 10: a portal that makes a lookup of OPTIONS
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- http_config eval
::server("location $::location {\n"
         . ::guarded('patient_guard_unmatched deny;') . "}\n"
         . "location /limited {\n" . ::guarded('limit_except GET POST { deny all; }',
           'rewrite ^/limited(.*) $1 break;') . '}', $::map)
--- config
--- after
with_portal('$PG_TMP/$PG_POLICY', sub {
    my ($send) = @_;
    my @overridden = overridden(@::spellings);
    my ($misses) = misses($send, 'h1', @overridden);
    is(scalar @$misses, 2, 'is asked for it uncounted');
    my @limited = map { [$_, request_of($_)] } map { $_->[0] =~ s{ /}{ /limited/}r } @overridden;
    ($misses) = misses($send, 'h1', @limited);
    is_deeply($misses, [], 'unless limit_except refuses it');
    is_deeply([map { $_->{status} } $send->('h2', map { ['dupont', $_, 1, 2] } @limited)],
              [403, 403, 405]);
});
