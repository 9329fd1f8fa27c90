# what the directives take, and how locations inherit them
use lib 't/lib';
use PatientGuard;

# what a policy includes
open my $file, '>', "$ENV{PG_TMP}/limits-$ENV{PG_STORE}" or die $!;
print $file "limit  lookups=1/1h deny;\nchallenge_grants  2/1h;\n";
close $file;

# a secret that only its group may read, beside its owner
open $file, '>', "$ENV{PG_TMP}/group-$ENV{PG_STORE}" or die $!;
print $file "0123456789abcdef";
close $file;
chmod 0640, "$ENV{PG_TMP}/group-$ENV{PG_STORE}";

# the statuses of requests by the account "dupont"
sub statuses {
    return join ' ', map { get($_, 'X-Account' => 'dupont')->{status} } @_;
}

run_tests();

__DATA__

=== TEST 1: everything that a policy takes without Redis
--- http_config
patient_guard_policy $PG_POLICY {
    account           $remote_user  $ssl_client_serial  fold;
    account_missing   allow;
    zone              2m;
    secret            $PG_KEY;
    limit             lookups=4294967295/90d log;
    limit             patients=1/10s throttle name=a_name-of.some:kind/1;
    limit             patients=$remote_port/1d challenge default=600;
    limit             lookups=5000/1d12h deny;
    throttle_delay    1m;
    challenge         redirect https://sso.example/step-up;
    challenge         redirect /step-up?from=here;
    challenge         redirect $scheme://$host/step-up;
    challenge         step_up;
    challenge         step_up acr=eidas2;
    challenge         step_up max_age=0 "acr=eidas2 eidas3";
    challenge         page /prove-it.html;
    challenge         page @prove_it;
    challenge         status 444;
    challenge         status 599;
    challenge_grants  1/10s;
    proof             $remote_port;
    exempt            "";
}
--- config
location / {
    patient_guard           $PG_POLICY;
    patient_guard_dry_run   off;
    patient_guard_patient   $arg_patient "fixed,$arg_id" $remote_port;
    patient_guard_unmatched uri;
    patient_guard_methods   GET HEAD M-SEARCH _X;
    patient_guard_log_level info;
    proxy_pass              http://$PG_PORTAL;
}
--- request
GET /
--- error_code: 200



=== TEST 2: everything that a policy takes with Redis
--- policy
account        $http_x_account  trusted;
limit          lookups=1/1h deny;
secret         $PG_KEY;
redis          unix:$PG_TMP/redis.sock mode=standalone db=3 prefix=pg.$PG_PREFIX;
redis_timeout  60s;
on_outage      deny;
zone           32k;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses('/', '/'), '200 403', 'counts');
my @keys = redis('-n', 3, 'KEYS', 'pg.$PG_PREFIX:$PG_POLICY:*');
is(scalar @keys, 1, 'in the database and under the prefix that it was told');
is(redis('KEYS', '*$PG_POLICY*'), '', 'and nowhere else');



=== TEST 3: Redis at a host and port
--- policy
account        $http_x_account  trusted;
limit          lookups=1/1h deny;
secret         $PG_KEY;
redis          prefix=$PG_PREFIX localhost:$PG_REDIS_PORT;
redis_timeout  5s;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Source $patient_guard_source always;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /", "GET /"]
--- error_code eval
[200, 403]
--- response_headers eval
["X-Source: redis", "X-Source: redis"]



=== TEST 4: addresses of Redis that are as good, and never asked
--- http_config
patient_guard_policy $PG_POLICY_1 {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_TMP/group-$PG_STORE;
    redis    127.0.0.1;
}
patient_guard_policy $PG_POLICY_2 {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_TMP/group-$PG_STORE;
    redis    [::1]:6379;
}
patient_guard_policy $PG_POLICY_3 {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_TMP/group-$PG_STORE;
    redis    unix:/no/such/a=b.sock;
}
--- after
is(get('/started')->{status}, 204, 'it starts');



