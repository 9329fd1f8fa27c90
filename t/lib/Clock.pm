package Clock;

# nginx' clock is ahead, or behind, as ahead() says.  It stands before "use
# PatientGuard", like Preload, and wants a location /now that returns $msec.

use strict;
use warnings;

use Preload 'clock';

our $file = $ENV{PG_CLOCK} = "$ENV{PG_TMP}/clock-$$";

sub import { no warnings 'once'; *main::ahead = \&ahead }

# by so many seconds; nginx has seen it when this returns

sub ahead {
    my ($seconds) = @_;

    open my $out, '>', "$file.new" or die "$file: $!\n";
    print $out $seconds;
    close $out;
    rename "$file.new", $file or die "$file: $!\n";

    PatientGuard::wait_for(sub {
        my $now = PatientGuard::get('/now')->{body};
        return abs($now - time - $seconds) < 30;
    }) or die "nginx' clock stands still\n";
}

1;
