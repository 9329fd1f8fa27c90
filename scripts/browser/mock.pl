#!/usr/bin/perl
#
# mock.pl HEADER: the API as the board knows it, without a guard: what it tells
# is made up, but for the page and its policy, which are those that config has
# written for C.  Prints the URL that it serves, until stdin is closed.
#
#   POST .../stage?to=robot     from now on a robot reads records
#   POST .../stage?to=outage    Redis is away
#   POST .../stage?to=calm      none of it
#   POST .../stage?to=readonly  the location has no "write"
#   POST .../stage?to=quiet|loud   hangs up instead of answering, or not

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Time::HiRes 'time';

my ($file) = @ARGV;
my $prefix = '/guard/';
my ($page, $csp) = do {
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    my ($html, $policy) = split /^    ;$/m, scalar <$in>;
    $policy =~ s/.*BOARD_CSP//s;
    map { my $c = join '', /"((?:[^"\\]|\\.)*)"/g;
          $c =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
          $c } $html, $policy;
};
my $started = time;
my $robot = 'b0b07' . '0' x 27;
my %staged = map { $_ => 0 } qw(robot outage quiet readonly);
my %blocked;
my $cleared = 0;
my @written;

my $listen = IO::Socket::INET->new(Listen => 32, LocalAddr => '127.0.0.1',
                                   ReuseAddr => 1) or die "$!\n";
$| = 1;
print 'http://127.0.0.1:', $listen->sockport, $prefix, "\n";

my $wait = IO::Select->new($listen, \*STDIN);
while (1) {
    for my $ready ($wait->can_read) {
        exit 0 if $ready == \*STDIN && !sysread STDIN, my $gone, 1;
        next unless $ready == $listen;
        my $client = $listen->accept or next;
        serve($client);
        close $client;
    }
}

sub serve {
    my ($client) = @_;
    my $head = '';

    local $SIG{ALRM} = sub { die };
    eval {
        alarm 1;        # a browser opens connections that it never uses
        while ($head !~ /\r\n\r\n/) {
            sysread $client, $head, 4096, length $head or last;
        }
        alarm 0;
    };
    alarm 0;
    my ($method, $uri) = $head =~ /^(\w+) (\S+)/ or return;
    my ($path, $query) = split /\?/, $uri, 2;
    my %args = map { /(.*?)=(.*)/ ? ($1 => $2) : () } split /&/, $query // '';
    return if $staged{quiet} && $path !~ /stage$/;

    my ($status, $type, $body) = answer($method, $path, $head, %args);
    if (ref $body) {
        $body = JSON::PP->new->canonical->encode($body);
    }
    print $client "HTTP/1.1 $status Said\r\nContent-Type: $type\r\n",
        "Content-Length: ", length $body, "\r\nCache-Control: no-store\r\n",
        "Content-Security-Policy: $csp\r\nX-Content-Type-Options: nosniff\r\n",
        "Connection: close\r\n\r\n", $body;
}

sub problem {
    my ($status, $title, $detail) = @_;
    return ($status, 'application/problem+json',
            { type => 'about:blank', title => $title, status => $status,
              detail => $detail });
}

