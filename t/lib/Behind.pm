package Behind;

# What suites share that look at a Redis which moves, or that others manage.
# It stands behind "use PatientGuard".
#
#     use Behind qw($slow $config policy told well count exactly);

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw($slow $config policy told well count exactly);

our $slow = $ENV{PG_SLOW} // 1;

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Source $patient_guard_source always;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Alias $patient_guard_account always;
    proxy_pass             http://$PG_PORTAL;
}
END

# $redis: the directives that say where it is; the limit is an argument

sub policy {
    my ($redis, $more) = @_;

    return <<"END" . ($more // '');
account        \$http_x_account trusted;
secret         \$PG_KEY;
$redis
redis_timeout  500ms;
limit          lookups=\$arg_max/1h default=100000 deny;
END
}

# "status source"

sub told {
    my ($account, %is) = @_;

    my $answer = PatientGuard::get(
        '/?patient=1' . ($is{max} ? "&max=$is{max}" : ''),
        'X-Account' => $account);
    return "$answer->{status} " . ($answer->{headers}{'x-source'} // '-');
}

sub well {
    my ($account) = @_;

    my $told;
    PatientGuard::wait_for(sub {
        ($told = told($account // 'well')) eq '200 redis';
    });
    return $told;
}

# how often the error log says it, from $from on

sub count {
    my ($from, $what) = @_;

    return scalar(() = substr(PatientGuard::error_log(), $from)
                       =~ /$what/g);
}

# After so many lookups were admitted one more is, and no other: none was
# counted twice, and none is forgotten, whatever a new master has lost.

sub exactly {
    my ($what, $account, $n) = @_;

    my $told;
    PatientGuard::wait_for(sub {
        ($told = told($account, max => $n + 1)) =~ /^200/;
    }, 2 * $slow);
    main::like($told, qr/^200/,
               "$what: $account: none of $n was counted twice");
    main::like(told($account, max => $n + 1), qr/^403/,
               "$what: nor is one lost");
}

1;
