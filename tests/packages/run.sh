#!/usr/bin/env bash
# Installs the Debian package, runs it, upgrades it over itself with live traffic, removes and purges it, and looks for what is
# left; compares the RPM's files with its. As root: tests/packages/run.sh PACKAGE.deb PACKAGE.rpm
#
# All of it happens in namespaces of its own (mounts, processes, network), on a copy of this system that is thrown away: an
# overlay in memory. There is no systemd in it: manager.py does for the units what systemd would do (sockets, user, environment,
# start until READY=1, stop), and the package's scripts talk to it as to systemd. What this does not show is the sandbox of the
# unit; `systemd-analyze` judges that in tests/program/systemd.rs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/stand-in.sh"

fail() { echo "packages: $*" >&2; exit 1; }

if [[ ${1:-} != inside ]]; then
  [[ $# -eq 2 && -f $1 && -f $2 ]] || fail "usage: $0 PACKAGE.deb PACKAGE.rpm"
  [[ $(id -u) -eq 0 ]] || fail "needs root, for an overlay and namespaces"
  for tool in lintian rpm ip unshare python3 curl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install lintian rpm iproute2 util-linux python3 curl"
  done
  deb=$(realpath "$1") rpm=$(realpath "$2")

  lintian --allow-root --fail-on error,warning "$deb"
  echo "packages: lintian finds nothing"

  # One list of files: what differs is the habit of each system.
  diff <(dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's|^\./|/|; /[^/]$/p' |
      grep -v -e '/changelog' -e '/lintian/' -e '/prometheus-coturn-exporter\(.1.gz\)\?$' |
      sed 's|/vendor-completions/|/site-functions/|' | sort) \
    <(rpm -qlp "$rpm" 2>/dev/null | grep -v '/etc/default/' | sed 's|\(/man1/.*\.1\)$|\1.gz|' | sort) ||
    fail "the RPM has other files"
  rpm -qp --scripts "$rpm" 2>/dev/null | grep -q 'systemctl try-restart' || fail "the RPM has no scripts"
  echo "packages: both have the same files"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/tree"
  unshare --mount --net --pid --fork --kill-child "$0" inside "$work/tree" "$deb"
  exit 0
fi

tree=$2 deb=$3
mount -t tmpfs none "$tree"
mkdir "$tree"/{changed,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$tree/changed,workdir=$tree/work" "$tree/root"
root=$tree/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for dir in run tmp; do mount -t tmpfs none "$root/$dir"; done
# A policy of this machine that forbids services must not forbid this one.
rm -f "$root/usr/sbin/policy-rc.d"
in_root() { chroot "$root" "$@"; }
stand_in_for_systemd "$root"
cp "$here/traffic.py" "$root/run/tools"
cp "$deb" "$root/tmp/package.deb"

page() { curl --silent --show-error --fail --max-time 60 http://127.0.0.1:10641/metrics; }
value() { page | awk -v name="$1" '$1 ~ "^" name "({|$)" { sum += $2 } END { print sum + 0 }'; }
must() { [[ $2 == "$3" ]] || { cat "$root/run/prometheus-coturn-exporter.service.log" >&2; fail "$1: $2, where $3 was expected"; }; }
# Until the page says so: what coturn has been answered is on it, what waits in a socket may not be yet.
settles() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    [[ $(value "$1") == "$2" ]] && return
    read -rt 0.1 <> <(:) || :
  done
  must "$1" "$(value "$1")" "$2"
}
accounts() { in_root getent "$1" prometheus-coturn-exporter || :; }
before=$(sha256sum <"$root/etc/passwd")

in_root dpkg --install /tmp/package.deb
page >/dev/null || fail "no page after the installation"
must "user of the process" "$(in_root stat -c %U "/proc/$(in_root pgrep -x coturn-exporter)")" \
  "$(accounts passwd | cut -d: -f1)"
must "rights of the store" "$(in_root stat -c %U:%a /var/lib/prometheus-coturn-exporter)" prometheus-coturn-exporter:700
in_root coturn-exporter doctor --statsdb.listen-address 127.0.0.1:6390 >/dev/null || : # it speaks of no coturn yet
in_root man --where coturn-exporter prometheus-coturn-exporter >/dev/null
echo "packages: installed, and it runs as its own user"

# The steps of docs/deploying.md, "Sockets".
in_root sed -i 's/^ARGS=.*/ARGS="--statsdb.listen-address=127.0.0.1:6390 --statsdb.systemd-socket --web.systemd-socket"/' \
  /etc/default/prometheus-coturn-exporter
sockets=(prometheus-coturn-exporter-statsdb.socket prometheus-coturn-exporter-web.socket)
in_root systemctl stop prometheus-coturn-exporter.service
in_root systemctl enable "${sockets[@]}" 2>/dev/null
in_root systemctl start "${sockets[@]}"
in_root systemctl start prometheus-coturn-exporter.service

chroot "$root" python3 /run/tools/traffic.py >"$tree/opened" &
traffic=$!
until [[ $(value coturn_allocations) -gt 20 ]]; do :; done
process=$(in_root pgrep -x coturn-exporter)
for round in 1 2 3; do
  in_root dpkg --install /tmp/package.deb >/dev/null &
  upgrade=$!
  # Each scrape beside it must get its page, also those that come while there is no process, or no page yet.
  while kill -0 "$upgrade" 2>/dev/null; do
    code=$(curl --silent --show-error --max-time 60 -o /dev/null -w '%{http_code}' http://127.0.0.1:10641/metrics) ||
      fail "a scrape failed during upgrade $round"
    [[ $code == 200 ]] || fail "a scrape was answered by $code during upgrade $round"
  done
  wait "$upgrade"
done
[[ $(in_root pgrep -x coturn-exporter) != "$process" ]] || fail "an upgrade did not restart it"
after=$(value coturn_allocations)
until [[ $(value coturn_allocations) -gt $after ]]; do :; done
kill "$traffic" && wait "$traffic"
read -r opened refused <"$tree/opened"
must "connections of coturn that were refused" "$refused" 0
settles coturn_allocations "$opened"
must "defaults file after upgrades" "$(in_root grep -c systemd-socket\" /etc/default/prometheus-coturn-exporter)" 1
echo "packages: three upgrades over itself, $opened allocations opened meanwhile, none missing, no connection refused, each scrape got its page"

in_root dpkg --remove prometheus-coturn-exporter >/dev/null
! in_root pgrep -x coturn-exporter || fail "it runs after it was removed"
[[ -d $root/var/lib/prometheus-coturn-exporter && -f $root/etc/default/prometheus-coturn-exporter ]] ||
  fail "removal took the store or the defaults away"
in_root dpkg --install /tmp/package.deb >/dev/null
must "allocations after it was installed again" "$(value coturn_allocations)" "$opened"
in_root dpkg --purge prometheus-coturn-exporter >/dev/null
must "user after the purge" "$(accounts passwd)$(accounts group)" ""
must "passwd after the purge" "$(sha256sum <"$root/etc/passwd")" "$before"
# Character devices in an overlay stand for files that were removed.
left=$(cd "$tree/changed" && find . ! -type d ! -type c | grep -v \
  -e '^./var/lib/dpkg/' -e '^./var/log/' -e '^./var/cache/' -e '^./etc/\(passwd\|group\|g\?shadow\)-\?$' \
  -e '^./etc/sub[ug]id-\?$' -e '^./etc/\.pwd\.lock$' || :)
must "left after the purge" "$left" ""
! grep -rl --exclude='*-' prometheus-coturn-exporter "$tree/changed"/{var/lib/dpkg/info,etc,var/lib/systemd} 2>/dev/null || fail "the purge left traces (above)"
echo "packages: removed and purged, nothing left"
