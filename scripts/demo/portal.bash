# The demonstration portal, the guard in front and their Redis, in a temporary
# folder; sourced by run and serve, and by scripts/browser.
#
#     PORT=n         where the guarded portal listens; else any free port
#     STORE=memory   no Redis
#     MODULE=file    the guard

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$(dirname "$here")
me=$(basename "$0")

MODULE=${MODULE:-$scripts/../.build/ngx_patient_guard_module.so}
MODULE=$(realpath -m "$MODULE")
STORE=${STORE:-redis}
PATH=$PATH:/usr/sbin:/sbin
umask 077

work=

die() {
    echo "$me: $*" >&2
    exit 1
}

# with the head of nginx's error log
fail() {
    if [[ -s $work/error.log ]]; then
        echo "nginx's error log begins:" >&2
        head -n 5 "$work/error.log" >&2
    fi
    die "$1"
}

# What was started last is stopped first.  A wait that a signal broke off may
# have reaped a child unnoticed: to wait for it again is to wait for ever.
cleanup() {
    local pids i

    trap '' INT TERM HUP
    mapfile -t pids < <(jobs -p)
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        if kill -- "-${pids[i]}" 2>/dev/null || kill "${pids[i]}" 2>/dev/null
        then
            wait "${pids[i]}" 2>/dev/null || true
        fi
    done
    # a master that was killed leaves its workers
    if [[ $work && -s $work/nginx.pid ]]; then
        kill -- "-$(<"$work/nginx.pid")" 2>/dev/null || true
    fi
    if [[ $work ]]; then
        rm -rf "$work"
    fi
}

# cleanup by name: a signal may come when EXIT's has hardly begun
trap cleanup EXIT
trap 'echo; cleanup; exit 130' INT
trap 'cleanup; exit 143' TERM HUP

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# await WHAT LOG COMMAND ...: until the command succeeds or the newest child
# is gone
await() {
    local what=$1 log=$2 end=$((SECONDS + 15))
    shift 2

    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > end)) || ! kill -0 $! 2>/dev/null; then
            cat "$log" >&2
            die "$what does not start"
        fi
        sleep 0.05
    done
}

free_port() {
    local try

    for _ in {1..100}; do
        try=$((20000 + RANDOM % 10000))
        if [[ $try != "${1-}" ]] && ! listens "$try"; then
            echo "$try"
            return
        fi
    done
    die "no free port between 20000 and 29999"
}

choose_ports() {
    port=${PORT:-$(free_port)}

    if ! [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then
        die "PORT=$port is no port"
    fi
    ! listens "$port" || die "port $port is in use; PORT=n chooses another"

    open_port=$(free_port "$port")
}

# plain NAME PATH: sed fills it in, nginx and the reader's shell read it
plain() {
    [[ $2 =~ ^/[[:alnum:]/._,+=~%-]*$ ]] \
        || die "$1=$2: wants an absolute path of letters, digits and /._,+=~%-"
}

make_folder() {
    local tmp=${TMPDIR:-/tmp}

    plain TMPDIR "$tmp"
    plain MODULE "$MODULE"
    work=$(mktemp -d "$tmp/patient-portal.XXXXXX" 2>/dev/null) \
        || die "cannot write to $tmp; set TMPDIR to another folder"

    ((${#work} < 90)) || die "$work is too long a path for a unix socket"
    mkdir "$work/users"
}

# copies a file with its @words@ filled in; $user is the caller's
render() {
    sed -e "s|@log@|$access_log|g" \
        -e "s|@work@|$work|g" \
        -e "s|@module@|$MODULE|g" \
        -e "s|@port@|$port|g" \
        -e "s|@user@|$user|g" \
        -e "s|https://portal.example|http://127.0.0.1:$port|g" "$1" \
        > "$work/$(basename "$1")"
}

configure() {
    local user='' file

    awk -v work="$work" -f "$here/patients.awk"
    awk -v work="$work" -v seconds="$(date +%s)" -f "$here/sessions.awk" \
        < <(od -An -v -tx1 -w16 -N8192 /dev/urandom | tr -d ' ')

    # nginx's workers give root up, and need the sockets in our folder
    if [[ $(id -u) == 0 ]]; then
        id www-data >/dev/null 2>&1 || die "there is no user www-data"
        user="user www-data;"
    fi

    for file in "$here"/*.conf "$scripts"/policies/*.conf; do
        render "$file"
    done

    # the same once more, without the guard
    sed -e "s|\(127.0.0.[12]\):$port|\1:$open_port|" \
        -e 's|patient_guard  .*;|patient_guard  off;|' \
        -e '/^upstream/,/^}/d; /^map/,/^}/d' "$work/guarded.conf" \
        > "$work/open.conf"

    if [[ $STORE == redis ]]; then
        cat > "$work/patient_guard_store.conf" <<-END
		secret  $work/secret;
		redis   unix:$work/redis.sock;
		# load, portal, guard and Redis all share this machine's processors
		redis_timeout  2s;
		END
        od -An -tx1 -N32 /dev/urandom | tr -d ' \n' > "$work/secret"
    else
        : > "$work/patient_guard_store.conf"
    fi

    if [[ $user ]]; then
        chown -R www-data: "$work"
        if [[ -e $work/secret ]]; then
            chown root: "$work/secret"
        fi
    fi
}

start_redis() {
    redis-server --port 0 --unixsocket "$work/redis.sock" \
                 --unixsocketperm 777 --dir "$work" --save '' \
                 --appendonly no > "$work/redis.log" 2>&1 &
    await redis-server "$work/redis.log" \
          redis-cli -s "$work/redis.sock" --no-auth-warning ping
}

start_nginx() {
    local nginx=(nginx -p "$work" -c "$work/nginx.conf" -e "$work/error.log")

    if ! "${nginx[@]}" -t -q 2> "$work/test.log"; then
        case $(<"$work/test.log") in
            *"bind()"*"(13:"*)
                die "no right to listen on port $port; PORT=n (over 1023)" ;;
            *"bind()"*"(98:"*)
                die "port $port is in use; PORT=n chooses another" ;;
        esac
        cat "$work/test.log" >&2
        die "nginx does not accept the configuration"
    fi

    # in a process group of its own: a terminal's HUP would reload it
    set -m
    "${nginx[@]}" 2> "$work/nginx.log" &
    set +m
    # not by its port, which may be another's
    await nginx "$work/error.log" test -s "$work/nginx.pid"
}

# start_portal ACCESS_LOG: guarded on $port, unguarded on $open_port
start_portal() {
    access_log=$1

    case $STORE in
        redis)  "$scripts/setup" demo redis ;;
        memory) "$scripts/setup" demo ;;
        *)      die "STORE=redis or STORE=memory" ;;
    esac
    [[ -f $MODULE ]] || die "$MODULE is missing: make builds it"

    (($(ulimit -n) >= 4096)) || ulimit -n 4096 2>/dev/null \
        || die "needs 4096 open files (ulimit -n), has $(ulimit -n)"

    choose_ports
    make_folder
    configure
    if [[ $STORE == redis ]]; then
        start_redis
    fi
    start_nginx
}
