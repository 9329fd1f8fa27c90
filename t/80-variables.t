# what the variables say, in header fields and in the access log
use lib 't/lib';
use PatientGuard;

our $format = CORE::join '|', map { "\$patient_guard_$_" }
    qw(verdict limit count allowance retry_after account patient source
       dry_run);

# all nine in X-Guard and, at the end of the request, in logs/guard.log
add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value('http_config', ($block->http_config // '')
        . "log_format guard '\$request_uri $format';\n"
        . "access_log logs/guard.log guard;\n");
    $block->set_value('config', ($block->config =~ s/SAID/$format/gr));
});

# an answer to "dupont": status and variables, the aliases as A and P
sub told {
    my ($uri, %headers) = @_;

    my $answer = get($uri, 'X-Account' => 'dupont', %headers);
    my $said = $answer->{headers}{'x-guard'};
    return "$answer->{status} " . aliases(defined $said ? $said : 'nothing');
}

# and the same from the access log, of the last request
sub logged {
    my ($uri) = @_;

    my $line;
    my $path = server_root() . '/logs/guard.log';
    wait_for(sub {
        open my $file, '<', $path or return;
        ($line) = reverse grep { /^\Q$uri\E / } <$file>;
    });
    chomp $line;
    return aliases(substr $line, length("$uri "));
}

sub aliases {
    my ($said) = @_;

    return $said =~ s/\b[0-9a-f]{32}\b/A/r =~ s/\b[0-9a-f]{16}\b/P/r;
}

# where the counts are
our $store = store() eq 'redis' ? 'redis' : 'local';

# and who says so once more: what has been refused is known
our $again = store() eq 'redis' ? 'cache' : $store;

run_tests();

__DATA__

=== TEST 1: allowed
--- policy
account  $http_x_account trusted;
limit    patients=5/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|patients/1h|1|5||A|P|$store|0");
is(logged('/?patient=1'), "allow|patients/1h|1|5|-|A|P|$store|0");
is(told('/?patient=2,3'), "200 allow|patients/1h|3|5||A|P|$store|0");
is(told('/'), "200 allow|patients/1h|4|5||A|P|$store|0",
   'a URI stands for a patient');



=== TEST 2: with allow, the limit that has the least room
--- policy
account  $http_x_account trusted;
limit    lookups=9/1h deny;
limit    patients=6/1h throttle;
limit    patients=3/1d log;
limit    lookups=9/1d challenge;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
my $limit = sub { (split /\|/, told("/?patient=$_[0]"))[1] };
is($limit->(1), 'patients/1d', '2 left, not 5 or 8');
is($limit->(1), 'patients/1d', '2, 5, 7');
is($limit->(1), 'patients/1d', '2, 5, 6');
is($limit->($_), 'patients/1d') for 1 .. 3;
is($limit->(3), 'patients/1d', '0, 3, 2');
is($limit->(4), 'patients/1d', '-1, 2, 1');
is($limit->(4), 'patients/1d', '-1, 2, 0');
is($limit->(4), 'lookups/1h', 'which denies');



=== TEST 3: the first of those that have as little
--- policy
account  $http_x_account trusted;
limit    lookups=4/1h deny name=first;
limit    patients=2/1h deny name=second;
limit    patients=2/1d deny name=third;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|second|1|2||A|P|$store|0", '3, 1, 1');
is(told('/?patient=1'), "200 allow|second|1|2||A|P|$store|0", '2, 1, 1');
is(told('/?patient=1'), "200 allow|first|3|4||A|P|$store|0", '1, 1, 1');



=== TEST 4: throttled
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h throttle;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|0");
my $answer = get('/?patient=1', 'X-Account' => 'dupont');
is($answer->{status}, 429);
my $said = aliases($answer->{headers}{'x-guard'});
like($said, qr{^throttle\|lookups/1h\|1\|1\|3\d\d\d\|A\|P\|$store\|0$});
is((split /\|/, $said)[4], $answer->{headers}{'retry-after'}, 'in seconds');
is(logged('/?patient=1'), $said);



=== TEST 5: denied
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|0");
like(told('/?patient=2'),
     qr{^403 deny\|lookups/1h\|1\|1\|3[67]\d\d\|A\|P\|$store\|0$});
like(logged('/?patient=2'),
     qr{^deny\|lookups/1h\|1\|1\|3[67]\d\d\|A\|P\|$store\|0$});



=== TEST 6: challenged
--- policy
account    $http_x_account trusted;
limit      lookups=1/1h challenge;
limit      patients=9/1h deny;
challenge  step_up;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|0");
for my $by ($store, $again) {
    is(told('/?patient=2'), "401 challenge|lookups/1h|1|1||A|P|$by|0");
    is(logged('/?patient=2'), "challenge|lookups/1h|1|1|-|A|P|$by|0");
}



