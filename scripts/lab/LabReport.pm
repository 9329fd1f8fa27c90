package LabReport;

# What the laboratory has found: a table, JSON, and HTML with its curves.

use strict;
use warnings;

use JSON::PP;
use List::Util qw(max min sum0);

use Guard;
use LabPolicy;

sub mean { @_ ? sum0(@_) / @_ : 0 }

sub percent {
    my ($part, $all) = @_;

    return $all ? sprintf '%.3f', 100 * $part / $all : '-';
}

sub number {
    my ($n) = @_;

    my $text = sprintf '%.0f', $n;
    1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
    return $text;
}

# what a variant comes to
sub summed {
    my ($found, $variant) = @_;

    my $result = $found->{result}{$variant->{id}};
    my $days = $found->{judged}->(@{$result->{rows} // []});
    my %sum = (days => $days, scenarios => {});
    for my $name (keys %{$result->{scenarios}}) {
        my @seeds = @{$result->{scenarios}{$name}};
        $sum{scenarios}{$name} = {
            leaked => mean(map { $_->{leaked} } @seeds),
            most => max(map { $_->{leaked} } @seeds),
            open => mean(map { $_->{open} } @seeds),
            stolen => $seeds[0]{stolen},
            score => mean(map { $_->{score} } @seeds),
            worst => min(map { $_->{score} } @seeds) };
    }
    $sum{gate} = gate($days, $variant->{foreseen});
    my @names = grep { $sum{scenarios}{$_} } @{$found->{set}{scenarios}};
    my %grouped;
    # S4 is one scenario in three forms
    for my $name (@names) {
        my ($group) = $name =~ /^(S\d+)/;
        push @{$grouped{$group}}, $sum{scenarios}{$name}{score};
    }
    my @scores = map { mean(@{$grouped{$_}}) } keys %grouped;
    $sum{mean} = mean(@scores);
    $sum{worst} = @scores ? min(@scores) : 0;
    return \%sum;
}

# '' or what is missed: by verdicts, or by what is foreseen for many more days
sub gate {
    my ($days, $foreseen) = @_;

    my $all = $days->{all};
    return 'nobody judged' if !$all->{days};
    my @missed;
    if ($foreseen) {
        push @missed, 'challenged (foreseen)'
            if $foreseen->{all}{challenged} > .001;
        push @missed, 'denied (foreseen)' if $foreseen->{all}{denied} > .0001;
        push @missed, map { "a role (foreseen): $_" }
            grep { $foreseen->{$_}{challenged} > .005 } @LabPolicy::ROLES;
    }
    push @missed, 'challenged' if $all->{challenged} > .001 * $all->{days};
    push @missed, 'denied' if $all->{denied} > .0001 * $all->{days};
    push @missed, map { "a role: $_" }
        grep { $days->{$_}{challenged} > .005 * $days->{$_}{days} }
        @LabPolicy::ROLES;
    return join ', ', @missed;
}

sub columns {
    my ($left, @rows) = @_;

    my @width;
    for my $row (@rows) {
        for my $i (0 .. $#$row) {
            $width[$i] = max($width[$i] // 0, length $row->[$i]);
        }
    }
    return join '', map {
        my $row = $_;
        (join '  ', map {
            sprintf $_ < $left ? "%-$width[$_]s" : "%$width[$_]s", $row->[$_]
        } 0 .. $#$row) =~ s/ +$//r . "\n"
    } @rows;
}

sub at_gate {
    my ($found) = @_;

    return grep { $_->{share} == $found->{gate} && !$_->{fault}
                  && $_->{name} ne 'P0' }
           sort { $a->{id} cmp $b->{id} } values %{$found->{variants}};
}

sub people_table {
    my ($found, $sums) = @_;

    my @rows = (['policy', '', 'challenged %', @LabPolicy::ROLES, 'denied %',
                 'throttled %', 'foreseen %', 'denied', 'gate']);
    for my $variant (at_gate($found)) {
        my $days = $sums->{$variant->{id}}{days};
        my $all = $days->{all};
        push @rows, [$variant->{name}, $variant->{title},
            percent($all->{challenged}, $all->{days}),
            (map { percent($days->{$_}{challenged}, $days->{$_}{days}) }
             @LabPolicy::ROLES),
            percent($all->{denied}, $all->{days}),
            percent($all->{throttled}, $all->{days}),
            (map { $variant->{foreseen}
                   ? sprintf '%.4f', 100 * $variant->{foreseen}{all}{$_}
                   : '-' }
             qw(challenged denied)),
            $sums->{$variant->{id}}{gate} || 'passed'];
    }
    return columns(2, @rows);
}

# what leaks, then the scores
sub leak_tables {
    my ($found, $sums) = @_;

    my @names = @{$found->{set}{scenarios}};
    my @variants = at_gate($found);
    my $open = $sums->{"P0\@$found->{gate}"}{scenarios};
    my @leaks = (['leaked', 'accounts', 'P0',
                  map { $_->{name} } @variants]);
    my @scores = (['score', map { $_->{name} } @variants]);
    for my $name (@names) {
        next unless $open->{$name};
        my @those = map { $sums->{$_->{id}}{scenarios}{$name} } @variants;
        push @leaks, [$name, $open->{$name}{stolen},
                      number($open->{$name}{leaked}),
                      map { number($_->{leaked}) } @those];
        push @scores, [$name, map { sprintf '%.1f (%.1f)', $_->{score},
                                    $_->{worst} } @those];
    }
    push @scores,
        ['mean', map { sprintf '%.1f', $sums->{$_->{id}}{mean} } @variants],
        ['worst', map { sprintf '%.1f', $sums->{$_->{id}}{worst} } @variants],
        ['gated', map { sprintf '%.1f', $sums->{$_->{id}}{gate} ? 0
                        : $sums->{$_->{id}}{mean} } @variants];
    return columns(1, @leaks) . "\n" . columns(1, @scores);
}

sub counts_table {
    my ($found) = @_;

    my @rows = (['counts', 'limit', 'all', @LabPolicy::ROLES]);
    for my $variant (at_gate($found)) {
        if ($variant->{request}) {
            push @rows, [$variant->{name}, 'burst', $variant->{burst},
                         ('') x @LabPolicy::ROLES];
        }
        for my $limit (@{$variant->{limits} // []}) {
            my $by = $variant->{counts}{$limit->{name}};
            my $factors = $variant->{factors} // {};
            my $factor = $limit->{floor} && $factors->{$limit->{name}}
                ? " x$factors->{$limit->{name}}:$limit->{floor}" : '';
            push @rows, [$variant->{name},
                         "$limit->{name} $limit->{action}$factor",
                         map { $by->{$_} // '' } 'all', @LabPolicy::ROLES];
        }
    }
    return columns(2, @rows);
}

sub curve_table {
    my ($found, $sums) = @_;

    return '' if @{$found->{set}{shares}} < 2;
    my @rows = (['curve', 'asked %', 'challenged %', 'S1', 'S4c']);
    for my $variant (sort { $a->{name} cmp $b->{name}
                            || $b->{share} <=> $a->{share} }
                     grep { !$_->{fault} && $_->{name} ne 'P0' }
                     values %{$found->{variants}})
    {
        my $sum = $sums->{$variant->{id}};
        my $all = $sum->{days}{all};
        push @rows, [$variant->{name}, $variant->{share},
                     percent($all->{challenged}, $all->{days}),
                     map { number($sum->{scenarios}{$_}{leaked} // 0) }
                     qw(S1 S4c)];
    }
    return columns(1, @rows) . "\n";
}

sub table {
    my ($found, $sums) = @_;

    my $set = $found->{set};
    my $days = sum0(map { $_->{days}{all}{days} }
                    grep { $_ } map { $sums->{$_->{id}} } at_gate($found));
    my $policies = scalar(at_gate($found)) || 1;
    my $skipped = join '', map { "skipped   $_->{id}: $_->{fault}\n" }
                  grep { $_->{fault} } values %{$found->{variants}};
    my $agree = join ', ', map { sprintf '%s %.4f', $_, $found->{agree}{$_} }
                sort keys %{$found->{agree}};
    return <<"TEXT" . people_table($found, $sums) . "\n"
tuned     on $found->{tuned} account-days of seeds 1 to $set->{tune}, \\
which are not scored
judged    @{[int($days / $policies)]} account-days a policy, $found->{seeds} \\
seeds from 1001, $set->{accounts} accounts each
module    counts, of what the tuning does: $agree
sent      @{[number($found->{lookups})]} lookups, $found->{speed} a second, \\
in @{[number($found->{took} / 60)]} minutes
$skipped
TEXT
        . leak_tables($found, $sums) . "\n" . curve_table($found, $sums)
        . counts_table($found);
}

# --- HTML

my @COLOURS = ('#888888', '#b58900', '#cb4b16', '#6c71c4', '#2aa198', '#268bd2',
               '#859900', '#d33682');

sub scale_log {
    my ($value, $low, $high, $from, $to) = @_;

    return $from + ($to - $from) * (log($value) - log($low))
        / (log($high) - log($low));
}

# leak against the share challenged, both in powers of ten
sub curve {
    my ($found, $sums, $scenario) = @_;

    my ($left, $right, $top, $bottom) = (70, 690, 20, 330);
    my ($few, $many, $least, $most) = (.01, 3, 10, 1e6);
    my $svg = '';
    for my $share (.01, .03, .1, .3, 1, 3) {
        my $x = scale_log($share, $few, $many, $left, $right);
        $svg .= qq(<path d="M$x $top V$bottom" class="grid"/>)
            . qq(<text x="$x" y="348" text-anchor="middle">$share %</text>\n);
    }
    for my $power (1 .. 6) {
        my $y = scale_log(10 ** $power, $least, $most, $bottom, $top);
        $svg .= qq(<path d="M$left $y H$right" class="grid"/>)
            . qq(<text x="64" y="$y" dy="4" text-anchor="end">)
            . number(10 ** $power) . "</text>\n";
    }
    my %lines;
    for my $variant (values %{$found->{variants}}) {
        my $sum = $sums->{$variant->{id}};
        my $all = $sum->{days}{all};
        my $leak = $sum->{scenarios}{$scenario} or next;
        next if !$all->{days} || $variant->{fault};
        my $share = max(100 * $all->{challenged} / $all->{days}, .011);
        push @{$lines{$variant->{name}}},
            [scale_log($share, $few, $many, $left, $right),
             scale_log(max($leak->{leaked}, 11), $least, $most, $bottom,
                       $top)];
    }
    for my $name (sort keys %lines) {
        my ($n) = $name =~ /(\d+)/;
        my $colour = $COLOURS[$n % @COLOURS];
        my @points = sort { $a->[0] <=> $b->[0] } @{$lines{$name}};
        my $path = join ' L', map { sprintf '%.1f %.1f', @$_ } @points;
        $svg .= qq(<path d="M$path" stroke="$colour" class="line"/>\n);
        $svg .= join '', map { sprintf qq(<circle cx="%.1f" cy="%.1f" r="4" )
            . qq(fill="$colour"/>\n), @$_ } @points;
        $svg .= sprintf qq(<text x="%.1f" y="%.1f" fill="$colour">$name)
            . "</text>\n", $points[-1][0] + 7, $points[-1][1] + 4;
    }
    return qq(<h2>$scenario: patients that leak, against the share of )
        . qq(account-days challenged</h2>\n<svg viewBox="0 0 740 360">\n)
        . "$svg</svg>\n";
}

sub page {
    my ($found, $sums, $text) = @_;

    $text =~ s/&/&amp;/g;
    $text =~ s/</&lt;/g;
    my $curves = join '', map { curve($found, $sums, $_) }
                 grep { my $name = $_;
                        grep { $_ eq $name } @{$found->{set}{scenarios}} }
                 qw(S1 S4c);
    return <<"HTML";
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>make lab</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto;
       max-width: 76em; padding: 0 1em; color: #222; background: #fff }
svg { max-width: 60em; font-size: 12px } pre { overflow-x: auto }
.grid { stroke: #ddd; fill: none } .line { fill: none; stroke-width: 2 }
h2 { font-size: 1.1em }
</style></head><body>
<h1>Policies against thieves, and against people at work</h1>
$curves<pre>$text</pre>
</body></html>
HTML
}

sub write_all {
    my ($found) = @_;

    my %sums = map { $_ => summed($found, $found->{variants}{$_}) }
               keys %{$found->{variants}};
    my $text = table($found, \%sums) =~ s/\\\n//gr;
    my $out = $found->{set}{out};
    my $json = JSON::PP->new->canonical->pretty;
    Guard::spew("$out/table.txt", $text);
    Guard::spew("$out/lab.html", page($found, \%sums, $text));
    Guard::spew("$out/lab.json", $json->encode({
        set => $found->{set}, seeds => $found->{seeds},
        agree => $found->{agree}, lookups => $found->{lookups},
        policies => { map {
            my $variant = $found->{variants}{$_};
            $_ => { %{$sums{$_}}, counts => $variant->{counts},
                    factors => $variant->{factors},
                    grants => LabPolicy::grants($variant),
                    foreseen => $variant->{foreseen},
                    title => $variant->{title}, share => $variant->{share},
                    seeds => $found->{result}{$_}{scenarios} }
        } keys %sums } }));
}

1;
