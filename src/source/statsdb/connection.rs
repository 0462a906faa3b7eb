//! One connection of coturn: commands in, answers out, at coturn's pace and within bounds.
//!
//! coturn does not read its answers any more once it has had to connect again (all versions up to 4.17.1). So they may
//! pile up: when the system takes no more of them and 4 KiB wait here, no more are made, and its commands are taken as
//! before. A connection that has not given the password yet ends there.

use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Sleep, sleep, timeout};

use super::answer::{Client, ClientCommand, CommandRefusal};
use super::foreign::ForeignProtocol;
use super::status::ListenerStatus;
use crate::config::Secret;
use crate::net::ByteStream;
use crate::resp::{Frame, FrameLimits, Reader, write};

/// coturn's commands are shorter than 2 KiB. A thousand clients, each with a command that is not whole and answers that it
/// does not read, stay below 64 MiB.
const LIMITS: FrameLimits = FrameLimits { frame: 4 << 10, values: 64, ahead: 8 << 10 };

/// Bytes of answers that wait for the other end to read them.
const UNREAD: usize = 4 << 10;

/// How long the answer to a wrong password takes. Nothing is read meanwhile, so that guesses take time.
const WRONG_PASSWORD: Duration = Duration::from_secs(1);

/// Commands handed on at once, at most: the table is locked for that many.
const BATCH: usize = 1024;

/// How long the other end may leave so many answers unread. Nothing is read from it meanwhile.
const DEAF_AFTER: Duration = Duration::from_secs(1);

/// How long the last answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Why a connection was closed, or not taken at all. The names are label values: few, and fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// There was no room, and all that were open had logged in.
    Full,
    /// It had not logged in, and made room for another.
    GaveWay,
    /// It did not log in, or say a first command, in time.
    Silent,
    /// It did not read its answers, and had not logged in.
    Unread,
}

impl ConnectionRefusal {
    /// Every reason, in the order of its discriminant.
    pub const ALL: [Self; 4] = [Self::Full, Self::GaveWay, Self::Silent, Self::Unread];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::GaveWay => "gave_way",
            Self::Silent => "silent",
            Self::Unread => "unread",
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnected {
    /// The other end closed it, in good order or not.
    ByThem,
    /// We did: it did not speak the protocol.
    ByUs,
    /// We did: it did not read its answers, and had not logged in.
    Unread,
    /// Nobody did; its other end is not there any more.
    Lost,
}

/// One connection of coturn, or of any other client of the listener.
pub struct Connection {
    input: ReadHalf<ByteStream>,
    output: WriteHalf<ByteStream>,
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
    /// A wrong password was given: nothing is read or sent until this is over.
    held: Option<Pin<Box<Sleep>>>,
    /// What it seems to speak, by its first bytes.
    speaks: Option<ForeignProtocol>,
    /// It was cut off for what it speaks, and nobody has asked yet.
    foreign: Option<ForeignProtocol>,
    /// It ends so when the answers are out.
    ending: Option<Disconnected>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(stream: ByteStream, password: Option<Secret>, status: Arc<ListenerStatus>) -> Self {
        let (input, output) = tokio::io::split(stream);
        Self {
            input,
            output,
            reader: Reader::of_commands(LIMITS),
            client: Client::new(password, status),
            answers: Vec::new(),
            sent: 0,
            must_flush: false,
            is_deaf: false,
            is_drained: true,
            held: None,
            speaks: None,
            foreign: None,
            ending: None,
        }
    }

    /// What it speaks, if it was cut off for that since this was last asked.
    pub const fn take_foreign(&mut self) -> Option<ForeignProtocol> {
        self.foreign.take()
    }

    /// Whether it has logged in, or, where no password is asked for, has said a command that is done here.
    pub const fn is_accepted(&self) -> bool {
        self.client.is_accepted()
    }

