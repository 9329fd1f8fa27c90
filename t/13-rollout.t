# What README.md says of rolling out in dry run: its log format, and the
# command that tells who would have been stopped.

use lib 't/lib';
use PatientGuard;

our $readme = PatientGuard::slurp('README.md');

our ($format) = $readme =~ /^ *(log_format guard .*?;)\n/ms
    or die "README.md shows no log_format\n";

our ($command) = $readme =~ m{^ *(awk .* /var/log/nginx/guard\.log .*)$}m
    or die "README.md shows no awk\n";

run_tests();

__DATA__

=== TEST 1: who would have been stopped, how often, by which limit
--- http_config eval: $::format
--- policy
account          $http_x_account trusted;
account_missing  allow;
limit            patients=2/1h deny;
limit            lookups=9/1h challenge;
--- config
access_log             $PG_TMP/$PG_POLICY.log guard;
patient_guard_dry_run  on;
patient_guard_patient  $arg_patient;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location /open {
    patient_guard  off;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $ask = sub {
    my ($account, $uri, @more) = @_;
    is(get($uri, 'X-Account' => $account, @more)->{status}, 200, $uri);
};
$ask->('dupont', "/?patient=$_") for 1 .. 5;
$ask->('durand', "/?patient=$_") for 1 .. 3;
$ask->('henry', "/?patient=$_") for 1 .. 2;
$ask->('henry', '/open');
$ask->('henry', '/', method => 'OPTIONS');
$ask->('', '/');

my $log = '$PG_TMP/$PG_POLICY.log';
ok(wait_for(sub { (() = PatientGuard::slurp($log) =~ /\n/g) == 14 }),
   'all are logged');
(my $run = $::command) =~ s{/var/log/nginx/guard\.log}{$log};
my @lines = split /\n/, qx{$run};
is(scalar @lines, 2, 'two accounts');
like($lines[0], qr{^ *3 account=[0-9a-f]{32} patients/1h$}, 'dupont, thrice');
like($lines[1], qr{^ *1 account=[0-9a-f]{32} patients/1h$}, 'durand, once');
