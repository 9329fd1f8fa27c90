# What a lookup costs when there is more of everything: accounts, patients of
# an account, limits of a policy, workers.
#
# As in the part speed: one worker on core 0, all else on core 1, each turn
# beside proxy_pass just before and after; Redis has one server for each number
# of accounts.  The workers of the last table share both cores with the rest,
# so what is to be seen there is not that more of them are faster, but what
# they do to each other: of their processor time, how much was spent spinning
# for the lock of a zone (by perf's samples), and of the time that passed, how
# long each slept for it (see waits.c).
#
# ONLY="limits workers" measures these alone, of accounts, patients, limits
# and workers.  It ends with an error as the part speed does.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Figures;
use Rows;
use Servers;
use Turns;

my $short  = $ENV{SHORT};
my $rounds = $ENV{ROUNDS} || ($short ? 1 : 3);
my %load   = (n => $ENV{LOOKUPS} || 500, turns => $ENV{TURNS} || 6);
my $locked = $short ? 10_000 : 50_000;   # lookups while perf looks on

my @STORES = qw(embedded local strict);

my $PATIENCE = 600;       # seconds, until Redis knows of all that a node does

my @ACCOUNTS = $short ? (1000, 30_000) : (1000, 100_000, 1_000_000);
my @PATIENTS = (10, 1000);
my @NLIMITS  = (1, 2, 4, 8, 16);
my @WORKERS  = (1, 2, 4);

# one, two, ... of these, with room for all that is looked up
my @LIMITS = map { "$_ deny" }
    qw(lookups=100000/1d new_patients=100000/1h patients=2000/1d
       new_patients=100000/1d lookups=100000/1h patients=2000/1h
       new_patients=100000/7d lookups=100000/7d patients=2000/7d
       new_patients=100000/28d lookups=100000/28d addresses=100/1d
       misses=100000/1d new_patients=100000/10m lookups=100000/10m
       patients=2000/10m);

my @WIDE = ('new_patients=100000/1h throttle',
            'new_patients=100000/1d challenge',
            'patients=3000/1d challenge', 'lookups=100000/1d deny');

my %only = map { $_ => 1 } split ' ',
           $ENV{ONLY} || 'accounts patients limits workers';

# --- a row of a size; "late" if it was not told to Redis in time

my $late = 0;

my $behind = start_behind(1);
my $bare = new_runner($behind, row_of('bare'), cores => 0, accounts => 1000,
                      flying => 32);

# which store, how many: its server and client, with accounts that have had
# "each" lookups

sub sized {
    my ($store, $size, %is) = @_;

    my $row = { %{ row_of($store) }, id => "${store}_$size",
                limits => $is{limits}, zone => $is{zone} };
    my $runner = new_runner($is{behind} // $behind, $row, cores => 0,
                            flying => 32, %is);
    $runner->{behind} = $is{behind} // $behind;
    $runner->{accounts} = $is{accounts};
    fill($runner, 'a', $is{each});
    return $runner;
}

sub fill {
    my ($runner, $name, $each) = @_;

    $runner->{named} = "$runner->{row}{id}$name-";
    told($runner->{client}, "accounts $runner->{named}");
    $runner->{charged} = $each * $runner->{accounts};
    lookups($runner->{client}, n => $runner->{charged});
    return if rest($runner, $PATIENCE);
    $runner->{late} = 1;
    $late++;
}

# the first of its accounts have had as many lookups as is their share

sub check_some {
    my ($runner) = @_;

    my $accounts = $runner->{accounts};
    my $some = $accounts < 200 ? $accounts : 200;
    my $n = 0;
    for (0 .. $some - 1) {
        $n += int($runner->{charged} / $accounts)
              + ($_ < $runner->{charged} % $accounts ? 1 : 0);
    }
    check_counted($runner->{behind}, $runner->{row}, $runner->{server}, $n,
                  names($runner->{named}, $some));
}

sub finish {
    my (@runners) = @_;

    check_some($_) for grep { !$_->{late} } @runners;
    for my $runner (@runners) {
        hang_up($runner->{client});
        stop($runner->{server}{pid});
        my $log = complaints($runner->{server});
        die "bench: $runner->{row}{id}: the error log says: $log\n"
            if $log ne '';
    }
}

# one line for each runner, ratios to proxy_pass and to the smallest

sub print_sizes {
    my ($what, $all, $sizes) = @_;

    my @table = ([$what, 'size', 'worker us', 'to proxy_pass', 'Redis us',
                  'to the smallest']);
    for my $store (@STORES) {
        for my $size (@$sizes) {
            my $id = "${store}_$size";
            if (!$all->{$id}) {
                push @table, [row_of($store)->{name}, number($size),
                    "not told to Redis in $PATIENCE s"];
                next;
            }
            my ($redis, $least) = map { median(of($all, $_, 'redis')) }
                                  $id, "${store}_$sizes->[0]";
            push @table, [row_of($store)->{name}, number($size),
                sprintf('%.1f', median(of($all, $id, 'worker'))),
                spread('%.2f', ratios($all, $id, 'worker')),
                $store eq 'embedded' ? ('', '')
                : (sprintf('%.1f', $redis), sprintf('%.2f', $redis / $least))];
        }
    }
    table(@table);
    print "\n";
}

