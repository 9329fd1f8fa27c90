package Server;

# One Redis in a folder of its own: started, killed, stopped, and started as
# it was.  It goes when this process goes, however that ends.
#
#     my $server = Server->new(dir => "$ENV{PG_TMP}/x",
#         host => '127.0.0.1',    # an address, and
#         port => 7000,           # a port that is free unless given
#         tls => 'NAME',          # its certificate: see Certificates.pm
#         ca => 'ours',           # whom it trusts, and we
#         clients => 'yes',       # do clients need one?  'no' unless given
#         client => 'NAME',       # which redis-cli shows then
#         password => 'secret',   # of the user "default"
#         options => ['appendonly yes', ...]);
#     $server->start;             # answers when this returns
#     $server->cli('GET', 'key'); # what redis-cli prints, errors too
#     $server->many(['GET', 'a'], ['GET', 'b']);   # in one go
#     $server->kill; $server->start;
#     $server->freeze; $server->thaw;              # STOP, CONT
#     $server->terminate;         # in good order
#     $server->info('role'); $server->calls('evalsha'); $server->clients;

use strict;
use warnings;

use IO::Socket::IP;
use List::Util qw(sum);
use POSIX ();
use Time::HiRes qw(sleep time);

sub slow { $ENV{PG_SLOW} // 1 }

# n ports in a row that are free at each host, and not nginx'

sub ports {
    my ($n, @hosts) = @_;

    my $nginx = $ENV{PG_PORT} // 0;
    BASE: for (1 .. 1000) {
        my $base = 10000 + int rand(22000 - $n);
        next if $base < $nginx + 64 && $base + $n > $nginx;
        my @held;
        for my $host (@hosts ? @hosts : '127.0.0.1') {
            for my $port ($base .. $base + $n - 1) {
                push @held, IO::Socket::IP->new(LocalHost => $host,
                    LocalPort => $port, Listen => 1) || next BASE;
            }
        }
        return $base .. $base + $n - 1;
    }
    die "no free ports\n";
}

sub new {
    my ($class, %is) = @_;

    $is{host} //= '127.0.0.1';
    ($is{port}) = ports(1, $is{host}) unless $is{port};
    $is{ca} //= 'ours';
    $is{clients} //= 'no';
    return bless { options => [], %is }, $class;
}

sub address {
    my ($server) = @_;

    return join ':', $server->{host} =~ /:/ ? "[$server->{host}]"
                                            : $server->{host}, $server->{port};
}

sub port { $_[0]{port} }
sub pid { $_[0]{pid} }

sub config {
    my ($server) = @_;

    my @lines = ("bind $server->{host}", "dir $server->{dir}", 'save ""',
                 'enable-debug-command yes', 'enable-protected-configs yes');
    push @lines, $server->secured;
    push @lines, "requirepass $server->{password}",
                 "masterauth $server->{password}" if $server->{password};
    return @lines, @{ $server->{options} };
}

sub secured {
    my ($server) = @_;

    return "port $server->{port}" unless $server->{tls};

    my $path = "$Certificates::dir/$server->{tls}";
    return ('port 0', "tls-port $server->{port}", 'tls-replication yes',
            "tls-cert-file $path.pem", "tls-key-file $path.key",
            "tls-ca-cert-file $Certificates::dir/$server->{ca}.pem",
            "tls-auth-clients $server->{clients}");
}

sub sentinel { '' }

# What a server has written into its file is kept when it starts again.

sub start {
    my ($server) = @_;

    my $conf = "$server->{dir}/conf";
    mkdir $server->{dir};
    if (!-e $conf) {
        open my $file, '>', $conf or die "$conf: $!\n";
        print $file map { "$_\n" } $server->config;
        close $file or die "$conf: $!\n";
    }

    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$server->{dir}/log";
        open STDERR, '>&', \*STDOUT;

        # even if we are killed, and it is stopped
        exec 'setpriv', '--pdeathsig', 'KILL', 'redis-server', $conf,
             $server->sentinel || () or POSIX::_exit(1);
    }
    $server->{pid} = $pid;
    $server->wait_until('answers', sub {
        $server->cli('PING') =~ /PONG|NOAUTH|LOADING|MASTERDOWN|NOPERM/;
    });
    return $server;
}

# dies, with what the server has said, if it is not so in time

