# configurations that nginx -t refuses, and what it says of each
use lib 't/lib';
use PatientGuard;

# files that hold a secret, one for each way to get it wrong
sub secret {
    my ($name, $mode, $text) = @_;

    my $path = "$ENV{PG_TMP}/$name-$ENV{PG_STORE}";
    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file;
    chmod $mode, $path or die "$path: $!\n";
}

secret('good',    0600, "0123456789abcdef\n");
secret('others',  0604, "0123456789abcdef\n");
secret('short',   0600, "0123456789abcde\n");
secret('crlf',    0600, "0123456789abcde\r\n");
secret('second',  0600, "0123456789abcdef\nfedcba987654321\n");
secret('two',     0600, "0123456789abcdef\nfedcba9876543210\n");
secret('none',    0600, "");
secret('no-line', 0600, "\n0123456789abcdef\n");
secret('long',    0600, 'x' x 4097);
mkdir "$ENV{PG_TMP}/folder-$ENV{PG_STORE}", 0700;

# what is said: the whole message, but for the place in the file
add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value('suppress_stderr', '');

    my $said = $block->error_log;
    chomp $said;
    $said =~ s/\$PG_(TMP|STORE)/$ENV{"PG_$1"}/g;
    $said = quotemeta $said;
    $said =~ s/\\\$PG_POLICY/p\\d+_\\d+/g;
    $block->set_value('error_log',
        qr{\[emerg\] \d+#\d+: $said(?: in \S+/nginx\.conf:\d+)?$});
});

run_tests();

__DATA__

=== TEST 1: a directive that no policy has
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
acount   $remote_user;
--- must_die
--- error_log
unknown directive "acount" in policy "$PG_POLICY"



=== TEST 2: a directive of nginx's inside a policy
--- policy
account     $remote_user;
limit       lookups=5/1h deny;
proxy_pass  http://127.0.0.1;
--- must_die
--- error_log
unknown directive "proxy_pass" in policy "$PG_POLICY"



=== TEST 3: a block inside a policy
--- policy
account  $remote_user;
limit    lookups=5/1h { deny; }
--- must_die
--- error_log
unexpected "{"



=== TEST 4: no account
--- policy
limit    lookups=5/1h deny;
--- must_die
--- error_log
no "account" in policy "$PG_POLICY"



=== TEST 5: no limit
--- policy
account  $remote_user;
--- must_die
--- error_log
no "limit" in policy "$PG_POLICY"



