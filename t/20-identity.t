# who is looking at whom: accounts, patients, methods, exemptions, rotation
use lib 't/lib';
use PatientGuard;

# the statuses of requests with these header fields
sub statuses {
    my ($headers, @uris) = @_;

    return join ' ', map { get($_, %$headers)->{status} } @uris;
}

# the two lines of $PG_TMP/rotated-STORE, the current secret first
sub secrets {
    my $path = "$ENV{PG_TMP}/rotated-$ENV{PG_STORE}";
    open my $file, '>', $path or die "$path: $!\n";
    print $file map { "the secret called $_\n" } @_;
    close $file;
    chmod 0600, $path or die "$path: $!\n";
}

secrets('one');

run_tests();

__DATA__

=== TEST 1: the account is the first value that is not empty
--- policy
account  $http_x_first $http_x_second trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({ 'X-First' => 'dupont', 'X-Second' => 'durand' }, '/'), 200);
is(statuses({ 'X-First' => 'dupont' }, '/'), 403, 'the first counts');
is(statuses({ 'X-First' => '', 'X-Second' => 'durand' }, '/'), 200,
   'the second did not');
is(statuses({ 'X-Second' => 'dupont' }, '/'), 403, 'a value is a value');



=== TEST 2: blanks around it are no part of it, and blanks alone are nothing
--- policy
account  $padded $http_x_second trusted;
limit    lookups=1/1h deny;
--- config
location / {
    set            $padded " 	$http_x_account	 ";
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({ 'X-Account' => 'dupont' }, '/'), 200);
is(statuses({ 'X-Second' => 'dupont' }, '/'), 403);
is(statuses({ 'X-Account' => 'du pont' }, '/'), 200, 'one within is');



=== TEST 3: upper and lower case are two accounts
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({ 'X-Account' => 'dupont' }, '/', '/'), '200 403');
is(statuses({ 'X-Account' => 'Dupont' }, '/', '/'), '200 403');



=== TEST 4: unless they are folded, which is for ASCII alone
--- policy
account  $http_x_account fold trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({ 'X-Account' => 'dupont-z' }, '/'), 200);
is(statuses({ 'X-Account' => 'DUPONT-Z' }, '/'), 403);
is(statuses({ 'X-Account' => 'DUPONT_Z' }, '/'), 200);
is(statuses({ 'X-Account' => "andr\xc3\xa9" }, '/'), 200);
is(statuses({ 'X-Account' => "andr\xc3\x89" }, '/'), 200);
is(statuses({ 'X-Account' => "ANDR\xc3\xa9" }, '/'), 403);



