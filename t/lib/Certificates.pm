package Certificates;

# Certificate authorities, and who they vouch for: NAME.pem and NAME.key in
# $Certificates::dir, which goes with $PG_TMP.
#
#     authority('ours');
#     certificate('server', 'ours', 'DNS:redis.test,IP:127.0.0.1');
#     certificate('expired', 'ours', 'DNS:redis.test', '20210101000000Z');

use strict;
use warnings;

our $dir = "$ENV{PG_TMP}/tls-$$";

sub import {
    no strict 'refs';

    mkdir $dir;
    *{"main::$_"} = \&$_ for qw(authority certificate);
}

sub openssl {
    my (@command) = @_;

    system("cd $dir && openssl @command > openssl.log 2>&1") == 0
        or die "openssl @command: " . `cat $dir/openssl.log`;
}

our $key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';

sub authority {
    my ($name) = @_;

    openssl("req -x509 $key -days 2 -subj /CN=$name",
            "-keyout $name.key -out $name.pem");
}

# $for: subjectAltName; $end: when it expires, if it does

sub certificate {
    my ($name, $by, $for, $end) = @_;

    spew("$name.cnf", <<"END");
[ca]
default_ca = it
[it]
database = $dir/$name.db
new_certs_dir = $dir
serial = $dir/$name.serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[ext]
subjectAltName = $for
END
    spew("$name.db", '');
    spew("$name.serial", sprintf "%04x\n", 1 + rand 60000);

    openssl("req $key -subj /CN=$name -keyout $name.key -out $name.csr");
    openssl("ca -batch -notext -config $name.cnf -extensions ext",
            '-startdate 20200101000000Z',
            '-enddate', $end // '21000101000000Z',
            "-cert $by.pem -keyfile $by.key -in $name.csr -out $name.pem");
}

sub spew {
    my ($name, $text) = @_;

    open my $file, '>', "$dir/$name" or die "$name: $!\n";
    print $file $text;
    close $file or die "$name: $!\n";
}

1;
