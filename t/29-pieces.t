# However a response is cut, held, compressed and sent, it counts as much as a
# plain counter finds in its body, and arrives as it was.

use lib 't/lib';
use PatientGuard;
use Pages;

use Compress::Zlib ();
use JSON::PP ();
use List::Util qw(uniq);

use constant CONFIGS => 1000;

# --- a body in which identifiers stand alone, touch, repeat, and nearly are

our @PATTERNS = (
    ['"id":"(?<patient>[a-z0-9]{1,16})"'      => qr/"id":"([a-z0-9]{1,16})"/],
    ['(?<=Patient/)(?<patient>\d+)\b(?!-)'    => qr{(?<=Patient/)(\d+)\b(?!-)}],
    ['(?m)^id:[ ]*(?<patient>\w+)[ ]*$'       => qr/(?m)^id:[ ]*(\w+)[ ]*$/],
);

my $seed = 0;
sub any { $seed = ($seed * 1103515245 + 12345) % 2 ** 31; ($seed >> 8) % $_[0] }

sub body {
    my ($size) = @_;

    my $text = '';
    until (length $text >= $size) {
        my $id = any(400);
        $text .= ('"id":"' . ('p' . $id) . '"', "\"id\":\"p$id", "Patient/$id",
                  "Patient/$id-1", "\nid: p$id \n", "\nid: p $id\n", "id:p$id",
                  "\n", ' ', ',', 'x' x any(50), '"id":"' . 'y' x 17 . '"',
                  '"id":"', 'Patient/', "\0", "\xc3\xa9")[any(16)];
    }
    return substr $text, 0, $size;
}

sub reference {
    my ($body, $pattern) = @_;

    my $regex = $PATTERNS[$pattern][1];
    my @found = uniq $body =~ /$regex/g;
    return scalar @found || 1;              # nobody: its URI
}

our @BODIES = map { body($_) } 0, 1, 2, 17, 100, 333, 1023, 1024, 1025, 4096,
                               4097, 5000, 8191, 8192, 8193, 20_000, 60_000;

our $SMALL;

do { $SMALL = body(700) } until 3 == grep { reference($SMALL, $_) > 3 } 0 .. 2;

# set_value would cut these at the end of lines
add_block_preprocessor(sub {
    my $block = shift;
    my $dir = "$ENV{PG_TMP}/pieces-$PatientGuard::slot";
    mkdir $dir;
    PatientGuard::spew("$dir/$_", $::BODIES[$_]) for 0 .. $#::BODIES;
    PatientGuard::spew("$dir/small", $::SMALL);
    for my $name (qw(config http_config)) {
        my $text = $block->$name // next;
        $block->set_value($name, $text =~ s/\$PG_DIR/$dir/gr);
    }
});

# --- each place to cut the small body at, once with a gate, once without

sub cuts {
    return join '', map {
        my $gate = $_ % 2 ? 'on' : 'off';
        my $pattern = $PATTERNS[$_ % @PATTERNS][0];
        <<"NGINX"
location /cut$_/ {
    alias           \$PG_DIR/;
    output_buffers  1 $_;
    sendfile        off;
    patient_guard_response_match  '$pattern';
    patient_guard_response_gate   $gate;
}
NGINX
    } 1 .. length $SMALL;
}

# --- configurations by chance: a location, and what a client asks it

our @CONFIGS;

sub configs {
    my $text = '';

    $seed = 1;
    @CONFIGS = ();

    for my $i (1 .. CONFIGS) {
        my $pattern = any(scalar @PATTERNS);
        my $source = ('alias $PG_DIR/;',
                      'proxy_pass http://$PG_PIECES/;',
                      'proxy_pass http://$PG_PIECES/chunked/;',
                      'proxy_pass http://$PG_PIECES/gzip/;')[any(4)];
        my @lines = (
            $source,
            'output_buffers ' . (1 + any(3)) . ' '
                . (1, 7, 100, 1024, 32768)[any(5)] . ';',
            'sendfile ' . (qw(on off))[any(2)] . ';',
            'tcp_nopush ' . (qw(on off))[any(2)] . ';',
            'postpone_output ' . (0, 1460)[any(2)] . ';',
            'gzip ' . (qw(on off))[any(2)] . ';',
            'gzip_buffers ' . (1 + any(4)) . ' ' . (1 + any(8)) . 'k;',
            'proxy_http_version ' . (qw(1.0 1.1))[any(2)] . ';',
            'proxy_buffering ' . (qw(on off))[any(2)] . ';',
            (map { "proxy_buffer_size $_; proxy_busy_buffers_size $_; proxy_buffers "
                   . (2 + any(6)) . " $_;" } ('1k', '2k', '4k', '16k')[any(4)]),
            'proxy_max_temp_file_size ' . (0, '1m')[any(2)] . ';',
            any(4) ? () : 'limit_rate 10m;',
            any(4) ? () : 'ssi on; ssi_types *;',
            any(6) ? () : 'chunked_transfer_encoding off;',
            any(6) ? () : 'add_before_body /before;',
            "patient_guard_response_match '$PATTERNS[$pattern][0]';",
            ('', 'patient_guard_response_gate on;',
             'patient_guard_response_gate on buffer=1k;',
             'patient_guard_response_gate on buffer=' . (1024 + any(70_000)) . ';')
                [any(4)],
        );
        $text .= "location /c$i/ {\n" . join('', map { "    $_\n" } @lines) . "}\n";

        push @CONFIGS, {
            location => "/c$i/", pattern => $pattern, lines => join("\n", @lines),
            body => any(scalar @BODIES), version => (qw(1.0 1.1))[any(2)],
            headers => join('', map { any(3) ? () : "$_\r\n" }
                'Accept-Encoding: gzip', 'Accept-Encoding: br, gzip;q=0.5',
                'Range: bytes=3-9', 'Range: bytes=0-0,-1', 'If-Range: "x"'),
        };
    }
    return $text;
}

