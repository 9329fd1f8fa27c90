#!/usr/bin/perl
#
# Whom a FHIR response in JSON discloses, by parsing it: the truth that the
# patterns of scripts/policies/fhir-location.conf are held against.
#
#   perl t/fhir/patients.pl FILE ...   the patients of each
#   perl t/fhir/patients.pl --write    all of t/fhir into t/fhir/expected.json
#
# Disclosed is a patient
#
#   - of whom there is a resource: "resourceType" is "Patient", and it has an
#     "id"; but not in "contained", where an id means nothing to the outside,
#   - to whom something refers, contained or not: "reference", "fullUrl",
#     "url" or "location" is Patient/ID or Patient/ID/_history/VERSION, behind
#     any base; but not in a Bundle's "link", which repeats what was asked for.

use strict;
use warnings;

use FindBin;
use JSON::PP ();

my $id      = qr/[A-Za-z0-9.-]{1,64}/;
my %refers  = map { $_ => 1 } qw(reference fullUrl url location);

sub walk {
    my ($node, $contained, $found) = @_;

    if (ref $node eq 'ARRAY') {
        walk($_, $contained, $found) for @$node;
        return;
    }
    return unless ref $node eq 'HASH';

    my $type = $node->{resourceType} // '';

    $found->{$node->{id}} = 1
        if $type eq 'Patient' && !$contained && ($node->{id} // '') =~ /^$id\z/;

    for my $key (keys %$node) {
        my $value = $node->{$key};

        next if $type eq 'Bundle' && $key eq 'link';

        if (ref $value) {
            walk($value, $contained || $key eq 'contained', $found);

        } elsif ($refers{$key} && defined $value
                 && $value =~ m{^(?:[^?\s]*/)?Patient/($id)(?:/_history/$id)?\z})
        {
            $found->{$1} = 1;
        }
    }
}

sub patients {
    my ($file) = @_;

    open my $in, '<:raw', $file or die "$file: $!\n";
    my $text = do { local $/; <$in> };

    my %found;
    walk(JSON::PP->new->utf8->decode($text), 0, \%found);

    return [sort keys %found];
}

if (($ARGV[0] // '') eq '--write') {
    my %all = map { m{([^/]+)\z} => patients($_) }
        glob "$FindBin::Bin/medplum-*.json $FindBin::Bin/spec-*.json";

    my $text = join ",\n", map {
        my $list = join ', ', map { qq("$_") } @{$all{$_}};
        qq("$_": [$list]);
    } sort keys %all;

    open my $out, '>', "$FindBin::Bin/expected.json" or die "$!\n";
    print $out "{\n$text\n}\n";
    close $out or die "$!\n";
    exit;
}

print "$_: @{patients($_)}\n" for @ARGV;
