#!/usr/bin/perl
#
# What scripts/browser/run runs: the board in a browser, as somebody uses it
# who has no mouse.

use strict;
use warnings;
use Chromium;
use Encode 'decode_utf8';
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(time sleep);

my $header = '.build/module/ngx_patient_guard_board_html.h';
my ($url, $mock, $mock_in);
my $http = HTTP::Tiny->new;
my $chromium;

END {
    my $status = $?;
    $chromium->stop if $chromium;
    if ($mock) {
        close $mock_in;
        kill 'TERM', $mock;
        waitpid $mock, 0;
    }
    $? = $status;
}
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

if ($url = $ENV{BOARD_URL}) {
    diag "against $url";
} else {
    $mock = open2(my $said, $mock_in, $^X, 'scripts/browser/mock.pl', $header);
    chomp($url = <$said>);
}
my ($origin) = $url =~ m{^(\w+://[^/]+)};
my $real = !$mock;

sub stage {
    my ($to) = @_;
    $real ? system($ENV{BOARD_STAGE}) : $http->post("${url}stage?to=$to");
}

# what of the board's own making should never have happened
sub faults {
    my @faults = map { $_->{exceptionDetails}{text} }
        $chromium->events('Runtime.exceptionThrown');
    push @faults, map { "console: $_->{args}[0]{value}" }
        grep { $_->{type} =~ /error|warn|assert/ }
        $chromium->events('Runtime.consoleAPICalled');
    push @faults, map { "log: $_->{entry}{text}" }
        grep { $_->{entry}{level} =~ /error|warn/ }
        $chromium->events('Log.entryAdded');
    push @faults, map { "issue: $_->{issue}{code} "
                        . encode_json($_->{issue}{details}) }
        $chromium->events('Audits.issueAdded');
    push @faults, map { "elsewhere: $_" }
        grep { !/^(?:\Q$origin\E\/|data:)/ }
        map { $_->{request}{url} }
        $chromium->events('Network.requestWillBeSent');
    return @faults;
}

# Tab until that has the focus
sub tab_to {
    my ($what, $most) = @_;
    for (1 .. $most // 80) {
        return 1 if $chromium->value("(() => { const f ="
            . " document.activeElement; return $what; })()");
        $chromium->press('Tab');
    }
    return 0;
}

sub settle { sleep $_[0]; $chromium->value('1') }

$chromium = Chromium->start;
$chromium->call("$_.enable") for qw(Page Runtime Log Network Audits
                                    Accessibility);
sub size {
    my ($width, $height) = @_;
    $chromium->call('Emulation.setDeviceMetricsOverride', width => $width,
                    height => $height, deviceScaleFactor => 1,
                    mobile => $width < 600 ? JSON::PP::true
                              : JSON::PP::false);
}
sub media {
    my (%is) = @_;
    $chromium->call('Emulation.setEmulatedMedia', media => '', features => [
        map { { name => $_, value => $is{$_} } } keys %is]);
}

size(1200, 1000);
media('prefers-color-scheme' => 'light');
$chromium->call('Page.navigate', url => $url);
ok defined $chromium->becomes(
    'document.querySelectorAll("#limits tr").length > 0', 5),
    'the page loads, and shows a status';
settle(2.5);
is_deeply [faults()], [], 'no error, no violation, nothing from elsewhere';

my ($answer) = grep { $_->{response}{url} eq $url }
    $chromium->events('Network.responseReceived');
my %headers = map { lc, $answer->{response}{headers}{$_} }
    keys %{$answer->{response}{headers}};
like $headers{'content-security-policy'},
    qr/^default-src 'none'; script-src 'sha256-/, 'under its policy';
ok $chromium->value(<<'END'), 'and the policy holds: no other script runs';
(() => {
    const s = document.createElement("script");
    s.textContent = "window.intruder = 1";
    document.body.append(s);
    s.remove();
    return !window.intruder;
})()
END

settle(.3);
like join("\n", faults()), qr/^log: Executing inline script violates/,
    'which would be told';
$chromium->forget_events;

# names, for whoever does not see them
my %want = map { $_ => 1 } qw(button textbox combobox checkbox table region
                              image form search meter);
my @nodes = grep { !$_->{ignored} }
    @{$chromium->call('Accessibility.getFullAXTree')->{nodes}};
is_deeply [map { $_->{role}{value} }
           grep { $want{$_->{role}{value}} && $_->{role}{value} ne 'search'
                  && ($_->{name}{value} // '') eq '' } @nodes],
    [], 'all that can be used or read has a name';
for my $role (qw(banner main search status)) {
    ok scalar(grep { $_->{role}{value} eq $role } @nodes), "there is a $role";
}

# the lowest contrast of a text that is seen
my $contrast = <<'END';
(() => {
    const rgb = (s) => s.match(/[\d.]+/g).map(Number);
    const light = (c) => c.slice(0, 3).map((v) => v / 255)
        .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    let least = 99, of = "";
    for (const e of document.querySelectorAll("body *")) {
        if (![...e.childNodes].some((n) => n.nodeType === 3
                && n.data.trim()) || !e.getClientRects().length) continue;
        let under = e;
        while (under && (rgb(getComputedStyle(under).backgroundColor)[3] ?? 1)
               === 0) under = under.parentElement;
        const a = light(rgb(getComputedStyle(e).color));
        const b = light(rgb(getComputedStyle(under || document.body)
                            .backgroundColor));
        const is = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (is < least) [least, of] = [is, e.outerHTML.slice(0, 90)];
    }
    return [least, of];
})()
END

if ($ENV{BOARD_AGE}) {
    settle(1) for 1 .. $ENV{BOARD_AGE};
}

my $clear = '[...document.querySelectorAll(".ops button")]'
          . '.find((b) => b.textContent === "Clear")';
SKIP: {
    skip 'no BOARD_STAGE', 1 if $real && !$ENV{BOARD_STAGE};

    my $refused = '[...document.querySelectorAll("#near tr")].filter((r) =>'
                . ' /challenged|denied|throttled/.test(r.textContent)).length';
    my $before = $chromium->value($refused);
    stage('robot');
    my $took = $chromium->becomes("$refused > $before", 10);
    ok defined $took && $took <= 2, 'a robot is seen within 2 seconds'
        or diag $took // 'never';
    diag sprintf 'it took %.2f s', $took if defined $took;
    my $said = 'document.getElementById("news").textContent';
    like $chromium->value($said), qr/ is (?:challenged|denied|throttled) /,
        'and told to whoever listens';

    settle(2);
    size(1100, 1130);
    is $chromium->value('[...document.querySelectorAll(".scroll")]'
        . '.filter((s) => s.scrollWidth > s.clientWidth).length'), 0,
        'no table has to be scrolled on a desk';
    picture($ENV{BOARD_PICTURE} // '.build/board.png');
    size(1200, 1000);

    ok tab_to('f.id === "id"'), 'the search is reached by Tab';
    $chromium->call('Input.insertText', text => decode_utf8(
                    $ENV{BOARD_LOGIN} // "robot\@h\xc3\xb4pital.example/1"));
    $chromium->press('Enter');
    ok defined $chromium->becomes(
        'document.querySelector("#cards h3") === document.activeElement', 3),
        'the account is found, and has the focus';
    like $chromium->value('document.querySelector("#cards dl").textContent'),
        qr/(?:challenged|denied|throttled) by /, 'with its verdict';
    is_deeply [faults()], [], 'still no fault';
    my ($least, $of) = @{$chromium->value($contrast)};
    cmp_ok $least, '>=', 4.5, 'contrast, light' or diag $of;
    picture('.build/board-account.png');

    # the robot's card open: dark, narrow
    media('prefers-color-scheme' => 'dark',
          'prefers-reduced-motion' => 'reduce');
    settle(1);
    ok $chromium->value(
        'getComputedStyle(document.body).backgroundColor.match(/\d+/) < 40'
        . ' && getComputedStyle(document.documentElement).scrollBehavior'
        . ' === "auto"'), 'dark, and nothing moves, where that is wished';
    ($least, $of) = @{$chromium->value($contrast)};
    cmp_ok $least, '>=', 4.5, 'contrast, dark' or diag $of;
    picture('.build/board-dark.png');
    size(390, 844);
    settle(1.2);
    is $chromium->value('document.documentElement.scrollWidth'), 390,
        'narrow: no scrolling to the side';
    picture('.build/board-narrow.png');
    size(1200, 1000);
    media('prefers-color-scheme' => 'light');

    # Clear, by Tab and Enter, after some refreshes
    ok tab_to('f.textContent === "Clear"', 20), 'Clear is reached by Tab';
    settle(6.5);
    ok $chromium->value("$clear === document.activeElement"),
        'and keeps the focus while all is refreshed';
    $chromium->press('Enter');
    ok $chromium->value('document.getElementById("confirm").open'
        . ' && document.activeElement.id === "no"'),
        'Enter asks, and Cancel has the focus';
    $chromium->press('Escape');
    settle(.3);
    ok $chromium->value('!document.getElementById("confirm").open'
        . " && $clear === document.activeElement"),
        'Escape leaves it, back where it was';
    $chromium->press('Enter');
    $chromium->press('Tab');
    $chromium->press('Enter');
    ok defined $chromium->becomes('/ is cleared, on /.test('
        . 'document.getElementById("result").textContent)', 3),
        'Tab and Enter clear the account, which is told';
    ok defined $chromium->becomes("$refused === $before", 3),
        'it is among the refused no more';
    is_deeply [faults()], [], 'still no fault';
}

SKIP: {
    skip 'only with the mock', 1 if $real;

    my $written = sub {
        return decode_json($http->get("${url}written")->{content})->{written};
    };
    is_deeply $written->(), ['clear b0b07' . '0' x 27 . ' '],
        'the node was told once';
    for (['Block', 'block b0b07' . '0' x 27 . ' 1h'],
         ['Forget', 'forget b0b07' . '0' x 27 . ' '])
    {
        my ($button, $told) = @$_;
        tab_to("f.textContent === '$button'");
        $chromium->press($_) for qw(Enter Tab Enter);
        settle(.5);
        is $written->()->[-1], $told, "$button, by keyboard";
    }

    # a row that has the focus, while others move
    my $order = '[...document.querySelectorAll("#near th")]'
              . '.map((c) => c.textContent).join()';
    my $was = $chromium->value($order);
    $chromium->value('window.held = document.querySelectorAll('
        . '"#near button")[4], window.held.focus()');
    settle(4);
    isnt $chromium->value($order), $was, 'rows change their places';
    $was = $chromium->value(<<'END');
(() => {
    const box = document.getElementById("near").getBoundingClientRect();
    window.scrollBy({top: box.top - 100, behavior: "instant"});
    return [box.left + 300, 150];
})()
END
    my $mouse = sub { $chromium->call('Input.dispatchMouseEvent',
                                      type => 'mouseMoved',
                                      x => $_[0], y => $_[1]) };
    $mouse->(@$was);
    settle(.2);
    $was = $chromium->value($order);
    settle(4);
    is $chromium->value($order), $was, 'but not under the pointer';
    $mouse->(1, 1);
    ok $chromium->value('document.activeElement === window.held'),
        'that with the focus keeps it';
    $chromium->press('Enter');
    ok defined $chromium->becomes('document.querySelector("#cards h3")'
        . '.textContent.includes(window.held.title)', 3),
        'Enter on an account opens it, by its alias';
    is_deeply [faults()], [], 'still no fault';

    $chromium->value('document.getElementById("policy").value = "wards",'
        . ' document.getElementById("policy").dispatchEvent('
        . 'new Event("change"))');
    ok $chromium->value('document.querySelector("#near").closest(".scroll")'
        . '.hidden'), 'a policy that nobody has used says so';

    ok $chromium->value('!document.querySelector("img")'
        . ' && document.getElementById("limits").textContent'
        . '.includes("<img src=/x")'), 'and what looks like markup is text';
    ok $chromium->value('!document.querySelector(".ops").hidden'),
        'where the node may be written to there are buttons';
    stage('readonly');
    ok defined $chromium->becomes('document.querySelector(".ops").hidden', 3),
        'elsewhere there are none';

    stage('outage');
    ok defined $chromium->becomes('/Redis is away: the breaker is open/.test('
        . 'document.getElementById("stores").textContent)', 3),
        'that Redis is away is told in words';
    $chromium->forget_events;
    stage('quiet');
    my $lost = 'document.getElementById("lost")';
    ok defined $chromium->becomes(
        "!$lost.hidden && $lost.textContent.includes('Next try in')", 4),
        'a node that does not answer is told of';
    settle(3);
    my $tries = () = $chromium->events('Network.requestWillBeSent');
    cmp_ok $tries, '<=', 4, 'and asked less often';
    stage('loud');
    ok defined $chromium->becomes("$lost.hidden", 20), 'until it is back';

    $chromium->value('Object.defineProperty(document, "hidden",'
        . ' {configurable: true, get: () => true})');
    settle(1.5);
    $chromium->forget_events;
    settle(3);
    is scalar(() = $chromium->events('Network.requestWillBeSent')), 0,
        'who is not seen does not ask';
    $chromium->value('delete document.hidden,'
        . ' document.dispatchEvent(new Event("visibilitychange"))');
    settle(.5);
    isnt scalar(() = $chromium->events('Network.requestWillBeSent')), 0,
        'until it is seen';
}

my ($profile, $pid) = @$chromium{qw(profile pid)};
$chromium->stop;
for (1 .. 50) {                 # init may take its time to bury the dead
    last unless kill 0, -$pid;
    sleep .1;
}
ok !-e $profile && !kill(0, -$pid), 'nothing is left behind';
done_testing;

sub picture {
    my ($path) = @_;
    $chromium->value('window.scrollTo({top: 0, behavior: "instant"})');
    settle(.2);
    my $is = $chromium->call('Page.captureScreenshot', format => 'png');
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file decode_base64($is->{data});
    close $file or die "$path: $!\n";
    diag "$path: ", -s $path, ' bytes';
}
