# kind=nir: social-security numbers, in one form, and only with their key.

use lib 't/lib';
use PatientGuard;
use Pages;

run_tests();

__DATA__

=== TEST 1: named by the request
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  $arg_nir $http_x_nir kind=nir;
location / {
    proxy_pass             http://$PG_PORTAL;
}
location /denied/ {
    patient_guard_unmatched  deny;
    proxy_pass             http://$PG_PORTAL;
}
location /plain/ {
    patient_guard_patient  $arg_nir;
    proxy_pass             http://$PG_PORTAL;
}
--- after
for my $nir (qw(255081416802538 2550814168025 2%2055%2008%2014%20168%20025%2038 2+55+08+14+168+025+38),
             '2-55-08-14-168-025-38', '%32550814168025%338') {
    pages('dupont', "/?nir=$nir");
}
pages('dupont', '/', 'X-NIR' => "2 55 08 14 168\xc2\xa0025 38");
has_counted('dupont', [1, 7], 'one person');

pages('dupont', '/?nir=185052a00401765,185052A00401765,185052B004017');
has_counted('dupont', [3, 9], 'two of Corsica');

pages('dupont', '/?nir=255081416802539');
has_counted('dupont', [4, 10], 'a wrong key: nobody is named, its URI is counted');
pages('dupont', '/?nir=255081416802540');
has_counted('dupont', [5, 11], 'and another');
pages('dupont', '/?nir=255081416802539,255081416802538');
has_counted('dupont', [5, 12], 'who has the right one is named');

is(pages('dupont', '/denied/?nir=255081416802539')->{status}, 403, 'or denied');
is(pages('dupont', '/denied/?nir=255081416802538')->{status}, 200);

pages('dupont', '/plain/?nir=255081416802538');
has_counted('dupont', [5, 14], 'as it is, it is the same');
pages('dupont', '/plain/?nir=2550814168025');
has_counted('dupont', [6, 15], 'but without its kind another one is another');



=== TEST 2: found in a response
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                 $PG_POLICY;
    patient_guard_patient         $arg_nir kind=nir;
    patient_guard_response_match  "(?<patient>\b[1-8][ \d]*(?:2[AB])?[ \d]*\d\b)" kind=nir;
    proxy_pass                    http://$PG_PAGES;
}
--- user_files
>>> page
255081416802538 255081416802539x 2 55 08 14 168 025 38
>>> numbers
123456789012345;255081416802540;2550814168025;1616161616161;4012345678901
>>> corsica
185052A00401765, 185052B00401792 and 185052A00401792
--- after
pages('dupont', '/page?nir=2550814168025');
has_counted('dupont', 1, 'whom the request has named');
pages('dupont', '/numbers');
has_counted('dupont', 2, 'no number that only looks like one');
pages('dupont', '/corsica');
has_counted('dupont', 4, 'two with their keys');



=== TEST 3: found in the body of a request
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
location / {
    patient_guard                $PG_POLICY;
    patient_guard_request_match  "nir=(?<patient>[^&]+)" kind=nir;
    proxy_pass                   http://$PG_PORTAL;
}
--- after
my $post = sub {
    my ($body) = @_;
    raw("POST / HTTP/1.1\r\nHost: localhost\r\nX-Account: dupont\r\nConnection: close\r\n"
        . "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
};
$post->('nir=2+55+08+14+168+025+38');
$post->('nir=255081416802538&nir=2550814168025');
has_counted('dupont', [1, 2], 'one person');
$post->('nir=255081416802539');
has_counted('dupont', [2, 3], 'a wrong key: its URI');



=== TEST 4: the kind goes with the values that it stands beside
--- policy
account  $http_x_account trusted;
$PG_LIMITS;
--- config
patient_guard          $PG_POLICY;
patient_guard_patient  kind=nir $arg_nir;
location / {
    proxy_pass             http://$PG_PORTAL;
}
location /inner/ {
    patient_guard_dry_run  off;
    proxy_pass             http://$PG_PORTAL;
}
location /other/ {
    patient_guard_patient  $arg_id;
    proxy_pass             http://$PG_PORTAL;
}
--- after
pages('dupont', '/?nir=2550814168025');
pages('dupont', '/inner/?nir=255081416802538');
has_counted('dupont', [1, 2], 'inherited');
pages('dupont', '/other/?id=2550814168025');
has_counted('dupont', [2, 3], 'not with others');
