//! Where clients are. IPv4 addresses are held in the record, the longer ones apart, under a number that the record holds
//! in their place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::allocation::Allocation;
use super::slab::{NONE, Slab};

/// In a record: not told.
pub(super) const NOWHERE: SocketAddrV4 = apart(NONE);

/// In a record: the number of an address that is held apart. No client has port 0.
const fn apart(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(number), 0)
}

/// An address that does not fit a record, in 20 bytes: the third says whether it is an IPv4 address.
#[derive(Clone, Copy, Debug)]
struct Long(Ipv6Addr, u16, bool);

impl From<SocketAddr> for Long {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self(ip, address.port(), address.is_ipv4())
    }
}

impl From<Long> for SocketAddr {
    fn from(Long(ip, port, is_v4): Long) -> Self {
        Self::new(if is_v4 { ip.to_canonical() } else { ip.into() }, port)
    }
}

/// Addresses that do not fit a record.
#[derive(Debug)]
pub(super) struct Clients(Slab<Long>);

impl Clients {
    pub(super) const fn new() -> Self {
        Self(Slab::new())
    }

    pub(super) fn get(&self, allocation: &Allocation) -> Option<SocketAddr> {
        match allocation.client.port() {
            0 => self.0.get(allocation.client.ip().to_bits()).map(|&long| long.into()),
            _ => Some(allocation.client.into()),
        }
    }

    pub(super) fn host(&self, allocation: &Allocation) -> Option<IpAddr> {
        self.get(allocation).map(|address| address.ip())
    }

    /// The client is at `address` from now on.
    pub(super) fn put(&mut self, allocation: &mut Allocation, address: SocketAddr) {
        if self.get(allocation) == Some(address) {
            return;
        }
        self.remove(allocation);
        allocation.client = match address {
            SocketAddr::V4(short) if short.port() != 0 => short,
            long => apart(self.0.insert(long.into())),
        };
    }

    /// The record goes.
    pub(super) fn remove(&mut self, allocation: &Allocation) {
        if allocation.client.port() == 0 {
            self.0.remove(allocation.client.ip().to_bits());
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    #[cfg(test)]
    pub(super) const fn room(&self) -> usize {
        self.0.room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_apart_takes_twenty_bytes_and_comes_back() {
        assert_eq!(size_of::<Option<Long>>(), 20);
        for text in ["[2001:db8::1]:5000", "192.0.2.1:0", "[::ffff:192.0.2.1]:1", "[::]:0", "0.0.0.7:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Long::from(address)), address);
        }
    }
}
