#!/usr/bin/env bash
# Installs what the tests run against from Debian's packages: a real Redis, a real coturn, Prometheus,
# Alertmanager, PostgreSQL, Chromium, valgrind, the strict reader of OpenMetrics.
# Does nothing when all of it is there. Starts and enables no service, and leaves apt's policy as it was.
# With CI=true a tool that is still missing in the end is a failure; else a warning, for tests that need no tool.
set -euo pipefail

# command and the package it comes from
readonly TOOLS=(
  "redis-server redis-server"
  "redis-cli redis-tools"
  "curl curl"
  "openssl openssl"
  "turnserver coturn"
  "turnutils_uclient coturn"
  "turnutils_peer coturn"
  "prometheus prometheus"
  "promtool prometheus"
  "prometheus-alertmanager prometheus-alertmanager"
  "amtool prometheus-alertmanager"
  "chromium chromium"
  "chromedriver chromium-driver"
  "valgrind valgrind"
  "psql postgresql-client"
  "setpriv util-linux"
  "python3 python3"
  "node nodejs"
)
# A file that is no command in PATH, and the package it comes from: the strict reader of OpenMetrics, the database, the judge
# of JSON schemas.
readonly FILES=(
  "/usr/lib/postgresql/*/bin/postgres postgresql"
  "/usr/lib/python3/dist-packages/prometheus_client/openmetrics/parser.py python3-prometheus-client"
  "/usr/lib/python3/dist-packages/jsonschema/validators.py python3-jsonschema"
)
# Packages that bring a service of the same name.
readonly SERVICES=(redis-server coturn prometheus prometheus-alertmanager postgresql)
readonly POLICY=/usr/sbin/policy-rc.d

# A user's PATH may lack the folders of daemons.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# The packages of missing tools, one a line.
missing() {
  local tool command file package
  {
    for tool in "${TOOLS[@]}"; do
      read -r command package <<<"$tool"
      command -v "$command" >/dev/null || echo "$package"
    done
    for tool in "${FILES[@]}"; do
      read -r file package <<<"$tool"
      compgen -G "$file" >/dev/null || echo "$package"
    done
  } | sort -u
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

give_up() {
  echo "install-tools: $1" >&2
  if [[ ${CI:-} == true ]]; then exit 1; fi
  echo "install-tools: going on without; tests that need it will say so" >&2
  exit 0
}

made_policy=false
remove_policy() {
  if [[ $made_policy == true ]]; then as_root rm -f "$POLICY"; fi
}
trap remove_policy EXIT

# Keeps the packages' scripts from starting services (101: forbidden by policy). A policy that is there stays, if it
# forbids too.
forbid_services() {
  if [[ ! -e $POLICY ]]; then
    made_policy=true
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    return
  fi
  local service answer
  for service in "${SERVICES[@]}"; do
    answer=0
    as_root "$POLICY" "$service" start >/dev/null 2>&1 || answer=$?
    if [[ $answer -ne 101 ]]; then
      give_up "$POLICY would let $service start; install $* by hand"
    fi
  done
}

# Packages enable their services for the next start of the machine; those that came just now are not wanted there.
disable_services() {
  local service package
  for service in "${SERVICES[@]}"; do
    for package in "$@"; do
      [[ $package == "$service" ]] || continue
      if command -v update-rc.d >/dev/null; then as_root update-rc.d "$service" disable || true; fi
      if command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable "$service.service" || true
      elif command -v deb-systemd-helper >/dev/null; then
        as_root deb-systemd-helper disable "$service.service" || true
      fi
    done
  done
}

mapfile -t packages < <(missing)
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  give_up "missing: ${packages[*]}; this is no Debian, install them by hand"
fi
if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
  give_up "missing: ${packages[*]}; neither root nor sudo, run 'apt-get install ${packages[*]}' as root"
fi

echo "install-tools: installing ${packages[*]}" >&2
forbid_services "${packages[@]}"
# The lists may be fresh enough; if not, they are fetched once.
install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}")
as_root "${install[@]}" || { as_root apt-get update && as_root "${install[@]}"; } || {
  give_up "apt-get could not install ${packages[*]}; see above"
}
disable_services "${packages[@]}"

mapfile -t packages < <(missing)
if [[ ${#packages[@]} -ne 0 ]]; then give_up "still missing after the installation: ${packages[*]}"; fi
