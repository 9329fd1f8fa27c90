package PatientGuard;

# What all suites share, over Test::Nginx::Socket.  A suite runs once for
# each store and does not know which: scripts/test says it in PG_STORE.
#
#     use lib 't/lib';
#     use PatientGuard;
#
#     run_tests();
#
#     __DATA__
#
#     === TEST 1: the third patient is one too many
#     --- policy
#     account  $http_x_account trusted;
#     limit    patients=2/1h deny;
#     --- config
#     location / {
#         patient_guard          $PG_POLICY;
#         patient_guard_patient  $arg_patient;
#         proxy_pass             http://$PG_PORTAL;
#     }
#     --- more_headers
#     X-Account: dupont
#     --- pipelined_requests eval
#     ["GET /?patient=1", "GET /?patient=2", "GET /?patient=3"]
#     --- error_code eval
#     [200, 200, 403]
#
# Sections of our own:
#   policy      patient_guard_policy $PG_POLICY { the store; this }
#   fake_redis  a Redis scripted in Perl, at $PG_FAKE (a unix socket)
#               and 127.0.0.1:$PG_FAKE_PORT: see fake_redis()
#   after       Perl, when the requests are answered and nginx still runs
#
# Words replaced in every section of a block:
#   $PG_POLICY  a policy's name: new for each block, so that no block finds
#               the counts of another (a zone of the same name and size
#               outlives a reload); for a second one: $PG_POLICY_2 ...
#   $PG_STORE_DIRECTIVES   what makes a policy count in the store under test
#   $PG_PORTAL  for proxy_pass: answers 200, "record of URI"; 404 to /missing
#   $PG_STORE, $PG_PREFIX, $PG_REDIS, $PG_REDIS_PORT, $PG_KEY, $PG_TMP

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time);

our @HELPERS = qw(redis get thrice burst raw wait_for fake_commands
                  start_redis stop_redis redis_at redis_pid window_at
                  start_another stop_another another
                  error_log access_log nginx_pid reload store);

our ($slot, $lock, $fake_pid, $fake_path, $fake_port, $blocks);
our $port;                  # of another node, while a block talks to it
our $policy;                # of the block

BEGIN {
    for my $name (qw(PG_TMP PG_STORE PG_PORT TEST_NGINX_BINARY)) {
        die "$name is not set: start suites by 'make test TESTS=$0'\n"
            unless defined $ENV{$name};
    }

    # a port and a folder that no suite running beside this one has
    for ($slot = 0; ; $slot++) {
        open $lock, '>', "$ENV{PG_TMP}/slot-$slot" or die "$!: slot $slot\n";
        last if flock $lock, LOCK_EX | LOCK_NB;
    }

    $ENV{TEST_NGINX_PORT} = $ENV{PG_PORT} + 4 * $slot;
    $ENV{TEST_NGINX_SERVROOT} = "$ENV{PG_TMP}/servroot-$slot";
    $fake_path = "$ENV{PG_TMP}/fake-$slot";
    $fake_port = $ENV{TEST_NGINX_PORT} + 3;
}

# a plan is not kept: a suite that breaks off ends with an error anyway
eval q{ package main; use Test::Nginx::Socket 'no_plan'; 1 } or die $@;

sub import {
    no strict 'refs';

    for my $name (@HELPERS) {
        *{"main::$name"} = \&$name;

        # where --- init is evaluated
        *{"Test::Nginx::Util::$name"} = \&$name;
    }
    *{'main::COUNTED'} = \our $COUNTED;
}

main::repeat_each(1);
main::no_shuffle();
main::no_long_string();
main::log_level('debug');
main::master_on();
main::workers(1);
main::worker_connections(1024);

