package Turns;

# Rows that take turns, and what the kernel knows of their time.
#
# As others may use the machine, rows take turns in a round, by the tenth of
# their lookups, forth and back, and a ratio is that of the same turn, measured
# in the same seconds; a round's figure is the median of its turns'.  How far
# "proxy_pass, once more" is from 1 is how far any other row may be by chance.
# ALONE=1 runs what is measured by SCHED_FIFO: on a busy machine nothing else
# makes answers come at their time.
#
# Time is that of /proc/PID/schedstat, in ns, read when the worker and Redis
# have come to rest: what follows a lookup later is in it.

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(max sum);

use Figures;
use Rows;
use Servers;

our @EXPORT = qw(rounds new_runner turns of_round of ratios differences);

my $TURNS = 10;

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
# have next to nothing to do for as long

sub rest {
    my ($runner) = @_;

    my ($row, $pids) = @$runner{qw(row pids)};
    return unless defined $row->{guard} && $row->{counts};
    my ($was, $is) = (0, 0);
    wait_for(sub {
        $was = $is;
        sleep 0.07;
        $is = sum(map { busy($_) } @{ $pids->{worker} }, @{ $pids->{redis} });
        return $is - $was < 7e5;
    }, 60) or die "bench: $row->{name} does not come to rest\n";
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
    rest($runner);
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

# n lookups of each, rate a second or 0, into $all->{id}[round][turn]

sub turns {
    my ($all, $round, $n, $rate, @runners) = @_;

    for my $turn (0 .. $TURNS - 1) {
        $all->{$_->{row}{id}}[$round][$turn]
            = measure($_, n => $n / $TURNS, rate => $rate)
            for $turn % 2 ? reverse @runners : @runners;
    }
}

# --- figures: one for each round, the median of its turns

sub of_round {
    my ($all, $id, $round, $what) = @_;

    return median(map { $_->{$what} } @{ $all->{$id}[$round] });
}

sub of {
    my ($all, $id, $what) = @_;

    return map { of_round($all, $id, $_, $what) } 0 .. $#{ $all->{$id} };
}

# the same beside that of another row, turn by turn

sub beside {
    my ($how, $all, $id, $to, $what) = @_;

    return map {
        my ($is, $was) = ($all->{$id}[$_], $all->{$to}[$_]);
        median(map { $how->($is->[$_]{$what}, $was->[$_]{$what}) } 0 .. $#$is)
    } 0 .. $#{ $all->{$id} };
}

sub ratios { return beside(sub { $_[0] / $_[1] }, @_) }
sub differences { return beside(sub { $_[0] - $_[1] }, @_) }

1;
