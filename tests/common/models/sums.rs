//! What the page sums up for one realm: both legs, both directions.

use super::traffic::{Legs, Traffic};
use crate::common::readers::page::Page;

/// `coturn_<what>_bytes_total` and `_packets_total` of a realm, where `what` is `relayed`, `recovered` or `unseen`.
#[track_caller]
pub fn legs(page: &Page, realm: &str, what: &str) -> Legs {
    legs_where(page, what, &[("realm", realm)])
}

/// The same of all realms together.
#[track_caller]
pub fn legs_of_all(page: &Page, what: &str) -> Legs {
    legs_where(page, what, &[])
}

#[track_caller]
fn legs_where(page: &Page, what: &str, labels: &[(&str, &str)]) -> Legs {
    let of = |unit: &str, leg: &str, direction: &str| {
        let labels = [labels, &[("leg", leg), ("direction", direction)]].concat();
        page.count(&format!("coturn_{what}_{unit}_total"), &labels)
    };
    let leg = |leg: &str| Traffic {
        received_packets: of("packets", leg, "received"),
        received_bytes: of("bytes", leg, "received"),
        sent_packets: of("packets", leg, "sent"),
        sent_bytes: of("bytes", leg, "sent"),
    };
    Legs { client: leg("client"), peer: leg("peer") }
}

/// That no number lies outside its bounds.
#[track_caller]
pub fn assert_between(lower: Legs, seen: Legs, upper: Legs) {
    let is_in = |lower: Traffic, seen: Traffic, upper: Traffic| {
        (lower.received_packets..=upper.received_packets).contains(&seen.received_packets)
            && (lower.received_bytes..=upper.received_bytes).contains(&seen.received_bytes)
            && (lower.sent_packets..=upper.sent_packets).contains(&seen.sent_packets)
            && (lower.sent_bytes..=upper.sent_bytes).contains(&seen.sent_bytes)
    };
    let all = is_in(lower.client, seen.client, upper.client) && is_in(lower.peer, seen.peer, upper.peer);
    assert!(all, "{seen:#?}\nis not between\n{lower:#?}\nand\n{upper:#?}");
}
