# Each allocation of a request fails in turn, and all from each one on: the
# request ends with an answer that is right, with 500, or with its connection
# closed, and nothing else breaks.

use lib 't/lib';

BEGIN {
    # shared memory of nginx's processes: see t/lib/allocation.c
    $ENV{PG_ALLOCATION} = "$ENV{PG_TMP}/allocation-$$";
    open my $file, '>', $ENV{PG_ALLOCATION} or die "$!\n";
    print $file "\0" x 20;

    # what it is opened for to tell nginx's parts from one another
    our $conf = "$ENV{PG_ALLOCATION}.conf";
    open $file, '>', $conf or die "$!\n";
}

use Preload 'allocation';
use PatientGuard;

$SIG{PIPE} = 'IGNORE';

our $conf;

# nearly every allocation of such small pools is one of malloc()
add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', "request_pool_size 128;\n"
                      . "connection_pool_size 128;\n"
                      . ($block->http_config // ''));

    for my $name (qw(http_config config)) {
        my $text = $block->$name // '';
        $block->set_value($name, $text =~ s/ALLOCATION_CONF/$conf/gr);
    }
});

open my $control, '+<', $ENV{PG_ALLOCATION} or die "$!\n";

sub control {
    sysseek $control, 0, 0;
    syswrite $control, pack 'l L L L L', @_;
}

sub counted {
    sysseek $control, 12, 0;
    sysread $control, my $count, 4;
    return unpack 'L', $count;
}

# starve($pid, sub { ... }, sub { ... }): the first function is called again and
# again, while the Nth allocation of that process fails, and then while all
# from the Nth on do, until it makes fewer than that; the second one before it.
# Later: they count from when nginx opens $PG_ALLOCATION.conf.  Returns how often
# an allocation failed.

sub starve {
    my ($pid, $code, $ready, $later) = @_;
    my $failures = 0;

    for my $last (sub { $_[0] }, sub { 0xffffffff }) {
        for (my $n = 1; ; $n++) {
            $ready->() if $ready;
            control($pid, $n, $last->($n), 0, $later ? 0 : 1);
            my $done = eval { $code->(); 1 };
            my $count = counted();
            control(0, 0, 0, 0, 0);
            fail("allocation $n: $@") unless $done;
            last if $count < $n;
            $failures++;
        }
    }
    return $failures;
}

sub worker { (PatientGuard::workers())[0] }

# requests('what', [right statuses], sub { status }, sub { ready }), or a URI
# and header fields in place of the functions

