//! What is remembered of keys beyond their records: numbers that depend on a secret only, not on the seed of a hash table, so
//! that they can be kept from process to process.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use super::ids::SourceId;
use super::key::SourceKey;
use crate::state::image::persist;

/// Gives keys their numbers: SipHash-1-3 of all that makes them, under a secret, so that nobody can choose names whose
/// numbers collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyIds {
    secret: [u64; 2],
}

impl KeyIds {
    /// With a secret of its own.
    pub(crate) fn random() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { secret: [random(), random()] }
    }

    /// With this secret.
    pub(crate) const fn with(secret: [u64; 2]) -> Self {
        Self { secret }
    }

    /// The secret.
    pub(crate) const fn secret(&self) -> [u64; 2] {
        self.secret
    }

    /// The number of an allocation's key.
    pub(crate) fn of_key(&self, key: &SourceKey<'_>) -> u64 {
        let mut state = self.begin(b'k', key.source);
        state.write(&key.id.0.to_le_bytes());
        put(&mut state, key.realm);
        state.write(key.user);
        state.finish()
    }

    /// The number of whoever gathers allocations: a user, and the client's host where that counts.
    pub(crate) fn of_owner(&self, source: SourceId, realm: &[u8], user: &[u8], host: Option<IpAddr>) -> u64 {
        let mut state = self.begin(b'o', source);
        put(&mut state, realm);
        put(&mut state, user);
        match host {
            None => {}
            Some(IpAddr::V4(host)) => state.write(&host.octets()),
            Some(IpAddr::V6(host)) => state.write(&host.octets()),
        }
        state.finish()
    }

    /// The number of a server by its label.
    pub(crate) fn of_server(&self, source: SourceId, label: &str) -> u64 {
        let mut state = self.begin(b's', source);
        state.write(label.as_bytes());
        state.finish()
    }

    fn begin(&self, kind: u8, source: SourceId) -> SipHasher13 {
        let [low, high] = self.secret;
        let mut state = SipHasher13::new_with_keys(low, high);
        state.write(&[kind]);
        state.write(&source.0.to_le_bytes());
        state
    }
}

/// A part that others follow: with its length, so that no two ways of cutting are one key.
fn put(state: &mut SipHasher13, part: &[u8]) {
    state.write(&(part.len() as u64).to_le_bytes());
    state.write(part);
}

persist! { KeyIds { secret } }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::AllocationId;

    /// Numbers stand in files: they must stay what they are.
    #[test]
    fn numbers_depend_on_the_secret_and_the_parts_only() {
        let ids = KeyIds::with([1, 2]);
        let key = SourceKey { source: SourceId(3), realm: b"r", user: b"alice", id: AllocationId(7) };
        assert_eq!(ids.of_key(&key), KeyIds::with(ids.secret()).of_key(&key));
        let others = [
            SourceKey { source: SourceId(4), ..key },
            SourceKey { realm: b"ra", user: b"lice", ..key },
            SourceKey { id: AllocationId(8), ..key },
        ];
        assert!(others.iter().all(|other| ids.of_key(other) != ids.of_key(&key)));
        assert_ne!(KeyIds::with([1, 3]).of_key(&key), ids.of_key(&key));
        let owners = [None, Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into())];
        let [a, b, c] = owners.map(|host| ids.of_owner(SourceId(0), b"r", b"alice", host));
        assert!(a != b && b != c && a != c);
        assert_ne!(ids.of_server(SourceId(0), "a"), ids.of_server(SourceId(1), "a"));
    }
}
