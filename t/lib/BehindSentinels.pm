package main;

# What the suites of sentinels share.  It stands behind "use PatientGuard".
# rig('plain') has no protection, rig('tls') all that there is; each is
# started when a block wants it.

use strict;
use warnings;

use Behind qw($slow $config policy told well count exactly);
use Certificates;
use Load;
use Sentinels;
use Time::HiRes qw(sleep time);

our $tls = $Certificates::dir;

authority('ours');
certificate('server', 'ours', 'DNS:redis.test,IP:127.0.0.1');
certificate('guard', 'ours', 'DNS:guard.test');

sub secret {
    my ($name, $text) = @_;

    my $path = "$ENV{PG_TMP}/$name-$$";
    PatientGuard::spew($path, "$text\n");
    chmod 0600, $path;
    return $path;
}

# one without, and one with all that there is of protection

our %kinds = (
    plain => [],
    tls   => [tls => 'server', clients => 'yes', client => 'guard',
        password => 'all-of-it', sentinel_password => 'all-of-them',
        users => ['guard on >server-pw resetchannels ~* +@all -@admin +role'],
        sentinel_users => ['guard on >sentinel-pw resetchannels -@all +auth'
                           . ' +ping +sentinel|get-master-addr-by-name']],
);
our %rigs;

sub rig { $rigs{$_[0]} //= Sentinels->new("$ENV{PG_TMP}/$_[0]-$$",
                                          @{ $kinds{$_[0]} }) }

# what says in a policy where Redis is; $first: addresses asked before

sub at {
    my ($rig, $first, $name) = @_;

    my $addresses = join ' ', $first // (), rig($rig)->addresses;
    my $master = $name // rig($rig)->{name};
    my $text = "redis $addresses mode=sentinel master=$master"
               . " prefix=\$PG_PREFIX;\n";
    return $text if $rig eq 'plain';

    my $password = secret('password', 'server-pw');
    my $sentinel = secret('sentinel', 'sentinel-pw');
    return $text . <<"END";
redis_tls   on ca=$tls/ours.pem certificate=$tls/guard.pem key=$tls/guard.key;
redis_auth  user=guard password_file=$password sentinel_user=guard
            sentinel_password_file=$sentinel;
END
}

# the key of an account, as its alias is

sub key {
    my ($account) = @_;

    my $alias = get('/', 'X-Account' => $account)->{headers}{'x-alias'};
    return "t$PatientGuard::policy:$PatientGuard::policy:{$alias}";
}

# Load of four accounts while $change brings about a new master, which it
# returns.

sub survives {
    my ($what, $rig, $change, %is) = @_;

    $rig->settled;
    is(well(), '200 redis', "$what: all is well before");

    my $from = length error_log();
    my $load = Load->start(4, sub { ('/?patient=1',
                                     'X-Account' => "$what-$_[0]") });
    wait_for(sub { $load->answered > 40 });
    my $new = $change->();
    my $asked = $new->calls(qw(eval evalsha));
    ok(wait_for(sub { $new->calls(qw(eval evalsha)) > $asked }),
       "$what: the new master is asked");
    is(well(), '200 redis', "$what: and answers");
    my $back = time;
    my $n = $load->answered;
    wait_for(sub { $load->answered > $n + 100 });
    my @answers = $load->stop;

    my (%statuses, %admitted);
    $statuses{$_->{status}}++ for @answers;
    is_deeply([keys %statuses], [200], "$what: each was admitted")
        or diag(join ', ', %statuses);
    $admitted{$_->{client}}++ for grep { $_->{status} == 200 } @answers;

    my @took = sort { $a <=> $b } map { $_->{took} } @answers;
    cmp_ok($took[-1], '<', 0.5 + 0.5 * $slow, "$what: nobody waited longer");
    my @late = grep { $_->{at} > $back && $_->{source} ne 'redis' } @answers;
    is(scalar @late, 0, "$what: by Redis again, and again");

    cmp_ok(count($from, 'is away: '), '<=', $is{outages} // 2,
           "$what: an outage, or two");
    is(count($from, 'is away: '), count($from, '\[notice\] .* is back'),
       "$what: that are over");
    is(count($from, '\[(?:alert|emerg)\]'), 0, "$what: nothing worse");

    exactly($what, "$what-$_", $admitted{$_}) for sort keys %admitted;
    return $new;
}

