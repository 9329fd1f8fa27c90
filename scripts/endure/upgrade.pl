# UPGRADES of the binary under load, every other one rolled back; and every
# way to stop while lookups wait for Redis.

use strict;
use warnings;
use Endure;

use IO::Select;
use IO::Socket::INET;
use List::Util qw(max sum0);

my $upgrades = scaled(UPGRADES => 20, 2);

upgrades();
stops($_) for { name => '1 worker', workers => 1 },
              { name => 'auto workers', workers => 'auto' },
              { name => 'no master', main => 'master_process off;',
                shared => 1 };

sub pid_of { slurp("$_[0]{dir}/nginx.pid$_[1]") =~ /(\d+)/ ? $1 : 0 }

sub upgrades {
    my $redis = start_redis('redis');
    my $nginx = start_nginx('nginx', daemon => 'on', http => policy($redis,
        'zone 16m; limit lookups=1000000/1h deny; limit patients=4000/1h deny;'
    ));
    my $load = start_client('load', '-c', 32, '-w', 5, '-a', 1000,
                            $nginx->{port});
    my (@wrong, $rolled);

    my $step = sub {
        my ($what, $condition) = @_;
        wait_for($condition) or push @wrong, $what;
    };

    for my $n (1 .. $upgrades) {
        my $old = $nginx->{pid};
        my @old = workers($nginx);
        sleep 0.3;

        kill 'USR2', $old;
        $step->("$n: no new master", sub {
            my $new = pid_of($nginx, '');
            return $new && $new != $old && workers({ pid => $new }) == 4;
        });
        my $new = pid_of($nginx, '');
        my @new = workers({ pid => $new });

        kill 'WINCH', $old;
        $step->("$n: old workers stay",
                sub { !grep { alive($_) } @old });
        sleep 0.3;

        if ($n % 2) {
            kill 'QUIT', $old;
            $step->("$n: the old master stays", sub { !alive($old) });
            $nginx->{pid} = $new;

        } else {
            kill 'HUP', $old;
            $step->("$n: the old master has no workers",
                    sub { workers({ pid => $old }) == 4 });
            kill 'QUIT', $new;
            $step->("$n: the new master stays",
                    sub { !grep { alive($_) } $new, @new });
            $step->("$n: not the old pid",
                    sub { pid_of($nginx, '') == $old });
            $rolled++;
        }
    }

    sleep 0.3;
    my ($text, $is, $said) = finish($load, 'TERM');
    my $counted = sum0(values %{ counted($redis, 'lookups/3600') });

    told('upgrades, and of them rolled back',
         "$upgrades " . ($rolled // 0));
    told('requests', $is->{answered});
    check('steps that were not done in time', scalar(@wrong), '==', 0,
          @wrong);
    check('failed requests', $is->{failed} + $is->{hung}, '==', 0,
          split /\n/, $said);
    check('answers that were not 200', $is->{answered} - $is->{s200}, '==',
          0, $text);
    check('lookups counted, but not answered, or the reverse',
          abs($counted - $is->{answered}), '==', 0);
    check('complaints in the log', scalar(complaints($nginx)), '==', 0,
          complaints($nginx));
    check('it stops when told to', stop_nginx($nginx) ? 1 : 0, '==', 1);
    stop_redis($redis);
}

# requests, each on a connection of its own

sub asking {
    my ($nginx, $n) = @_;

    return map {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $nginx->{port}) or die "connect: $!\n";
        print $socket "GET /?patient=$_ HTTP/1.1\r\nHost: localhost\r\n"
            . "X-Account: a$_\r\nConnection: close\r\n\r\n";
        $socket->flush;
        $socket;
    } 1 .. $n;
}

sub statuses {
    return map {
        my ($text, $select) = ('', IO::Select->new($_));
        while ($select->can_read(10)) {
            sysread($_, $text, 4096, length $text) or last;
        }
        $text =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
    } @_;
}

# told to stop while lookups wait, and Redis answers a little later

sub stops {
    my ($is) = @_;

    for my $signal (qw(TERM INT QUIT)) {
        my @wrong;
        my $what = "$is->{name}, $signal";
        my $name = $what =~ s/\W+/-/gr;
        my $redis = start_redis("redis-$name");
        my $nginx = start_nginx($name, %$is, http => policy($redis,
            'redis_timeout 30s; limit lookups=1000000/1h deny;'));

        # once before, so that there is a connection; 20 before the signal
        my @before = statuses(asking($nginx, 20));
        kill 'STOP', $redis->{pid};
        my @waiting = asking($nginx, 20);
        wait_for(sub { status($nginx)->{active} >= 20 });
        sleep 0.1;

        my @all = ($nginx->{started}, workers($nginx));
        kill $signal, $nginx->{started};
        my $graceful = $signal eq 'QUIT' && !$is->{main};
        if ($graceful) {
            sleep 0.3;
            alive($nginx->{started}) or push @wrong, 'it did not wait';
        } else {
            wait_for(sub { !alive($nginx->{started}) }, 3)
                or push @wrong, 'it waited';
        }
        kill 'CONT', $redis->{pid};

        my $ok = grep { $_ == 200 } statuses(@waiting);
        waitpid $nginx->{started}, 0;
        my $status = $?;

        push @wrong, "$ok of 20 that waited were answered"
            if $ok != ($graceful ? 20 : 0);
        push @wrong, "exit status $status" if $status;

        # what was sent is counted, whoever waits for it
        wait_for(sub { sent($redis) >= 40 }, 2);
        my $counted = sum0(values %{ counted($redis, 'lookups/3600') });
        push @wrong, "$counted of 40 were counted" if $counted != 40;
        push @wrong, complaints($nginx);
        wait_for(sub { !grep { alive($_) } @all }, 2)
            or push @wrong, 'workers are left';

        check("$what while 20 wait for Redis: what was wrong",
              scalar(@wrong), '==', 0, @wrong);
        stop_redis($redis);
    }
}
