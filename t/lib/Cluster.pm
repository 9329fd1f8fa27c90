package Cluster;

# A cluster of three masters, each with a replica, all of them real.
#
#     my $cluster = Cluster->new("$ENV{PG_TMP}/x",
#         tls => 'NAME', clients => 'yes', client => 'NAME',  # see Server.pm
#         password => 'secret', users => ['guard on >pw ~* +@all'],
#         replicas => 0,                 # for each master, 1 unless given
#         hostnames => ['a.test', 'b.test', 'c.test'],   # of the masters; a
#                                        # replica has its master's
#         options => ['cluster-allow-reads-when-down no', ...]);
#
#     $cluster->addresses                "127.0.0.1:7000 ..." of the masters
#     @{ $cluster->{servers} }           Server.pm's, masters first
#     $cluster->slot('pg:p:{alias}')     of a key
#     $cluster->owner($slot)             the master that serves it
#     $cluster->masters, $cluster->replica_of($master)
#     $cluster->keys('pattern')          over all masters
#     $cluster->promoted($slot, $old)    waits, returns the new master
#     $cluster->fail_over($slot)         by hand, returns the new master
#     $cluster->settled
#     $cluster->move($to, @slots)        with all that is in them, properly
#     $cluster->open($to, $slot)         half of it: MIGRATING, IMPORTING
#     $cluster->carry($to, $slot)        the keys that are there by now
#     $cluster->close($to, $slot)        the other half: NODE
#     $cluster->forget($slot)            CLUSTERDOWN
#     $cluster->remember($slot)
#     $cluster->join                     one more master, without a slot
#     $cluster->stop
#
# A master is killed like any Server: $cluster->owner($slot)->kill.

use strict;
use warnings;

use Server;

our $SLOTS = 16384;

# After how many ms without an answer a node is taken for dead.  This machine
# may stand still for a second or two, and who sees no majority for that long
# answers CLUSTERDOWN: only who waits for a promotion is in a hurry.
our ($SLOW, $HURRY) = (10000, 1500);

