# What FHIR servers answer (t/fhir), and what scripts/policies/fhir.conf and
# fhir-location.conf find in it: the patients that t/fhir/patients.pl finds by
# parsing, here with Perl's own engine; scripts/fhir/run compare does it with
# the module, in front of a server.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use constant WINDOW => 4096;               # bytes that a match can see

sub slurp {
    open my $file, '<:raw', $_[0] or die "$_[0]: $!";
    local $/;
    return <$file>;
}

my $expected = JSON::PP::decode_json(slurp('t/fhir/expected.json'));
my $maps     = slurp('scripts/policies/fhir.conf');
my $location = slurp('scripts/policies/fhir-location.conf');

# what no pattern can tell: [file, found and not there, there and not found]

my %known = (

    # a contained resource behind the first one
    'spec-contained-second.json' => [['someone'], []],

    # an id and its resourceType further apart than a match can see, and no
    # fullUrl
    'spec-photograph-far.json'   => [[], ['pat-94.8']],
);

# --- the truth is what it says it is

my @files = sort map { m{([^/]+)\z} } glob 't/fhir/medplum-*.json t/fhir/spec-*.json';

is_deeply(\@files, [sort keys %$expected], 'each file has its patients');

for my $line (split /\n/, `perl t/fhir/patients.pl @{[map { "t/fhir/$_" } @files]}`) {
    my ($file, $list) = $line =~ m{([^/]+\.json):\s*(.*)};
    is($list, join(' ', @{$expected->{$file}}), "$file: what it discloses");
}

# --- what the pattern finds: each start sees WINDOW bytes

