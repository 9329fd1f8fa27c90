package Totals;

# A guarded location that says what each limit has counted, and who asks there.
#
#     use PatientGuard;
#     use Totals;
#
#     --- config eval: $::location
#     --- after
#     is(totals('dupont', '/?patient=1'), '200 patients/1h=1');

use strict;
use warnings;

use Exporter 'import';
use PatientGuard ();

our @EXPORT = qw($location totals);

our $location = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Totals $patient_guard_totals always;
    proxy_pass             http://$PG_PORTAL;
}
END

# "status limit=total,..."

sub totals {
    my ($account, $uri, %headers) = @_;

    my $answer = PatientGuard::get($uri, 'X-Account' => $account, %headers);
    return "$answer->{status} " . ($answer->{headers}{'x-totals'} // '');
}

1;
