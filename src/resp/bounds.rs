//! What of a server's replies may go on to whoever has them in memory as a whole: it follows the frames as the bytes come,
//! whatever arrays stand within arrays, and lets no more of them through than the limits say.

use super::line::MAX_LINE;

/// What of a reply goes on at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes of a reply, its headers included.
    pub bytes: usize,
    /// Values of a reply, arrays among them.
    pub values: usize,
    /// Bytes of a value within an array within an array (a key that SCAN finds). A longer one is empty from here on.
    pub inner: usize,
}

/// Arrays within arrays; no reply has more.
const MAX_DEPTH: usize = 8;

/// A reply over the limits. Nothing goes on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply of more than {} MiB or {} values, which nothing that was asked has: is this a Redis?", .0.bytes >> 20, .0.values)]
pub struct ReplyTooLong(ReplyLimits);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the line that begins a value.
    Line,
    /// In its bytes, of which so many are to come, with the line's end.
    Body(usize),
    /// In bytes that do not go on.
    Skipped(usize),
    /// Past something that is no reply. It goes on as it is, for whoever reads it to say so.
    Garbage,
}

/// Follows the frames of a stream of replies and stops one that is over the limits.
#[derive(Debug)]
pub struct ReplyBounds {
    limits: ReplyLimits,
    at: At,
    line: Vec<u8>,
    /// Values to come of each array that is not at its end.
    missing: Vec<usize>,
    /// Of the present reply.
    bytes: usize,
    values: usize,
}

impl ReplyBounds {
    /// At the beginning of a reply.
    pub const fn new(limits: ReplyLimits) -> Self {
        Self { limits, at: At::Line, line: Vec::new(), missing: Vec::new(), bytes: 0, values: 0 }
    }

