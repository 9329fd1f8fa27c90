package LabPool;

# Tasks side by side, each in a process of its own.

use strict;
use warnings;

use JSON::PP;
use POSIX ();

use Guard;

my %running;                       # pid => number of its task

# what the tasks return, in their order; each is called with its number
sub all {
    my ($folder, $most, @tasks) = @_;

    my @left = 0 .. $#tasks;
    while (@left || %running) {
        if (@left && keys %running < $most) {
            my $n = shift @left;
            my $pid = fork // die "fork: $!\n";
            if ($pid == 0) {
                %running = ();
                my $found = eval { [$tasks[$n]->($n)] };
                print STDERR $@ if $@;
                Guard::spew("$folder/task-$n", encode_json($found))
                    if $found;
                exit($found ? 0 : 1);
            }
            $running{$pid} = $n;
            next;
        }
        my $pid = waitpid -1, 0;
        my $n = delete $running{$pid};
        next unless defined $n;
        if ($? != 0) {
            stop();
            die "lab: a task failed\n";
        }
    }
    return map {
        my $found = decode_json(Guard::slurp("$folder/task-$_"));
        unlink "$folder/task-$_";
        $found->[0];
    } 0 .. $#tasks;
}

# those under way, which stop what they have started
sub stop {
    my @pids = keys %running;
    kill 'TERM', @pids;
    waitpid $_, 0 for @pids;
    %running = ();
}

1;
