#!/usr/bin/perl
#
# What scripts/browser/stepup runs: stepup.pl URL FOLDER, those of the portal

use strict;
use warnings;
use Chromium;
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64;
use Test::More;

my ($url, $work) = @ARGV;
my $http = HTTP::Tiny->new(max_redirect => 0);
my ($password, $code) = map { slurp("$work/$_") =~ s/\n//r } qw(password code);
my @patients = (split /\n/, slurp("$work/patients.txt"))[0 .. 11];

my $chromium = Chromium->start;
END { my $status = $?; $chromium->stop if $chromium; $? = $status }
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

$chromium->call("$_.enable") for qw(Page Runtime);

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return <$in>;
}

# the title of the page that follows the one at hand
sub after {
    my ($does) = @_;
    $chromium->value('window.before = 1');
    $does->();
    defined $chromium->becomes('!window.before'
                               . ' && document.readyState === "complete"', 5)
        or return 'nothing';
    return $chromium->value('document.title');
}

sub go {
    my ($where) = @_;
    $where = "$url$where" if $where =~ m{^/};
    return after(sub { $chromium->call('Page.navigate', url => $where) });
}

sub next_record {
    return after(sub {
        $chromium->value('document.getElementById("next").click(), 1') });
}

sub show_factor {
    my ($shown) = @_;
    $chromium->value(qq(document.getElementById("code").value = "$shown"));
    return after(sub {
        $chromium->value('document.forms[0].requestSubmit(), 1') });
}

sub text { $chromium->value('document.body.textContent') }
sub sealed { $chromium->value('document.forms[0].state.value') }
sub where { $chromium->value('location.pathname + location.search') }
sub record {
    return $chromium->value(
        '(document.getElementById("record") || {}).textContent');
}

# what the desk says of an account
sub stands {
    my ($account, $policy) = @_;
    my $is = $http->get("$url/guard/accounts/$account?policy=$policy");
    return decode_json($is->{content})->{accounts}[0];
}

# in a browser

my ($site) = $url =~ m{//(.*)};
is go("http://ward-001:$password\@$site/login"), 'record',
    'somebody of the ward signs in';
is record(), $patients[0], 'and reads a record';
is next_record(), 'record', 'the next one' for 1 .. 3;
is go("/ward/Patient/$patients[4]?tab=%2F%2Fevil"), 'second factor',
    'the fifth is challenged';
like sealed(), qr/^[\w-]{80,}$/, 'with a state';
unlike where(), qr/$patients[4]|evil|ward/,
    'which tells the second factor nothing of the record';
my $first = sealed();

is show_factor('000000'), 'second factor', 'a wrong code is asked for again';
is record(), undef, 'instead of a record';
is sealed(), $first, 'with the same state';
go("/stepped-up?state=$first");
is record(), undef, 'without a code it leads nowhere';
ok stands('ward-001', 'ward')->{challenge}, 'and the challenge is still open';

go("/ward/Patient/$patients[4]?tab=%2F%2Fevil");
is show_factor($code), 'record', 'the second factor leads back';
is record(), $patients[4], 'to the record that was asked for';
is where(), "/ward/Patient/$patients[4]?tab=%2F%2Fevil",
    'as it was, and without the state';
ok !stands('ward-001', 'ward')->{challenge}, 'the challenge is passed';
go("/stepped-up?state=$first&code=$code");
is record(), undef, 'the first state is worth nothing now';
like text(), qr/passed or lifted already/, 'which is told';

go("/ward/Patient/$patients[4]");
is next_record(), 'record', 'a fresh allowance' for 1 .. 3;
is next_record(), 'second factor', 'which ends as well';
is show_factor($code), 'record', 'passed once more';
is next_record(), 'record', 'again a fresh one' for 1 .. 3;
isnt next_record(), 'second factor', 'there are no more grants';
is record(), undef, 'so it is no record';
like text(), qr/abnormal-usage-detected.*"status": *403/s, 'but a denial';
cmp_ok stands('ward-001', 'ward')->{grants}{wait}, '>', 0,
    'until there is a grant again';

# RFC 9470, by a client of the API

sub token {
    my ($page, $secret) = @_;
    my $is = $http->get("$url/$page", {headers => {
        Authorization => 'Basic '
            . encode_base64("practice-001:$secret", '') }});
    return decode_json($is->{content})->{token};
}

sub reads {
    my ($token, $patient) = @_;
    return $http->get("$url/practice/fhir/Patient/$patient", {headers => {
        Accept => 'application/fhir+json',
        Authorization => "Bearer $token" }});
}

my $token = token('login', $password);
my ($read, $answer) = 0;
for my $patient (@patients) {
    $answer = reads($token, $patient);
    last if $answer->{status} != 200;
    $read++;
}
ok $read >= 3, "a client reads $read records";
is $answer->{status}, 401, 'and is challenged';
like $answer->{headers}{'www-authenticate'},
    qr/^Bearer error="insufficient_user_authentication".*max_age="?300/s,
    'by RFC 9470';
is reads($token, $patients[0])->{status}, 401, 'its token does not help';
my $fresh = token('step-up', $code);
is reads($fresh, $patients[11])->{status}, 200, 'a refreshed one does';
is reads($token, $patients[0])->{status}, 401,
    'whoever has the first one only is challenged still';

done_testing;