=== TEST 6: a policy without a name
--- http_config
patient_guard_policy {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
invalid number of arguments in "patient_guard_policy" directive



=== TEST 7: a name with a character that has no place in a key
--- http_config
patient_guard_policy phar:macy {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
invalid value "phar:macy" of "patient_guard_policy", expected a name of at most 64 letters, digits, "_", "-"



=== TEST 8: a name of 65 characters
--- http_config eval
"patient_guard_policy " . "p" x 65 . " {
    account  \$remote_user;
    limit    lookups=5/1h deny;
}"
--- must_die
--- error_log eval
'invalid value "' . "p" x 65 . '" of "patient_guard_policy", expected a name of at most 64 letters, digits, "_", "-"'



=== TEST 9: an empty name
--- http_config
patient_guard_policy "" {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
invalid value "" of "patient_guard_policy", expected another name than "off"



=== TEST 10: a policy called off could never be used
--- http_config
patient_guard_policy off {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
invalid value "off" of "patient_guard_policy", expected another name than "off"



=== TEST 11: a policy is defined twice
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
policy "$PG_POLICY" is defined twice



=== TEST 12: a policy in a server
--- config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=5/1h deny;
}
--- must_die
--- error_log
"patient_guard_policy" directive is not allowed here



=== TEST 13: a policy that does not end
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=5/1h deny;
    server { listen 127.0.0.1:1;
--- must_die
--- error_log
unexpected "{"



=== TEST 14: include names one file
--- policy
include  one two;
--- must_die
--- error_log
invalid number of arguments in "include" directive



=== TEST 15: include of no file
--- policy
include  $PG_TMP/no-such-policy;
--- must_die
--- error_log
open() "$PG_TMP/no-such-policy" failed (2: No such file or directory)



=== TEST 16: account twice
--- policy
account  $remote_user;
account  $ssl_client_serial;
--- must_die
--- error_log
"account" directive is duplicate in policy "$PG_POLICY"



=== TEST 17: account without an argument
--- policy
account;
--- must_die
--- error_log
"account" directive has an invalid number of arguments in policy "$PG_POLICY"



=== TEST 18: account without a value
--- policy
account  trusted fold;
--- must_die
--- error_log
no value in "account" of policy "$PG_POLICY", expected one such as "$portal_account"



=== TEST 19: an account of an unknown variable
--- policy
account  $no_such_variable;
limit    lookups=5/1h deny;
--- must_die
--- error_log
unknown "no_such_variable" variable



=== TEST 20: an account that the client gives in a header
--- policy
account  $http_x_account;
--- must_die
--- error_log
"account $http_x_account" is what the client says of itself: take the account from what the portal has verified, or add "trusted" if another server in front has



=== TEST 21: an account that the client gives in the URI
--- policy
account  $remote_user ${arg_account};
--- must_die
--- error_log
"account ${arg_account}" is what the client says of itself: take the account from what the portal has verified, or add "trusted" if another server in front has



=== TEST 22: an account that the client gives in a cookie, in part
--- policy
account  portal-$cookie_session fold;
--- must_die
--- error_log
"account portal-$cookie_session" is what the client says of itself: take the account from what the portal has verified, or add "trusted" if another server in front has



=== TEST 23: account_missing has two values
--- policy
account_missing  ignore;
--- must_die
--- error_log
invalid value "ignore" of "account_missing", expected "deny" or "allow"



=== TEST 24: account_missing twice
--- policy
account_missing  allow;
account_missing  allow;
--- must_die
--- error_log
"account_missing" directive is duplicate in policy "$PG_POLICY"



=== TEST 25: a zone that is no size
--- policy
zone  many;
--- must_die
--- error_log
invalid value "many" of "zone", expected a size of 32k at least, such as "8m"



=== TEST 26: a zone of less than 8 pages
--- policy
zone  31k;
--- must_die
--- error_log
invalid value "31k" of "zone", expected a size of 32k at least, such as "8m"



=== TEST 27: zone twice
--- policy
zone  1m;
zone  1m;
--- must_die
--- error_log
"zone" directive is duplicate in policy "$PG_POLICY"



=== TEST 28: a zone that one account may outgrow
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    zone     1m;
    limit    patients=20000/1d deny;
}
--- must_die
--- error_log
zone "patient_guard_$PG_POLICY" is too small: one account may take 1267 KB of it under the limits of its policy and it has 979 KB, set "zone" to a larger size



=== TEST 29: no file for the secret
--- policy
secret  $PG_TMP/no-such-key;
--- must_die
--- error_log
"secret" file "$PG_TMP/no-such-key" can't be opened (2: No such file or directory)



=== TEST 30: a secret that others can read
--- policy
secret  $PG_TMP/others-$PG_STORE;
--- must_die
--- error_log
"secret" file "$PG_TMP/others-$PG_STORE" is readable by others, expected a mode such as 0640



=== TEST 31: a secret of 15 bytes
--- policy
secret  $PG_TMP/short-$PG_STORE;
--- must_die
--- error_log
line 1 of "secret" file "$PG_TMP/short-$PG_STORE" has 15 bytes, expected 16 at least



=== TEST 32: the end of a line is no part of a secret
--- policy
secret  $PG_TMP/crlf-$PG_STORE;
--- must_die
--- error_log
line 1 of "secret" file "$PG_TMP/crlf-$PG_STORE" has 15 bytes, expected 16 at least



=== TEST 33: a previous secret of 15 bytes
--- policy
secret  $PG_TMP/second-$PG_STORE;
--- must_die
--- error_log
line 2 of "secret" file "$PG_TMP/second-$PG_STORE" has 15 bytes, expected 16 at least



=== TEST 34: a secret whose first line is empty
--- policy
secret  $PG_TMP/no-line-$PG_STORE;
--- must_die
--- error_log
line 1 of "secret" file "$PG_TMP/no-line-$PG_STORE" has 0 bytes, expected 16 at least



=== TEST 35: an empty file
--- policy
secret  $PG_TMP/none-$PG_STORE;
--- must_die
--- error_log
"secret" file "$PG_TMP/none-$PG_STORE" is empty or no file of 4096 bytes at most



=== TEST 36: a file too long for a secret
--- policy
secret  $PG_TMP/long-$PG_STORE;
--- must_die
--- error_log
"secret" file "$PG_TMP/long-$PG_STORE" is empty or no file of 4096 bytes at most



=== TEST 37: a folder
--- policy
secret  $PG_TMP/folder-$PG_STORE;
--- must_die
--- error_log
"secret" file "$PG_TMP/folder-$PG_STORE" is empty or no file of 4096 bytes at most



=== TEST 38: secret twice
--- policy
secret  $PG_KEY;
secret  $PG_KEY;
--- must_die
--- error_log
"secret" directive is duplicate in policy "$PG_POLICY"



=== TEST 39: redis without a secret
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=5/1h deny;
    redis    127.0.0.1:6379;
}
--- must_die
--- error_log
"secret" is required with "redis" in policy "$PG_POLICY": all nodes must know an account by the same alias



=== TEST 40: redis twice
--- policy
redis  127.0.0.1:6379;
redis  127.0.0.1:6379;
--- must_die
--- error_log
"redis" directive is duplicate in policy "$PG_POLICY"



=== TEST 41: redis without an address
--- policy
redis  db=1;
--- must_die
--- error_log
invalid value "db=1" of "redis", expected an address such as "unix:/run/redis.sock" or "127.0.0.1:6379" first



=== TEST 42: two addresses
--- policy
redis  127.0.0.1:6379 127.0.0.2:6379;
--- must_die
--- error_log
second address "127.0.0.2:6379" of "redis", one server can be given without "mode=sentinel" or "mode=cluster"



=== TEST 43: a port that is none
--- policy
redis  127.0.0.1:65536;
--- must_die
--- error_log
invalid port in "redis 127.0.0.1:65536", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 44: an IPv6 address that does not end
--- policy
redis  [::1:6379;
--- must_die
--- error_log
invalid host in "redis [::1:6379", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 45: a host that nobody knows
--- policy
redis  redis.invalid:6379;
--- must_die
--- error_log
host not found in "redis redis.invalid:6379", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 46: a URL
--- policy
redis  127.0.0.1:6379/0;
--- must_die
--- error_log
invalid host in "redis 127.0.0.1:6379/0", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 47: a unix socket without a path
--- policy
redis  unix:;
--- must_die
--- error_log
no path in the unix domain socket in "redis unix:", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 48: a database that is no number
--- policy
redis  127.0.0.1:6379 db=first;
--- must_die
--- error_log
invalid value "first" of "db", expected the number of a Redis database



=== TEST 49: a prefix that would move the keys' hash tag
--- policy
redis  127.0.0.1:6379 "prefix={pg}";
--- must_die
--- error_log
invalid value "{pg}" of "prefix", expected at most 64 printable characters but { } $



=== TEST 50: a mode that there is not
--- policy
redis  127.0.0.1:6379 mode=replica;
--- must_die
--- error_log
invalid value "replica" of "mode", expected "standalone", "sentinel" or "cluster"



=== TEST 51: redis_auth twice
--- policy
redis_auth  password_file=$PG_KEY;
redis_auth  password_file=$PG_KEY;
--- must_die
--- error_log
"redis_auth" directive is duplicate in policy "$PG_POLICY"



=== TEST 52: a password in the configuration
--- policy
redis_auth  user=pg password=secret;
--- must_die
--- error_log
unknown parameter "password=secret" of "redis_auth", expected "user=", "password_file=", "sentinel_user=" or "sentinel_password_file="



=== TEST 53: a user without a password
--- policy
redis_auth  user=pg;
--- must_die
--- error_log
no "password_file=" in "redis_auth"



=== TEST 54: no file for the password
--- policy
redis_auth  password_file=$PG_TMP/no-such-password;
--- must_die
--- error_log
"redis_auth" file "$PG_TMP/no-such-password" can't be opened (2: No such file or directory)



=== TEST 55: a password that others can read
--- policy
redis_auth  password_file=$PG_TMP/others-$PG_STORE;
--- must_die
--- error_log
"redis_auth" file "$PG_TMP/others-$PG_STORE" is readable by others, expected a mode such as 0640



=== TEST 56: an empty password
--- policy
redis_auth  password_file=$PG_TMP/no-line-$PG_STORE;
--- must_die
--- error_log
the first line of "redis_auth" file "$PG_TMP/no-line-$PG_STORE" is empty, expected the password



=== TEST 57: redis_auth without redis
--- http_config
patient_guard_policy $PG_POLICY {
    account     $remote_user;
    limit       lookups=5/1h deny;
    redis_auth  password_file=$PG_KEY;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY"



=== TEST 58: redis_timeout without redis
--- http_config
patient_guard_policy $PG_POLICY {
    account        $remote_user;
    limit          lookups=5/1h deny;
    redis_timeout  50ms;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY"



=== TEST 59: on_outage without redis
--- http_config
patient_guard_policy $PG_POLICY {
    account    $remote_user;
    limit      lookups=5/1h deny;
    on_outage  deny;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY"



=== TEST 60: no time for Redis
--- policy
redis_timeout  0;
--- must_die
--- error_log
invalid value "0" of "redis_timeout", expected a time from 1ms to 60s such as "50ms"



=== TEST 61: redis_timeout twice
--- policy
redis_timeout  50ms;
redis_timeout  50ms;
--- must_die
--- error_log
"redis_timeout" directive is duplicate in policy "$PG_POLICY"



=== TEST 62: on_outage has three values
--- policy
on_outage  fail;
--- must_die
--- error_log
invalid value "fail" of "on_outage", expected "local" or "deny" or "allow"



=== TEST 63: on_outage twice
--- policy
on_outage  deny;
on_outage  local;
--- must_die
--- error_log
"on_outage" directive is duplicate in policy "$PG_POLICY"



=== TEST 64: a limit without an action
--- policy
limit  lookups=5/1h;
--- must_die
--- error_log
"limit" directive has an invalid number of arguments in policy "$PG_POLICY"



=== TEST 65: a limit with a name instead of an action
--- policy
limit  lookups=5/1h name=night;
--- must_die
--- error_log
limit "lookups=5/1h" wants one action: "log", "throttle", "challenge" or "deny"



=== TEST 66: two actions
--- policy
limit  lookups=5/1h log deny;
--- must_die
--- error_log
limit "lookups=5/1h" wants one action: "log", "throttle", "challenge" or "deny"



=== TEST 67: an action that there is not
--- policy
limit  lookups=5/1h block;
--- must_die
--- error_log
unknown parameter "block" of "limit", expected "log", "throttle", "challenge", "deny", "per=", "baseline=", "name=" or "default="



=== TEST 68: no count
--- policy
limit  lookups deny;
--- must_die
--- error_log
invalid value "lookups" of "limit", expected signal=count/window such as "patients=600/1d"



=== TEST 69: no window
--- policy
limit  lookups=5 deny;
--- must_die
--- error_log
invalid value "lookups=5" of "limit", expected signal=count/window such as "patients=600/1d"



=== TEST 70: a signal that there is not
--- policy
limit  requests=5/1h deny;
--- must_die
--- error_log
unknown signal "requests" in "limit", expected "lookups", "patients", "new_patients", "misses", "addresses" or "accounts"



=== TEST 71: a count of none
--- policy
limit  lookups=0/1h deny;
--- must_die
--- error_log
invalid value "0" of "limit", expected a count from 1 to 4294967295, or a variable



=== TEST 72: a count past 32 bits
--- policy
limit  lookups=4294967296/1h deny;
--- must_die
--- error_log
invalid value "4294967296" of "limit", expected a count from 1 to 4294967295, or a variable



=== TEST 73: a count that is no number
--- policy
limit  lookups=-5/1h deny;
--- must_die
--- error_log
invalid value "-5" of "limit", expected a count from 1 to 4294967295, or a variable



=== TEST 74: a count with a unit
--- policy
limit  lookups=5k/1h deny;
--- must_die
--- error_log
invalid value "5k" of "limit", expected a count from 1 to 4294967295, or a variable



=== TEST 75: a window of less than 10 seconds
--- policy
limit  lookups=5/9s deny;
--- must_die
--- error_log
invalid value "lookups=5/9s" of "limit", expected a window from "10s" to "90d" behind the /



=== TEST 76: a window of more than 90 days
--- policy
limit  lookups=5/91d deny;
--- must_die
--- error_log
invalid value "lookups=5/91d" of "limit", expected a window from "10s" to "90d" behind the /



=== TEST 77: a window that is no time
--- policy
limit  lookups=5/day deny;
--- must_die
--- error_log
invalid value "lookups=5/day" of "limit", expected a window from "10s" to "90d" behind the /



=== TEST 78: a count from a variable without a default
--- policy
limit  lookups=$remote_port/1h deny;
--- must_die
--- error_log
limit "lookups/1h" takes its count from a variable: "default=" is required



=== TEST 79: a default of none
--- policy
limit  lookups=$remote_port/1h deny default=0;
--- must_die
--- error_log
invalid value "0" of "default", expected a count from 1 to 4294967295



=== TEST 80: a default that is a variable
--- policy
limit  lookups=$remote_port/1h deny default=$remote_port;
--- must_die
--- error_log
invalid value "$remote_port" of "default", expected a count from 1 to 4294967295



=== TEST 81: a default beside a number
--- policy
limit  lookups=5/1h deny default=5;
--- must_die
--- error_log
limit "lookups/1h" has a number for its count: "default=" goes with a variable



=== TEST 82: a count from an unknown variable
--- policy
account  $remote_user;
limit    lookups=$no_such_variable/1h deny default=5;
--- must_die
--- error_log
unknown "no_such_variable" variable



=== TEST 83: two names for a limit
--- policy
limit  lookups=5/1h deny name=one name=two;
--- must_die
--- error_log
parameter "name=two" of "limit" is given twice



=== TEST 84: a name that would have to be escaped in JSON
--- policy
limit  lookups=5/1h deny name=a"b;
--- must_die
--- error_log
invalid value "a"b" of "name", expected at most 64 letters, digits and any of "_-.:/"



=== TEST 85: a name of 65 characters
--- policy eval
"limit  lookups=5/1h deny name=" . "n" x 65 . ";\n"
--- must_die
--- error_log eval
'invalid value "' . "n" x 65 . '" of "name", expected at most 64 letters, digits and any of "_-.:/"'



=== TEST 86: an empty name
--- policy
limit  lookups=5/1h deny name=;
--- must_die
--- error_log
unknown parameter "name=" of "limit", expected "log", "throttle", "challenge", "deny", "per=", "baseline=", "name=" or "default="



=== TEST 87: two limits with one name
--- policy
limit  lookups=5/1h deny;
limit  lookups=9/1h log;
--- must_die
--- error_log
two limits of policy "$PG_POLICY" bear the name "lookups/1h", give one of them a "name="



=== TEST 88: a name that another limit has got without asking
--- policy
limit  lookups=5/1h deny;
limit  patients=9/1d log name=lookups/1h;
--- must_die
--- error_log
two limits of policy "$PG_POLICY" bear the name "lookups/1h", give one of them a "name="



=== TEST 89: one window in two spellings
--- policy
limit  lookups=5/1h deny;
limit  lookups=9/60m log;
--- must_die
--- error_log
limits "lookups/1h" and "lookups/60m" of policy "$PG_POLICY" would be counted as one, give one of them another "name="



=== TEST 90: more limits than a policy has room for
--- policy eval
CORE::join "", map { "limit lookups=5/${_}h deny;\n" } 1 .. 17
--- must_die
--- error_log
too many "limit" directives in policy "$PG_POLICY", at most 16 can be given



=== TEST 91: throttle_delay of more than a minute
--- policy
throttle_delay  61s;
--- must_die
--- error_log
invalid value "61s" of "throttle_delay", expected a time from 1ms to 60s such as "50ms"



=== TEST 92: throttle_delay twice
--- policy
throttle_delay  1s;
throttle_delay  1s;
--- must_die
--- error_log
"throttle_delay" directive is duplicate in policy "$PG_POLICY"



=== TEST 93: a challenge that there is not
--- policy
challenge  captcha;
--- must_die
--- error_log
invalid value "captcha" of "challenge", expected "redirect", "step_up", "page" or "status"



=== TEST 94: a redirect to nowhere
--- policy
challenge  redirect;
--- must_die
--- error_log
invalid value "redirect" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 95: a redirect whose state would be part of the fragment
--- policy
challenge  redirect https://sso.example/#step-up;
--- must_die
--- error_log
invalid value "https://sso.example/#step-up" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 96: a redirect to what no browser goes to
--- policy
challenge  redirect sso.example/step-up;
--- must_die
--- error_log
invalid value "sso.example/step-up" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 97: two redirects in one
--- policy
challenge  redirect https://one.example/ https://two.example/;
--- must_die
--- error_log
invalid value "https://two.example/" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 98: step_up with what RFC 9470 has not
--- policy
challenge  step_up amr=mfa;
--- must_die
--- error_log
invalid value "amr=mfa" of "challenge step_up", expected "acr=" and "max_age=", once each



=== TEST 99: step_up with the same twice
--- policy
challenge  step_up acr=eidas2 acr=eidas3;
--- must_die
--- error_log
invalid value "acr=eidas3" of "challenge step_up", expected "acr=" and "max_age=", once each



=== TEST 100: an acr that would end its quotes
--- policy
challenge  step_up 'acr=a"b';
--- must_die
--- error_log
invalid value "a"b" of "acr", expected printable ASCII without ", \ and $



=== TEST 101: a max_age that is no number
--- policy
challenge  step_up max_age=5m;
--- must_die
--- error_log
invalid value "5m" of "max_age", expected a number of seconds such as "300"



=== TEST 102: a page of another server
--- policy
challenge  page https://portal.example/prove-it;
--- must_die
--- error_log
invalid value "https://portal.example/prove-it" of "challenge page", expected one URI of this server or a named location, such as "/prove-it.html" or "@prove_it"



=== TEST 103: no page
--- policy
challenge  page;
--- must_die
--- error_log
invalid value "page" of "challenge page", expected one URI of this server or a named location, such as "/prove-it.html" or "@prove_it"



=== TEST 104: a status that says all is well
--- policy
challenge  status 200;
--- must_die
--- error_log
invalid value "200" of "challenge status", expected one status from 400 to 599, not 408 and 499



=== TEST 105: the status that nginx keeps for clients that went away
--- policy
challenge  status 499;
--- must_die
--- error_log
invalid value "499" of "challenge status", expected one status from 400 to 599, not 408 and 499



=== TEST 106: no status
--- policy
challenge  status;
--- must_die
--- error_log
invalid value "status" of "challenge status", expected one status from 400 to 599, not 408 and 499



=== TEST 107: a challenge with more than it takes
--- policy
challenge  step_up acr=eidas2 max_age=300 amr=mfa;
--- must_die
--- error_log
"challenge" directive has an invalid number of arguments in policy "$PG_POLICY"



=== TEST 108: grants without a window
--- policy
challenge_grants  3;
--- must_die
--- error_log
invalid value "3" of "challenge_grants", expected n/window such as "3/1d", with a window from 10s to 90d



=== TEST 109: no grant at all
--- policy
challenge_grants  0/1d;
--- must_die
--- error_log
invalid value "0/1d" of "challenge_grants", expected n/window such as "3/1d", with a window from 10s to 90d



=== TEST 110: challenge_grants twice
--- policy
challenge_grants  3/1d;
challenge_grants  3/1d;
--- must_die
--- error_log
"challenge_grants" directive is duplicate in policy "$PG_POLICY"



=== TEST 111: proof twice
--- policy
proof  $remote_port;
proof  $remote_port;
--- must_die
--- error_log
"proof" directive is duplicate in policy "$PG_POLICY"



=== TEST 112: exempt twice
--- policy
exempt  $remote_port;
exempt  $remote_port;
--- must_die
--- error_log
"exempt" directive is duplicate in policy "$PG_POLICY"



=== TEST 113: an unknown policy, in a server
--- config
patient_guard  $PG_POLICY;
--- must_die
--- error_log
unknown policy "$PG_POLICY" in "patient_guard", expected the name of a "patient_guard_policy" or "off"



=== TEST 114: an unknown policy, inherited by all servers
--- http_config
patient_guard  $PG_POLICY;
--- must_die
--- error_log
unknown policy "$PG_POLICY" in "patient_guard", expected the name of a "patient_guard_policy" or "off"



=== TEST 115: the policy is no variable
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
--- config
location / {
    patient_guard  $uri;
}
--- must_die
--- error_log
unknown policy "$uri" in "patient_guard", expected the name of a "patient_guard_policy" or "off"



=== TEST 116: two policies in one location
--- config
location / {
    patient_guard  off;
    patient_guard  $PG_POLICY;
}
--- must_die
--- error_log
"patient_guard" directive is duplicate



=== TEST 117: two policies in one directive
--- config
location / {
    patient_guard  one two;
}
--- must_die
--- error_log
invalid number of arguments in "patient_guard" directive



=== TEST 118: a guard that depends on "if"
--- config
location / {
    if ($arg_guarded) {
        patient_guard  off;
    }
}
--- must_die
--- error_log
"patient_guard" directive is not allowed here



=== TEST 119: patient_guard_dry_run is a flag
--- config
patient_guard_dry_run  yes;
--- must_die
--- error_log
invalid value "yes" in "patient_guard_dry_run" directive, it must be "on" or "off"



=== TEST 120: patient_guard_dry_run twice
--- config
patient_guard_dry_run  on;
patient_guard_dry_run  on;
--- must_die
--- error_log
"patient_guard_dry_run" directive is duplicate



=== TEST 121: patient_guard_patient twice: one takes several values
--- config
patient_guard_patient  $arg_patient;
patient_guard_patient  $arg_id;
--- must_die
--- error_log
"patient_guard_patient" directive is duplicate



=== TEST 122: a patient of an unknown variable
--- config
patient_guard_patient  $no_such_variable;
--- must_die
--- error_log
unknown "no_such_variable" variable



=== TEST 123: patient_guard_unmatched has three values
--- config
patient_guard_unmatched  allow;
--- must_die
--- error_log
invalid value "allow" of "patient_guard_unmatched", expected "uri" or "ignore" or "deny"



=== TEST 124: patient_guard_unmatched twice
--- config
patient_guard_unmatched  uri;
patient_guard_unmatched  uri;
--- must_die
--- error_log
"patient_guard_unmatched" directive is duplicate



=== TEST 125: a method that no request has
--- config
patient_guard_methods  GET post;
--- must_die
--- error_log
invalid value "post" of "patient_guard_methods", expected methods in capital letters such as "GET"



=== TEST 126: an empty method
--- config
patient_guard_methods  "";
--- must_die
--- error_log
invalid value "" of "patient_guard_methods", expected methods in capital letters such as "GET"



=== TEST 127: patient_guard_methods twice
--- config
patient_guard_methods  GET;
patient_guard_methods  POST;
--- must_die
--- error_log
"patient_guard_methods" directive is duplicate



=== TEST 128: a level that would not be seen
--- config
patient_guard_log_level  debug;
--- must_die
--- error_log
invalid value "debug" of "patient_guard_log_level", expected "info" or "notice" or "warn" or "error"



=== TEST 129: patient_guard_log_level twice
--- config
patient_guard_log_level  warn;
patient_guard_log_level  warn;
--- must_die
--- error_log
"patient_guard_log_level" directive is duplicate



=== TEST 130: accounts are counted by something else
--- policy
limit  accounts=5/1h challenge;
--- must_die
--- error_log
a limit on "accounts" wants "per=", such as "per=$remote_addr": an account is one



=== TEST 131: more keys than a policy has room for
--- policy
limit  lookups=5/1h deny per=$remote_addr;
limit  lookups=5/1h deny per=$remote_port;
limit  misses=5/1h deny per=$remote_addr;
limit  lookups=5/1h deny per=all;
limit  lookups=5/1h deny per=$server_name;
limit  lookups=5/1h deny per=$server_port;
--- must_die
--- error_log
too many different "per=" in policy "$PG_POLICY", at most 4 can be given



=== TEST 132: what many share has no habits
--- policy
limit  lookups=5/1h per=$remote_addr deny baseline=3;
--- must_die
--- error_log
"baseline=" of "limit" is by what is usual for an account, and does not go with "per="



=== TEST 133: a memory that nothing needs
--- policy
account  $remote_user;
limit    patients=5/1h deny;
memory   28d;
--- must_die
--- error_log
"memory" of policy "$PG_POLICY" is for limits on "new_patients", and it has none



=== TEST 134: consistency without redis
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    limit        lookups=1/1h deny;
    consistency  local interval=50ms;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY"



=== TEST 135: redis_tls without redis
--- http_config
patient_guard_policy $PG_POLICY {
    account    $remote_user;
    limit      lookups=1/1h deny;
    redis_tls  on;
}
--- must_die
--- error_log
"redis_auth", "redis_tls", "redis_timeout", "consistency", "on_outage" and "events" want "redis" in policy "$PG_POLICY"



=== TEST 136: events of no stream
--- policy
events  pg;
--- must_die
--- error_log
invalid value "pg" of "events", expected "stream=key" such as "stream=pg:events"



=== TEST 137: clock twice
--- policy
clock  $arg_time;
clock  $arg_time;
--- must_die
--- error_log
"clock" directive is duplicate in policy "$PG_POLICY"



=== TEST 138: the desk, in no location
--- config
patient_guard_api;
--- must_die
--- error_log
"patient_guard_api" directive is not allowed here



=== TEST 139: a pass of no policy
--- config
location /passed { patient_guard_pass; }
--- must_die
--- error_log
invalid number of arguments in "patient_guard_pass" directive



=== TEST 140: headers that are neither on nor off
--- config
patient_guard_headers  yes;
--- must_die
--- error_log
invalid value "yes" in "patient_guard_headers" directive, it must be "on" or "off"



=== TEST 141: what a client says of itself, in capital letters
--- policy
account  $HTTP_X_ACCOUNT;
limit    lookups=5/1h deny;
--- must_die
--- error_log
"account $HTTP_X_ACCOUNT" is what the client says of itself: take the account from what the portal has verified, or add "trusted" if another server in front has



=== TEST 142: a word of account before its values
--- policy
account  fold $remote_user;
limit    lookups=5/1h deny;
--- must_die
--- error_log
"fold" of "account" in policy "$PG_POLICY" stands before a value, expected it behind all values



=== TEST 143: another one between them
--- policy
account  $remote_user trusted $ssl_client_s_dn;
limit    lookups=5/1h deny;
--- must_die
--- error_log
"trusted" of "account" in policy "$PG_POLICY" stands before a value, expected it behind all values



=== TEST 144: a window of two words
--- policy
account  $remote_user;
limit    "lookups=5/1h 30m" deny;
--- must_die
--- error_log
invalid value "lookups=5/1h 30m" of "limit", expected a window from "10s" to "90d" behind the /



=== TEST 145: two databases
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
secret   $PG_TMP/good-$PG_STORE;
redis    127.0.0.1 db=1 db=2;
--- must_die
--- error_log
parameter "db=2" of "redis" is given twice



=== TEST 146: two prefixes
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
secret   $PG_TMP/good-$PG_STORE;
redis    127.0.0.1 prefix=a prefix=b;
--- must_die
--- error_log
parameter "prefix=b" of "redis" is given twice



=== TEST 147: a variable for a prefix
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
secret   $PG_TMP/good-$PG_STORE;
redis    127.0.0.1 prefix=$uri;
--- must_die
--- error_log
invalid value "$uri" of "prefix", expected at most 64 printable characters but { } $



=== TEST 148: two files of passwords
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
secret   $PG_TMP/good-$PG_STORE;
redis       127.0.0.1;
redis_auth  password_file=a password_file=b;
--- must_die
--- error_log
parameter "password_file=b" of "redis_auth" is given twice



=== TEST 149: a variable for an acr
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  step_up acr=$uri;
--- must_die
--- error_log
invalid value "$uri" of "acr", expected printable ASCII without ", \ and $



=== TEST 150: a redirect to no host
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  redirect https://;
--- must_die
--- error_log
invalid value "https://" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 151: a redirect to nobody's host
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  redirect //sso.example/;
--- must_die
--- error_log
invalid value "//sso.example/" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 152: a redirect to no host, but arguments
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  redirect http://?a=b;
--- must_die
--- error_log
invalid value "http://?a=b" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 153: a redirect to a blank
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  redirect "https://sso.example/a b";
--- must_die
--- error_log
invalid value "https://sso.example/a b" of "challenge redirect", expected one URL without a fragment, such as "https://sso.example/step-up"



=== TEST 154: the status that nginx keeps for slow clients
--- policy
account    $remote_user;
limit      lookups=5/1h challenge;
challenge  status 408;
--- must_die
--- error_log
invalid value "408" of "challenge status", expected one status from 400 to 599, not 408 and 499



=== TEST 155: no secret, but the folder of the configuration
--- policy
account  $remote_user;
limit    lookups=5/1h deny;
secret   $PG_TMP;
--- must_die
--- error_log
"secret" file "$PG_TMP" is empty or no file of 4096 bytes at most



=== TEST 156: a consistency that there is not
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  eventual;
}
--- must_die
--- error_log
invalid value "eventual" of "consistency", expected "strict" or "local"



=== TEST 157: an interval of strict consistency
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  strict interval=50ms;
}
--- must_die
--- error_log
unknown parameter "interval=50ms" of "consistency strict", expected none



=== TEST 158: an unknown parameter of consistency
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  local every=50ms;
}
--- must_die
--- error_log
unknown parameter "every=50ms" of "consistency local", expected "interval=50ms"



=== TEST 159: an interval of no time
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  local interval=0;
}
--- must_die
--- error_log
invalid value "0" of "interval", expected a time from 1ms to 10s such as "50ms"



=== TEST 160: an interval that is too long
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  local interval=11s;
}
--- must_die
--- error_log
invalid value "11s" of "interval", expected a time from 1ms to 10s such as "50ms"



