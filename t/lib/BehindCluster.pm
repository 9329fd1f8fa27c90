package main;

# What the suites of clusters share.  It stands behind "use PatientGuard", and
# that behind "use Dns".  rig('plain') has no protection, rig('tls') all that
# there is, the nodes of rig('names') have names; each is started when a block
# wants it.

use strict;
use warnings;

use Behind qw($slow policy told well count exactly);
use Certificates;
use Cluster;
use Load;
use Time::HiRes qw(sleep time);

our $tls = $Certificates::dir;

authority('ours');
certificate('server', 'ours', 'DNS:redis.test,IP:127.0.0.1');
certificate('guard', 'ours', 'DNS:guard.test');

our @hosts = qw(one.test two.test three.test);
zone(map { $_ => '127.0.0.1' } @hosts);

our $password = "$ENV{PG_TMP}/password-$$";
PatientGuard::spew($password, "server-pw\n");
chmod 0600, $password;

# started when a block wants them

our %kinds = (
    plain => [],
    tls   => [tls => 'server', clients => 'yes', client => 'guard',
              password => 'all-of-it',
              users => ['guard on >server-pw resetchannels ~* +@all -@admin'
                        . ' -cluster +cluster|slots +cluster|shards']],
    names => [replicas => 0, hostnames => \@hosts],
);
our (%rigs, $rig);

sub rig { $rigs{$_[0]} //= Cluster->new("$ENV{PG_TMP}/$_[0]-$$",
                                        @{ $kinds{$_[0]} }) }

# what says in a policy where Redis is; $addresses: others, or none

sub at {
    my ($kind, $addresses) = @_;

    $addresses //= rig($kind)->addresses;
    my $text = "redis $addresses mode=cluster prefix=\$PG_PREFIX;\n";
    return $text if $kind ne 'tls';

    return $text . <<"END";
redis_tls   on ca=$tls/ours.pem certificate=$tls/guard.pem key=$tls/guard.key;
redis_auth  user=guard password_file=$password;
END
}

# where nobody is

sub closed { join ' ', map { "127.0.0.1:$_" } Server::ports(2) }

# one that counts by itself says what an account's alias is

our $aliases = <<'END';
patient_guard_policy $PG_POLICY_alias {
    account  $http_x_account trusted;
    secret   $PG_KEY;
    limit    lookups=100000/1h deny;
}
END

our $config = $Behind::config . <<'END';

location /alias {
    patient_guard  $PG_POLICY_alias;
    add_header     X-Alias $patient_guard_account always;
    proxy_pass     http://$PG_PORTAL;
}
END

our %keys;

sub key {
    my ($account) = @_;

    my $policy = $PatientGuard::policy;
    return $keys{"$policy $account"} //= do {
        my $answer = get('/alias', 'X-Account' => $account);
        "t$policy:$policy:{$answer->{headers}{'x-alias'}}";
    };
}

sub slot { $rig->slot(key($_[0])) }

# what all nodes together have counted of an account

sub total {
    my ($account) = @_;

    my $key = key($account);
    my $sum = 0;
    for my $master (grep { $_->alive } $rig->masters) {
        my $said = $master->total($key, 'lookups/3600');
        $sum += $said if $said =~ /^\d+$/;
    }
    return $sum;
}

# accounts until each master has one at least: { address => [account ...] }

sub spread {
    my ($what) = @_;

    my %of;
    for (my $n = 0; keys %of < 3 || $n < 6; $n++) {
        my $account = "$what-$n";
        push @{ $of{ $rig->owner(slot($account))->address } }, $account;
    }
    return %of;
}

sub connections { scalar $_[0]->clients }

# Load of accounts of all masters while $change goes on.  $is{lost}: a master
# goes, and with it perhaps what it wrote last; $is{outage}: on_outage may
# answer meanwhile.

