# An nginx with the module, and Redis, of the browser's own: sourced by what
# wants them, from the root of the repository.  All of it lives in $work, a
# temporary folder, and ends with the shell.  The nginx.conf, of its http
# block, comes by standard input to rig_start; @work@ and @port@ stand for
# what they say.

module=$PWD/.build/ngx_patient_guard_module.so
work=$(mktemp -d /tmp/patient-guard-board.XXXXXX)
port=$((20000 + RANDOM % 10000))
pids=()

finish() {
    [[ ! -s $work/nginx.pid ]] || kill "$(cat "$work/nginx.pid")" || true
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

rig_start() {
    # workers are nobody's, where root runs this
    chmod 711 "$work"
    redis-server --port 0 --unixsocket "$work/redis.sock" \
        --unixsocketperm 777 --dir "$work" --save '' > "$work/redis.log" &
    pids+=($!)

    head -c 32 /dev/urandom | base64 > "$work/key"
    chmod 600 "$work/key"

    {
        cat <<END
load_module $module;
pid $work/nginx.pid;
error_log $work/error.log notice;
worker_processes 2;
events {}
http {
    access_log off;
    client_body_temp_path $work/body; proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi; uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
END
        sed -e "s|@work@|$work|g" -e "s|@port@|$port|g"
        echo '}'
    } > "$work/nginx.conf"

    nginx -e "$work/error.log" -p "$work" -c "$work/nginx.conf"

    for _ in $(seq 100); do
        curl -s -o "$work/first" "http://127.0.0.1:$port/" && break
        sleep 0.1
    done
}
