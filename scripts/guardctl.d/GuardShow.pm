package GuardShow;

# The API's answers as text.

use strict;
use warnings;

use List::Util qw(max);
use POSIX qw(strftime);

# rows in columns; those named in %right stand to the right
sub columns {
    my ($right, @rows) = @_;

    my @width;
    for my $row (@rows) {
        $_ = plain($_ // '-') for @$row;
        $width[$_] = max($width[$_] // 0, length $row->[$_]) for 0 .. $#$row;
    }
    my %right = map { $_ => 1 } split ' ', $right;
    my @format = map { ($right{$rows[0][$_]} ? '%' : '%-') . "$width[$_]s" }
                 0 .. $#width;
    return join '', map {
        my $row = $_;
        join('  ', map { sprintf $format[$_], $row->[$_] } 0 .. $#$row)
            =~ s/ +\z//r . "\n"
    } @rows;
}

# nothing that a terminal would obey
sub plain { $_[0] =~ s/[\x00-\x1f\x7f-\x9f]/?/gr }

sub moment {
    my ($seconds) = @_;

    return defined $seconds
        ? strftime('%Y-%m-%d %H:%M:%S', localtime $seconds) : '-';
}

sub span {
    my ($seconds) = @_;

    return '-' if !defined $seconds;
    for (['d', 86400], ['h', 3600], ['m', 60]) {
        my ($unit, $size) = @$_;
        return $seconds / $size . $unit
            if $seconds >= $size && $seconds % $size == 0;
    }
    return sprintf '%gs', $seconds;
}

sub share { defined $_[0] ? sprintf '%.0f %%', 100 * $_[0] : '-' }

sub of_kinds {
    my ($counts, @kinds) = @_;

    return join ', ', map { "$_ $counts->{$_}" } grep { $counts->{$_} } @kinds;
}

sub pairs {
    return join '', map { sprintf "%-10s  %s\n", $_->[0], plain($_->[1]) }
                    grep { defined $_->[1] && $_->[1] ne '' } @_;
}

sub redis {
    my ($redis) = @_;

    return if !$redis;
    my $late = $redis->{latency};
    return ['redis', "$redis->{mode}, " . join(' ', @{$redis->{servers}})
            . ": breaker $redis->{breaker}"
            . ($redis->{workers_open} ? " in $redis->{workers_open} workers"
                                      : '')
            . ", $redis->{connections} connections, $redis->{waiting} waiting"],
        ['calls', $redis->{calls} . ($late && defined $late->{p99}
            ? sprintf ', half within %g ms, 99 %% within %g ms',
              map { 1000 * $late->{$_} } qw(p50 p99) : '')],
        ['errors', of_kinds($redis->{errors}, sort keys %{$redis->{errors}})];
}

sub policy_status {
    my ($policy) = @_;

    my $zone = $policy->{zone};
    my $dry = of_kinds($policy->{dry_run}, qw(throttle challenge deny));
    my @limits = map {
        [$_->{name}, $_->{count}, span($_->{window}), $_->{action}, $_->{per},
         $_->{refused}, $_->{dry_run}]
    } @{$policy->{limits}};
    return pairs(
        ['policy', $policy->{name}],
        ['store', defined $policy->{consistency}
            ? "redis, $policy->{consistency}; on outage $policy->{on_outage}"
            : 'this node'],
        ['lookups', "$policy->{lookups}, of $policy->{records} records"],
        ['verdicts', of_kinds($policy->{verdicts}, qw(allow delay throttle
                              challenge deny unavailable))],
        ['dry run', $dry],
        ['sources', of_kinds($policy->{sources}, qw(redis local cache none))],
        ['zone', sprintf '%d accounts, %.1f of %.1f MB; evicted %d, %d early',
            $zone->{accounts}, $zone->{used} / 1048576,
            $zone->{size} / 1048576, @$zone{qw(evicted evicted_early)}],
        redis($policy->{redis}),
        ['blocked', join ', ', map { "$_->{account} until "
            . moment($_->{until}) } @{$policy->{blocked}}])
        . (@limits ? "\n" . columns('count window refused dry',
                                    [qw(limit count window action per refused
                                        dry)], @limits) : '');
}

sub status {
    my ($said) = @_;

    return pairs(['node', moment($said->{time})
                  . ($said->{write} ? ', may write' : ', reads only')])
        . join '', map { "\n" . policy_status($_) } @{$said->{policies}};
}

sub top {
    my ($said) = @_;

    my @rows = map {
        my $policy = $_->{name};
        map { [$policy, @$_{qw(account verdict limit count allowance)},
               share($_->{share}), moment($_->{until})] } @{$_->{accounts}}
    } @{$said->{policies}};
    return columns('count allowance share', [qw(policy account verdict limit
                   count allowance share until)], @rows);
}

sub event {
    my ($event) = @_;

    return join('  ', map { plain($_ // '-') } moment($event->{time}),
        @$event{qw(policy account)}, sprintf('%-11s', $event->{verdict} // ''),
        $event->{limit}, ($event->{count} // '-') . '/'
        . ($event->{allowance} // '-'))
        . (defined $event->{until} ? '  until ' . moment($event->{until}) : '')
        . (($event->{times} // 1) > 1 ? "  $event->{times} times" : '')
        . ($event->{dry_run} ? '  dry run' : '') . "\n";
}

sub account_of {
    my ($said) = @_;

    my ($challenge, $grants) = @$said{qw(challenge grants)};
    my @limits = map {
        [$_->{name}, $_->{count}, $_->{allowance}, span($_->{window}),
         $_->{action}, $_->{wait} ? span($_->{wait}) : '-', $_->{per}]
    } @{$said->{limits}};
    return pairs(
        ['policy', $said->{policy}],
        ['account', $said->{account}],
        ['counted', 'by ' . ($said->{source} // 'none')],
        ['next', $said->{verdict}
            . (defined $said->{limit} ? " by $said->{limit}" : '')
            . ($said->{retry_after} ? ', again in '
               . span($said->{retry_after}) : '')],
        ['blocked', $said->{blocked} && 'until '
            . moment($said->{blocked}{until})],
        ['challenge', $challenge && 'since ' . moment($challenge->{since})
            . ' by ' . ($challenge->{limit} // 'a limit that is gone')],
        ['grants', $grants && "$grants->{allowance}/"
            . span($grants->{window})
            . ($grants->{wait} ? ', the next in ' . span($grants->{wait})
                               : ', one is left')])
        . (@limits ? "\n" . columns('count allowance window wait',
                                    [qw(limit count allowance window action
                                        wait per)], @limits) : '')
        . (@{$said->{recent} // []} ? "\n" . join '', map {
               event({ policy => $said->{policy},
                       account => $said->{account}, %$_ })
           } reverse @{$said->{recent}} : '');
}

sub accounts { join "\n", map { account_of($_) } @{$_[0]{accounts}} }

sub written {
    my ($said) = @_;

    return columns('', [qw(policy account operation reach)],
                   map { [@$_{qw(policy account operation reach)}] }
                   @{$said->{accounts}});
}

1;
