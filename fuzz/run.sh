#!/bin/bash
# Guided runs of the targets in fuzz/, one after the other: fuzz/run.sh [TARGET=RUNS ...]. What they find first is in
# fuzz/corpus, what breaks an invariant in fuzz/artifacts. Needs the nightly tool chain and cargo-fuzz.
# FUZZ_RUNS: how many inputs each target gets that is not named. FUZZ_KEEP=1: fuzz/seeds takes what is new.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo +nightly fuzz --version >/dev/null 2>&1 || {
    echo 'cargo-fuzz is missing: rustup toolchain install nightly; cargo install cargo-fuzz' >&2
    exit 1
}
runs=${FUZZ_RUNS:-1000000}
if [ $# -eq 0 ]; then
    for program in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$program" .rs)=$runs"
    done
fi

# Text is short; what is in a store is longer.
longest() {
    case $1 in
    journal | image | recording | table) echo 4096 ;;
    *) echo 512 ;;
    esac
}

FUZZ_CORPUS=$PWD/fuzz/corpus cargo test --locked --lib fuzzing::tests::the_corpus_is_written
# No address sanitizer: the crate has no `unsafe`, and is several times as fast without it.
cargo +nightly fuzz build --sanitizer none --release --debug-assertions
failed=0
for target in "$@"; do
    name=${target%%=*}
    mkdir -p "fuzz/artifacts/$name"
    # No input may ask for more memory at once than this, or take longer.
    fuzz/target/x86_64-unknown-linux-gnu/release/"$name" -runs="${target#*=}" -max_len="$(longest "$name")" \
        -malloc_limit_mb=256 -timeout=10 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$name/" \
        "fuzz/corpus/$name" 2>"fuzz/artifacts/$name.log" || failed=1
    echo "$name: $(grep -E '^stat::number_of_executed_units' "fuzz/artifacts/$name.log" || true)" \
        "$(grep -E 'cov: ' "fuzz/artifacts/$name.log" | tail -1 | grep -oE 'cov: [0-9]+ ft: [0-9]+' || true)"
done
if [ -n "${FUZZ_KEEP:-}" ]; then
    for target in "$@"; do
        name=${target%%=*}
        mkdir -p "fuzz/corpus/least/$name"
        fuzz/target/x86_64-unknown-linux-gnu/release/"$name" -merge=1 "fuzz/corpus/least/$name" "fuzz/corpus/$name" \
            2>/dev/null
    done
    FUZZ_FOUND=$PWD/fuzz/corpus/least cargo test --locked --lib fuzzing::tests::what_was_found_is_kept
fi
[ $failed -eq 0 ] || { echo 'an invariant is broken: see fuzz/artifacts' >&2; exit 1; }
