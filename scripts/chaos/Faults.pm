package Faults;

# The faults, a row each: its name, how it comes about, what is right.
#
#   name, how    for the table that is printed
#   right        what a lookup is told meanwhile, by mode: see RIGHT, and
#                Load::judge() for the words
#   inject       sub { my ($cell) = @_ }: brings it about
#   heal         ends it
#   front        how the scripted Redis is ill: see Front; it is told so by
#                inject and heal, where there is none
#   each         [n, sub { my ($cell) = @_ }]: while nobody asks, after every
#                n lookups
#
# and what else is unlike other cells:
#
#   tcp          nginx connects by TCP, not by a unix socket
#   workers      2, not 1
#   cold         it is there before nginx starts
#   timeout      redis_timeout in ms, not 200: nobody is to run into it
#   options      of redis-server
#   password     nginx has one, and Redis at first wants the same
#   preload      nginx runs with worker.c: a clock, a small send buffer
#   keep         nobody connects meanwhile
#   root         workers as the runner, who may set their limits
#   rate         lookups a second, if not so many as elsewhere
#   poisoned     accounts that suffer from it; nobody else does
#   flaps        how often a second it may be said anew that Redis is away;
#                'any' where it comes and goes
#   refused      nginx may wait a second until it tries again
#   lost         Redis forgets what it knew

use strict;
use warnings;

use Resp;

our %RIGHT = (
    # nobody notices
    well   => { local => 'redis', deny => 'redis', allow => 'redis' },

    # on_outage holds
    out    => { local => 'local', deny => 'refuse', allow => 'free' },

    # on_outage holds for what would be written; who is over the limit may be
    # told so by Redis
    writes => { local => 'local read', deny => 'refuse read',
                allow => 'free read' },

    # the one or the other: it comes and goes
    either => { local => 'redis local', deny => 'redis refuse',
                allow => 'redis free' },
);

my $LATE = 0.2;                  # redis_timeout

# the reply to a script, without its length

sub said { $_[0] =~ /^\$\d+\r\n(.*)\r\n\z/s ? $1 : undef }

# a reply with other bytes from there on: see ngx_patient_guard_count.lua

sub spoilt {
    my ($at, $bytes) = @_;

    return sub {
        my $reply = $_;
        substr $reply, $at, length $bytes, $bytes;
        Resp::bulk($reply);
    };
}

# a reply as it never should be: ($name, $how, $bytes), $bytes with the
# right ones in $_, as text or a function that makes it

sub says {
    my ($name, $how, $bytes, %more) = @_;

    return { name => $name, how => $how, right => 'out', %more,
        front => { reply => sub {
            my ($link, $reply) = @_;
            local $_ = said($reply) // return 0;
            $link->say(ref $bytes ? $bytes->() : $bytes);
            return 1;
        } } };
}

# an error instead of an answer, and nothing is counted

sub error {
    my ($name, $text, %more) = @_;

    return { name => $name, how => "a script is answered -$name",
        right => 'out', %more,
        front => { ask => sub { $_[0]->answer("-$text\r\n"); 1 } } };
}

# what greets whoever connects

sub greets {
    my ($name, $how, $bytes) = @_;

    return { name => $name, how => $how, right => 'out',
        inject => sub { $_[0]->front('ill', 'hang-up') },
        front => { all => 1,
                   hello => sub { $_[0]->say($bytes) },
                   ask => sub { 1 } } };
}

sub later {
    my ($from, $to) = @_;

    return { reply => sub {
        my ($link, $reply) = @_;
        $link->say($reply, $from + rand($to - $from));
        return 1;
    } };
}

sub admin {
    my (@command) = @_;
    return sub { $_[0]->redis(@command) };
}

my ($shifted, $splits);

