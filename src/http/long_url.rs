//! Shortens what hyper would not read: a request line of the details that is far too long. Cut off, it reaches the
//! answer that says so; hyper alone would answer 431 without a word.
//!
//! Only the first request of a packet is looked at; who sends more of them unasked gets hyper's answer.

use crate::details::{API, PAGE};

/// The part of a request line that is let through. Longer than any query that is answered; well below what hyper reads
/// of a head.
const MAX_LINE: usize = 8 * 1024;

/// What is thrown away of one line at most; then hyper sees the rest and ends it.
const MAX_DROPPED: usize = 8 << 20;

/// Where in a request line the stream is.
#[derive(Debug)]
pub(super) enum RequestLine {
    /// Within it, so many bytes on; the first of them are kept.
    Within { length: usize, first: Vec<u8> },
    /// Within the part that is thrown away.
    Dropping { dropped: usize },
    /// Behind it.
    Over,
}

impl RequestLine {
    /// At the beginning of a request.
    pub(super) const fn begin() -> Self {
        Self::Within { length: 0, first: Vec::new() }
    }

    /// Takes out of `bytes`, which came next, what is too long; gives how many are left at its beginning.
    pub(super) fn shorten(&mut self, bytes: &mut [u8]) -> usize {
        let mut from = 0;
        if let Self::Within { length, first } = self {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let room = LONGEST_START - first.len().min(LONGEST_START);
            first.extend(bytes.iter().take(room));
            let here = end.unwrap_or(bytes.len());
            let fits = MAX_LINE - (*length).min(MAX_LINE);
            if here <= fits {
                *length += here;
                if end.is_some() {
                    *self = Self::Over;
                }
                return bytes.len();
            }
            if !is_of_details(first) {
                *self = Self::Over;
                return bytes.len();
            }
            from = fits;
            *self = Self::Dropping { dropped: 0 };
        }
        let Self::Dropping { dropped } = self else { return bytes.len() };
        let rest = bytes.get(from..).unwrap_or_default();
        // The address ends with a blank, or the line does.
        let end = rest.iter().position(|&byte| byte == b' ' || byte == b'\n');
        let gone = end.unwrap_or(rest.len());
        *dropped += gone;
        if end.is_some() || *dropped > MAX_DROPPED {
            *self = Self::Over;
        }
        bytes.copy_within(from + gone.., from);
        bytes.len() - gone
    }
}

/// The longest beginning that [`is_of_details`] looks at.
const LONGEST_START: usize = "HEAD /allocations?".len();

fn is_of_details(line: &[u8]) -> bool {
    let paths = ["GET ", "HEAD "].into_iter().filter_map(|method| line.strip_prefix(method.as_bytes()));
    paths.into_iter().any(|path| {
        path.starts_with(API.as_bytes())
            || path.strip_prefix(PAGE.as_bytes()).is_some_and(|rest| rest.starts_with(b"?"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What hyper gets to see of a stream that comes in pieces of so many bytes.
    fn passed(stream: &[u8], piece: usize) -> Vec<u8> {
        let mut line = RequestLine::begin();
        let mut out = Vec::new();
        for piece in stream.chunks(piece) {
            let mut piece = piece.to_vec();
            let left = line.shorten(&mut piece);
            out.extend_from_slice(&piece[..left]);
        }
        out
    }

    fn request(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
    }

    #[test]
    fn only_the_address_of_details_is_cut_off() {
        let much = "a".repeat(1 << 20);
        for piece in [1, 7, 4096, 8192, 1 << 21] {
            for path in ["/api/v1/allocations?user=", "/api/v1/sessions?", "/allocations?user="] {
                let cut = passed(&request(&format!("{path}{much}")), piece);
                let text = String::from_utf8(cut).unwrap();
                let line = text.lines().next().unwrap();
                assert_eq!(line.len(), MAX_LINE + " HTTP/1.1".len(), "{piece}");
                assert!(
                    line.starts_with(&format!("GET {path}aaa")) && line.ends_with("a HTTP/1.1"),
                    "{piece}"
                );
                assert!(text.ends_with(" HTTP/1.1\r\nHost: t\r\n\r\n"), "{piece}");
            }
            for path in ["/metrics?", "/", "/allocations.js?", "/apiv1/"] {
                let whole = request(&format!("{path}{much}"));
                assert!(passed(&whole, piece) == whole, "{path} {piece}");
            }
        }
    }

    #[test]
    fn an_endless_address_is_not_swallowed_for_ever() {
        let much = request(&format!("/api/v1/allocations?{}", "a".repeat(MAX_DROPPED + (1 << 20))));
        assert!(passed(&much, 65_536).len() > MAX_LINE + 1024);
    }

    proptest! {
        #[test]
        fn what_is_short_passes_untouched(stream in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..300) {
            prop_assert_eq!(passed(&stream, piece), stream);
        }
    }
}
