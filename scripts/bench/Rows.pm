package Rows;

# The rows of the parts speed, instructions and growth: what stands in front of
# the portal.  Each is a server of its own, with no module but the one that it
# is about, so that nobody pays for another.

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use IO::Socket::UNIX;

use Servers;

our @EXPORT = qw(@ROWS row_of asked_for start_behind start_row
                 names warm_up check_counted);

# The example of the README and of an operator's page: an account gets no more
# than 60 lookups in a run, then others take over, so nobody is refused.
our @LIMITS = ('new_patients=60/1h    throttle',
               'new_patients=450/1d   challenge',
               'patients=600/1d       challenge',
               'lookups=5000/1d       deny');

# what was counted of an account, for whoever checks
my $COUNTED = 'location = /counted { content_by_lua_block {
            ngx.header["Content-Length"] = 9
            ngx.print(string.format("%9d", counted(ngx.var.args))) } }';

my $LUA = "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n"
        . "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n";

# id, what it is called, and: limits and zone, if
# not the example's; guard (directives of its policy, {unix} and {tcp}
# for Redis), http, location, main; known: per cent of the lookups; robot: the
# account has looked up all it may (nginx' own level of error_log, error, does
# not tell of refusals); tls: clients come by TLS; against: what its figures
# are divided by, proxy_pass unless said; counts: who
# beside the worker has to work for it, "redis" or "service"
our @ROWS = (
    { id => 'bare', name => 'proxy_pass' },
    { id => 'bare_again', name => 'proxy_pass, once more' },
    { id => 'limit_req', name => 'limit_req',
      http => 'limit_req_zone $http_x_account zone=l:16m rate=1000r/s;',
      location => 'limit_req zone=l burst=1000 nodelay;' },
    { id => 'embedded', name => 'guard, embedded', guard => '' },
    { id => 'local', name => 'guard, local', counts => 'redis',
      guard => 'redis unix:{unix}; consistency local;' },
    { id => 'strict', name => 'guard, strict', counts => 'redis',
      guard => 'redis unix:{unix};' },
    { id => 'strict_tcp', name => 'guard, strict, TCP', counts => 'redis',
      guard => 'redis 127.0.0.1:{tcp};' },
    { id => 'known', name => 'guard, strict, 70 % known', known => 70,
      counts => 'redis', guard => 'redis unix:{unix};' },
    { id => 'known_tcp', name => 'guard, strict, 70 % known, TCP', known => 70,
      counts => 'redis', guard => 'redis 127.0.0.1:{tcp};' },
    { id => 'robot', name => 'guard, strict, a robot refused', robot => 1,
      log => 'error', counts => 'redis', guard => 'redis unix:{unix};' },
    { id => 'robot_told', name => 'the same, each told by the log', robot => 1,
      counts => 'redis', guard => 'redis unix:{unix};' },
    { id => 'bare_tls', name => 'proxy_pass, clients by TLS', tls => 1 },
    { id => 'strict_tls', name => 'guard, strict, clients by TLS', tls => 1,
      against => 'bare_tls',
      counts => 'redis', guard => 'redis unix:{unix};' },
    { id => 'haproxy', name => 'HAProxy, stick-table', haproxy => 1 },
    { id => 'lua_count', name => 'Lua, shared dict, a bare count',
      main => $LUA,
      http => 'lua_shared_dict counts 64m;',
      location => 'access_by_lua_block {
                if ngx.shared.counts:incr(ngx.var.http_x_account, 1, 0, 86400)
                   > 5000 then ngx.exit(403) end }' },
    { id => 'lua_dict', name => 'Lua, shared dict, all limits', main => $LUA,
      http => 'lua_shared_dict counts 256m; '
            . 'init_by_lua_block {
                count, counted = dofile("{here}/windows.lua") }',
      server => $COUNTED,
      location => 'access_by_lua_block {
                local status = count(ngx.var.http_x_account,
                                     ngx.var.patient_id)
                if status ~= 200 then ngx.exit(status) end }' },
    { id => 'lua_evalsha', name => 'Lua, EVALSHA, all limits', main => $LUA,
      counts => 'redis',
      http => 'init_by_lua_block {
                  evalsha = dofile("{here}/evalsha.lua")
                  evalsha.init("{unix}", "{here}/evalsha.redis.lua") }',
      location => 'access_by_lua_block {
                local status = evalsha.count(ngx.var.http_x_account,
                                             ngx.var.patient_id)
                if status ~= 200 then ngx.exit(status) end }' },
    { id => 'auth_request', name => 'auth_request, counted by Lua',
      counts => 'service',
      http => 'upstream counting { server 127.0.0.1:{service};
                  keepalive 64; keepalive_requests 1000000000;
                  keepalive_timeout 3600s; }',
      server => 'location = /_count {
            internal;
            proxy_pass               http://counting;
            proxy_http_version       1.1;
            proxy_set_header         Connection "";
            proxy_set_header         X-Patient $patient_id;
            proxy_pass_request_body  off;
            proxy_set_header         Content-Length "";
        }',
      location => 'auth_request /_count;' },
);

