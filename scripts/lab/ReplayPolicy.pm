package ReplayPolicy;

# The policies that a configuration of nginx has, and one of them rewritten
# for a replay: what its variables would hold is in the request's header.

use strict;
use warnings;

use File::Basename qw(dirname);

# what the private nginx knows by itself; all others come from the log
my $OWN = qr/^(?:binary_remote_addr|remote_addr|realip_remote_addr)$/;

# what belongs to the operator's nodes, or is another in a replay
my $DROPPED = qr/^(?:redis|redis_\w+|secret|consistency|on_outage|events|zone
    |throttle_delay|challenge|proof|clock|account)$/x;

# signals that are numbers, not sets that have to fit into a zone
my $NUMBERS = qr/^(?:lookups|misses)$/;

# --- reading, as nginx does: words, quotes, comments, blocks

my %ESCAPED = (t => "\t", r => "\r", n => "\n");

sub unquote {
    my ($word) = @_;

    $word =~ s/\\(["'\\trn])/$ESCAPED{$1} \/\/ $1/ge;
    return $word;
}

# the next token: a word as [text], or one of ; { }; undef at the end
sub token {
    my ($text) = @_;

    $$text =~ /\G(?:\s+|#[^\n]*)+/gc;
    return undef if (pos($$text) // 0) == length $$text;
    return $1 if $$text =~ /\G([;{}])/gc;
    return [unquote($1)] if $$text =~ /\G"((?:[^"\\]|\\.)*)"/gcs;
    return [unquote($1)] if $$text =~ /\G'((?:[^'\\]|\\.)*)'/gcs;
    return [unquote($1)]
        if $$text =~ /\G((?:\\.|\$\{|[^\s;{\\])(?:\\.|\$\{|[^\s;{\\])*)/gcs;
    die "it does not read as nginx's\n";
}

# a list of { words, block }
sub statements {
    my ($text, $nested) = @_;

    my (@found, @words);
    while (1) {
        my $token = token($text);
        if (!defined $token) {
            die "it ends within a directive or block\n" if @words || $nested;
            return \@found;
        }
        if (ref $token) {
            push @words, $token->[0];
        } elsif ($token eq ';') {
            push @found, { words => [@words] };
            @words = ();
        } elsif ($token eq '}') {
            die "unexpected \"}\"\n" if @words || !$nested;
            return \@found;
        } elsif (@words && $words[0] =~ /_by_lua_block$/) {
            $$text =~ /\G((?:[^{}]|\{(?1)\})*)\}/gc;
            @words = ();
        } else {
            push @found, { words => [@words], block => statements($text, 1) };
            @words = ();
        }
    }
}

sub read_file {
    my ($path) = @_;

    open my $file, '<', $path or die "$path: $!\n";
    local $/;
    my $text = <$file> // '';
    my $found = eval { statements(\$text) };
    die "$path: $@" unless $found;
    return $found;
}

# its statements with what they include, relative to the first file
sub included {
    my ($found, $folder, $depth) = @_;

    die "includes nest too deeply\n" if $depth > 50;
    my @all;
    for my $statement (@$found) {
        my ($name, $path) = @{$statement->{words}};
        if (($name // '') eq 'include' && defined $path) {
            $path = "$folder/$path" unless $path =~ m{^/};
            my @paths = $path =~ /[*?\[]/ ? glob $path : $path;
            for my $file (@paths) {
                if (!-e $file) {
                    warn "replay: $file: is not there, passed over\n";
                    next;
                }
                push @all, @{included(read_file($file), $folder, $depth + 1)};
            }
            next;
        }
        $statement->{block} = included($statement->{block}, $folder, $depth)
            if $statement->{block};
        push @all, $statement;
    }
    return \@all;
}

sub collect {
    my ($found, $policies) = @_;

    for my $statement (grep { $_->{block} } @$found) {
        my ($name, $policy) = @{$statement->{words}};
        if (($name // '') eq 'patient_guard_policy') {
            $policies->{$policy // ''} = $statement->{block};
        } else {
            collect($statement->{block}, $policies);
        }
    }
}

# the policy of that name, or the only one
sub find {
    my ($path, $name) = @_;

    my %policies;
    collect(included(read_file($path), dirname($path), 0), \%policies);
    my @names = sort keys %policies;

    die "$path: there is no patient_guard_policy\n" unless @names;
    if (defined $name) {
        die "$path: no policy is called \"$name\", but: @names\n"
            unless $policies{$name};
    } else {
        die "$path: several policies, choose by --policy: @names\n"
            if @names > 1;
        $name = $names[0];
    }
    return { name => $name, file => $path, members => {},
             directives => [map { $_->{words} } @{$policies{$name}}] };
}

# --- rewriting

sub quote {
    my ($word) = @_;

    $word =~ s/(["\\])/\\$1/g;
    return qq("$word");
}

# variables become fields of the header, and members of the log
sub moved {
    my ($policy, $word) = @_;

    $word =~ s{\$(?:\{(\w+)\}|(\w+))}{
        my $name = lc($1 // $2);
        $name =~ s/^replay_//;
        if ($name !~ $OWN) {
            $policy->{members}{$name} = 1;
            $name = "http_replay_$name";
        } else {
            $policy->{addresses} = 1;
        }
        "\${$name}"
    }ge;
    return $word;
}

sub directive {
    my ($policy, @words) = @_;

    return '    ' . join(' ', map { quote(moved($policy, $_)) } @words)
        . ";\n";
}

# what a limit says: { signal, count, window, action, name, options }
sub limit {
    my (undef, $rate, @more) = @_;

    my ($signal, $count, $window) = ($rate // '') =~ m{^(\w+)=(.*)/(\w+)$}s
        or return;
    my %limit = (signal => $signal, count => $count, window => $window,
                 action => '');
    for my $word (@more) {
        if ($word =~ /^(\w+)=(.*)/s) {
            $limit{options}{$1} = $2;
        } else {
            $limit{action} = $word;
        }
    }
    my $per = $limit{options}{per};
    $limit{name} = $limit{options}{name} // "$signal/$window"
        . (defined $per ? '/' . $per =~ s/[\$\{\}\x00-\x20]//gr : '');
    return \%limit;
}

sub named {
    my ($policy, $name) = @_;

    return grep { $_->[0] eq $name } @{$policy->{directives}};
}

sub limits {
    my ($policy) = @_;

    return grep { $_ } map { limit(@$_) } named($policy, 'limit');
}

sub account {
    my ($policy) = @_;

    my @words = map { @$_ } named($policy, 'account');
    return 'account $http_replay_account trusted'
        . ((grep { $_ eq 'fold' } @words) ? ' fold' : '') . ';';
}

my %SECONDS = (ms => 0.001, s => 1, m => 60, '' => 1);

# seconds that a throttled lookup is held, where something throttles
sub delay {
    my ($policy) = @_;

    return 0 unless grep { $_->{action} eq 'throttle' } limits($policy);
    my ($delay) = named($policy, 'throttle_delay');
    return 5 unless ($delay->[1] // '') =~ /^(\d+)(ms|[sm]|)$/;
    return $1 * $SECONDS{$2};
}

# What the account proves itself by: the log's own member where it has one,
# else what the driver says.  A map, for http.
sub proof {
    my ($policy) = @_;

    my ($proof) = named($policy, 'proof');
    local $policy->{members} = {};
    my $own = $proof ? moved($policy, $proof->[1] // '') : '';
    $policy->{session} = $proof && ($proof->[2] // '') eq 'session';
    $policy->{proofs} = $policy->{members};
    return "map \"$own\" \$replay_proof {\n"
        . "    \"\"       \$http_replay_proof;\n"
        . "    default  " . ($own eq '' ? '""' : quote($own)) . ";\n}\n";
}

# a limit keeps its name, of which "per" may be a part
sub named_limit {
    my ($policy, @words) = @_;

    my $limit = limit(@words);
    $policy->{addresses} = 1 if $limit && $limit->{signal} eq 'addresses';
    push @words, "name=$limit->{name}"
        if $limit && defined $limit->{options}{per}
           && !defined $limit->{options}{name};
    return directive($policy, @words);
}

# The block as it is judged by; @more: what is put in.  Where whoever is
# challenged passes by himself, the log has no session that he does so in.
sub judging {
    my ($policy, $passes, @more) = @_;

    my $session = $policy->{session} && !$passes ? ' session' : '';

    return join '', "patient_guard_policy $policy->{name} {\n",
        (map { "    $_\n" } account($policy), 'clock $http_replay_time;',
         "proof \$replay_proof$session;", 'throttle_delay 1ms;', @more),
        (map { $_->[0] eq 'limit' ? named_limit($policy, @$_)
                                  : directive($policy, @$_) }
         grep { $_->[0] !~ $DROPPED } @{$policy->{directives}}), "}\n";
}

# a count that is factor times as high, of what nobody is refused by
sub raised {
    my ($limit, $factor) = @_;

    return 4294967295 if $limit->{signal} =~ $NUMBERS;
    my ($count) = grep { ($_ // '') =~ /^\d+$/ }
        $limit->{count}, $limit->{options}{default}, 1000;
    $count *= $factor;
    return $count < 1000 ? 1000 : $count > 1000000 ? 1000000 : $count;
}

# the block that tells how far accounts go, if nothing stops them
sub measuring {
    my ($policy, $factor, @more) = @_;

    my @limits = map {
        my $limit = $_;
        my %options = %{$limit->{options} // {}};
        my $rate = "$limit->{signal}=" . raised($limit, $factor)
            . "/$limit->{window}";
        named_limit($policy, 'limit', $rate, 'log',
                  map { "$_=$options{$_}" }
                  grep { defined $options{$_} } qw(per name))
    } limits($policy);

    return join '', "patient_guard_policy $policy->{name}-measured {\n",
        (map { "    $_\n" } account($policy), 'clock $http_replay_time;',
         @more),
        (map { directive($policy, @$_) } named($policy, 'memory')),
        @limits, "}\n";
}

1;
