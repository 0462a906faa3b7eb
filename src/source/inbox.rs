//! What a subscription says, taken out of the bytes where they were read. Knows no socket.

use super::greet::garbled;
use super::redis::LinkError;
use crate::resp::{Frame, Limits, Reader, Value};

/// Messages handed on at once, at most: the table is locked for that many.
pub const BATCH: usize = 1024;

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
    /// A message.
    Published(Published<'a>),
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

    /// Hands on what has been read, a batch at most; gives how many frames it was. `visit` may end it with an error.
    ///
    /// # Errors
    ///
    /// That of `visit`; [`LinkError::Lost`] when what comes is no subscription.
    pub fn take(
        &mut self,
        mut visit: impl FnMut(Said<'_>) -> Result<(), LinkError>,
    ) -> Result<usize, LinkError> {
        for taken in 0..BATCH {
            let Some(frame) = self.reader.frame().map_err(|error| LinkError::Lost(garbled(error)))? else {
                self.is_drained = true;
                return Ok(taken);
            };
            match frame {
                Frame::Many(values) => match (values.bulk(0), values.bulk(2), values.bulk(3)) {
                    (Some(b"pmessage"), Some(channel), Some(payload)) => {
                        visit(Said::Published(Published::Message { channel, payload }))?;
                    }
                    (Some(b"pong"), ..) => visit(Said::Pong)?,
                    _ => {}
                },
                Frame::TooLong => visit(Said::Published(Published::TooLong))?,
                Frame::One(Value::Error(text)) => visit(Said::Error(text))?,
                Frame::One(_) => {}
            }
        }
        Ok(BATCH)
    }
}