# ROWS="strict lua_evalsha": these alone, and what they are compared with

sub asked_for {
    my ($id, @always) = @_;

    my @asked = split ' ', $ENV{ROWS} // '';
    return !@asked || grep { $_ eq $id } @asked, @always;
}

sub row_of { my ($id) = @_; return (grep { $_->{id} eq $id } @ROWS)[0] }

# a policy's block; its name is the row's, so that each has keys of its own.
# Who shares a core with others may wait for it: that shall not be an outage.

sub policy {
    my ($row) = @_;

    my $limits = join '', map { "    limit  $_;\n" }
                          @{ $row->{limits} // \@LIMITS };
    my $key = "$tmp/secret";
    if (!-e $key) {
        my $umask = umask 077;
        spew($key, join '', map { chr(97 + rand 26) } 1 .. 40);
        umask $umask;
    }
    return "patient_guard_policy $row->{id} {
    account    \$http_x_account trusted;
    secret     $key;
    zone       ${\($row->{zone} // '256m')};
    $row->{guard} ${\($row->{guard} && 'redis_timeout 5s;')}
$limits
    challenge  redirect https://sso.example/step-up;
    challenge  step_up acr=eidas2 max_age=300;
    proof      \$http_x_auth_time;
}
";
}

# --- what stands behind all of them: the portal, Redis, a service that counts

sub start_behind {
    my ($cores) = @_;

    my %behind = (cores => $cores, redis => start_redis($cores, 'redis'));
    my ($portal, $service) = (free_port(), free_port());
    my $patient = '{"resourceType":"Patient","id":"1","text":"'
        . 'so many bytes of a record ' x 35 . '"}';
    $behind{portal} = start_nginx('portal', cores => $cores,
        port => $portal, http => "server {
        listen 127.0.0.1:$portal backlog=4096;
        location / { return 200 '$patient'; }
    }");
    $behind{service} = start_nginx('service', cores => $cores, main => $LUA,
        port => $service, http => filled(\%behind, "
    lua_shared_dict counts 256m;
    init_by_lua_block { count, counted = dofile('{here}/windows.lua') }
    server {
        listen 127.0.0.1:$service backlog=4096;
        location / {
            content_by_lua_block {
                local status = count(ngx.var.http_x_account,
                                     ngx.var.http_x_patient)
                ngx.exit(status == 200 and 204 or 403) }
        }
        $COUNTED
    }"));
    if (!-e "$tmp/tls.crt") {
        system("openssl req -x509 -newkey ec -pkeyopt "
               . "ec_paramgen_curve:prime256v1 -nodes -subj /CN=portal "
               . "-keyout $tmp/tls.key -out $tmp/tls.crt 2>/dev/null") == 0
            or die "bench: no certificate\n";
    }
    return \%behind;
}

sub filled {
    my ($behind, $text) = @_;

    my %is = (unix => $behind->{redis}{sock}, tcp => $behind->{redis}{port},
              here => dirname(__FILE__), tmp => $tmp,
              service => $behind->{service} && $behind->{service}{port});
    $text =~ s/\{(unix|tcp|here|tmp|service)\}/$is{$1}/g;
    return $text;
}

# --- one row: its server

sub start_row {
    my ($behind, $row, %is) = @_;

    my $port = free_port();
    return start_haproxy($row->{id}, $is{cores}, $port,
                         haproxy($port, $behind->{portal}{port}))
        if $row->{haproxy};

    my $guard = defined $row->{guard};
    my $main = $guard ? "load_module $ENV{BENCH_MODULE};"
             : $row->{main} // '';
    my $http = $guard ? policy($row) : $row->{http} // '';
    my $location = $guard ? "patient_guard          $row->{id};
            patient_guard_patient  \$patient_id;" : $row->{location} // '';
    my $desk = $guard && !$row->{counts} ? desk() : '';
    my $tls = $row->{tls} ? "ssl_certificate {tmp}/tls.crt;
        ssl_certificate_key {tmp}/tls.key;" : '';

    return start_nginx($is{name} // $row->{id}, %is, port => $port,
                       log => $row->{log},
                       main => $main, http => filled($behind, "
    $http
    upstream portal {
        server              127.0.0.1:$behind->{portal}{port};
        keepalive           64;
        keepalive_requests  1000000000;
        keepalive_timeout   3600s;
    }
    server {
        listen 127.0.0.1:$port ${\($row->{tls} ? 'ssl' : '')} backlog=4096;
        $tls
        location ~ ^/fhir/Patient/(?<patient_id>[^/]+)\$ {
            $location
            proxy_pass          http://portal;
            proxy_http_version  1.1;
            proxy_set_header    Connection \"\";
        }
        ${\($row->{server} // '')}
        $desk
    }"));
}

sub desk {
    return 'location /guard/ { patient_guard_api; allow 127.0.0.1; '
         . 'deny all; }';
}

sub haproxy {
    my ($port, $portal) = @_;

    my $counts = 'http_req_cnt,http_req_rate(1d)';
    return <<"HAPROXY";
global
    nbthread 1
    maxconn 4000
    stats socket $tmp/haproxy/stats.sock mode 600
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    http-reuse always
frontend clients
    bind 127.0.0.1:$port
    stick-table type string len 32 size 100k expire 1d store $counts
    http-request track-sc0 req.hdr(x-account)
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 5000 }
    default_backend portal
backend portal
    server portal 127.0.0.1:$portal
HAPROXY
}

# --- what goes before that is not measured

# n lookups; a robot makes all that it may, and is refused from then on.  How
# many were charged.

sub warm_up {
    my ($client, $row, $n) = @_;

    if (!$row->{robot}) {
        lookups($client, n => $n, known => $row->{known});
        return $n;
    }
    lookups($client, n => 50);
    lookups($client, n => 4950, known => 100);
    sleep 0.3;
    lookups($client, n => 100, status => 403);
    return 5000;
}

# --- has each lookup been counted?

sub names { my ($name, $n) = @_; return map { "$name$_" } 0 .. $n - 1 }

# It dies unless the lookups of these accounts are $n, for whoever counts in
# this row.  The guard is asked how its limit on lookups stands: the embedded
# store itself, of Redis a node that knows nothing else.  A shared dictionary of
# Lua (0.10.23) may lose one in 1,000: it takes keys whose CRC-32 is the same
# for each other, some of 100,000.

sub check_counted {
    my ($behind, $row, $server, $n, @accounts) = @_;

    my $counted = counter($behind, $row, $server) // return;
    my $least = $row->{id} =~ /^(?:lua_dict|auth_request)$/ ? 0.999 * $n : $n;
    my $is;
    wait_for(sub { ($is = $counted->(@accounts)) >= $least }, 10);
    die "bench: $row->{name}: $is lookups were counted, not $n\n"
        if $is < $least || $is > $n;
}

sub counter {
    my ($behind, $row, $server) = @_;

    return sub { charged($behind, $row, $server, @_) }
        if defined $row->{guard};
    return sub { stick_table(@_) } if $row->{haproxy};
    return sub { in_redis($behind->{redis}, @_) }
        if $row->{id} eq 'lua_evalsha';
    return sub { in_lua($server->{port}, @_) } if $row->{id} eq 'lua_dict';
    return sub { in_lua($behind->{service}{port}, @_) }
        if $row->{id} eq 'auth_request';
    return undef;
}

sub charged {
    my ($behind, $row, $server, @accounts) = @_;

    my $desk = $server;
    if ($row->{counts}) {
        my $port = free_port();
        $desk = start_nginx("desk-$row->{id}", cores => $behind->{cores},
            port => $port, main => "load_module $ENV{BENCH_MODULE};",
            http => filled($behind, policy($row) . "server {
                listen 127.0.0.1:$port; " . desk() . ' }'));
    }
    my $charged = 0;
    for my $account (@accounts) {
        my $said = get($desk->{port}, "/guard/accounts/$account");
        my ($n) = $said =~ /"lookups\/1d"[^{}]*?"count":(\d+)/;
        $charged += $n // die "bench: nothing of lookups: $said\n";
    }
    stop($desk->{pid}) if $desk != $server;
    return $charged;
}

sub in_redis {
    my ($redis, @accounts) = @_;

    my $n = 0;
    for my $account (@accounts) {
        $n += $_ for @{ redis($redis, 'HVALS', "lua:{$account}lookups") };
    }
    return $n;
}

sub in_lua {
    my ($port, @accounts) = @_;

    my $n = 0;
    $n += get($port, "/counted?$_") for @accounts;
    return $n;
}

sub stick_table {
    my (@accounts) = @_;

    my %is = map { $_ => 1 } @accounts;
    my $stats = IO::Socket::UNIX->new(Peer => "$tmp/haproxy/stats.sock")
        or die "bench: HAProxy: $!\n";
    print $stats "show table clients\n";
    $stats->flush;
    my $n = 0;
    while (my $line = <$stats>) { 
        $n += $2 if $line =~ /key=(\S+) .*http_req_cnt=(\d+)/ && $is{$1};
    }
    return $n;
}

1;
