//! What tests of restarts share.

pub(crate) mod compare;
mod durations;
pub(crate) mod stage;

use std::hash::{BuildHasher, RandomState};

use crate::common::servers::scraper::{Habit, Scraper};
use stage::Stage;

/// Prints its seed; `RESTARTS_SEED` gives another.
pub(crate) fn random() -> fastrand::Rng {
    let seed = std::env::var("RESTARTS_SEED")
        .map_or_else(|_| RandomState::new().hash_one(0), |seed| seed.parse().expect("a number"));
    println!("RESTARTS_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// So many, each with other habits.
pub(crate) fn scrapers(count: u64, stage: &Stage) -> Vec<Scraper> {
    Habit::of_many(count).into_iter().map(|habit| Scraper::start(stage.address(), habit)).collect()
}