sub requests {
    my ($what, $right, $request, @more) = @_;
    my ($pid, %seen) = worker();

    my $status = ref $request ? $request
                              : sub { get($request, @more)->{status} };
    my $ready = ref $request ? $more[0] : undef;

    $status->() for 1 .. 2;
    my $failures = starve($pid, sub { $seen{$status->()}++ }, $ready);

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

# Its status, or 200 for a client that hangs up because nginx does nothing
# more: then it allocates nothing either.

sub hold {
    my ($uri, @headers) = @_;

    my $socket = PatientGuard::client();
    syswrite $socket, PatientGuard::request($uri, @headers);

    my $select = IO::Select->new($socket);
    my $last = -1;
    until ($select->can_read(0.005 * ($ENV{PG_SLOW} // 1))) {
        return 200 if counted() == $last;
        $last = counted();
    }
    sysread $socket, my $answer, 4096;
    return PatientGuard::answer($answer // '')->{status};
}

# the master reads its configuration: either it is served by, or nginx says
# what is wrong, and goes on with what it has

sub reloads {
    my ($what) = @_;
    my ($pid, $refused) = (nginx_pid(), 0);

    my $failures = starve($pid, sub {
        my %old = map { $_ => 1 } PatientGuard::workers();
        my $said = () = error_log() =~ /\[emerg\]/g;

        kill 'HUP', $pid;
        wait_for(sub {
            my @now = PatientGuard::workers();
            return 1 if @now && !grep { $old{$_} } @now;
            return $said < (() = error_log() =~ /\[emerg\]/g);
        }) or die "nothing happens\n";

        my $status = get('/', 'X-Account' => 'dupont')->{status};
        die "answers $status\n" if $status != 200;
    }, undef, 'later');

    cmp_ok($failures, '>', 0, "$what, where $failures allocations fail");
    is(nginx_pid(), $pid, '- the master is still the same');
}

sub write_file {
    my ($path, $text) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
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



=== TEST 4: held, until the client has had enough
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  60s;
--- config
location / { empty_gif; patient_guard $PG_POLICY; }
--- after
requests('held', [200], sub { hold('/', 'X-Account' => 'dupont') });
is_quiet();



=== TEST 5: Redis has hung up, and is connected to anew
--- http_config eval
CORE::join '', map {
    my $mode = $_;
    "patient_guard_policy $mode-\$PG_POLICY {
        account        \$http_x_account trusted;
        limit          lookups=1000000/1d deny;
        secret         \$PG_KEY;
        redis          unix:\$PG_TMP/\$PG_POLICY.d/sock db=1;
        redis_timeout  5s;
        on_outage      $mode;
    }\n"
} qw(local deny allow)
--- config
add_header  X-Source $patient_guard_source always;
location /local { empty_gif; patient_guard local-$PG_POLICY; }
location /deny  { empty_gif; patient_guard deny-$PG_POLICY; }
location /allow { empty_gif; patient_guard allow-$PG_POLICY; }
--- after
if (store() eq 'redis') {
    my $dir = '$PG_TMP/$PG_POLICY.d';
    my @dupont = ('X-Account' => 'dupont');

    start_redis($dir);
    for my $mode (qw(local deny allow)) {
        my $lookup = sub { get("/$mode", @dupont) };

        requests("$mode, connects", [200], sub { $lookup->()->{status} }, sub {
            wait_for(sub { $lookup->()->{headers}{'x-source'} eq 'redis' })
                or die "Redis is away\n";
            redis_at($dir, 'CLIENT', 'KILL', 'TYPE', 'normal');
        });
    }
    stop_redis($dir);
    requests("$_, Redis is gone", [$_ eq 'deny' ? 503 : 200], "/$_", @dupont)
        for qw(local deny allow);
    is_quiet();
}



=== TEST 6: a configuration is read, and one that is wrong
The allocations are those that follow the file, until it is read once more:
our directives', and those after the logs were opened.  nginx 1.22 itself does
not bear the failure of each of its own.
--- http_config
include ALLOCATION_CONF;
patient_guard_policy $PG_POLICY {
    $PG_STORE_DIRECTIVES
    account    $http_x_account trusted;
    limit      patients=1000/1d log;
    limit      lookups=$arg_count/1d default=1000000 deny;
    challenge  redirect https://sso.example/step-up;
    challenge  page @prove;
}
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
include ALLOCATION_CONF;
--- config
location / { empty_gif; }
location = /log {
    access_log ALLOCATION_CONF;
}
--- after
my $conf = server_root() . '/conf/nginx.conf';
my $text = PatientGuard::slurp($conf);
reloads('right');
write_file($conf, $text =~ s/default=1000000/default=0/r);
reloads('wrong');
write_file($conf, $text);
ok(reload(), 'in the end it is read');
is(get('/', 'X-Account' => 'dupont')->{status}, 200, '- and served by');
is_quiet();



=== TEST 7: bodies and responses that are looked into, and held back
--- policy
account  $http_x_account trusted;
limit    patients=100000/1d log;
--- config
patient_guard                 $PG_POLICY;
patient_guard_response_match  "/(?<patient>\d+)";
patient_guard_records         $arg_n;
location / {
    proxy_pass                    http://$PG_PORTAL;
}
location /gated/ {
    patient_guard_response_gate   on buffer=1k;
    proxy_pass                    http://$PG_PORTAL;
}
location /posted/ {
    patient_guard_request_match   "id=(?<patient>\d+)";
    proxy_pass                    http://$PG_PORTAL;
}
--- after
# 502: the portal is served by the same worker
my $uri = '/' . join '/', 1 .. 20;
requests('a response', [200, 502], "$uri?n=30", 'X-Account' => 'dupont', 'Range' => 'bytes=1-2',
         'Accept-Encoding' => 'gzip');
requests('held back', [200, 502], '/gated/' . 'x' x 3000 . "$uri?n=30", 'X-Account' => 'martin');
my $body = join '&', map { "id=$_" } 1 .. 20;
my $post = "POST /posted/ HTTP/1.1\r\nHost: localhost\r\nX-Account: durand\r\n"
    . "Connection: close\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
requests('a body', [200, 502], sub { PatientGuard::answer(raw($post))->{status} });
is_quiet();
