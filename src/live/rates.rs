//! Rates of payload, from what was relayed between two points.

use super::history::{Figures, History};

/// Bits per second at each point.
pub(super) struct PayloadRates {
    pub(super) to_clients: Vec<u64>,
    pub(super) to_peers: Vec<u64>,
}

impl PayloadRates {
    /// Of all realms together.
    pub(super) fn of_all(history: &History) -> Self {
        let all: Vec<Figures> = history.points().iter().map(|point| point.all).collect();
        Self::of(history, &all)
    }

    /// Of the realm that has these figures.
    pub(super) fn of(history: &History, figures: &[Figures]) -> Self {
        let bytes = |of: fn(&Figures) -> u64| figures.iter().map(of).collect::<Vec<_>>();
        Self {
            to_clients: history.rates(&bytes(|figures| figures.to_clients)),
            to_peers: history.rates(&bytes(|figures| figures.to_peers)),
        }
    }

    /// To clients and to peers, at the last point.
    pub(super) fn now(&self) -> (u64, u64) {
        let last = |rates: &[u64]| rates.last().copied().unwrap_or(0);
        (last(&self.to_clients), last(&self.to_peers))
    }
}