    /// Appends to `out` what may go on of `input`.
    ///
    /// # Errors
    ///
    /// [`ReplyTooLong`]; what came before that reply is in `out`.
    pub fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), ReplyTooLong> {
        while let Some(&first) = input.first() {
            match self.at {
                At::Line => {
                    input = input.get(1..).unwrap_or_default();
                    self.line.push(first);
                    if first == b'\n' {
                        self.end_line(out)?;
                    } else if self.line.len() >= MAX_LINE {
                        self.go_on(out, At::Garbage)?;
                    }
                }
                At::Body(missing) => {
                    let (now, later) = input.split_at(missing.min(input.len()));
                    out.extend_from_slice(now);
                    input = later;
                    self.at = At::Body(missing - now.len());
                    if missing == now.len() {
                        self.end_value();
                    }
                }
                At::Skipped(missing) => {
                    let passed = missing.min(input.len());
                    input = input.get(passed..).unwrap_or_default();
                    self.at = At::Skipped(missing - passed);
                    if missing == passed {
                        self.end_value();
                    }
                }
                At::Garbage => {
                    self.count(input.len())?;
                    out.extend_from_slice(input);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<u8>) -> Result<(), ReplyTooLong> {
        self.values += 1;
        let number =
            self.line.get(1..).map(<[u8]>::trim_ascii).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| digits.parse::<i64>().ok());
        let length = number.map(|number| usize::try_from(number).ok());
        match (self.line.first(), length) {
            (Some(b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'('), _) | (Some(b'$' | b'*'), Some(None)) => {
                self.go_on(out, At::Line)?;
                self.end_value();
            }
            (Some(b'$' | b'='), Some(Some(length))) => {
                let with_end = length.saturating_add(2);
                if self.missing.len() >= 2 && length > self.limits.inner {
                    self.line.clear();
                    self.line.extend_from_slice(b"$0\r\n\r\n");
                    return self.go_on(out, At::Skipped(with_end));
                }
                self.go_on(out, At::Body(with_end))?;
                self.count(with_end)?;
            }
            (Some(&kind @ (b'*' | b'~' | b'>' | b'%')), Some(Some(length))) => {
                let length = if kind == b'%' { length.saturating_mul(2) } else { length };
                if length > self.limits.values || self.missing.len() >= MAX_DEPTH {
                    return Err(ReplyTooLong(self.limits));
                }
                self.go_on(out, At::Line)?;
                if length == 0 {
                    self.end_value();
                } else {
                    self.missing.push(length);
                }
            }
            _ => self.go_on(out, At::Garbage)?,
        }
        Ok(())
    }

    /// The line goes on.
    fn go_on(&mut self, out: &mut Vec<u8>, at: At) -> Result<(), ReplyTooLong> {
        self.count(self.line.len())?;
        out.append(&mut self.line);
        self.at = at;
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ReplyTooLong> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes || self.values > self.limits.values {
            return Err(ReplyTooLong(self.limits));
        }
        Ok(())
    }

    /// A value is over, and with it each array whose last it is.
    fn end_value(&mut self) {
        self.at = At::Line;
        while let Some(missing) = self.missing.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.missing.pop();
        }
        (self.bytes, self.values) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: ReplyLimits = ReplyLimits { bytes: 200, values: 20, inner: 5 };

    /// What goes on of bytes that come in pieces of this size.
    fn passed(bytes: &[u8], piece: usize) -> (String, bool) {
        let (mut bounds, mut out) = (ReplyBounds::new(LIMITS), Vec::new());
        let went = bytes.chunks(piece).all(|piece| bounds.pass(piece, &mut out).is_ok());
        (String::from_utf8(out).unwrap(), went)
    }

    #[test]
    fn replies_go_on_as_they_are_and_long_keys_are_empty() {
        let same = [
            "+OK\r\n:7\r\n-ERR no\r\n$-1\r\n*-1\r\n*0\r\n$3\r\na\r\n\r\n",
            // At the outermost place and in one array a value may be long.
            "$12\r\nabcdefghijkl\r\n*2\r\n$4\r\nsave\r\n$9\r\n3600 1 60\r\n",
            "*2\r\n$1\r\n0\r\n*2\r\n$5\r\nabcde\r\n$0\r\n\r\n:1\r\n",
            // No reply: it goes on, and is whose who reads it.
            "HTTP/1.1 400 Bad Request\r\n\r\n*9999999\r\n",
            "$x\r\n$999\r\n",
        ];
        for piece in [1, 2, 3, 7, 1000] {
            for bytes in same {
                assert_eq!(passed(bytes.as_bytes(), piece), (bytes.to_owned(), true), "{piece}");
            }
            let long = format!(
                "*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$10000\r\n{}\r\n$1\r\nb\r\n+OK\r\n",
                "x\r\n$".repeat(2500)
            );
            let short = "*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n+OK\r\n";
            assert_eq!(passed(long.as_bytes(), piece), (short.to_owned(), true), "{piece}");
        }
    }

    #[test]
    fn a_reply_over_the_limits_is_an_error_as_soon_as_it_says_so() {
        let over = [
            "$300\r\n".to_owned(),
            "*21\r\n".to_owned(),
            "*2\r\n$1\r\n0\r\n*1000000000\r\n".to_owned(),
            "*20\r\n".to_owned() + &"*2\r\n:1\r\n:1\r\n".repeat(20),
            "*1\r\n".repeat(9),
            "*20\r\n".to_owned() + &"$20\r\n01234567890123456789\r\n".repeat(20),
            format!("+{}\r\n", "x".repeat(300)),
        ];
        for bytes in &over {
            for piece in [1, 5, 1000] {
                // The one before it has gone on.
                let (out, went) = passed(format!("+OK\r\n{bytes}").as_bytes(), piece);
                assert!(!went && out.starts_with("+OK\r\n") && out.len() < 210, "{bytes}: {out}");
            }
        }
        // Each reply has its own limits.
        assert!(passed("$100\r\n".to_owned().add_body(100).repeat(50).as_bytes(), 1000).1);
    }

    trait AddBody {
        fn add_body(self, length: usize) -> String;
    }

    impl AddBody for String {
        fn add_body(self, length: usize) -> String {
            self + &"b".repeat(length) + "\r\n"
        }
    }

    proptest! {
        /// Whatever comes, in whatever pieces: the same goes on, and no more than the limit and what came at once.
        #[test]
        fn no_bytes_make_it_panic_or_let_more_through(
            parts in prop::collection::vec(prop::sample::select(&["*2\r\n", "*3\r\n", "$4\r\nabcd\r\n", "$9\r\nabcdefghi\r\n", ":1\r\n", "+OK\r\n", "*", "$", "\r\n", "x", "%1\r\n", "-1", "$-1\r\n"][..]), 0..60),
            piece in 1..40_usize,
        ) {
            let bytes = parts.concat();
            let (whole, went) = passed(bytes.as_bytes(), usize::MAX);
            let (in_pieces, went_in_pieces) = passed(bytes.as_bytes(), piece);
            prop_assert_eq!(went, went_in_pieces);
            prop_assert!(whole.starts_with(&in_pieces) || in_pieces.starts_with(&whole));
        }
    }
}
