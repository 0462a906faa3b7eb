//! Where clients are. IPv4 addresses are held in the record, the longer ones apart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use super::allocation::Allocation;
use super::free::rehashed;

/// In a record: not told, or held apart.
pub(super) const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Addresses that do not fit a record, by its number.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<u32, SocketAddr, ahash::RandomState>);

impl Clients {
    pub(super) fn get(&self, at: u32, allocation: &Allocation) -> Option<SocketAddr> {
        if allocation.client == NOWHERE { self.0.get(&at).copied() } else { Some(allocation.client.into()) }
    }

    pub(super) fn host(&self, at: u32, allocation: &Allocation) -> Option<IpAddr> {
        self.get(at, allocation).map(|address| address.ip())
    }

    /// The client is at `address` from now on.
    pub(super) fn put(&mut self, at: u32, allocation: &mut Allocation, address: SocketAddr) {
        match address {
            SocketAddr::V4(short) if short != NOWHERE => {
                allocation.client = short;
                self.remove(at);
            }
            _ => {
                allocation.client = NOWHERE;
                self.0.insert(at, address);
            }
        }
    }

    pub(super) fn remove(&mut self, at: u32) {
        if self.0.remove(&at).is_some()
            && let Some(room) = rehashed(self.0.len(), self.0.capacity())
        {
            self.0.shrink_to(room);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
