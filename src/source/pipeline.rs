//! Many short commands to one Redis: written together, while the replies to those before are read. A resync sends two for
//! each key, so millions of them, on which the client library would spend more time than Redis does.

use std::fmt;
use std::io;

use redis::RedisError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::dial::dial;
use super::error::LinkError;
use super::handshake::handshake;
use super::login::{DEADLINE, in_time};
use super::reply_error::{error_reply, protocol_error};
use super::server::RedisServer;
use crate::config::RedisSource;
use crate::net::ByteStream;
use crate::resp::{Frame, FrameLimits, Reader, RespValue, command};

/// coturn's values are shorter than 2 KiB; a longer one than this is passed over: thousands are held at a time.
const LIMITS: FrameLimits = FrameLimits { frame: 4 << 10, values: 8, ahead: 64 << 10 };

/// Opens a connection, logged in, on which all commands begin with `words`.
///
/// # Errors
///
/// [`LinkError`].
pub(super) async fn connect(
    source: &RedisSource,
    server: &RedisServer,
    words: &'static [&'static [u8]],
) -> Result<(PipelineWriter, PipelineReader), LinkError> {
    let mut stream = in_time(dial(server, source.tls.as_ref())).await??;
    let mut reader = Reader::of_replies(LIMITS);
    in_time(handshake(&mut stream, &mut reader, source, None)).await??;
    let (read, write) = split(stream);
    Ok((PipelineWriter { stream: write, words, out: Vec::new() }, PipelineReader { stream: read, reader }))
}

/// The end where commands are written.
pub struct PipelineWriter {
    stream: WriteHalf<ByteStream>,
    words: &'static [&'static [u8]],
    out: Vec<u8>,
}

impl PipelineWriter {
    /// Writes one command for each key.
    pub(super) async fn send_for<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), RedisError> {
        self.out.clear();
        let mut parts = self.words.to_vec();
        for key in keys {
            parts.truncate(self.words.len());
            parts.push(key);
            command(&mut self.out, &parts);
        }
        self.flush().await
    }

    /// Writes one command of other words.
    pub(super) async fn send_one(&mut self, words: &[&[u8]]) -> Result<(), RedisError> {
        self.out.clear();
        command(&mut self.out, words);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), RedisError> {
        within_deadline(async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        })
        .await
    }
}

impl fmt::Debug for PipelineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineWriter").finish_non_exhaustive()
    }
}

/// The end where their replies are read.
pub(super) struct PipelineReader {
    stream: ReadHalf<ByteStream>,
    reader: Reader,
}

impl PipelineReader {
    /// Reads `count` replies and gives each to `visit`, in the order of the commands; an error of `visit` ends it.
    pub(super) async fn read<E: From<RedisError>>(
        &mut self,
        count: usize,
        mut visit: impl FnMut(Reply<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut missing = count;
        while missing > 0 {
            if let Some(frame) = self.reader.frame().map_err(protocol_error)? {
                visit(Reply::of(frame))?;
                missing -= 1;
                continue;
            }
            let length = within_deadline(self.stream.read(self.reader.space())).await?;
            if length == 0 {
                return Err(RedisError::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into());
            }
            self.reader.filled(length);
        }
        Ok(())
    }
}

#[cfg(test)]
impl PipelineReader {
    /// Reads these replies, and then the end of the stream.
    pub(super) fn of(answers: &'static [u8]) -> Self {
        let stream: ByteStream = Box::new(tokio::io::join(answers, tokio::io::sink()));
        Self { stream: split(stream).0, reader: Reader::of_replies(LIMITS) }
    }
}

impl fmt::Debug for PipelineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineReader").finish_non_exhaustive()
    }
}

async fn within_deadline<T>(what: impl Future<Output = io::Result<T>>) -> Result<T, RedisError> {
    Ok(timeout(DEADLINE, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
}

/// What Redis replies to one command.
#[derive(Debug)]
pub(super) enum Reply<'a> {
    Bytes(&'a [u8]),
    Number(i64),
    Nothing,
    Error(RedisError),
    /// Longer than [`LIMITS`] allow.
    TooLong,
    /// A kind of reply that no command here has.
    Other,
}

impl<'a> Reply<'a> {
    fn of(frame: Frame<'a>) -> Self {
        match frame {
            Frame::One(RespValue::Bulk(bytes)) => Self::Bytes(bytes),
            Frame::One(RespValue::Integer(number)) => Self::Number(number),
            Frame::One(RespValue::Null) => Self::Nothing,
            Frame::One(RespValue::Error(text)) => Self::Error(error_reply(text)),
            Frame::TooLong => Self::TooLong,
            Frame::One(RespValue::Simple(_)) | Frame::Many(_) => Self::Other,
        }
    }
}