=== TEST 161: consistency twice
--- http_config
patient_guard_policy $PG_POLICY {
    account      $remote_user;
    secret       $PG_KEY;
    redis        $PG_REDIS;
    limit        lookups=1/1h deny;
    consistency  local; consistency strict;
}
--- must_die
--- error_log
"consistency" directive is duplicate in policy "$PG_POLICY"



=== TEST 162: redis_tls neither on nor off
--- policy
redis_tls  yes;
--- must_die
--- error_log
invalid value "yes" of "redis_tls", expected "on" or "off" first



=== TEST 163: redis_tls twice
--- policy
redis_tls  on;
redis_tls  off;
--- must_die
--- error_log
"redis_tls" directive is duplicate in policy "$PG_POLICY"



=== TEST 164: redis_tls with an unknown parameter
--- policy
redis_tls  on cert=x;
--- must_die
--- error_log
unknown parameter "cert=x" of "redis_tls", expected "ca=file", "certificate=file", "key=file", "name=host" or "verify=on|off"



=== TEST 165: redis_tls with an empty parameter
--- policy
redis_tls  on ca=;
--- must_die
--- error_log
unknown parameter "ca=" of "redis_tls", expected "ca=file", "certificate=file", "key=file", "name=host" or "verify=on|off"



=== TEST 166: a parameter of redis_tls twice
--- policy
redis_tls  on name=a name=b;
--- must_die
--- error_log
parameter "name=b" of "redis_tls" is given twice



