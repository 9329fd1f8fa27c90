# What a lookup costs: requests a second, how long an answer takes, and the
# processor time of the worker and of Redis, each beside proxy_pass alone in
# the same round.
#
# The worker has one core, what is behind it and who asks share the other.  In
# each round each row answers 10,000 lookups of 1,000 accounts, TURNS=20 times
# LOOKUPS=500, by 32 connections, each as soon as the one before is answered.
# Then some rows answer as many at random times, half as often as proxy_pass
# alone could in that round.  The accounts are new in each round, and have had
# two lookups before, so that no limit is reached.
#
# It ends with an error if an answer has another status, or if not each lookup
# was counted, by whoever counts in that row.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Figures;
use Rows;
use Servers;
use Turns;

my $rounds = rounds(7);
my %full_load = (n => $ENV{LOOKUPS} || 500,
                 turns => $ENV{TURNS} || ($ENV{SHORT} ? 6 : 20));
my %half_load = (n => 2 * $full_load{n}, turns => $full_load{turns} / 2);

my $ACCOUNTS = 1000;
my ($FRONT, $BEHIND) = (0, 1);       # the cores

# at half load as well
my @HALF = qw(bare bare_again limit_req embedded local strict strict_tcp known
              lua_dict lua_evalsha auth_request);

# what others are compared with
my @ALWAYS = qw(bare bare_again limit_req lua_evalsha);

my @rows = grep { asked_for($_->{id}, @ALWAYS) && $_->{id} ne 'bare_tls'
                  || $_->{id} eq 'bare_tls' && asked_for('strict_tls') } @ROWS;

die "bench: no more than 20 lookups an account\n"
    if $full_load{n} * $full_load{turns} > 20 * $ACCOUNTS;

# --- who takes turns

my $behind = start_behind($BEHIND);
my %runner;

sub begin {
    my ($row) = @_;

    my $robot = $row->{robot};
    my $runner = $runner{$row->{id}} = new_runner($behind, $row,
        cores => $FRONT, accounts => $robot ? 1 : $ACCOUNTS, flying => 32);
    return if !$robot;
    told($runner->{client}, "accounts $row->{id}-");
    $runner->{charged} = warm_up($runner->{client}, $row);
}

# --- the rounds

my (%full, %half);

sub round {
    my ($round) = @_;

    for my $row (grep { !$_->{robot} } @rows) {
        my $id = $row->{id};
        my $client = $runner{$id}{client};
        told($client, "accounts r$round$id-");
        $runner{$id}{charged} = warm_up($client, $row, 2 * $ACCOUNTS);
    }

    my %at = map { $_ => 1 } @HALF;
    my @runners = map { $runner{$_->{id}} } @rows;
    turns(\%full, $round, \@runners, %full_load);

    @runners = grep { $at{$_->{row}{id}} } @runners;
    alone(1, @runners);
    turns(\%half, $round, \@runners, %half_load,
          rate => of_round(\%full, 'bare', $round, sub { $_[0]{rate} }) / 2);
    alone(0, @runners);

    for my $row (@rows) {
        my $id = $row->{id};
        check_counted($behind, $row, @{ $runner{$id} }{qw(server charged)},
            $row->{robot} ? "$id-0" : names("r$round$id-", $ACCOUNTS));
    }
    printf STDERR "round %d of $rounds\n", $round + 1 if -t STDERR;
}

begin($_) for @rows;
round($_) for 0 .. $rounds - 1;

for my $row (@rows) {
    my $log = complaints($runner{$row->{id}}{server});
    die "bench: $row->{name}: the error log says: $log\n"
        if $log ne '' && $row->{id} ne 'robot_told';
}

# --- tables

sub beside_time {
    my ($all, $row) = @_;

    return '' unless $row->{counts};
    return sprintf '%.1f', median(of($all, $row->{id}, $row->{counts}));
}

sub print_full {
    my @table = (['all it can', 'requests/s', 'to proxy_pass', 'p50 us',
                  'p99 us', 'worker us', 'to proxy_pass', 'beside us']);
    for my $row (@rows) {
        my $id = $row->{id};
        push @table, [$row->{name}, number(median(of(\%full, $id, 'rate'))),
            spread('%.2f', ratios(\%full, $id, 'rate')),
            (map { number(median(of(\%full, $id, $_))) } qw(p50 p99)),
            sprintf('%.1f', median(of(\%full, $id, 'worker'))),
            spread('%.2f', ratios(\%full, $id, 'worker')),
            beside_time(\%full, $row)];
    }
    table(@table);
}

