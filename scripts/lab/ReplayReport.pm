package ReplayReport;

# What a replay has found: as tables, as JSON, and as HTML by ReplayHtml.

use strict;
use warnings;

use JSON::PP;
use POSIX qw(strftime);

use ReplayHtml;
use ReplayPolicy;

my $SHOWN = 20;               # accounts in a table

# the driver's report, with what the policy says
sub read_report {
    my ($path, $policy, $option) = @_;

    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    my $report = JSON::PP->new->utf8->decode(<$file>);

    my %limits = map { $_->{name} => $_ } ReplayPolicy::limits($policy);
    for my $limit (@{$report->{limits}}) {
        my $says = $limits{$limit->{limit}} or next;
        $limit->{$_} = $says->{$_} for qw(signal window action);
        my ($count) = grep { /^\d+$/ } $says->{count},
            $says->{options}{default} // '';
        $limit->{count} = $count + 0 if defined $count;
    }
    for my $stop (@{$report->{stopped}}) {
        $stop->{action} = $limits{$stop->{limit}}{action};
    }
    $report->{stopped} = [sort {
        $b->{lookups} <=> $a->{lookups} || $a->{account} cmp $b->{account}
            || $a->{first} <=> $b->{first}
    } @{$report->{stopped}}];

    $report->{policy} = $policy->{name};
    $report->{file} = $policy->{file};
    $report->{proofs} = [grep { !$policy->{members}{$_} }
                         keys %{$policy->{proofs}}];
    $report->{passes} = $option->{passes} ? JSON::PP::true : JSON::PP::false;
    $report->{lookups_a_second} = $report->{seconds} > 0
        ? int $report->{lookups} / $report->{seconds} : 0;
    return $report;
}

# what the policy asks the log for in vain
sub missing {
    my ($report, $policy) = @_;

    my %seen = %{$report->{members}};
    $seen{address} = $report->{addressed} if $policy->{addresses};
    my $proofs = delete $report->{proofs};
    # who is challenged proves himself without them
    delete @seen{grep { !$seen{$_} } @$proofs} if $report->{passes};
    my @said = map { $seen{$_} ? "$seen{$_} of $report->{lookups} lookups have"
                     . " \"$_\", which the policy uses"
                     : "no line has \"$_\", which the policy uses" }
        grep { $seen{$_} < $report->{lookups} } sort keys %seen;
    push @said, "$report->{unanswered} lookups could not be counted"
        if $report->{unanswered};
    return @said;
}

sub write_file {
    my ($path, $text) = @_;

    if ($path eq '-') {
        print $text;
        return;
    }
    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

# of the summary that stands behind events: no lists as long as a log
sub brief {
    my ($report) = @_;

    my %brief = %$report;
    delete @brief{qw(stopped days)};
    $brief{limits} = [map {
        my %limit = %$_;
        $limit{roles} = [map { my %role = %$_; delete $role{over}; \%role }
                         @{$limit{roles}}];
        \%limit;
    } @{$report->{limits}}];
    return \%brief;
}

sub write_all {
    my ($report, $option) = @_;

    my $json = JSON::PP->new->utf8->canonical;
    write_file($option->{json}, $json->pretty->encode($report))
        if defined $option->{json};
    write_file($option->{html}, ReplayHtml::page($report))
        if defined $option->{html};

    if ($option->{events}) {
        print $json->pretty(0)->encode({ summary => brief($report) }), "\n";
    } elsif (!grep { ($option->{$_} // '') eq '-' } qw(json html)) {
        print tables($report);
    }
}

# --- tables

sub moment { strftime('%Y-%m-%d %H:%M:%S', localtime $_[0]) }

sub percent {
    my ($share) = @_;

    my $text = sprintf '%.4f', $share * 100;
    $text =~ s/\.?0+$//;
    return "$text %";
}

# columns as wide as they need: the first to the left, or all of @left
sub table {
    my ($left, @rows) = @_;

    my @width;
    for my $row (@rows) {
        for my $i (0 .. $#$row) {
            my $length = length $row->[$i];
            $width[$i] = $length if $length > ($width[$i] // 0);
        }
    }
    return join '', map {
        my $row = $_;
        (join '  ', map {
            sprintf $_ < $left ? "%-$width[$_]s" : "%$width[$_]s", $row->[$_]
        } 0 .. $#$row) =~ s/ +$//r . "\n"
    } @rows;
}

sub verdict_table {
    my ($report) = @_;

    my @rows = (['account-days', 'in all', 'throttled', 'challenged',
                 'denied', 'share challenged']);
    for my $role (@{$report->{roles}}) {
        push @rows, [@$role{qw(role account_days throttled challenged denied)},
                     percent($role->{share_challenged})];
    }
    return table(1, @rows);
}

sub limit_table {
    my ($report) = @_;

    my @rows = (['limit', 'role', 'action', 'count', '50 %', '90 %', '99 %',
                 '99.9 %', 'most', 'enough for ' . percent($report->{share})]);
    for my $limit (@{$report->{limits}}) {
        for my $role (@{$limit->{roles}}) {
            push @rows, [$limit->{limit}, $role->{role},
                         $limit->{action} // '', $limit->{count} // '',
                         @$role{qw(p50 p90 p99 p99.9 max suggested)}];
        }
    }
    return @rows > 1 ? table(3, @rows) : '';
}

sub stop_table {
    my ($report) = @_;

    my @all = @{$report->{stopped}} or return "Nobody was stopped.\n";
    my $more = @all > $SHOWN ? @all - $SHOWN : 0;
    splice @all, $SHOWN;
    my @rows = (['stopped', 'role', 'verdict', 'limit', 'first', 'last',
                 'days', 'lookups']);
    for my $stop (@all) {
        push @rows, [@$stop{qw(account role verdict)}, $stop->{limit} || '-',
                     moment($stop->{first}), moment($stop->{last}),
                     @$stop{qw(days lookups)}];
    }
    return table(6, @rows) . ($more ? "and $more more\n" : '');
}

sub tables {
    my ($report) = @_;

    my $verdicts = join ', ', map { "$_ $report->{verdicts}{$_}" }
                   qw(allow throttle challenge deny);
    my $span = $report->{lookups}
        ? moment($report->{first}) . ' to ' . moment($report->{last})
        : 'none';
    my $text = <<"TEXT";
policy    $report->{policy} of $report->{file}
log       $report->{lookups} lookups of $report->{accounts} accounts, $span
lines     $report->{lines}, $report->{skipped} skipped, $report->{unsorted} out of order
verdicts  $verdicts
replayed  $report->{lookups_a_second} lookups a second

TEXT
    my $limits = limit_table($report);
    utf8::encode(my $more = join "\n", verdict_table($report),
                 ($limits ne '' ? $limits : ()), stop_table($report));
    return $text . $more;
}

1;
