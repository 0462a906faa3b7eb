//! Packets and bytes of one leg, both directions: what coturn logs, what it publishes and what the page sums.

use std::ops::{Add, AddAssign, Mul};

/// As coturn counts: received and sent from its own point of view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_packets: u64,
    pub received_bytes: u64,
    pub sent_packets: u64,
    pub sent_bytes: u64,
}

impl Traffic {
    /// From `rp=1, rb=20, sp=1, sb=80` (coturn's log) or `rcvp=1, rcvb=20, sentp=1, sentb=80` (its messages).
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split(", ").map(|field| {
            let (name, number) = field.split_once('=')?;
            Some((name, number.parse::<u64>().ok()?))
        });
        let mut next = |names: [&str; 2]| {
            let (name, number) = fields.next()??;
            names.contains(&name).then_some(number)
        };
        Some(Self {
            received_packets: next(["rp", "rcvp"])?,
            received_bytes: next(["rb", "rcvb"])?,
            sent_packets: next(["sp", "sentp"])?,
            sent_bytes: next(["sb", "sentb"])?,
        })
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.received_packets += other.received_packets;
        self.received_bytes += other.received_bytes;
        self.sent_packets += other.sent_packets;
        self.sent_bytes += other.sent_bytes;
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Mul<u64> for Traffic {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            received_packets: self.received_packets * times,
            received_bytes: self.received_bytes * times,
            sent_packets: self.sent_packets * times,
            sent_bytes: self.sent_bytes * times,
        }
    }
}

/// Both legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legs {
    pub client: Traffic,
    pub peer: Traffic,
}

impl AddAssign for Legs {
    fn add_assign(&mut self, other: Self) {
        self.client += other.client;
        self.peer += other.peer;
    }
}

impl Add for Legs {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}