sub survives {
    my ($what, $change, %is) = @_;

    $rig->settled;
    is(well(), '200 redis', "$what: all is well before");
    my %of = spread($what);
    my @accounts = map { @{ $of{$_} }[0, 1] } sort keys %of;
    @accounts = grep { defined } @accounts;

    my $from = length error_log();
    my $load = Load->start(scalar @accounts, sub {
        ('/?patient=1', 'X-Account' => $accounts[$_[0]]);
    });
    wait_for(sub { $load->answered > 40 });
    $change->(\@accounts, $load);
    for my $account (@accounts) {
        is(well($account), '200 redis', "$what: $account: by Redis again")
            if $is{outage};
    }
    my $back = time;
    my $n = $load->answered;
    wait_for(sub { $load->answered > $n + 100 });
    my @answers = $load->stop;

    my (%statuses, %admitted);
    $statuses{$_->{status}}++ for @answers;
    is_deeply([keys %statuses], [200], "$what: each was admitted")
        or diag(join ', ', %statuses);
    $admitted{ $accounts[$_->{client}] }++
        for grep { $_->{status} == 200 } @answers;

    my @took = sort { $a <=> $b } map { $_->{took} } @answers;
    cmp_ok($took[-1], '<', 0.5 + 0.5 * $slow, "$what: nobody waited longer");
    my @other = grep { (!$is{outage} || $_->{at} > $back)
                       && $_->{source} ne 'redis' } @answers;
    is(scalar @other, 0, "$what: by Redis")
        or diag(grep { /patient guard/ } split /^/, substr error_log(), $from);

    is(count($from, 'is away: '), 0, "$what: not an outage")
        if !$is{outage};
    is(count($from, 'is away: '),
       count($from, '\[notice\] .* (?:is back|serves no hash slots any more)'),
       "$what: what outages there were are over");
    is(count($from, '\[(?:alert|emerg)\]|exited on'), 0, "$what: in order");

    # well() has asked, too: once, unless it had to wait
    for my $account (sort keys %admitted) {
        my $told = $admitted{$account};
        if (!$is{outage}) {
            ok(wait_for(sub { total($account) == $told }, 5 * $slow),
               "$what: $account: $told, and $told in Redis")
                or diag(total($account));
            exactly($what, $account, $told);
        } elsif (!$is{lost}) {
            my $in_redis = total($account);
            cmp_ok($in_redis, '>=', $told, "$what: $account: nothing is lost");
        }
    }
}

# --- what is done with each kind of a cluster

sub counts_where_the_slot_is {
    $rig->settled;
    is(well(), '200 redis', 'all is well');
    my %of = spread('spread');
    is(keys %of, 3, 'accounts of each master');
    for my $address (sort keys %of) {
        for my $account (@{ $of{$address} }) {
            is(told($account), '200 redis', "$account: counted") for 1, 2;
            my ($there, @others) = sort {
                ($b->address eq $address) - ($a->address eq $address)
            } $rig->masters;
            is($there->keys(key($account)), 1, "$account: where its slot is");
            is(scalar(grep { $_->keys(key($account)) } @others), 0,
               "$account: and nowhere else");
            exactly('spread', $account, 2);
        }
    }
    my %masters = map { $_ => 1 } $rig->masters;
    for my $server (@{ $rig->{servers} }) {
        cmp_ok(connections($server), '<=', $masters{$server} ? 1 : 0,
               'connections to ' . $server->address);
    }
    is(count(0, '\[(?:error|crit|alert|emerg)\]'), 0, 'and nothing is said');
}

sub loses_a_master {
    my $slot = 0;
    my $old = $rig->owner($slot);
    my $new;
    survives('killed', sub {
        $old->kill;
        $new = $rig->promoted($slot, $old);
    }, outage => 1, lost => 1);
    ok($new->calls(qw(eval evalsha)), 'its replica has taken its place');

    my $log = length error_log();
    $old->start;
    $rig->settled;
    is(told("back-$_"), '200 redis', 'the old one is back: nobody notices')
        for 1 .. 20;
    is($old->calls(qw(eval evalsha)), 0, 'nor asks it');
    is(count($log, 'is away'), 0, 'nor does the log');
}

sub is_handed_over {
    my @masters = $rig->masters;
    survives('handed', sub { $rig->fail_over(0) });
}

# all the accounts, and slots besides, to the next master each time

sub is_resharded {
    my ($rounds) = @_;

    survives('reshard', sub {
        my ($accounts) = @_;

        for my $round (1 .. $rounds) {
            my %seen;
            my @masters = $rig->masters;
            my @slots = map { slot($_) } @$accounts;
            my @more = grep { !$seen{$_}++ } @slots,
                map { my $slot = $_; map { ($slot + $_) % 16384 } 1 .. 8 }
                @slots;
            $rig->move($masters[$round % @masters], @more);
        }
        $rig->settled;
    });
}

1;
