//! What a fuzzer runs: one function for each place at which bytes from outside come in. Each takes any bytes and panics only
//! when an invariant is broken.
//!
//! The one door for fuzzers to parts that are private. It is there in tests and with the feature `fuzzing`, and in no program
//! that is shipped. `fuzz/` has a program for each target; `tests` here runs the same ones on the stable tool chain.
//! `tests/README.md` says how, and what has been found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a panic is how a fuzzer learns that something is wrong"
)]

mod capture;
mod channel;
mod choices;
mod empty_table;
mod image;
mod journal;
mod listener;
mod payload;
mod recording;
mod replies;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod web;

/// One place at which bytes come in.
#[derive(Clone, Copy, Debug)]
pub struct FuzzTarget {
    /// Its name: that of its program in `fuzz/fuzz_targets` and of its inputs in `fuzz/seeds`.
    pub name: &'static str,
    /// Takes the bytes in, and looks at what comes out.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "channel", run: channel::run },
    FuzzTarget { name: "payload", run: payload::run },
    FuzzTarget { name: "replies", run: replies::run },
    FuzzTarget { name: "reply_bounds", run: replies::run_bounds },
    FuzzTarget { name: "listener", run: listener::run },
    FuzzTarget { name: "query", run: web::run_query },
    FuzzTarget { name: "accept", run: web::run_accept },
    FuzzTarget { name: "accept_encoding", run: web::run_accept_encoding },
    FuzzTarget { name: "host", run: web::run_host },
    FuzzTarget { name: "web_config", run: web::run_web_config },
    FuzzTarget { name: "capture", run: capture::run },
    FuzzTarget { name: "settings", run: settings::run },
    FuzzTarget { name: "redis_url", run: settings::run_redis_url },
    FuzzTarget { name: "journal", run: journal::run },
    FuzzTarget { name: "image", run: image::run },
    FuzzTarget { name: "recording", run: recording::run },
    FuzzTarget { name: "table", run: table::run },
];

/// Runs the target of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a name in TARGETS").run)(bytes);
}
