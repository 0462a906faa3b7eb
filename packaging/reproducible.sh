#!/usr/bin/env bash
# Makes the release of this commit twice, from two checkouts at different places with different rights and clocks, and compares
# them. PROFILE=dev takes a tenth of the time and shows the same of paths and clocks, but for the optimizer.
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
places=("$work/one" "$work/another/and/longer")
masks=(0022 0077)
# One commit, whatever is committed meanwhile.
commit=$(git -C "$source" rev-parse HEAD)
for turn in 0 1; do
  git clone --quiet "$source" "${places[turn]}"
  git -C "${places[turn]}" checkout --quiet --detach "$commit"
  (umask "${masks[turn]}" && unset CARGO_TARGET_DIR &&
    "${places[turn]}/packaging/release.sh" "$work/out-$turn")
done
diff "$work/out-0/sha256sums" "$work/out-1/sha256sums" || { echo 'reproducible: they differ' >&2; exit 1; }
echo 'reproducible: both are the same'
