# the desk: how an account stands, and what is ordered of it
use lib 't/lib';
use PatientGuard;

use JSON::PP ();

our $api = <<'END';
location /guard/ {
    patient_guard_api  write;
    allow  127.0.0.1;
    deny   all;
}
location /look/ {
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
END

our @write = ('X-Patient-Guard' => 'write');

sub look { get($_[1], 'X-Account' => $_[0])->{status} }
sub alias { get('/?patient=1', 'X-Account' => $_[0])->{headers}{'x-alias'} }

# what the API says of a login under the block's policy
sub account {
    my ($login, $args) = @_;

    my $answer = get("/guard/accounts/$login?policy=$PatientGuard::policy"
                     . ($args // ''));
    die "$answer->{status} $answer->{body}\n" if $answer->{status} != 200;
    return JSON::PP::decode_json($answer->{body})->{accounts}[0];
}

# status and reach of an order
sub order {
    my ($method, $path) = @_;

    $path .= ($path =~ /\?/ ? '&' : '?') . "policy=$PatientGuard::policy";
    my $answer = get("/guard/accounts/$path", @::write, method => $method);
    my ($reach) = $answer->{body} =~ /"reach":"(\w+)"/;
    return join ' ', $answer->{status}, $reach // ();
}

our $reach = store() eq 'redis' ? 'fleet' : 'node';
our $source = store() eq 'redis' ? 'redis' : 'local';

sub keys_are {
    my ($policy, @keys) = @_;

    my $path = "$ENV{PG_TMP}/$policy.key";
    open my $file, '>', $path or die "$path: $!\n";
    print $file map { "$_\n" } @keys;
    close $file;
    chmod 0600, $path;
}

add_block_preprocessor(sub {
    my $block = shift;
    keys_are(PatientGuard::next_policy(), 'a' x 32) if $block->name =~ /while the secret is rotated/;
});

run_tests();

__DATA__

=== TEST 1: how an account stands
--- policy
account   $http_x_account trusted;
limit     patients=3/1h challenge name=p;
limit     lookups=9/1d deny;
limit     patients=90/1d log per=all;
challenge_grants 2/1d;
--- config eval: $::config
--- after
my $zone = sub {
    my $answer = get('/guard/status');
    my ($policy) = grep { $_->{name} eq $PatientGuard::policy }
        @{ JSON::PP::decode_json($answer->{body})->{policies} };
    return $policy->{zone};
};
my $empty = $zone->();
my $said = account('a');
is($said->{verdict}, 'allow', 'who is not known');
is_deeply([map { $_->{count} } @{ $said->{limits} }], [0, 0, undef]);
is_deeply($zone->(), $empty, 'and no question makes it known');
is(look('a', "/?patient=$_"), 200) for 1, 2;
$said = account('a');
is($said->{policy}, $PatientGuard::policy);
is($said->{account}, alias('a'));
is($said->{source}, $::source);
is($said->{verdict}, 'allow');
is($said->{challenge}, undef);
is($said->{blocked}, undef);
is_deeply($said->{grants}, {allowance => 2, window => 86400, wait => 0});
is_deeply($said->{limits}[0], {name => 'p', signal => 'patients', count => 2,
    allowance => 3, window => 3600, action => 'challenge', wait => 0,
    per => undef});
is($said->{limits}[2]{per}, 'all');
account('a') for 1 .. 5;
is(account('a')->{limits}[0]{count}, 2, 'a question counts nothing');
is(look('a', '/?patient=3'), 200);
$said = account('a');
is("@$said{qw(verdict limit)}", 'challenge p', 'what one more would get');
cmp_ok($said->{limits}[0]{wait}, '>', 3000);
is($said->{challenge}, undef, 'and no challenge is opened by asking');
is(look('a', '/?patient=4'), 403);
$said = account('a');
is($said->{challenge}{limit}, 'p');
cmp_ok(abs($said->{challenge}{since} - time), '<', 60);
is($said->{recent}[0]{verdict}, 'challenge');
is(account(alias('a'), '&by=alias')->{challenge}{limit}, 'p');



=== TEST 2: cleared
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny name=p;
limit    lookups=4/1d challenge;
--- config eval: $::config
--- after
is(look('a', "/?patient=$_"), $_ < 3 ? 200 : 403) for 1 .. 3;
is(order(POST => 'a/clear'), "200 $::reach");
is(look('a', "/?patient=$_"), $_ < 5 ? 200 : 403, "patient $_") for 3 .. 5;
is(look('a', '/?patient=3'), 200) for 1, 2;
is(look('a', '/?patient=3'), 403, 'challenged');
is(order(POST => 'a/clear'), "200 $::reach");
is(account('a')->{challenge}, undef);
is_deeply([map { $_->{count} } @{ account('a')->{limits} }], [0, 0]);
is(look('a', "/?patient=$_"), 200) for 7, 8;
is(look('b', "/?patient=$_"), 200) for 7, 8;
is(order(POST => 'b/clear'), "200 $::reach");
is(look('a', '/?patient=9'), 403, 'of one account only');
like(error_log(), qr/\[notice\].*patient guard: clear by the desk, policy "\S+", done, account: \w{32}, client/);
--- log_level: notice



=== TEST 3: blocked
--- policy
account  $http_x_account trusted;
limit    patients=5/1h deny;
exempt   $arg_exempt;
--- config eval: $::config
--- after
is(look('a', '/?patient=1'), 200);
is(order(POST => 'a/block?for=1h'), "200 $::reach");
my $answer = get('/?patient=1', 'X-Account' => 'a');
is($answer->{status}, 403);
like($answer->{body}, qr/"status":403/);
is(look('a', '/?patient=1&exempt=1'), 403, 'nobody is exempt');
is(look('b', '/?patient=1'), 200);
my $said = account('a');
cmp_ok(abs($said->{blocked}{until} - time - 3600), '<', 60);
is($said->{verdict}, 'deny');
is($said->{limit}, undef);
cmp_ok($said->{retry_after}, '>', 3500);
is($said->{limits}[0]{count}, 1, 'nothing is counted meanwhile');
is(scalar @{ (grep { $_->{name} eq $PatientGuard::policy } @{ JSON::PP::decode_json(get('/guard/status')->{body})->{policies} })[0]{blocked} }, 1);
PatientGuard::reload();
is(look('a', '/?patient=1'), 403, 'after a reload as well');
is(order(POST => 'a/block?for=1s'), "200 $::reach", 'for less');
ok(wait_for(sub { look('a', '/?patient=1') == 200 }), 'which is over');
is(order(POST => 'a/block?for=90d'), "200 $::reach");
is(look('a', '/?patient=1'), 403);
is(order(POST => 'a/clear'), "200 $::reach");
is(look('a', '/?patient=1'), 200, 'lifted');



=== TEST 4: forgotten
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
limit    new_patients=9/1d deny;
--- config eval: $::config
--- after
is(look('a', "/?patient=$_"), $_ < 3 ? 200 : 403) for 1 .. 3;
my $alias = alias('a');
my $held = sub { scalar(() = CORE::join(' ', PatientGuard::redis('KEYS', "*:$PatientGuard::policy:{$alias}")) =~ /\{/g) };
is($held->(), 1) if store() eq 'redis';
is(order(DELETE => 'a'), "200 $::reach");
is($held->(), 0, 'nothing is in Redis') if store() eq 'redis';
unlike(get('/guard/status')->{body}, qr/$alias/, 'nor here');
is(look('a', "/?patient=$_"), 200) for 3, 4;
is(account('a')->{limits}[1]{count}, 2, 'whom it knew as well');



=== TEST 5: logins of all kinds
--- policy
account  $arg_who trusted fold;
limit    patients=2/1h deny;
--- config eval: $::config
--- after
my $encoded = sub { $_[0] =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger };
for my $login ('a/b', 'Dr. Martin', 'x%y', '?&#', "\xc3\xa9", 'accounts/clear', 'A', 'policy') {
    my $id = $encoded->($login);
    # nginx hands $arg_who on as it was sent
    is(account($id)->{limits}[0]{count}, 0, $login);
}
is(get('/?who=Dupont&patient=1')->{status}, 200);
is(account($_)->{limits}[0]{count}, 1, $_) for 'dupont', 'DUPONT', '%44upont', '%20dupont%20';



=== TEST 6: what is wrong
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval: $::config
--- after
my $status = sub { my ($method, $path, @headers) = @_; get($path, @headers, method => $method)->{status} };
is($status->(POST => '/look/accounts/a/clear', @::write), 405, 'no "write"');
is($status->(DELETE => '/look/accounts/a', @::write), 405);
is($status->(GET => '/look/accounts/a'), 200);
is($status->(POST => '/guard/accounts/a/clear'), 403, 'from a foreign page');
is($status->(DELETE => '/guard/accounts/a'), 403);
is($status->(POST => '/guard/accounts/a/clear', 'X-Patient-Guard' => 'read'), 403);
is($status->(PUT => '/guard/accounts/a', @::write), 405);
is($status->(POST => '/guard/accounts/a', @::write), 405);
is($status->(POST => '/guard/accounts/a/wipe', @::write), 404);
is($status->(GET => '/guard/accounts/a/clear'), 404, 'by GET nothing is done');
is($status->(POST => "/guard/accounts/a/block$_", @::write), 400, "block$_")
    for '', '?for=', '?for=0', '?for=91d', '?for=x', '?for=-1h';
is($status->(GET => '/guard/accounts/'), 404);
is($status->(GET => '/guard/accounts/%20'), 400);
is($status->(GET => '/guard/accounts/%00'), 400);
is($status->(GET => '/guard/accounts/a%0Ab'), 400);
is($status->(GET => '/guard/accounts/' . 'a' x 257), 400);
is($status->(GET => '/guard/accounts/a?by=name'), 400);
is($status->(GET => "/guard/accounts/$_?by=alias"), 400, $_)
    for 'a', 'g' x 32, '0' x 32, 'a' x 31;
is($status->(GET => '/guard/accounts/a?policy=nobody'), 404);
is($status->(GET => '/%67uard/accounts/a'), 404);
like(get('/guard/accounts/a?policy=nobody')->{body}, qr/"detail":"there is no such policy"/);



=== TEST 7: several policies
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    $PG_STORE_DIRECTIVES
    account  $http_x_account trusted;
    limit    lookups=1/1h deny;
}
--- config eval
$::config . 'location /two { patient_guard $PG_POLICY_2; proxy_pass http://$PG_PORTAL; }'
--- after
is(look('a', '/two'), $_) for 200, 403;
my $two = "${PatientGuard::policy}_2";
my $answer = JSON::PP::decode_json(get('/guard/accounts/a')->{body});
is_deeply([map { "$_->{policy} $_->{verdict}" } @{ $answer->{accounts} }],
          ["$PatientGuard::policy allow", "$two deny"]) or diag(get('/guard/accounts/a')->{body});
is(order(POST => 'a/clear'), "200 $::reach", 'one of them');
is(look('a', '/two'), 403);
$answer = get('/guard/accounts/a/clear', @::write, method => 'POST');
is(scalar(() = $answer->{body} =~ /"operation":"clear"/g), 2);
is(look('a', '/two'), 200);



=== TEST 8: the page
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval: $::api
--- after
my $answer = get('/guard/');
is($answer->{status}, 200);
is($answer->{headers}{'content-type'}, 'text/html; charset=utf-8');
like($answer->{headers}{'content-security-policy'},
     qr/^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self';/);
is($answer->{headers}{'x-frame-options'}, 'DENY');
like($answer->{body}, qr{^<!DOCTYPE html>.*</html>\s*\z}si);
is($answer->{headers}{'content-length'}, length $answer->{body});



=== TEST 9: more blocks than there may be
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval: $::config
--- after
is(order(POST => "u$_/block?for=1h"), "200 $::reach") for 1 .. 256;
is(order(POST => 'u257/block?for=1h'), '503', 'refused');
is(account('u257')->{blocked}, undef);
like(error_log(), qr/\[warn\].*block by the desk, policy "\S+", refused: as many accounts as there may be are blocked/);
my ($counted) = get('/guard/metrics')->{body} =~ /desk_operations_total\{policy="$PatientGuard::policy",operation="block"\} (\d+)/;
is($counted, 256);
is(order(POST => 'u1/block?for=2h'), "200 $::reach", 'one of them again');
is(order(POST => 'u2/clear'), "200 $::reach");
is(order(POST => 'u257/block?for=1h'), "200 $::reach");



=== TEST 10: a client that hangs up has ordered nevertheless
--- policy
account        $http_x_account trusted;
limit          patients=2/1h deny;
--- config eval: $::config
--- after
my $client = PatientGuard::client();
print $client PatientGuard::request("/guard/accounts/a/block?for=1h&policy=$PatientGuard::policy", @::write, method => 'POST');
close $client;
ok(wait_for(sub { look('a', '/?patient=1') == 403 }), 'blocked');
like(error_log(), qr/block by the desk, policy "$PatientGuard::policy", done/, 'and it is told');



=== TEST 11: while the secret is rotated
--- policy
account  $http_x_account trusted;
secret   $PG_TMP/$PG_POLICY.key;
limit    patients=2/1h deny;
--- config eval: $::config
--- after
my $rotate = sub { keys_are($PatientGuard::policy, @_); PatientGuard::reload() };
is(look('a', "/?patient=$_"), $_ < 3 ? 200 : 403) for 1 .. 3;
is(order(POST => 'a/block?for=1h'), "200 $::reach");
$rotate->('b' x 32, 'a' x 32);
my $blocked = sub { (grep { $_->{name} eq $PatientGuard::policy } @{ JSON::PP::decode_json(get('/guard/status')->{body})->{policies} })[0]{blocked} };
ok(account('a')->{blocked}, 'the desk knows');
is(look('a', '/?patient=1'), 403);
is(scalar @{ $blocked->() }, 1);
is($blocked->()->[0]{account}, alias('a'), 'by his new name');
is(order(POST => alias('a') . '/clear?by=alias'), "200 $::reach");
is(account('a')->{blocked}, undef);
is(order(POST => 'a/clear'), "200 $::reach");
is(look('a', '/?patient=3'), 200);
is(look('a', "/?patient=$_"), $_ < 5 ? 200 : 403) for 4, 5;
my $before = alias('a');
$rotate->('c' x 32, 'b' x 32);
is(order(DELETE => 'a'), "200 $::reach");
is_deeply(account('a')->{recent}, [], 'nothing of before');
unlike(get('/guard/status')->{body}, qr/$before/, 'under the other key');
is(look('a', '/?patient=6'), 200);



=== TEST 12: by guardctl
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- config eval: $::config
--- after
my $ctl = sub {
    my $url = 'http://127.0.0.1:' . server_port_for_client() . '/guard/';
    my $said = `scripts/guardctl $_[0] --url $url 2>&1`;
    return ($? >> 8) . ": $said";
};
my $only = "--policy $PatientGuard::policy";
is(look('dupont', "/?patient=$_"), $_ < 3 ? 200 : 403) for 1 .. 3;
my $alias = alias('dupont');
like($ctl->("status $only"), qr/^0: node .*\bdeny 1\b.*patients\/1h\s+2\s+1h\s+deny/s);
unlike($ctl->("status $only"), qr/uninitialized/);
like($ctl->("top $only"), qr/^0: .*$alias\s+deny\s+patients\/1h\s+2\s+2/s);
like($ctl->("account dupont $only"), qr/^0: .*next\s+deny by patients\/1h/s);
like($ctl->("events $only"), qr/^0: .*$alias\s+deny/s);
like($ctl->("block dupont --for 1h $only"), qr/^0: .*$alias\s+block\s+$::reach/s);
is(look('dupont', '/?patient=1'), 403);
like($ctl->("clear $alias --alias $only"), qr/^0: .*clear/s);
is(look('dupont', '/?patient=3'), 200);
like($ctl->("forget dupont --yes $only"), qr/^0: .*forget/s);
like($ctl->('account dupont --policy nobody'), qr/^1: .*no such policy/s);