# Test::Nginx tries for 30 seconds to start with a configuration that is
# wrong, and then stops all suites: end this one at once
{
    no warnings 'redefine';

    my $write = \&Test::Nginx::Util::write_config_file;

    *Test::Nginx::Util::write_config_file = sub ($$$) {
        my ($block) = @_;

        $write->(@_);
        return if defined $block->must_die || defined $block->reload_fails
            || $ENV{TEST_NGINX_USE_HUP} && $blocks > 1 || $ENV{PG_SLOW};

        my $root = main::server_root();
        my $command = "$ENV{TEST_NGINX_BINARY} -t -q -p $root/"
            . " -e $root/logs/error.log -c $root/conf/nginx.conf";
        my $said = `$command 2>&1`;
        die $block->name . ": $said" if $?;
        unlink "$root/logs/error.log", "$root/logs/access.log";
    };
}


sub store { $ENV{PG_STORE} }

# of the block to come: what a suite's own preprocessors, which run before
# ours, may want to know
sub next_policy { "p${$}_" . ($blocks + 1) }

# $policy: what a block says itself in its policy wins

sub words {
    my ($policy) = @_;

    my $name = sprintf 'p%d_%d', $$, $blocks;
    my $redis = "unix:$ENV{PG_REDIS_SOCKET}";

    my %words = (
        POLICY     => $name,
        PREFIX     => "t$name",
        REDIS      => $redis,
        REDIS_PORT => $ENV{PG_REDIS_PORT},
        FAKE       => "unix:$fake_path.sock",
        FAKE_PORT  => $fake_port,
        PORTAL     => "unix:" . main::server_root() . "/logs/portal.sock:",
        KEY        => "$ENV{PG_TMP}/patient_guard.key",
        TMP        => $ENV{PG_TMP},
        STORE      => store(),
    );

    # the timeout is far away, for two suites at once on a busy machine
    $words{STORE_DIRECTIVES} = store() eq 'memory' ? '' :
        join '', map { "$_;\n" }
        grep { /^(\w+)/ && $policy !~ /^\s*$1\s/m }
        "secret $words{KEY}", "redis $redis prefix=$words{PREFIX}",
        "redis_timeout 5s";

    return \%words;
}

sub replace {
    my ($text, $words) = @_;

    return [map { replace($_, $words) } @$text] if ref $text eq 'ARRAY';
    return $text if !defined $text or ref $text;

    # the longest name first; what follows it may be part of a longer word
    my $names = join '|', sort { length $b <=> length $a } keys %$words;
    $text =~ s/\$PG_($names)/$words->{$1}/g;
    die "unknown word $1\n" if $text =~ /(\$PG_\w+)/;

    return $text;
}