sub wait_until {
    my ($server, $what, $condition, $seconds) = @_;

    my $end = time + ($seconds // 40) * slow();
    until ($condition->()) {
        if (time > $end || waitpid($server->{pid}, POSIX::WNOHANG()) > 0) {
            my @log = `tail -n 12 $server->{dir}/log`;
            die "$server->{dir}: not in time: $what: @log\n";
        }
        sleep 0.02;
    }
}

sub signal { CORE::kill $_[1], $_[0]{pid} if $_[0]{pid} }

sub freeze {
    my ($server) = @_;

    $server->{frozen} = 1;
    $server->signal('STOP');
    $server->wait_until('stopped', sub {
        open my $stat, '<', "/proc/$server->{pid}/stat" or return 0;
        return <$stat> =~ /\) T/;
    });
}

sub thaw {
    my ($server) = @_;

    delete $server->{frozen};
    $server->signal('CONT');
}

sub kill {
    my ($server) = @_;

    $server->signal($_) for qw(KILL CONT);
    $server->gone;
}

sub terminate {
    my ($server) = @_;

    $server->signal($_) for qw(CONT TERM);
    $server->gone;
}

sub gone {
    my ($server) = @_;

    delete $server->{frozen};
    waitpid delete $server->{pid}, 0 if $server->{pid};
}

sub alive { $_[0]{pid} && !$_[0]{frozen} }


# --- redis-cli

# how to reach it: "-h", HOST ...; $user and $password of somebody else

sub reach {
    my ($server, $user, $password) = @_;

    my @reach = ('-h', $server->{host}, '-p', $server->{port}, '--raw');
    if ($server->{tls}) {
        push @reach, '--tls', '--cacert',
             "$Certificates::dir/$server->{ca}.pem";
        my $name = $server->{client};
        push @reach, '--cert', "$Certificates::dir/$name.pem",
                     '--key', "$Certificates::dir/$name.key" if $name;
    }
    $password //= $server->{password};
    push @reach, '--no-auth-warning', '--pass', $password if $password;
    push @reach, '--user', $user if $user;
    return @reach;
}

sub cli { (shift)->cli_as(undef, undef, @_) }

sub cli_as {
    my ($server, $user, $password, @command) = @_;

    # one that is stopped answers nobody
    open my $cli, '-|', 'sh', '-c',
         'exec timeout --foreground 5 redis-cli "$@" 2>&1', 'sh',
         $server->reach($user, $password), @command
        or die "redis-cli: $!\n";
    local $/;
    return (<$cli> // '') =~ s/\n+\z//r;
}

# Each command is a list of words without blanks.  Answers come in this
# order: a line each, or more.

sub many {
    my ($server, @commands) = @_;

    my $path = "$server->{dir}/many-$$";
    open my $file, '>', $path or die "$path: $!\n";
    print $file map { "@$_\n" } @commands;
    close $file or die "$path: $!\n";
    open my $cli, '-|', 'sh', '-c',
         'path=$1; shift; exec timeout --foreground 30 redis-cli "$@"'
         . ' < "$path" 2>&1', 'sh', $path, $server->reach
        or die "redis-cli: $!\n";
    chomp(my @lines = <$cli>);
    unlink $path;
    return @lines;
}

# what INFO says

sub info {
    my ($server, $name) = @_;

    my ($value) = $server->cli('INFO', 'ALL') =~ /^\Q$name\E:([^\r\n]*)/m;
    return $value // '';
}

# how often it has run these commands

sub calls {
    my ($server, @names) = @_;

    my $names = join '|', map { quotemeta } @names;
    return sum(0, $server->cli('INFO', 'commandstats')
                  =~ /^cmdstat_(?:$names):calls=(\d+)/mg);
}

# who is connected: [{ id, addr, name, cmd, user ... }], but for redis-cli,
# other servers and sentinels

sub clients {
    my ($server) = @_;

    my @clients = map { { map { split /=/, $_, 2 } split ' ' } }
        split /\n/, $server->cli('CLIENT', 'LIST', 'TYPE', 'normal');
    # a node keeps those by which it sent keys for a while
    return grep { $_->{cmd} !~ /^(?:client|restore)/
                  && $_->{name} !~ /^sentinel-/ }
        @clients;
}

# what it has counted under a key, by a limit's field: 0, if nothing

sub total {
    my ($server, $key, $field) = @_;

    return $server->cli('EVAL', <<'END', 1, $key, $field);
local window = redis.call('HGET', KEYS[1], ARGV[1])
return window and select(2, struct.unpack('<I8I4', window)) or 0
END
}

sub keys {
    my ($server, $pattern) = @_;

    return split /\n/, $server->cli('KEYS', $pattern // '*');
}

1;