=== TEST 167: redis_tls verifies perhaps
--- policy
redis_tls  on verify=maybe;
--- must_die
--- error_log
invalid value "maybe" of "verify", expected "on" or "off"



=== TEST 168: redis_tls trusts and does not verify
--- policy
redis_tls  on ca=$PG_KEY verify=off;
--- must_die
--- error_log
"ca=" and "verify=off" of "redis_tls" contradict each other



=== TEST 169: redis_tls with half a certificate
--- policy
redis_tls  on certificate=$PG_KEY;
--- must_die
--- error_log
"certificate=" and "key=" of "redis_tls" want each other



=== TEST 170: redis_tls through a socket without a name
--- http_config
patient_guard_policy $PG_POLICY {
    account    $remote_user;
    limit      lookups=1/1h deny;
    secret     $PG_KEY;
    redis      unix:/nowhere;
    redis_tls  on;
}
--- must_die
--- error_log
"name=" is required in "redis_tls" of policy "$PG_POLICY": the socket "unix:/nowhere" has none that its certificate could be for



=== TEST 171: redis_tls with an authority that is not there
--- http_config
patient_guard_policy $PG_POLICY {
    account    $remote_user;
    limit      lookups=1/1h deny;
    secret     $PG_KEY;
    redis      127.0.0.1;
    redis_tls  on ca=$PG_TMP/no-such-ca;
}
--- must_die
--- error_log
ca "$PG_TMP/no-such-ca" of "redis_tls" can't be used