=== TEST 7: logged, which is allowed
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h log;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|0");
is(told('/?patient=2'), "200 allow|lookups/1h|2|1||A|P|$store|0");



=== TEST 8: a dry run
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|1");
like(told('/?patient=2'),
     qr{^200 deny\|lookups/1h\|1\|1\|3[67]\d\d\|A\|P\|$store\|1$});



=== TEST 9: nothing is guarded, nothing is said
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
add_header             X-Guard "SAID" always;
location / {
    proxy_pass     http://$PG_PORTAL;
}
location /off {
    patient_guard  off;
    proxy_pass     http://$PG_PORTAL;
}
location /return {
    return 200;
}
--- after
my @uris = ('/off?patient=1', '/return?patient=1');
is(told($_), '200 ||||||||', $_) for @uris;
is(logged($_), '-|-|-|-|-|-|-|-|-', $_) for @uris;
is(told('/', method => 'OPTIONS'), '200 ||||||||', 'no lookup');



=== TEST 10: no account
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account          $http_x_account trusted;
    account_missing  allow;
    limit            lookups=1/1h deny;
    $PG_STORE_DIRECTIVES
}
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
location /allow {
    patient_guard          $PG_POLICY_2;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
my @nobody = ('X-Account' => '');
is(told('/?patient=1', @nobody), '403 deny||||||P|none|0');
is(logged('/?patient=1'), 'deny|-|-|-|-|-|P|none|0');
is(told('/?', @nobody), '403 deny|||||||none|0');
is(told('/allow?patient=1', @nobody), '200 allow||||||P|none|0');
is(told('/allow?', @nobody), '200 allow|||||||none|0');



=== TEST 11: no patient, or too many
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $http_x_patient;
add_header             X-Guard "SAID" always;
location /ignore {
    patient_guard_unmatched  ignore;
    proxy_pass               http://$PG_PORTAL;
}
location /deny {
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
--- after
is(told('/ignore'), '200 allow|||||A||none|0');
is(logged('/ignore'), 'allow|-|-|-|-|A|-|none|0');
is(told('/deny'), '403 deny|||||A||none|0');
is(told('/deny', 'X-Patient' => CORE::join ',', 1 .. 513),
   '400 deny||||||P|none|0');



=== TEST 12: after an error_page, named or not
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_patient;
location /uri {
    error_page  403 /sorry;
    proxy_pass  http://$PG_PORTAL;
}
location /named {
    error_page  403 @sorry;
    proxy_pass  http://$PG_PORTAL;
}
location /status {
    error_page  403 =200 @sorry;
    proxy_pass  http://$PG_PORTAL;
}
location /sorry {
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
location @sorry {
    patient_guard  off;
    proxy_pass     http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(get('/uri?patient=1', 'X-Account' => 'dupont')->{status}, 200);
my $denied = qr{deny\|lookups/1h\|1\|1\|3[67]\d\d\|A\|P
                \|(?:$store|$again)\|0}x;
like(told('/uri?patient=2'), qr{^403 $denied$});
like(logged('/uri?patient=2'), qr{^$denied$});
like(told('/named?patient=2'), qr{^403 $denied$});
like(logged('/named?patient=2'), qr{^$denied$});
like(told('/status?patient=2'), qr{^200 $denied$});
like(logged('/status?patient=2'), qr{^$denied$});



=== TEST 13: after an internal redirect of what was allowed
--- policy
account  $http_x_account trusted;
limit    lookups=5/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    try_files      /none /other;
}
location /other {
    patient_guard  off;
    proxy_pass     http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/'), "200 allow|lookups/1h|1|5||A|P|$store|0");
is(logged('/'), "allow|lookups/1h|1|5|-|A|P|$store|0");



=== TEST 14: an alias is one of an account, and of a patient
--- http_config
patient_guard_policy $PG_POLICY_1 {
    account  $http_x_account trusted;
    limit    lookups=9/1h deny;
    secret   $PG_KEY;
    $PG_STORE_DIRECTIVES
}
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    lookups=9/1h deny;
    secret   $PG_KEY;
    $PG_STORE_DIRECTIVES
}
--- config
patient_guard_patient  $http_x_patient;
add_header             X-Guard "SAID" always;
location /1 {
    patient_guard  $PG_POLICY_1;
    proxy_pass     http://$PG_PORTAL;
}
location /2 {
    patient_guard  $PG_POLICY_2;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $alias = sub {
    my ($uri, $account, $patient) = @_;
    my @said = split /\|/, get($uri, 'X-Account' => $account,
                               'X-Patient' => $patient)->{headers}{'x-guard'};
    return @said[5, 6];
};
my ($account, $patient) = $alias->('/1', 'dupont', '1, 2');
like($account, qr/^[0-9a-f]{32}$/, '128 bits');
like($patient, qr/^[0-9a-f]{16}$/, '64 bits');
is_deeply([$alias->('/1', 'dupont', '1')], [$account, $patient],
          'of the first patient');
is_deeply([$alias->('/2', 'dupont', '1')], [$account, $patient],
          'the same under the same secret');
isnt(($alias->('/1', 'durand', '1'))[0], $account);
isnt(($alias->('/1', 'dupont', '2'))[1], $patient);
isnt(($alias->('/1', 'dupont', ''))[1], $patient);



=== TEST 15: the portal may be told, and the access log asked
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- http_config
map $patient_guard_verdict $refused {
    deny     1;
    default  0;
}
--- config
access_log  logs/refused.log combined if=$refused;
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL/a?$patient_guard_verdict-$patient_guard_count;
}
--- after
my @by = ('X-Account' => 'dupont');
is(get('/', @by)->{body}, "record of /a?allow-1\n");
is(get('/', @by)->{status}, 403);
my $said;
ok(wait_for(sub {
    open my $file, '<', server_root() . '/logs/refused.log' or return;
    $said = CORE::join '', <$file>;
}));
is(() = $said =~ /" 403 /g, 1);
unlike($said, qr/" 200 /);



=== TEST 16: too early, there is nothing to say yet
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    set            $early "$patient_guard_verdict,$patient_guard_count";
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Early $early always;
}
--- after
for my $verdict ('allow', 'deny') {
    my $answer = get('/', 'X-Account' => 'dupont');
    is($answer->{headers}{'x-early'}, ',');
    like(logged('/'), qr{^$verdict\|lookups/1h\|1\|1\|},
         'and that it was asked for does not matter later');
}



=== TEST 17: throttled: held, and admitted
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
throttle_delay  15s;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/10s|1|1||A|P|$store|0");
local $ENV{PG_SLOW} = 3 * ($ENV{PG_SLOW} // 1);
is(told('/?patient=2'), "200 throttle|lookups/10s|1|1||A|P|$store|0");
is(logged('/?patient=2'), "throttle|lookups/10s|1|1|-|A|P|$store|0");



=== TEST 18: a dry run of a delay that would be short, or too long
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle name=short;
throttle_delay  1m;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    lookups=1/1h throttle name=long;
    $PG_STORE_DIRECTIVES
}
--- config
patient_guard_dry_run  on;
location /short {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
location /long {
    patient_guard          $PG_POLICY_2;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/short?patient=1'), "200 allow|short|1|1||A|P|$store|1");
like(told('/short?patient=2'),
     qr{^200 throttle\|short\|1\|1\|(?:[1-9]|1[01])\|A\|P\|$store\|1$});
is(told('/long?patient=1'), "200 allow|long|1|1||A|P|$store|1");
like(told('/long?patient=2'),
     qr{^200 throttle\|long\|1\|1\|3[567]\d\d\|A\|P\|$store\|1$});
like(logged('/long?patient=2'),
     qr{^throttle\|long\|1\|1\|3[567]\d\d\|A\|P\|$store\|1$});



=== TEST 19: a dry run of the others
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $http_x_account trusted;
    limit    lookups=1/1h log;
    $PG_STORE_DIRECTIVES
}
--- config
patient_guard_dry_run  on;
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
location /log {
    patient_guard          $PG_POLICY_2;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
location /deny {
    patient_guard            $PG_POLICY;
    patient_guard_unmatched  deny;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
is(told('/?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|1");
for my $by ($store, $again) {
    is(told('/?patient=2'), "200 challenge|lookups/1h|1|1||A|P|$by|1");
    is(logged('/?patient=2'), "challenge|lookups/1h|1|1|-|A|P|$by|1");
}
is(told('/log?patient=1'), "200 allow|lookups/1h|1|1||A|P|$store|1");
is(told('/log?patient=2'), "200 allow|lookups/1h|2|1||A|P|$store|1");
is(told('/deny'), '200 deny|||||A||none|1');
is(told('/?patient=1', 'X-Account' => ''), '200 deny||||||P|none|1');



=== TEST 20: what is refused is not in the count
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
my $said = sub { (split /\|/, told("/?patient=$_[0]"))[$_[1]] };
is($said->('1,2', 2), 2);
is($said->('3,4', 2), 2, 'refused as a whole') for 1 .. 3;
is($said->('3', 2), 3);
is($said->($_, 2), 3, 'nobody else is counted') for 4 .. 6;
is($said->('1,4', 2), 3, 'nor with somebody who was');
is($said->('1,2,3', 0), '200 allow');



=== TEST 21: an allowance that is a variable is told as it holds
--- policy
account  $http_x_account trusted;
limit    lookups=$http_x_quota/1h deny default=2;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
my $quota = sub { told('/?patient=1', 'X-Quota' => $_[0]) };
my $rest = "A|P|$store|0";
is($quota->(50), "200 allow|lookups/1h|1|50||$rest");
is($quota->(''), "200 allow|lookups/1h|2|2||$rest", 'the default');
like($quota->('many'), qr{^403 deny\|lookups/1h\|2\|2\|3[67]\d\d\|\Q$rest\E$});
like($quota->(1),
     qr{^403 deny\|lookups/1h\|2\|1\|3[67]\d\d\|A\|P\|$again\|0$},
     'more was counted than is allowed now');
is($quota->('4294967295'), "200 allow|lookups/1h|3|4294967295||$rest");



=== TEST 22: while Redis is away
--- http_config eval
CORE::join '', map { <<"END" } qw(local deny allow)
patient_guard_policy \$PG_POLICY_$_ {
    account        \$http_x_account trusted;
    limit          lookups=1/1h deny;
    secret         \$PG_KEY;
    redis          \$PG_FAKE prefix=\$PG_PREFIX;
    redis_timeout  5s;
    on_outage      $_;
}
END
--- config
patient_guard_patient  $arg_patient;
add_header             X-Guard "SAID" always;
location /local {
    patient_guard  $PG_POLICY_local;
    proxy_pass     http://$PG_PORTAL;
}
location /deny {
    patient_guard  $PG_POLICY_deny;
    proxy_pass     http://$PG_PORTAL;
}
location /allow {
    patient_guard  $PG_POLICY_allow;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(told('/local?patient=1'), '200 allow|lookups/1h|1|1||A|P|local|0');
like(told('/local?patient=1'),
     qr{^403 deny\|lookups/1h\|1\|1\|3[67]\d\d\|A\|P\|local\|0$});
for (1, 2) {
    is(told('/allow?patient=1'), '200 allow|||||A|P|none|0');
    is(logged('/allow?patient=1'), 'allow|-|-|-|-|A|P|none|0');
    is(told('/deny?patient=1'), '503 deny||||1|A|P|none|0');
    is(logged('/deny?patient=1'), 'deny|-|-|-|1|A|P|none|0');
}



=== TEST 23: a challenge that can't be passed any more, and for how long
--- policy
account           $http_x_account trusted;
limit             lookups=1/2h challenge;
challenge_grants  1/1h;
proof             $proof;
exempt            $exempt;
--- http_config
map $http_x_proof $proof { default $http_x_proof; }
map $http_x_exempt $exempt { default $http_x_exempt; }
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "SAID" always;
}
--- after
my $uri = '/?patient=1';
my $rest = "A|P|$store|0";
is(told($uri), "200 allow|lookups/2h|1|1||$rest");
is(told($uri), "403 challenge|lookups/2h|1|1||$rest");
is(told($uri, 'X-Exempt' => 1), "200 allow|lookups/2h|2|1||$rest",
   'which whoever is exempt does not feel');
is(told($uri, 'X-Proof' => time + 2), "200 allow|lookups/2h|1|1||$rest",
   'passed');
like(told($uri), qr{^403 deny\|lookups/2h\|1\|1\|3[67]\d\d\|A\|P\|$store\|0$},
     'until there is a grant, in an hour');
like(told($uri), qr{^403 deny\|lookups/2h\|1\|1\|3[67]\d\d\|A\|P\|$again\|0$},
     'as Redis has heard');



=== TEST 24: all patients, of the request and of the response, and the policy
--- policy
account  $http_x_account trusted;
limit    patients=9/1h deny;
--- http_config
log_format all '$patient_guard_policy $patient_guard_patients'
               ' $patient_guard_patient';
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_patient;
    patient_guard_response_match  'id=(?<patient>\d+)';
    proxy_pass                    http://$PG_PORTAL;
    access_log                    logs/all.log all;
}
--- after
get($_, 'X-Account' => 'dupont')
    for '/?patient=1', '/?patient=2,1,2', '/?patient=1&x=id=2,id=1,id=3', '/';
my @lines;
wait_for(sub {
    open my $file, '<', server_root() . '/logs/all.log' or return;
    @lines = map { [split] } <$file>;
    @lines == 4;
});
is(CORE::join(' ', map { $_->[0] } @lines),
   CORE::join(' ', ($PatientGuard::policy) x 4), 'the policy');
my ($one) = $lines[0][1];
my ($two) = $lines[1][1] =~ /^(\w+),/;
is($lines[0][2], $one, 'the first is one of them');
is($lines[1][1], "$two,$one", 'each once, as they were named');
like($lines[2][1], qr/^$one,$two,[0-9a-f]{16}$/, 'those of the response, too');
like($lines[3][1], qr/^[0-9a-f]{16}$/, 'what stands for a patient');
is($lines[3][1], $lines[3][2]);
