//! A scenario: what was done, and what must be true of its captures.

use super::case::Case;
use super::checks::{self, Checked, Counts, cause_of, parsed};

/// What was done in captures of these versions, and what must be true of each.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) ends: Ends,
    pub(super) clients: Clients,
    pub(super) echoed: Echoed,
    pub(super) also: &'static [fn(&Case) -> Checked],
}

/// How the allocations stand at the last event, and how they all have ended in the end: `3 opened, 1 live`.
pub(super) enum Ends {
    /// As the ground truth has it: all have ended, and it says how.
    InTheTruth,
    /// The same then and later.
    Are(&'static str),
    Become(&'static str, &'static str),
    By(fn(&Case) -> Ends),
}

/// What the client leg is compared with.
pub(super) enum Clients {
    /// The recording lost nothing: allocation by allocation, what its client counted.
    Counted,
    /// They did not count, or the stream does not have it all.
    Unknown(&'static str),
}

/// Payload that came back from the peers.
pub(super) enum Echoed {
    /// Packets, and the bytes of each.
    Packets(&'static [(u64, u64)]),
    /// Allocation by allocation, in the ground truth.
    InTheTruth,
    Unknown(&'static str),
}

pub(super) const BOTH: &[&str] = &["4.6.1", "4.17.1"];
pub(super) const NOTHING: Echoed = Echoed::Packets(&[]);

impl Ends {
    pub(super) fn of(&self, case: &Case) -> (Counts, Counts) {
        let count = || case.truth["allocations"].as_u64().expect("a count");
        match self {
            Self::Are(ends) => (parsed(ends), parsed(ends)),
            Self::Become(then, later) => (parsed(then), parsed(later)),
            Self::By(decide) => decide(case).of(case),
            Self::InTheTruth => {
                let mut ends = parsed(&format!("{} opened", count()));
                match (case.truth["end"].as_str(), case.truth["ends"].as_object()) {
                    (Some(end), _) => _ = ends.insert(cause_of(end).to_owned(), count()),
                    (None, Some(by_end)) => ends.extend(
                        by_end
                            .iter()
                            .map(|(end, count)| (cause_of(end).to_owned(), count.as_u64().expect("a count"))),
                    ),
                    (None, None) => panic!("{}: the truth does not say how they ended", case.name),
                }
                (ends.clone(), ends)
            }
        }
    }
}

impl Echoed {
    /// Packets and bytes of all allocations together.
    pub(super) fn of(&self, case: &Case) -> Option<(u64, u64)> {
        let pairs: Vec<(u64, u64)> = match self {
            Self::Unknown(_) => return None,
            Self::Packets(pairs) => pairs.to_vec(),
            Self::InTheTruth => {
                let allocations = case.truth["per_allocation"].as_array().expect("allocations").iter();
                let number = |value: &serde_json::Value| value.as_u64().expect("a number");
                allocations.map(|one| (number(&one["packets"]), number(&one["payload"]))).collect()
            }
        };
        let packets = pairs.iter().map(|(packets, _)| packets).sum();
        Some((packets, pairs.iter().map(|(packets, size)| packets * size).sum()))
    }
}

impl Scenario {
    /// Reads the capture of each version and reports all that is wrong with any of them.
    #[track_caller]
    pub(super) fn check(&self) {
        let mut complaints = Vec::new();
        for version in self.versions {
            let case = Case::read(self.name, version);
            let mut note = |what: &str, checked: Checked| {
                if let Err(complaint) = checked {
                    complaints.push(format!("{}: {what}: {complaint}", case.name));
                }
            };
            note("ends", checks::ends_are(&case, &self.ends));
            note("a naive reading", checks::a_naive_reading_agrees(&case));
            match self.clients {
                Clients::Counted => {
                    note("clients", checks::the_client_leg_is_what_the_clients_counted(&case));
                }
                Clients::Unknown(why) => println!("{}: no clients' counts: {why}", case.name),
            }
            note("peers", checks::the_peer_leg_is_what_the_peers_counted(&case, &self.echoed));
            if let Echoed::Unknown(why) = self.echoed {
                println!("{}: no peers' counts: {why}", case.name);
            }
            for check in self.also {
                note("in this scenario", check(&case));
            }
        }
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
