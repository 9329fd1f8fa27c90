# Instructions of a worker, in user space, for a lookup: counted by callgrind,
# so that they are the same on each machine and at each hour, to one per cent.
#
# The worker runs under valgrind; it is warmed up by as many lookups as its
# accounts have had afterwards, its counters are set to zero while it waits,
# and read when it waits again.  The kernel's instructions are not in it, and
# where something waits for a timer (what "local" tells Redis) their number
# goes with the time that valgrind takes.
#
# KEEP=dir keeps what callgrind wrote of each row of the guard and prints who
# had most, KEPT=25 of them.  GUARD=1 compares few rows with instructions.txt,
# in less than a minute, and fails if one has more than 5 per cent above that;
# GUARD=write writes them there.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use File::Copy qw(copy);

use Figures;
use Rows;
use Servers;

my $guard = $ENV{GUARD} // '';
my $keep  = $ENV{KEEP};
my $kept  = $ENV{KEPT} || 25;
my $n     = $ENV{LOOKUPS} || ($ENV{SHORT} || $guard ? 500 : 1000);
my $file  = "$FindBin::RealBin/instructions.txt";

my $ACCOUNTS = 100;
my $ABOVE    = 1.05;

# the row, how many are in flight, and over bare with as many: the most that it
# should have, or what it was seen to have (~)
my @RUNS = (
    ['bare', 1],
    ['limit_req', 1, '~', 900],
    ['embedded', 1, '<=', 2000],
    ['local', 1, '<=', 2500],
    ['strict', 1, '<=', 4500],
    ['known', 1],
    ['robot', 1],
    ['robot_told', 1],
    ['lua_count', 1, '~', 4500],
    ['lua_dict', 1],
    ['lua_evalsha', 1, '~', 48000],
    ['bare', 16],
    ['embedded', 16],
    ['local', 16],
    ['strict', 16],
    ['known', 16],
    ['lua_evalsha', 16],
);

my @GUARDED = (['bare', 1], ['embedded', 1], ['local', 1], ['strict', 1]);

sub count {
    my ($behind, $row, $flying) = @_;

    my $id = "$row->{id}-$flying";
    my $server = start_row($behind, $row, name => $id, cores => 0,
        under => ['valgrind', '-q', '--tool=callgrind', '--trace-children=yes',
                  "--callgrind-out-file=$tmp/$id.%p",
                  "--vgdb-prefix=$tmp/vgdb"]);
    my $worker = worker($server);
    my $accounts = $row->{robot} ? 1 : $ACCOUNTS;
    my $client = start_client(1, $server->{port}, '-a', $accounts,
                              '-c', $flying);
    told($client, "accounts $id-");
    my $charged = warm_up($client, $row, $n);

    monitor($worker, 'zero');
    my $was = lookups($client, n => $n, known => $row->{known},
                      status => $row->{robot} ? 403 : 200);
    monitor($worker, 'dump');

    my $dump = "$tmp/$id.$worker.1";
    wait_for(sub { slurp($dump) =~ /^totals: \d+/m });
    my ($total) = slurp($dump) =~ /^totals: (\d+)/m
        or die "bench: callgrind says nothing\n";

    check_counted($behind, $row, $server, $charged + ($row->{robot} ? 0 : $n),
                  names("$id-", $accounts));
    hang_up($client);
    stop($server->{pid});
    my $log = complaints($server);
    die "bench: $id: the error log says: $log\n"
        if $log ne '' && $row->{id} ne 'robot_told';
    return { total => $total / $n, dump => $dump };
}

# while it waits for its next event; what is due 50 ms after a lookup is over

sub monitor {
    my ($worker, $command) = @_;

    sleep 0.3;
    my $said = `vgdb --vgdb-prefix=$tmp/vgdb --pid=$worker $command 2>&1`;
    die "bench: vgdb: $said" if $?;
}

# --- who had most

# instructions a lookup, of each function; without those that were waiting when
# the counters were set to zero, main() and the like: they are told to have all