sub pattern {
    my ($name) = @_;
    my ($text) = $location =~ /^patient_guard_$name\s+'(.*?)';/ms
        or die "no $name\n";
    unlike($text, qr/\(\*|\\[GKC]|\(\?<[=!]|\\[\\"'tnr]/,
           "$name: what neither a stream nor nginx.conf takes");
    return qr/$text/;
}

sub in_stream {
    my ($pattern, $text) = @_;
    my %found;

    for (my $at = index $text, '"'; $at >= 0; $at = index $text, '"', $at) {
        if (substr($text, $at, WINDOW) =~ /\A$pattern/) {
            $found{$+{patient}} = 1 if defined $+{patient};
            $at += $+[0];
        } else {
            $at++;
        }
    }

    return sort keys %found;
}

my $response = pattern('response_match');

for my $file (@files) {
    my ($more, $less) = @{$known{$file} || [[], []]};
    my %less = map { $_ => 1 } @$less;

    is_deeply([in_stream($response, slurp("t/fhir/$file"))],
              [sort @$more, grep { !$less{$_} } @{$expected->{$file}}],
              "$file: what is found");
}

# --- whom a URI names

sub named {
    my ($variable, $uri) = @_;
    my ($map) = $maps =~ /^map \S+ \$$variable \{\n(.*?)^\}/ms
        or die "no \$$variable\n";

    for my $line (grep { /^\s*"/ } split /\n/, $map) {
        my ($regex, $name) = $line =~ /^\s*"~(.*)"\s+\$(\w+);/ or die $line;
        return $+{$name} if $uri =~ /$regex/;
    }

    return '';
}

for (
    ['/fhir/Patient/12'                              => '12'],
    ['/fhir/Patient/12?_format=json'                 => '12'],
    ['/fhir/Patient/12/_history'                     => '12'],
    ['/fhir/Patient/a.b-c/_history/1.2-3'            => 'a.b-c'],
    ['/fhir/Patient/12/Observation?code=1-8'         => '12'],
    ['/fhir/Patient/12/$everything'                  => '12'],
    ['/fhir/Patient/12/%24everything?_count=9'       => '12'],
    ['/fhir/Patient/' . 'x' x 64                     => 'x' x 64],
    ['/fhir/Patient/' . 'x' x 65                     => ''],
    ['/fhir/Patient/'                                => ''],
    ['/fhir/Patient/..'                              => ''],
    ['/fhir/Patient/../Patient/12'                   => ''],
    ['/fhir/Patient/11/../12'                        => ''],
    ['/fhir/Patient/11/_history/../../12'            => ''],
    ['/fhir/Patient/11;x/12'                         => ''],
    ['/fhir/Patient/11//../12'                       => ''],
    ['/fhir/Patient/%31'                             => ''],
    ['/fhir/Patient/_search?x=/fhir/Patient/12'      => ''],
    ['/fhir/Patient/$match'                          => ''],
    ['/fhir/Patient?_id=12'                          => '12'],
    ['/fhir/Patient?_id=12,13'                       => '12,13'],
    ['/fhir/Patient?_count=9&_id=12%2C13%2c14&x=y'   => '12%2C13%2c14'],
    ['/fhir/Patient/_search?_id=12'                  => '12'],
    ['/fhir/Patient?_id=%31'                         => ''],
    ['/fhir/Patient?_id=12,%31'                      => ''],
    ['/fhir/Patient?_id=12|13'                       => ''],
    ['/fhir/Patient?x_id=12'                         => ''],
    ['/fhir/Patient?name=dupont'                     => ''],
    ['/fhir/Observation?_id=12'                      => ''],
    ['/fhir/Observation?patient=12'                  => '12'],
    ['/fhir/Observation?patient=12,13&code=1-8'      => '12,13'],
    ['/fhir/Observation?code=1-8&patient=Patient/12' => '12'],
    ['/fhir/Observation?subject=Patient%2F12'        => '12'],
    ['/fhir/Observation?subject:Patient=12'          => '12'],
    ['/fhir/Observation?subject%3APatient=12'        => '12'],
    ['/fhir/Encounter?subject=http://portal.example/fhir/Patient/12' => '12'],
    ['/fhir/Encounter?subject=http%3A%2F%2Fportal.example%2Ffhir%2FPatient%2F12' => '12'],
    ['/fhir/Observation?subject=Patient/12,Patient/13' => ''],
    ['/fhir/Observation?subject=Group/12'            => ''],
    ['/fhir/Observation?patient.name=dupont'         => ''],
    ['/fhir/Observation/12'                          => ''],
    ['/fhir'                                         => ''],
    ['/FHIR/Patient/12'                              => ''],
) {
    my ($uri, $patients) = @$_;
    is(join(',', grep { $_ ne '' } map { named($_, $uri) }
        qw(fhir_patient fhir_patients fhir_subject)), $patients, $uri);
}

for (
    ['/fhir/Patient?identifier=12'               => '12'],
    ['/fhir/Patient?identifier=urn:oid:1.2|12'   => '12'],
    ['/fhir/Patient?identifier=http%3A%2F%2Fx%7C12&_count=1' => '12'],
    ['/fhir/Patient?identifier=urn:oid:1.2|'     => ''],
    ['/fhir/Patient?identifier=|12'              => '12'],
    ['/fhir/Observation?identifier=12'           => ''],
) {
    is(named('fhir_identifier', $_->[0]), $_->[1], "$_->[0]: an identifier");
}

# --- whom a body names, once its escapes are undone

my $request = pattern('request_match');

for (
    ['_id=12'                                       => '12'],
    ['_id=12,13&_count=9'                           => '12 13'],
    ['_count=9&_id=12'                              => '12'],
    ['patient=12'                                   => '12'],
    ['patient=Patient/12&code=1-8'                  => '12'],
    ['subject=Patient/12,Patient/13'                => '12 13'],
    ['subject:Patient=12'                           => '12'],
    ['subject=http://portal.example/fhir/Patient/12' => '12'],
    ['subject=Group/12'                             => ''],
    ['identifier=urn:oid:1.2|12'                    => ''],
    ['name=dupont&x_id=12'                          => ''],
    ['{"entry":[{"request":{"url":"Patient/12"}},{"request":{"url":"/Patient/13/_history/1"}}]}' => '12 13'],
    ['{"url":"Patient/12/Observation?code=1-8"}'    => '12'],
    ['{"url" : "Patient?_id=12,13&_count=9"}'       => '12 13'],
    ['{"url":"Observation?subject=Patient/12"}'     => '12'],
    ['{"url":"Observation?code=1-8&patient=12"}'    => '12'],
    ['{"url":"http://portal.example/fhir/Patient/12"}' => '12'],
    ['{"url":"Patient?name=dupont"}'                => ''],
    ['{"url":"Patient/_search"}'                    => ''],
    ['{"url":"Observation/12"}'                     => ''],
    ['{"resourceType":"Observation","subject":{"reference":"Patient/12"}}' => '12'],
    ['{"display":"a Patient/caregiver"}'            => ''],
) {
    my ($body, $patients) = @$_;
    my %found;

    while ($body =~ /$request/g) {
        $found{$_} = 1 for split /,/, $+{patient};
    }

    is(join(' ', sort keys %found), $patients, $body);
}

# whom the recorded requests name is in their answers, or does not exist

my $requests = JSON::PP::decode_json(slurp('t/fhir/requests.json'));

for my $file (sort keys %$requests) {
    my ($uri, $body) = @{$requests->{$file}}{qw(uri body)};
    my %found = map { $_ => 1 } map { split /,/ } grep { $_ ne '' }
        map { named($_, $uri) } qw(fhir_patient fhir_patients fhir_subject);

    ($body //= '') =~ s/%([0-9A-F]{2})/chr hex $1/ge;
    while ($body =~ /$request/g) {
        $found{$_} = 1 for split /,/, $+{patient};
    }

    delete @found{@{$expected->{$file}}, 'nobody'};
    is(join(' ', keys %found), '', "$file: nobody else is named");
}

done_testing();