sub answer {
    my ($method, $path, $head, %args) = @_;
    my $json = 'application/json';

    return problem(404, 'Not Found', 'no such page')
        unless $path =~ s/^\Q$prefix//;
    return (200, 'text/html; charset=utf-8', $page) if $path eq '';
    return (200, $json, status()) if $path eq 'status';
    return (200, $json, { written => \@written }) if $path eq 'written';

    if ($path eq 'stage') {
        my $to = $args{to};
        $_ = 0 for $to eq 'calm' ? values %staged : ();
        $staged{quiet} = 0 if $to eq 'loud';
        $staged{$to} = time if exists $staged{$to};
        $cleared = 0 if $to eq 'robot';
        return (200, $json, {});
    }

    my ($id, $verb) = $path =~ m{^accounts/([^/]+)(?:/(\w+))?$}
        or return problem(404, 'Not Found', 'no such resource');
    $id =~ s/%(..)/chr hex $1/ge;
    my $account = $id eq "robot\@h\xc3\xb4pital.example/1" ? $robot
                : $id =~ /^[0-9a-f]{32}$/ ? $id : '5' x 32;
    return problem(404, 'Not Found', 'an alias has 32 hexadecimal digits')
        if ($args{by} // '') eq 'alias' && $id !~ /^[0-9a-f]{32}$/;
    return problem(404, 'Not Found', 'no policy is called that')
        if ($args{policy} // 'practitioners') !~ /^(practitioners|wards)$/;

    if ($method eq 'GET') {
        return (200, $json,
                { time => time, accounts => [account($account, $id)] });
    }
    return problem(403, 'Forbidden', 'X-Patient-Guard: write is missing')
        unless $head =~ /^X-Patient-Guard: write\r$/mi;

    my $operation = $method eq 'DELETE' ? 'forget' : $verb;
    push @written, "$operation $account " . ($args{for} // '');
    if ($operation eq 'block') {
        my %s = (h => 3600, d => 86400);
        my ($n, $unit) = $args{for} =~ /^(\d+)([hd])$/;
        $blocked{$account} = int time + $n * $s{$unit};
    } else {
        delete $blocked{$account};
        $cleared = time if $account eq $robot;
    }
    return ($staged{outage} ? 503 : 200, $json, { time => time, accounts => [
        { policy => $args{policy} // 'practitioners', account => $account,
          operation => $operation,
          reach => $staged{outage} ? 'node' : 'fleet' } ] });
}

# how many records the robot has read, and how many it was refused
sub robbed {
    return (0, 0) unless $staged{robot};
    my $asked = int(160 + (($cleared || time) - $staged{robot}) * 40);
    return (156, $asked - 156);
}

sub caught {
    return $staged{robot} && !$cleared;
}

sub refusal {
    my ($account, $dry) = @_;
    my $now = time;
    my ($read, $refused) = robbed();

    return { time => $now - 4000, account => $account, verdict => 'deny',
             limit => 'lookups/1d', count => 6000, allowance => 6000,
             until => int($now) + 30000, times => 7,
             dry_run => $dry ? JSON::PP::true : JSON::PP::false }
        if $account ne $robot;
    return { time => $now, account => $robot, verdict => 'challenge',
             limit => 'new_patients/1h', count => 156, allowance => 156,
             until => int($now) + 3600, times => $refused,
             dry_run => JSON::PP::false };
}

sub account {
    my ($account, $id) = @_;
    my ($read, $refused) = robbed();
    my $is = $account eq $robot && caught();
    my $now = time;

    return { policy => 'practitioners', account => $account,
             source => $staged{outage} ? 'local' : 'redis',
             verdict => $blocked{$account} ? 'deny'
                        : $is ? 'challenge' : 'allow',
             limit => $is ? 'new_patients/1h' : undef,
             retry_after => $is ? 3600 : undef,
             challenge => $is ? { since => $staged{robot},
                                  limit => 'new_patients/1h' } : undef,
             grants => { allowance => 3, window => 86400, wait => 0 },
             blocked => $blocked{$account}
                        ? { until => $blocked{$account} } : undef,
             limits => [
                 { name => 'new_patients/1h', signal => 'new_patients',
                   count => $is ? 156 : 12, allowance => 156, window => 3600,
                   action => 'challenge', wait => $is ? 3600 : 0,
                   per => undef },
                 { name => 'lookups/1d', signal => 'lookups',
                   count => $is ? 156 : 17, allowance => 6000,
                   window => 86400, action => 'deny', wait => 0,
                   per => undef },
                 { name => 'patients/1d', signal => 'patients', count => undef,
                   allowance => 4000, window => 86400, action => 'throttle',
                   wait => 0, per => '$portal_unit' } ],
             recent => $is ? [refusal($robot)] : [] };
}

sub status {
    my $now = time;
    my ($read, $refused) = robbed();
    my $ran = $now - $started;
    my $away = $staged{outage};
    my $allowed = int(86_400 + 23 * $ran + 6 * sin $ran) + $read;

    # people at work, who are nearer to their limits and farther from them
    my @near = sort { $b->{share} <=> $a->{share} } map {
        my $share = .9 - $_ / 14 + .05 * sin($ran / 2 + 9 * $_);
        { account => sprintf('%08x%024x', 0x9e3779b1 * $_ % 2**32, $_),
          verdict => 'allow', limit => 'new_patients/1h',
          count => int(156 * $share), allowance => 156, share => $share,
          until => undef }
    } 1 .. 9;
    unshift @near, { account => $robot, verdict => 'challenge',
                     limit => 'new_patients/1h', count => 156,
                     allowance => 156, share => 1,
                     until => int($now) + 3600 } if caught();
    push @near, { account => 'd' x 32, verdict => 'deny',
                  limit => 'lookups/1d', count => 6000, allowance => 6000,
                  share => 1, until => int($now) + 30000 };
    @near = sort { ($a->{verdict} eq 'allow') <=> ($b->{verdict} eq 'allow') }
        @near;

    my $policy = {
        name => 'practitioners', consistency => 'strict',
        on_outage => 'local', lookups => $allowed + $refused + 61,
        records => $allowed + 4000,
        verdicts => { allow => $allowed, delay => 30 + int($ran / 9),
                      throttle => 24, challenge => 7 + $refused, deny => 7,
                      unavailable => 0 },
        dry_run => { throttle => 0, challenge => int($ran / 4), deny => 0 },
        sources => { redis => $allowed, local => 0, cache => 31, none => 0 },
        limits => [
            { name => 'new_patients/1h', signal => 'new_patients',
              count => 156, window => 3600, action => 'challenge',
              per => undef, refused => 7 + $refused, dry_run => 0 },
            { name => 'lookups/1d', signal => 'lookups', count => 6000,
              window => 86400, action => 'deny', per => undef, refused => 7,
              dry_run => 0 },
            { name => 'patients/1d', signal => 'patients', count => 4000,
              window => 86400, action => 'throttle', per => '$portal_unit',
              refused => 24, dry_run => 3 } ],
        redis => { mode => 'standalone',
                   servers => ['unix:/run/redis/redis.sock'],
                   breaker => $away ? 'open' : 'closed',
                   workers_open => $away ? 2 : 0,
                   connections => $away ? 0 : 2, waiting => 0,
                   calls => $allowed,
                   latency => { p50 => .0005, p99 => .002 },
                   errors => { timeout => $away ? 3 : 0, closed => 0,
                               connect => $away ? 14 : 0, reply => 0,
                               refused => 0, busy => 0 } },
        zone => { size => 8388608, used => 3145728 + int $ran * 400,
                  accounts => 1417, evicted => 3, evicted_early => 0 },
        accounts => \@near,
        blocked => [map { { account => $_, until => $blocked{$_} } }
                    sort keys %blocked],
        recent => [(caught() ? refusal($robot) : ()), refusal('d' x 32),
                   refusal('e' x 32, 1)],
    };
    my $wards = { %$policy, name => 'wards', consistency => undef,
                  on_outage => undef, redis => undef, accounts => [],
                  blocked => [], recent => [],
                  limits => [{ %{$policy->{limits}[0]}, refused => 0,
                               name => '<img src=/x onerror=alert(1)>' }],
                  lookups => 0, records => 0,
                  verdicts => { map { $_ => 0 } keys %{$policy->{verdicts}} },
                  dry_run => { throttle => 0, challenge => 0, deny => 0 },
                  zone => { size => 65536, used => 0, accounts => 0,
                            evicted => 0, evicted_early => 0 } };
    return { time => $now,
             write => $staged{readonly} ? JSON::PP::false : JSON::PP::true,
             policies => [$policy, $wards] };
}