sub functions {
    my ($dump, $inclusive) = @_;

    my (%ir, $all);
    for (`callgrind_annotate --auto=no --threshold=100 \\
          --inclusive=$inclusive $dump`)
    {
        my ($ir, $where) = m{^\s*([\d,]+)\s+\(.*?\)\s+(\S.*)$} or next;
        $ir =~ tr/,//d;
        $all //= $ir;
        next if $ir >= 0.999 * $all;

        # what was inlined from elsewhere is told once for each file
        $where =~ s{^\S*?:(?!:)}{};
        $where =~ s{\[\S*/}{[};
        $where =~ s{ \[.*}{} unless $where =~ /^0x/;
        $ir{$where} = $inclusive eq 'yes' ? max($ir{$where} // 0, $ir / $n)
                    : ($ir{$where} // 0) + $ir / $n;
    }
    return %ir;
}

sub tell_most {
    my ($id, $dump, $bare) = @_;

    my %own = functions($dump, 'no');
    my %bare = functions($bare, 'no');
    for (['with what they call', { functions($dump, 'yes') }],
         ['by themselves', \%own],
         ['by themselves, over proxy_pass',
          { map { $_ => $own{$_} - ($bare{$_} // 0) } keys %own }])
    {
        my ($what, $ir) = @$_;
        my @most = sort { $ir->{$b} <=> $ir->{$a} } keys %$ir;
        printf "\n%s, %s, instructions a lookup\n", $id, $what;
        printf "%10s  %s\n", number($ir->{$_}), $_
            for grep { defined } @most[0 .. $kept - 1];
    }
}

# --- the guard of these figures

sub compare {
    my (%over) = @_;

    my %written = slurp($file) =~ /^(\w+)\s+(\d+)$/mg;
    my $failed = 0;
    my @table = (['over proxy_pass', 'now', 'written', '']);
    for my $id (grep { exists $over{$_} } map { $_->[0] } @GUARDED) {
        my $was = $written{$id} // die "bench: $file has no $id\n";
        my $ratio = $over{$id} / $was;
        push @table, [$id, number($over{$id}), number($was),
            $ratio > $ABOVE ? sprintf '%+.1f %%: FAIL', 100 * ($ratio - 1)
            : $ratio < 1 / $ABOVE ? 'less: write it, GUARD=write' : 'ok'];
        $failed++ if $ratio > $ABOVE;
    }
    table(@table);
    return $failed;
}

sub write_down {
    my (%over) = @_;

    my $head = join '', slurp($file) =~ /^(#.*\n)/mg;
    spew($file, $head . join '', map { sprintf "%-10s %.0f\n", $_, $over{$_} }
                grep { exists $over{$_} } map { $_->[0] } @GUARDED);
}

# ---

my $behind = start_behind(1);
my (%bare, %over, %dump);
my @table = (['instructions of a worker for a lookup', 'in flight', 'all',
              'over proxy_pass', 'mark']);

mkdir $keep if $keep;

for my $run ($guard ? @GUARDED : @RUNS) {
    my ($id, $flying, $op, $bound) = @$run;
    my $row = row_of($id);
    next unless asked_for($id, 'bare');
    my $was = count($behind, $row, $flying);

    $bare{$flying} = $was->{total} if $id eq 'bare';
    my $over = $was->{total} - $bare{$flying};
    $over{$id} //= $over if $id ne 'bare';
    $dump{$flying}{$id} = $was->{dump};

    push @table, [$row->{name}, $flying, number($was->{total}),
        $id eq 'bare' ? '' : number($over),
        !$op ? '' : $op eq '~' ? "about " . number($bound)
        : mark($over, $op, $bound, \&number)];
}

if ($guard eq 'write') {
    write_down(%over);
} elsif ($guard) {
    exit(compare(%over) ? 1 : 0);
}

table(@table);
print "\n", missed() unless $guard;

for my $run ($keep ? @RUNS : ()) {
    my ($id, $flying) = @$run;
    next if $id eq 'bare' || !$dump{$flying}{$id};
    copy($dump{$flying}{$id}, "$keep/$id-$flying.callgrind")
        or die "bench: $keep: $!\n";
    tell_most("$id-$flying", $dump{$flying}{$id}, $dump{$flying}{bare});
}
