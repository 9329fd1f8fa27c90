# A response is held back while Redis is asked, by several nodes, or with
# Redis gone.

use lib 't/lib';
use PatientGuard;
use Pages;

our @MODES = qw(local deny allow);

# one policy for each mode: what a request asks for decides

sub policies {
    return join '', map { <<"NGINX" } @MODES;
patient_guard_policy \$PG_POLICY_$_ {
    account        \$http_x_account trusted;
    secret         \$PG_KEY;
    redis          \$PG_FAKE prefix=\$PG_PREFIX;
    redis_timeout  300ms;
    on_outage      $_;
    limit          patients=3/1h deny;
}
NGINX
}

sub locations {
    return join '', map { <<"NGINX" } @MODES;
location /$_/ {
    patient_guard                 \$PG_POLICY_$_;
    patient_guard_response_match  "/(?<patient>\\d+)";
    patient_guard_response_gate   on;
    add_header                    X-Source \$patient_guard_source always;
    proxy_pass                    http://unix:\$TEST_NGINX_SERVROOT/logs/records.sock:/;
}
NGINX
}

our $RECORDS = <<'NGINX';
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/records.sock;
    location / { return 200 'patients: $uri/'; }
}
NGINX

# answers the probe before the response, and does this to the call that counts
# it, while the file is there

sub ill {
    my ($what) = @_;

    return <<"PERL";
if (\@command && \$command[0] =~ /^EVAL/ && \$peer->flags(\@command) == 0
    && -e '\$PG_TMP/\$PG_POLICY.ill')
{
    $what
}
elsif (\@command) { \$peer->send(\$peer->real(\@command)) }
PERL
}

sub fall_ill { PatientGuard::spew($_[0], '') }

sub told {
    my ($account, $uri) = @_;

    my $answer = get($uri, 'X-Account' => $account);
    return join ' ', $answer->{status}, $answer->{headers}{'x-source'} // '-',
                     $answer->{body} =~ /^patients:/ ? 'page' : 'none';
}

our %FAULTS = (
    stall => 'sleep 100;',
    hang  => '$peer->close;',
    odd   => '$peer->send("+OK\r\n");',
    error => '$peer->send("-OOM command not allowed\r\n");',
);

sub keys_are {
    PatientGuard::spew("$ENV{PG_TMP}/held.key", join '', map { "$_\n" } @_);
    chmod 0600, "$ENV{PG_TMP}/held.key";
}

keys_are('0123456789abcdef0123');

run_tests();

__DATA__

=== TEST 1: Redis stalls while a response is held
--- http_config eval: ::policies() . $::RECORDS
--- config eval: ::locations()
--- fake_redis eval: ::ill($::FAULTS{stall})
--- after
is(told('dupont', '/local/1'), '200 redis page', 'all is well');
fall_ill('$PG_TMP/$PG_POLICY.ill');
is(told('dupont', '/local/2/3'), '200 local page', 'local: this node counts');
like(told('dupont', '/local/4'), qr/^403 \w+ none/, 'and refuses');
is(told('martin', '/deny/1'), '503 none none', 'deny');
is(told('durand', '/allow/1/2'), '200 none page', 'allow');
--- error_log eval
qr/start worker|\[error\]/



=== TEST 2: Redis hangs up
--- http_config eval: ::policies() . $::RECORDS
--- config eval: ::locations()
--- fake_redis eval: ::ill($::FAULTS{hang})
--- after
fall_ill('$PG_TMP/$PG_POLICY.ill');
is(told('dupont', '/local/2/3'), '200 local page', 'local');
is(told('martin', '/deny/1'), '503 none none', 'deny');
is(told('durand', '/allow/1/2'), '200 none page', 'allow');
--- error_log eval
qr/start worker|\[error\]/



=== TEST 3: Redis answers by anything
--- http_config eval: ::policies() . $::RECORDS
--- config eval: ::locations()
--- fake_redis eval: ::ill($::FAULTS{odd})
--- after
fall_ill('$PG_TMP/$PG_POLICY.ill');
is(told('dupont', '/local/2/3'), '200 local page', 'local');
is(told('martin', '/deny/1'), '503 none none', 'deny');
is(told('durand', '/allow/1/2'), '200 none page', 'allow');
--- error_log eval
qr/start worker|\[error\]/



