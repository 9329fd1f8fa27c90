# the desk: /status and /metrics of patient_guard_api
use lib 't/lib';
use PatientGuard;

use JSON::PP ();

our $api = <<'END';
location /guard/ {
    patient_guard_api;
    allow  127.0.0.1;
    deny   all;
}
END

our $config = $api . <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Alias $patient_guard_account always;
}
location /dry {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
}
END

sub looks { get($_[1], 'X-Account' => $_[0]) }
sub look { looks(@_)->{status} }
sub alias { looks(@_)->{headers}{'x-alias'} }

# what /status says of the block's policy
sub status {
    my $answer = get('/guard/status');
    die "$answer->{status} $answer->{body}\n" if $answer->{status} != 200;
    my ($policy) = grep { $_->{name} eq $PatientGuard::policy }
        @{ JSON::PP::decode_json($answer->{body})->{policies} };
    return $policy;
}

# the samples of /metrics that are of the block's policy, without its label
sub metrics {
    my ($family) = @_;

    my $answer = get('/guard/metrics');
    return { map { /^\Q$family\E(\S*?)\{policy="\Q$PatientGuard::policy\E",?(.*)\} (\S+)$/
                   ? ("$1$2" => $3) : () } split /\n/, $answer->{body} };
}

# of those that are not 0
sub counted {
    my $all = metrics(@_);
    return { map { $all->{$_} ? ($_ => $all->{$_}) : () } keys %$all };
}

our $source = store() eq 'redis' ? 'redis' : 'local';

run_tests();

__DATA__

=== TEST 1: what has been decided
--- policy
account        $http_x_account trusted;
limit          patients=2/1h deny name=p;
limit          lookups=3/1d log;
throttle_delay 1ms;
--- config eval: $::config
--- after
is(look('a', "/?patient=$_"), $_ < 3 ? 200 : 403) for 1, 2, 3, 3;
is(look('b', '/?patient=1,2'), 200);
is(look('a', '/dry?patient=4'), 200);
is(look('', '/?patient=1'), 403, 'no account');
my $status = status();
is($status->{lookups}, 7);
is($status->{records}, 7, 'as many as are named');
is_deeply($status->{verdicts}, {allow => 3, delay => 0, throttle => 0,
                                challenge => 0, deny => 3, unavailable => 0});
is_deeply($status->{dry_run}, {allow => 0, delay => 0, throttle => 0,
                               challenge => 0, deny => 1, unavailable => 0});
is($status->{sources}{$::source} + $status->{sources}{cache}, 6);
is($status->{sources}{none}, 1);
is_deeply($status->{limits},
    [{name => 'p', signal => 'patients', window => 3600, action => 'deny',
      per => undef, count => 2, refused => 2, dry_run => 1},
     {name => 'lookups/1d', signal => 'lookups', window => 86400,
      action => 'log', per => undef, count => 3, refused => 0,
      dry_run => 0}]);
my $alias = alias('a', '/?patient=1');
my ($a) = grep { $_->{account} eq $alias } @{ $status->{accounts} };
like(delete $a->{until}, qr/^\d+/);
is_deeply($a, {account => $alias, verdict => 'deny', limit => 'p', count => 2,
               allowance => 2, share => 1});