# --- the sizes

# $make->(store, size) is a runner; $again->(runner, size, round) before rounds

sub grow {
    my ($what, $sizes, $make, $again) = @_;

    my (%all, %runner);
    for my $size (@$sizes) {
        $runner{"${_}_$size"} = $make->($_, $size) for @STORES;
    }
    for my $round (0 .. $rounds - 1) {
        for my $size ($again ? @$sizes : ()) {
            $again->($runner{"${_}_$size"}, $size, $round) for @STORES;
        }
        turns(\%all, $round,
              [$bare, grep { !$_->{late} } values %runner], %load);
    }
    finish(values %runner);
    print_sizes($what, \%all, $sizes);
}

sub accounts {
    my %redis;

    grow('accounts', \@ACCOUNTS, sub {
        my ($store, $n) = @_;

        my $to = $redis{$n} //= { %$behind,
                                  redis => start_redis(1, "redis-$n") };
        return sized($store, $n, behind => $to, accounts => $n, each => 1,
                     zone => $n > 100_000 ? '3g' : '512m');
    });
    stop(map { $_->{redis}{pid} } values %redis);
}

sub patients {
    grow('patients an account', \@PATIENTS, sub {
        my ($store, $n) = @_;

        return sized($store, $n, accounts => 300, each => $n,
                     limits => \@WIDE);
    }, sub {
        my ($runner, $n, $round) = @_;

        fill($runner, "r$round", $n) if $n < 100 && $round;
    });
}

sub limits {
    grow('limits', \@NLIMITS, sub {
        my ($store, $n) = @_;

        return sized($store, $n, accounts => 300, each => 2,
                     limits => [@LIMITS[0 .. $n - 1]]);
    }, sub {
        my ($runner, $n, $round) = @_;

        fill($runner, "r$round", 2) if $round;
    });
}

# --- workers, and the lock that they share

sub lock_of {
    my ($runner) = @_;

    my @pids = @{ $runner->{server}{workers_pids} };
    my $data = "$tmp/perf.data";
    my $perf = start(1, "$tmp/perf.out", 'perf', 'record', '-q', '-F', 2000,
                     '-e', 'cpu-clock', '-o', $data, '-p', join ',', @pids);
    wait_for(sub { -s $data }) or die 'bench: perf: ' . slurp("$tmp/perf.out");
    sleep 0.3;
    my @before = unpack 'QQ', slurp("$tmp/waits-$runner->{row}{id}");
    my $was = lookups($runner->{client}, n => $locked);
    $runner->{charged} += $locked;
    my @after = unpack 'QQ', slurp("$tmp/waits-$runner->{row}{id}");
    kill 'INT', $perf;
    stop($perf);

    my $report = `perf report -i $data --stdio -n --sort symbol 2>/dev/null`;
    my ($all, $spinning) = (0, 0);
    while ($report =~ /^\s+[\d.]+%\s+(\d+)\s+\[.\]\s+(\S+)|
                       ^\s+[\d.]+%\s+(\d+)\s+\[k\]/mgx)
    {
        $all += $1 // $3;
        $spinning += $1 if defined $2 && $2 eq 'ngx_shmtx_lock';
    }
    $all or die "bench: perf has no samples: $report\n";
    return (100 * $spinning / $all,
            100 * ($after[1] - $before[1]) / 1000 / $was->{us} / @pids,
            1000 * ($after[0] - $before[0]) / $locked);
}

sub workers {
    my (%all, %runner, %lock);
    for my $n (@WORKERS) {
        for my $store (@STORES) {
            my $id = "${store}_$n";
            my $runner = $runner{$id} = sized($store, $n, accounts => 1000,
                each => 2, limits => \@WIDE, workers => $n, cores => '0,1',
                under => ['env', "LD_PRELOAD=$ENV{BENCH_BUILD}/waits.so",
                          "BENCH_WAITS=$tmp/waits-$id"]);
            $runner->{free} = 1;
        }
    }
    turns(\%all, $_, [$bare, values %runner], %load) for 0 .. $rounds - 1;
    $lock{$_} = [lock_of($runner{$_})] for sort keys %runner;
    finish(values %runner);

    my @table = (['workers', '', 'requests/s', 'worker us', '% spinning',
                  '% asleep', 'sleeps in 1,000']);
    for my $store (@STORES) {
        for my $n (@WORKERS) {
            my $id = "${store}_$n";
            push @table, [row_of($store)->{name}, $n,
                number(median(of(\%all, $id, 'rate'))),
                sprintf('%.1f', median(of(\%all, $id, 'worker'))),
                map { sprintf '%.2f', $_ } @{ $lock{$id} }];
        }
    }
    table(@table);
}

# ---

print "Medians of $rounds rounds of $load{turns} turns of $load{n} lookups.\n\n";
accounts() if $only{accounts};
patients() if $only{patients};
limits() if $only{limits};
workers() if $only{workers};
exit($late ? 1 : 0);
