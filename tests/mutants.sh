#!/usr/bin/env bash
# The mutation score of the modules that count: cargo-mutants breaks one line at a time, in a copy of the tree, and the
# tests must notice. A random sample of each module is tried, for all of them would take days; the seed is printed, and
# with it the same sample is tried again. Three stages, the quick one first: only what a stage let pass reaches the next.
#
#   make mutants
#   MUTANTS_SEED=14 MUTANTS_SAMPLE=40 MUTANTS_MODULES='src/wire src/resp' tests/mutants.sh
#
# Prints the score by module and where the survivors are listed. Takes about a minute for each mutant.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SEED=${MUTANTS_SEED:-$RANDOM}
readonly SAMPLE=${MUTANTS_SAMPLE:-40}
read -ra MODULES <<<"${MUTANTS_MODULES:-src/state src/wire src/store src/resp}"
readonly OUT=${MUTANTS_OUT:-target/mutants}
# Tests of the library that take seconds each.
readonly SLOW=(tests::random:: a_peak_is_given_back every_split a_slice_is_bounded)
# Of the tests that start no server (tests/pure, tests/store), those that notice most for their time.
readonly REPLAYS=(cases:: truth:: lives::)

command -v cargo-mutants >/dev/null || {
  echo 'mutants: cargo-mutants is missing: cargo install cargo-mutants --locked' >&2
  exit 1
}

mkdir -p "$OUT"
# Built once, whichever copy of the tree the mutants are made in.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/mutants/build}
# A mutant that loops for ever, or takes memory for ever, ends so; one that waits for ever after as long (see `stage`).
ulimit -t 300
ulimit -v $((16 * 1024 * 1024))

# The lines of standard input in an order that hangs on the seed alone.
shuffled() {
  awk -v seed="$SEED" 'BEGIN { srand(seed) } { printf "%.9f\t%s\n", rand(), $0 }' | LC_ALL=C sort -n | cut -f2-
}

# Tries the mutants in the file $2, and puts those that pass into $3; $1 names the stage. Then come arguments for cargo
# test, which say what is built (build no more than is run: it is built anew for each mutant), `--`, and those for the
# test programs.
stage() {
  local name=$1 from=$2 into=$3 line code=0
  shift 3
  : >"$into"
  rm -rf "${OUT:?}/$name"
  mkdir -p "$OUT/$name/mutants.out"
  : >"$OUT/$name/mutants.out/unviable.txt"
  [[ -s $from ]] || return 0
  local -a build=() files=()
  for line in "${MODULES[@]}"; do files+=("--file=$line/**"); done
  # By a list of those that are not tried again: a pattern chooses among mutants of some kinds only (cargo-mutants 27.1).
  grep -vFxf "$from" "$OUT/all.txt" >"$OUT/$name/mutants.out/caught.txt" || true
  while [[ $# -gt 0 && $1 != -- ]]; do
    build+=("--cargo-arg=$1")
    shift
  done
  cargo mutants --baseline=skip --iterate --timeout 300 --build-timeout 1200 --colors=never --output "$OUT/$name" \
    "${files[@]}" "${build[@]}" -- "$@" >"$OUT/$name.log" 2>&1 || code=$?
  # 0: all were caught; 2: some were missed; 3: some took too long. All else is a failure of the tool.
  case $code in 0 | 2 | 3) ;; *)
    tail -20 "$OUT/$name.log" >&2
    exit 1
    ;;
  esac
  grep -Fxf "$from" "$OUT/$name/mutants.out/missed.txt" >"$into" || true
}

echo "mutants: seed $SEED, $SAMPLE of each module" >&2
cargo mutants --list --colors=never >"$OUT/all.txt"
for module in "${MODULES[@]}"; do
  { grep "^$module/" "$OUT/all.txt" || true; } | shuffled | sed -n "1,${SAMPLE}p"
done >"$OUT/sample.txt"

stage quick "$OUT/sample.txt" "$OUT/after-quick.txt" --lib -- "${SLOW[@]/#/--skip=}"
stage replays "$OUT/after-quick.txt" "$OUT/after-replays.txt" --test=pure --test=store -- "${REPLAYS[@]}"
stage all "$OUT/after-replays.txt" "$OUT/survivors.txt" --lib --test=pure --test=store

printf '%-10s %6s %9s %7s %10s\n' module tried unviable killed survivors
for module in "${MODULES[@]}"; do
  count() { cat "$@" | grep -c "^$module/" || true; }
  tried=$(count "$OUT/sample.txt")
  unviable=$(grep -Fxf "$OUT/sample.txt" "$OUT/quick/mutants.out/unviable.txt" | count)
  survivors=$(count "$OUT/survivors.txt")
  printf '%-10s %6d %9d %7d %10d\n' "$module" "$tried" "$unviable" $((tried - unviable - survivors)) "$survivors"
done
echo "mutants: survivors in $OUT/survivors.txt, what became of each in $OUT/*/mutants.out" >&2