is($status->{accounts}[0]{verdict}, 'deny', 'the worst first');
is(@{ $status->{accounts} }, 2);
my @recent = @{ $status->{recent} };
my ($denied) = grep { ($_->{account} // '') eq $alias && !$_->{dry_run} } @recent;
is($denied->{times}, 2, 'twice, in one line');
is("@$denied{qw(verdict limit count allowance)}", 'deny p 2 2');
cmp_ok(abs($denied->{time} - time), '<', 60);
is(scalar(grep { $_->{dry_run} } @recent), 1);
my ($nobody) = grep { !defined $_->{account} } @recent;
is($nobody->{verdict}, 'deny');
is($nobody->{limit}, undef);
unlike(get('/guard/status')->{body}, qr/dupont|"a"/);

my $n = sub { +{ map { ("verdict=\"$_[0]\",limit=\"$_[1]\",action=\"$_[2]\",dry_run=\"$_[3]\"" => $_[4]) } 1 } };
is_deeply(counted('patient_guard_verdicts_total'), {
    %{ $n->('allow', '', '', 0, 4) }, %{ $n->('deny', 'p', 'deny', 0, 2) },
    %{ $n->('deny', '', '', 0, 1) }, %{ $n->('deny', 'p', 'deny', 1, 1) },
});
is_deeply(metrics('patient_guard_lookups_total'), {'' => 8});
is(metrics('patient_guard_accounts')->{''}, 2);
cmp_ok(metrics('patient_guard_zone_used_bytes')->{''}, '>', 0);



=== TEST 2: what is held, throttled, challenged
--- policy
account         $http_x_account trusted;
limit           lookups=1/10s throttle;
limit           patients=2/1d challenge;
throttle_delay  60s;
--- config eval: $::config
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account  $http_x_account trusted;
    limit    lookups=1/1h throttle;
}
--- after
is(look('a', '/?patient=1'), 200);
my $client = PatientGuard::client();
print $client PatientGuard::request('/?patient=1', 'X-Account' => 'a');
like(scalar <$client>, qr/ 200 /, 'held');
my $verdicts = status()->{verdicts};
is("@$verdicts{qw(allow delay)}", '1 1');
is(look('b', '/?patient=1'), 200);
is(look('b', '/?patient=1,2,3'), 403, 'challenged');
my $status = status();
is($status->{verdicts}{challenge}, 1);
is($status->{accounts}[0]{verdict}, 'challenge');
is($status->{accounts}[0]{limit}, 'patients/1d');
is($status->{recent}[0]{verdict}, 'challenge');
is($status->{recent}[0]{until}, undef, 'until it is passed');
is($status->{recent}[1]{verdict}, 'delay');



=== TEST 3: totals outlive a reload, and changed limits
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny name=one;
limit    lookups=9/1d deny name=two;
--- config eval: $::config
--- after
look('a', "/?patient=$_") for 1, 2;
is_deeply([map { "$_->{name} $_->{refused}" } @{ status()->{limits} }], ['one 1', 'two 0']);
my $conf = server_root() . '/conf/nginx.conf';
my $text = PatientGuard::slurp($conf);
$text =~ s/limit\s+lookups=9\S* deny name=two;/limit lookups=9\/1d deny name=three;/ or die;
$text =~ s/limit\s+patients=1/limit patients=2/ or die;
open my $file, '>', $conf or die; print $file $text; close $file;
PatientGuard::reload();
is_deeply([map { "$_->{name} $_->{refused}" } @{ status()->{limits} }], ['one 1', 'three 0']);
is(look('a', '/?patient=2'), 200, 'one more');
is(look('a', '/?patient=3'), 403);
is_deeply([map { "$_->{name} $_->{refused}" } @{ status()->{limits} }], ['one 2', 'three 0']);
is(status()->{lookups}, 4);



=== TEST 4: what is sent, and by which way
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config eval
$::api . $::api =~ s{/guard/}{/bare}r . "patient_guard \$PG_POLICY;\n"
--- after
my $answer = get('/guard/status');
is($answer->{headers}{'content-type'}, 'application/json');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{headers}{'x-content-type-options'}, 'nosniff');
is($answer->{headers}{'content-length'}, length $answer->{body});
is(JSON::PP::decode_json($answer->{body})->{write}, JSON::PP::false());
$answer = get('/guard/metrics');
like($answer->{headers}{'content-type'}, qr{^text/plain; version=0\.0\.4});
is(get('/guard/status', method => 'HEAD')->{body}, '');
is(get('/guard/status', method => 'POST')->{status}, 405);
is(get('/guard/nothing')->{status}, 404);
is(get('/guard/statuses')->{status}, 404);
like(get('/guard/nothing')->{body}, qr/"status":404/);
$answer = get('/bare');
is($answer->{status}, 301);
like($answer->{headers}{location}, qr{/bare/$});
is(get('/bare/status')->{status}, 200);
is(status()->{lookups}, 0, 'nothing of it is a lookup');



=== TEST 5: anybody may ask
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config
location /guard/ {
    patient_guard_api;
}
--- after
like(error_log(), qr/^/);
--- error_log
anybody may ask "patient_guard_api" in location "/guard/": add "allow" and "deny", "auth_basic" or "auth_request"



