package Preload;

# use Preload 'NAME': nginx runs with t/lib/NAME.c preloaded.  It stands before
# "use PatientGuard", as Test::Nginx keeps what it finds when it is loaded.

use strict;
use warnings;

sub import {
    my ($class, $name) = @_;

    my $library = "$ENV{PG_TMP}/$name-$$.so";
    my $cc = $ENV{CC} // 'cc';

    system("$cc -shared -fPIC -Wall -Wextra -Werror -o $library"
           . " t/lib/$name.c -ldl") == 0 or die "$name.c\n";

    $ENV{LD_PRELOAD} = $library;
    $ENV{ASAN_OPTIONS} .= ',verify_asan_link_order=0' if $ENV{ASAN_OPTIONS};
}

1;
