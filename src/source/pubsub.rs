//! The messages of a subscription, taken out of the buffer that they were read into. Knows no socket.

use super::error::LinkError;
use super::reply_error::protocol_error;
use crate::resp::{Frame, FrameLimits, ProtocolError, Reader, RespValue, Span};

/// Frames handed on at one call, or a few more: the table is locked for that many.
pub const FRAMES_PER_CALL: usize = 1024;

/// Messages handed on together, at most: more cache misses than these do not overlap.
pub const BATCH: usize = 16;

/// coturn's messages are shorter than 2 KiB; one that is longer than this is skipped and only counted.
pub const LIMITS: FrameLimits = FrameLimits { frame: 64 << 10, values: 8, ahead: 192 << 10 };

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

/// What comes on a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSubItem<'a> {
    /// Messages in a row, [`BATCH`] at most.
    Published(&'a [Published<'a>]),
    /// The answer to a PING.
    Pong,
    /// An error's text.
    Error(&'a [u8]),
}

/// The messages of a subscription that are read and not handed on yet.
#[derive(Debug)]
pub struct PubSub {
    reader: Reader,
    /// All that has been read is handed on, but for the beginning of a frame.
    is_drained: bool,
}

impl PubSub {
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
        mut visit: impl FnMut(PubSubItem<'_>) -> Result<(), LinkError>,
    ) -> Result<usize, LinkError> {
        let mut taken = 0;
        while taken < FRAMES_PER_CALL {
            let mut spans = [None; BATCH];
            let (mut many, mut behind) = (0, None);
            for span in &mut spans {
                match self.next() {
                    NextFrame::Message(at) => *span = at,
                    other => {
                        behind = Some(other);
                        break;
                    }
                }
                many += 1;
            }
            let published = spans.map(|span| self.published(span));
            if let Some(published @ [_, ..]) = published.get(..many) {
                visit(PubSubItem::Published(published))?;
            }
            taken += many;
            match behind {
                // A full batch, and there may be more.
                None => continue,
                Some(NextFrame::Drained) => {
                    self.is_drained = true;
                    return Ok(taken);
                }
                Some(NextFrame::Pong) => visit(PubSubItem::Pong)?,
                Some(NextFrame::Error(text)) => visit(PubSubItem::Error(&text))?,
                Some(NextFrame::Garbled(error)) => return Err(LinkError::Lost(protocol_error(error))),
                Some(NextFrame::Message(_) | NextFrame::Nothing) => {}
            }
            taken += 1;
        }
        Ok(taken)
    }

    fn next(&mut self) -> NextFrame {
        match self.reader.frame() {
            Ok(None) => NextFrame::Drained,
            Ok(Some(Frame::Many(values))) => match (values.bulk(0), values.span(2), values.span(3)) {
                (Some(b"pmessage"), Some(channel), Some(payload)) => {
                    NextFrame::Message(Some((channel, payload)))
                }
                (Some(b"pong"), ..) => NextFrame::Pong,
                _ => NextFrame::Nothing,
            },
            Ok(Some(Frame::TooLong)) => NextFrame::Message(None),
            Ok(Some(Frame::One(RespValue::Error(text)))) => NextFrame::Error(text.into()),
            Ok(Some(Frame::One(_))) => NextFrame::Nothing,
            Err(error) => NextFrame::Garbled(error),
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
enum NextFrame {
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
        let mut pubsub = PubSub::new(Reader::of_replies(LIMITS));
        pubsub.space()[..bytes.len()].copy_from_slice(bytes);
        pubsub.filled(bytes.len());
        let mut all = Vec::new();
        let payload = |published: &Published<'_>| match published {
            Published::Message { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
            Published::TooLong => "too long".to_owned(),
        };
        let ended = pubsub.take(|said| {
            all.push(match said {
                PubSubItem::Published(published) => published.iter().map(payload).collect(),
                PubSubItem::Pong => "pong".to_owned(),
                PubSubItem::Error(text) => String::from_utf8_lossy(text).into_owned(),
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
    fn more_than_a_batch_comes_in_batches() {
        let all: Vec<char> = ('a'..='z').take(BATCH + 3).collect();
        let (said, ended) = said(&all.iter().flat_map(|payload| message(*payload)).collect::<Vec<u8>>());
        let batches: Vec<String> = all.chunks(BATCH).map(|batch| batch.iter().collect()).collect();
        assert_eq!((said, ended.ok()), (batches, Some(BATCH + 3)));
    }

    #[test]
    fn what_came_before_garbage_is_handed_on() {
        let (said, ended) = said(&[&*message('a'), &*message('b'), b"what?\r\n"].concat());
        assert_eq!(said, ["ab"]);
        assert!(matches!(ended, Err(LinkError::Lost(_))), "{ended:?}");
    }
}
