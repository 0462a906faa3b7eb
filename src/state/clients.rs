//! Where clients are. IPv4 addresses are held in the record, the longer ones apart.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::allocation::Allocation;
use super::free::shrunk;

/// IPv6 addresses by the number of the record.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<u32, SocketAddrV6, ahash::RandomState>);

impl Clients {
    pub(super) fn get(&self, at: u32, allocation: &Allocation) -> Option<SocketAddr> {
        let short = allocation.client.map(SocketAddr::V4);
        short.or_else(|| self.0.get(&at).copied().map(SocketAddr::V6))
    }

    pub(super) fn host(&self, at: u32, allocation: &Allocation) -> Option<IpAddr> {
        self.get(at, allocation).map(|address| address.ip())
    }

    /// The client is at `address` from now on.
    pub(super) fn put(&mut self, at: u32, allocation: &mut Allocation, address: SocketAddr) {
        allocation.client = short(address);
        match address {
            SocketAddr::V4(_) => self.remove(at),
            SocketAddr::V6(address) => {
                self.0.insert(at, address);
            }
        }
    }

    pub(super) fn remove(&mut self, at: u32) {
        if self.0.remove(&at).is_some()
            && let Some(room) = shrunk(self.0.len(), self.0.capacity())
        {
            self.0.shrink_to(room);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const fn short(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}
