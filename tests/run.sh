#!/usr/bin/env bash
# Runs all tests, for `make test`, in lanes beside each other, each of one program after the other: most tests wait, for a lifetime to
# pass or for an alert to fire, and one lane would leave the processor idle. `make fuzz` has a lane of its own. What the others say is
# shown when the first is done. What later steps of `make test` run is compiled meanwhile, with what the tests leave of the processor.
#
# TEST_THREADS: how many tests of a lane run at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The programs of each further lane; the first has all that are in none of them.
readonly LANES=("chromium dashboards" "faults redis statsdb")
readonly CARGO=${CARGO:-cargo}
export RUST_TEST_THREADS=${TEST_THREADS:-2}
mkdir -p target

# `--test NAME` for each program of the first lane.
first_lane() {
  local path name
  for path in tests/*.rs tests/*/main.rs; do
    name=${path#tests/} name=${name%/main.rs} name=${name%.rs}
    [[ " ${LANES[*]} " == *" $name "* ]] || printf -- '--test\n%s\n' "$name"
  done
}

# Whatever ends this script ends what it started: each job has a process group of its own.
set -m
started=()
stop_jobs() {
  local job
  for job in "${started[@]}"; do kill -- "-$job" 2>/dev/null || true; done
}
trap stop_jobs EXIT
trap 'exit 130' INT TERM

"$CARGO" test --locked --no-run
"$CARGO" test --locked --doc

lanes=() logs=()
# Runs a command beside this script, as the next of the lanes.
lane() {
  local log=target/lane-${#lanes[@]}.log
  "$@" &>"$log" &
  lanes+=($!) logs+=("$log")
}
for names in "${LANES[@]}"; do
  read -ra programs <<<"$names"
  lane "$CARGO" test --locked --no-fail-fast "${programs[@]/#/--test=}"
done
# One long computation.
lane make --no-print-directory fuzz
mapfile -t first < <(first_lane)
"$CARGO" test --locked --no-fail-fast --lib --bins "${first[@]}" &
started=("${lanes[@]}" $!)

# Not waited for: the step that needs it goes on with it, and says what fails.
nice -n 19 "$CARGO" bench --locked --profile costs --bench instructions --no-run &>target/costs-build.log &
started+=($!)

failed=0
# Waited for, and not in the foreground: so a signal is answered at once.
wait "${started[${#lanes[@]}]}" || failed=1
for at in "${!lanes[@]}"; do
  wait "${lanes[at]}" || failed=1
  cat "${logs[at]}"
done
exit "$failed"
