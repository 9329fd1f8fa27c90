# Two workers and one Redis.

use lib 't/lib';
use PatientGuard;

workers(2);

# what a new binary is to know of a sanitizer
env_to_nginx(qw(LSAN_OPTIONS UBSAN_OPTIONS));

sub workers_of { split ' ', `ps -o pid= --ppid ${\ nginx_pid()}` }

# what is connected to a server, but for who asks

sub clients {
    my ($dir) = @_;

    return scalar grep { !/cmd=client/ }
        split /\n/, redis_at($dir, 'CLIENT', 'LIST') =~ s/\n+\z//r;
}

run_tests();

__DATA__

=== TEST 1: a connection for each worker, one count, nothing left open
--- policy
account        $http_x_account trusted;
redis          unix:$PG_TMP/$PG_POLICY.d/sock;
redis_timeout  5s;
limit          lookups=300/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $dir = '$PG_TMP/$PG_POLICY.d';
start_redis($dir);
my @workers = workers_of();

# each of them answers while the other one is stopped
for my $round (0 .. 3) {
    my ($stopped, $other) = @workers[$round % 2, ($round + 1) % 2];
    kill 'STOP', $stopped;
    wait_for(sub { PatientGuard::slurp("/proc/$stopped/stat") =~ /\) T/ });
    my %statuses;
    $statuses{$_}++ for burst(100, '/', 'X-Account' => 'dupont');
    kill 'CONT', $stopped;
    is_deeply(\%statuses, $round < 3 ? { 200 => 100 } : { 403 => 100 },
              "round $round: one count");
}
is(clients($dir), 2, 'a connection for each worker');

# a reload: others come, and these go
kill 'HUP', nginx_pid();
ok(wait_for(sub { !grep { kill 0, $_ } @workers }), 'the old workers go');
ok(wait_for(sub { clients($dir) == 0 }), 'and their connections with them');
is(get('/', 'X-Account' => 'dupont')->{status}, 403, 'Redis remembers');
unlike(error_log(), qr/\[(alert|crit|emerg|error)\]|open socket/, 'in order');
stop_redis($dir);



=== TEST 2: another binary, and back: Redis' counts do not notice
--- policy
account        $http_x_account trusted;
limit          lookups=3/1h deny;
--- config
location / {
    patient_guard  $PG_POLICY;
    add_header     X-Count $patient_guard_count always;
    proxy_pass     http://$PG_PORTAL;
}
--- after
my $asked = sub {
    my $answer = get('/', 'X-Account' => 'dupont');
    return "$answer->{status} $answer->{headers}{'x-count'}";
};
my $of = sub { split ' ', `ps -o pid= --ppid $_[0]` };
my $old = nginx_pid();
my @old = $of->($old);
is($asked->(), '200 1', 'counted');

# the new master is the old one's child until that is gone
kill 'USR2', $old;
ok(wait_for(sub { nginx_pid() && nginx_pid() != $old
                  && $of->(nginx_pid()) == 2 }), 'a new master has workers');
my $new = nginx_pid();
kill 'WINCH', $old;
ok(wait_for(sub { !grep { kill 0, $_ } @old }), 'the old workers go');
is($asked->(), '200 2', 'the new ones count on');

kill 'HUP', $old;
ok(wait_for(sub { $of->($old) == 3 }), 'the old master has workers again');
kill 'QUIT', $new;
ok(wait_for(sub { !kill 0, $new }), 'the new one goes');
ok(wait_for(sub { nginx_pid() == $old }), 'and leaves its place');
is($asked->(), '200 3', 'the old ones count on');
is($asked->(), '403 3', 'to the same limit');
unlike(error_log(), qr/\[(alert|crit|emerg|error)\]|open socket/, 'in order');
