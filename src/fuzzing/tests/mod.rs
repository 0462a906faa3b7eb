//! Every target on the stable tool chain: its seeds, what guided runs have found, and mutations of both. A target that lacks
//! a program, a file of inputs or a seed fails.

mod mutate;
mod seeds;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{FuzzTarget, TARGETS};
use mutate::Mutator;

/// Bytes of mutated inputs for each target, unless `FUZZ_INPUT_BYTES` says otherwise.
const MUTATED_BYTES: usize = 300_000;

/// However long they are.
const LEAST_RUNS: u32 = 100;

/// A byte of these targets takes so many times longer than of others.
const SLOW: [(&str, usize); 4] = [("journal", 4), ("image", 1), ("table", 4), ("recording", 1)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The file with the inputs of a target that guided runs have found.
fn found_file(target: &FuzzTarget) -> PathBuf {
    folder().join(format!("seeds/{}.txt", target.name))
}

/// What guided runs have found, one input a line in base64, behind a line that says how many there are.
fn found(target: &FuzzTarget) -> Vec<Vec<u8>> {
    let path = found_file(target);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let count =
        lines.next().and_then(|line| line.strip_suffix(" inputs")).map(|count| count.parse().unwrap());
    let inputs: Vec<_> = lines.map(|line| BASE64.decode(line).unwrap()).collect();
    assert_eq!(count, Some(inputs.len()), "{}: inputs are missing", path.display());
    inputs
}

/// All inputs of a target that are kept or made.
fn inputs(target: &FuzzTarget) -> Vec<Vec<u8>> {
    let seeds = seeds::of(target.name);
    assert!(!seeds.is_empty(), "{}: no seeds", target.name);
    seeds.into_iter().chain(found(target)).collect()
}

/// Says which input it was, should it panic.
struct Running<'a> {
    target: &'a FuzzTarget,
    input: &'a [u8],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("target {}, input in base64: {}", self.target.name, BASE64.encode(self.input));
        }
    }
}

fn run(target: &FuzzTarget, input: &[u8]) {
    let running = Running { target, input };
    (target.run)(running.input);
}

#[test]
fn every_target_holds_for_its_seeds_and_for_what_was_found() {
    for target in TARGETS {
        for input in inputs(target) {
            run(target, &input);
        }
    }
}

/// `FUZZ_INPUT='target base64'` runs one input, as a failure prints it.
#[test]
fn one_input_is_run_again() {
    let Ok(given) = std::env::var("FUZZ_INPUT") else { return };
    let (name, input) = given.split_once(' ').unwrap();
    super::run(name, &BASE64.decode(input).unwrap());
}

#[test]
fn every_target_holds_for_mutations() {
    let seed = std::env::var("FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let bytes = std::env::var("FUZZ_INPUT_BYTES").map_or(MUTATED_BYTES, |bytes| bytes.parse().unwrap());
    println!("FUZZ_SEED={seed} FUZZ_INPUT_BYTES={bytes}");
    let only = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let targets = TARGETS.iter().filter(|target| only.is_empty() || only == target.name);
    std::thread::scope(|scope| {
        let (even, odd): (Vec<_>, Vec<_>) = targets.enumerate().partition(|(place, _)| place % 2 == 0);
        for targets in [even, odd] {
            scope.spawn(move || targets.iter().for_each(|(_, target)| run_mutations(target, seed, bytes)));
        }
    });
}

fn run_mutations(target: &FuzzTarget, seed: u64, bytes: usize) {
    let slow = SLOW.iter().find(|(name, _)| *name == target.name).map_or(1, |(_, times)| *times);
    let mut mutator = Mutator::new(seed, inputs(target));
    let (mut left, mut runs) = (bytes / slow, 0_u32);
    while left > 0 || runs < LEAST_RUNS {
        let input = mutator.input();
        left = left.saturating_sub(input.len() + 16);
        run(target, &input);
        runs += 1;
    }
    println!("{}: {runs} mutated inputs", target.name);
}

/// A target that nothing runs guided finds nothing, and a program without a target does not build.
#[test]
fn every_target_has_a_program() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len(), "a name stands for one target");
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    let stems = |folder: PathBuf| {
        fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap())).collect::<BTreeSet<_>>()
    };
    assert_eq!(stems(folder().join("fuzz_targets")), listed);
    assert_eq!(stems(folder().join("seeds")), listed);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]").skip(1).count();
    assert_eq!(programs, listed.len(), "programs in fuzz/Cargo.toml");
    for name in &listed {
        let code = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(code.contains(&format!("fuzzing::run(\"{name}\", bytes)")), "{name}: {code}");
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "{name} is not in fuzz/Cargo.toml");
    }
}

/// For `fuzz/run.sh`: writes what a guided run begins with to `FUZZ_CORPUS`, a folder of each target with a file of each input.
#[test]
fn the_corpus_is_written() {
    let Ok(corpus) = std::env::var("FUZZ_CORPUS") else { return };
    for target in TARGETS {
        let folder = Path::new(&corpus).join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (number, input) in inputs(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), input).unwrap();
        }
    }
}

/// Bytes of the inputs of a target that are kept at most.
const MOST_KEPT: usize = 20 << 10;

/// For `fuzz/run.sh`: keeps what guided runs have found in `FUZZ_FOUND`, the shortest first.
#[test]
fn what_was_found_is_kept() {
    let Ok(corpus) = std::env::var("FUZZ_FOUND") else { return };
    for target in TARGETS {
        let known: BTreeSet<Vec<u8>> = seeds::of(target.name).into_iter().collect();
        let Ok(entries) = fs::read_dir(Path::new(&corpus).join(target.name)) else { continue };
        let new = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let mut all: Vec<_> = new.chain(found(target)).filter(|input| !known.contains(input)).collect();
        all.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        all.dedup();
        let mut room = MOST_KEPT;
        all.retain(|input| {
            let fits = input.len() <= room;
            room -= if fits { input.len() } else { 0 };
            fits
        });
        let mut text = format!("{} inputs\n", all.len());
        for input in &all {
            writeln!(text, "{}", BASE64.encode(input)).unwrap();
        }
        fs::write(found_file(target), text).unwrap();
    }
}