=== TEST 172: redis_tls with a certificate that is none
--- http_config
patient_guard_policy $PG_POLICY {
    account    $remote_user;
    limit      lookups=1/1h deny;
    secret     $PG_KEY;
    redis      127.0.0.1;
    redis_tls  on certificate=$PG_TMP/no-line-$PG_STORE key=$PG_TMP/no-line-$PG_STORE;
}
--- must_die
--- error_log
certificate "$PG_TMP/no-line-$PG_STORE" and key "$PG_TMP/no-line-$PG_STORE" of "redis_tls" can't be used



=== TEST 173: sentinels without a master
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:26379 mode=sentinel;
}
--- must_die
--- error_log
no "master=" in "redis" with "mode=sentinel", expected the name by which the sentinels know it, such as "master=mymaster"



=== TEST 174: a master without sentinels
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:6379 master=mymaster;
}
--- must_die
--- error_log
"master=mymaster" of "redis" wants "mode=sentinel"



=== TEST 175: a master without a name
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:6379 mode=sentinel master=;
}
--- must_die
--- error_log
unknown parameter "master=" of "redis", expected "mode=standalone|sentinel|cluster", "master=", "db=" or "prefix="



=== TEST 176: a mode twice
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:6379 mode=cluster mode=sentinel;
}
--- must_die
--- error_log
parameter "mode=sentinel" of "redis" is given twice



