package GuardLog;

# guardlog, which reads logs; built of its sources, and of the module's rooms
# for aliases, unless it is installed.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Time::Local qw(timegm timelocal);

my $folder = abs_path(dirname(__FILE__));
my @ROOMS = map { "ngx_patient_guard_$_" } qw(alias nir);

sub fail { die { code => 2, text => $_[0] } }

sub sources {
    my ($root) = @_;

    return glob("$folder/*.c"),
           map { "$root/ngx_patient_guard_module/$_.c" } @ROOMS;
}

# objs: what nginx's configure has written; debian/rules calls it as well
sub compile {
    my ($root, $objs, $built, @flags) = @_;

    my $nginx = '/usr/share/nginx/src/src';
    system($ENV{CC} || 'cc', '-O2', '-D_GNU_SOURCE', '-Wall', '-Wextra',
           '-Wno-unused-parameter', '-Werror', @flags,
           (map { ('-I', $_) } "$root/ngx_patient_guard_module", $objs,
            map { "$nginx/$_" } qw(core event event/modules os/unix)),
           '-o', "$built.$$", sources($root), '-lcrypto', '-lz') == 0
        or fail('guardlog does not compile');
    rename "$built.$$", $built or fail("$built: $!");
}

sub build {
    my ($root, $built) = @_;

    delete $ENV{MAKEFLAGS};
    # stdout is for what was found
    system("\Q$root\E/scripts/setup build >&2") == 0
        && system("make -s -C \Q$root\E headers >&2") == 0
        && system('mkdir', '-p', dirname($built)) == 0
        or fail('guardlog lacks what it is built with');
    compile($root, "$root/.build/module", $built);
}

# its path
sub program {
    return "$folder/guardlog" if -x "$folder/guardlog";

    my $root = dirname(dirname($folder));
    my $module = "$root/ngx_patient_guard_module";
    -e "$module/$ROOMS[0].c"
        or fail("there is neither $folder/guardlog nor what it is made of");
    my $built = "$root/.build/guardctl/guardlog";
    my @newer = grep { !-e $built || (stat $_)[9] > (stat $built)[9] }
                sources($root), glob("$folder/*.h"),
                map { "$module/$_.h" } @ROOMS, 'ngx_patient_guard';
    build($root, $built) if @newer;
    return $built;
}

# A time to ms: Unix seconds, or ISO 8601, by TZ unless it has an offset.  What
# ends a span ends with the second, or day, that it names.
sub moment {
    my ($option, $text, $end) = @_;

    return $1 * 1000 + int(1000 * ($2 || 0)) + ($end && !defined $2 ? 999 : 0)
        if $text =~ /^(0|\d{9,11})(\.\d+)?\z/;
    my ($year, $month, $day, $hour, $minute, $second, $fraction, $zone)
        = $text =~ /^(\d{4})-(\d\d)-(\d\d)
                    (?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?
                       (Z|[+-]\d\d:?\d\d)?)?\z/x
        or fail("--$option $text: expected a time such as 2022-03-11T07:00:00, "
                . '2022-03-11, or Unix seconds');
    my @clock = defined $hour ? ($second // 0, $minute, $hour)
              : $end ? (59, 59, 23) : (0, 0, 0);
    my $make = defined $zone ? \&timegm : \&timelocal;
    my $time = eval { $make->(@clock, $day, $month - 1, $year) }
        // fail("--$option $text: there is no such time");
    if (($zone // 'Z') =~ /^([+-])(\d\d):?(\d\d)/) {
        $time -= ($2 * 60 + $3) * ($1 eq '-' ? -60 : 60);
    }
    return $time * 1000 + int(1000 * ($fraction || 0))
        + ($end && !defined $fraction ? 999 : 0);
}

# what guardlog is started with, from the options of a command
sub words {
    my ($command, $account, $option, @logs) = @_;

    my @words = ($command, '-a', $account);
    push @words, '-s', $option->{secret} if defined $option->{secret};
    push @words, '-A' if $option->{alias};
    push @words, '-f' if $option->{fold};
    push @words, '-j' if $option->{json};
    push @words, '-P', $option->{policy} if defined $option->{policy};
    push @words, '-p', $option->{patients} if defined $option->{patients};
    push @words, '-n' if ($option->{kind} // '') eq 'nir';
    my %at;
    for (['since', '-F', 0], ['until', '-U', 1]) {
        my ($name, $letter, $end) = @$_;
        next if !defined $option->{$name};
        $at{$name} = moment($name, $option->{$name}, $end);
        push @words, $letter, $at{$name};
    }
    fail('--until is before --since')
        if %at == 2 && $at{until} < $at{since};

    my @files = grep { defined } @$option{qw(patients)}, @logs;
    fail('stdin can be one of the files only')
        if (grep { $_ eq '-' } @files) > 1;
    for my $file (grep { $_ ne '-' } @files) {
        open my $in, '<', $file or fail("$file: $!");
        -d $in and fail("$file: is a folder");
    }
    return (@words, '--', @logs);
}

# prints whom it finds; does not return
sub exposed {
    my $program = program();
    my @words = words('exposed', @_);
    exec { $program } $program, @words or fail("$program: $!");
}

my @COLUMNS = qw(start lookups patients new throttle challenge deny
                 unavailable dry_run);

# { hours => [{ start, lookups ... }], all => {...}, status }
sub timeline {
    my $program = program();
    my @words = words('timeline', @_);
    open my $out, '-|', $program, @words or fail("$program: $!");
    my %found = (hours => []);
    while (my $line = <$out>) {
        my ($what, @values) = split ' ', $line;
        my %row;
        @row{@COLUMNS} = map { $_ + 0 } @values;
        if ($what eq 'hour') {
            push @{$found{hours}}, \%row;
        } else {
            delete $row{start};
            $found{all} = \%row;
        }
    }
    close $out;
    $found{status} = $? >> 8;
    $found{all} or die { code => 2, text => '' };
    return \%found;
}

1;