our @FAULTS = (

    # --- the way to Redis

    { name => 'down at start', how => 'nothing listens when nginx starts',
      right => 'out', cold => 1, workers => 2,
      heal => sub { $_[0]->front('come') } },

    { name => 'refused', how => 'ECONNREFUSED', tcp => 1, right => 'out',
      inject => sub { $_[0]->front('leave') },
      heal   => sub { $_[0]->front('come') } },

    { name => 'no socket', how => 'the unix socket is gone', right => 'out',
      workers => 2,
      inject => sub { $_[0]->front('leave') },
      heal   => sub { $_[0]->front('come') } },

    { name => 'no permission', how => 'chmod 0 of the unix socket',
      right => 'out',
      inject => sub { chmod 0, $_[0]{front}{path};
                      $_[0]->front('hang-up') },
      heal   => sub { chmod 0777, $_[0]{front}{path} } },

    { name => 'blackholed connect', how => 'a full queue, TCP', tcp => 1,
      right => 'out',
      inject => sub { $_[0]->front('block') },
      heal   => sub { $_[0]->front('come') } },

    { name => 'full queue', how => 'a full queue, unix socket',
      right => 'out',
      inject => sub { $_[0]->front('block') },
      heal   => sub { $_[0]->front('come') } },

    { name => 'EMFILE', how => 'the worker may open no file',
      right => 'out', keep => 1, root => 1,
      inject => sub { $_[0]->files(3); $_[0]->front('hang-up') },
      heal   => sub { $_[0]->files(0) } },

    { name => 'FIN', how => 'a command is answered by FIN', right => 'out',
      workers => 2, front => { ask => sub { $_[0]->close; 1 } } },

    { name => 'FIN, counted', how => 'the same, after Redis has counted',
      right => 'out', front => { reply => sub { $_[0]->close; 1 } } },

    { name => 'RST', how => 'a command is answered by RST', tcp => 1,
      right => 'out', front => { ask => sub { $_[0]->reset; 1 } } },

    { name => 'RST, counted', how => 'the same, after Redis has counted',
      tcp => 1, right => 'out',
      front => { reply => sub { $_[0]->reset; 1 } } },

    { name => 'FIN now and then', how => 'every 40th command gets FIN',
      right => 'either', flaps => 'any', workers => 2,
      front => { ask => sub {
          my ($link) = @_;
          return 0 if $link->{front}{asked} % 40;
          $link->close;
          return 1;
      } } },

    { name => 'idle, FIN', how => 'closed while nobody asks',
      right => 'well',
      each => [20, sub { $_[0]->silence; $_[0]->front('hang-up') }] },

    { name => 'idle, RST', how => 'reset while nobody asks', tcp => 1,
      right => 'well', workers => 2,
      each => [20, sub { $_[0]->silence; $_[0]->front('drop') }] },

    { name => 'stalled', how => 'who listens is stopped', right => 'out',
      inject => sub { $_[0]->signal('STOP', 'front') },
      heal   => sub { $_[0]->signal('CONT', 'front') } },

    { name => 'Redis stalled', how => 'SIGSTOP of redis-server',
      right => 'out', workers => 2,
      inject => sub { $_[0]->signal('STOP', 'redis') },
      heal   => sub { $_[0]->signal('CONT', 'redis') } },

    { name => 'deaf', how => 'nobody reads, tiny send buffer',
      right => 'out', preload => 1, front => { deaf => 1 } },

    { name => 'sips', how => 'read 64 bytes at a time, tiny send buffer',
      right => 'well', preload => 1, timeout => 2000, rate => 150,
      front => { deaf => 64 } },

    # --- time

    { name => 'slow by 1 ms', how => '0 to 2 ms late', right => 'well',
      front => later(0, 0.002) },

    { name => 'slow by 10 ms', how => '5 to 15 ms late', right => 'well',
      workers => 2, front => later(0.005, 0.015) },

    { name => 'slow by 40 ms', how => '20 to 60 ms late', right => 'well',
      front => later(0.02, 0.06) },

    { name => 'about the timeout', how => '0.5 to 1.5 times redis_timeout',
      right => 'either', flaps => 'any',
      front => later(0.5 * $LATE, 1.5 * $LATE) },

    # a worker that wakes up late finds it in time
    { name => 'just after', how => 'up to 10 ms after redis_timeout',
      right => 'either', flaps => 'any',
      front => later($LATE + 0.001, $LATE + 0.01) },

    { name => 'late', how => 'half of redis_timeout later', right => 'out',
      front => later(1.5 * $LATE, 1.6 * $LATE) },

    { name => 'late greeting', how => 'PING is answered too late',
      right => 'out',
      inject => sub { $_[0]->front('ill', 'hang-up') },
      front => { all => 1, %{ later(1.5 * $LATE, 1.6 * $LATE) } } },

    { name => 'CLIENT PAUSE', how => 'for as long as it lasts',
      right => 'out',
      inject => admin(qw(CLIENT PAUSE 100000 WRITE)),
      heal   => admin(qw(CLIENT UNPAUSE)) },

    { name => 'short pauses', how => 'CLIENT PAUSE 50, again and again',
      right => 'well', each => [20, admin(qw(CLIENT PAUSE 50 WRITE))] },

    # --- what is no answer

    { name => 'truncated', how => 'half a reply, then FIN',
      right => 'out',
      front => { reply => sub {
          my ($link, $reply) = @_;
          $link->say(substr $reply, 0, length($reply) / 2);
          $link->close;
          return 1;
      } } },

    says('garbage', 'what?', "what?\r\n"),
    says('HTTP', 'an HTTP answer to a script',
         "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"),
    greets('TLS', 'a TLS alert greets', "\x15\x03\x01\x00\x02\x02\x28"),
    greets('SMTP', '220 greets', "220 mail.example ESMTP\r\n"),
    greets('POP3', '+OK greets', "+OK POP3 ready\r\n"),
    greets('silent', 'nothing greets', ''),

    { name => 'a reply too many', how => 'each comes twice',
      right => 'either', flaps => 'any',
      front => { reply => sub { $_[0]->say($_[1] . $_[1]); 1 } } },

    says('a nil before', 'nil, then the answer',
         sub { "\$-1\r\n" . Resp::bulk($_) }),

    { name => 'shifted', how => 'each gets the answer of another',
      right => 'out', workers => 2,
      front => { reply => sub {
          my ($link, $reply) = @_;
          my $other = $shifted // "\$-1\r\n";
          $shifted = $reply;
          $link->say($other);
          return 1;
      } } },

    says('status', '+ instead of a string', sub { "+$_\r\n" }),
    says('integer', ':1', ":1\r\n"),
    says('nil', '$-1', "\$-1\r\n"),
    says('nil array', '*-1', "*-1\r\n"),
    says('no length', '$-2', "\$-2\r\n"),
    says('array', 'the answer in an array',
         sub { "*1\r\n" . Resp::bulk($_) }),
    says('less', 'a byte is missing', sub { Resp::bulk(substr $_, 0, -1) }),
    says('more', 'a limit too many', sub { Resp::bulk($_ . substr $_, -16) }),
    says('another', 'that of another call', spoilt(0, "\1" x 8)),
    says('overflow', 'a wait of 36 million years',
         spoilt(14, pack 'Q<', 1 << 60)),
    says('NUL', 'a NUL at the end', sub { Resp::bulk("$_\0") }),
    says('RESP3 push', '>1', ">1\r\n+a\r\n"),
    says('RESP3 map', '%1', "%1\r\n+a\r\n+b\r\n"),
    says('RESP3 attribute', '|1 before the answer',
         sub { "|1\r\n+a\r\n+b\r\n" . Resp::bulk($_) }),
    says('huge string', '1 GB promised, 300 KB sent',
         "\$1000000000\r\n" . 'x' x 300_000),
    says('huge array', 'a million elements promised',
         sub { "*1000000\r\n" . Resp::bulk($_) x 100 }),
    says('nesting', 'arrays in arrays', "*1\r\n" x 500),
    says('endless line', '300 KB without an end', '+' . 'x' x 300_000),

    # --- right answers, oddly delivered

    { name => 'dribble', how => 'byte by byte', right => 'well',
      timeout => 2000, rate => 200,
      front => { reply => sub {
          my ($link, $reply) = @_;
          $link->say($_, 0.0001) for split //, $reply;
          return 1;
      } } },

    { name => 'split', how => 'in two, at each offset in turn',
      right => 'well', timeout => 1000,
      front => { reply => sub {
          my ($link, $reply) = @_;
          my $at = 1 + $splits++ % (length($reply) - 1);
          $link->say(substr $reply, 0, $at);
          $link->say(substr($reply, $at), 0.002);
          return 1;
      } } },

    { name => 'coalesced', how => 'replies of 15 ms in one piece',
      right => 'well', timeout => 1000, workers => 2,
      front => { reply => sub {
          my ($link, $reply) = @_;
          # the last one holds what it joins
          my $last = $link->{out}[-1];
          if ($last && $last->[0] > Time::HiRes::time()) {
              $last->[1] .= $reply;
          } else {
              $link->say($reply, 0.015);
          }
          return 1;
      } } },

    # --- what Redis says when it can't serve

    { name => 'LOADING', how => 'it loads its data', right => 'out',
      options => [qw(--loading-process-events-interval-bytes 1024)],
      inject => sub { $_[0]->reload_redis },
      heal   => sub { $_[0]->redis(qw(CONFIG SET key-load-delay 0));
                      $_[0]->loaded } },

    { name => 'BUSY', how => 'a script that does not end', right => 'out',
      options => [qw(--busy-reply-threshold 10)],
      inject => sub { $_[0]->busy },
      heal   => sub { $_[0]->redis(qw(SCRIPT KILL)); $_[0]->busy_over } },

    { name => 'READONLY', how => 'REPLICAOF', right => 'writes', flaps => 6,
      inject => admin(qw(REPLICAOF 127.0.0.1 1)),
      heal   => admin(qw(REPLICAOF NO ONE)) },

    error('MASTERDOWN', 'MASTERDOWN Link with MASTER is down and '
          . 'replica-serve-stale-data is set to \'no\'.'),

    { name => 'MISCONF', how => 'a snapshot failed', right => 'writes',
      flaps => 6,
      options => [qw(--enable-protected-configs yes)],
      inject => sub { $_[0]->misconf },
      heal   => admin('CONFIG', 'SET', 'save', '') },

    { name => 'NOREPLICAS', how => 'min-replicas-to-write 1',
      right => 'writes', flaps => 6,
      inject => admin(qw(CONFIG SET min-replicas-to-write 1)),
      heal   => admin(qw(CONFIG SET min-replicas-to-write 0)) },

    { name => 'OOM', how => 'maxmemory 1', right => 'writes', flaps => 6,
      workers => 2,
      inject => admin(qw(CONFIG SET maxmemory 1)),
      heal   => admin(qw(CONFIG SET maxmemory 0)) },

    { name => 'NOAUTH', how => 'a password is set', right => 'out',
      refused => 1,
      inject => sub { $_[0]->redis(qw(CONFIG SET requirepass other));
                      $_[0]->front('hang-up') },
      heal   => admin('CONFIG', 'SET', 'requirepass', '') },

    { name => 'WRONGPASS', how => 'another password is set',
      right => 'out', refused => 1, password => 1, workers => 2,
      inject => sub { $_[0]->redis(qw(CONFIG SET requirepass other));
                      $_[0]->front('hang-up') },
      heal   => admin(qw(CONFIG SET requirepass open-sesame)) },

    { name => 'NOPERM', how => 'ACL without EVAL', right => 'out',
      refused => 1,
      inject => admin(qw(ACL SETUSER default -eval -evalsha -fcall)),
      heal   => admin(qw(ACL SETUSER default +@all)) },

    { name => 'NOSCRIPT once', how => 'it is forgotten again and again',
      right => 'well', timeout => 1000,
      front => { ask => sub {
          my ($link, @command) = @_;
          $link->{knows} = 20 if $command[0] eq 'EVAL';
          return 0 if ($link->{knows} // 0) > 0 && $link->{knows}--;
          $link->answer("-NOSCRIPT No matching script.\r\n");
          return 1;
      } } },

    error('NOSCRIPT', 'NOSCRIPT No matching script. Please use EVAL.'),

    { name => 'SCRIPT FLUSH', how => 'after every 20 lookups',
      right => 'well', workers => 2,
      each => [20, admin(qw(SCRIPT FLUSH))] },

    error('MOVED', 'MOVED 3999 127.0.0.1:6381'),
    error('ASK', 'ASK 3999 127.0.0.1:6381'),
    error('CLUSTERDOWN', 'CLUSTERDOWN Hash slot not served'),
    error('unknown', "ERR \e[31m \0 \x80 \x0b\r what?"),

    { name => 'max clients', how => 'maxclients 1', right => 'out',
      inject => sub { $_[0]->redis(qw(CONFIG SET maxclients 1));
                      $_[0]->front('hang-up') },
      heal   => admin(qw(CONFIG SET maxclients 1000)) },

    # --- what it holds

    { name => 'WRONGTYPE', how => 'two accounts are no hashes',
      right => 'out', poisoned => [qw(calm-0 greedy-9)],
      inject => sub { $_[0]->poison(sub {
                          $_[0]->redis('DEL', $_[1]);
                          $_[0]->redis('SADD', $_[1], 'x') }) },
      heal   => sub { $_[0]->poison(sub { $_[0]->redis('DEL', $_[1]) }) } },

    { name => 'damaged', how => 'two accounts\' counts are cut short',
      right => 'out', poisoned => [qw(calm-4 greedy-7)], workers => 2,
      inject => sub { $_[0]->poison(sub {
                          $_[0]->redis('HSET', $_[1], 'patients/3600',
                                       'x') }) },
      heal   => sub { $_[0]->poison(sub { $_[0]->redis('DEL', $_[1]) }) } },

    { name => 'FLUSHALL', how => 'all counts are lost', right => 'well',
      lost => 1, workers => 2, inject => admin('FLUSHALL') },

    { name => 'killed', how => 'it comes back with an empty data set',
      right => 'out', lost => 1,
      inject => sub { $_[0]->stop_redis },
      heal   => sub { $_[0]->start_redis } },

    # --- clocks

    { name => 'clock behind', how => 'by 10 minutes', right => 'well',
      preload => 1, inject => sub { $_[0]->clock(-600) } },

    { name => 'clock ahead', how => 'by 10 minutes', right => 'well',
      preload => 1, inject => sub { $_[0]->clock(600) } },
);

my %names;
$names{ $_->{name} }++ && die "two faults are called $_->{name}\n"
    for @FAULTS;

1;
