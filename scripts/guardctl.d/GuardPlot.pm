package GuardPlot;

# What an account did by the hour: as text, as a plot, as a page.

use strict;
use warnings;

use File::Basename qw(dirname);
use List::Util qw(max sum0);
use POSIX qw(strftime);

use lib dirname(__FILE__) . '/../lab';
use GuardShow;
use ReplayHtml;

my $BAR = 40;                      # characters of the longest bar
my @REFUSED = qw(throttle challenge deny unavailable);
my @COLUMNS = (qw(lookups patients new), @REFUSED, 'dry_run');

# what is plotted, and in which colour
my @SERIES = (
    ['lookups by the hour', ['r2', 'read', sub { read_of($_[0]) }],
     (map { my $verdict = $_;
            [$verdict eq 'unavailable' ? 'r4' : $verdict, $verdict,
             sub { $_[0]{$verdict} }] } @REFUSED)],
    ['patients read by the hour', ['r2', 'new', sub { $_[0]{new} }],
     ['soft', 'seen before', sub { max(0, $_[0]{patients} - $_[0]{new}) }]]);

sub read_of { $_[0]{lookups} - sum0(@{$_[0]}{@REFUSED}) }

sub hour { strftime('%Y-%m-%d %H:%M', localtime $_[0]) }

sub bar {
    my ($row, $most) = @_;

    my $long = sub { int($BAR * $_[0] / $most + .999) };
    my $all = $long->($row->{lookups});
    my $read = read_of($row) ? max(1, $long->(read_of($row))) : 0;
    $read = $all - 1 if $read == $all && $read > 1
                        && read_of($row) < $row->{lookups};
    return '#' x $read . 'x' x ($all - $read);
}

# hours without a lookup are left out
sub text {
    my ($found) = @_;

    my @hours = @{$found->{hours}};
    my $most = max(1, map { $_->{lookups} } @hours);
    my @head = map { s/_/ /r } @COLUMNS;
    my @rows = map { [hour($_->{start}), @$_{@COLUMNS}, bar($_, $most)] }
               @hours;
    return GuardShow::columns(join(' ', @COLUMNS, 'dry'),
        ['hour', @COLUMNS, '# read, x refused'], @rows,
        ['all', @{$found->{all}}{@COLUMNS}, '']);
}

# what it is, and the names of the series with their colours
sub key {
    my ($x, $top, $what, @series) = @_;

    my @parts = ReplayHtml::label($x, $top + 14, 'start', $what);
    $x += 180;
    for (@series) {
        my ($colour, $name) = @$_;
        push @parts, sprintf('<rect x="%d" y="%d" width="9" height="9" '
                             . 'rx="2" fill="var(--%s)"/>', $x, $top + 6,
                             $colour),
            ReplayHtml::label($x + 14, $top + 14, 'start', $name);
        $x += 30 + 7 * length $name;
    }
    return @parts;
}

sub plot {
    my ($top, $hours, $what, @series) = @_;

    my ($width, $left, $high, $bottom) = (900, 60, 150, $top + 180);
    my $first = @$hours ? $hours->[0]{start} : 0;
    my $slots = @$hours ? ($hours->[-1]{start} - $first) / 3600 + 1 : 1;
    my $slot = ($width - $left) / $slots;
    my $most = max(1, map { my $row = $_;
                            sum0(map { $_->[2]->($row) } @series) } @$hours);
    my @parts = key($left, $top, $what, @series);
    my $step = max(1, ReplayHtml::step($most));
    for (my $n = 0; $n <= $most; $n += $step) {
        my $y = $bottom - $high * $n / $most;
        push @parts, ReplayHtml::line_at($left, $y, $width, $y),
            ReplayHtml::label($left - 8, $y + 4, 'end',
                              ReplayHtml::grouped($n));
    }
    # days where there are many hours
    my $of = $slots > 48 ? '%Y-%m-%d' : '%Y-%m-%d %H:%M';
    my ($labelled, $last) = (-1e9, '');
    for my $row (@$hours) {
        my ($x, $y) = ($left + $slot * ($row->{start} - $first) / 3600,
                       $bottom);
        my $title = hour($row->{start}) . ': '
            . join ', ', map { "$_->[1] " . $_->[2]->($row) } @series;
        for (@series) {
            my ($colour, undef, $value) = @$_;
            my $tall = $high * $value->($row) / $most or next;
            $y -= $tall;
            push @parts, sprintf '<rect x="%.2f" y="%.2f" width="%.2f" '
                . 'height="%.2f" fill="var(--%s)"><title>%s</title></rect>',
                $x, $y, max(.8, .85 * $slot), $tall, $colour,
                ReplayHtml::text($title);
        }
        my $label = strftime($of, localtime $row->{start});
        next if $label eq $last;
        $last = $label;
        next if $x < $labelled + 110 || $x > $width - 90;
        push @parts, ReplayHtml::label($x, $bottom + 18, 'start', $label);
        $labelled = $x;
    }
    return @parts;
}

sub plots {
    my ($found) = @_;

    my $top = 0;
    return map { $top += 220; plot($top - 220, $found->{hours}, @$_) }
           @SERIES;
}

sub keys_text {
    return join '; ', map { my ($what, @series) = @$_;
        "$what, from the bottom: " . join(', ', map { $_->[1] } @series)
    } @SERIES;
}

# a file of its own
sub svg {
    my ($found) = @_;

    my $svg = ReplayHtml::svg(900, 440, keys_text(),
        "<title>" . keys_text() . "</title>\n<style>$ReplayHtml::COLOURS"
        . "svg { background: var(--page) } text { fill: var(--soft); "
        . "font: 11px system-ui, sans-serif }</style>", plots($found));
    $svg =~ s{^<svg }{<svg xmlns="http://www.w3.org/2000/svg" };
    return $svg;
}

sub page {
    my ($found, $account) = @_;

    my $all = $found->{all};
    my $who = ReplayHtml::text($account);
    return "<!DOCTYPE html>\n<html lang=\"en\"><head>"
        . "<meta charset=\"utf-8\"><title>What $who did</title>\n"
        . "<meta name=\"viewport\" content=\"width=device-width\">\n"
        . "<style>\n$ReplayHtml::STYLE</style></head><body>\n"
        . "<h1>What $who did</h1>\n<p>$all->{lookups} lookups, "
        . "$all->{patients} patients read.</p>\n"
        . ReplayHtml::svg(900, 440, keys_text(), plots($found))
        . ReplayHtml::table(1, ['hour', map { s/_/ /r } @COLUMNS],
              (map { [hour($_->{start}), @$_{@COLUMNS}] } @{$found->{hours}}),
              ['all', @$all{@COLUMNS}])
        . "</body></html>\n";
}

1;
