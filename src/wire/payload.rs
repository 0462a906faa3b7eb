//! The grammar of payloads: status (short and long form) and traffic. Pure.
//!
//! Fields are `name=value`, separated by a comma and a blank; a value may hold blanks (`type=TLS/TCP ?`). Unknown
//! fields are ignored: a newer coturn may add some.

use super::Rejection;
use super::event::{Event, Grant, Path, Traffic, Transport, Volume};

/// `new lifetime=600[, type=…, local=…, remote=…, ssl=…, cipher=…]`, `refreshed …`, `deleted`.
pub(super) fn status(payload: &[u8]) -> Result<Event<'_>, Rejection> {
    let (word, rest) = match payload.iter().position(|&b| b == b' ') {
        Some(at) => (payload.get(..at).unwrap_or_default(), payload.get(at + 1..).unwrap_or_default()),
        None => (payload, &[][..]),
    };
    match word {
        b"new" => grant(rest).map(Event::New),
        b"refreshed" => grant(rest).map(Event::Refreshed),
        b"deleted" => Ok(Event::Deleted),
        _ => Err(Rejection::UnknownStatus),
    }
}

fn grant(fields: &[u8]) -> Result<Grant<'_>, Rejection> {
    let mut lifetime = None;
    let (mut transport, mut local, mut remote) = (None, None, None);
    for (name, value) in Fields(Some(fields)) {
        match name {
            b"lifetime" => lifetime = number(value).and_then(|n| u32::try_from(n).ok()),
            b"type" => transport = Some(transport_of(value)),
            b"local" => local = Some(value),
            b"remote" => remote = Some(value),
            _ => {}
        }
    }
    let lifetime = lifetime.ok_or(Rejection::BadStatus)?;
    // Any of the three makes it the long form; a missing field stays empty.
    let path = (transport.is_some() || local.is_some() || remote.is_some()).then(|| Path {
        transport: transport.unwrap_or_default(),
        local: local.unwrap_or_default(),
        remote: remote.unwrap_or_default(),
    });
    Ok(Grant { lifetime, path })
}

/// coturn's names (`socket_type_name`): `UDP`, `TCP`, `TLS/TCP`, `DTLS`, `SCTP`, `TLS/SCTP`, the TLS ones also with
/// ` ?` behind them, `UNKNOWN`.
fn transport_of(name: &[u8]) -> Transport {
    match name {
        b"UDP" => Transport::Udp,
        b"TCP" => Transport::Tcp,
        b"TLS/TCP" | b"TLS/TCP ?" => Transport::Tls,
        b"DTLS" => Transport::Dtls,
        b"SCTP" | b"TLS/SCTP" | b"TLS/SCTP ?" => Transport::Sctp,
        _ => Transport::Other,
    }
}

/// `rcvp=105, rcvb=18056, sentp=105, sentb=18060`: received and sent, packets and bytes.
pub(super) fn traffic(payload: &[u8]) -> Result<Traffic, Rejection> {
    traffic_in_order(payload).map_or_else(|| traffic_in_any_order(payload), Ok)
}

/// In the order of every coturn so far: nine of ten messages.
#[expect(clippy::similar_names, reason = "the names are coturn's")]
fn traffic_in_order(payload: &[u8]) -> Option<Traffic> {
    let (rcvp, rest) = short_number(payload.strip_prefix(b"rcvp=")?)?;
    let (rcvb, rest) = short_number(rest.strip_prefix(b", rcvb=")?)?;
    let (sentp, rest) = short_number(rest.strip_prefix(b", sentp=")?)?;
    let (sentb, rest) = short_number(rest.strip_prefix(b", sentb=")?)?;
    rest.is_empty().then_some(Traffic {
        received: Volume { packets: rcvp, bytes: rcvb },
        sent: Volume { packets: sentp, bytes: sentb },
    })
}

/// A number at the beginning of a text, which goes on with something else; `None` unless it is sure to fit.
fn short_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut sum, mut digits) = (0_u64, 0);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // The sum of too many digits is not used.
        sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
        digits += 1;
    }
    let rest = text.get(digits..)?;
    (1..=SAFE_DIGITS).contains(&digits).then_some((sum, rest))
}

