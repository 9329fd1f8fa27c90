# Memory is short: the request fails, and no error_page leads past the guard.

use lib 't/lib';
use Preload 'memory';
use PatientGuard;

$ENV{PG_SHORT} = "$ENV{PG_TMP}/memory-$$.short";

# workers see what the master passes on
env_to_nginx('PG_SHORT');

run_tests();

__DATA__

=== TEST 1: a guard that failed has let nobody through
--- policy
account  $http_x_account trusted;
limit    patients=260/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
error_page             500 502 504 = @other;
location / {
    proxy_pass  http://$PG_PORTAL;
}
location @other {
    proxy_pass  http://$PG_PORTAL;
}
--- after
my @dupont = ('X-Account' => 'dupont');
my $many = join ',', 1 .. 260;
is(get('/?patient=1,2', @dupont)->{status}, 200, 'there is memory');
open my $file, '>', $ENV{PG_SHORT} or die "$!\n";
is(get("/?patient=$many", @dupont)->{status}, 500, 'and then there is none')
    for 1 .. 3;
is(get('/?patient=2', @dupont)->{status}, 200, 'one patient needs little');
unlink $ENV{PG_SHORT};
is(get("/?patient=$many", @dupont)->{status}, 200, 'nothing was counted');
is(get('/?patient=261', @dupont)->{status}, 403,
   'but for those who were shown');
like(error_log(), qr/\[emerg\] .*malloc\(12288\) failed/, "nginx' own word");