# what is connected to a server: nginx alone is

sub connections { scalar $_[0]->clients }

# until the sentinels are asked anew: the connection to the master is lost, and
# the workers are others

sub ask_again { reload() or die "no reload\n" }

sub finds_the_master {
    my ($rig) = @_;

    my $master = $rig->master;
    is(well(), '200 redis', 'counted')
        or diag(grep { /patient guard/ } split /^/, error_log());
    my $key = key('dupont');
    ok(wait_for(sub { $master->keys($key) }), 'in the master');
    is(connections($master), 1, 'over one connection');
    is(connections($_), 0, 'and none to a replica') for $rig->replicas;
    is(count(0, '\[(?:error|crit|alert|emerg)\]'), 0, 'and nothing is said');
}

# the last writes are the old master's alone

sub loses_the_tail {
    my ($rig) = @_;

    $rig->settled;
    my $old = $rig->master;
    my @replicas = $rig->replicas;
    is(well(), '200 redis', 'all is well');
    is(told('full', max => 10), '200 redis', "lookup $_") for 1 .. 4;
    my $key = key('full');                        # the fifth
    my $totals = sub {
        return join ' ', map { $_->total($key, 'lookups/3600') } @replicas;
    };
    ok(wait_for(sub { $totals->() eq '5 5' }), 'the replicas know');

    # who is stopped does not connect again
    $_->freeze for @replicas;
    $old->cli(qw(CLIENT KILL TYPE replica));
    is(told('full', max => 10), '200 redis', "lookup $_, not replicated")
        for 6 .. 10;
    is(told('full', max => 10), '403 redis', 'no more');
    $old->kill;
    $_->thaw for @replicas;
    is($totals->(), '5 5', 'the replicas do not know of the others');
    my $new = $rig->failed_over($old);

    my %told;
    my $end = time + 3;
    while (time < $end) { $told{ told('full', max => 10) }++; sleep 0.02 }
    is(scalar(grep { !/^403/ } keys %told), 0, 'who was stopped stays so')
        or diag(join ', ', %told);
    is(well('another'), '200 redis', 'others are counted there');
    $old->start;
    $rig->settled;
}

sub dies {
    my ($rig) = @_;

    my $old = $rig->master;
    survives('killed', $rig, sub {
        $rig->kill_master;
        return $rig->failed_over($old);
    });

    # it comes as the master that it was, and learns that it is none
    my $log = length error_log();
    my $load = Load->start(2, sub { ('/?patient=1', 'X-Account' => 'back') });
    $old->start;
    $rig->settled;
    is($old->info('role'), 'slave', 'the old one comes back as a replica');
    my @answers = $load->stop;
    my @other = grep { "$_->{status} $_->{source}" ne '200 redis' } @answers;
    is(scalar @other, 0, 'and nobody noticed');
    is($old->calls(qw(eval evalsha)), 0, 'nor asked it');
    is(count($log, 'is away'), 0, 'nor does the log');
    exactly('back', 'back', scalar @answers);
}

sub stalls {
    my ($rig) = @_;

    my $old = $rig->master;
    survives('stalled', $rig, sub {
        $old->freeze;
        return $rig->failed_over($old);
    });
    $old->thaw;
    $rig->settled;
    is(well(), '200 redis', 'nothing comes of its being back');
    is(connections($old), 0, 'nobody is connected to it any more');
}

sub is_moved {
    my ($rig) = @_;

    # one after the other, back to where it was or not
    for my $n (1 .. 2) {
        survives("moved-$n", $rig, sub { $rig->fail_over });
    }
}

1;
