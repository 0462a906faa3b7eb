//! How long allocations lasted, as far as it can be known from outside: an event was taken in between the moment before
//! it was published and the moment at which a page had it, however busy the machine was.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::poll::Stopwatch;
use crate::common::readers::page::Page;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Durations {
    watch: Stopwatch,
    /// The moments at which all that was published had been taken in.
    rounds: Vec<Duration>,
    /// The round in which a birth was published, of each that lives.
    births: BTreeMap<Vec<u8>, usize>,
    /// The rounds of birth and end.
    whole: Vec<[usize; 2]>,
}

impl Default for Durations {
    fn default() -> Self {
        let watch = Stopwatch::start();
        Self { watch, rounds: vec![Duration::ZERO], births: BTreeMap::new(), whole: Vec::new() }
    }
}

/// A page shows milliseconds, and a restart may take one off.
const ROUNDED: Duration = Duration::from_millis(50);

impl Durations {
    /// Of a message that is about to be published.
    pub(crate) fn hear(&mut self, channel: &[u8], payload: &str) {
        let round = self.rounds.len();
        let Some(key) = channel.strip_suffix(b"/status") else { return };
        if payload.starts_with("new ") {
            self.births.insert(key.to_vec(), round);
        } else if payload == "deleted"
            && let Some(birth) = self.births.remove(key)
        {
            self.whole.push([birth, round]);
        }
    }

    /// All that was published has been taken in.
    pub(crate) fn round(&mut self) {
        self.rounds.push(self.watch.elapsed());
    }

    /// The longest round.
    pub(crate) fn longest_round(&self) -> Duration {
        self.rounds.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
    }

    /// That the page's histogram of allocations holds each of them whole.
    #[track_caller]
    pub(crate) fn assert_told(&self, page: &Page) {
        const NAME: &str = "coturn_allocation_duration_seconds";
        let bounds = self.whole.iter().map(|&[birth, end]| {
            let least = self.rounds[end - 1].saturating_sub(self.rounds[birth]).saturating_sub(ROUNDED);
            let most = self.rounds[end].saturating_sub(self.rounds[birth - 1]) + ROUNDED;
            [least.as_secs_f64(), most.as_secs_f64()]
        });
        let bounds: Vec<[f64; 2]> = bounds.collect();
        assert_eq!(page.count(&format!("{NAME}_count"), &[]), bounds.len() as u64, "whole allocations");
        let sum = page.sum(&format!("{NAME}_sum"), &[]);
        let [least, most] = [0, 1].map(|at| bounds.iter().map(|bound| bound[at]).sum::<f64>());
        assert!((least..=most).contains(&sum), "{sum} s are not between {least} and {most}");
        let name = format!("{NAME}_bucket");
        for le in page.label_values(&name, "le") {
            let edge: f64 = le.parse().expect("an edge");
            let below = |at: usize| bounds.iter().filter(|bound| bound[at] <= edge).count() as u64;
            let told = page.count(&name, &[("le", &le)]);
            assert!(
                (below(1)..=below(0)).contains(&told),
                "{told} up to {le} s; {} to {}",
                below(1),
                below(0)
            );
        }
    }
}
