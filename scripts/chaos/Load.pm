package Load;

# The accounts that look patients up, each by a keepalive connection of its
# own, one lookup at a time: so what it must be told is known exactly.
#
#     my $load = Load->new(dir => ..., mode => ..., timeout => seconds);
#     $load->ask($n, $rate, \&right)    n lookups, answered when it returns
#     $load->{wrong}                    what was not right, a line each
#
# An account knows
#     seen      patients whose record it got, or would get: Redis, or the
#               node, has counted them
#     maybe     patients that Redis may have counted though it told nobody
#     counted   lookups that were admitted and counted (records, exactly)
#     redis     those of them which Redis said it had counted
#     untold    lookups that were answered without Redis, be it that it had
#               counted them
#     alias     as nginx says it
# and, after Redis lost what it knew, since then: fresh, lost.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Socket::UNIX;
use List::Util qw(max min);
use Time::HiRes qw(time);

our $LIMIT = 20;           # patients in an hour
our $HANG = 5;             # seconds: whoever waits so long waits for ever

# what an account does: how many patients it has, how many of its lookups are
# of new ones, and how many it looks up while all is well
our %KINDS = (
    calm   => { patients => 12, new => .3, before => 12 },
    greedy => { patients => 60, new => .9, before => 15 },
    over   => { patients => 60, new => .9, before => 34 },
);

our $MOST = max(map { $_->{patients} } values %KINDS);

sub new {
    my ($class, %self) = @_;

    my $self = bless {
        wrong => [], took => [], waited => 0, stall => 0,
        accounts => [], lines => [], %self
    }, $class;

    # 'both' has a limit on lookups as well, 'set' has none
    my @kinds = ((('calm') x 6), (('greedy') x 6), (('over') x 4));
    for my $i (0 .. $#kinds) {
        my $account = $self->account($kinds[$i], $i,
                                     $i % 3 == 2 ? 'set' : 'both');
        push @{ $self->{lines} }, { account => $account };
    }
    return $self;
}

sub account {
    my ($self, $kind, $i, $policy) = @_;

    my $account = {
        kind => $kind, name => "$kind-$i", policy => $policy,
        seen => {}, maybe => {}, counted => 0, redis => 0, untold => 0,
        next => 1,
    };
    push @{ $self->{accounts} }, $account;
    return $account;
}

# the patients of an account's next lookup

sub choose {
    my ($self, $account) = @_;

    my $kind = $KINDS{ $account->{kind} };
    my $one = sub {
        my $n = rand() < $kind->{new} && $account->{next} <= $kind->{patients}
            ? $account->{next}++ : 1 + int rand($account->{next} - 1 || 1);
        return "patient-$n";
    };
    my %named = map { $_ => 1 } map { $one->() } 1 .. (rand() < .06 ? 3 : 1);
    return sort keys %named;
}


# --- asking

# $right: what is right for an account now: a list of words, see judge().
# $lines: which of the connections, all of them unless given.  At most $rate
# a second, evenly; 0: as fast as it goes.

sub ask {
    my ($self, $n, $rate, $right, $lines) = @_;

    $lines //= $self->{lines};
    my $pause = $rate ? @$lines / $rate : 0;
    my $start = time;
    delete $self->{noise};

    for my $i (0 .. $#$lines) {
        my $line = $lines->[$i];
        $line->{at} = $start + $pause * $i / @$lines;
        $line->{left} = int($n / @$lines) + ($i < $n % @$lines);
    }

    for (;;) {
        my $now = time;
        my @free = grep { $_->{left} && !$_->{sent} } @$lines;
        $self->send($_, $right) for grep { $_->{at} <= $now } @free;

        my @waiting = grep { $_->{sent} } @$lines;
        my @next = map { $_->{at} } grep { !$_->{sent} } @free;
        return if !@waiting && !@next;
        $self->receive(min($now + 1, @next), $pause, @waiting);
    }
}

# a lookup by a new account, of which nothing is known: the line's next
# answer comes from Redis when it is back

sub probe {
    my ($self, $line, $policy, $right) = @_;

    my $mine = $line->{account};
    my $account = $self->account('probe', scalar @{ $self->{accounts} },
                                 $policy);
    $line->{account} = $account;
    $line->{named} = ['patient-1'];
    delete $self->{noise};
    $self->send($line, $right);
    $self->receive(time + 1, 0, $line) while $line->{sent};
    $line->{account} = $mine;
    return $account->{told} // '';
}

sub connect {
    my ($self, $line) = @_;

    $line->{socket} = IO::Socket::UNIX->new(Peer => "$self->{dir}/nginx.sock")
        or die "nginx: $!\n";
    $line->{socket}->blocking(0);
    $line->{used} = 0;
}

