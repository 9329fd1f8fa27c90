package Figures;

# Medians, tables, and marks beside what was measured.

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(max min);

our @EXPORT = qw(median spread number table mark missed max min);

my ($reached, $missed) = (0, 0);

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#_ / 2] + $sorted[@_ / 2]) / 2;
}

# "1.03 (1.01-1.07)"

sub spread {
    my ($format, @values) = @_;

    return sprintf "$format ($format-$format)", median(@values), min(@values),
        max(@values);
}

sub number {
    my $text = sprintf '%.0f', $_[0];
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

# rows of cells, the first one the heading; the first column is text

sub table {
    my (@rows) = @_;

    my @width;
    for my $row (@rows) {
        for (0 .. $#$row) {
            $width[$_] = max($width[$_] // 0, length($row->[$_] // ''));
        }
    }
    for my $row (@rows) {
        my $line = join '  ', map {
            my $cell = $row->[$_] // '';
            my $blank = ' ' x ($width[$_] - length $cell);
            $_ ? $blank . $cell : $cell . $blank } 0 .. $#width;
        print $line =~ s/\s+$//r, "\n";
    }
}

# mark(figure, '<=', bound): "<= 2,000 missed"; $say writes the bound

sub mark {
    my ($figure, $op, $bound, $say) = @_;

    my $is = $op eq '<=' ? $figure <= $bound : $figure >= $bound;
    $is ? $reached++ : $missed++;
    return "$op " . ($say ? $say->($bound) : $bound)
        . ($is ? ' reached' : ' missed');
}

sub missed {
    return $missed ? "$missed of " . ($reached + $missed)
        . " marks were missed\n" : "all $reached marks were reached\n";
}

1;