=== TEST 177: a database of a cluster
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:6379 mode=cluster db=1;
}
--- must_die
--- error_log
"db=1" of "redis" with "mode=cluster", a cluster has database 0 only



=== TEST 178: a mode without an address
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    mode=cluster;
}
--- must_die
--- error_log
invalid value "mode=cluster" of "redis", expected an address such as "unix:/run/redis.sock" or "127.0.0.1:6379" first



=== TEST 179: a second sentinel that is none
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    127.0.0.1:26379 127.0.0.1:99999 mode=sentinel master=mymaster;
}
--- must_die
--- error_log
invalid port in "redis 127.0.0.1:99999", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 180: a sentinel that nobody has heard of
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis    sentinel.invalid:26379 mode=sentinel master=mymaster;
}
--- must_die
--- error_log
host not found in "redis sentinel.invalid:26379", expected "host:port", "[v6]:port" or "unix:/path"



=== TEST 181: sentinels' password without sentinels
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis      127.0.0.1:6379;
    redis_auth sentinel_password_file=$PG_KEY;
}
--- must_die
--- error_log
"sentinel_password_file=" of "redis_auth" wants "mode=sentinel" of "redis" in policy "$PG_POLICY"



=== TEST 182: sentinels' user without a password
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis      127.0.0.1:26379 mode=sentinel master=mymaster;
    redis_auth password_file=$PG_KEY sentinel_user=guard;
}
--- must_die
--- error_log
no "sentinel_password_file=" in "redis_auth" with "sentinel_user="



