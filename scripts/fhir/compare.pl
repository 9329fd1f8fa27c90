#!/usr/bin/perl
#
# Puts nginx with the module in front of the FHIR server, asks it what was
# asked when t/fhir was recorded, then for each file of t/fhir as it is, each
# as another account, and holds what the guard has counted against the truth:
#
#   perl scripts/fhir/compare.pl MODULE SOCKET-OF-THE-FHIR-SERVER

use strict;
use warnings;

use Cwd 'getcwd';
use File::Temp 'tempdir';
use IO::Socket::UNIX;
use JSON::PP ();

my ($module, $portal) = @ARGV;
die "usage: compare.pl MODULE SOCKET\n" unless defined $portal;

my $root  = getcwd();
my $dir   = tempdir(CLEANUP => 1);
my $nginx = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';

sub slurp {
    open my $in, '<:raw', $_[0] or die "$_[0]: $!\n";
    local $/;
    return <$in>;
}

my $expected = JSON::PP::decode_json(slurp('t/fhir/expected.json'));
my $requests = JSON::PP::decode_json(slurp('t/fhir/requests.json'));

my $user = $> == 0 ? 'user root;' : '';
my $temp = join '', map { "${_}_temp_path $dir/$_; " }
    qw(client_body proxy fastcgi uwsgi scgi);

open my $conf, '>', "$dir/nginx.conf" or die "$!\n";
print $conf <<"END";
load_module $module;
$user
pid $dir/nginx.pid;
error_log $dir/error.log info;
events {}
http {
    $temp
    log_format counted '\$http_x_account \$patient_guard_verdict \$patient_guard_count';
    access_log $dir/access.log counted;
    default_type application/fhir+json;

    patient_guard_policy all {
        account  \$http_x_account trusted;
        limit    patients=1000/1h deny;
    }

    include $root/scripts/policies/fhir.conf;

    server {
        listen unix:$dir/listen.sock;
        patient_guard all;

        location /fhir {
            include $root/scripts/policies/fhir-location.conf;
            proxy_pass http://unix:$portal;
        }

        location /files/ {
            include $root/scripts/policies/fhir-location.conf;
            alias $root/t/fhir/;
        }
    }
}
END
close $conf or die "$!\n";

system($nginx, '-p', $dir, '-c', "$dir/nginx.conf") == 0 or exit 1;

sub ask {
    my ($account, $method, $uri, $type, $body) = @_;

    my $socket = IO::Socket::UNIX->new(Peer => "$dir/listen.sock")
        or die "no nginx: $!\n";

    print $socket "$method $uri HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        . "X-Account: $account\r\n"
        . (defined $body ? "Content-Type: $type\r\nContent-Length: "
                           . length($body) . "\r\n" : '') . "\r\n"
        . ($body // '');

    local $/;
    my $answer = <$socket>;
    my ($status) = ($answer // '') =~ m{^HTTP/1\.1 (\d+)};
    return $status // 0;
}

my ($failed, $asked, %want) = (0, 0);

sub wants {
    my ($account, $file, $more, @what) = @_;

    # a response with nobody in it is the lookup of its URI
    my $n = @{$expected->{$file}} + $more;
    $want{$account} = $n || 1;

    my $status = ask($account, @what);
    my $as = $account =~ /^live/ ? $requests->{$file}{status} : 200;

    if ($status != $as) {
        print "$account: status $status, not $as\n";
        $failed++;
    }
}

for my $file (sort keys %$requests) {
    my $r = $requests->{$file};

    # "nobody" is asked for by some, exists for none, and counts
    my $more = ($r->{uri} . ($r->{body} // '')) =~ /\bnobody\b/ ? 1 : 0;

    wants("live-$file", $file, $more, @$r{qw(method uri type body)});
}

wants("file-$_", $_, 0, 'GET', "/files/$_") for sort keys %$expected;

kill 'QUIT', slurp("$dir/nginx.pid") =~ /(\d+)/;
for (1 .. 100) {
    last unless -e "$dir/nginx.pid";
    select undef, undef, undef, 0.05;
}

for (split /\n/, slurp("$dir/access.log")) {
    my ($account, $verdict, $count) = split;
    $asked++;

    if ($verdict ne 'allow' || $count ne $want{$account}) {
        print "$account: $verdict, counted $count, not $want{$account}\n";
        $failed++;
    }
}

$failed += $asked != keys %want;

print "fhir: $asked responses, $failed faults\n";
exit($failed ? 1 : 0);