=== TEST 5: more than 256 bytes are no account
--- policy
account  $padded $http_x_second trusted;
limit    lookups=1/1h deny;
--- config
location / {
    set            $padded "  $http_x_account  ";
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $long = 'x' x 256;
is(statuses({ 'X-Account' => $long }, '/', '/'), '200 403', '256 are');
is(statuses({ 'X-Account' => "${long}x" }, '/'), 403, '257 are not');
is(statuses({ 'X-Account' => "${long}x", 'X-Second' => 'dupont' }, '/'), 403,
   'and nobody else is asked for instead');
is(statuses({ 'X-Account' => "y$long", 'X-Second' => 'dupont' }, '/'), 403);
is(statuses({ 'X-Second' => 'dupont' }, '/'), 200);



=== TEST 6: nor are control characters
--- policy
account  $account;
limit    lookups=1/1h deny;
--- config
location ~ ^/(?<account>[^/]*)$ {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({}, "/a%$_"), 403, "%$_") for qw(01 0A 0D 1B 1F 7F);
is(statuses({}, "/a%${_}b"), 403, "%$_ within") for qw(01 09 0A 0D 1F 7F);
is(statuses({}, "/a%$_"), 200, "%$_ is none") for qw(21 7E 80 FF);
is(statuses({}, '/a%20', '/a%09', '/a'), '200 403 403', 'a blank is trimmed');



=== TEST 7: without an account there is no lookup, and no counting by address
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $answer = get('/');
is($answer->{status}, 403);
is($answer->{headers}{'content-type'}, 'application/problem+json');
is($answer->{body},
   '{"type":"about:blank","title":"Forbidden","status":403}');
is(statuses({ 'X-Account' => 'dupont' }, '/'), 200, 'nothing was charged');
like(error_log(), qr/\[warn\] \S+ \*\d+ patient guard: deny by policy "$PG_POLICY": no account is given, client: 127\.0\.0\.1$/m);



=== TEST 8: or it is let through, uncounted, as often as it likes
--- policy
account          $http_x_account trusted;
account_missing  allow;
limit            lookups=1/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
is(statuses({}, '/', '/', '/'), '200 200 200');
is(statuses({ 'X-Account' => 'dupont' }, '/', '/'), '200 403');
is(statuses({ 'X-Account' => 'x' x 257 }, '/', '/'), '200 200',
   'an account that is none is missing');
is(statuses({}, '/'), 200);
is(() = error_log() =~ /patient guard: /g, 1, 'nothing to say of it');



=== TEST 9: a patient is counted once, however named
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $http_x_patient $arg_patient "$arg_id";
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- after
my @by = ('X-Account' => 'dupont', 'X-Patient');
my $count = sub { get(@_)->{headers}{'x-count'} };

is($count->('/?patient=1', @by, ''), 1);
is($count->('/?patient=1&id=1', @by, '1'), 1, 'by several values');
is($count->('/?patient=1,1,,1,', @by, ''), 1, 'in a list');
is($count->('/?id=,,2,', @by, '1'), 2);
is($count->('/', @by, " 1 , 2,\t2 ,  , 1"), 2, 'with blanks');
is($count->('/', @by, '1 2'), 3, 'a blank within is part of it');
is($count->('/', @by, '12'), 3, 'one too many');
is(get('/', @by, '12')->{status}, 403);
is(get('/', @by, '1,2,1 2')->{status}, 200);



=== TEST 10: a lookup of several patients is as many lookups
--- policy
account  $http_x_account trusted;
limit    lookups=5/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /?patient=1,2,3", "GET /?patient=1,2,3", "GET /?patient=1,1,2",
 "GET /?patient=1"]
--- response_headers eval
["X-Count: 3", "X-Count: 3", "X-Count: 5", "X-Count: 5"]
--- error_code eval
[200, 403, 200, 403]



=== TEST 11: 512 patients are as many as one request may name
--- policy
account  $http_x_account trusted;
limit    patients=1000/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $http_x_patient $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- after
my $get = sub {
    my ($uri, @patients) = @_;
    return get($uri, 'X-Account' => 'dupont',
               'X-Patient' => join ',', @patients);
};

my $answer = $get->('/?patient=513', 1 .. 512);
is($answer->{status}, 400, '513 are too many');
is($answer->{headers}{'content-type'}, 'application/problem+json');
is($answer->{headers}{'cache-control'}, 'no-store');
is($answer->{body},
   '{"type":"about:blank","title":"Bad Request","status":400}');
like(error_log(), qr/\[warn\] .* patient guard: deny by policy "$PG_POLICY": too many patients in one request, client: /);

is($get->('/?patient=', 1)->{headers}{'x-count'}, 1, 'none was charged');
is($get->('/', 1 .. 512)->{headers}{'x-count'}, 512, '512 are not');
is($get->('/?patient=512', 1 .. 512, 1)->{status}, 200,
   'whoever is named again is none more');



=== TEST 12: a request that names nobody counts under its URI, as it was sent
--- policy
account  $http_x_account trusted;
limit    patients=4/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /a?x=1", "GET /a?x=1", "GET /a?x=2", "GET /%61?x=1", "GET //a?x=1",
 "GET /A?x=1", "GET /a?patient=,%20,", "GET /a?x=2"]
--- response_headers eval
["X-Count: 1", "X-Count: 1", "X-Count: 2", "X-Count: 3", "X-Count: 4",
 "X-Count: 4", "X-Count: 4", "X-Count: 4"]
--- error_code eval
[200, 200, 200, 200, 200, 403, 403, 200]



=== TEST 13: a patient that is called as a URI is another one
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $http_x_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- after
my %by = ('X-Account' => 'dupont');
is(statuses({ %by }, '/a'), 200);
is(statuses({ %by, 'X-Patient' => '/a' }, '/b'), 403);
is(statuses({ %by }, '/a'), 200);



