//! The grammar of channels: `turn/[realm/REALM/]user/USER/allocation/ID/KIND`. Pure.
//!
//! USER comes from the client and may hold anything but blanks and quotes, `/` and even
//! `/allocation/000000000000000007/status` included; so the right end is the anchor. REALM comes from the server's
//! configuration and ends at the first `/user/`.

use super::Rejection;
use super::event::{AllocationId, Key, Leg};

/// What the auth threads of coturn up to 4.6.1 publish every five seconds (payload `__YYY__`).
pub(super) const HEARTBEAT: &[u8] = b"__XXX__";

const ALLOCATION: &[u8] = b"/allocation";
const USER: &[u8] = b"/user/";

/// Zero-padded to this many digits (coturn prints `%018llu`).
const ID_DIGITS: usize = 18;

/// The last part of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Status,
    Traffic(Leg),
    Total(Leg),
}

/// How channels end. The frequent ones first; none is the end of another.
const KINDS: [(&[u8], Topic); 5] = [
    (b"/traffic", Topic::Traffic(Leg::Client)),
    (b"/traffic/peer", Topic::Traffic(Leg::Peer)),
    (b"/status", Topic::Status),
    (b"/total_traffic", Topic::Total(Leg::Client)),
    (b"/total_traffic/peer", Topic::Total(Leg::Peer)),
];

pub(super) fn parse(channel: &[u8]) -> Result<(Key<'_>, Topic), Rejection> {
    let rest = channel.strip_prefix(b"turn/").ok_or(Rejection::ForeignChannel)?;
    understood(rest).ok_or_else(|| why_not(rest))
}

/// What a channel is about that is `before` with `/peer` behind it: it reports on the same allocation.
pub(super) fn peers_of(before: &[u8], channel: &[u8]) -> Option<Topic> {
    channel.strip_suffix(b"/peer").filter(|named| *named == before)?;
    KINDS.iter().find_map(|(kind, topic)| channel.ends_with(kind).then_some(*topic))
}

/// Reads it from its end: no id and no kind can hold `/allocation/`, so the last one is coturn's own, whatever users are
/// called.
// docs/semantics.md#channel-names
fn understood(rest: &[u8]) -> Option<(Key<'_>, Topic)> {
    let (named, topic) = KINDS.iter().find_map(|(kind, topic)| Some((rest.strip_suffix(*kind)?, *topic)))?;
    let slash = memchr::memrchr(b'/', named)?;
    let (owner, id) = (named.get(..slash)?, named.get(slash + 1..)?);
    let (realm, user) = owner_of(owner.strip_suffix(ALLOCATION)?)?;
    Some((Key { realm, user, id: id_of(id)? }, topic))
}

/// What is wrong with one that was not understood.
fn why_not(rest: &[u8]) -> Rejection {
    let marked = |part: &[u8]| part.strip_prefix(ALLOCATION).is_some_and(|tail| tail.first() == Some(&b'/'));
    let Some(at) = memchr::memrchr_iter(b'/', rest).find(|&at| rest.get(at..).is_some_and(marked)) else {
        return Rejection::BadChannel;
    };
    let (owner, tail) = rest.split_at(at);
    let mut parts = tail.splitn(4, |&byte| byte == b'/').skip(2);
    match (owner_of(owner), parts.next().and_then(id_of), parts.next()) {
        (None, _, _) => Rejection::BadChannel,
        (_, None, _) | (_, _, None) => Rejection::BadId,
        _ => Rejection::UnknownKind,
    }
}

fn owner_of(owner: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    // `user/` without a name: `turn/user//allocation/…` leaves `user/` here, never `user`.
    if let Some(user) = owner.strip_prefix(b"user/") {
        return Some((None, user));
    }
    let named = owner.strip_prefix(b"realm/")?;
    let at = memchr::memchr_iter(b'/', named)
        .find(|&at| named.get(at..).is_some_and(|part| part.starts_with(USER)))?;
    // coturn leaves the part out when the realm is empty.
    let realm = Some(named.get(..at)?).filter(|realm| !realm.is_empty());
    Some((Some(realm?), named.get(at + USER.len()..)?))
}

