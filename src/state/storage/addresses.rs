//! Addresses in six bytes. One of IPv4 is held in place; a longer one is held apart, under a number that stands in its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::id::Id;
use super::slab::Slab;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// An address of [`Addresses`], or none. It is given back with [`Addresses::remove`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedAddress(SocketAddrV4);

impl PackedAddress {
    /// No address.
    pub(crate) const NONE: Self = Self::apart(u32::MAX);

    /// The number of an address that is held apart. No client has port 0.
    const fn apart(number: u32) -> Self {
        Self(SocketAddrV4::new(Ipv4Addr::from_bits(number), 0))
    }
}

/// An address that is held apart, in 20 bytes: the third field says whether it is an IPv4 address.
#[derive(Clone, Copy, Debug)]
struct LongAddress(Ipv6Addr, u16, bool);

impl From<SocketAddr> for LongAddress {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self(ip, address.port(), address.is_ipv4())
    }
}

impl From<LongAddress> for SocketAddr {
    fn from(LongAddress(ip, port, is_v4): LongAddress) -> Self {
        Self::new(if is_v4 { ip.to_canonical() } else { ip.into() }, port)
    }
}

/// The addresses that are held apart: those of IPv6, and those with port 0.
#[derive(Debug)]
pub(crate) struct Addresses(Slab<LongAddress, LongAddress>);

impl Addresses {
    pub(crate) const fn new() -> Self {
        Self(Slab::new())
    }

    pub(crate) fn get(&self, address: PackedAddress) -> Option<SocketAddr> {
        match address.0.port() {
            0 => self.0.get(Id::of_place(address.0.ip().to_bits())).map(|&long| long.into()),
            _ => Some(address.0.into()),
        }
    }

    /// Replaces what `place` holds.
    pub(crate) fn put(&mut self, place: &mut PackedAddress, address: SocketAddr) {
        if self.get(*place) == Some(address) {
            return;
        }
        self.remove(*place);
        *place = match address {
            SocketAddr::V4(short) if short.port() != 0 => PackedAddress(short),
            long => PackedAddress::apart(self.0.insert(long.into()).place()),
        };
    }

    /// Its owner goes.
    pub(crate) fn remove(&mut self, address: PackedAddress) {
        if address.0.port() == 0 {
            self.0.remove(Id::of_place(address.0.ip().to_bits()));
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.room()
    }
}

impl Addresses {
    /// The same addresses once more, to be read only.
    pub(crate) fn share(&mut self) -> Self {
        Self(self.0.share())
    }

    /// The address itself, wherever it is held; 0 if there is none.
    pub(crate) fn write(&self, address: PackedAddress, to: &mut ImageWriter<'_>) {
        match self.get(address) {
            Some(address) => address.write(to),
            None => to.byte(0),
        }
    }

    pub(crate) fn read(&mut self, from: &mut ImageReader<'_>) -> Result<PackedAddress, Unreadable> {
        let mut place = PackedAddress::NONE;
        if let Some(address) = from.optional()? {
            self.put(&mut place, address);
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_apart_takes_twenty_bytes_and_comes_back() {
        assert_eq!(size_of::<Option<LongAddress>>(), 20);
        for text in ["[2001:db8::1]:5000", "192.0.2.1:0", "[::ffff:192.0.2.1]:1", "[::]:0", "0.0.0.7:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(LongAddress::from(address)), address);
        }
    }
}