    /// Waits until there may be something to [take](Self::take), and sends answers meanwhile.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub async fn ready(&mut self) -> Result<(), Disconnected> {
        if let Some(held) = &mut self.held {
            held.as_mut().await;
            self.held = None;
        }
        self.relieve().await;
        while self.is_drained {
            if let Some(ending) = self.ending {
                let rest = self.answers.split_off(self.sent);
                let last_answer = async {
                    self.output.write_all(&rest).await?;
                    self.output.shutdown().await
                };
                // It does not matter whether the client reads it.
                let _ = timeout(LAST_ANSWER, last_answer).await;
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
                    // It has said all; the answers that it waits for are not all out yet.
                    Ok(0) => self.ending = Some(Disconnected::ByThem),
                    Ok(length) => {
                        if self.speaks.is_none() {
                            let bytes = self.reader.space().get(..length).unwrap_or_default();
                            self.speaks = Some(ForeignProtocol::of(bytes));
                        }
                        self.reader.filled(length);
                        self.is_drained = false;
                    }
                    Err(error) => return Err(ended_by(&error)),
                },
                written = writing, if has_more => match written {
                    Ok(length) => {
                        self.must_flush = length > 0;
                        self.was_sent(length);
                    }
                    // What the other end said before it went is still to be read.
                    Err(_) => self.fall_silent(),
                },
            }
        }
        Ok(())
    }

    /// Answers what has been read and hands it on, a batch at most, with whether the client is accepted by then; gives
    /// how much it was.
    pub fn take(&mut self, visit: impl FnMut(ClientCommand<'_>, bool)) -> usize {
        self.take_up_to(BATCH, visit)
    }

    /// As [`Self::take`], but one command at most.
    pub fn take_one(&mut self, visit: impl FnMut(ClientCommand<'_>, bool)) -> usize {
        self.take_up_to(1, visit)
    }

    fn take_up_to(&mut self, most: usize, mut visit: impl FnMut(ClientCommand<'_>, bool)) -> usize {
        for taken in 0..most {
            if self.ending.is_some() {
                self.is_drained = true;
                return taken;
            }
            // Before more is answered, the system gets what waits.
            if self.held.is_some() || self.unread() > UNREAD {
                return taken;
            }
            let mut ignored = Vec::new();
            let out = if self.is_deaf { &mut ignored } else { &mut self.answers };
            let (command, is_over) = match self.reader.frame() {
                Ok(Some(Frame::Many(words))) => {
                    let command = self.client.answer(&words, out);
                    (command, command == ClientCommand::Bye)
                }
                Ok(Some(Frame::TooLong | Frame::One(_))) => {
                    write::error(out, "ERR the command is too long");
                    (self.client.said_no_command(CommandRefusal::TooLong), false)
                }
                Ok(None) => {
                    self.is_drained = true;
                    return taken;
                }
                Err(error) => {
                    write::error(out, &format!("ERR Protocol error: {error}"));
                    self.ending = Some(Disconnected::ByUs);
                    (self.client.said_no_command(CommandRefusal::Malformed), false)
                }
            };
            if is_over {
                self.ending = Some(Disconnected::ByThem);
            }
            match command {
                ClientCommand::Foreign(reason) => {
                    let http = (reason == CommandRefusal::Attack).then_some(ForeignProtocol::Http);
                    self.foreign = http.or(self.speaks).or(Some(ForeignProtocol::Other));
                    self.ending = Some(Disconnected::ByUs);
                }
                ClientCommand::Refused(CommandRefusal::Password) => {
                    self.held = Some(Box::pin(sleep(WRONG_PASSWORD)));
                }
                _ => {}
            }
            visit(command, self.client.is_accepted());
        }
        most
    }

    /// Sends the answers that wait, while nothing is read. May be dropped and called again.
    pub async fn send_answers(&mut self) {
        while self.unread() > 0 || self.must_flush {
            let unsent = self.answers.get(self.sent..).unwrap_or_default();
            let written = if unsent.is_empty() {
                self.output.flush().await.map(|()| 0)
            } else {
                self.output.write(unsent).await
            };
            match written {
                Ok(length) => {
                    self.must_flush = length > 0;
                    self.was_sent(length);
                }
                // What the other end said before it went is still to be read.
                Err(_) => self.fall_silent(),
            }
        }
    }

    const fn unread(&self) -> usize {
        self.answers.len() - self.sent
    }

    /// Where many answers wait: gives the system some of them. If it takes none for a while, the other end does not read.
    async fn relieve(&mut self) {
        while self.unread() > UNREAD && self.ending.is_none() {
            let unsent = self.answers.get(self.sent..).unwrap_or_default();
            if let Ok(Ok(length @ 1..)) = timeout(DEAF_AFTER, self.output.write(unsent)).await {
                self.must_flush = true;
                self.was_sent(length);
                continue;
            }
            // Not the answers, but that nobody reads them, is remembered.
            self.fall_silent();
            if self.client.must_log_in() {
                self.ending = Some(Disconnected::Unread);
            }
        }
    }

    /// So many bytes of the answers went out. They are not held for long: a client that always leaves some unread must
    /// not make the buffer grow.
    fn was_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.answers.len() {
            (self.answers, self.sent) = (Vec::new(), 0);
        } else if self.sent >= self.answers.len() / 2 {
            self.answers.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn fall_silent(&mut self) {
        self.is_deaf = true;
        self.must_flush = false;
        (self.answers, self.sent) = (Vec::new(), 0);
    }
}

fn ended_by(error: &io::Error) -> Disconnected {
    match error.kind() {
        // The last: TLS that ended without a word.
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Disconnected::ByThem,
        ErrorKind::InvalidData => Disconnected::ByUs,
        _ => Disconnected::Lost,
    }
}

#[cfg(test)]
mod tests;