main::add_block_preprocessor(sub {
    my $block = shift;

    $blocks++;
    my $words = words(join '', grep { defined }
                      $block->policy, $block->http_config);
    $policy = $words->{POLICY};

    for my $name (keys %{ $block->_section_map }) {
        my @values = map { replace($_, $words) } $block->$name;
        $block->set_value($name, @values);
    }

    my $policy = $block->policy;
    $block->set_value('http_config', join "\n", grep { defined }
        defined $policy
            ? "patient_guard_policy $words->{POLICY} {\n"
              . "$words->{STORE_DIRECTIVES}\n$policy}\n" : undef,
        $block->http_config,
        "server {\n    listen unix:" . main::server_root()
        . "/logs/portal.sock;\n"
        . "    location / { return 200 'record of \$request_uri\\n'; }\n"
        . "    location /missing { return 404; }\n}\n");

    # Test::Nginx serves files at /, if the block serves nothing there
    $Test::Nginx::Util::NoRootLocation =
        ($block->config // '') =~ m{^\s*location\s+/\s*\{}m;

    # a block which is all in --- after
    if (!defined $block->request && !defined $block->pipelined_requests
        && !defined $block->raw_request)
    {
        $block->set_value('config',
            ($block->config // '')
            . "\nlocation = /started { return 204; }\n");
        $block->set_value('request', "GET /started\n");
        $block->set_value('error_code', '204');
    }

    # nothing that no block asked for is said at these levels
    if (!defined $block->must_die && !defined $block->reload_fails) {
        my $wanted = join ' ', flat($block->error_log);
        my @unwanted = grep { index($wanted, $_) < 0 }
            map { "[$_]" } qw(error crit alert emerg);

        $block->set_value('no_error_log',
                          [flat($block->no_error_log), @unwanted])
            if @unwanted;
    }

    fake_redis($block->fake_redis) if defined $block->fake_redis;
});

sub flat {
    return map { ref $_ eq 'ARRAY' ? @$_ : ref $_ ? $_ : split /\n+/, $_ }
        grep { defined } @_;
}

main::add_test_cleanup_handler(sub {
    my $block = shift;

    if (defined $block->after) {
        my $name = $block->name;
        eval "package main; no strict; use warnings;\n#line 1 \"$name\"\n"
            . $block->after . "\n;1"
            or main::fail("$name - after: $@");
    }

    stop_another();
    stop_fake();
});


# --- a client

# get('/uri', Header => value ...): { status, body, headers => { lower } }

sub get {
    my ($uri, %headers) = @_;

    return answer(raw(request($uri, %headers)));
}

# the statuses of the same request three times, and what X-Count says in each
# answer: "200 1, 200 2, 403 2" of an account that may do it twice

our $COUNTED = '200 1, 200 2, 403 2';

sub thrice {
    my ($uri, %headers) = @_;

    return join ', ', map {
        my $answer = get($uri, 'X-Account' => 'dupont', %headers);
        join ' ', $answer->{status}, $answer->{headers}{'x-count'} // '-';
    } 1 .. 3;
}

sub request {
    my ($uri, %headers) = @_;

    my $method = delete $headers{method} // 'GET';
    $headers{Host} //= 'localhost';
    return join '', "$method $uri HTTP/1.1\r\n",
        (map { "$_: $headers{$_}\r\n" } sort keys %headers),
        "Connection: close\r\n\r\n";
}

sub client {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $port
                                     || main::server_port_for_client())
        || die "connect: $!\n";
}

# sends bytes and returns all that comes until nginx closes

sub raw {
    my ($bytes) = @_;

    my $socket = client();
    print $socket $bytes;
    $socket->flush;

    my $answer = '';
    my $select = IO::Select->new($socket);
    while ($select->can_read(patience())) {
        sysread($socket, $answer, 65536, length $answer) or return $answer;
    }
    die "no end of the answer in time: $answer\n";
}

sub answer {
    my ($text) = @_;

    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($first, @lines) = split /\r\n/, $head // '';
    my ($status) = ($first // '') =~ m{^HTTP/\S+ (\d+)};
    my %headers = map { /^([^:]+):\s*(.*)/ ? (lc $1 => $2) : () } @lines;

    if (($headers{'transfer-encoding'} // '') eq 'chunked') {
        my $plain = '';
        while ($body =~ s/^([0-9a-f]+)\r\n//i && hex $1) {
            $plain .= substr $body, 0, hex $1, '';
            $body =~ s/^\r\n//;
        }
        $body = $plain;
    }
    return { status => $status // 0, headers => \%headers,
             body => $body // '' };
}

# burst($n, '/uri', Header => value ...): n requests at once, each on a
# connection of its own, opened before the first is sent; '/uri' may be a
# function of 0 .. n-1.  Returns the statuses, 0 for no answer.

sub burst {
    my ($n, $uri, %headers) = @_;

    my @sockets = map { client() } 1 .. $n;
    my %texts;
    my $select = IO::Select->new(@sockets);

    for my $i (0 .. $n - 1) {
        my $socket = $sockets[$i];
        $texts{$socket} = '';
        syswrite $socket,
            request(ref $uri ? $uri->($i) : $uri, %headers);
    }

    my $end = time + patience();
    while ($select->count && time < $end) {
        for my $socket ($select->can_read(0.1)) {
            sysread($socket, $texts{$socket}, 65536, length $texts{$socket})
                or $select->remove($socket);
        }
    }
    return map { answer($texts{$_})->{status} } @sockets;
}

# wait_for(sub { ... }): until it is true; its value, false if it never was

sub wait_for {
    my ($condition, $seconds) = @_;

    my $end = time + ($seconds // patience());
    my $value;
    until ($value = $condition->()) {
        return $value if time > $end;
        sleep 0.02;
    }
    return $value;
}

# seconds until a test gives up: more under valgrind
sub patience { 10 * ($ENV{PG_SLOW} // 1) }


# --- what nginx left behind

sub spew {
    my ($path, $text) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

sub slurp {
    my ($path) = @_;

    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

sub error_log  { slurp(main::server_root() . '/logs/error.log') }
sub access_log { slurp(main::server_root() . '/logs/access.log') }

sub nginx_pid {
    my ($pid) = slurp(main::server_root() . '/logs/nginx.pid') =~ /(\d+)/;
    return $pid;
}

# reads the configuration again; true when no old worker is left

sub reload {
    my %old = map { $_ => 1 } workers();

    kill 'HUP', nginx_pid();
    return wait_for(sub {
        my @now = workers();
        return @now && !grep { $old{$_} } @now;
    });
}

sub workers {
    my $master = nginx_pid();

    return grep { slurp("/proc/$_/stat") =~ /.*\) \w $master / }
        map { m{(\d+)$} } glob '/proc/[0-9]*';
}


# --- another node of the fleet: the same configuration, served by a second
# nginx with memory of its own.  It goes with its block.

sub another_root { main::server_root() . '-another' }

sub another_pid {
    my ($pid) = slurp(another_root() . '/logs/nginx.pid') =~ /(\d+)/;
    return $pid;
}

sub start_another {
    my ($from, $to) = (main::server_root(), another_root());

    my $text = slurp("$from/conf/nginx.conf");
    my $here = main::server_port();
    $text =~ s/\Q$from\E/$to/g;
    $text =~ s/(listen\s+(?:\S*:)?)$here\b/$1 . ($here + 1)/ge
        or die "no port $here in $from/conf/nginx.conf\n";

    mkdir "$to$_" for '', '/logs', '/conf', '/html';
    unlink "$to/logs/error.log";
    open my $file, '>', "$to/conf/nginx.conf" or die "$to: $!\n";
    print $file $text;
    close $file or die "$to: $!\n";

    system($ENV{TEST_NGINX_BINARY}, '-p', "$to/", '-e', "$to/logs/error.log",
           '-c', "$to/conf/nginx.conf") == 0 or die "another nginx: $?\n";
    wait_for(\&another_pid) or die "another nginx does not start\n";
}

sub stop_another {
    my $pid = another_pid() or return;

    kill 'TERM', $pid;
    wait_for(sub { !kill 0, $pid }, 30) or kill 'KILL', $pid;
    unlink map { another_root() . "/logs/$_" } qw(nginx.pid portal.sock);
}

# another { get(...) }: what is asked in the block is asked of that node

sub another (&) {
    my ($ask) = @_;

    local $port = main::server_port() + 1;
    return $ask->();
}


# --- Redis

# redis('GET', 'key'): what redis-cli prints, lines as a list

sub redis {
    open my $cli, '-|', 'redis-cli', '-s', $ENV{PG_REDIS_SOCKET}, '--raw', @_
        or die "redis-cli: $!\n";
    chomp(my @lines = <$cli>);
    close $cli or die "redis-cli @_: @lines\n";
    return wantarray ? @lines : join "\n", @lines;
}

# A server for one block, which may be killed, stopped, or spoilt: its socket
# is $dir/sock.  start_redis($dir, '--option', ...)

my %servers;

sub start_redis {
    my ($dir, @options) = @_;

    mkdir $dir;
    my $pid = fork // die "fork: $!\n";

    if (!$pid) {
        open STDOUT, '>>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec 'redis-server', '--port', 0, '--unixsocket', "$dir/sock",
             '--dir', $dir, '--save', '', @options
            or POSIX::_exit(1);
    }

    $servers{$dir} = $pid;
    wait_for(sub { redis_at($dir, 'PING') =~ /PONG|LOADING|NOAUTH/ })
        or die "redis: " . slurp("$dir/log");
}

sub stop_redis {
    my ($dir) = @_;

    my $pid = delete $servers{$dir} or return;
    kill $_, $pid for qw(KILL CONT);
    waitpid $pid, 0;
    unlink "$dir/sock";
}

sub redis_pid { $servers{$_[0]} }

# what redis-cli prints, errors too, as one text

sub redis_at {
    my ($dir, @command) = @_;

    open my $cli, '-|', 'sh', '-c', 'exec redis-cli -s "$@" 2>&1', 'sh',
         "$dir/sock", '--raw', @command or die "redis-cli: $!\n";
    local $/;
    return <$cli> // '';
}


# What Redis has counted in this block, by the account's alias as the variable says it: {
# total, newest, counts => [33], set => [8 bytes ...] }, undef if nothing.
# $dir may be '' for the Redis that all suites share.

sub window_at {
    my ($dir, $account, $field) = @_;

    my $socket = $dir eq '' ? $ENV{PG_REDIS_SOCKET} : "$dir/sock";
    my $list = sub {
        open my $cli, '-|', 'redis-cli', '-s', $socket, '--raw', @_
            or die "redis-cli: $!\n";
        local $/;
        return (<$cli> // '') =~ s/\n\z//r;
    };

    my ($key) = split /\n/, $list->('KEYS', "*:$policy*:{$account}")
        or return;
    my $value = $list->('HGET', $key, $field);
    return if length $value < 144;

    my ($newest, $total, @counts) = unpack 'Q<L<L<33', $value;
    return { newest => $newest, total => $total, counts => \@counts,
             set => [unpack '(a8)*', substr $value, 144] };
}


# --- fake_redis holds the body of a function.  It is called with each
# command that a connection sends, as a list, and once without one when a
# connection opens.  $peer is the connection:
#
#     $peer->{number}          1 for the first connection, 2 ...
#     $peer->{commands}        how many commands it has sent
#     $peer->send($bytes)      as they are, at once
#     $peer->real(@command)    what the real Redis answers, as bytes
#     $peer->pause($seconds)   this connection only; others go on
#     $peer->close
#     $peer->reset             with an RST, where the connection is TCP
#
# Without fake_redis nothing listens there.  fake_commands() lists what
# was sent so far, a line each, over all connections.

sub fake_redis {
    my ($text) = @_;

    my $handler = eval "package PatientGuard; no strict;\n"
        . "sub { my (\$peer, \@command) = \@_; $text\n}"
        or die "fake_redis: $@";

    unlink "$fake_path.sock", "$fake_path.log";
    my @servers = (
        IO::Socket::UNIX->new(Local => "$fake_path.sock", Listen => 128)
            || die("$fake_path.sock: $!\n"),
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128,
                              LocalPort => $fake_port, ReuseAddr => 1)
            || die("port $fake_port: $!\n"));

    $fake_pid = child(sub {
        local $SIG{CHLD} = 'IGNORE';
        my %children;

        # none is left to hold what the next block listens at
        local $SIG{TERM} = sub {
            kill 'KILL', keys %children;
            1 while waitpid(-1, 0) > 0;
            POSIX::_exit(0);
        };

        my $term = POSIX::SigSet->new(POSIX::SIGTERM());
        my $number = 0;
        my $select = IO::Select->new(@servers);
        for (;;) {
            for my $server ($select->can_read) {
                my $socket = $server->accept or next;

                # nor one that was just born
                POSIX::sigprocmask(POSIX::SIG_BLOCK(), $term);
                my $pid = child(sub {
                    local $SIG{TERM} = 'DEFAULT';
                    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $term);
                    close $_ for @servers;
                    bless({ socket => $socket, number => ++$number,
                            commands => 0, read => '' },
                          'PatientGuard::Peer')
                        ->serve($handler, "$fake_path.log");
                });
                $number++;
                $children{$pid} = 1;
                POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $term);
                close $socket;
            }
        }
    });
    close $_ for @servers;
}

sub child {
    my ($code) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    eval { $code->() };
    print STDERR "fake_redis: $@" if $@;
    POSIX::_exit(0);
}

sub stop_fake {
    return unless $fake_pid;

    kill 'TERM', $fake_pid;
    waitpid $fake_pid, 0;
    undef $fake_pid;
    unlink "$fake_path.sock", "$fake_path.log";
}

sub fake_commands { split /\n/, slurp("$fake_path.log") }

END {
    local $?;
    stop_another();
    stop_fake();
    stop_redis($_) for keys %servers;
}


package PatientGuard::Peer;

sub serve {
    my ($peer, $handler, $path) = @_;

    open my $log, '>>', $path or die "$path: $!\n";
    $log->autoflush(1);

    $handler->($peer);
    while (my @command = $peer->command) {
        $peer->{commands}++;
        print $log join(' ', map { s/\s+/ /gr } @command), "\n";
        $handler->($peer, @command);
    }
}

sub command {
    my ($peer) = @_;

    my $count = $peer->line // return;
    $count =~ s/^\*// or die "not a command: $count\n";

    return map {
        my $length = $peer->line // return;
        $length =~ s/^\$// or die "not a bulk string: $length\n";
        $peer->bytes($length + 2) // return;
    } 1 .. $count;
}

sub line {
    my ($peer) = @_;

    my $end;
    while (($end = index $peer->{read}, "\r\n") < 0) {
        $peer->more or return;
    }
    return substr(substr($peer->{read}, 0, $end + 2, ''), 0, -2);
}

sub bytes {
    my ($peer, $length) = @_;

    until (length $peer->{read} >= $length) { $peer->more or return }
    return substr(substr($peer->{read}, 0, $length, ''), 0, -2);
}

sub more {
    my ($peer) = @_;

    return sysread($peer->{socket}, $peer->{read}, 65536,
                   length $peer->{read});
}

sub send {
    my ($peer, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite($peer->{socket}, $bytes) or return;
        substr $bytes, 0, $n, '';
    }
}

sub pause { Time::HiRes::sleep($_[1]) }

# of a call of the script: see ngx_patient_guard_count.lua
sub flags {
    my (undef, @command) = @_;
    return unpack 'V', substr $command[3 + $command[2]], 48, 4;
}

sub close { POSIX::_exit(0) }

sub reset {
    my ($peer) = @_;

    setsockopt($peer->{socket}, Socket::SOL_SOCKET, Socket::SO_LINGER,
               pack('ii', 1, 0));
    POSIX::_exit(0);
}

# A reply ends where the next begins: PING marks the place.
sub real {
    my ($peer, @command) = @_;

    my $redis = $peer->{redis} //= IO::Socket::UNIX->new(
        Peer => $ENV{PG_REDIS_SOCKET}) || die "Redis: $!\n";
    my $mark = "mark-$$-" . $peer->{commands};

    syswrite $redis, join '', map {
        my @words = @$_;
        join '', '*' . @words . "\r\n",
            map { '$' . length($_) . "\r\n$_\r\n" } @words;
    } \@command, ['PING', $mark];

    my $reply = '';
    my $end = '$' . length($mark) . "\r\n$mark\r\n";
    until ($reply =~ s/\Q$end\E\z//) {
        sysread($redis, $reply, 65536, length $reply) or die "Redis: $!\n";
    }
    return $reply;
}

1;
