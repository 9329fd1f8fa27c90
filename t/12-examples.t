# every configuration that the README and scripts/ show is one that nginx takes
use strict;
use warnings;

use Test::More;
use File::Temp 'tempdir';

my $dir    = tempdir(CLEANUP => 1);
my $key    = "$dir/patient_guard.key";
my $module = $ENV{TEST_NGINX_LOAD_MODULES};

sub slurp {
    open my $file, '<', $_[0] or die "$_[0]: $!";
    local $/;
    return <$file>;
}

sub spew {
    my ($name, $text) = @_;
    open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
    print $file $text;
    close $file or die "$dir/$name: $!";
}

# what "nginx -t" says of a configuration; http is wrapped around if it lacks

sub says {
    my ($conf) = @_;

    $conf =~ s/^load_module.*\n//mg;
    $conf = "events {}\nhttp {\n$conf\n}\n" if $conf !~ /^http \{/m;
    $conf = "pid $dir/nginx.pid; error_log stderr;\n$conf";
    $conf = "load_module $module;\n$conf" if $module;

    for (qw(client_body proxy fastcgi uwsgi scgi)) {
        $conf =~ s|^http \{\n|http {\n    ${_}_temp_path $dir/$_;\n|m;
    }

    $conf =~ s|^http \{\n|http {\n    access_log off;\n|m;
    $conf =~ s|/etc/nginx/patient_guard.key|$key|g;
    $conf =~ s|listen 80;|listen unix:$dir/listen.sock;|g;

    spew('nginx.conf', $conf);

    return scalar `$ENV{TEST_NGINX_BINARY} -t -p $dir -c $dir/nginx.conf 2>&1`;
}

spew('patient_guard.key', "0123456789abcdef0123456789abcdef\n");
chmod 0600, $key;

my @shown = slurp('README.md') =~ /^ *```nginx\n(.*?)^ *```/msg;

cmp_ok(scalar @shown, '>=', 2, 'README.md shows configurations');

# a location stands for itself in the policy of the first one

sub whole {
    my ($text) = @_;

    return $text if $text !~ /\A\s*location /;
    return "patient_guard_policy pharmacy { account \$remote_user; "
        . "limit patients=9/1h deny; }\n"
        . "upstream portal { server 127.0.0.1:8080; }\n"
        . "server { listen 80; set \$patient_id 1;\n$text }\n";
}

like(says(whole($_)), qr/test is successful/, 'README.md: ' . (/(\S.*)/)[0])
    for @shown;

my @policies = grep { !m{/(?:fhir|replay)} }
    glob 'scripts/policies/*.conf';

cmp_ok(scalar @policies, '>=', 3, 'there are policies to begin with');

for my $file (@policies) {
    my ($role) = $file =~ m|([^/]+)\.conf$|;

    my $use = 'server { listen 80; set $portal_account ""; '
              . 'set $portal_auth_time ""; location / { '
              . "patient_guard $role; proxy_pass http://127.0.0.1:1; } }";

    spew('patient_guard_store.conf', '');
    like(says(slurp($file) . $use), qr/test is successful/,
         "$file, in shared memory");

    spew('patient_guard_store.conf', "secret $key; redis unix:$dir/r.sock;");
    like(says(slurp($file) . $use), qr/test is successful/,
         "$file, in Redis");
}

# FHIR, in a location of a role's

spew($_, slurp("scripts/policies/$_")) for qw(fhir.conf fhir-location.conf);

like(says(slurp('scripts/policies/pharmacy.conf') . "include fhir.conf;"
          . 'server { listen 80; set $portal_account ""; '
          . 'set $portal_auth_time ""; location /fhir { '
          . 'patient_guard pharmacy; include fhir-location.conf; '
          . 'proxy_pass http://127.0.0.1:1; } '
          . 'location ^~ /fhir/$graphql { return 404; } }'),
     qr/test is successful/, 'scripts/policies/fhir.conf and its location');

like(says(slurp('scripts/policies/replay-log.conf')
          . 'access_log guard.json patient_guard if=$patient_guard_account;'),
     qr/test is successful/, 'scripts/policies/replay-log.conf');

done_testing();