=== TEST 4: Redis refuses
--- http_config eval: ::policies() . $::RECORDS
--- config eval: ::locations()
--- fake_redis eval: ::ill($::FAULTS{error})
--- after
fall_ill('$PG_TMP/$PG_POLICY.ill');
is(told('dupont', '/local/2/3'), '200 local page', 'local');
like(told('dupont', '/local/4/5'), qr/^403 \w+ none/, 'and its limit');
is(told('martin', '/deny/1'), '503 none none', 'deny');
is(told('durand', '/allow/1/2'), '200 none page', 'allow');
--- error_log eval
qr/start worker|\[(error|alert)\]/



=== TEST 5: a client that goes away while its response is held
--- http_config eval: ::policies() . $::RECORDS
--- config eval: ::locations()
--- fake_redis eval
::ill('Time::HiRes::sleep(0.1); $peer->send($peer->real(@command));')
--- after
fall_ill('$PG_TMP/$PG_POLICY.ill');
for my $n (1 .. 40) {
    my $socket = PatientGuard::client();
    syswrite $socket, "GET /local/1/2 HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\n\r\n";
    select undef, undef, undef, 0.005 * ($n % 30);
    close $socket;
}
unlink '$PG_TMP/$PG_POLICY.ill';
is(told('dupont', '/local/1/2/3'), '200 redis page', 'the others go on');
like(told('dupont', '/local/1/2/4'), qr/^403 \w+ none/, 'and have counted once');



=== TEST 6: the fleet hears of what has left, and of what was held
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    proxy_pass                    http://$PG_PAGES;
}
location /gated/ {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES/;
}
--- after
start_another();
pages('dupont', '/page/1/2/3');
another { has_counted('dupont', 3, 'three have left') };
another { is(pages('dupont', '/gated/page/3/4/5')->{status}, 200, 'there') };
has_counted('dupont', [5, 6], 'and three more there');
is(pages('dupont', '/gated/page/5/6/7/8?p=7')->{status}, 403, 'too many for both');
another { is(pages('dupont', '/page/1/2/3/4/5/6/7/8?p=6')->{status}, 200, 'and gone') };
wait_for(sub { pages('dupont', '/gated/page/1?p=6')->{status} == 403 });
is(pages('dupont', '/gated/page/1?p=6')->{status}, 403, 'before this node knew');



=== TEST 7: decided locally
--- policy
account      $http_x_account trusted;
consistency  local;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    proxy_pass                    http://$PG_PAGES;
}
--- after
start_another();
is(pages('dupont', '/page/1/2/3?p=3')->{status}, 200);
is(pages('dupont', '/page/1/2/3/4?p=3')->{status}, 403);
has_counted('dupont', 3, 'here');
another { has_counted('dupont', 3, 'and there, by Redis') };



=== TEST 8: a key is rotated: who is known under the other one stays known
--- http_config
patient_guard_policy $PG_POLICY {
    account        $http_x_account trusted;
    secret         $PG_TMP/held.key;
    redis          $PG_REDIS prefix=$PG_PREFIX;
    redis_timeout  5s;
    limit          patients=20/1h deny;
}
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/records.sock;
    location / { return 200 'patients: $uri/'; }
}
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_id;
    patient_guard_response_match  "/(?<patient>\d+)";
    patient_guard_response_gate   on;
    add_header                    X-Source $patient_guard_source always;
    proxy_pass                    http://unix:$TEST_NGINX_SERVROOT/logs/records.sock:;
}
--- after
my $all = '/' . join '/', 1 .. 20;
is(told('dupont', $all), '200 redis page', 'twenty');
keys_are('fedcba9876543210fedc', '0123456789abcdef0123');
ok(reload(), 'the keys change places');
like(told('dupont', "$all?id=1"), qr/^200 \w+ page/, 'the same twenty');
like(told('dupont', '/1/21?id=1'), qr/^403 \w+ none/, 'and no other');
keys_are('fedcba9876543210fedc');
ok(reload(), 'the other key is gone');
like(told('dupont', "$all?id=1"), qr/^200 \w+ page/, 'the same twenty');
