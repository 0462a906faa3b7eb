//! What the tests have in common: servers, readers, models and the wire, each in a folder of its own. One concept per
//! file; nothing here knows what a test wants to show.
//!
//! Each program of `tests/` includes all of it as `pub mod common`, so that the compiler takes it for a library, in which
//! nothing is dead because one program does not use it. What no program uses is found by `pure::harness`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; a broken harness must fail the test just as loudly"
)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "nobody but the tests reads this: a panic is how it fails a test, and a plain name needs no sentence"
)]

pub mod models;
pub mod net;
pub mod poll;
pub mod readers;
pub mod servers;
pub mod temp_dir;
pub mod turns;
pub mod update;
