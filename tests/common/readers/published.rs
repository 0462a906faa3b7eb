//! What was published of each allocation, as a witness saw it: to know what coturn told, and what it lost on the way.

use std::collections::BTreeMap;

use super::capture::Message;
use crate::common::models::traffic::{Legs, Traffic};

/// By session id; one coturn, one life.
#[derive(Clone, Debug, Default)]
pub struct Published(pub BTreeMap<u64, Told>);

/// Of one allocation.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub opened: u64,
    pub refreshed: u64,
    pub deleted: u64,
    /// The sum of all deltas.
    pub deltas: Legs,
    /// coturn's own sums.
    pub client_total: Option<Traffic>,
    pub peer_total: Option<Traffic>,
}

impl Told {
    /// coturn told its end with both sums.
    pub fn is_whole(&self) -> bool {
        self.deleted > 0 && self.client_total.is_some() && self.peer_total.is_some()
    }
}

impl Published {
    pub fn of(messages: &[Message]) -> Self {
        let mut published = Self::default();
        for message in messages {
            published.take(message);
        }
        published
    }

    fn take(&mut self, message: &Message) {
        let channel = String::from_utf8_lossy(&message.channel);
        // A heartbeat, or something else that is none of ours.
        let Some((_, rest)) = channel.rsplit_once("/allocation/") else { return };
        let Some((id, kind)) = rest.split_once('/') else { return };
        let told = self.0.entry(id.parse().expect("an id")).or_default();
        let traffic = || Traffic::parse(&message.payload).expect("four counters");
        match kind {
            "traffic" => told.deltas.client += traffic(),
            "traffic/peer" => told.deltas.peer += traffic(),
            "total_traffic" => told.client_total = Some(traffic()),
            "total_traffic/peer" => told.peer_total = Some(traffic()),
            "status" if message.payload == "deleted" => told.deleted += 1,
            "status" if message.payload.starts_with("new ") => told.opened += 1,
            "status" => told.refreshed += 1,
            other => panic!("a channel not seen before: {other}"),
        }
    }

    /// What was told of a session; nothing if there was nothing.
    pub fn of_session(&self, id: u64) -> Told {
        self.0.get(&id).cloned().unwrap_or_default()
    }
}
