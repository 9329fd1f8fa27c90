# Each allocation of a request fails in turn, and all from each one on: the
# request ends with an answer that is right, with 500, or with its connection
# closed, and nothing else breaks.

use lib 't/lib';

BEGIN {
    # shared memory of nginx's processes: see t/lib/allocation.c
    $ENV{PG_ALLOCATION} = "$ENV{PG_TMP}/allocation-$$";
    open my $file, '>', $ENV{PG_ALLOCATION} or die "$!\n";
    print $file "\0" x 16;
}

use Preload 'allocation';
use PatientGuard;

$SIG{PIPE} = 'IGNORE';

# nearly every allocation of such small pools is one of malloc()
add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', "request_pool_size 128;\n"
                      . "connection_pool_size 128;\n"
                      . ($block->http_config // ''));
});

open my $control, '+<', $ENV{PG_ALLOCATION} or die "$!\n";

sub control {
    sysseek $control, 0, 0;
    syswrite $control, pack 'l L L L', @_;
}

sub counted {
    sysseek $control, 12, 0;
    sysread $control, my $count, 4;
    return unpack 'L', $count;
}

# starve($pid, sub { ... }, $next): the function is called again and again,
# while the Nth allocation of that process fails, and then while all from the
# Nth on do, until it makes fewer than that.  Returns how often one failed.

sub starve {
    my ($pid, $code, $next) = @_;
    my $failures = 0;

    for my $last (sub { $_[0] }, sub { 0xffffffff }) {
        for (my $n = 1; ; $n = $next ? $next->($n) : $n + 1) {
            control($pid, $n, $last->($n), 0);
            my $done = eval { $code->(); 1 };
            my $count = counted();
            control(0, 0, 0, 0);
            fail("allocation $n: $@") unless $done;
            last if $count < $n;
            $failures++;
        }
    }
    return $failures;
}

sub worker { (PatientGuard::workers())[0] }

# requests('what', [right statuses], sub { status } or '/uri', Header => ...)

sub requests {
    my ($what, $right, $request, @headers) = @_;
    my ($pid, %seen) = worker();

    my $status = ref $request ? $request
                              : sub { get($request, @headers)->{status} };
    $status->() for 1 .. 2;

    my $failures = starve($pid, sub { $seen{$status->()}++ });

    # 0: the connection was closed; 503: Redis was not even asked
    delete @seen{0, 500, @$right};
    delete $seen{503} if store() eq 'redis';
    is(join(' ', sort keys %seen), '',
       "$what: no answer is wrong, where $failures allocations fail");
    cmp_ok($failures, '>', 20, '- which is often');

    ok(wait_for(sub { my $last = $status->(); grep { $_ == $last } @$right }),
       '- and right it is now');
    is(worker(), $pid, '- by the same worker');
}

# a worker that has lost its Redis, for want of memory, has it back

sub has_redis {
    my ($uri, @headers) = @_;

    wait_for(sub {
        (get($uri, @headers)->{headers}{'x-source'} // '') ne 'local'
    }) or die "Redis is away\n";
}

sub is_quiet {
    my @said = grep { /\[alert\]/ } split /\n/, error_log();
    is("@said", '', 'nothing is odd');
}

run_tests();

__DATA__

=== TEST 1: allowed, with counts from variables and everything that is told
--- http_config
map $arg_count $count { default $arg_count; }
map $arg_proof $proof { default $arg_proof; }
map $arg_exempt $staff { default $arg_exempt; }
--- policy
account  $http_x_account trusted;
limit    patients=1000/1d log;
limit    lookups=$count/1d default=1000000 deny;
proof    $proof;
exempt   $staff;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
add_header             X-Count $patient_guard_count;
add_header             X-All "$patient_guard_verdict $patient_guard_account $patient_guard_patient";
location / { empty_gif; }
--- after
requests('patients', [200], '/?patient=1,2%2C3&proof=1647000000',
         'X-Account' => 'dupont');
requests('its URI', [200], '/', 'X-Account' => 'martin');
is_quiet();



=== TEST 2: refused, and no error_page leads past the guard
--- policy
account         $http_x_account trusted;
limit           lookups=1/1d deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account         $http_x_account trusted;
    limit           lookups=1/1d throttle;
    throttle_delay  1ms;
}
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
error_page             500 502 504 = @other;
location /         { empty_gif; }
location /throttle { empty_gif; patient_guard $PG_POLICY_2; }
location @other    { empty_gif; }
--- after
my @dupont = ('X-Account' => 'dupont');
requests('deny', [403], '/', @dupont);
requests('throttle', [429], '/throttle', @dupont);
requests('no account', [403], '/');
requests('513 patients', [400], '/?patient=' . join(',', 1 .. 513), @dupont);
is_quiet();



=== TEST 3: challenged
--- policy
account    $http_x_account trusted;
limit      lookups=1/1d challenge;
challenge  redirect https://sso.example/step-up;
challenge  step_up acr=eidas2 max_age=300;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account    $http_x_account trusted;
    limit      lookups=1/1d challenge;
    challenge  page @prove;
    challenge  status 451;
}
--- config
patient_guard_patient  $arg_patient;
error_page             500 502 504 = @other;
location /      { empty_gif; patient_guard $PG_POLICY; }
location /page  { empty_gif; patient_guard $PG_POLICY_2; }
location @prove { empty_gif; }
location @other { empty_gif; }
--- after
my @browser = ('X-Account' => 'dupont', Accept => 'text/html');
requests('redirect', [302], '/?patient=1', @browser);
requests('step_up', [401], '/?patient=1', 'X-Account' => 'dupont');
requests('page', [403], '/page?patient=1', @browser);
requests('status', [451], '/page?patient=1', 'X-Account' => 'dupont');
is_quiet();
