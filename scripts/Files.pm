package Files;

# Whole files, for what runs from a folder beside this one.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(slurp spew);

# '' where there is none
sub slurp {
    my ($path) = @_;

    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

sub spew {
    my ($path, $text) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
}

1;
