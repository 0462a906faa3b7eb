#!/usr/bin/env bash
# The tests of the library and the replays of recorded streams (`pure`) as static programs for arm64, under QEMU. The programs that
# they start would be of this machine's processor: so those that start some are not among them.
#
#   make aarch64-test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source packaging/target.sh
readonly TARGET=aarch64-unknown-linux-musl

needs qemu-aarch64-static qemu-user-static
use_target "$TARGET" ''
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=qemu-aarch64-static
# A thirtieth of the hostile events: QEMU takes thirty times as long. It answers /proc/self/stat itself, with zeros.
export FUZZ_EVENTS=${FUZZ_EVENTS:-30000}
"${CARGO:-cargo}" test --locked --no-fail-fast --target "$TARGET" --lib --test pure -- --skip metrics::process::tests::reads_itself