#[expect(clippy::similar_names, reason = "the names are coturn's")]
fn traffic_in_any_order(payload: &[u8]) -> Result<Traffic, Rejection> {
    let [mut rcvp, mut rcvb, mut sentp, mut sentb] = [None; 4];
    for (name, value) in Fields(Some(payload)) {
        let field = match name {
            b"rcvp" => &mut rcvp,
            b"rcvb" => &mut rcvb,
            b"sentp" => &mut sentp,
            b"sentb" => &mut sentb,
            _ => continue,
        };
        *field = number(value);
    }
    match (rcvp, rcvb, sentp, sentb) {
        (Some(rcvp), Some(rcvb), Some(sentp), Some(sentb)) => Ok(Traffic {
            received: Volume { packets: rcvp, bytes: rcvb },
            sent: Volume { packets: sentp, bytes: sentb },
        }),
        _ => Err(Rejection::BadCounters),
    }
}

/// As many digits fit 64 bits, whichever they are.
const SAFE_DIGITS: usize = 19;

/// A decimal number that fits 64 bits: digits only, no sign, no blank.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let (safe, others) = digits.split_at_checked(SAFE_DIGITS).unwrap_or((digits, &[]));
    let (sum, rest) = short_number(safe)?;
    if !rest.is_empty() {
        return None;
    }
    others.iter().try_fold(sum, |sum, &digit| {
        digit.is_ascii_digit().then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// The `name=value` parts of a payload; parts without `=` are passed over.
struct Fields<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.take()?;
            let mut part = text;
            let comma = memchr::memchr_iter(b',', text).find(|&at| text.get(at + 1) == Some(&b' '));
            if let Some(comma) = comma {
                part = text.get(..comma)?;
                self.0 = text.get(comma + 2..);
            }
            // Names are short.
            if let Some(equals) = part.iter().position(|&byte| byte == b'=') {
                return Some((part.get(..equals)?, part.get(equals + 1..)?));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn long(lifetime: u32, transport: Transport) -> Grant<'static> {
        let path = Path { transport, local: b"127.0.0.1:3478", remote: b"192.0.2.7:35910" };
        Grant { lifetime, path: Some(path) }
    }

    #[test]
    fn reads_both_forms_of_status() {
        let rows: [(&str, Event<'_>); 8] = [
            ("new lifetime=600", Event::New(Grant { lifetime: 600, path: None })),
            ("refreshed lifetime=0", Event::Refreshed(Grant { lifetime: 0, path: None })),
            ("deleted", Event::Deleted),
            (
                "new lifetime=600, type=UDP, local=127.0.0.1:3478, remote=192.0.2.7:35910, ssl=NONE, cipher=NONE",
                Event::New(long(600, Transport::Udp)),
            ),
            (
                "refreshed lifetime=777, type=TLS/TCP, local=127.0.0.1:3478, remote=192.0.2.7:35910, ssl=TLSv1.3, \
                 cipher=TLS_AES_256_GCM_SHA384",
                Event::Refreshed(long(777, Transport::Tls)),
            ),
            // the blank within a value, and a payload that coturn cut inside the cipher
            (
                "new lifetime=1, type=TLS/TCP ?, local=127.0.0.1:3478, remote=192.0.2.7:35910, ssl=TLSv1.3, ciph",
                Event::New(long(1, Transport::Tls)),
            ),
            // fields of a coturn to come
            (
                "new colour=red, lifetime=600, x, type=QUIC, local=127.0.0.1:3478, remote=192.0.2.7:35910, y=",
                Event::New(long(600, Transport::Other)),
            ),
            ("deleted reason=drain", Event::Deleted),
        ];
        for (payload, expected) in rows {
            assert_eq!(status(payload.as_bytes()), Ok(expected), "{payload}");
        }
    }

    #[test]
    fn knows_every_transport() {
        let rows = [
            ("UDP", Transport::Udp),
            ("TCP", Transport::Tcp),
            ("TLS/TCP", Transport::Tls),
            ("TLS/TCP ?", Transport::Tls),
            ("DTLS", Transport::Dtls),
            ("SCTP", Transport::Sctp),
            ("TLS/SCTP", Transport::Sctp),
            ("TLS/SCTP ?", Transport::Sctp),
            ("UNKNOWN", Transport::Other),
            ("", Transport::Other),
        ];
        for (name, expected) in rows {
            assert_eq!(transport_of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn refuses_other_statuses() {
        let rows: [(&[u8], Rejection); 10] = [
            (b"", Rejection::UnknownStatus),
            (b"New lifetime=600", Rejection::UnknownStatus),
            (b"moved lifetime=600", Rejection::UnknownStatus),
            (b"new", Rejection::BadStatus),
            (b"new ", Rejection::BadStatus),
            (b"new lifetime=", Rejection::BadStatus),
            (b"new lifetime=-1", Rejection::BadStatus),
            (b"new lifetime=4294967296", Rejection::BadStatus),
            (b"refreshed type=UDP, local=1, remote=2", Rejection::BadStatus),
            (b"\xff\xfe", Rejection::UnknownStatus),
        ];
        for (payload, expected) in rows {
            assert_eq!(status(payload), Err(expected), "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn reads_traffic_in_any_order() {
        let expected = Traffic {
            received: Volume { packets: 105, bytes: 18_056 },
            sent: Volume { packets: 7, bytes: u64::MAX },
        };
        for payload in [
            "rcvp=105, rcvb=18056, sentp=7, sentb=18446744073709551615",
            "sentb=18446744073709551615, x=y, sentp=7, rcvb=18056, , rcvp=105, z",
        ] {
            assert_eq!(traffic(payload.as_bytes()), Ok(expected), "{payload}");
        }
    }

    #[test]
    fn refuses_incomplete_traffic() {
        for payload in [
            "",
            "rcvp=1, rcvb=2, sentp=3",
            "rcvp=1, rcvb=2, sentp=3, sentb=",
            "rcvp=1, rcvb=2, sentp=3, sentb=-4",
            "rcvp=1, rcvb=2, sentp=3, sentb=18446744073709551616",
            "rcvp=1,rcvb=2,sentp=3,sentb=4",
            "rcvp=1, rcvb=2, sentp=3, sentb=0x4",
        ] {
            assert_eq!(traffic(payload.as_bytes()), Err(Rejection::BadCounters), "{payload}");
        }
    }

    fn counters() -> impl Strategy<Value = String> {
        let digits = prop_oneof![
            "[0-9]{1,8}",
            "[0-9]{18,21}",
            any::<u64>().prop_map(|number| number.to_string()),
            "[0-9x]{0,2}"
        ];
        let name = |name: &'static str| prop_oneof![9 => Just(name), 1 => Just("sentp"), 1 => Just("x")];
        let mark = || prop_oneof![19 => Just(", "), 1 => Just(","), 1 => Just("")];
        let part = move |of| {
            (name(of), digits.clone(), mark())
                .prop_map(|(name, digits, mark)| format!("{name}={digits}{mark}"))
        };
        (part("rcvp"), part("rcvb"), part("sentp"), part("sentb")).prop_map(|(a, b, c, d)| {
            let all = format!("{a}{b}{c}{d}");
            all.strip_suffix(", ").unwrap_or(&all).to_owned()
        })
    }

    proptest! {
        #[test]
        fn the_usual_order_is_read_as_any_other(payload in counters()) {
            let any = traffic_in_any_order(payload.as_bytes());
            if let Some(read) = traffic_in_order(payload.as_bytes()) {
                prop_assert_eq!(any.as_ref(), Ok(&read));
            }
            prop_assert_eq!(traffic(payload.as_bytes()), any);
        }

        #[test]
        fn numbers_are_those_of_the_library(digits in "[0-9]{0,22}|[0-9a+-]{0,3}") {
            let expected = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            prop_assert_eq!(number(digits.as_bytes()), expected);
        }
    }
}