=== TEST 183: a user without a password, beside the sentinels'
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_KEY;
    redis      127.0.0.1:26379 mode=sentinel master=mymaster;
    redis_auth user=guard sentinel_password_file=$PG_KEY;
}
--- must_die
--- error_log
no "password_file=" in "redis_auth"



=== TEST 184: a rotation in a cluster
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny;
    secret   $PG_TMP/two-$PG_STORE;
    redis    127.0.0.1:6379 mode=cluster;
}
--- must_die
--- error_log
the second line of "secret" can't be used with "mode=cluster" in policy "$PG_POLICY": what was counted under the other key is in another hash slot



=== TEST 185: patient_guard_patient: another kind
--- config
patient_guard_patient  $arg_patient kind=ssn;
--- must_die
--- error_log
invalid value "kind=ssn" of "patient_guard_patient", expected values that name patients, and "kind=nir" once



=== TEST 186: patient_guard_patient: a kind twice
--- config
patient_guard_patient  $arg_patient kind=nir kind=nir;
--- must_die
--- error_log
invalid value "kind=nir" of "patient_guard_patient", expected values that name patients, and "kind=nir" once



=== TEST 187: patient_guard_patient: a kind and no value
--- config
patient_guard_patient  kind=nir;
--- must_die
--- error_log
no value in "patient_guard_patient", expected one such as "$patient_id"



=== TEST 188: patient_guard_request_match: no group
--- config
patient_guard_request_match  "id=(?<id>[0-9]+)";
--- must_die
--- error_log
in "patient_guard_request_match" the expression "id=(?<id>[0-9]+)" has no group "patient"; write "(?<patient>...)" around what names one



=== TEST 189: patient_guard_request_match: twice
--- config
patient_guard_request_match  "(?<patient>[0-9]+)";
patient_guard_request_match  "(?<patient>[0-9]+)";
--- must_die
--- error_log
"patient_guard_request_match" directive is duplicate



=== TEST 190: patient_guard_request_match: another kind
--- config
patient_guard_request_match  "(?<patient>[0-9]+)" kind=ssn;
--- must_die
--- error_log
invalid value "kind=ssn" of "patient_guard_request_match", expected "kind=nir"



=== TEST 191: patient_guard_response_match: what may be empty
--- config
patient_guard_response_match  "(?<patient>[0-9]*)";
--- must_die
--- error_log
in "patient_guard_response_match" the expression "(?<patient>[0-9]*)" may match where there is nothing; let it match a byte



=== TEST 192: patient_guard_response_match: no expression
--- config
patient_guard_response_match  "(?<patient>[0-9]+";
--- must_die
--- error_log
in "patient_guard_response_match" the expression "(?<patient>[0-9]+" has a fault at byte 17: missing closing parenthesis