sub print_cores {
    my @table = (['per cent of a core', 'worker', 'portal', 'Redis',
                  'service', 'client', 'the fuller', 'by it alone/s']);
    for my $row (@rows) {
        my $id = $row->{id};
        my @each = map { sprintf '%.0f',
                         100 * median(of(\%full, $id, "share of $_")) }
                   qw(worker portal redis service client);
        my ($front, $back) = map { median(of(\%full, $id, $_)) }
                             qw(worker back);
        push @table, [$row->{name}, @each,
            $front > $back ? "$FRONT: the worker" : "$BEHIND: the others",
            number(1e6 / max($front, $back))];
    }
    table(@table);
}

sub print_half {
    my @table = (['half load', 'p50 us', 'more', 'p99 us', 'more',
                  'worker us', 'to proxy_pass', 'beside us']);
    for my $row (grep { $half{$_->{id}} } @rows) {
        my $id = $row->{id};
        my @cells = map {
            (number(median(of(\%half, $id, $_))), $id eq 'bare' ? ''
             : spread('%.0f', differences(\%half, $id, $_)))
        } qw(p50 p99);
        push @table, [$row->{name}, @cells,
            sprintf('%.1f', median(of(\%half, $id, 'worker'))),
            spread('%.2f', ratios(\%half, $id, 'worker')),
            beside_time(\%half, $row)];
    }
    table(@table);
}

# --- the marks

my @marks;

sub judge {
    my ($what, $format, $op, $bound, @measured) = @_;

    my $is = median(@measured);
    push @marks, [$what, sprintf($format, $is),
                  mark($is, $op, $bound, sub { sprintf $format, @_ })];
}

sub judge_all {
    my %is = map { $_->{id} => 1 } @rows;

    for (['embedded', 1.03], ['local', 1.03], ['strict', 1.12],
         ['known', 1.06], ['robot', 0.5])
    {
        my ($id, $bound) = @$_;
        judge("worker's time to proxy_pass, " . row_of($id)->{name}, '%.3f',
              '<=', $bound, ratios(\%full, $id, 'worker')) if $is{$id};
    }
    judge_strict() if $is{strict};
    if ($is{local}) {
        judge('throughput, local to limit_req', '%.2f', '>=', 0.95,
              ratios(\%full, 'local', 'rate', 'limit_req'));
        judge('more at the 99th percentile at half load, local, us', '%.0f',
              '<=', 50, differences(\%half, 'local', 'p99'));
    }
}

sub judge_strict {
    my @strict = map { $_ - 1 } ratios(\%full, 'strict', 'worker');
    my @lua = map { $_ - 1 } ratios(\%full, 'lua_evalsha', 'worker');
    judge('what strict adds to it by what Lua with EVALSHA adds', '%.3f',
          '<=', 1 / 6, map { $strict[$_] / max(0.001, $lua[$_]) } 0 .. $#lua);
    judge('throughput, strict to proxy_pass', '%.2f', '>=', 0.72,
          ratios(\%full, 'strict', 'rate'));
    judge('throughput, strict to Lua with EVALSHA', '%.2f', '>=', 1.2,
          ratios(\%full, 'strict', 'rate', 'lua_evalsha'));
    my $redis = 0.7 * median(of(\%full, 'lua_evalsha', 'redis'));
    judge("Redis' time for a lookup, strict, us", '%.1f', '<=',
          min(8, $redis), of(\%full, 'strict', 'redis'));
    judge('more at the 99th percentile at half load, strict, us', '%.0f',
          '<=', 500, differences(\%half, 'strict', 'p99'));
}

# ---

my ($model) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
my $lost = 100 * median(map { of(\%full, $_->{id}, 'others') } @rows);

my ($turns, $each) = @full_load{'turns', 'n'};

printf <<'HEAD', $FRONT, $BEHIND, $model // '?', $rounds, $turns, $each, $lost;
Throughput on two cores, everything on the same machine: the worker on core %d;
the portal, Redis, who counts for auth_request and who asks on core %d; %s.
Medians of %d rounds (least-most) of %d turns of %d lookups, and of ratios to
proxy_pass just before and after (TLS to TLS).  Beside: what Redis, or the
counting service, spent on a lookup.  For %.0f %% of the time the worker
waited, as others had its core.

HEAD

print_full();
print "\n";
print_cores();
print "\n";
print_half();
print "\n";
judge_all();
table(['mark', 'measured', 'wanted'], @marks);
print "\n", missed();