=== TEST 6: whom a server lets in
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config
allow  127.0.0.1;
deny   all;
location /guard/ {
    patient_guard_api;
}
--- after
is(get('/guard/status')->{status}, 200);
--- no_error_log
anybody may ask



=== TEST 7: in a location that is no prefix
--- config
location = /guard {
    patient_guard_api;
}
--- must_die
--- error_log
"patient_guard_api" in location "/guard", expected it in one that is a prefix, such as "location /guard/"



=== TEST 8: by a regular expression
--- config
location ~ /guard {
    patient_guard_api;
}
--- must_die
--- error_log
"patient_guard_api" in location "/guard", expected it in one that is a prefix



=== TEST 9: another word
--- config
location /guard/ {
    patient_guard_api read;
}
--- must_die
--- error_log
invalid value "read" of "patient_guard_api", expected "write" or nothing



=== TEST 10: twice
--- config
location /guard/ {
    patient_guard_api;
    patient_guard_api;
}
--- must_die
--- error_log
"patient_guard_api" directive is duplicate



=== TEST 11: many accounts, of which twenty are told
--- policy
account  $http_x_account trusted;
limit    patients=50/1h deny;
limit    patients=3000/1h log per=all;
--- config eval: $::config
--- after
for my $n (1 .. 30) {
    is(look("u$n", '/?patient=' . CORE::join(',', 1 .. $n)), 200);
}
my @accounts = @{ status()->{accounts} };
is(@accounts, 20);
is_deeply([map { $_->{count} } @accounts], [reverse 11 .. 30], 'nearest first');
is($accounts[0]{share}, 0.6);
is(status()->{zone}{accounts}, 31, 'and what all share');



=== TEST 12: "if" and "limit_except" in a location that answers
--- policy
account  $http_x_account trusted;
limit    patients=2/1h challenge;
challenge redirect /sso;
--- config
patient_guard $PG_POLICY;
location /guard/ {
    patient_guard_api write;
    allow 127.0.0.1;
    deny  all;
    if ($arg_x) {
        set $x 1;
    }
    limit_except GET {
        allow 127.0.0.1;
        deny  all;
    }
}
location /pass {
    patient_guard_pass $PG_POLICY;
    if ($arg_x) {
        set $x 1;
    }
}
location /pass2 {
    patient_guard_pass $PG_POLICY;
    limit_except GET {
        allow 127.0.0.1;
        deny  all;
    }
}
--- after
my @write = ('X-Patient-Guard' => 'write', method => 'POST');
is(get('/pass?state=a&x=1', 'X-Account' => 'a')->{status}, 403, 'a state that is none');
is(get('/pass2?state=a', 'X-Account' => 'a')->{status}, 403);
is(get('/pass2?state=a', 'X-Account' => 'a', method => 'POST')->{status}, 403);
is(get("/guard/accounts/a/clear?policy=$PatientGuard::policy$_", @write)->{status}, 200, "write$_") for '', '&x=1';
is(get('/guard/status?x=1')->{status}, 200);
is(status()->{lookups}, 0, 'and none of it is a lookup');



=== TEST 13: beside another directive that answers
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location /guard/ {
    patient_guard_api;
    allow 127.0.0.1;
    deny  all;
    proxy_pass http://$PG_PORTAL;
}
--- must_die
--- error_log
"patient_guard_pass" or "patient_guard_api" in location "/guard/" stands beside another directive that answers, such as "proxy_pass"



=== TEST 14: both in one location
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location /guard/ {
    patient_guard_api;
    patient_guard_pass $PG_POLICY;
}
--- must_die
--- error_log
"patient_guard_pass" directive is in a location with "patient_guard_api"



=== TEST 15: the other way round
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config
location /guard/ {
    patient_guard_pass $PG_POLICY;
    patient_guard_api;
}
--- must_die
--- error_log
"patient_guard_api" directive is in a location with "patient_guard_pass"



=== TEST 16: a lookup is counted once, whatever is logged beside it
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval
$::config . <<'END'
location /session {
    log_subrequest  on;
    return 204;
}
location /sub {
    log_subrequest         on;
    auth_request           /session;
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    mirror                 /session;
    proxy_pass             http://$PG_PORTAL;
}
END
--- after
is(look('a', "/sub?patient=$_"), $_ < 3 ? 200 : 403) for 1 .. 3;
is(status()->{lookups}, 3);
