//! Payloads, against a plain reader of fields.

use crate::wire::{self, Event, Grant, Message, Path, Rejection, Traffic, Transport, Volume};

const STATUS: &[u8] = b"turn/user/u/allocation/000000000000000001/status";
const TRAFFIC: &[u8] = b"turn/user/u/allocation/000000000000000001/traffic";

/// All of the bytes are a payload, of a status and of a report.
pub(super) fn run(payload: &[u8]) {
    let read = |channel| match wire::parse(channel, payload) {
        Ok(Message::Allocation(_, event)) => Ok(event),
        Ok(Message::Heartbeat) => panic!("a heartbeat has another channel"),
        Err(reason) => Err(reason),
    };
    if payload.len() > wire::MAX_PAYLOAD {
        assert_eq!((read(STATUS), read(TRAFFIC)), (Err(Rejection::TooLong), Err(Rejection::TooLong)));
        return;
    }
    assert_eq!(read(STATUS), status(payload));
    match (read(TRAFFIC), traffic(payload)) {
        (Ok(Event::Traffic(_, read)), Some(expected)) => {
            assert_eq!(read, expected);
            let text = written(&read);
            assert_eq!(traffic(text.as_bytes()), Some(read));
            let again = wire::parse(TRAFFIC, text.as_bytes());
            assert!(matches!(again, Ok(Message::Allocation(_, Event::Traffic(_, again))) if again == read));
        }
        (Err(Rejection::BadCounters), None) => {}
        (read, expected) => panic!("read as {read:?}, expected {expected:?}"),
    }
}

fn written(traffic: &Traffic) -> String {
    let Traffic { received, sent } = traffic;
    format!(
        "rcvp={}, rcvb={}, sentp={}, sentb={}",
        received.packets, received.bytes, sent.packets, sent.bytes
    )
}

/// The fields of a text, the last of each name.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|window| window == b", ") {
        parts.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    parts.push(rest);
    let named = |part: &&'a [u8]| {
        let equals = part.iter().position(|&byte| byte == b'=')?;
        (&part[..equals] == name).then_some(&part[equals + 1..])
    };
    parts.iter().rev().find_map(named)
}

fn number(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

fn traffic(payload: &[u8]) -> Option<Traffic> {
    let count = |name: &[u8]| field(payload, name).and_then(number);
    Some(Traffic {
        received: Volume { packets: count(b"rcvp")?, bytes: count(b"rcvb")? },
        sent: Volume { packets: count(b"sentp")?, bytes: count(b"sentb")? },
    })
}

fn status(payload: &[u8]) -> Result<Event<'_>, Rejection> {
    let mut words = payload.splitn(2, |&byte| byte == b' ');
    let word = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default();
    let grant = || {
        let lifetime = field(rest, b"lifetime").and_then(number);
        let lifetime = lifetime.and_then(|lifetime| u32::try_from(lifetime).ok());
        let [transport, local, remote] = [&b"type"[..], b"local", b"remote"].map(|name| field(rest, name));
        let path = (transport.is_some() || local.is_some() || remote.is_some()).then(|| Path {
            transport: transport.map_or(Transport::Unknown, named),
            local: local.unwrap_or_default(),
            remote: remote.unwrap_or_default(),
        });
        Ok(Grant { lifetime: lifetime.ok_or(Rejection::BadStatus)?, path })
    };
    match word {
        b"new" => grant().map(Event::New),
        b"refreshed" => grant().map(Event::Refreshed),
        b"deleted" => Ok(Event::Deleted),
        _ => Err(Rejection::UnknownStatus),
    }
}

fn named(transport: &[u8]) -> Transport {
    let plain = transport.strip_suffix(b" ?").filter(|name| name.starts_with(b"TLS/")).unwrap_or(transport);
    match plain {
        b"UDP" => Transport::Udp,
        b"TCP" => Transport::Tcp,
        b"TLS/TCP" => Transport::Tls,
        b"DTLS" => Transport::Dtls,
        b"SCTP" | b"TLS/SCTP" => Transport::Sctp,
        _ => Transport::Other,
    }
}
