#!/usr/bin/env bash
# The first day of an operator on a fresh Debian 12: takes the commands from docs/deploying.md ("Debian and Ubuntu", the headings
# with a number), types them there one after the other, times each step, and shows that a real call is seen in Prometheus. As root:
# tests/packages/first-machine.sh PACKAGE.deb
#
# The machine is made by debootstrap in a temporary directory, with coturn and Prometheus as Debian has them, and is entered by
# chroot, in namespaces of mounts, processes and network: only apt reaches beyond loopback. There is no systemd in it: manager.py
# starts what its units say. Grafana is not in Debian: its files are put where the document says, and looked at.
# FIRST_MACHINE_BASE=DIRECTORY: what an earlier debootstrap made, to be copied instead, for trials.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/stand-in.sh"
document=$here/../../docs/deploying.md
prometheus=http://127.0.0.1:9090

fail() { echo "first-machine: $*" >&2; exit 1; }
say() { echo "first-machine: $*" >&2; }

if [[ ${1:-} != inside ]]; then
  [[ $# -eq 1 && -f $1 ]] || fail "usage: $0 PACKAGE.deb"
  [[ $(id -u) -eq 0 ]] || fail "needs root, for debootstrap, chroot and namespaces"
  for tool in debootstrap ip unshare nsenter curl python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install debootstrap iproute2 util-linux curl python3"
  done
  deb=$(realpath "$1")
  root=$(mktemp -d)
  trap 'rm -rf --one-file-system "$root"' EXIT
  chmod 755 "$root"
  began=$SECONDS
  if [[ -n ${FIRST_MACHINE_BASE:-} ]]; then
    cp -a "$FIRST_MACHINE_BASE/." "$root"
  else
    # Python is for the stand-in of systemd.
    debootstrap --include=python3 bookworm "$root" >"$root.log" 2>&1 ||
      { tail -20 "$root.log" >&2; rm -f "$root.log"; fail "debootstrap cannot make a Debian"; }
    rm -f "$root.log"
  fi
  say "a fresh Debian $(<"$root/etc/debian_version") in $((SECONDS - began)) s"
  # The way to the mirror is that of this machine; nothing is asked, and nothing comes that is only recommended.
  apt-config dump Acquire >"$root/etc/apt/apt.conf.d/acquire"
  printf 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/unattended"
  cp "$deb" "$root/tmp/"
  exec 9</proc/self/ns/net
  unshare --mount --net --pid --fork --kill-child "$0" inside "$root"
  exit 0
fi

root=$2
for kind in proc sysfs; do mount -t $kind none "$root/$([[ $kind == proc ]] && echo proc || echo sys)"; done
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/run"
stand_in_for_systemd "$root" 9<&-

# What is typed, in the directory of the package. apt alone has the network of the machine around.
typed() {
  local reach=()
  [[ $1 != apt-get* ]] || reach=(nsenter --net=/proc/self/fd/9)
  "${reach[@]}" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive chroot "$root" sh -c "cd /tmp && $1" </dev/null >"$root/run/said" 2>&1
}
logs() { tail -n 20 "$root/run/said" "$root"/run/*.log >&2; }
must() { typed "$1" || { logs; fail "it failed: $1"; }; }
# Until the command says so; two minutes are eight scrapes.
settles() {
  local tries
  for ((tries = 0; tries < 240; tries++)); do
    if typed "$1" && grep -q -- "$2" "$root/run/said"; then return; fi
    read -rt 0.5 <> <(:) || :
  done
  logs
  fail "not within two minutes: \"$2\" in what this says: $1"
}

# The commands under a heading that begins so, each on a line.
commands() {
  awk -v heading="### $1" '
    /^##/ { inside = index($0, heading) == 1 }
    /^```/ { shell = inside && $0 == "```sh"; next }
    inside && shell { line = line $0; if (sub(/\\$/, "", line) == 0) { print line; line = "" } }' "$document"
}
title() { sed -n "s/^### $1\. //p" "$document"; }

rows=() total=0
# What began then took this long, with so many commands.
row() {
  local milliseconds=$((($(date +%s%N) - $3) / 1000000))
  total=$((total + milliseconds))
  local seconds=$((milliseconds / 1000)).$((milliseconds % 1000 / 100))
  [[ $seconds != 0.0 ]] || seconds='under 0.1'
  rows+=("| $1 | $2 | $seconds s |")
  say "${rows[-1]}"
}
# A step of the document, whose commands must all be well.
step() {
  local count=0 command began
  began=$(date +%s%N)
  while read -r command; do
    count=$((count + 1))
    case $command in
      'systemctl restart grafana-server') say 'Grafana is not in Debian: not restarted' ;;
      # coturn reports a moment after it is up.
      *' doctor '*) settles "$command; echo ended with \$?" 'ended with 0' ;;
      'promtool query '*) settles "$command" "$2" ;;
      *) must "$command" ;;
    esac
  done < <(commands "$1. ")
  [[ $count -gt 0 ]] || fail "no commands under \"### $1.\" in docs/deploying.md"
  row "$1. $(title "$1")" "$count" "$began"
}

# What the operator has before: coturn, with a realm and a user, and Prometheus.
must 'apt-get update'
must 'apt-get install coturn prometheus'
cat >>"$root/etc/turnserver.conf" <<'END'
realm=example.org
lt-cred-mech
user=alice:geheim
listening-ip=127.0.0.1
relay-ip=127.0.0.1
allow-loopback-peers
no-cli
END
must 'systemctl restart coturn'

step 1
[[ $(curl --silent --fail http://127.0.0.1:10641/-/healthy) == healthy ]] || fail "the exporter does not answer after its installation"
step 2
step 3
# Grafana's files are those of the package, and where the provisioning looks for them.
step 4
path=$(sed -n 's/^ *path: *//p' "$root"/etc/grafana/provisioning/dashboards/coturn.yaml)
for dashboard in "$here"/../../dashboards/coturn-*.json; do
  python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["uid"]' "$root$path/${dashboard##*/}"
done

# A call: two allocations that relay to each other, over TCP, where leaving ends them.
began=$(date +%s%N)
typed 'timeout 60 turnutils_uclient -t -y -m 1 -n 5 -u alice -w geheim 127.0.0.1' || say "the client ended with $?"
row 'a call, by `turnutils_uclient`' 1 "$began"
step 5 'realm="example.org"'
counted=$(curl --silent --fail http://127.0.0.1:10641/metrics |
  awk '/^coturn_allocations_opened_total[{]/ && /realm="example.org"/ { sum += $2 } END { print sum + 0 }')
[[ $counted -gt 0 ]] || fail "the exporter has seen no allocation"
grep -q "=> $counted " "$root/run/said" || { cat "$root/run/said" >&2; fail "Prometheus does not say $counted"; }
say "seen in Prometheus: $(grep -m 1 '=>' "$root/run/said")"

# Each alert of the files is in Prometheus, evaluated without an error; those that fire, if any.
began=$(date +%s%N)
wanted=$(grep -hc '^ *- alert:' "$root"/usr/share/prometheus-coturn-exporter/alerts/coturn.alerts.yaml)
rules() {
  curl --silent --fail "$prometheus/api/v1/rules?type=alert" | python3 -c '
import json, sys
rules = [rule for group in json.load(sys.stdin)["data"]["groups"] for rule in group["rules"]]
print(sum(rule["health"] == "ok" for rule in rules), *(rule["name"] for rule in rules if rule["state"] == "firing"))'
}
for ((tries = 0; tries < 240; tries++)); do
  read -r loaded firing < <(rules)
  [[ $loaded == "$wanted" ]] && break
  read -rt 0.5 <> <(:) || :
done
[[ $loaded == "$wanted" ]] || fail "$loaded of $wanted alerts are loaded and well"
[[ -z $firing ]] || fail "alerts that fire on a machine where all is well: $firing"
row "$wanted alerts loaded and evaluated, none fires" 0 "$began"

echo '| step | commands | machine time |'
echo '| --- | --- | --- |'
printf '%s\n' "${rows[@]}"
echo "| all | | $((total / 1000)) s |"