sub hang_up {
    my ($self) = @_;

    close $_->{socket} for grep { $_->{socket} } @{ $self->{lines} };
    delete $_->{socket} for @{ $self->{lines} };
}

sub send {
    my ($self, $line, $right) = @_;

    my $account = $line->{account};
    my $named = delete $line->{named} // [$self->choose($account)];

    # a new one now and then, which another worker may get
    if ($line->{socket} && $line->{used} >= 40 && !$self->{keep}) {
        close delete $line->{socket};
    }
    $self->connect($line) unless $line->{socket};

    my $text = "GET /$account->{policy}?patient=" . join(',', @$named)
        . " HTTP/1.1\r\nHost: chaos\r\nX-Account: $account->{name}\r\n\r\n";
    my $n = syswrite $line->{socket}, $text;
    die "nginx does not read: $!\n" unless ($n // 0) == length $text;

    $line->{used}++;
    $line->{left}-- if $line->{left};
    @$line{qw(asked right text noise)} =
        ($named, $right, '', $self->noise);
    $line->{sent} = time;
}

# How long our processes were kept from running though they could, so far:
# what a busy machine adds.  The time of an answer is forgiven what it cost
# the workers and us; "stall" is the worst of all at once, the fake Redis and
# the real one included.

sub noise {
    my ($self) = @_;

    my ($asked, $all) = (0, 0);
    for my $each (@{ $self->{schedules} }) {
        my ($file, $asks) = @$each;
        my $text = '';
        sysseek $file, 0, 0;
        sysread $file, $text, 100;
        my $wait = ((split ' ', $text)[1] // 0) / 1e9;
        $all += $wait;
        $asked += $wait if $asks;
    }

    my $more = $all - ($self->{noise} // $all);
    $self->{stall} = $more if $more > $self->{stall};
    $self->{noise} = $all;
    return $asked;
}

sub watch {
    my ($self, $workers, @others) = @_;

    $self->{schedules} = [];
    my %asks = map { $_ => 1 } $$, @$workers;
    for my $pid (keys %asks, @others) {
        open my $file, '<', "/proc/$pid/schedstat" or next;
        push @{ $self->{schedules} }, [$file, $asks{$pid}];
    }
    delete $self->{noise};
}

sub receive {
    my ($self, $until, $pause, @lines) = @_;

    my $read = '';
    vec($read, fileno $_->{socket}, 1) = 1 for @lines;
    my $before = time;
    select $read, undef, undef, max(0, min($until - $before, 0.02));
    my $now = time;
    $self->noise;
    $self->{stall} = max($self->{stall}, $now - $before - 0.02);

    for my $line (@lines) {
        if (!vec $read, fileno $line->{socket}, 1) {
            $self->answer($line, $now, 0, 'no answer')
                if $now - $line->{sent} > $HANG;
            next;
        }
        my $n = sysread $line->{socket}, $line->{text}, 65536,
                        length $line->{text};
        if (!$n) {
            next if !defined $n && ($! == EAGAIN || $! == EINTR);
            $self->answer($line, $now, 0, 'hung up');
            next;
        }
        my ($head, $length) = $line->{text}
            =~ /\A(.*?\r\nContent-Length: (\d+)\r\n.*?\r\n)\r\n/s or next;
        my $rest = length($line->{text}) - length($head) - 2 - $length;
        next if $rest < 0;
        $self->answer($line, $now, 1, $rest ? 'more than an answer' : '',
                      $head);
        $line->{at} = max($line->{at} + $pause, $now) if defined $line->{at};
    }
}

sub answer {
    my ($self, $line, $now, $whole, $trouble, $head) = @_;

    my $account = $line->{account};
    my $took = $now - $line->{sent};
    my $noise = $self->noise - $line->{noise};

    delete $line->{sent};
    push @{ $self->{took} }, $took if $self->{measure};
    $self->{waited}++ if $self->{measure} && $took > $self->{timeout} / 2;
    if ($self->{measure} && $took - $noise > $self->{timeout} + 0.025) {
        push @{ $self->{late} }, $took - $noise;
    }

    if ($trouble || !$whole) {
        close delete $line->{socket};
        return $self->wrong($account, "$trouble after "
                            . int($took * 1000) . " ms");
    }

    my ($status) = $head =~ m{^HTTP/1.1 (\d+)};
    my %header = $head =~ /^X-(\w+): (\S*)\r$/mg;
    my $source = $header{Source} // '-';
    $line->{worker} = $header{Worker};
    $account->{alias} //= $header{Account};
    return $self->wrong($account, 'has another alias')
        if $account->{alias} ne ($header{Account} // '');
    $account->{told} = "$status $source";
    $self->{told}{"$status $source"}++ if $self->{measure};
    if (($head =~ /^Connection: close/m)) {
        close delete $line->{socket};
    }

    my $wrong = $self->judge($account, $status, $source, $line->{asked},
                             $line->{right}, \%header);
    learn($account, $status, $source, $line->{asked});
    $wrong ||= $self->number($account, $source, \%header);
    $self->{right}++ if !$wrong && $self->{measure};
    $self->wrong($account, $wrong) if $wrong;
}

sub wrong {
    my ($self, $account, $what) = @_;

    push @{ $self->{wrong} }, "$account->{name}: $what"
        if @{ $self->{wrong} } < 8;
    return;
}


# --- what an account must be told

# The words that "right" is made of:
#   redis    what Redis counted decides; a refusal that the node knows of
#            may be told from memory
#   read     Redis may refuse
#   local    what this node counted decides
#   refuse   503, though who is known to be over the limit is told so
#   free     200 without a count; likewise

sub judge {
    my ($self, $account, $status, $source, $named, $right, $header) = @_;

    my %right = map { $_ => 1 }
        split ' ', ref $right ? $right->($account) : $right;
    my ($seen, $maybe) = @$account{qw(seen maybe)};

    my @new = grep { !$seen->{$_} } @$named;
    my @newest = grep { !$maybe->{$_} } @new;
    my $fits = !@new || keys(%$seen) + @new <= $LIMIT;
    my %all = (%$seen, %$maybe, map { $_ => 1 } @$named);
    my $full = @new && keys %all > $LIMIT;

    # Redis lost what it knew: it counts anew, or the node's memory holds
    if (my $fresh = $self->{forgetful} ? $account->{fresh} : undef) {
        my @new = grep { !$fresh->{$_} } @$named;
        $fits ||= !$account->{refused} && keys(%$fresh) + @new <= $LIMIT;
    }

    # without its limit nobody is refused
    my $by = $header->{Limit} // '';

    my $told = "$status $source";
    my $may = join '|', map {
        { redis  => '200 redis|403 redis|403 cache|200 cache',
          local  => '200 local|403 local|403 cache',
          read   => '403 redis',
          refuse => '503 none|403 cache',
          free   => '200 none|403 cache' }->{$_}
    } keys %right;

    # known patients need no Redis, unless lookups are counted
    $may .= '|200 cache' if $account->{policy} eq 'set';
    $may =~ s/200 cache//g if $account->{policy} ne 'set';

    return "told $told, right is $may"
        unless grep { $_ eq $told } split /\|/, $may;

    return "refused by $by, not by patients/1h"
        if $status == 403 && $by ne 'patients/1h';
    return sprintf 'refused with %d of %d patients', scalar keys %$seen,
                   $LIMIT if $status == 403 && !$full;
    return "a stranger's record from the cache"
        if $told eq '200 cache' && @newest;
    return sprintf 'admitted (%s) with %d of %d patients', $source,
                   scalar keys %$seen, $LIMIT
        if $status == 200 && $source ne 'none' && !$fits
           && !($source eq 'redis' && !@newest);

    return '';
}

# the number of patients that nginx tells is the account's own

sub number {
    my ($self, $account, $source, $header) = @_;

    return if $source eq 'none' || ($header->{Limit} // '') ne 'patients/1h';

    my ($seen, $maybe, $fresh) = @$account{qw(seen maybe fresh)};
    my $n = $header->{Count};
    my %all = (%$seen, %$maybe);

    # until what the node has counted is known to Redis, it has less
    my $least = $source eq 'local' ? keys %$seen
              : $fresh || !$self->{merged} ? 0 : keys %$seen;

    # A node by itself may count a patient twice until it hears of Redis again:
    # one whom Redis had told of without a name, and the same by its name.  While
    # Redis is there no verdict falls by that: a node asks before it refuses.  In
    # an outage it may refuse one patient too early.
    return "told $n of at most " . keys %all
        if $n > keys %all && $source eq 'redis';
    return "told $n of at least $least" if $n < $least;
    return;
}

# what follows from an answer, be it right or not

sub learn {
    my ($account, $status, $source, $named) = @_;

    $account->{refused} = 1 if $status == 403;
    $account->{untold} += @$named if $source =~ /none|local/;

    if ($status == 200 && $source =~ /redis|local/) {
        if ($account->{fresh}) {

            # the node has nothing to add of whom Redis knew when it was lost
            $account->{fresh}{$_} = 1
                for grep { $source eq 'redis' || !$account->{seen}{$_} }
                    @$named;
            $account->{since} += @$named;
        }
        $account->{seen}{$_} = 1 for @$named;
        $account->{counted} += @$named;
        $account->{redis} += @$named if $source eq 'redis';

    } elsif ($source eq 'none') {
        $account->{maybe}{$_} = 1 for @$named;
    }
}

# Redis has lost what it knew of an account

sub lost {
    my ($self, $account) = @_;

    $account->{fresh} = {};
    $account->{since} = 0;
}

1;