=== TEST 14: or it is let through uncounted
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard            $PG_POLICY;
    patient_guard_patient    $arg_patient;
    patient_guard_unmatched  ignore;
    proxy_pass               http://$PG_PORTAL;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /a", "GET /a?patient=", "GET /a?patient=,,", "GET /a?patient=1",
 "GET /a?patient=2", "GET /a"]
--- error_code eval
[200, 200, 200, 200, 403, 200]



=== TEST 15: but not without an account
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard            $PG_POLICY;
    patient_guard_patient    $arg_patient;
    patient_guard_unmatched  ignore;
    proxy_pass               http://$PG_PORTAL;
}
--- request
GET /
--- error_code: 403



=== TEST 16: or it is refused
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h deny;
--- config
location / {
    patient_guard            $PG_POLICY;
    patient_guard_patient    $arg_patient;
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
--- more_headers
X-Account: dupont
--- pipelined_requests eval
["GET /a", "GET /a?patient=,", "GET /a?patient=1"]
--- response_body_like eval
['^{"type":"about:blank","title":"Forbidden","status":403}$',
 '^{"type":"about:blank","title":"Forbidden","status":403}$',
 '^record of /a\?patient=1$']
--- error_code eval
[403, 403, 200]



=== TEST 17: a regular expression behind the account leaves the patient's alone
--- policy
account  $account;
limit    patients=1/1h deny;
limit    lookups=$quota/1h deny default=1;
--- http_config
map $http_x_account $account {
    "~^user-(.*)$"  $1;
}
map $http_x_account $quota {
    "~^(user)-(.*)$"  9;
}
--- config
location ~ ^/Patient/(\w+)$ {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $1;
    proxy_pass             http://$PG_PORTAL;
}
--- more_headers
X-Account: user-dupont
--- pipelined_requests eval
["GET /Patient/1", "GET /Patient/2", "GET /Patient/1"]
--- error_code eval
[200, 403, 200]



=== TEST 18: what is a lookup, if nobody says
--- policy
account  $http_x_account trusted;
limit    lookups=100/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Count $patient_guard_count always;
}
--- after
my $count = sub {
    get('/', method => $_[0], 'X-Account' => 'dupont')->{headers}{'x-count'}
};
is($count->('OPTIONS'), undef, 'OPTIONS is none');
is($count->('GET'), 1);
is($count->('HEAD'), 2, 'HEAD tells that a record exists');
is($count->('POST'), 3);
is($count->('PUT'), 4);
is($count->('DELETE'), 5);
is($count->('PROPFIND'), 6);
is($count->('FOO'), 7, 'who knows what FOO does');
is(get('/', method => 'TRACE', 'X-Account' => 'dupont')->{status}, 405);
is($count->('GET'), 8, "TRACE is nginx's to refuse, and was not counted");



=== TEST 19: methods that are listed are lookups, and no others
--- policy
account  $http_x_account trusted;
limit    lookups=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_methods  GET FOO OPTIONS;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
location /post {
    patient_guard          $PG_POLICY;
    patient_guard_methods  POST;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
}
--- after
my $count = sub {
    my ($method, $uri) = @_;
    my $answer = get($uri // '/', method => $method, 'X-Account' => 'dupont');
    is($answer->{status}, 200, $method);
    return $answer->{headers}{'x-count'};
};
is($count->('GET'), 1);
is($count->('HEAD'), 2, 'with GET comes HEAD');
is($count->('FOO'), 3);
is($count->('OPTIONS'), 4);
is($count->($_), undef, "$_ is none") for qw(POST FOOT FO GETS PUT);
is($count->('POST', '/post'), 5);
is($count->($_, '/post'), undef, "$_ is none there") for qw(GET HEAD FOO);



=== TEST 20: who is exempt is counted, and never refused
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
limit    lookups=2/1h challenge;
exempt   $exempt;
--- http_config
map $http_x_exempt $exempt {
    default  $http_x_exempt;
    none     "";
}
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Verdict $patient_guard_verdict always;
}
--- after
my $ask = sub {
    my ($patient, $exempt) = @_;
    my $answer = get("/?patient=$patient", 'X-Account' => 'dupont',
                     'X-Exempt' => $exempt);
    return CORE::join ' ', $answer->{status},
        map { $answer->{headers}{$_} } qw(x-verdict x-count);
};
is($ask->(1, 0), '200 allow 1');
is($ask->(2, 0), '403 deny 1', '"0" is not exempt');
is($ask->(2, 'none'), '403 deny 1', '"" neither');
is($ask->(2, 1), '200 allow 2', '"1" is, and counted');
is($ask->(2, 'none'), '403 challenge 2', 'which the account feels later');



