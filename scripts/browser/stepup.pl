#!/usr/bin/perl
#
# What scripts/browser/stepup runs: stepup.pl URL ERROR_LOG

use strict;
use warnings;
use Chromium;
use HTTP::Tiny;
use Test::More;

my ($url, $log) = @ARGV;
my $http = HTTP::Tiny->new(max_redirect => 0);

my $chromium = Chromium->start;
END { my $status = $?; $chromium->stop if $chromium; $? = $status }
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

$chromium->call("$_.enable") for qw(Page Runtime);

sub go {
    $chromium->call('Page.navigate', url => "$url$_[0]");
    return loaded();
}

# the title, once the page is there
sub loaded {
    defined $chromium->becomes('document.readyState === "complete"'
                               . ' && document.title !== ""', 5)
        or return 'nothing';
    return $chromium->value('document.title');
}

sub record { $chromium->value('(document.getElementById("record") || {}).textContent') }

sub show_factor {
    my ($code) = @_;
    $chromium->value('document.getElementById("code").value = "' . $code . '"');
    $chromium->value('document.forms[0].requestSubmit(), 1');
    select undef, undef, undef, .3;
    return loaded();
}

# in a browser

is go('/sso/login?who=dupont'), 'welcome', 'a practitioner signs in';
is go("/records/$_"), 'record', "and reads record $_" for 1 .. 3;
is go('/records/4%20b?x=%2F%2Fevil'), 'second factor', 'the fourth is challenged';
my $state = $chromium->value('document.forms[0].state.value');
like $state, qr/^[\w-]{80,}$/, 'with a state';
unlike $chromium->value('location.href'), qr/records|dupont/,
    'which tells the sign-on nothing of the record';

is show_factor('000000'), 'wrong', 'a wrong factor leads nowhere';
is go("/stepped-up?state=$state"), '403 Forbidden', 'nor does its absence';
is go('/records/5'), 'second factor', 'he is challenged still';
$state = $chromium->value('document.forms[0].state.value');

is show_factor('123456'), 'record', 'the factor leads back';
is record(), 'record of /records/5', 'to the record that he was challenged on';
is $chromium->value('location.pathname + location.search'), '/records/5',
    'without the state';
is go("/records/$_"), 'record', "a fresh allowance: $_" for 6, 7;
isnt go("/stepped-up?state=$state"), 'record', 'the state is worth nothing now';
is go('/records/8'), 'second factor', 'and then he is challenged again';
is show_factor('123456'), 'record', 'passed';
is go("/records/$_"), 'record', "record $_" for 9, 10;
isnt go('/records/11'), 'second factor',
    'as often as there are grants: then it is a denial';
is record(), undef, 'without the record';

# RFC 9470, by a client that has no browser

my $now = time;
sub reads {
    my ($patient, $auth_time) = @_;
    return $http->get("$url/records/$patient", {headers => {
        Accept => 'application/fhir+json',
        Authorization => "Bearer martin.$auth_time",
    }});
}

is reads($_, $now - 3600)->{status}, 200, "a client reads record $_" for 1 .. 3;
my $answer = reads(4, $now - 3600);
is $answer->{status}, 401, 'the fourth is challenged';
my $field = $answer->{headers}{'www-authenticate'} // '';
like $field, qr/^Bearer error="insufficient_user_authentication"/, 'by RFC 9470';
like $field, qr/acr_values="eidas2"/, 'which tells what it wants';
like $field, qr/max_age="?300/, 'and how fresh';
is reads(4, $now - 3600)->{status}, 401, 'the same token does not help';
is reads(4, $now + 2)->{status}, 200, 'a refreshed one does';

open my $file, '<', $log or die "$log: $!\n";
my $said = do { local $/; <$file> };
my @passed = $said =~ /pass of policy "practitioners": passed, account: (\w+)/g;
is scalar(@passed), 2, 'two passes are told';
unlike $said, qr/\[(?:alert|crit|emerg)\]/, 'and nothing is wrong';

done_testing;
