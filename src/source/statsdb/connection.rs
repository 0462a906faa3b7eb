//! One connection of coturn: commands in, answers out, at coturn's pace and within bounds.
//!
//! coturn does not read its answers any more once it has had to connect again (all versions up to 4.17.1). So they may
//! pile up: when the system takes no more of them and 256 KiB wait here, no more are made, and it is listened to as
//! before.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::answer::{Client, Heard, Refusal};
use super::standing::Standing;
use crate::config::Secret;
use crate::resp::{Frame, Limits, Reader, write};
use crate::source::dial::Duplex;

/// coturn's commands are shorter than 2 KiB.
const LIMITS: Limits = Limits { frame: 64 << 10, values: 64, ahead: 64 << 10 };

/// Answers that wait for the other end to read them.
const UNREAD: usize = 256 << 10;

/// Commands handed on at once, at most: the table is locked for that many.
const BATCH: usize = 1024;

/// How long the last answer may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other end closed it, in good order or not.
    ByThem,
    /// We did: it did not speak the protocol.
    ByUs,
    /// Nobody did; its other end is not there any more.
    Lost,
}

/// See the head of the file.
pub struct Connection {
    input: ReadHalf<Box<dyn Duplex>>,
    output: WriteHalf<Box<dyn Duplex>>,
    reader: Reader,
    client: Client,
    /// Answers, up to `sent` on their way.
    answers: Vec<u8>,
    sent: usize,
    must_flush: bool,
    /// The other end reads no answers.
    is_deaf: bool,
    /// All that has been read is handed on, but for the beginning of a command.
    is_drained: bool,
    /// It ends so when the answers are out.
    ending: Option<Ended>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Duplex>, password: Option<Secret>, standing: Arc<Standing>) -> Self {
        let (input, output) = tokio::io::split(stream);
        Self {
            input,
            output,
            reader: Reader::of_commands(LIMITS),
            client: Client::new(password, standing),
            answers: Vec::new(),
            sent: 0,
            must_flush: false,
            is_deaf: false,
            is_drained: true,
            ending: None,
        }
    }

    /// Waits until there may be something to [take](Self::take), and sends answers meanwhile.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub async fn ready(&mut self) -> Result<(), Ended> {
        while self.is_drained {
            if let Some(ending) = self.ending {
                let rest = self.answers.split_off(self.sent);
                let farewell = async {
                    self.output.write_all(&rest).await?;
                    self.output.shutdown().await
                };
                // Whether it is heard does not matter.
                let _ = timeout(FAREWELL, farewell).await;
                return Err(ending);
            }
            let unsent = self.answers.get(self.sent..).unwrap_or_default();
            let has_more = !unsent.is_empty() || self.must_flush;
            let output = &mut self.output;
            // Gives how much of it was written; nothing is left to write when it flushes.
            let writing = async {
                if unsent.is_empty() { output.flush().await.map(|()| 0) } else { output.write(unsent).await }
            };
            tokio::select! {
                read = self.input.read(self.reader.space()) => match read {
                    Ok(0) => return Err(Ended::ByThem),
                    Ok(length) => {
                        self.reader.filled(length);
                        self.is_drained = false;
                    }
                    Err(error) => return Err(ended_by(&error)),
                },
                written = writing, if has_more => match written {
                    Ok(length) => {
                        self.must_flush = length > 0;
                        self.sent += length;
                        if self.sent >= self.answers.len() {
                            (self.answers, self.sent) = (Vec::new(), 0);
                        }
                    }
                    // What the other end said before it went is still to be read.
                    Err(_) => self.fall_silent(),
                },
            }
        }
        Ok(())
    }

    /// Answers what has been read and hands it on with its bytes, a batch at most; gives how much it was.
    pub fn take(&mut self, mut visit: impl FnMut(Heard<'_>, &[u8])) -> usize {
        for taken in 0..BATCH {
            if self.ending.is_some() {
                self.is_drained = true;
                return taken;
            }
            let mut ignored = Vec::new();
            let out = if self.is_deaf { &mut ignored } else { &mut self.answers };
            match self.reader.frame() {
                Ok(Some(Frame::Many(words))) => {
                    let heard = self.client.answer(&words, out);
                    if heard == Heard::Bye {
                        self.ending = Some(Ended::ByThem);
                    }
                    visit(heard, words.bytes());
                }
                Ok(Some(Frame::TooLong | Frame::One(_))) => {
                    write::error(out, "ERR the command is too long");
                    visit(Heard::Refused(Refusal::TooLong), &[]);
                }
                Ok(None) => {
                    self.is_drained = true;
                    return taken;
                }
                Err(error) => {
                    write::error(out, &format!("ERR Protocol error: {error}"));
                    visit(Heard::Refused(Refusal::Malformed), &[]);
                    self.ending = Some(Ended::ByUs);
                }
            }
            // Not the answers, but that nobody reads them, is remembered.
            self.is_deaf |= self.answers.len() - self.sent > UNREAD;
        }
        BATCH
    }

    fn fall_silent(&mut self) {
        self.is_deaf = true;
        self.must_flush = false;
        (self.answers, self.sent) = (Vec::new(), 0);
    }
}

fn ended_by(error: &io::Error) -> Ended {
    match error.kind() {
        // The last: TLS that ended without a word.
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Ended::ByThem,
        ErrorKind::InvalidData => Ended::ByUs,
        _ => Ended::Lost,
    }
}

#[cfg(test)]
mod tests;
