//! What a subscription says, taken out of the bytes where they were read. Knows no socket.

use super::greet::garbled;
use super::redis::LinkError;
use crate::resp::{Frame, Limits, ProtocolError, Reader, Span, Value};

/// Frames handed on at one call, or a few more: the table is locked for that many.
pub const BATCH: usize = 1024;

/// Messages handed on together, at most: more waits for memory than these do not overlap.
pub const HANDFUL: usize = 16;

/// coturn's messages are shorter than 2 KiB; a longer one than this is passed over, and its length told only.
pub const LIMITS: Limits = Limits { frame: 64 << 10, values: 8, ahead: 192 << 10 };

/// One published message, where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published<'a> {
    /// As it was sent.
    Message {
        /// The channel.
        channel: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// One that was too long to be kept.
    TooLong,
}

/// What a subscription may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// Messages in a row, a handful at most.
    Published(&'a [Published<'a>]),
    /// The answer to a PING.
    Pong,
    /// An error's text.
    Error(&'a [u8]),
}

/// Bytes that were read, and not handed on yet.
#[derive(Debug)]
pub struct Inbox {
    reader: Reader,
    /// All that has been read is handed on, but for the beginning of a frame.
    is_drained: bool,
}

impl Inbox {
    /// What the reader holds already comes first.
    pub const fn new(reader: Reader) -> Self {
        Self { reader, is_drained: false }
    }

    /// Whether only more bytes can make another message.
    pub const fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Where to put the next bytes; never empty once it is drained.
    pub fn space(&mut self) -> &mut [u8] {
        self.reader.space()
    }

    /// So many bytes were put there.
    pub fn filled(&mut self, length: usize) {
        self.reader.filled(length);
        self.is_drained = false;
    }

    /// Hands on what has been read, in its order, until it is a batch; gives how many frames it was. `visit` may end it
    /// with an error.
    ///
    /// # Errors
    ///
    /// That of `visit`; [`LinkError::Lost`] when what comes is no subscription.
    pub fn take(
        &mut self,
        mut visit: impl FnMut(Said<'_>) -> Result<(), LinkError>,
    ) -> Result<usize, LinkError> {
        let mut taken = 0;
        while taken < BATCH {
            let mut spans = [None; HANDFUL];
            let (mut many, mut behind) = (0, None);
            for span in &mut spans {
                match self.next() {
                    Next::Message(at) => *span = at,
                    other => {
                        behind = Some(other);
                        break;
                    }
                }
                many += 1;
            }
            let published = spans.map(|span| self.published(span));
            if let Some(published @ [_, ..]) = published.get(..many) {
                visit(Said::Published(published))?;
            }
            taken += many;
            match behind {
                // A handful, and there may be more.
                None => continue,
                Some(Next::Drained) => {
                    self.is_drained = true;
                    return Ok(taken);
                }
                Some(Next::Pong) => visit(Said::Pong)?,
                Some(Next::Error(text)) => visit(Said::Error(&text))?,
                Some(Next::Garbled(error)) => return Err(LinkError::Lost(garbled(error))),
                Some(Next::Message(_) | Next::Nothing) => {}
            }
            taken += 1;
        }
        Ok(taken)
    }

    fn next(&mut self) -> Next {
        match self.reader.frame() {
            Ok(None) => Next::Drained,
            Ok(Some(Frame::Many(values))) => match (values.bulk(0), values.span(2), values.span(3)) {
                (Some(b"pmessage"), Some(channel), Some(payload)) => Next::Message(Some((channel, payload))),
                (Some(b"pong"), ..) => Next::Pong,
                _ => Next::Nothing,
            },
            Ok(Some(Frame::TooLong)) => Next::Message(None),
            Ok(Some(Frame::One(Value::Error(text)))) => Next::Error(text.into()),
            Ok(Some(Frame::One(_))) => Next::Nothing,
            Err(error) => Next::Garbled(error),
        }
    }

    fn published(&self, span: Option<(Span, Span)>) -> Published<'_> {
        span.map_or(Published::TooLong, |(channel, payload)| Published::Message {
            channel: self.reader.at(channel),
            payload: self.reader.at(payload),
        })
    }
}

/// A frame, by where it stands.
enum Next {
    /// Channel and payload; `None` for a message that was too long.
    Message(Option<(Span, Span)>),
    Pong,
    Error(Box<[u8]>),
    /// Something that says nothing.
    Nothing,
    /// None: only a part of one is there, or nothing.
    Drained,
    Garbled(ProtocolError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const PONG: &[u8] = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n";

    fn message(payload: char) -> Vec<u8> {
        let mut bytes = Vec::new();
        let payload = payload.to_string();
        crate::resp::command(&mut bytes, &[b"pmessage", b"turn/*", b"channel", payload.as_bytes()]);
        bytes
    }

    /// What was said, of messages their payloads, a word for each call; and how it ended.
    fn said(bytes: &[u8]) -> (Vec<String>, Result<usize, LinkError>) {
        let mut inbox = Inbox::new(Reader::of_replies(LIMITS));
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
        let mut all = Vec::new();
        let payload = |published: &Published<'_>| match published {
            Published::Message { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
            Published::TooLong => "too long".to_owned(),
        };
        let ended = inbox.take(|said| {
            all.push(match said {
                Said::Published(published) => published.iter().map(payload).collect(),
                Said::Pong => "pong".to_owned(),
                Said::Error(text) => String::from_utf8_lossy(text).into_owned(),
            });
            Ok(())
        });
        (all, ended)
    }

    /// A PONG is a barrier: who waits for it relies on all before it.
    #[test]
    fn what_is_said_between_messages_keeps_its_place() {
        let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(message);
        let bytes = [&*a, &*b, PONG, &*c, b"-ERR no\r\n", b"+OK\r\n", &*d].concat();
        let (said, ended) = said(&bytes);
        assert_eq!(said, ["ab", "pong", "c", "ERR no", "d"]);
        assert_eq!(ended.ok(), Some(7));
    }

    #[test]
    fn more_than_a_handful_comes_in_handfuls() {
        let all: Vec<char> = ('a'..='z').take(HANDFUL + 3).collect();
        let (said, ended) = said(&all.iter().flat_map(|payload| message(*payload)).collect::<Vec<u8>>());
        let handfuls: Vec<String> = all.chunks(HANDFUL).map(|handful| handful.iter().collect()).collect();
        assert_eq!((said, ended.ok()), (handfuls, Some(HANDFUL + 3)));
    }

    #[test]
    fn what_came_before_garbage_is_handed_on() {
        let (said, ended) = said(&[&*message('a'), &*message('b'), b"what?\r\n"].concat());
        assert_eq!(said, ["ab"]);
        assert!(matches!(ended, Err(LinkError::Lost(_))), "{ended:?}");
    }
}
