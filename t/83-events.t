# events: what is put into a stream of Redis
BEGIN {
    if (($ENV{PG_STORE} // '') ne 'redis') {
        print "1..0 # SKIP a stream is of Redis\n";
        exit;
    }
}

use lib 't/lib';
use PatientGuard;

our $config = <<'END';
location / {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    proxy_pass             http://$PG_PORTAL;
    add_header             X-Alias $patient_guard_account always;
}
location /dry {
    patient_guard          $PG_POLICY;
    patient_guard_patient  $arg_patient;
    patient_guard_dry_run  on;
    proxy_pass             http://$PG_PORTAL;
}
location /guard/ {
    patient_guard_api      write;
    allow 127.0.0.1;
    deny all;
}
END

sub look { get($_[1], 'X-Account' => $_[0], @_[2 .. $#_]) }

# the entries of a stream as hashes, once there are so many
sub entries {
    my ($dir, $key, $n) = @_;

    my @entries;
    wait_for(sub {
        @entries = ();
        my @lines = split /\n/, $dir ? PatientGuard::redis_at($dir, 'XRANGE', $key, '-', '+')
            : CORE::join "\n", map { s/\n//r } PatientGuard::redis('XRANGE', $key, '-', '+');
        for (@lines) {
            if (/^\d{13}-\d+$/) { push @entries, []; next }
            push @{ $entries[-1] }, $_ if @entries;
        }
        @entries >= $n;
    });
    return map { +{ @$_ } } @entries;
}

sub metric {
    my ($name) = @_;
    my ($value) = get('/guard/metrics')->{body}
        =~ /^patient_guard_${name}\{policy="\Q$PatientGuard::policy\E"\} (\d+)/m;
    return $value;
}

# whose Redis is there to begin with, for a log without errors
add_block_preprocessor(sub {
    my $block = shift;
    start_redis("$ENV{PG_TMP}/" . PatientGuard::next_policy()) if $block->name =~ /while Redis is away/;
});

run_tests();

__DATA__

=== TEST 1: verdicts other than allow, passes, and orders
--- policy
account  $http_x_account trusted;
proof    $proof;
events   stream=$PG_PREFIX:$PG_POLICY:events;
limit    patients=2/1h challenge name=p;
--- http_config
map $http_x_proof $proof { default $http_x_proof; }
--- config eval: $::config
--- after
my $key = "t$PatientGuard::policy:$PatientGuard::policy:events";
look('dupont', "/?patient=$_") for 1, 2, 3;
look('martin', '/dry?patient=1,2,3');
look('', '/?patient=1');
look('dupont', '/?patient=3', 'X-Proof' => time + 2);
get('/guard/accounts/dupont/block?for=1h', method => 'POST', 'X-Patient-Guard' => 'write');
my $alias = look('dupont', '/?patient=3')->{headers}{'x-alias'};
my @e = entries('', $key, 6);
is_deeply([map { "$_->{verdict} $_->{dry_run}" } @e],
    ['challenge 0', 'challenge 1', 'deny 0', 'pass 0', 'block 0', 'deny 0']);
is_deeply([map { $_->{account} // '-' } @e[0, 2 .. 5]], [$alias, '-', ($alias) x 3]);
is("@{$e[0]}{qw(policy limit count allowance)}", "$PatientGuard::policy p 2 2");
cmp_ok(abs($e[0]{time} - time), '<', 60);
ok(!exists $e[0]{until}, 'what there is not has no field');
cmp_ok(abs($e[4]{until} - time - 3600), '<', 60);
is(scalar(keys %{{ map { $_->{id} => 1 } @e }}), 6, 'each has an id of its own');
is(metric('events_total'), 6);
is(metric('events_dropped_total'), 0);
unlike(CORE::join(' ', map { %$_ } @e), qr/dupont|martin|patient=/);



=== TEST 2: no more than so many
--- policy
account  $http_x_account trusted;
events   stream=$PG_PREFIX:$PG_POLICY:events maxlen=100;
limit    patients=1/1h deny;
--- config eval: $::config
--- after
my $key = "t$PatientGuard::policy:$PatientGuard::policy:events";
look('a', "/?patient=$_") for 1 .. 700;
ok(wait_for(sub { metric('events_total') == 699 }));
my ($length) = (0);
wait_for(sub { my ($last) = PatientGuard::redis('XREVRANGE', $key, '+', '-', 'COUNT', 1); ($length) = PatientGuard::redis('XLEN', $key); $last && $length && $length < 400 });
cmp_ok($length, '>=', 100);
cmp_ok($length, '<', 400, 'about as many');



=== TEST 3: while Redis is away, and then no more than the node can keep
--- policy
account  $http_x_account trusted;
redis    unix:$PG_TMP/$PG_POLICY/sock prefix=$PG_PREFIX;
events   stream=pg:events;
limit    patients=1/1h deny;
--- config eval: $::config
--- after
my $dir = "$ENV{PG_TMP}/$PatientGuard::policy";
stop_redis($dir);
look('a', "/?patient=$_") for 1 .. 11;
is(metric('events_total'), 10);
PatientGuard::reload();
start_redis($dir);
my @e = entries($dir, 'pg:events', 10);
is(@e, 10, 'all are told when it is back');
is_deeply([map { $_->{id} =~ /-(\d+)$/ } @e], [0 .. 9], 'in their order');
stop_redis($dir);
look('a', '/?patient=' . ($_ + 100)) for 1 .. 1100;
is(metric('events_dropped_total'), 76, 'and counted which were not');
start_redis($dir);
@e = entries($dir, 'pg:events', 1024);
is(@e, 1024);
is($e[0]{id} =~ s/.*-//r, 86);
stop_redis($dir);



=== TEST 4: a fake answers, and hangs up
--- policy
account  $http_x_account trusted;
redis    $PG_FAKE prefix=$PG_PREFIX;
events   stream=$PG_PREFIX:$PG_POLICY:events;
limit    patients=1/1h deny;
--- fake_redis
return unless @command;
my $ill = "$PG_TMP/$PG_POLICY.ill";
return $peer->close if -e $ill && grep { /XADD/ } @command;
$peer->send($peer->real(@command));
--- config eval: $::config
--- after
my $key = "t$PatientGuard::policy:$PatientGuard::policy:events";
my $ill = "$ENV{PG_TMP}/$PatientGuard::policy.ill";
open my $file, '>', $ill or die; close $file;
look('a', "/?patient=$_") for 1, 2, 3;
ok(wait_for(sub { PatientGuard::fake_commands() > 5 }), 'tried again and again');
unlink $ill;
my %ids = map { $_->{id} => 1 } entries('', $key, 2);
is(keys %ids, 2, 'and told');



=== TEST 5: without Redis
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
--- http_config
patient_guard_policy $PG_POLICY_2 {
    account  $remote_user;
    events   stream=x;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY_2"



=== TEST 6: a key with a blank
--- policy
account  $remote_user;
events   'stream=pg events';
limit    lookups=5/1h deny;
--- must_die
--- error_log
invalid value "pg events" of "stream", expected a key of at most 128 printable characters



=== TEST 7: a length that is none
--- policy
account  $remote_user;
events   stream=pg maxlen=0;
limit    lookups=5/1h deny;
--- must_die
--- error_log
invalid value "maxlen=0" of "events", expected "maxlen=n" with a number from 1 to 4294967295



=== TEST 8: twice
--- policy
account  $remote_user;
events   stream=pg;
events   stream=pg;
limit    lookups=5/1h deny;
--- must_die
--- error_log
"events" directive is duplicate in policy "$PG_POLICY"



=== TEST 9: in a cluster
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    secret   $PG_KEY;
    redis    127.0.0.1:7001 mode=cluster;
    events   stream=pg;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
"events" of policy "$PG_POLICY" can't be with "mode=cluster": it is one key, on one of its servers
