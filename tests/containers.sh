#!/usr/bin/env bash
# The parts of the image and of compose.yaml, run by hand, for a machine that has no container engine: the static program in an
# empty root as process 1 of a PID namespace, as user 65534, with a root that is read-only; then each service's command with the
# programs of Debian. Run by `make deploy-test`. Needs root, and the packages of tests/install-tools.sh.
#
#   tests/containers.sh PROGRAM       a static coturn-exporter
#
# Never run: the build of the image, the images themselves, compose as a whole, Grafana.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=$(realpath "${1:?the path of a static coturn-exporter}")
work=$(mktemp -d)
pids=()

finish() {
    status=$?
    # unshare itself ignores SIGTERM; its child is the program.
    for pid in "${pids[@]}"; do kill "$pid" $(pgrep -P "$pid") 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ $status -ne 0 ]; then
        tail -n 20 "$work"/*.log >&2 || true
        echo "failed; kept for inspection: $work" >&2
    else
        rm -rf "$work"
    fi
}
trap finish EXIT

fail() { echo "error: $*" >&2; exit 1; }

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until a command succeeds; half a minute is more than any server here takes.
until_well() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "still not: $*"
}

for tool in unshare chroot mknod pgrep setpriv turnserver turnutils_uclient prometheus promtool prometheus-alertmanager amtool curl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: tests/install-tools.sh installs it"
done
case $(ldd "$program" 2>&1 || true) in
    *'statically linked'* | *'not a dynamic executable'*) ;;
    *) fail "$program is not static" ;;
esac

# --- The image -------------------------------------------------------------------------------------------------------------

web=$(free_port) statsdb=$(free_port) postgres=$(free_port) turn=$(free_port)
# The layout of the Dockerfile.
root=$work/root store=$work/store secrets=$work/secrets
mkdir -p -m 700 "$store"
mkdir -p "$root"/{var/lib/coturn-exporter,etc/ssl/certs,tmp,run/secrets} "$secrets"
cp "$program" "$root/coturn-exporter"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# Devices that every engine gives to a container. glibc's static programs need them for random numbers.
mkdir "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
openssl rand -hex 24 > "$secrets/statsdb_password"
openssl rand -hex 24 > "$secrets/postgres_password"
chmod 400 "$secrets"/*
chown -R 65534:65534 "$store" "$secrets"

variables=(
    "COTURN_EXPORTER_WEB_LISTEN_ADDRESS=:$web"
    "COTURN_EXPORTER_STATSDB_LISTEN_ADDRESS=:$statsdb"
    COTURN_EXPORTER_STATSDB_PASSWORD_FILE=/run/secrets/statsdb_password
    COTURN_EXPORTER_STORE_PATH=/var/lib/coturn-exporter
    "COTURN_EXPORTER_LEDGER_POSTGRES_URL=postgres://coturn_exporter@127.0.0.1:$postgres/accounting?sslmode=disable"
    COTURN_EXPORTER_LEDGER_POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password
    COTURN_EXPORTER_EXPORTER_NAME=compose
)

# In the empty root, which is read-only but for the volume; the last word of `exec` is process 1.
contained() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec env -i PATH="$PATH" unshare --mount --pid --fork --kill-child /bin/sh -euc '
        root=$1 store=$2 secrets=$3
        shift 3
        mount --bind "$root" "$root"
        mount --bind "$store" "$root/var/lib/coturn-exporter"
        mount --bind "$secrets" "$root/run/secrets"
        mount -o remount,bind,ro "$root"
        mount -o remount,bind,ro "$root/run/secrets"
        if touch "$root/written" 2>/dev/null; then echo "the root is not read-only" >&2; exit 9; fi
        exec env "$@"' sh "$root" "$store" "$secrets" "$@"
}

run_exporter() { contained "${variables[@]}" chroot --userspec=65534:65534 "$root" /coturn-exporter; }
# The health check as the engine starts it: beside the program, with its variables and user.
healthcheck() {
    env -i PATH="$PATH" "${variables[@]}" chroot --userspec=65534:65534 "$root" /coturn-exporter healthcheck "$@"
}

if healthcheck >/dev/null 2>&1; then fail "healthy before it was started"; fi
run_exporter 2> "$work/exporter.log" &
exporter=$!
pids+=("$exporter")
until_well healthcheck
healthcheck

inner=$(pgrep -P "$exporter" || true)
[ -n "$inner" ] || fail "no process under unshare"
[ "$(awk '/^NSpid:/ { print $NF }' "/proc/$inner/status")" = 1 ] || fail "not process 1 of its namespace"
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$inner/status")" = 65534 ] || fail "not user 65534"
[ "$(awk '/^CapEff:/ { print $2 }' "/proc/$inner/status")" = 0000000000000000 ] || fail "it has capabilities"
until_well compgen -G "$store/journal-*"
echo "image: the static program runs in an empty read-only root, as process 1 and as 65534; healthcheck works"

# --- compose.yaml, service by service --------------------------------------------------------------------------------------

# postgres: the role and the database that the image makes of its variables.
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
mkdir "$work/pg"
cp "$secrets/postgres_password" "$work/pg/password"
chown -R postgres "$work/pg"
chmod 711 "$work"
as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups env -C "$work/pg")
"${as_postgres[@]}" "$bin/initdb" --username=coturn_exporter --auth=scram-sha-256 --pwfile="$work/pg/password" -D "$work/pg/data" \
    > "$work/initdb.log"
"${as_postgres[@]}" "$bin/postgres" -D "$work/pg/data" -p "$postgres" -k "$work/pg" -c listen_addresses=127.0.0.1 2> "$work/postgres.log" &
pids+=($!)
until_well "$bin/pg_isready" -h 127.0.0.1 -p "$postgres"
export PGPASSWORD; PGPASSWORD=$(cat "$secrets/postgres_password")
psql=("$bin/psql" -h 127.0.0.1 -p "$postgres" -U coturn_exporter -qtA)
"${psql[@]}" -d postgres -c 'create database accounting'

# coturn, by the example configuration with both secrets put in, on loopback.
sed "s/password=CHANGE-ME/password=$(cat "$secrets/statsdb_password")/; s/secret=CHANGE-ME/secret=geheim/; s/port=6390/port=$statsdb/" \
    deploy/compose/secrets/turnserver.conf.example > "$work/turnserver.conf"
turnserver -c "$work/turnserver.conf" --log-file=stdout --listening-ip=127.0.0.1 --relay-ip=127.0.0.1 \
    --listening-port="$turn" --no-tls --no-dtls --allow-loopback-peers --pidfile="$work/turnserver.pid" > "$work/turnserver.log" 2>&1 &
pids+=($!)
until_well sh -c "curl -fs 127.0.0.1:$web/metrics | grep -q '^coturn_exporter_statsdb_coturn_seen.* 1$'"
until_well healthcheck --ready
echo "compose: coturn has logged in to the exporter"

# A client that allocates with a TURN REST name, over TCP, where its leaving is an end; its session reaches PostgreSQL when it has ended.
timeout 30 turnutils_uclient -t -y -m 1 -n 5 -W geheim -u alice -p "$turn" 127.0.0.1 > "$work/client.log" 2>&1 || true
session_is_there() {
    [ "$("${psql[@]}" -d accounting -c "select count(*) from coturn_ledger.session where realm = 'example.org'")" -ge 1 ]
}
until_well session_is_there
echo "compose: the session of a client is in PostgreSQL"

# Prometheus and Alertmanager, by the files that compose mounts, found where they are here.
sed "s#/etc/prometheus/coturn#$PWD/alerts#; s/exporter:10641/127.0.0.1:$web/" deploy/compose/prometheus.yml > "$work/prometheus.yml"
promtool check config "$work/prometheus.yml" > "$work/promtool.log"
amtool check-config alerts/alertmanager.example.yaml > "$work/amtool.log"
prom=$(free_port) am=$(free_port)
sed -i "s/alertmanager:9093/127.0.0.1:$am/; s/: 15s/: 1s/" "$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --storage.tsdb.retention.time=30d \
    --web.listen-address="127.0.0.1:$prom" 2> "$work/prometheus.log" &
pids+=($!)
prometheus-alertmanager --config.file=alerts/alertmanager.example.yaml --storage.path="$work/alertmanager" \
    --web.listen-address="127.0.0.1:$am" --cluster.listen-address= 2> "$work/alertmanager.log" &
pids+=($!)
until_well curl -fs "127.0.0.1:$am/-/ready"
scraped() { curl -fsG "127.0.0.1:$prom/api/v1/query" --data-urlencode 'query=up{job="coturn"} == 1' | grep -q '"value"'; }
until_well scraped
curl -fs "127.0.0.1:$prom/api/v1/alertmanagers" | grep -q "127.0.0.1:$am" || fail "Prometheus has no Alertmanager"
curl -fs "127.0.0.1:$prom/api/v1/rules" | grep -q CoturnExporterDown || fail "Prometheus has no alerts"
echo "compose: Prometheus scrapes, has the rules, and knows Alertmanager"

# --- The end of the container ----------------------------------------------------------------------------------------------

kill -TERM "$inner"
code=0
wait "$exporter" || code=$?
[ "$code" = 0 ] || fail "process 1 ended with $code after SIGTERM"
if healthcheck > "$work/after.log" 2>&1; then fail "healthy after its end"; fi
run_exporter 2>> "$work/exporter.log" &
exporter=$!
pids+=("$exporter")
until_well healthcheck --ready
echo "image: SIGTERM ends process 1 with 0, and the volume is taken up again"
