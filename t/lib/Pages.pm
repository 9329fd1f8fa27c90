package Pages;

# For suites on what responses disclose: a portal that serves pages, and what
# an account has counted, asked for without counting anything.
#
#     use PatientGuard;
#     use Pages;
#
#     --- config
#     location / { ... proxy_pass http://$PG_PAGES; }
#     --- after
#     has_counted('dupont', 3, 'three of them');      # patients and lookups
#     has_counted('dupont', [3, 5], 'told apart');
#
# The policy has the limits of $PG_LIMITS, one on patients and one on lookups,
# of 1000 each unless the request's ?p= and ?l= say otherwise.
#
# $PG_PAGES serves what is in html/ (user_files), compressed for whoever says
# that he takes it, and:
#     /page/1/2/3         "patients: /page/1/2/3/"
#     /told/...?n=5&m=7   the same, with X-Records: 5 and X-Records: 7
#     /coded/br/...       the same, with Content-Encoding: br
#     /part/...           the same, with status 206
#     /status/404/...     the same, with that status

use strict;
use warnings;

use Exporter 'import';
use PatientGuard ();

our @EXPORT = qw(has_counted counted pages);

sub pages {
    my ($account, $uri, %headers) = @_;

    return PatientGuard::get($uri, 'X-Account' => $account, %headers);
}

# [patients, lookups]

sub counted {
    my ($account) = @_;

    return [map {
        my $answer = PatientGuard::get("/counted?$_=5000",
                                       'X-Account' => $account);
        ($answer->{headers}{'x-counted'} // '') =~ /(\d+)$/ ? $1 : 'none';
    } qw(l p)];
}

# Redis hears of it within an interval

sub has_counted {
    my ($account, $expected, $what) = @_;

    my $list = ref $expected ? $expected : [$expected, $expected];
    my $got;

    PatientGuard::wait_for(sub {
        $got = counted($account);
        return "@$got" eq "@$list";
    });
    main::is("@$got", "@$list", $what);
}

main::add_block_preprocessor(sub {
    my $block = shift;

    my $root = main::server_root();
    my $pages = "unix:$root/logs/pages.sock";

    for my $name (qw(config http_config policy)) {
        my $text = $block->$name // next;
        $text =~ s/\$PG_PAGES/$pages:/g;
        $text =~ s{\$PG_LIMITS;}{
            "limit patients=\$arg_p/1h default=1000 deny name=p;\n"
            . "limit lookups=\$arg_l/1h default=1000 deny name=l;"}ge;
        $block->set_value($name, $text);
    }

    return unless defined $block->policy;

    $block->set_value('http_config', ($block->http_config // '') . <<"NGINX");
server {
    listen $pages;
    root $root/html;
    default_type text/plain;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    location /page/ {
        return 200 'patients: \$request_uri/';
    }
    location /told/ {
        add_header X-Records \$arg_n;
        add_header X-Records \$arg_m;
        return 200 'patients: \$uri/';
    }
    location ~ ^/coded/(?<coding>\\w+)/ {
        add_header Content-Encoding \$coding;
        return 200 'patients: \$request_uri/';
    }
    location /part/ {
        return 206 'patients: \$request_uri/';
    }
    location /status/404/ {
        return 404 'patients: \$request_uri/';
    }
}
NGINX

    $block->set_value('config', ($block->config // '') . <<"NGINX");
location = /counted {
    patient_guard                 \$PG_POLICY;
    patient_guard_dry_run         on;
    patient_guard_patient         "";
    patient_guard_unmatched       ignore;
    patient_guard_request_match   off;
    patient_guard_response_match  "(?<patient>nobody)";
    patient_guard_records         off;
    patient_guard_response_gate   off;
    add_header                    X-Counted
                                  "\$patient_guard_limit \$patient_guard_count";
    proxy_pass                    http://unix:$root/logs/portal.sock:/;
}
NGINX
});

1;
