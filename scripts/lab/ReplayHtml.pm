package ReplayHtml;

# The report of a replay as one page: no script, nothing from elsewhere.

use strict;
use warnings;

use POSIX qw(floor strftime);

my $SHOWN = 500;              # accounts in the table

our $COLOURS = <<'CSS';
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1b1b1a;
  --soft: #5f5e5a; --line: #dddcd6; --throttle: #eda100; --challenge: #2a78d6;
  --deny: #d03b3b; --r0: #1b1b1a; --r1: #2a78d6; --r2: #1baf7a; --r3: #eb6834;
  --r4: #8a5fd0; --r5: #b58a00; }
@media (prefers-color-scheme: dark) { :root { --page: #1a1a19;
  --ink: #f2f1ec; --soft: #a9a8a1; --line: #3a3a37; --throttle: #c98500;
  --challenge: #3987e5; --deny: #e05c5c; --r0: #f2f1ec; --r1: #3987e5;
  --r2: #199e70; --r3: #d95926; --r4: #9d78dd; --r5: #b58a00; } }
CSS

our $STYLE = $COLOURS . <<'CSS';
body { background: var(--page); color: var(--ink); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem;
  margin: 2.5rem 0 .3rem; } p { margin: .3rem 0 .8rem; color: var(--soft); }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 1.5rem 0; }
.tiles b { display: block; font-size: 1.6rem; font-weight: 600; }
.tiles span, figcaption, .key { color: var(--soft); font-size: .85rem; }
.plots { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
figure { margin: 0; } figcaption b { color: var(--ink); font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .35em 0 1em; vertical-align: -.05em; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%;
  font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; } .n { text-align: right; }
.account { max-width: 18rem; overflow: hidden; text-overflow: ellipsis; }
CSS

my %ENTITY = ('<' => '&lt;', '>' => '&gt;', '&' => '&amp;', '"' => '&quot;');

sub text {
    my ($text) = @_;

    $text =~ s/([<>&"])/$ENTITY{$1}/g;
    $text =~ s/[\x00-\x1f\x7f]/?/g;
    return $text;
}

sub grouped {
    my ($number) = @_;

    1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
    return $number;
}

sub percent {
    my ($share) = @_;

    my $text = sprintf '%.3f', $share * 100;
    $text =~ s/\.?0+$//;
    return "$text %";
}

sub moment { strftime('%Y-%m-%d %H:%M:%S', localtime $_[0]) }

# a table; columns from $from on are numbers
sub table {
    my ($from, $head, @rows) = @_;

    my $row = sub {
        my ($tag, @cells) = @_;
        return '<tr>' . join('', map {
            "<$tag" . ($_ >= $from ? ' class="n"' : '')
                . ($_ == 0 && $tag eq 'td' ? ' class="account"' : '') . '>'
                . text($cells[$_]) . "</$tag>"
        } 0 .. $#cells) . "</tr>\n";
    };
    return "<div class=\"scroll\"><table>\n" . $row->('th', @$head)
        . join('', map { $row->('td', @$_) } @rows) . "</table></div>\n";
}

sub key {
    return '<div class="key">' . join('', map {
        "<i style=\"background:var(--$_->[0])\"></i>" . text($_->[1])
    } @_) . "</div>\n";
}

sub svg {
    my ($width, $height, $label, @parts) = @_;

    return "<svg viewBox=\"0 0 $width $height\" role=\"img\" aria-label=\""
        . text($label) . "\">\n" . join("\n", @parts) . "\n</svg>\n";
}

sub line_at {
    my ($x1, $y1, $x2, $y2, $more) = @_;

    return sprintf '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>',
        $x1, $y1, $x2, $y2, $more // 'stroke="var(--line)"';
}

sub label {
    my ($x, $y, $anchor, $text) = @_;

    return sprintf '<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>',
        $x, $y, $anchor, text($text);
}

# 1, 2 or 5 times a power of ten, so that some four of them reach the most
sub step {
    my ($most) = @_;

    my $power = 10 ** floor(log($most / 4) / log 10);
    for my $times (1, 2, 5) {
        return $power * $times if $power * $times * 4.5 >= $most;
    }
    return $power * 10;
}

# bars by day, one on the other: { colour, a day's value } each
sub day_plot {
    my ($what, $days, @series) = @_;

    my ($width, $height, $left, $bottom) = (900, 240, 60, 210);
    my ($most, @parts) = (1);
    for my $day (@$days) {
        my $sum = 0;
        $sum += $_->[1]->($day) for @series;
        $most = $sum if $sum > $most;
    }
    my $step = step($most);
    $step = 1 if $step < 1;
    for (my $n = 0; $n <= $most; $n += $step) {
        my $y = $bottom - 190 * $n / $most;
        push @parts, line_at($left, $y, $width, $y),
            label($left - 8, $y + 4, 'end', grouped($n));
    }

    my $slot = ($width - $left) / (@$days || 1);
    my $bar = $slot * 0.7 > 40 ? 40 : $slot * 0.7;
    my $every = int(@$days / 9) + 1;
    for my $i (0 .. $#$days) {
        my ($day, $y) = ($days->[$i], $bottom);
        my $x = $left + $slot * ($i + 0.5);
        my $title = "$day->{day}, " . grouped($day->{accounts})
            . ' accounts: ' . join(', ', map {
                  "$_->[0] " . grouped($_->[1]->($day)) } @series);
        for (@series) {
            my ($colour, $value) = @$_;
            my $tall = 190 * $value->($day) / $most or next;
            $y -= $tall;
            push @parts, sprintf '<rect x="%.1f" y="%.1f" width="%.1f" '
                . 'height="%.1f" fill="var(--%s)"><title>%s</title></rect>',
                $x - $bar / 2, $y, $bar, $tall, $colour, text($title);
        }
        push @parts, label($x, $bottom + 18, 'middle', substr $day->{day}, 5)
            if $i % $every == 0;
    }
    return svg($width, $height, $what, @parts);
}

sub days {
    my ($days) = @_;

    my @verdicts = qw(throttle challenge deny);
    return "<h2>Lookups that were stopped, by day</h2>\n"
        . key(map { [$_, $_] } @verdicts)
        . day_plot('lookups that were stopped, by day', $days, map {
              my $verdict = $_;
              [$verdict, sub { $_[0]{verdicts}{$verdict} }] } @verdicts)
        . "<h2>Accounts that were challenged, by day</h2>\n"
        . day_plot('accounts that were challenged, by day', $days,
                   ['challenge', sub { $_[0]{challenged} }]);
}

# share of account-days (down to one in 100,000) over a count, both logarithmic
sub limit_plot {
    my ($limit, $share, $colours) = @_;

    my ($width, $height, $left, $bottom, $right) = (420, 250, 48, 215, 405);
    my @roles = grep { $colours->{$_->{role}} } @{$limit->{roles}};
    my $n = $roles[0]{account_days};
    my $most = $roles[0]{max};
    $most = $limit->{count} if ($limit->{count} // 0) > $most;
    $most = 10 if $most < 10;
    my $least = $share > 0 && $share < 1 / $n ? $share : 1 / $n;
    $least = 1e-5 if $least < 1e-5;
    my $down = -floor(log($least) / log(10) + 1e-9);
    my $x = sub { $left + ($right - $left)
        * log($_[0] < 1 ? 1 : $_[0]) / log($most) };
    my $y = sub { $bottom - 195 * (1 + log($_[0]) / log(10) / $down) };

    my @parts;
    for my $power (0 .. $down) {
        my $at = $y->(10 ** -$power);
        push @parts, line_at($left, $at, $right, $at),
            label($left - 6, $at + 4, 'end', percent(10 ** -$power) =~ s/ //r);
    }
    for (my $count = 1; $count <= $most; $count *= 10) {
        push @parts, label($x->($count), $bottom + 16, 'middle',
                           grouped($count));
    }
    for my $role (reverse @roles) {
        my @points = map { sprintf '%.1f,%.1f', $x->($_->[0]),
                           $y->($_->[1] / $role->{account_days}) }
            grep { $_->[1] / $role->{account_days} >= $least }
            @{$role->{over}};
        push @parts, '<polyline points="' . join(' ', @points)
            . '" fill="none" stroke-width="2" stroke="var(--'
            . $colours->{$role->{role}} . ')"><title>' . text($role->{role})
            . '</title></polyline>';
    }
    push @parts, line_at($left, $y->($share), $right, $y->($share),
                         'stroke="var(--soft)" stroke-dasharray="2 4"')
        if $share >= 10 ** -$down;
    my $enough = $roles[0]{suggested};
    push @parts, line_at($x->($enough), 20, $x->($enough), $bottom,
                         'stroke="var(--soft)" stroke-dasharray="2 4"');
    if ($limit->{count} && $limit->{count} <= $most) {
        my $at = $x->($limit->{count});
        push @parts, line_at($at, 20, $at, $bottom,
                             'stroke="var(--deny)" stroke-width="1.5"'),
            label($at, 13, $at > $right - 40 ? 'end' : 'middle',
                  grouped($limit->{count}));
    }

    my $caption = '<b>' . text($limit->{limit}) . '</b> '
        . text(($limit->{count} ? grouped($limit->{count}) : '') . ' '
               . ($limit->{action} // '')) . '; enough: ' . grouped($enough);
    return "<figure>\n" . svg($width, $height, "account-days over a count of "
                              . $limit->{limit}, @parts)
        . "<figcaption>$caption</figcaption></figure>\n";
}

sub tiles {
    my ($report) = @_;

    my $all = $report->{roles}[0];
    my @tiles = (
        [grouped($report->{lookups}), 'lookups'],
        [grouped($report->{accounts}), 'accounts'],
        [grouped($all->{account_days}), 'account-days'],
        [percent($all->{share_challenged}), 'of them challenged'],
        [grouped($report->{verdicts}{throttle}), 'lookups throttled'],
        [grouped($report->{verdicts}{challenge}), 'challenged'],
        [grouped($report->{verdicts}{deny}), 'denied']);
    return '<div class="tiles">' . join('', map {
        "<div><b>$_->[0]</b><span>$_->[1]</span></div>"
    } @tiles) . "</div>\n";
}

sub limits {
    my ($report) = @_;

    my @limits = grep { @{$_->{roles}} } @{$report->{limits}} or return '';
    my (%colours, @key);
    for my $role (@{$limits[0]{roles}}) {
        last if @key == 6;
        my $colour = 'r' . @key;
        push @key, [$colour, $role->{role}];
        $colours{$role->{role}} = $colour;
    }

    my @rows = map {
        my $limit = $_;
        map { [$limit->{limit}, $_->{role}, $limit->{action} // '',
               grouped($limit->{count} // ''), map { grouped($_) }
               @$_{qw(p50 p90 p99 p99.9 max suggested)}] } @{$limit->{roles}}
    } @limits;
    my $share = percent($report->{share});
    return "<h2>What accounts did a day</h2>\n"
        . "<p>The share of account-days on which a limit's total went over a "
        . "count, had nothing been refused. Red: the count of the policy. "
        . "Dotted: the lowest count that $share go over at the most.</p>\n"
        . (@key > 1 ? key(@key) : '') . '<div class="plots">'
        . join('', map { limit_plot($_, $report->{share}, \%colours) } @limits)
        . "</div>\n" . table(3, ['limit', 'role', 'action', 'count', '50 %',
                               '90 %', '99 %', '99.9 %', 'most',
                               "enough for $share"], @rows);
}

sub stopped {
    my ($report) = @_;

    my @all = @{$report->{stopped}} or return "<p>Nobody was stopped.</p>\n";
    my $more = @all - $SHOWN;
    splice @all, $SHOWN;
    return table(6, ['account', 'role', 'verdict', 'limit', 'first', 'last',
                     'days', 'lookups'],
                 map { [@$_{qw(account role verdict)}, $_->{limit} || '-',
                        moment($_->{first}), moment($_->{last}),
                        @$_{qw(days lookups)}] } @all)
        . ($more > 0 ? "<p>and $more more, in the JSON</p>\n" : '');
}

sub page {
    my ($report) = @_;

    my $policy = text($report->{policy});
    my $span = $report->{lookups} ? text(moment($report->{first}) . ' to '
                                         . moment($report->{last})) : '';
    my $model = $report->{passes}
        ? 'Who was challenged proved himself by his next lookup.'
        : 'Who was challenged did not prove himself, unless the log says so.';
    my @roles = map { [@$_{qw(role account_days throttled challenged denied)},
                       percent($_->{share_challenged})] } @{$report->{roles}};
    my $page = "<!DOCTYPE html>\n<html lang=\"en\"><head>"
        . "<meta charset=\"utf-8\"><title>Replay of $policy</title>\n"
        . "<meta name=\"viewport\" content=\"width=device-width\">\n"
        . "<style>\n$STYLE</style></head><body>\n"
        . "<h1>What $policy would have done</h1>\n<p>$span. $model "
        . "Lines of the log: " . grouped($report->{lines}) . ', skipped: '
        . grouped($report->{skipped}) . ', out of order: '
        . grouped($report->{unsorted}) . ".</p>\n" . tiles($report)
        . days($report->{days})
        . "<h2>Days of accounts, by role</h2>\n"
        . table(1, ['role', 'account-days', 'throttled', 'challenged',
                    'denied', 'share challenged'], @roles)
        . limits($report) . "<h2>Who was stopped</h2>\n" . stopped($report)
        . "</body></html>\n";
    utf8::encode($page);
    return $page;
}

1;
