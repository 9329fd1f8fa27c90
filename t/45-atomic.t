# Check and charge are one step: however many ask at once, over however many
# workers, what is admitted is what was left, exactly.

use lib 't/lib';
use PatientGuard;

use IO::Select;
use List::Util qw(uniq);

workers(2);
log_level('info');          # 40,000 requests, told in detail, take minutes

# connections kept alive, half of them at each worker: it accepts what comes
# while the other one is stopped

our @sockets;

sub connected {
    my ($one, $other) = workers_of(nginx_pid());
    @sockets = ();

    for my $stopped ($one, $other) {
        stop($stopped);
        for (1 .. 100) {
            push @sockets, my $socket = PatientGuard::client();
            syswrite $socket,
                "GET /started HTTP/1.1\r\nHost: localhost\r\n\r\n";
            one_answer($socket);
        }
        kill 'CONT', $stopped;
    }
}

# One request on each connection, all written while the workers are stopped:
# when they go on, both find theirs at once.  Returns [status, count, worker].

sub at_once {
    my ($uri, $account) = @_;

    my @workers = workers_of(nginx_pid());
    stop(@workers);

    for my $i (0 .. $#sockets) {
        syswrite $sockets[$i], 'GET ' . $uri->($i) . " HTTP/1.1\r\n"
            . "Host: localhost\r\nX-Account: $account\r\n\r\n";
    }

    kill 'CONT', @workers;

    return map { one_answer($_) } @sockets;
}

# it has stopped when the kernel says so, not when the signal is on its way

sub stop {
    kill 'STOP', @_;

    my $end = time + PatientGuard::patience();
    for my $pid (@_) {
        until (PatientGuard::slurp("/proc/$pid/stat") =~ /\) T/) {
            die "$pid does not stop\n" if time > $end;
            select undef, undef, undef, 0.001;
        }
    }
}

sub workers_of {
    my ($master) = @_;

    return split ' ', `ps -o pid= --ppid $master`;
}

sub one_answer {
    my ($socket) = @_;

    my $text = '';
    until ($text =~ /\r\n\r\n/ && length $text
           >= $+[0] + ($text =~ /^Content-Length: (\d+)/mi ? $1 : 0))
    {
        IO::Select->new($socket)->can_read(PatientGuard::patience())
            && sysread($socket, $text, 65536, length $text)
            or return [0, '', ''];
    }

    return [$text =~ m{^HTTP/1.1 (\d+)},
            map { $text =~ /^$_: (\d+)/mi ? $1 : '' } qw(X-Count X-Worker)];
}

# fifty accounts one after the other; what all that is not as expected was

sub fifty_times {
    my ($round) = @_;

    my (@odd, @workers);
    connected();

    for my $n (1 .. ($ENV{PG_SLOW} ? 5 : 50)) {
        my ($said, @answers) = $round->("account-$n");
        push @odd, "account $n: $said" if $said;
        push @workers, map { $_->[2] } @answers;
    }

    close $_ for @sockets;
    is_deeply(\@odd, [], 'the same in each round');
    is(scalar uniq(@workers), 2, 'both workers took part');
}

sub summary {
    my (@answers) = @_;

    my %by;
    $by{$_->[0]}++ for @answers;
    return join ', ', map { "$by{$_} x $_" } sort keys %by;
}

run_tests();

__DATA__

=== TEST 1: at limit minus one, one of 200 lookups is admitted
--- policy
account  $http_x_account trusted;
limit    lookups=10/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Worker $pid always;
    empty_gif;
}
--- after
fifty_times(sub {
    my ($account) = @_;
    get('/?patient=1,2,3,4,5,6,7,8,9', 'X-Account' => $account);
    my @answers = at_once(sub { "/?patient=1" }, $account);
    my $told = summary(@answers);
    return ($told eq '1 x 200, 199 x 403' ? '' : $told, @answers);
});



=== TEST 2: at limit minus one, one of 200 new patients is admitted
--- policy
account  $http_x_account trusted;
limit    patients=10/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Worker $pid always;
    empty_gif;
}
--- after
fifty_times(sub {
    my ($account) = @_;
    get('/?patient=1,2,3,4,5,6,7,8,9', 'X-Account' => $account);
    my @answers = at_once(sub { "/?patient=new-$_[0]" }, $account);
    my $told = summary(@answers);
    return ($told eq '1 x 200, 199 x 403' ? '' : $told, @answers);
});



=== TEST 3: several patients in one request: all of them or none
--- policy
account  $http_x_account trusted;
limit    patients=10/1h deny;
limit    lookups=100/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Worker $pid always;
    empty_gif;
}
--- after
fifty_times(sub {
    my ($account) = @_;
    get('/?patient=1,2,3', 'X-Account' => $account);

    # 7 are left: two requests of 3 fit, and 1 is left
    my @answers = at_once(sub { "/?patient=a$_[0],b$_[0],c$_[0]" }, $account);
    my $told = summary(@answers);
    $told .= ' then ' . join ' ', map {
        get("/?patient=$_", 'X-Account' => $account)->{status} }
        'x,y', 'x', 'y', '1,2,3';
    return ($told eq '2 x 200, 198 x 403 then 403 200 403 200' ? '' : $told,
            @answers);
});



=== TEST 4: 200 lookups of the same new patient take one place
--- policy
account  $http_x_account trusted;
limit    patients=10/1h deny;
--- config
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    add_header             X-Count $patient_guard_count always;
    add_header             X-Worker $pid always;
    empty_gif;
}
--- after
fifty_times(sub {
    my ($account) = @_;
    get('/?patient=1,2,3,4,5,6,7,8,9', 'X-Account' => $account);
    my @answers = at_once(sub { "/?patient=10" }, $account);
    my $told = summary(@answers);
    my @counts = List::Util::uniq(map { $_->[1] } @answers);
    $told .= ", counted @counts, then "
        . get("/?patient=11", 'X-Account' => $account)->{status};
    return ($told eq '200 x 200, counted 10, then 403' ? '' : $told,
            @answers);
});
