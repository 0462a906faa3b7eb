//! Many short questions to one Redis: written together, while the answers to those before are read. Two for each key of a
//! resync make millions, on which the client library would spend more than Redis does.

use std::fmt;
use std::io;

use redis::RedisError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::connect::{DEADLINE, Server, in_time};
use super::dial::{Duplex, dial};
use super::greet::{garbled, greet, refusal};
use super::redis::LinkError;
use crate::config::RedisSource;
use crate::resp::{Frame, Limits, Reader, Value, command};

/// coturn's values are shorter than 2 KiB; a longer one than this is passed over.
const LIMITS: Limits = Limits { frame: 64 << 10, values: 8, ahead: 64 << 10 };

/// Opens a connection, logged in, on which all questions begin with `words`.
///
/// # Errors
///
/// [`LinkError`].
pub(super) async fn connect(
    source: &RedisSource,
    server: &Server,
    words: &'static [&'static [u8]],
) -> Result<(Asking, Hearing), LinkError> {
    let mut stream = in_time(dial(server, source.tls.as_ref())).await??;
    let mut reader = Reader::of_replies(LIMITS);
    in_time(greet(&mut stream, &mut reader, source, None)).await??;
    let (read, write) = split(stream);
    Ok((Asking { stream: write, words, out: Vec::new() }, Hearing { stream: read, reader }))
}

/// The end where questions are written.
pub struct Asking {
    stream: WriteHalf<Box<dyn Duplex>>,
    words: &'static [&'static [u8]],
    out: Vec<u8>,
}

impl Asking {
    pub(super) async fn ask<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<(), RedisError> {
        self.out.clear();
        let mut parts = self.words.to_vec();
        for key in keys {
            parts.truncate(self.words.len());
            parts.push(key);
            command(&mut self.out, &parts);
        }
        self.send().await
    }

    /// Writes one of other words.
    pub(super) async fn ask_once(&mut self, words: &[&[u8]]) -> Result<(), RedisError> {
        self.out.clear();
        command(&mut self.out, words);
        self.send().await
    }

    async fn send(&mut self) -> Result<(), RedisError> {
        patiently(async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        })
        .await
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

/// The end where the answers are read.
pub(super) struct Hearing {
    stream: ReadHalf<Box<dyn Duplex>>,
    reader: Reader,
}

impl Hearing {
    /// Gives so `many` answers to `heard`, in the order of the questions; it may end it with an error.
    pub(super) async fn hear<E: From<RedisError>>(
        &mut self,
        many: usize,
        mut heard: impl FnMut(Answer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut missing = many;
        while missing > 0 {
            if let Some(frame) = self.reader.frame().map_err(garbled)? {
                heard(Answer::of(frame))?;
                missing -= 1;
                continue;
            }
            let length = patiently(self.stream.read(self.reader.space())).await?;
            if length == 0 {
                return Err(RedisError::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into());
            }
            self.reader.filled(length);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Hearing {
    /// Hears what is said here, and then nothing.
    pub(super) fn of(answers: &'static [u8]) -> Self {
        let stream: Box<dyn Duplex> = Box::new(tokio::io::join(answers, tokio::io::sink()));
        Self { stream: split(stream).0, reader: Reader::of_replies(LIMITS) }
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}

async fn patiently<T>(what: impl Future<Output = io::Result<T>>) -> Result<T, RedisError> {
    Ok(timeout(DEADLINE, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
}

/// What Redis says to one question.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    Bytes(&'a [u8]),
    Number(i64),
    Nothing,
    Error(RedisError),
    /// More than is kept.
    TooLong,
    /// What no question here asks for.
    Other,
}

impl<'a> Answer<'a> {
    fn of(frame: Frame<'a>) -> Self {
        match frame {
            Frame::One(Value::Bulk(bytes)) => Self::Bytes(bytes),
            Frame::One(Value::Integer(number)) => Self::Number(number),
            Frame::One(Value::Null) => Self::Nothing,
            Frame::One(Value::Error(text)) => Self::Error(refusal(text)),
            Frame::TooLong => Self::TooLong,
            Frame::One(Value::Simple(_)) | Frame::Many(_) => Self::Other,
        }
    }
}