sub new {
    my ($class, $dir, %is) = @_;

    my $cluster = bless { dir => $dir, replicas => 1, %is }, $class;
    mkdir $dir;

    my $n = 3 * (1 + $cluster->{replicas});
    $cluster->{ports} = [Server::ports(2 * ($n + 1))];
    my @servers = map { $cluster->server } 1 .. $n;
    my @masters = @servers[0 .. 2];

    # each of them is told its part before it meets the others
    $_->start for @servers;
    for my $i (0 .. 2) {
        my ($from, $to) = map { int($SLOTS * $_ / 3) } $i, $i + 1;
        $masters[$i]->many(['CLUSTER', 'SET-CONFIG-EPOCH', $i + 1],
            ['CLUSTER', 'ADDSLOTSRANGE', $from, $to - 1]);
    }
    $cluster->meet($_) for @servers[1 .. $#servers];

    for my $i (3 .. $#servers) {
        my $master = $masters[$i % 3];
        $servers[$i]->wait_until('replicates', sub {
            $servers[$i]->cli('CLUSTER', 'REPLICATE', $master->{id}) eq 'OK';
        });
    }
    $cluster->settled;
    return $cluster;
}

sub server {
    my ($cluster) = @_;

    my $servers = $cluster->{servers} //= [];
    my $n = @$servers;
    my $hostname = $cluster->{hostnames} ? $cluster->{hostnames}[$n % 3]
                                         : undef;
    my $bus = pop @{ $cluster->{ports} };

    my $server = Server->new(
        map({ $_ => $cluster->{$_} } grep { defined $cluster->{$_} }
            qw(tls ca clients client password)),
        dir => "$cluster->{dir}/server-" . ($n + 1),
        port => shift @{ $cluster->{ports} }, bus => $bus,
        options => [
            'cluster-enabled yes', "cluster-port $bus",
            'cluster-config-file nodes.conf', "cluster-node-timeout $SLOW",
            'cluster-replica-validity-factor 0',
            'cluster-migration-barrier 10',
            'cluster-allow-replica-migration no',
            'repl-diskless-sync-delay 0', 'repl-ping-replica-period 1',
            $cluster->{tls} ? 'tls-cluster yes' : (),
            $hostname ? ("cluster-announce-hostname $hostname",
                         'cluster-preferred-endpoint-type hostname') : (),
            map({ "user $_" } @{ $cluster->{users} // [] }),
            @{ $cluster->{options} // [] } ]);
    push @$servers, $server;
    return $server;
}

sub meet {
    my ($cluster, $server) = @_;

    my ($first) = grep { $_->alive && $_ != $server } @{ $cluster->{servers} };
    $first->cli('CLUSTER', 'MEET', $server->{host}, $server->port,
                $server->{bus});
    $_->{id} //= $_->cli('CLUSTER', 'MYID') for $first, $server;
}

sub addresses {
    return CORE::join ' ', map { $_->address } @{ $_[0]{servers} }[0 .. 2];
}

sub alive { grep { $_->alive } @{ $_[0]{servers} } }

# as a node sees them: ({ id, port, flags, master, slots => [[from, to]] })

sub nodes {
    my ($server) = @_;

    return map {
        my ($id, $address, $flags, $master, undef, undef, $epoch, $link,
            @slots) = split ' ';
        my ($port) = $address =~ /:(\d+)@/;
        { id => $id, port => $port, flags => $flags, master => $master,
          epoch => $epoch, link => $link, slots => [map { /^(\d+)(?:-(\d+))?$/
                                         ? [$1, $2 // $1] : () } @slots] }
    } grep { /^\w+ \S*:\d+@/ } split /\n/, $server->cli('CLUSTER', 'NODES');
}

# All that are alive know of all who owns what, since which epoch, and serve
# it: who does not know of a later epoch takes slots and is not believed.

sub settled {
    my ($cluster, $seconds) = @_;

    my ($first) = $cluster->alive;
    return if eval {
        $first->wait_until('settled', sub { $cluster->in_step },
                           $seconds // 60);
        1;
    };
    die $@, map { ($_->address, ":\n", $_->cli('CLUSTER', 'NODES'), "\n") }
        $cluster->alive;
}

sub in_step {
    my ($cluster) = @_;

    my @alive = $cluster->alive;
    my %maps;
    for my $server (@alive) {
        my $info = $server->cli('CLUSTER', 'INFO');
        return 0 if $info !~ /cluster_state:ok/;
        return 0 if $info !~ /cluster_slots_ok:$SLOTS/;

        my @nodes = nodes($server);
        my ($me) = grep { $_->{flags} =~ /myself/ } @nodes;
        return 0 if @nodes < @alive;
        return 0 if $me->{flags} =~ /slave/
            && $server->info('master_link_status') ne 'up';
        $maps{ CORE::join ' ', sort map {
            my $node = $_;
            map { "$node->{id}:$node->{epoch}:$_->[0]-$_->[1]" }
                @{ $node->{slots} }
        } @nodes } = 1;
    }
    return CORE::keys(%maps) == 1;
}

sub slot {
    my ($cluster, $key) = @_;

    my ($first) = $cluster->alive;
    return $first->cli('CLUSTER', 'KEYSLOT', $key);
}

sub by_port {
    my ($cluster, $port) = @_;

    my ($server) = grep { $_->port == $port } @{ $cluster->{servers} };
    return $server;
}

# as the first node that is alive sees it

sub owner {
    my ($cluster, $slot) = @_;

    my ($first) = $cluster->alive;
    for my $node (nodes($first)) {
        return $cluster->by_port($node->{port})
            if grep { $slot >= $_->[0] && $slot <= $_->[1] }
               @{ $node->{slots} };
    }
    return;
}

sub masters {
    my ($cluster) = @_;

    my ($first) = $cluster->alive;
    return map { $cluster->by_port($_->{port}) }
        sort { $a->{slots}[0][0] <=> $b->{slots}[0][0] }
        grep { @{ $_->{slots} } } nodes($first);
}

sub replica_of {
    my ($cluster, $master) = @_;

    my ($replica) = map { $cluster->by_port($_->{port}) }
        grep { $_->{master} eq $master->{id} } nodes($master);
    return $replica;
}

sub keys {
    my ($cluster, $pattern) = @_;

    return map { $_->keys($pattern) } grep { $_->alive } $cluster->masters;
}

# $old is dead: when all that are alive know that another one serves the slot

sub promoted {
    my ($cluster, $slot, $old) = @_;

    my @alive = grep { $_ != $old } $cluster->alive;
    $_->cli('CONFIG', 'SET', 'cluster-node-timeout', $HURRY) for @alive;
    my $new = $cluster->has_taken_over($slot, $old);
    $_->cli('CONFIG', 'SET', 'cluster-node-timeout', $SLOW) for @alive;
    return $new;
}

sub has_taken_over {
    my ($cluster, $slot, $old) = @_;

    my $new;
    my ($first) = grep { $_ != $old } $cluster->alive;
    $first->wait_until('promoted', sub {
        $new = $cluster->owner($slot);
        return $new && $new != $old && $cluster->in_step;
    }, 30);
    return $new;
}

# in good order, which waits for the replica: no write is lost

sub fail_over {
    my ($cluster, $slot) = @_;

    my $old = $cluster->owner($slot);
    my $replica = $cluster->replica_of($old) or die "no replica\n";
    my $said = $replica->cli('CLUSTER', 'FAILOVER');
    die "CLUSTER FAILOVER: $said\n" if $said ne 'OK';
    return $cluster->has_taken_over($slot, $old);
}

# --- slots that move

sub move {
    my ($cluster, $to, @slots) = @_;

    # a chunk at a time, so that there are some of each kind
    while (my @chunk = splice @slots, 0, 64) {
        $cluster->open($to, @chunk);
        $cluster->carry($to, @chunk);
        $cluster->close($to, @chunk);
    }
}

# (server, [slots that it has]) ..., but for those that $to has

sub sources {
    my ($cluster, $to, @slots) = @_;

    my ($first) = $cluster->alive;
    my @from;
    for my $node (nodes($first)) {
        next if $node->{port} == $to->port;
        my @of = grep {
            my $slot = $_;
            grep { $slot >= $_->[0] && $slot <= $_->[1] } @{ $node->{slots} }
        } @slots;
        push @from, [$cluster->by_port($node->{port}), \@of] if @of;
    }
    return @from;
}

# The target first: who is sent there must not be sent back.

sub open {
    my ($cluster, $to, @slots) = @_;

    $cluster->settled;
    for my $source ($cluster->sources($to, @slots)) {
        my ($from, $of) = @$source;
        done($to, map { ['CLUSTER', 'SETSLOT', $_, 'IMPORTING', $from->{id}] }
             @$of);
        done($from, map { ['CLUSTER', 'SETSLOT', $_, 'MIGRATING', $to->{id}] }
             @$of);
    }
}

sub carry {
    my ($cluster, $to, @slots) = @_;

    my $password = $cluster->{password};
    my @auth = $password ? ('AUTH', $password) : ();

    for my $source ($cluster->sources($to, @slots)) {
        my ($from, $of) = @$source;
        for (;;) {
            my @lines = $from->many(map {
                (['ECHO', "slot-$_"], ['CLUSTER', 'GETKEYSINSLOT', $_, 100])
            } @$of);
            my (%keys, $slot);
            for (@lines) {
                if (/^slot-(\d+)$/) { $slot = $1 }
                elsif (/./) { push @{ $keys{$slot} }, $_ }
            }
            last unless %keys;
            done($from, map {
                ['MIGRATE', $to->{host}, $to->port, '""', 0, 5000, @auth,
                 'KEYS', @{ $keys{$_} }]
            } CORE::keys %keys);
        }
    }
}

sub close {
    my ($cluster, $to, @slots) = @_;

    # the target first, once more: else both would send the other one's way
    my @commands = map { ['CLUSTER', 'SETSLOT', $_, 'NODE', $to->{id}] }
        @slots;
    my @from = map { $_->[0] } $cluster->sources($to, @slots);
    my %seen = map { $_ => 1 } $to, @from;
    done($_, @commands)
        for $to, @from, grep { !$seen{$_} } $cluster->masters;
}

sub done {
    my ($server, @commands) = @_;

    my @said = grep { !/^(?:OK|NOKEY)$/ } $server->many(@commands);
    die "$server->{dir}: @said\n" if @said;
}

# a slot that nobody serves: CLUSTERDOWN, everywhere unless
# cluster-require-full-coverage is "no"

sub forget {
    my ($cluster, $slot) = @_;

    my $owner = $cluster->{forgotten}{$slot} = $cluster->owner($slot);
    $owner->wait_until('forgotten', sub {
        $_->cli('CLUSTER', 'DELSLOTS', $slot) for $cluster->alive;
        return !grep { $_->cli('CLUSTER', 'INFO')
                       =~ /slots_assigned:$SLOTS/ } $cluster->alive;
    });
}

sub remember {
    my ($cluster, $slot) = @_;

    my $owner = delete $cluster->{forgotten}{$slot};
    $owner->cli('CLUSTER', 'ADDSLOTS', $slot);
    $cluster->settled;
}

# one more

sub join {
    my ($cluster) = @_;

    my $server = $cluster->server->start;
    $cluster->meet($server);
    $server->wait_until('has joined', sub {
        my @alive = $cluster->alive;
        return $cluster->in_step && !grep { my @nodes = nodes($_);
                                            @nodes < @alive } @alive;
    });
    return $server;
}

sub stop {
    my ($cluster) = @_;

    $_->kill for grep { $_->{pid} } @{ $cluster->{servers} };
}

1;
