# At limit minus one, 200 lookups at once over two nodes with four workers
# each: one is admitted, each time.  TRIALS of each kind.

use strict;
use warnings;
use Endure;

my $trials = scaled(TRIALS => 1000, 40);

# the same at one node without Redis

for my $store ('redis', 'embedded') {
    my $redis = $store eq 'redis' ? start_redis('redis') : undef;

    for my $signal ('patients', 'lookups') {
        my @nodes = map {
            start_nginx("$store-$signal-$_", http =>
                policy($redis, "zone 32m; limit $signal=10/1h deny;"))
        } 1 .. ($redis ? 2 : 1);

        my ($text, $is) = finish(start_client('race', '-t', $trials,
            '-f', "$signal-$$", '-s', join(' ', map { workers($_) } @nodes),
            map { $_->{port} } @nodes));
        my @odd = grep { /^account/ } split /\n/, $text;

        check("$store: $trials x 200 lookups at $signal=10 minus one,"
              . ' admitted', $is->{admitted}, '==', $trials);
        check("$store: trials of $signal that did not end 1 : 199",
              $is->{odd}, '==', 0, @odd);
        check("$store: connections lost", $is->{lost}, '==', 0);

        if ($redis) {
            my $counted = counted($redis, "$signal/3600");
            check("$store: accounts with another count than 10",
                  scalar(grep { $_ != 10 } values %$counted), '==', 0);
            check("$store: accounts", scalar(keys %$counted), '==', $trials);
            check("$store: the fewest that one node admitted",
                  (sort { $a <=> $b } @$is{qw(won_by_1 won_by_2)})[0], '>=',
                  int($trials / 100));
            told("$store: answered by redis, local, cache",
                 join ' ', @$is{qw(redis local cache)});
            redis($redis, 'FLUSHALL');
        }

        my @walks = map { walk($_, 32 << 20) } @nodes;
        check("$store: zones whose structure is not whole",
              scalar(grep { !$_->{whole} } @walks), '==', 0,
              map { $_->{said} } @walks);
        check("$store: complaints in the log",
              scalar(map { complaints($_) } @nodes), '==', 0,
              map { complaints($_) } @nodes);
        stop_nginx($_) or die "nginx does not stop\n" for @nodes;
    }
}
