//! What a client speaks that does not speak the protocol of Redis, as far as its first bytes show it: for the log.

/// The methods of HTTP that a browser or a scraper uses.
const METHODS: [&[u8]; 8] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT "];

/// The magic cookie of STUN, which stands behind the type and the length.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A protocol that is not that of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForeignProtocol {
    /// HTTP: a browser, or a scraper with the wrong port.
    Http,
    /// TLS, where none is spoken.
    Tls,
    /// STUN or TURN over TCP, which a web page can make a browser speak too.
    Stun,
    /// None of these.
    Other,
}

impl ForeignProtocol {
    /// Guesses by the first bytes of a connection.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x16, 0x03, ..] => Self::Tls,
            [0..=3, _, _, _, cookie @ ..] if cookie.starts_with(&COOKIE) => Self::Stun,
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Self::Http,
            _ => Self::Other,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Stun => "STUN or TURN",
            Self::Other => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_their_first_bytes() {
        for (bytes, protocol) in [
            (&b"POST / HTTP/1.1\r\n"[..], ForeignProtocol::Http),
            (b"GET / HTTP/1.1\r\n", ForeignProtocol::Http),
            (b"\x16\x03\x01\x02\x00\x01", ForeignProtocol::Tls),
            (b"\x00\x03\x00\x08\x21\x12\xa4\x42rest", ForeignProtocol::Stun),
            (b"\x00\x03\x00", ForeignProtocol::Other),
            (b"MONITOR\r\n", ForeignProtocol::Other),
            (b"", ForeignProtocol::Other),
        ] {
            assert_eq!(ForeignProtocol::of(bytes), protocol, "{}", bytes.escape_ascii());
        }
    }
}
