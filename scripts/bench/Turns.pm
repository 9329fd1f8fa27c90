package Turns;

# Rows that take turns, and what the kernel knows of their time.
#
# Others may use the machine, and how fast it is goes up and down by a third
# within seconds.  So rows take turns, of half a thousand lookups, each time in
# another order, and before and after each one what it is compared with, its
# reference, has a turn of its own: a ratio is that of a turn to the mean of
# both.  A round's figure is the median of its turns'.  How far "proxy_pass,
# once more" is from 1 is how far any other row may be by chance.
#
# Time is that of /proc/PID/schedstat, in ns, read when the worker and Redis
# have come to rest: what follows a lookup later is in it.
#
# ALONE=1 runs them by SCHED_FIFO where it matters when an answer comes, or it
# would come when others of the machine have had their slices of 3 ms.  The
# time of a worker is not measured so: which of two that are the same has more
# then depends on who wakes whom.

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(max shuffle sum);

use Figures;
use Rows;
use Servers;

our @EXPORT = qw(rounds new_runner rest turns alone of_round of ratios
                 differences);

srand($ENV{SEED} || 1);

sub rounds { return $ENV{ROUNDS} || ($ENV{SHORT} ? 3 : $_[0]) }

# --- who takes turns: a row's server, its client, whom to ask for their time

sub new_runner {
    my ($behind, $row, %is) = @_;

    my $server = start_row($behind, $row, %is);
    my $client = start_client($is{client_cores} // $behind->{cores},
        $server->{port}, '-c', $is{flying}, '-a', $is{accounts},
        '-s', $ENV{SEED} || 1, $row->{tls} ? '-t' : ());
    return { row => $row, server => $server, client => $client, charged => 0,
             pids => { worker => $server->{workers_pids},
                       client => [$client->{pid}],
                       portal => $behind->{portal}{workers_pids},
                       service => $behind->{service}{workers_pids},
                       redis => [$behind->{redis}{pid}] } };
}

sub times_of {
    my ($runner) = @_;

    my $pids = $runner->{pids};
    return ({ map { $_ => sum(map { busy($_) } @{ $pids->{$_} }) }
              keys %$pids },
            sum(map { waited($_) } @{ $pids->{worker} }));
}

# what Redis is told later, within 50 ms or a few times that, is told when both
# have next to nothing to do for as long; false if that takes more seconds

sub rest {
    my ($runner, $seconds) = @_;

    my ($row, $pids) = @$runner{qw(row pids)};
    return 1 unless defined $row->{guard} && $row->{counts};
    my ($was, $is) = (0, 0);
    return wait_for(sub {
        $was = $is;
        sleep 0.07;
        $is = sum(map { busy($_) } @{ $pids->{worker} }, @{ $pids->{redis} });
        return $is - $was < 7e5;
    }, $seconds);
}

# One turn: p50 and p99 (us), us of each process for one lookup, "back" for all
# but the worker, the share of a core that each had ("share of redis"), and
# "rate", the lookups a second that it can go on with: what it left for later
# has to be done as well.  "others" is the share of the time for which the
# worker waited for its core.

sub measure {
    my ($runner, %of) = @_;

    my $row = $runner->{row};
    my ($before, $late) = times_of($runner);
    my $was = lookups($runner->{client}, %of, known => $row->{known},
                      status => $row->{robot} ? 403 : 200);
    rest($runner, 60) or die "bench: $row->{name} does not come to rest\n";
    my ($after, $later) = times_of($runner);

    my %is = (p50 => $was->{median}, p99 => $was->{p99},
              others => ($later - $late) / 1000 / $was->{us});
    for (keys %$after) {
        $is{$_} = ($after->{$_} - $before->{$_}) / $of{n} / 1000;
        $is{"share of $_"} = $is{$_} * $of{n} / $was->{us};
    }
    $is{back} = sum(@is{qw(portal service redis client)});
    $is{rate} = 1e6 / max($was->{us} / $of{n},
                         $runner->{free} ? () : @is{qw(worker back)});
    $runner->{charged} += $of{n} unless $row->{robot};
    return \%is;
}

# how often, how many lookups each time, rate a second or 0: into
# $all->{id}[round][turn], with what its reference had beside it in "to".
# References that are rows have the mean of their turns.

sub turns {
    my ($all, $round, $runners, %of) = @_;

    my %by = map { $_->{row}{id} => $_ } @$runners;
    for my $turn (0 .. $of{turns} - 1) {
        my %had;
        for my $runner (shuffle grep { !is_reference($_) } @$runners) {
            my $id = $runner->{row}{id};
            my $to = $runner->{row}{against} // 'bare';
            my $before = measure($by{$to}, %of);
            my $is = measure($runner, %of);
            my $after = measure($by{$to}, %of);
            $is->{to} = mean($before, $after);
            $all->{$id}[$round][$turn] = $is;
            push @{ $had{$to} }, $before, $after;
        }
        for my $id (keys %had) {
            my $mean = mean(@{ $had{$id} });
            $all->{$id}[$round][$turn] = { %$mean, to => $mean };
        }
    }
}

sub is_reference { return $_[0]{row}{id} =~ /^bare(?:_tls)?$/ }

sub mean {
    my (@are) = @_;

    my %mean;
    for my $is (@are) { $mean{$_} += $is->{$_} / @are for keys %$is }
    return \%mean;
}

sub alone {
    my ($on, @runners) = @_;

    return unless $ENV{ALONE};
    my %pids = map { $_ => 1 } map { @$_ } map { values %{ $_->{pids} } }
               @runners;
    for my $pid (keys %pids) {
        system('chrt', $on ? qw(-f -p 1) : qw(-o -p 0), $pid) == 0
            or die "bench: ALONE=1 is not allowed here\n";
    }
}

# --- figures: one for each round, the median of its turns

sub of_round {
    my ($all, $id, $round, $what) = @_;

    return median(map { $what->($_) } @{ $all->{$id}[$round] });
}

sub figures {
    my ($all, $id, $what) = @_;

    return map { of_round($all, $id, $_, $what) } 0 .. $#{ $all->{$id} };
}

sub of {
    my ($all, $id, $what) = @_;

    return figures($all, $id, sub { $_[0]{$what} });
}

# to its reference, or to the ratio of a third row to the same

sub ratios {
    my ($all, $id, $what, $third) = @_;

    my @is = figures($all, $id, sub { $_[0]{$what} / $_[0]{to}{$what} });
    my @was = $third ? ratios($all, $third, $what) : map { 1 } @is;
    return map { $is[$_] / $was[$_] } 0 .. $#is;
}

sub differences {
    my ($all, $id, $what) = @_;

    return figures($all, $id, sub { $_[0]{$what} - $_[0]{to}{$what} });
}

1;