sub ask {
    my ($config, $account) = @_;

    my $text = raw("GET $config->{location}$config->{body} HTTP/$config->{version}\r\n"
        . "Host: localhost\r\nX-Account: $account\r\nConnection: close\r\n"
        . "$config->{headers}\r\n");
    my $answer = PatientGuard::answer($text);
    if (($answer->{headers}{'content-encoding'} // '') eq 'gzip') {
        $answer->{body} = Compress::Zlib::memGunzip($answer->{body});
    }
    return $answer;
}

# --- what FHIR servers have answered

our $EXPECTED = JSON::PP::decode_json(PatientGuard::slurp('t/fhir/expected.json'));

# see t/24-fhir.t
our %INEXACT = ('spec-contained-second.json' => 1, 'spec-photograph-far.json' => 1);

run_tests();

__DATA__

=== TEST 1: cut at every byte
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config eval
"patient_guard \$PG_POLICY;\n" . ::cuts()
--- after
my @wrong;
for my $n (1 .. length $::SMALL) {
    my $answer = pages("n$n", "/cut$n/small");
    push @wrong, "$n: its body" if $answer->{body} ne $::SMALL;
}
for my $n (1 .. length $::SMALL) {
    my $expected = reference($::SMALL, $n % @::PATTERNS);
    my $got;
    wait_for(sub { $got = counted("n$n"); $got->[0] == $expected && $got->[1] == $expected },
             @wrong ? 0.2 : undef)
        or push @wrong, "$n: @$got, not $expected";
}
is("@wrong", '', 'counts the same');
ok(reference($::SMALL, $_) > 3, 'and there is something to count') for 0 .. 2;



=== TEST 2: a thousand configurations
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config
server {
    listen unix:$TEST_NGINX_SERVROOT/logs/pieces.sock;
    default_type text/plain;
    location / { alias $PG_DIR/; }
    location /chunked/ { alias $PG_DIR/; ssi on; ssi_types *; }
    location /gzip/ { alias $PG_DIR/; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }
}
--- config eval
my $config = "patient_guard \$PG_POLICY;\ngzip_types *;\ngzip_min_length 1;\n"
    . "location = /before { return 200 ''; }\n" . ::configs();
$config =~ s/\$PG_PIECES/unix:\$TEST_NGINX_SERVROOT\/logs\/pieces.sock:/gr
--- after
my @wrong;
for my $i (1 .. ::CONFIGS) {
    my $config = $::CONFIGS[$i - 1];
    my $answer = ask($config, "c$i");
    push @wrong, "$i: $answer->{status}, its body: $config->{lines}\n$config->{headers}"
        if $answer->{body} ne $::BODIES[$config->{body}];
}
for my $i (1 .. ::CONFIGS) {
    my $config = $::CONFIGS[$i - 1];
    my $expected = reference($::BODIES[$config->{body}], $config->{pattern});
    my $got;
    wait_for(sub { $got = counted("c$i"); $got->[0] == $expected && $got->[1] == $expected },
             @wrong ? 0.2 : undef)
        or push @wrong, "$i: @$got, not $expected: $config->{lines}\n$config->{headers}";
}
is(scalar @wrong, 0, 'count as the plain counter does, and send what it was')
    or diag(join "\n", @wrong[0 .. ($#wrong < 5 ? $#wrong : 5)]);



=== TEST 3: what FHIR servers answer, by the policy that is shipped
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- http_config eval
my $dir = Cwd::getcwd();
<<"NGINX"
include $dir/scripts/policies/fhir.conf;
server {
    listen unix:\$TEST_NGINX_SERVROOT/logs/fhir.sock;
    default_type application/fhir+json;
    root $dir/t;
    location /xml { default_type application/fhir+xml; return 200 '<Patient/>'; }
}
NGINX
--- config eval
my $dir = Cwd::getcwd();
<<"NGINX"
location / {
    patient_guard  \$PG_POLICY;
    include        $dir/scripts/policies/fhir-location.conf;
    proxy_pass     http://unix:\$TEST_NGINX_SERVROOT/logs/fhir.sock:;
}
NGINX
--- after
for my $file (sort keys %$::EXPECTED) {
    next if $::INEXACT{$file};
    is(pages($file, "/fhir/$file")->{body}, PatientGuard::slurp("t/fhir/$file"), $file);
    has_counted($file, scalar @{$::EXPECTED->{$file}} || 1, 'its patients');
}
is(pages('dupont', '/xml')->{status}, 403, 'XML is not read, so not sent');
has_counted('dupont', 0, 'nor counted');
