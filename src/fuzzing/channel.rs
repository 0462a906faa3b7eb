//! Names of channels and of keys: the grammar, read backwards from the end, against a reader that goes forwards.

use crate::wire::{self, Event, Key, Leg, Message, Rejection, turn_rest};

/// The last parts of channels, with a payload that each takes.
const KINDS: [(&str, &[u8]); 5] = [
    ("status", b"new lifetime=600"),
    ("traffic", b"rcvp=1, rcvb=2, sentp=3, sentb=4"),
    ("traffic/peer", b"rcvp=1, rcvb=2, sentp=3, sentb=4"),
    ("total_traffic", b"rcvp=1, rcvb=2, sentp=3, sentb=4"),
    ("total_traffic/peer", b"rcvp=1, rcvb=2, sentp=3, sentb=4"),
];

/// All of the bytes are a channel.
pub(super) fn run(channel: &[u8]) {
    let read = wire::parse_key(channel);
    let expected = plainly(channel);
    assert_eq!(wire::is_channel(channel), expected.is_some());
    assert_eq!(wire::is_heartbeat(channel), channel == b"__XXX__");
    match (read, expected) {
        (Ok(key), Some((expected, kind))) => {
            assert_eq!((key, kind), (expected, "status"));
            assert_eq!(written(&key, kind), channel, "a key is written as it was");
        }
        (Err(Rejection::UnknownKind), Some((_, kind))) => assert_ne!(kind, "status"),
        (Err(reason), None) => {
            let is_foreign = !channel.starts_with(b"turn/");
            assert_eq!(reason == Rejection::TooLong, channel.len() > wire::MAX_CHANNEL);
            assert_eq!(reason == Rejection::ForeignChannel, is_foreign && channel.len() <= wire::MAX_CHANNEL);
        }
        (read, expected) => panic!("read as {read:?}, expected {expected:?}"),
    }
    for (kind, payload) in KINDS {
        message(channel, kind, payload);
    }
    for separator in *b":|-" {
        user_id(channel, separator);
    }
}

/// The message with that payload: of this kind it is understood, of others it is not.
fn message(channel: &[u8], kind: &str, payload: &[u8]) {
    let parsed = wire::parse(channel, payload);
    let expected = plainly(channel);
    if let Ok(Message::Allocation(key, event)) = parsed {
        let (expected_key, expected_kind) = expected.expect("a channel that is understood");
        assert_eq!(key, expected_key);
        assert_eq!(kind == "status", expected_kind == "status");
        let leg = if expected_kind.ends_with("/peer") { Leg::Peer } else { Leg::Client };
        match event {
            Event::Traffic(of, _) => assert!(of == leg && expected_kind.starts_with("traffic")),
            Event::Total(of, _) => assert!(of == leg && expected_kind.starts_with("total")),
            _ => assert_eq!(expected_kind, "status"),
        }
        let mut of_peers = channel.to_vec();
        of_peers.extend_from_slice(b"/peer");
        // The short way gives what the long one gives.
        let short = wire::parse_peers(channel, &of_peers, payload);
        if let Some(short) = short {
            let long = wire::parse(&of_peers, payload);
            assert_eq!(short.map(|event| Message::Allocation(key, event)), long);
        }
        assert_eq!(wire::parse_peers(channel, channel, payload), None);
    }
}

/// The grammar once more, from the front and with no care for time.
fn plainly(channel: &[u8]) -> Option<(Key<'_>, &'static str)> {
    if channel.len() > wire::MAX_CHANNEL {
        return None;
    }
    let rest = channel.strip_prefix(b"turn/")?;
    let (realm, rest) = match rest.strip_prefix(b"realm/") {
        None => (None, rest.strip_prefix(b"user/")?),
        Some(rest) => {
            let at = find(rest, b"/user/").filter(|&at| at > 0)?;
            (Some(&rest[..at]), &rest[at + b"/user/".len()..])
        }
    };
    // Whatever the user is called, the last of these is coturn's.
    let mut last = None;
    for at in 0..rest.len() {
        if rest[at..].starts_with(b"/allocation/") {
            last = Some(at);
        }
    }
    let (user, rest) = (&rest[..last?], &rest[last? + b"/allocation/".len()..]);
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let digits = std::str::from_utf8(&rest[..slash]).ok()?;
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.len() >= 18;
    let id = digits.parse().ok().filter(|_| is_plain && (digits.len() == 18 || !digits.starts_with('0')))?;
    let (kind, _) = KINDS.into_iter().find(|(kind, _)| kind.as_bytes() == &rest[slash + 1..])?;
    Some((Key { realm, user, id: wire::AllocationId(id) }, kind))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn written(key: &Key<'_>, kind: &str) -> Vec<u8> {
    let mut channel = b"turn/".to_vec();
    if let Some(realm) = key.realm {
        channel.extend_from_slice(&[b"realm/", realm, b"/"].concat());
    }
    channel.extend_from_slice(&[b"user/", key.user].concat());
    channel.extend_from_slice(format!("/allocation/{}/{kind}", key.id).as_bytes());
    channel
}

/// A name is a moment and an id, and nothing is lost of either.
fn user_id(name: &[u8], separator: u8) {
    let is_moment = |part: &[u8]| part.len() == 10 && part.iter().all(u8::is_ascii_digit);
    let parts: Vec<&[u8]> = name.splitn(2, |&byte| byte == separator).collect();
    let expected = match parts[..] {
        [first, second] if is_moment(first) => Some(second),
        [first, second] if is_moment(second) => Some(first),
        [first] if is_moment(first) => Some(&b""[..]),
        _ => None,
    };
    assert_eq!(turn_rest::user_id(name, separator), expected);
}
