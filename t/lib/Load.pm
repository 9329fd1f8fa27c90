package Load;

# Clients that go on asking while something happens.
#
#     my $load = Load->start(4, sub {
#         my ($client, $i) = @_;                 # 0 .. 3; 0, 1, 2 ...
#         return ("/?patient=$i", 'X-Account' => "dupont-$client");
#     });
#     $load->answered                            # how many by now
#     my @answers = $load->stop;                 # each has had its last one
#
# An answer: { client, at, took, status, source, count }, the latter two from
# X-Source and X-Count; status is 0 where there was no end of it.

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);

our ($number, %running) = 0;
our $owner = $$;

# each client waits for $pause seconds between an answer and the next request

sub start {
    my ($class, $n, $ask, $pause) = @_;

    my $load = bless { path => "$ENV{PG_TMP}/load-$$-" . $number++,
                       pids => [] }, $class;
    for my $client (0 .. $n - 1) {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            eval { run($load->{path}, $client, $ask, $pause // 0.005) };
            print STDERR "load: $@" if $@;
            POSIX::_exit(0);
        }
        push @{ $load->{pids} }, $pid;
    }
    $running{$load} = $load;
    return $load;
}

sub run {
    my ($path, $client, $ask, $pause) = @_;

    my $parent = getppid;
    $SIG{$_} = 'DEFAULT' for qw(TERM INT);

    open my $out, '>', "$path-$client" or die "$path: $!\n";
    $out->autoflush(1);
    for (my $i = 0; !-e "$path.stop" && getppid == $parent; $i++) {
        my $at = time;
        my $answer = eval { PatientGuard::get($ask->($client, $i)) }
                     // { status => 0, headers => {} };
        print $out join(' ', $client, $at, time - $at, $answer->{status},
            map { length ? $_ : '-' }
            map { $answer->{headers}{$_} // '' } qw(x-source x-count)), "\n";
        sleep $pause;
    }
}

sub lines {
    my ($load) = @_;

    return map {
        open my $in, '<', $_ or die "$_: $!\n";
        grep { /\n\z/ } <$in>;
    } glob "$load->{path}-*";
}

sub answered { scalar lines(@_) }

# the answers of each client in their order

sub stop {
    my ($load) = @_;

    open my $stop, '>', "$load->{path}.stop" or die "$!\n";
    waitpid $_, 0 for @{ $load->{pids} };
    delete $running{$load};

    return map {
        my %answer;
        @answer{qw(client at took status source count)} = split;
        \%answer;
    } lines($load);
}

END {
    local $?;
    if ($$ == $owner) { kill 'KILL', map { @{ $_->{pids} } } values %running }
}

1;