fn id_of(digits: &[u8]) -> Option<AllocationId> {
    let padded = digits.len() == ID_DIGITS || (digits.len() > ID_DIGITS && digits.first() != Some(&b'0'));
    if !padded {
        return None;
    }
    super::payload::number(digits).map(AllocationId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000000000000000001";

    fn key<'a>(realm: Option<&'a str>, user: &'a [u8], id: u64) -> Key<'a> {
        Key { realm: realm.map(str::as_bytes), user, id: AllocationId(id) }
    }

    #[test]
    fn reads_every_kind() {
        let rows = [
            ("status", Topic::Status),
            ("traffic", Topic::Traffic(Leg::Client)),
            ("traffic/peer", Topic::Traffic(Leg::Peer)),
            ("total_traffic", Topic::Total(Leg::Client)),
            ("total_traffic/peer", Topic::Total(Leg::Peer)),
        ];
        for (kind, expected) in rows {
            let channel = format!("turn/realm/example.org/user/alice/allocation/{ID}/{kind}");
            assert_eq!(
                parse(channel.as_bytes()),
                Ok((key(Some("example.org"), b"alice", 1), expected)),
                "{channel}"
            );
        }
    }

    #[test]
    fn users_may_be_called_anything() {
        let users: [&[u8]; 18] = [
            b"",
            b"a/b",
            b"/lead",
            b"trail/",
            b"user/eve",
            b"realm/other/user/mallory",
            b"x/allocation/000000000000000007/status",
            b"a:b:c",
            b",",
            b";=",
            b"*?[x]",
            b"{}",
            b"\x01\x1b",
            "zo\u{eb}".as_bytes(),
            b"\xff\xfe",
            b"allocation",
            b"/user/",
            b"alice    0.000000e+00xample.org",
        ];
        for user in users {
            for realm in [None, Some("three.example/eu")] {
                let mut channel = b"turn/".to_vec();
                if let Some(realm) = realm {
                    channel.extend_from_slice(format!("realm/{realm}/").as_bytes());
                }
                channel.extend_from_slice(b"user/");
                channel.extend_from_slice(user);
                channel.extend_from_slice(format!("/allocation/{ID}/status").as_bytes());
                assert_eq!(
                    parse(&channel),
                    Ok((key(realm, user, 1), Topic::Status)),
                    "{}",
                    channel.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_user_called_realm_is_no_realm() {
        let channel = format!("turn/user/realm/x/user/y/allocation/{ID}/status");
        assert_eq!(parse(channel.as_bytes()), Ok((key(None, b"realm/x/user/y", 1), Topic::Status)));
    }

    #[test]
    fn ids_grow_past_eighteen_digits() {
        let rows = [
            ("001000000000000002", Ok(1_000_000_000_000_002)),
            ("999000000000000001", Ok(999_000_000_000_000_001)),
            ("1000000000000000001", Ok(1_000_000_000_000_000_001)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(Rejection::BadId)),
            ("0000000000000000001", Err(Rejection::BadId)),
            ("00000000000000001", Err(Rejection::BadId)),
            ("00000000000000000x", Err(Rejection::BadId)),
            ("+00000000000000001", Err(Rejection::BadId)),
            ("", Err(Rejection::BadId)),
        ];
        for (digits, expected) in rows {
            let channel = format!("turn/user/u/allocation/{digits}/status");
            let got = parse(channel.as_bytes()).map(|(key, _)| key.id.0);
            assert_eq!(got, expected, "{channel}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let rows: [(&[u8], Rejection); 14] = [
            (b"", Rejection::ForeignChannel),
            (b"turn", Rejection::ForeignChannel),
            (b"__XXX__2", Rejection::ForeignChannel),
            (b"TURN/user/u/allocation/000000000000000001/status", Rejection::ForeignChannel),
            (b"turn/", Rejection::BadChannel),
            (b"turn/user/u", Rejection::BadChannel),
            (b"turn/users/u/allocation/000000000000000001/status", Rejection::BadChannel),
            (b"turn/realm/r/allocation/000000000000000001/status", Rejection::BadChannel),
            (b"turn/realm//user/u/allocation/000000000000000001/status", Rejection::BadChannel),
            (b"turn/realm/user/u/allocation/000000000000000001/status", Rejection::BadChannel),
            (b"turn/user/u/allocation/000000000000000001", Rejection::BadId),
            (b"turn/user/u/allocation/000000000000000001/", Rejection::UnknownKind),
            (b"turn/user/u/allocation/000000000000000001/status/x", Rejection::UnknownKind),
            (b"turn/user/u/allocation/000000000000000001/traffic/client", Rejection::UnknownKind),
        ];
        for (channel, expected) in rows {
            assert_eq!(parse(channel), Err(expected), "{}", channel.escape_ascii());
        }
    }

    #[test]
    fn ids_print_as_coturn_prints_them() {
        assert_eq!(AllocationId(1_000_000_000_000_002).to_string(), "001000000000000002");
    }
}
