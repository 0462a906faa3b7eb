//! How plain values stand in an image.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use super::reader::{ImageReader, Unreadable};
use super::writer::ImageWriter;
use super::{Persist, persist, persist_words};
use crate::clock::Timestamp;
use crate::wire::{AllocationId, ByDirection, ByLeg, Leg, Transport, Volume};

/// Ids of one thread lie between its number times this and the next.
const PER_THREAD: u64 = 1_000_000_000_000_000;

const OUT_OF_RANGE: Unreadable = Unreadable::Malformed("a number is out of its range");

macro_rules! persist_numbers {
    ($($number:ty),+) => {$(
        impl Persist for $number {
            fn write(&self, to: &mut ImageWriter<'_>) {
                to.varint(u64::try_from(*self).unwrap_or(u64::MAX));
            }

            fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
                Self::try_from(from.varint()?).map_err(|_| OUT_OF_RANGE)
            }
        }
    )+};
}

persist_numbers!(u16, u32, u64, usize);

impl Persist for NonZeroU8 {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.byte(self.get());
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Self::new(from.byte()?).ok_or(OUT_OF_RANGE)
    }
}

/// How many there are, then each: what a later exporter adds to the end of a list has its default in an older image.
impl<T: Persist + Default, const N: usize> Persist for [T; N] {
    fn write(&self, to: &mut ImageWriter<'_>) {
        N.write(to);
        for item in self {
            item.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut items: Self = std::array::from_fn(|_| T::default());
        let known = items.get_mut(..usize::read(from)?);
        for item in known.ok_or(Unreadable::Malformed("a list has more items than are known"))? {
            *item = T::read(from)?;
        }
        Ok(items)
    }
}

/// A byte is one byte, whatever its value.
impl Persist for u8 {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.byte(*self);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        from.byte()
    }
}

impl Persist for () {
    fn write(&self, _: &mut ImageWriter<'_>) {}

    fn read(_: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(())
    }
}

impl Persist for bool {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.byte(u8::from(*self));
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(OUT_OF_RANGE),
        }
    }
}

impl Persist for Timestamp {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.moment(*self);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        from.moment()
    }
}

impl Persist for Duration {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.as_secs().write(to);
        self.subsec_nanos().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (seconds, nanos) = Persist::read(from)?;
        if nanos < 1_000_000_000 { Ok(Self::new(seconds, nanos)) } else { Err(OUT_OF_RANGE) }
    }
}

impl<T: Persist> Persist for Option<T> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<A: Persist, B: Persist> Persist for (A, B) {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

/// A list within an item: a short one.
impl<T: Persist> Persist for Vec<T> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        for item in self {
            item.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        // Grows with what is there, whatever the number says.
        let mut items = Self::new();
        for _ in 0..usize::read(from)? {
            items.push(T::read(from)?);
        }
        Ok(items)
    }
}

impl<T: Persist> Persist for VecDeque<T> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        for item in self {
            item.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Vec::read(from).map(Self::from)
    }
}

/// Names: bytes as they are.
impl Persist for Arc<[u8]> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        to.raw(self);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let len = usize::read(from)?;
        Ok(from.raw(len)?.into())
    }
}

impl Persist for Box<str> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        to.raw(self.as_bytes());
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let len = usize::read(from)?;
        let text = std::str::from_utf8(from.raw(len)?);
        Ok(text.map_err(|_| Unreadable::Malformed("a label is not UTF-8"))?.into())
    }
}

impl Persist for Arc<str> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        to.raw(self.as_bytes());
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Box::read(from).map(Self::from)
    }
}

/// In the order of the keys.
impl<K: Persist + Ord, V: Persist> Persist for BTreeMap<K, V> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.len().write(to);
        for (key, value) in self {
            key.write(to);
            value.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(Vec::<(K, V)>::read(from)?.into_iter().collect())
    }
}

impl Persist for IpAddr {
    fn write(&self, to: &mut ImageWriter<'_>) {
        match self {
            Self::V4(ip) => {
                to.byte(4);
                to.raw(&ip.octets());
            }
            Self::V6(ip) => {
                to.byte(6);
                to.raw(&ip.octets());
            }
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        match from.byte()? {
            4 => Ok(Ipv4Addr::from(from.array()?).into()),
            6 => Ok(Ipv6Addr::from(from.array()?).into()),
            _ => Err(OUT_OF_RANGE),
        }
    }
}

/// Without flow and scope, which no address of coturn's has.
impl Persist for SocketAddr {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.ip().write(to);
        to.raw(&self.port().to_le_bytes());
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(Self::new(IpAddr::read(from)?, u16::from_le_bytes(from.array()?)))
    }
}

persist! { Volume { packets, bytes } }
persist! { ByDirection<T> { received, sent } }
persist! { ByLeg<T> { client, peer } }
persist_words! { Transport { Udp = 0, Tcp = 1, Tls = 2, Dtls = 3, Sctp = 4, Other = 5, Unknown = 6 } }
persist_words! { Leg { Client = 0, Peer = 1 } }

/// The thread that gave it, and the thread's count; see `model::seen_ids`.
impl Persist for AllocationId {
    fn write(&self, to: &mut ImageWriter<'_>) {
        (self.0 / PER_THREAD, self.0 % PER_THREAD).write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (thread, count): (u64, u64) = Persist::read(from)?;
        let id = thread.checked_mul(PER_THREAD).and_then(|first| first.checked_add(count));
        id.map(Self).ok_or(OUT_OF_RANGE)
    }
}
