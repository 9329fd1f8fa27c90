package Sentinels;

# Three sentinels, a master and two replicas, all of them real.
#
#     my $sentinels = Sentinels->new("$ENV{PG_TMP}/x", name => 'ours',
#         tls => 'NAME', clients => 'yes', client => 'NAME',  # see Server.pm
#         password => 'secret',              # of the servers
#         users => ['guard on >pw ~* +@all'],          # on each server
#         sentinel_password => 'secret',     # of the sentinels
#         sentinel_users => ['guard on >pw +sentinel|get-master-addr-by-name'],
#         options => ['min-replicas-to-write 1', ...]);
#
#     $sentinels->addresses              "127.0.0.1:7000 127.0.0.1:7001 ..."
#     @{ $sentinels->{sentinels} }       Server.pm's, like the next ones
#     @{ $sentinels->{servers} }         the first was the master at first
#     $sentinels->master                 as the sentinels say
#     $sentinels->replicas               the others that are alive
#     $sentinels->fail_over              by hand, returns the new master
#     $sentinels->kill_master            returns the one that was
#     $sentinels->failed_over($old)      waits, returns the new master
#     $sentinels->settled                all know all, and all are in step
#     $sentinels->stop

use strict;
use warnings;

use Server;

sub new {
    my ($class, $dir, %is) = @_;

    my $sentinels = bless { dir => $dir, name => 'ours', %is }, $class;
    mkdir $dir;

    my @ports = Server::ports(6);
    my %secured = map { $_ => $is{$_} }
        grep { defined $is{$_} } qw(tls ca clients client);

    for my $n (1 .. 3) {
        my $port = shift @ports;
        push @{ $sentinels->{servers} }, Server->new(%secured,
            dir => "$dir/server-$n", port => $port,
            password => $is{password},
            options => [
                'repl-diskless-sync-delay 0', 'repl-ping-replica-period 1',
                $n == 1 ? () : do {
                    my ($first) = @{ $sentinels->{servers} };
                    "replicaof $first->{host} $first->{port}";
                },
                map({ "user $_" } @{ $is{users} // [] }),
                @{ $is{options} // [] } ]);
    }

    my ($master) = @{ $sentinels->{servers} };
    my $name = $sentinels->{name};
    for my $n (1 .. 3) {
        push @{ $sentinels->{sentinels} }, Sentinels::Sentinel->new(%secured,
            dir => "$dir/sentinel-$n", port => shift @ports,
            password => $is{sentinel_password},
            options => [
                $is{sentinel_password} ? 'sentinel sentinel-pass '
                                         . $is{sentinel_password} : (),
                map({ "user $_" } @{ $is{sentinel_users} // [] }),
                "sentinel monitor $name $master->{host} $master->{port} 2",
                $is{password} ? "sentinel auth-pass $name $is{password}" : (),
                "sentinel down-after-milliseconds $name 1000",
                "sentinel failover-timeout $name 3000",
                "sentinel parallel-syncs $name 2",
                @{ $is{sentinel_options} // [] } ]);
    }

    # the master first: a replica that does not find it waits for a second
    $_->start for @{ $sentinels->{servers} }, @{ $sentinels->{sentinels} };
    $sentinels->settled;
    return $sentinels;
}

sub addresses {
    return join ' ', map { $_->address } @{ $_[0]{sentinels} };
}

sub known {
    my ($sentinel, @command) = @_;

    my @lines = split /\n/, $sentinel->cli('SENTINEL', @command);
    return { map { $lines[2 * $_] => $lines[2 * $_ + 1] // '' }
             0 .. $#lines / 2 };
}

# where the sentinels that are alive say that the master is; undef as long as
# they do not agree

sub said {
    my ($sentinels) = @_;

    my %said;
    for my $sentinel (grep { $_->alive } @{ $sentinels->{sentinels} }) {
        my $said = $sentinel->cli('SENTINEL', 'get-master-addr-by-name',
                                  $sentinels->{name}) =~ tr/\n/:/r;
        $said{$said} = 1;
    }
    return keys %said == 1 ? (keys %said)[0] : undef;
}

sub master {
    my ($sentinels) = @_;

    my $said = $sentinels->said // return;
    my ($master) = grep { $_->address eq $said } @{ $sentinels->{servers} };
    return $master;
}

sub replicas {
    my ($sentinels) = @_;

    my $master = $sentinels->master // return;
    return grep { $_ != $master && $_->alive } @{ $sentinels->{servers} };
}

sub settled {
    my ($sentinels) = @_;

    my ($first) = grep { $_->alive } @{ $sentinels->{sentinels} };
    $first->wait_until('settled', sub { $sentinels->in_step }, 60);
}

sub in_step {
    my ($sentinels) = @_;

    my $master = $sentinels->master or return;
    my @sentinels = grep { $_->alive } @{ $sentinels->{sentinels} };
    my @servers = grep { $_->alive } @{ $sentinels->{servers} };

    return 0 if $master->info('role') ne 'master';
    for my $replica (grep { $_ != $master } @servers) {
        return 0 if $replica->info('role') ne 'slave'
            || $replica->info('master_port') ne $master->port
            || $replica->info('master_link_status') ne 'up';
    }

    my $n = @sentinels - 1;
    for my $sentinel (@sentinels) {
        my $about = known($sentinel, 'master', $sentinels->{name});
        return 0 if $about->{flags} ne 'master'
            || $about->{'num-slaves'} < @servers - 1
            || $about->{'num-other-sentinels'} < $n;

        # one that is down is not promoted
        my $replicas = $sentinel->cli('SENTINEL', 'replicas',
                                      $sentinels->{name});
        my $up = () = $replicas =~ /^flags\nslave$/mg;
        my $linked = () = $replicas =~ /^master-link-status\nok$/mg;
        return 0 if $up < @servers - 1 || $linked < @servers - 1;
    }
    return 1;
}

# by hand, under way when the sentinels say where it leads; the servers follow
# by and by

sub fail_over {
    my ($sentinels) = @_;

    my $old = $sentinels->master or die "no master\n";
    my ($sentinel) = grep { $_->alive } @{ $sentinels->{sentinels} };
    my $new;

    # on a busy machine the others may take it back at once: asked again
    for my $try (1 .. 3) {
        $sentinel->wait_until('SENTINEL FAILOVER', sub {
            $sentinel->cli('SENTINEL', 'failover', $sentinels->{name})
                eq 'OK';
        });
        $new = eval { $sentinels->failed_over($old, 15) };
        last if $new;
    }
    return $new // die $@;
}

sub kill_master {
    my ($sentinels) = @_;

    my $old = $sentinels->master or die "no master\n";
    $old->kill;
    return $old;
}

sub failed_over {
    my ($sentinels, $old, $seconds) = @_;

    my $new;
    my ($first) = grep { $_->alive } @{ $sentinels->{sentinels} };
    $first->wait_until('failed over', sub {
        $new = $sentinels->master;
        return $new && $new != $old && $new->info('role') eq 'master';
    }, $seconds // 40);
    return $new;
}

sub stop {
    my ($sentinels) = @_;

    $_->kill for grep { $_->{pid} } @{ $sentinels->{sentinels} },
                                    @{ $sentinels->{servers} };
}


package Sentinels::Sentinel;

our @ISA = 'Server';

sub sentinel { '--sentinel' }

# They ask, and tell each other, far more often than each ten seconds, or two.

sub start {
    my ($sentinel) = @_;

    $sentinel->SUPER::start;
    my $said = $sentinel->cli(qw(SENTINEL DEBUG INFO-PERIOD 200
        PUBLISH-PERIOD 200 PING-PERIOD 300 ASK-PERIOD 100 TILT-PERIOD 1000));
    die "SENTINEL DEBUG: $said\n" if $said ne 'OK';
    return $sentinel;
}

sub config {
    my ($sentinel) = @_;

    return ("bind $sentinel->{host}", "dir $sentinel->{dir}",
            $sentinel->secured,
            $sentinel->{password} ? "requirepass $sentinel->{password}" : (),
            @{ $sentinel->{options} });
}

1;