=== TEST 21: an exemption opens no challenge, and ends none
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
exempt   $exempt;
--- http_config
map $http_x_exempt $exempt { default $http_x_exempt; }
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Verdict $patient_guard_verdict always;
}
--- after
my $ask = sub {
    my ($exempt) = @_;
    my $answer = get('/', 'X-Account' => 'dupont', 'X-Exempt' => $exempt);
    return "$answer->{status} $answer->{headers}{'x-verdict'}";
};
is($ask->($_), '200 allow') for 'yes', 'yes', 'yes';
is($ask->(''), '403 challenge');
is($ask->('yes'), '200 allow');
is($ask->(''), '403 challenge');
is(() = error_log() =~ /patient guard: /g, 2, 'no word of who is exempt');



=== TEST 22: a new secret forgets nothing that was counted under the old one
--- policy
account  $http_x_account trusted;
limit    patients=3/1h deny;
secret   $PG_TMP/rotated-$PG_STORE;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Account $patient_guard_account always;
}
--- after
my %by = ('X-Account' => 'dupont');
my $alias = sub { get('/?patient=1', %by)->{headers}{'x-account'} };

is(statuses({ %by }, '/?patient=1', '/?patient=2'), '200 200');
my $old = $alias->();

secrets('two', 'one');
ok(reload(), 'a second secret, and it is the current one');
is(get('/?patient=2', %by)->{headers}{'x-count'}, 2, 'known by the old one');
isnt($alias->(), $old, 'the account goes by another alias');
is(statuses({ %by }, '/?patient=3', '/?patient=4', '/?patient=1'),
   '200 403 200');

secrets('one', 'two');
ok(reload(), 'as a node that has not been told yet');
is(statuses({ %by }, '/?patient=3', '/?patient=4', '/?patient=2'),
   '200 403 200', 'known by the new one');
is($alias->(), $old);
is(statuses({ %by }, '/?patient=3'), 200);

secrets('two', 'one');
ok(reload(), 'now it has');
is(statuses({ %by }, '/?patient=1', '/?patient=2', '/?patient=3'),
   '200 200 200', 'all were seen since');

secrets('two');
ok(reload(), 'the old one is gone');
is(statuses({ %by }, '/?patient=4', '/?patient=1', '/?patient=2',
            '/?patient=3'), '403 200 200 200', 'without a loss');

secrets('three');
ok(reload(), 'a secret that nobody was told of before');
is(statuses({ %by }, '/?patient=4'), 200, 'is a fresh start');
secrets('one');



=== TEST 23: a challenge outlives the rotation
--- policy
account  $http_x_account trusted;
limit    lookups=1/1h challenge;
secret   $PG_TMP/rotated-$PG_STORE;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
    add_header     X-Verdict $patient_guard_verdict always;
}
--- after
my %by = ('X-Account' => 'dupont');
is(statuses({ %by }, '/', '/'), '200 403');
secrets('two', 'one');
ok(reload());
is(get('/', %by)->{headers}{'x-verdict'}, 'challenge');
secrets('one');



=== TEST 24: nobody is named in what is stored or written
--- policy
account  $http_x_account trusted;
limit    patients=1/1h deny;
limit    lookups=2/1h challenge;
challenge redirect https://sso.example/step-up;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Guard "$patient_guard_account,$patient_guard_patient,$patient_guard_limit" always;
}
--- after
my @texts;
for my $n (1 .. 4) {
    my $answer = get("/?patient=1790775$n", 'X-Account' => 'dupont',
                     Accept => 'text/html');
    push @texts, values %{ $answer->{headers} }, $answer->{body} if $n > 1;
}
push @texts, grep { /patient guard: / } split /\n/, error_log();
is(scalar grep({ /patient guard: / } @texts), 3, 'what is logged');

if (store() eq 'redis') {
    my @keys = redis('KEYS', "$PG_PREFIX:*");
    is(scalar @keys, 1, 'what is stored');
    push @texts, @keys, redis('DUMP', $keys[0]), redis('HGETALL', $keys[0]);
}

is(CORE::join("\n", grep { /dupont|1790775/ } @texts), '');
