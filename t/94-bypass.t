# Ways around the guard that were thought of: each leads through it.

use lib 't/lib';
use PatientGuard;

use Http2;
use List::Util qw(uniq);

# two hundred ways to write "dupont@example.org", that ASCII case and blanks
# around it make, and a few that name somebody else or nobody

sub accounts {
    my $login = 'dupont@example.org';
    my %same = ($login => 1);

    for my $i (0 .. length($login) - 1) {
        my $other = $login;
        substr($other, $i, 1) = uc substr $other, $i, 1;
        $same{$_}++ for $other, uc($login), ucfirst $other,
            map {; "$_$other", "$other$_", "$_$other$_" }
            ' ', "\t", '  ', " \t ";
    }
    return keys %same;
}

sub fields_of {
    my (%with) = @_;

    my %is = (':method' => 'GET', ':scheme' => 'http', ':path' => '/',
              ':authority' => 'localhost', %with);
    return map { ($_ => $is{$_}) } grep { defined $is{$_} }
           qw(:method :scheme :path :authority);
}

run_tests();

__DATA__

=== TEST 1: two hundred spellings of an account are one, or nobody
--- policy
account  $http_x_account trusted fold;
limit    patients=1000/1h deny;
limit    lookups=2/1h log;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Account $patient_guard_account always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my @accounts = accounts();
cmp_ok(scalar @accounts, '>=', 200, @accounts . ' spellings');
my @aliases = raw(CORE::join '', (map { "GET / HTTP/1.1\r\nHost: a\r\nX-Account: $_\r\n\r\n" } @accounts),
                  "GET /missing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
              =~ /^X-Account: ([0-9a-f]{32})\r$/mg;
is(scalar @aliases, scalar @accounts, 'each is counted');
is(scalar(uniq @aliases), 1, 'as one');

# no account at all: nothing is counted for them, and nothing is served
for ("dupont\@example.org\x01", "\x7fdupont\@example.org", "dupont\x09\@example.org",
     "dupont\xc2\x85\@example.org", 'dupont@example.org' . 'x' x 256, '', ' ', "\t")
{
    my $answer = get('/', 'X-Account' => $_);
    is($answer->{status}, 403, (s/[^!-~]/?/gr) . ' is none');
    is($answer->{headers}{'x-account'}, undef);
}

# byte-exact beyond ASCII: whoever makes accounts must make one of these
is(scalar(uniq map { get('/', 'X-Account' => $_)->{headers}{'x-account'} }
          "ren\xc3\xa9", "rene\xcc\x81", "REN\xc3\x89", 'rene.', 'rene+x', 'rene'), 6,
   'Unicode, a dot and a plus make others');



=== TEST 2: an account with a thousand sessions
--- policy
account  $account;
limit    patients=600/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.sock;
    location / {
        add_header  X-Login dupont;
        return      204;
    }
}
--- config
location = /session {
    internal;
    proxy_pass  http://unix:$PG_TMP/$PG_POLICY.sock;
}
location / {
    keepalive_requests     2000;
    auth_request           /session;
    auth_request_set       $account $upstream_http_x_login;
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    empty_gif;
}
--- after
my $answers = raw(CORE::join '', map {
    "GET /?patient=$_ HTTP/1.1\r\nHost: a\r\nCookie: session=$_\r\nUser-Agent: $_\r\n"
    . "X-Forwarded-For: 10.0.0.$_\r\nAuthorization: Bearer $_\r\n"
    . ($_ == 1000 ? "Connection: close\r\n" : '') . "\r\n" } 1 .. 1000);
is_deeply([$answers =~ m{HTTP/1\.1 (\d+) }g], [(200) x 600, (403) x 400],
          'has one allowance');



