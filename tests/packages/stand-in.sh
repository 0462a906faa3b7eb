# Sourced by run.sh and first-machine.sh.
# shellcheck shell=bash

# Starts manager.py, the stand-in of systemd, in this root, whose /proc, /dev and /run are mounted: what packages' scripts ask
# systemd for goes to it. Ends with the namespace.
stand_in_for_systemd() {
  local root=$1 tool here
  here=$(dirname "${BASH_SOURCE[0]}")
  ip link set lo up
  mkdir -p "$root/run/systemd/system" "$root/run/tools"
  cp "$root/usr/bin/systemctl" "$root/run/tools/real-systemctl"
  cp "$here/manager.py" "$root/run/tools"
  for tool in systemctl deb-systemd-invoke; do
    { echo '#!/usr/bin/python3'; cat "$here/manager.py"; } >"$root/run/tools/$tool"
    chmod 755 "$root/run/tools/$tool"
    mount --bind "$root/run/tools/$tool" "$root/usr/bin/$tool"
  done
  chroot "$root" python3 /run/tools/manager.py serve &
  until [[ -S $root/run/manager ]]; do read -rt 0.05 <> <(:) || :; done
}
