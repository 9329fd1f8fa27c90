package Cell;

# One fault in one mode: a Redis, the scripted one before it, an nginx, and
# the accounts that ask.
#
#     Cell->new(fault => $row, mode => ..., dir => ..., n => lookups,
#               rate => ..., ...)->run      what came of it
#
# Each check adds a line to "broken" when it fails.

use strict;
use warnings;

use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/..';

use Faults;
use Files;
use Front;
use List::Util qw(max min);
use Load;
use POSIX ();
use Resp;
use Time::HiRes qw(sleep time);

our @POLICIES = qw(both set);

# how much memory of its own a worker may take while Redis is ill, in KB
our $GROWTH = 512;

sub new {
    my ($class, %self) = @_;

    my $fault = $self{fault};
    return bless {
        workers => $fault->{workers} // 1, broken => [],
        timeout => ($fault->{timeout} // 200) / 1000, %self
    }, $class;
}

sub broken {
    my ($self, $text) = @_;
    push @{ $self->{broken} }, $text;
}

sub run {
    my ($self) = @_;

    eval { $self->play; 1 } or $self->broken("broke off: $@" =~ s/\n.*//sr);
    $self->stop;

    my $load = $self->{load} // {};
    my @took = sort { $a <=> $b } @{ $load->{took} // [] };
    return {
        broken   => [@{ $load->{wrong} // [] }, @{ $self->{broken} }],
        right    => $load->{right} // 0,
        requests => scalar @took,
        late     => scalar @{ $load->{late} // [] },
        p99      => @took ? $took[int .99 * $#took] : 0,
        longest  => $took[-1] // 0,
        told     => $load->{told} // {},
        waited   => $load->{waited} // 0,
        stall    => $load->{stall} // 0,
        map { $_ => $self->{$_} // 0 } qw(back doubt over growth lines),
    };
}

sub play {
    my ($self) = @_;

    my ($fault, $mode, $dir) = @$self{qw(fault mode dir)};
    my $right = $Faults::RIGHT{ $fault->{right} }{$mode};
    my $well = $Faults::RIGHT{well}{$mode};

    mkdir $dir or die "$dir: $!\n";
    chmod 0755, $dir;
    $self->start_redis;
    $self->{front} = Front->new(
        dir => $dir, redis => "$dir/redis.sock",
        port => $fault->{tcp} && $self->{port},
        away => $fault->{cold}, ill => $fault->{front} // {});
    $self->start_nginx;

    my $load = $self->{load} = Load->new(
        dir => $dir, timeout => $self->{timeout}, keep => $fault->{keep});
    $self->watch;

    # all is well; who is over the limit has been told so
    $load->{merged} = 1;
    $self->before($well) unless $fault->{cold};

    # the fault
    $self->note;
    my $start = time;
    if ($fault->{lost}) { $load->lost($_) for @{ $load->{accounts} } }
    if ($fault->{inject}) { $fault->{inject}->($self) }
    elsif ($fault->{front}) { $self->front('ill') }

    my %poisoned = map { $_ => 1 } @{ $fault->{poisoned} // [] };
    my $for = sub {
        my ($ill) = @_;
        return $ill unless %poisoned;
        return sub { $poisoned{ $_[0]{name} } ? $ill : $well };
    };
    $load->{forgetful} = $fault->{right} eq 'well';
    $load->{merged} = $mode ne 'local' || $fault->{right} eq 'well';
    $load->{measure} = 1;
    $self->meanwhile($for->($right));
    $load->{measure} = 0;
    $self->{lasted} = time - $start;
    $self->quiet;
    $self->grown;

    # its end
    my $healed = time;
    $load->{forgetful} = 1;
    $fault->{heal}->($self) if $fault->{heal};
    $self->front('well') if $fault->{front};
    $self->recover($healed, "$right $well");
    $self->attempts;
    $self->late;
    $self->waiting;
    $self->refused($well);
    $self->settle($healed + ($fault->{refused} ? 4 : 2.5));
    $load->{merged} = 1;

    # what is left
    $load->ask(2 * @{ $load->{lines} }, 0, $well);
    $load->hang_up;
    $self->settle(time + 0.5);
    $self->descriptors;
    $self->connections;
    $self->alive;
    $self->log;
}

sub before {
    my ($self, $well) = @_;

    my $load = $self->{load};
    for my $kind (sort keys %Load::KINDS) {
        my @lines = grep { $_->{account}{kind} eq $kind }
            @{ $load->{lines} };
        $load->ask(@lines * $Load::KINDS{$kind}{before}, 0, $well, \@lines);
    }
    my @over = grep { $_->{kind} eq 'over' && !$_->{refused} }
        @{ $load->{accounts} };
    die "$_->{name} was not refused\n" for @over;
}

sub meanwhile {
    my ($self, $right) = @_;

    my ($n, $each) = @{ $self->{fault}{each} // [$self->{n}] };
    my $rate = min($self->{rate}, $self->{fault}{rate} // $self->{rate});

    for (my $done = 0; $done < $self->{n}; $done += $n) {
        $each->($self) if $each;
        $self->{load}->ask(min($n, $self->{n} - $done), $rate, $right);
    }
}


# --- processes

sub spawn {
    my ($self, $log, $command, %env) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    @ENV{keys %env} = values %env;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', "$self->{dir}/$log";
    open STDERR, '>&', \*STDOUT;
    exec @$command or POSIX::_exit(127);
}

sub wait_for {
    my ($self, $what, $seconds, $condition) = @_;

    my $end = time + $seconds;
    until ($condition->()) {
        die "waited in vain: $what\n" if time > $end;
        sleep 0.005;
    }
}

# no node has anything left to tell by itself: it would within 50 ms

sub silence {
    my ($self) = @_;

    my ($asked, $since) = (-1, 0);
    $self->wait_for('silence', 5, sub {
        my $now = $self->{front}->stats->{asked};
        ($asked, $since) = ($now, time) if $now != $asked;
        return time - $since > 0.12;
    });
}

sub start_redis {
    my ($self, @options) = @_;

    my $dir = $self->{dir};
    push @options, '--requirepass', 'open-sesame'
        if $self->{fault}{password};
    $self->{redis} = $self->spawn('redis.log', [
        'redis-server', '--port', 0, '--unixsocket', "$dir/redis.sock",
        '--unixsocketperm', 700, '--dir', $dir, '--save', '',
        '--enable-debug-command', 'yes',
        @{ $self->{fault}{options} // [] }, @options]);

    $self->wait_for('Redis', 10, sub { -S "$dir/redis.sock"
        && eval { $self->{admin} = Resp->new("$dir/redis.sock") } });
    $self->redis('AUTH', 'open-sesame') if $self->{fault}{password};
    $self->watch if $self->{load};
}

sub watch {
    my ($self) = @_;
    $self->{load}->watch($self->{pids}, $self->{redis},
                         $self->{front}{pid});
}

sub stop_redis {
    my ($self) = @_;

    my $pid = delete $self->{redis} or return;
    kill $_, $pid for qw(KILL CONT);
    waitpid $pid, 0;
    unlink "$self->{dir}/redis.sock";
}

sub configure {
    my ($self) = @_;

    my ($dir, $fault) = @$self{qw(dir fault)};
    my $user = $> ? '' : $fault->{root} ? 'user root root;'
                       : 'user www-data;';
    my $load = $self->{module} ? "load_module $self->{module};" : '';
    my $timeout = 1000 * $self->{timeout};
    my $auth = '';

    if ($fault->{password}) {
        write_file("$dir/password", "open-sesame\n", 0600);
        $auth = "redis_auth password_file=$dir/password;";
    }

    my $redis = $self->{front} ? <<"END" : '';
        redis          @{[ $self->{front}->address ]};
        redis_timeout  ${timeout}ms;
        on_outage      $self->{mode};
        $auth
END
    my $policy = <<"END";
        account        \$http_x_account trusted;
        secret         $self->{secret};
        limit          patients=$Load::LIMIT/1h deny;
$redis
END

    write_file("$dir/nginx.conf", <<"END", 0644);
$user
$load
daemon            off;
worker_processes  $self->{workers};
error_log         $dir/error.log notice;
pid               $dir/nginx.pid;
events { worker_connections 512; }
http {
    access_log             off;
    client_body_temp_path  $dir/body;
    proxy_temp_path        $dir/proxy;
    fastcgi_temp_path      $dir/fastcgi;
    uwsgi_temp_path        $dir/uwsgi;
    scgi_temp_path         $dir/scgi;

    patient_guard_policy both {
$policy
        limit          lookups=1000000/1d deny;
    }
    patient_guard_policy set {
$policy
    }
    patient_guard_patient    \$arg_patient;
    patient_guard_log_level  info;
    add_header  X-Source   \$patient_guard_source always;
    add_header  X-Limit    \$patient_guard_limit always;
    add_header  X-Count    \$patient_guard_count always;
    add_header  X-Account  \$patient_guard_account always;
    add_header  X-Patient  \$patient_guard_patient always;
    add_header  X-Worker   \$pid always;

    server {
        listen  unix:$dir/nginx.sock;
        location /both { patient_guard both; empty_gif; }
        location /set  { patient_guard set; empty_gif; }
    }
}
END
}

sub start_nginx {
    my ($self) = @_;

    my ($dir, $fault) = @$self{qw(dir fault)};
    $self->configure;

    my %env = (PG_LEAKS => 1);
    if ($fault->{preload}) {
        $self->clock(0);
        %env = (%env, LD_PRELOAD => $self->{preload},
                CHAOS_CLOCK => "$dir/clock");
        $env{CHAOS_TINY} = 1 if ($fault->{front} // {})->{deaf};
    }

    # a worker is another user, who can write reports here at the most
    for my $name (grep { /^[A-Z]+SAN_OPTIONS$/ } keys %ENV) {
        my $reports = "$dir/reports";
        mkdir $reports;
        chmod 01777, $reports;
        $env{$name} = $ENV{$name} =~ s{log_path=([^,:]+/)}{
            $self->{reports} = $1;
            "log_path=$reports/"
        }er;
    }
    $env{ASAN_OPTIONS} .= ',verify_asan_link_order=0' if $env{ASAN_OPTIONS};

    $self->{nginx} = $self->spawn('nginx.log',
        [$self->{binary}, '-p', $dir, '-c', "$dir/nginx.conf",
         '-e', "$dir/error.log"], %env);

    $self->wait_for('nginx', 10, sub {
        die 'nginx: ' . slurp("$dir/nginx.log") . slurp("$dir/error.log")
            if waitpid($self->{nginx}, POSIX::WNOHANG()) > 0;
        my @pids = children($self->{nginx});
        $self->{pids} = \@pids;
        return -S "$dir/nginx.sock" && @pids == $self->{workers}
            && !grep { slurp("/proc/$_/wchan") !~ /poll/ } @pids;
    });

    # what a worker has open that has no connection to anybody
    $self->{empty} = { map { $_ => files_of($_) } @{ $self->{pids} } };
}

sub stop {
    my ($self) = @_;

    $self->stop_nginx if $self->{nginx};
    delete($self->{front})->stop if $self->{front};
    $self->stop_redis;
}

# told to quit, it goes at once: nobody is connected

sub stop_nginx {
    my ($self) = @_;

    my $pid = delete $self->{nginx};
    my $end = time + 5;
    my $gone;

    kill 'QUIT', $pid;
    sleep 0.01
        until ($gone = waitpid $pid, POSIX::WNOHANG()) || time > $end;

    if ($gone) {
        $self->broken("nginx's exit status is $?") if $?;
    } else {
        $self->broken('nginx does not stop when it is told to quit');
        kill 'KILL', @{ $self->{pids} }, $pid;
        waitpid $pid, 0;
    }

    my $log = slurp("$self->{dir}/error.log");
    $self->broken("at the end: $1")
        if $log =~ /(\[(?:alert|emerg)\].*|.*open socket.*
                     |.*exited\ with\ code\ [1-9].*)/x;
    $self->broken("a sanitizer reports: $1")
        if $log =~ /((?:runtime\ error|ERROR:\ \w+Sanitizer).*)/x;
    $self->reports if $self->{reports};
}

# UBSan's go to nginx's log, the others here; scripts/sanitize shows them

sub reports {
    my ($self) = @_;

    for my $file (grep { -s } glob "$self->{dir}/reports/*") {
        my $name = $file =~ s{.*/}{}r;
        $self->broken("a sanitizer reports: "
                      . (slurp($file) =~ /((?:ERROR|runtime error): .*)/
                             ? $1 : $name));
        write_file("$self->{reports}$name-$self->{slot}", slurp($file), 0644);
    }
}

sub write_file {
    my ($path, $text, $mode) = @_;

    open my $file, '>', $path or die "$path: $!\n";
    chmod $mode, $path;
    print $file $text;
    close $file;
}

sub children { split ' ', slurp("/proc/$_[0]/task/$_[0]/children") }
sub files_of { scalar(() = glob "/proc/$_[0]/fd/*") }


# --- what faults do

sub front {
    my ($self, @words) = @_;
    $self->{front}->tell($_) for @words;
}

sub redis {
    my ($self, @command) = @_;

    my $said = $self->{admin}->ask(@command);
    return $said;
}

sub signal {
    my ($self, $signal, $who) = @_;

    my $pid = $who eq 'front' ? $self->{front}{pid} : $self->{redis};
    kill $signal, $pid;
    $self->wait_for('it stops', 5, sub {
        slurp("/proc/$pid/stat") =~ /\) T/
    }) if $signal eq 'STOP';
}

# how many files the workers may have open; 0: as before

sub files {
    my ($self, $most) = @_;

    for my $pid (@{ $self->{pids} }) {
        my ($soft) = slurp("/proc/$pid/limits") =~ /^Max open files +(\d+)/m;
        $self->{soft} //= $soft;
        system('prlimit', '--pid', $pid,
               '--nofile=' . ($most || $self->{soft}) . ':') == 0
            or die "prlimit\n";
    }
}

sub clock {
    my ($self, $seconds) = @_;

    # nginx has it mapped
    my $path = "$self->{dir}/clock";
    open my $file, -e $path ? '+<' : '>', $path or die "$path: $!\n";
    syswrite $file, pack 'i', $seconds;
    chmod 0644, $path;
}

sub key_of {
    my ($self, $account) = @_;
    return "pg:$account->{policy}:{" . ($account->{alias} // '') . '}';
}

sub poison {
    my ($self, $by) = @_;

    my %poisoned = map { $_ => 1 } @{ $self->{fault}{poisoned} };
    for my $account (grep { $poisoned{ $_->{name} } }
                     @{ $self->{load}{accounts} })
    {
        $self->{load}->lost($account) unless $account->{fresh};
        $by->($self, $self->key_of($account));
    }
}

sub reload_redis {
    my ($self) = @_;

    $self->redis(qw(DEBUG POPULATE 20000 ballast 100));
    $self->redis('SAVE');
    $self->stop_redis;
    $self->start_redis(qw(--key-load-delay 500));
}

sub loaded {
    my ($self) = @_;

    $self->wait_for('Redis loads', 20, sub {
        $self->redis('INFO', 'persistence') =~ /^loading:0/m
    });
}

sub busy {
    my ($self) = @_;

    $self->{busy} = Resp->new("$self->{dir}/redis.sock");
    $self->{busy}->send('EVAL', 'while true do end', 0);
    $self->wait_for('BUSY', 5, sub {
        ($self->redis('GET', 'x') // '') =~ /BUSY/
    });
}

sub busy_over {
    my ($self) = @_;

    $self->wait_for('BUSY ends', 5, sub {
        ($self->redis('GET', 'x') // '') !~ /BUSY/
    });
    delete $self->{busy};
}

sub misconf {
    my ($self) = @_;

    my $dir = "$self->{dir}/gone";
    mkdir $dir;
    $self->redis('CONFIG', 'SET', 'dir', $dir);
    rmdir $dir;
    $self->redis('CONFIG', 'SET', 'save', '3600 1');
    $self->redis('BGSAVE');
    $self->wait_for('a snapshot fails', 5, sub {
        $self->redis('INFO', 'persistence') =~ /last_bgsave_status:err/
    });
}


# --- what must hold

sub note {
    my ($self) = @_;

    $self->{was} = { map { $_ => anonymous($_) } @{ $self->{pids} } };
    $self->{accepted} = $self->{front}->stats->{accepted};
}

# memory of a worker's own, in KB

sub anonymous {
    my ($kb) = slurp("/proc/$_[0]/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kb // 0;
}

sub ran { (split ' ', slurp("/proc/$_[0]/schedstat") || 0)[0] / 1e9 }

# while nobody asks a worker does next to nothing, whatever ails Redis

sub quiet {
    my ($self) = @_;

    my %ran = map { $_ => ran($_) } @{ $self->{pids} };
    my $start = time;
    sleep 0.15;
    my $seconds = time - $start;

    for my $pid (@{ $self->{pids} }) {
        my $share = (ran($pid) - $ran{$pid}) / $seconds;
        $self->broken(sprintf 'a worker runs for %d %% of the time while '
                      . 'nobody asks', 100 * $share) if $share > .25;
    }
}

sub grown {
    my ($self) = @_;

    $self->{growth} = max map { anonymous($_) - $self->{was}{$_} }
        @{ $self->{pids} };
    $self->broken("a worker grew by $self->{growth} KB")
        if $self->{growth} > $GROWTH && !$self->{reports};
}

# each worker counts in Redis within a second of its return

sub recover {
    my ($self, $healed, $right) = @_;

    my $load = $self->{load};
    my $most = $self->{fault}{refused} ? 2 : 1;
    my %left;
    for my $line (@{ $load->{lines} }) {
        $left{"$line $_"} = [$line, $_] for @POLICIES;
    }

    # each stays with the worker that it has seen recover
    $load->{keep} = 1;

    while (%left) {
        for my $each (sort keys %left) {
            delete $left{$each}
                if $load->probe(@{ $left{$each} }, $right) =~ /redis$/;
        }
        if (time - $healed > $most + 3) {
            $self->broken('Redis is not used again');
            last;
        }
        sleep 0.02 if %left;
    }
    $self->{back} = time - $healed;
    $self->broken(sprintf 'Redis is used again after %.2f s', $self->{back})
        if $self->{back} > $most + 0.2;
}

# the scripted Redis was not run down: every 25 ms at the most

sub attempts {
    my ($self) = @_;

    my $fault = $self->{fault};
    return if $fault->{each} || ($fault->{flaps} // '') eq 'any';

    my $n = $self->{front}->stats->{accepted} - $self->{accepted};
    my $seconds = $self->{lasted} + $self->{back} + 0.5;
    my $most = @POLICIES * $self->{workers}
               * (2 + $seconds / ($fault->{refused} ? 1 : 0.025));
    $self->broken(sprintf 'connected %d times in %.1f s', $n, $seconds)
        if $n > $most;
}

# within redis_timeout and 25 ms, but for what the machine added

sub late {
    my ($self) = @_;

    my @late = sort { $b <=> $a } @{ $self->{load}{late} // [] };
    $self->broken(sprintf '%d lookups took longer than redis_timeout and '
                  . '25 ms, up to %d ms', scalar @late, 1000 * $late[0])
        if @late;
}

# once it is known that Redis is away, nobody waits for it but who tries

sub waiting {
    my ($self) = @_;

    my ($fault, $load) = @$self{qw(fault load)};
    return if $fault->{right} ne 'out';

    my $tries = @POLICIES * $self->{workers}
                * (2 + $self->{lasted} / $self->{timeout});
    my $most = @{ $load->{lines} } + $tries;
    $self->broken(sprintf '%d lookups waited in %.1f s of an outage',
                  $load->{waited}, $self->{lasted})
        if $load->{waited} > $most;
}

# Redis holds what was admitted, once: within two seconds of its return, or of
# when it is asked again if it had refused us, and then for good

sub settle {
    my ($self, $until) = @_;

    return if $self->{off};
    my @off;
    sleep 0.05 while (@off = $self->compare) && time < $until;
    if (!@off) {
        sleep 0.1;
        @off = $self->compare;
    }
    $self->{off} = @off;
    @off = (@off[0 .. 3], (@off - 4) . ' more like that') if @off > 5;
    $self->broken($_) for @off;
}

# who was refused stays refused, though Redis may not know of it yet

sub refused {
    my ($self, $well) = @_;

    my @lines = grep { $_->{account}{refused} } @{ $self->{load}{lines} };
    $self->{load}->ask(2 * @lines, 0, $well, \@lines);
}

sub compare {
    my ($self) = @_;

    my $charged = $self->{front}->stats->{charged};
    my @off;
    $self->{doubt} = $self->{over} = 0;

    for my $account (@{ $self->{load}{accounts} }) {
        my $key = $self->key_of($account);
        my $done = $charged->{$key} // { lookups => 0, patients => {} };
        my ($set, $lookups) = $self->{admin}->ask(
            'HMGET', $key, 'patients/3600', 'lookups/86400');

        push @off, map { "$account->{name}: $_" }
            $self->compare_patients($account, $set, $done),
            $self->compare_lookups($account, $lookups, $done);
    }
    return @off;
}

sub compare_patients {
    my ($self, $account, $value, $done) = @_;

    my @off;
    $value //= '';
    my %held = map { unpack('H*', $_) => 1 }
        unpack '(a8)*', substr $value, min(144, length $value);
    my %must = map { $self->{aliases}{$_} => $_ }
        keys %{ $account->{fresh} // $account->{seen} };

    # Redis may have counted whom it could not tell of
    my %may = (%{ $done->{patients} },
               map { $self->{aliases}{$_} => 1 } keys %{ $account->{seen} });

    if (my @missing = sort map { $must{$_} } grep { !$held{$_} } keys %must)
    {
        push @off, @missing . ' patients admitted, but not counted: '
                   . $missing[0];
    }
    if (my @more = grep { !$may{$_} } keys %held) {
        push @off, @more . ' patients counted, but not admitted';
    }
    return @off;
}

sub compare_lookups {
    my ($self, $account, $value, $done) = @_;

    return if $account->{policy} ne 'both';

    my $held = $value ? (unpack 'Q<L<', $value)[1] : 0;
    my $doubt = $done->{lookups} - $account->{redis};
    my $least = $account->{since} // $account->{counted};

    $self->{doubt} += $doubt;
    $self->{over} += max(0, $held - $account->{counted});
    return "$account->{redis} lookups told from Redis, which charged "
           . $done->{lookups} if $doubt < 0;
    return "Redis charged $done->{lookups} lookups, though $account->{redis} "
           . "were told from there and $account->{untold} not"
        if $doubt > $account->{untold};
    return "$least lookups admitted, $held counted" if $held < $least;

    # whom Redis could not tell of what it had counted: the node counts that
    # itself and has it counted once; by the other modes nobody was admitted,
    # or nobody is counted
    my $most = $account->{counted} + ($self->{mode} eq 'local' ? 0 : $doubt);
    return "$account->{counted} lookups admitted and $doubt in doubt, "
           . "$held counted" if $held > $most;
    return;
}

sub descriptors {
    my ($self) = @_;

    # the last connections close when the worker finds out
    for my $pid (@{ $self->{pids} }) {
        my $most = $self->{empty}{$pid} + @POLICIES;
        my $end = time + 1;
        my $n;
        sleep 0.01 while ($n = files_of($pid)) > $most && time < $end;
        $self->broken("a worker has $n files open, not $most at the most")
            if $n > $most;
    }
}

# one connection for each policy and worker

sub connections {
    my ($self) = @_;

    my $n = $self->{front}->stats->{links};
    $self->broken("$n connections to Redis")
        if $n > @POLICIES * $self->{workers};
}

sub alive {
    my ($self) = @_;

    my $now = join ' ', sort(children($self->{nginx}));
    my $then = join ' ', sort @{ $self->{pids} };
    $self->broken("workers $then are now $now") if $now ne $then;
}

sub log {
    my ($self) = @_;

    my $fault = $self->{fault};
    my (%away, %worst, %said, @lines);

    for my $line (split /\n/, slurp("$self->{dir}/error.log")) {
        $self->broken("logged: $line")
            if $line =~ /\[(?:alert|emerg)\]|exited (?:on|with)/;

        my ($pid, $what) = $line =~ /\] (\d+)#.*? patient guard: (.*)/
            or next;
        push @lines, $what;
        $self->broken('what can\'t be printed is logged')
            if $what =~ /[^\x20-\x7e]/;
        $self->broken('a line of ' . length($line)) if length $line > 600;
        $self->broken("a name is logged: $line")
            if $what =~ /(?:calm|greedy|over|probe|patient)-\d/;
        if ($what =~ / is away: /)  { $away{$pid}++; $said{$pid}++ }
        elsif ($what =~ / is back/) { $away{$pid}-- }
        $worst{$pid} = max($worst{$pid} // 0, $away{$pid} // 0);
    }
    $self->{lines} = @lines;

    # it can't go away twice without coming back; and it is back where it was
    # asked in the end
    my %used = map { $_->{worker} => 1 } @{ $self->{load}{lines} };
    my $flaps = $fault->{flaps} // 0;
    my $seconds = $self->{lasted} + $self->{back};
    $flaps = 1e9 if $flaps eq 'any';
    for my $pid (keys %worst) {
        $self->broken("Redis is away $worst{$pid} times at once")
            if $worst{$pid} > @POLICIES;
        $self->broken('Redis is back, but that is not said')
            if ($away{$pid} // 0) > 0 && $used{$pid};
        $self->broken("$said{$pid} times away")
            if ($said{$pid} // 0) > @POLICIES * (1 + $flaps * $seconds);
    }

    # what fails all lookups is said, and once a second at most
    my $most = @POLICIES * $self->{workers}
               * (4 + (1 + 2 * $flaps) * $seconds);
    $self->broken('an outage that the log does not mention')
        if $fault->{right} eq 'out' && !grep { !/" is back$/ } @lines;
    $self->broken(@lines . ' lines logged')
        if @lines > $most;
    $self->broken("logged though nothing was wrong: $lines[0]")
        if $fault->{right} eq 'well' && @lines;
}

1;
