#!/usr/bin/env bash
# Makes what a release publishes, into a directory: packaging/release.sh DIRECTORY
#
# - the program, static (musl), with all that belongs to it, as a .tar.gz
# - a list of what is in it (SBOM, CycloneDX)
# - sha256sums of both
#
# Two runs on one commit with one tool chain give the same bytes, wherever they are run: `packaging/reproducible.sh` shows it. It
# builds for the processor that it runs on, or for TARGET=aarch64-unknown-linux-musl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:?packaging/release.sh DIRECTORY}")
profile=${PROFILE:-release}
target=${TARGET:-$(uname -m)-unknown-linux-musl}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=coturn-exporter-$version-$target

source packaging/target.sh
needs git git
command -v cargo-cyclonedx >/dev/null ||
  { echo 'release: cargo-cyclonedx is missing: make release installs it' >&2; exit 1; }

# No path and no clock of this machine is in what is built.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
home=${CARGO_HOME:-$HOME/.cargo}
use_target "$target" "-fno-asynchronous-unwind-tables -ffile-prefix-map=$PWD=/build -ffile-prefix-map=$home=/cargo"
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0
export RUSTFLAGS="--remap-path-prefix=$PWD=/build --remap-path-prefix=$home=/cargo"
COTURN_EXPORTER_REVISION=$(git rev-parse --short=12 HEAD)
COTURN_EXPORTER_RUSTC=$(rustc --version | cut -d ' ' -f 2)
export COTURN_EXPORTER_REVISION COTURN_EXPORTER_RUSTC
cargo build --locked --target "$target" --profile "$profile" --bin coturn-exporter
built=${CARGO_TARGET_DIR:-target}/$target/$([[ $profile == dev ]] && echo debug || echo "$profile")/coturn-exporter

# The budget of docs/benchmarks.md; what is built without the release's optimizations is for a trial only.
most=12000000
size=$(stat --format=%s "$built")
if [[ $profile == release ]] && ((size >= most)); then
  echo "release: $built has $size bytes, and must have fewer than $most: see what has grown" \
    '(cargo install cargo-bloat; cargo bloat --release --crates), and make it smaller' >&2
  exit 1
fi
echo "release: the program has $size bytes"

mkdir -p "$out"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/$name"
cp "$built" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$tree/$name"
cp -r --parents packaging/default packaging/systemd packaging/sysusers.d packaging/man packaging/completions \
  dashboards/*.json dashboards/README.md dashboards/provisioning alerts/*.yaml alerts/README.md alerts/runbooks docs/*.md "$tree/$name"
# The rights of the files are those that they get here, not those of the checkout.
find "$tree" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
chmod 755 "$tree/$name/coturn-exporter"
tar --create --directory "$tree" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
  --numeric-owner "$name" | gzip --no-name --best >"$out/$name.tar.gz"

cargo cyclonedx --quiet --format json --target "$target" --override-filename release-sbom
sed "s|path+file://$PWD#|path+file:///build#|" release-sbom.json >"$out/$name.cdx.json"
rm release-sbom.json
# With those of another processor, where they lie there.
(cd "$out" && sha256sum "coturn-exporter-$version"-*.tar.gz "coturn-exporter-$version"-*.cdx.json >sha256sums && cat sha256sums)