=== TEST 193: patient_guard_response_match: it looks behind too far
--- config
patient_guard_response_match  "(?<=.{128})(?<patient>[0-9]+)";
--- must_die
--- error_log
in "patient_guard_response_match" the expression "(?<=.{128})(?<patient>[0-9]+)" looks behind too far; one look-behind may be of 127 bytes, and all together of 508



=== TEST 194: patient_guard_response_match: what depends on where a match began
--- config
patient_guard_response_match  "\G(?<patient>[0-9]+)";
--- must_die
--- error_log
in "patient_guard_response_match" the expression "\G(?<patient>[0-9]+)" has \C, \G or \K, of no use in a stream; write ".", "^" or "(?<=...)"



=== TEST 195: patient_guard_response_match: twice
--- config
patient_guard_response_match  "(?<patient>[0-9]+)";
patient_guard_response_match  off;
--- must_die
--- error_log
"patient_guard_response_match" directive is duplicate



=== TEST 196: patient_guard_records: no variable
--- config
patient_guard_records  100;
--- must_die
--- error_log
invalid value "100" of "patient_guard_records", expected a variable such as "$upstream_http_x_record_count" or "off"



=== TEST 197: patient_guard_records: an unknown variable
--- config
patient_guard_records  $no_such;
--- must_die
--- error_log
unknown "no_such" variable



=== TEST 198: patient_guard_records: twice
--- config
patient_guard_records  $arg_n;
patient_guard_records  $arg_m;
--- must_die
--- error_log
"patient_guard_records" directive is duplicate



=== TEST 199: patient_guard_response_gate: neither on nor off
--- config
patient_guard_response_gate  yes;
--- must_die
--- error_log
invalid value "yes" of "patient_guard_response_gate", expected "on" or "off"



=== TEST 200: patient_guard_response_gate: a size of nothing
--- config
patient_guard_response_gate  on size=1m;
--- must_die
--- error_log
invalid value "size=1m" of "patient_guard_response_gate", expected "buffer=size" or "file=size"



=== TEST 201: patient_guard_response_gate: too small a buffer
--- config
patient_guard_response_gate  on buffer=1023;
--- must_die
--- error_log
invalid value "buffer=1023" of "patient_guard_response_gate", expected "buffer=" of 1k or more



=== TEST 202: patient_guard_response_gate: a file of no size
--- config
patient_guard_response_gate  on file=much;
--- must_die
--- error_log
invalid value "file=much" of "patient_guard_response_gate", expected "file=" and a size such as "1g", or 0



=== TEST 203: patient_guard_response_gate: a buffer twice
--- config
patient_guard_response_gate  on buffer=1k buffer=2k;
--- must_die
--- error_log
parameter "buffer=2k" of "patient_guard_response_gate" is given twice



=== TEST 204: patient_guard_response_gate: off, and a size
--- config
patient_guard_response_gate  off buffer=1k;
--- must_die
--- error_log
invalid value "buffer=1k" of "patient_guard_response_gate", expected nothing behind "off"



=== TEST 205: patient_guard_response_gate: twice
--- config
patient_guard_response_gate  on;
patient_guard_response_gate  on;
--- must_die
--- error_log
"patient_guard_response_gate" directive is duplicate



=== TEST 206: a memory that is none
--- policy
limit   new_patients=5/1h deny;
memory  28;
--- must_die
--- error_log
invalid value "28" of "memory", expected a time from 1h to 90d such as "28d"



=== TEST 207: a memory that is too long
--- policy
limit   new_patients=5/1h deny;
memory  91d;
--- must_die
--- error_log
invalid value "91d" of "memory", expected a time from 1h to 90d such as "28d"



=== TEST 208: memory twice
--- policy
limit   new_patients=5/1h deny;
memory  28d;
memory  28d;
--- must_die
--- error_log
"memory" directive is duplicate in policy "$PG_POLICY"



=== TEST 209: per= twice
--- policy
limit   lookups=5/1h deny per=$remote_addr per=all;
--- must_die
--- error_log
parameter "per=all" of "limit" is given twice



=== TEST 210: per= what is no variable
--- policy
account  $remote_user;
limit    lookups=5/1h deny per=$nobody;
--- must_die
--- error_log
unknown "nobody" variable



=== TEST 211: two limits that differ by nothing but the spelling of per=
--- policy
limit   lookups=5/1h deny per=$remote_addr;
limit   lookups=6/1h log per=${remote_addr};
--- must_die
--- error_log
two limits of policy "$PG_POLICY" bear the name "lookups/1h/remote_addr", give one of them a "name="



=== TEST 212: what many share in a cluster
--- http_config
patient_guard_policy $PG_POLICY {
    account  $remote_user;
    limit    lookups=1/1h deny per=all;
    secret   $PG_TMP/good-$PG_STORE;
    redis    127.0.0.1:6379 mode=cluster;
}
--- must_die
--- error_log
"per=" of "limit" can't be used with "mode=cluster" in policy "$PG_POLICY": an account and what else limits count by are counted in one step, and lie in different hash slots



=== TEST 213: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=x;
--- must_die
--- error_log
invalid value "x" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 214: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=0.05;
--- must_die
--- error_log
invalid value "0.05" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 215: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=101;
--- must_die
--- error_log
invalid value "101" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 216: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=3:0;
--- must_die
--- error_log
invalid value "3:0" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 217: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=3:;
--- must_die
--- error_log
invalid value "3:" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 218: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=3:x;
--- must_die
--- error_log
invalid value "3:x" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 219: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=-1;
--- must_die
--- error_log
invalid value "-1" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 220: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=2.0005;
--- must_die
--- error_log
invalid value "2.0005" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 221: a baseline that is none
--- policy
limit  patients=5/1h deny baseline=1e3;
--- must_die
--- error_log
invalid value "1e3" of "baseline", expected factor[:floor] such as "3:20", with a factor from 0.1 to 100



=== TEST 222: of what a proof is
--- policy
proof  $remote_port request;
--- must_die
--- error_log
invalid parameter "request" in "proof" of policy "$PG_POLICY", expected "session" or nothing