=== TEST 5: a policy includes a file
--- policy
account  $http_x_account  trusted;
include  $PG_TMP/limits-$PG_STORE*;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses('/', '/'), '200 403');



=== TEST 6: a policy is used before it is defined
--- http_config
patient_guard  $PG_POLICY;

patient_guard_policy $PG_POLICY {
    account  $http_x_account  trusted;
    limit    lookups=1/1h deny;
    $PG_STORE_DIRECTIVES
}
--- config
location / {
    proxy_pass  http://$PG_PORTAL;
}
--- after
is(statuses('/', '/'), '200 403');



=== TEST 7: two policies count apart, one policy in two locations counts as one
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account  trusted;
    limit    lookups=1/1h deny;
    $PG_STORE_DIRECTIVES
}
--- config
location /one {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location /other {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
location /second {
    patient_guard  $PG_POLICY_2;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses('/one', '/other', '/second', '/second'), '200 403 200 403');



=== TEST 8: a location inherits the policy, off ends it
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard  $PG_POLICY;
--- config
location / {
    proxy_pass  http://$PG_PORTAL;

    location /open {
        patient_guard  off;
        proxy_pass     http://$PG_PORTAL;

        location /open/closed {
            patient_guard  $PG_POLICY;
            proxy_pass     http://$PG_PORTAL;
        }

        location /open/too {
            proxy_pass     http://$PG_PORTAL;
        }
    }
}
--- after
is(statuses('/', '/'), '200 403', 'inherited from http');
is(statuses('/open', '/open/too'), '200 200', 'off is inherited');
is(statuses('/open/closed'), '403', 'and can be undone');



=== TEST 9: off in a server, under a policy in http
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard  $PG_POLICY;
--- config
patient_guard  off;
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /guarded {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses('/', '/'), '200 200');
is(statuses('/guarded', '/guarded'), '200 403');



=== TEST 10: patients are inherited, and replaced as a whole
--- policy
account  $http_x_account  trusted;
limit    patients=1/1h deny;
--- http_config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
--- config
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /id {
    patient_guard_patient  $arg_id;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(statuses('/?patient=1', '/?patient=1&x'), '200 200', 'patient 1');
is(statuses('/id?patient=2&id=1'), '200', '$arg_patient names nobody here');
is(statuses('/id?patient=1&id=2'), '403');
is(statuses('/?patient=1&id=2'), '200', 'and $arg_id nobody there');



=== TEST 11: a dry run is inherited
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard          $PG_POLICY;
patient_guard_dry_run  on;
--- config
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /earnest {
    patient_guard_dry_run  off;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(statuses('/', '/', '/earnest'), '200 200 403');



=== TEST 12: what to do without a patient is inherited
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard            $PG_POLICY;
patient_guard_patient    $arg_patient;
patient_guard_unmatched  ignore;
--- config
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /deny {
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
location /uri {
    patient_guard_unmatched  uri;
    proxy_pass               http://$PG_PORTAL;
}
--- after
is(statuses('/', '/', '/deny', '/uri', '/uri'), '200 200 403 200 403');



=== TEST 13: methods are inherited, and replaced as a whole
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard          $PG_POLICY;
patient_guard_methods  POST;
--- config
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /get {
    patient_guard_methods  GET;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my @post = (method => 'POST', 'X-Account' => 'dupont');
is(statuses('/', '/'), '200 200', 'GET is no lookup');
is(get('/get', @post)->{status}, 200);
is(get('/get', @post)->{status}, 200, 'POST is no lookup there');
is(statuses('/get', '/get'), '200 403', 'GET is');
is(get('/', @post)->{status}, 403, 'POST is, here');



=== TEST 14: a refusal is a warning, or what is inherited, or what is asked for
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
--- config
patient_guard            $PG_POLICY;
patient_guard_log_level  notice;
location / {
    proxy_pass  http://$PG_PORTAL;
}
location /info {
    patient_guard_log_level  info;
    proxy_pass               http://$PG_PORTAL;
}
location /warn {
    patient_guard_log_level  warn;
    proxy_pass               http://$PG_PORTAL;
}
location /error {
    patient_guard_log_level  error;
    proxy_pass               http://$PG_PORTAL;
}
--- request
GET /error
--- error_code: 403
--- error_log
[error]
--- after
is(statuses('/', '/', '/info', '/warn', '/error'), '200 403 403 403 403');
is(join(' ', error_log() =~ /\[(\w+)\] \S+ \*\d+ patient guard: deny by limit/g),
   'notice info warn error');



=== TEST 15: the default is a warning
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny name=hourly;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses('/', '/'), '200 403');
my ($said) = grep { /patient guard: / } split /\n/, error_log();
like($said, qr/\[warn\] \S+ \*\d+ patient guard: deny by limit "hourly" of policy "$PG_POLICY", counted 1 of 1, account: [0-9a-f]{32}, client: 127\.0\.0\.1$/);



=== TEST 16: what the client says of its own proof deserves a warning
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
proof    $http_x_auth_time;
--- suppress_stderr
--- error_log
[warn]
"proof $http_x_auth_time" is what the client says of itself in
--- after



=== TEST 17: and so does what it says of its exemption
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
exempt   a${arg_exempt};
--- suppress_stderr
--- error_log
[warn]
"exempt a${arg_exempt}" is what the client says of itself in
--- after



=== TEST 18: nobody is warned of what a portal says
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
proof    $upstream_http_x_auth_time;
exempt   $sent_http_x_exempt;
--- no_error_log
[warn]
--- after



=== TEST 19: as many limits as a policy has room for
--- policy eval
"account  \$http_x_account  trusted;\n"
. CORE::join "", map { "limit lookups=$_/${_}h log;\n" } 1 .. 16
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Limit $patient_guard_limit always;
}
--- more_headers
X-Account: dupont
--- request
GET /
--- response_headers
X-Limit: lookups/1h



=== TEST 20: a zone of another size starts anew, and says so
--- policy
account  $http_x_account  trusted;
limit    lookups=1/1h deny;
zone     1m;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $path = server_root() . '/conf/nginx.conf';
open my $in, '<', $path or die $!;
my $conf = join '', <$in>;
$conf =~ s/zone     1m;/zone     2m;/ or die 'no zone';
open my $out, '>', $path or die $!;
print $out $conf;
close $out;

is(statuses('/', '/'), '200 403');
ok(reload());
is(() = error_log() =~ /\[warn\].* the "zone" of policy "$PG_POLICY" has another size than before: what this node has counted starts anew in /g,
   1, 'said once');
is(statuses('/'), store() eq 'redis' ? '403' : '200',
   'what Redis has counted stays');



=== TEST 21: a patient without a variable is everybody's
--- policy
account  $remote_user;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  patient_id;
    proxy_pass             http://$PG_PORTAL;
}
--- suppress_stderr
--- error_log
[warn]
"patient_guard_patient patient_id" has no variable: all requests here name the same patient in
--- after



=== TEST 22: an account without a variable, too
--- policy
account  portal_account;
limit    lookups=1/1h deny;
--- config

--- suppress_stderr
--- error_log
[warn]
"account portal_account" in policy "$PG_POLICY" has no variable: everybody is the same account in
--- after



=== TEST 23: sets of patients that are large for Redis
--- policy
account  $remote_user;
zone     64m;
secret   $PG_KEY;
redis    $PG_FAKE;
limit    patients=5000/1h deny;
limit    patients=5000/1d deny;
--- config

--- suppress_stderr
--- error_log
[warn]
the limits on patients of policy "$PG_POLICY" let one account take 78 KB in Redis, and its lookups take longer: 64 KB are plenty in
--- after



=== TEST 24: nobody is warned of what may well be meant
--- policy
account  $http_x_account anonymous trusted;
limit    patients=8000/1h deny;
zone     64m;
secret   $PG_KEY;
redis    $PG_FAKE;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  all $arg_patient;
    location /nobody {
        patient_guard_patient  "";
    }
}
--- no_error_log
[warn]
--- after