=== TEST 3: frames of HTTP/2 that are no requests, or two at once
--- policy
account  $http_x_account $cookie_login trusted;
limit    lookups=1000/1h deny;
--- http_config
server {
    listen  unix:$PG_TMP/$PG_POLICY.h2 http2;
    location / {
        patient_guard  $PG_POLICY;
        proxy_pass     http://$PG_PORTAL;
    }
    location /other {
        proxy_pass     http://$PG_PORTAL;
    }
}
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $count = sub { get('/', 'X-Account' => $_[0] // 'dupont')->{headers}{'x-count'} };
my @by = ('x-account' => 'dupont');
my @plain = fields_of();
my $expected = $count->();
my $ask = sub {
    my ($what, $wanted, $counts, @fields) = @_;
    my $h2 = h2('$PG_TMP/$PG_POLICY.h2');
    say_h2($h2, fields(1, [@fields]));
    my ($status) = ended($h2, 1);
    like($status, $wanted, $what);

    # some versions of nginx take what others do not
    $counts //= $status eq 200 ? 1 : 0;
    is($count->(), $expected += 1 + $counts, "$what: $counts");
};
my $no = qr/^(?:400|none|reset)$/;
$ask->('as it should be', qr/^200$/, 1, @plain, @by);
$ask->('two paths', $no, 0, @plain, ':path' => '/other', @by);
$ask->('two paths, the guarded one behind', $no, 0, fields_of(':path' => '/other'), ':path' => '/', @by);
$ask->('two methods', $no, 0, @plain, ':method' => 'OPTIONS', @by);
$ask->('two schemes', $no, 0, @plain, ':scheme' => 'https', @by);
$ask->('two authorities', $no, 0, @plain, ':authority' => 'other', @by);
$ask->('an unknown one', $no, 0, @plain, ':protocol' => 'websocket', @by);
$ask->('a status', $no, 0, @plain, ':status' => '200', @by);
$ask->('no path', $no, 0, fields_of(':path' => undef), @by);
$ask->('an empty path', $no, 0, fields_of(':path' => ''), @by);
$ask->('a path of something else', $no, 0, fields_of(':path' => 'http://localhost/'), @by);
$ask->('a blank in it', $no, 0, fields_of(':path' => '/ HTTP/1.1'), @by);
$ask->('a line in it', $no, 0, fields_of(':path' => "/\r\nX: y"), @by);
$ask->('NUL in it', $no, 0, fields_of(':path' => "/\0"), @by);
$ask->('no method', $no, 0, fields_of(':method' => undef), @by);
$ask->('a method in small letters', $no, 0, fields_of(':method' => 'get'), @by);
$ask->('no scheme', $no, 0, fields_of(':scheme' => undef), @by);
$ask->('pseudo-header fields behind others', qr/^(?:200|400|reset)$/, undef, @by, @plain);
$ask->('a name in capitals', $no, 0, @plain, 'X-Account' => 'dupont');
$ask->('a name in capitals beside it', $no, 0, @plain, @by, 'X-ACCOUNT' => 'durand');
$ask->('a line in a value', $no, 0, @plain, 'x-a' => "b\r\nx-account: durand", @by);
$ask->('NUL in a value', $no, 0, @plain, 'x-account' => "dupont\0", @by);
$ask->('a name with a colon', $no, 0, @plain, 'x-account:' => 'durand', @by);
$ask->('an empty name', $no, 0, @plain, '' => 'durand', @by);
$ask->('a name with a blank is nobody', qr/^(?:400|403|reset)$/, 0, @plain, 'x-account ' => 'dupont');
$ask->('an underscore is nobody', qr/^403$/, 0, @plain, 'x_account' => 'dupont');
$ask->('no account', qr/^403$/, 0, @plain);
$ask->('an empty one', qr/^403$/, 0, @plain, 'x-account' => '');
$ask->('crumbs of cookies', qr/^200$/, 1, @plain, cookie => 'a=b', cookie => 'login=dupont', cookie => 'c=d');
$ask->('a crumb is a whole cookie', qr/^403$/, 0, @plain, cookie => 'login', cookie => '=dupont');
$ask->('Transfer-Encoding', qr/^(?:200|400|reset)$/, undef, @plain, 'transfer-encoding' => 'chunked', @by);
$ask->('Connection', qr/^(?:200|400|reset)$/, undef, @plain, connection => 'x-account', @by);

# an account twice: nginx takes the first, or both as one value from 1.23 on
my $durand = $count->('durand');
my $both = $count->('dupont, durand');
my $h2 = h2('$PG_TMP/$PG_POLICY.h2');
say_h2($h2, fields(1, [@plain, @by, 'x-account' => 'durand']));
is((ended($h2, 1))[0], 200, 'two accounts');
is($count->() - 1 - $expected + $count->('dupont, durand') - 1 - $both, 1, 'one of them pays');
is($count->('durand'), $durand + 1, 'and not the second');



=== TEST 4: a guard is inherited, and stands where nothing leads past it
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
patient_guard  $PG_POLICY;
add_header     X-Count $patient_guard_count always;
error_page     418 = @teapot;
error_page     502 = @other;

location / {
    proxy_pass  http://$PG_PORTAL;
}
location /satisfy {
    satisfy     any;
    allow       127.0.0.1;
    deny        all;
    auth_basic  portal;
    auth_basic_user_file  /nowhere;
    proxy_pass  http://$PG_PORTAL;
}
location /satisfy-nothing {
    satisfy     any;
    proxy_pass  http://$PG_PORTAL;
}
location /if {
    if ($http_x_account) {
        proxy_pass  http://$PG_PORTAL;
    }
}
location /if-set {
    set $x 1;
    if ($x) {
        set $x 2;
    }
    if ($request_method = GET) {
        set $x 3;
    }
    proxy_pass  http://$PG_PORTAL;
}
location /if-break {
    if ($http_x_account) {
        break;
    }
    proxy_pass  http://$PG_PORTAL;
}
location /if-rewrite {
    if ($http_x_account) {
        rewrite  ^ /elsewhere last;
    }
}
location /limit_except {
    limit_except POST {
        proxy_pass  http://$PG_PORTAL;
    }
    proxy_pass  http://$PG_PORTAL;
}
location /nested {
    location /nested/in {
        location ~ /nested/in/depth {
            proxy_pass  http://$PG_PORTAL;
        }
    }
}
location /named {
    error_page  404 = @other;
    root        /nowhere;
    log_not_found  off;
}
location /teapot {
    return 418;
}
location @teapot {
    proxy_pass  http://$PG_PORTAL;
}
location @other {
    proxy_pass  http://$PG_PORTAL;
}
location /away {
    error_page  502 = @other;
    proxy_pass  http://unix:/nowhere.sock;
}
location ^~ /caret {
    proxy_pass  http://$PG_PORTAL;
}
location = /equals {
    proxy_pass  http://$PG_PORTAL;
}
location ~* /REGEX {
    proxy_pass  http://$PG_PORTAL;
}
location /internal-only {
    internal;
    proxy_pass  http://$PG_PORTAL;
}
location /post-action {
    post_action  /internal-only;
    proxy_pass   http://$PG_PORTAL;
}
--- after
for my $uri (qw(/ /satisfy /satisfy-nothing /if /if-set /if-break /if-rewrite
                /limit_except /nested/in/depth /named /away /caret /equals
                /regex /post-action /%69f /./if //satisfy /caret/../if))
{
    is(thrice($uri, 'X-Account' => "a$uri"), $::COUNTED, $uri);
}
# return answers first, and what its error_page leads to is guarded
is(thrice('/teapot', 'X-Account' => 'teapot') =~ s/\d+ (?=\d)//gr, '1, 2, 2',
   'behind a return');
is(thrice('/internal-only', 'X-Account' => 'internal'), '404 -, 404 -, 404 -',
   'what is internal is not to be had');



=== TEST 5: no cache in front keeps a refusal
--- policy
account  $http_x_account trusted;
limit    patients=2/1h deny;
--- http_config
proxy_cache_path  $PG_TMP/$PG_POLICY.cache keys_zone=$PG_POLICY:1m;
server {
    listen  unix:$PG_TMP/$PG_POLICY.front;
    location / {
        patient_guard          $PG_POLICY;
        patient_guard_patient  $uri;
        add_header             X-Count $patient_guard_count always;
        proxy_pass             http://$PG_PORTAL;
    }
}
--- config
location / {
    proxy_cache        $PG_POLICY;
    proxy_cache_valid  any 1h;
    add_header         X-Cache $upstream_cache_status always;
    proxy_pass         http://unix:$PG_TMP/$PG_POLICY.front;
}
--- after
my $ask = sub {
    my $answer = get($_[0], 'X-Account' => $_[1]);
    return "$answer->{status} $answer->{headers}{'x-cache'}";
};
is($ask->("/$_", 'dupont'), '200 MISS') for 1, 2;
is($ask->('/3', 'dupont'), '403 MISS', 'refused') for 1, 2;
is($ask->('/3', 'durand'), '200 MISS', 'nobody else is');
is($ask->('/3', 'durand'), '200 HIT', 'a record would be kept');



=== TEST 6: a refusal tells nothing of the record
--- policy
account  $http_x_account trusted;
limit    patients=1/1h throttle;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- after
is(get('/?patient=1', 'X-Account' => 'dupont')->{status}, 200);
my (%bodies, %heads);
for my $uri ('/?patient=2', '/?patient=3', '/missing?patient=4', '/missing', '/?patient=1,2',
             '/' . 'x' x 4000, '/?patient=%0d%0a')
{
    for my $method (qw(GET POST FOO)) {
        my $answer = get($uri, method => $method, 'X-Account' => 'dupont');
        my $headers = $answer->{headers};
        is($answer->{status}, 429, "$method $uri" =~ s/(.{60}).*/$1/r);
        $bodies{$answer->{body}}++;
        like($headers->{'retry-after'}, qr/^\d+$/);
        delete @$headers{qw(date retry-after)};
        $heads{CORE::join ', ', map { "$_: $headers->{$_}" } sort keys %$headers}++;
    }
}
is(scalar keys %bodies, 1, 'one body for all') or diag(keys %bodies);
is(scalar keys %heads, 1, 'and one header') or diag(keys %heads);
is(get('/?patient=1', 'X-Account' => 'dupont')->{status}, 200, 'known ones stay');



=== TEST 7: Redis is asked as often for a record that is not there
--- policy
account        $http_x_account trusted;
secret         $PG_KEY;
redis          $PG_FAKE prefix=$PG_PREFIX;
redis_timeout  20s;
limit          patients=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
}
--- fake_redis
return unless @command;
$peer->send($peer->real(@command));
--- after
get('/?patient=0', 'X-Account' => 'somebody');
my $asked = sub {
    my ($uri, $account) = @_;
    my $before = () = grep { /^EVALSHA/ } fake_commands();
    my $status = get($uri, 'X-Account' => $account)->{status};
    my $after = () = grep { /^EVALSHA/ } fake_commands();
    return "$status " . ($after - $before);
};
my @asked = map {
    my ($path, $account) = @$_;
    CORE::join ', ', map { $asked->("$path$_", $account) }
        '?patient=1', '?patient=1', '?patient=2', '?patient=3', '?patient=3',
        '?patient=4', '';
} ['/', 'dupont'], ['/missing', 'durand'];
like($asked[0], qr/^200 1, 200 \d, 200 1, (?:403 \d(?:, |$)){4}/, 'of one that is');
is($asked[1] =~ s/404/200/gr, $asked[0], 'as of one that is not');



=== TEST 8: a batch is a lookup of its URI at least, and can be denied
--- policy
account  $http_x_account trusted;
limit    lookups=2/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    proxy_pass             http://$PG_PORTAL;
}
location /denied {
    patient_guard            $PG_POLICY;
    patient_guard_unmatched  deny;
    proxy_pass               http://$PG_PORTAL;
}
--- after
my $bundle = '{"resourceType":"Bundle","type":"batch","entry":[' . CORE::join(',', map {
    qq({"request":{"method":"GET","url":"Patient/$_"}}) } 1 .. 1000) . ']}';
my $post = sub {
    my ($uri, $account, $type, $body) = @_;
    return PatientGuard::answer(raw(CORE::join "\r\n", "POST $uri HTTP/1.1", 'Host: a',
        "X-Account: $account", "Content-Type: $type", 'Connection: close',
        'Content-Length: ' . length $body, '', $body));
};
for (['/fhir', 'application/fhir+json', $bundle],
     ['/fhir/Patient/_search', 'application/x-www-form-urlencoded', '_id=1,2,3'],
     ['/graphql', 'application/json', '{"query":"{' . 'a:p(id:1){n}' x 500 . '}"}'],
     ['/fhir/$batch', 'multipart/mixed; boundary=x', "--x\r\n\r\nGET /1\r\n--x--\r\n"])
{
    my ($uri, $type, $body) = @$_;
    is(CORE::join(' ', map { $post->($uri, "a$uri", $type, $body)->{status} } 1 .. 3),
       '200 200 403', $uri);
    is($post->("/denied$uri", "b$uri", $type, $body)->{status}, 403, 'denied');
    is($post->("/x$uri", "b$uri", $type, $body)->{headers}{'x-count'}, 1,
       'and nothing was charged');
}
