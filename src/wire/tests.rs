//! The edges of what is read at all: lengths, the heartbeat, and the numbers of the reasons.

use proptest::prelude::*;

use super::{Event, Key, MAX_CHANNEL, MAX_PAYLOAD, Message, Rejection, parse, parse_key, parse_peers};

const COUNTERS: &str = "rcvp=1, rcvb=2, sentp=3, sentb=4";

proptest! {
    #[test]
    fn a_report_on_the_peers_is_read_as_by_itself(
        length in prop_oneof![0..30_usize, MAX_CHANNEL - 70..MAX_CHANNEL],
        kind in prop::sample::select(&["status", "traffic", "traffic/peer", "total_traffic", "total_traffic/peer"][..]),
        behind in prop::sample::select(&["/peer", "/peer/peer", "/peers", ""][..]),
        payload in prop::sample::select(&[COUNTERS, "rcvp=1, rcvb=x", "", "deleted", "new lifetime=600"][..]),
        blanks in prop_oneof![Just(0), Just(MAX_PAYLOAD)],
    ) {
        let client = format!("turn/realm/r/user/{}/allocation/000000000000000001/{kind}", "u".repeat(length));
        let channel = format!("{client}{behind}");
        let payload = format!("{payload}{:blanks$}", "");
        let plain = if kind == "status" { "deleted" } else { COUNTERS };
        // Its key is only gone on with if it was understood.
        if let Ok(Message::Allocation(key, _)) = parse(client.as_bytes(), plain.as_bytes()) {
            let read = parse_peers(client.as_bytes(), channel.as_bytes(), payload.as_bytes());
            let is_pair = behind == "/peer" && matches!(kind, "traffic" | "total_traffic");
            prop_assert_eq!(read.is_some(), is_pair);
            if let Some(event) = read {
                let message = event.map(|event| Message::Allocation(key, event));
                prop_assert_eq!(message, parse(channel.as_bytes(), payload.as_bytes()));
            }
        }
    }
}

/// A channel of this kind, so long.
fn channel(kind: &str, length: usize) -> Vec<u8> {
    let around = format!("turn/user//allocation/000000000000000001/{kind}").len();
    let user = "u".repeat(length - around);
    format!("turn/user/{user}/allocation/000000000000000001/{kind}").into_bytes()
}

/// What is behind a good payload is passed over, so it may be as long as it likes.
fn payload(length: usize) -> Vec<u8> {
    let mut payload = b"rcvp=1, rcvb=2, sentp=3, sentb=4, x=".to_vec();
    payload.resize(length, b'x');
    payload
}

/// At the limit and around it: `true` where it is read.
const AROUND: [(isize, bool); 5] = [(-100, true), (-1, true), (0, true), (1, false), (2, false)];

fn beside(limit: usize, by: isize) -> usize {
    limit.checked_add_signed(by).unwrap()
}

#[test]
fn a_key_may_be_as_long_as_coturns_own() {
    for (by, is_read) in AROUND {
        let key = channel("status", beside(MAX_CHANNEL, by));
        assert_eq!(
            parse_key(&key).map(|key| key.id.0),
            is_read.then_some(1).ok_or(Rejection::TooLong),
            "{by}"
        );
    }
    assert_eq!(parse_key(&channel("traffic", 100)), Err(Rejection::UnknownKind));
    assert_eq!(parse_key(b"turn/user/u"), Err(Rejection::BadChannel));
}

#[test]
fn a_message_may_be_as_long_as_coturns_own() {
    for (by, is_read) in AROUND {
        let (long, short) = (channel("traffic", beside(MAX_CHANNEL, by)), channel("traffic", 100));
        assert_eq!(parse(&long, &payload(40)).is_ok(), is_read, "channel {by}");
        assert_eq!(parse(&short, &payload(beside(MAX_PAYLOAD, by))).is_ok(), is_read, "payload {by}");
    }
    let (channel, payload) = (channel("traffic", MAX_CHANNEL + 1), payload(40));
    assert_eq!(parse(&channel, &payload), Err(Rejection::TooLong));
}

#[test]
fn a_report_on_the_peers_may_be_as_long_as_any() {
    for (by, is_read) in AROUND {
        for (length, payload, what) in [
            (beside(MAX_CHANNEL, by), payload(40), "channel"),
            (100, payload(beside(MAX_PAYLOAD, by)), "payload"),
        ] {
            let client = channel("traffic", length - "/peer".len());
            let peers = [&client[..], b"/peer"].concat();
            let read = parse_peers(&client, &peers, &payload).unwrap();
            assert_eq!(read.map(|_| ()), is_read.then_some(()).ok_or(Rejection::TooLong), "{what} {by}");
        }
    }
}

#[test]
fn only_the_heartbeat_is_one() {
    assert_eq!(parse(b"__XXX__", b"__YYY__"), Ok(Message::Heartbeat));
    assert_eq!(parse(b"__XXX_", b"__YYY__"), Err(Rejection::ForeignChannel));
    let channel = channel("traffic", 100);
    let Ok(Message::Allocation(Key { id, .. }, _)) = parse(&channel, &payload(40)) else {
        panic!("no allocation")
    };
    assert_eq!(id.0, 1);
}

/// A coturn that says one of the three says the long form, and where its client is or is not is then known.
#[test]
fn any_field_of_the_long_form_makes_it_long() {
    let channel = channel("status", 100);
    for (fields, is_long) in [
        ("", false),
        (", x=y", false),
        (", ssl=NONE", false),
        (", type=UDP", true),
        (", local=192.0.2.1:3478", true),
        (", remote=192.0.2.7:4000", true),
    ] {
        let payload = format!("new lifetime=600{fields}");
        let Ok(Message::Allocation(_, Event::New(grant))) = parse(&channel, payload.as_bytes()) else {
            panic!("{payload}")
        };
        assert_eq!(grant.path.is_some(), is_long, "{payload}");
    }
}

#[test]
fn reasons_are_numbered_as_they_are_listed() {
    for (place, reason) in Rejection::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), place, "{reason:?}");
    }
    let mut words: Vec<_> = Rejection::ALL.iter().map(|reason| reason.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Rejection::ALL.len(), "each has a word of its own");
    assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}
