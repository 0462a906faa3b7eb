//! Many short questions to one Redis: written together, answered one after the other. Two for each key of a resync make
//! millions, on which the client library would spend more than Redis does.

use std::fmt;
use std::io;

use redis::RedisError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::connect::{DEADLINE, Server, in_time};
use super::dial::{Duplex, dial};
use super::greet::{garbled, greet, refusal};
use super::redis::LinkError;
use crate::config::RedisSource;
use crate::resp::{Frame, Limits, Reader, Value, command};

/// coturn's values are shorter than 2 KiB; a longer one than this is passed over.
const LIMITS: Limits = Limits { frame: 64 << 10, values: 8, ahead: 64 << 10 };

/// A connection for such questions, logged in.
pub(super) struct Questions {
    stream: Box<dyn Duplex>,
    reader: Reader,
    out: Vec<u8>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    pub(super) async fn connect(source: &RedisSource, server: &Server) -> Result<Self, LinkError> {
        let mut stream = in_time(dial(server, source.tls.as_ref())).await??;
        let mut reader = Reader::of_replies(LIMITS);
        in_time(greet(&mut stream, &mut reader, source, None)).await??;
        Ok(Self { stream, reader, out: Vec::new() })
    }

    /// Asks `words` about each key; `heard` gets the answers in the order of the keys, and may end it with an error.
    pub(super) async fn ask<'a, E: From<RedisError>>(
        &mut self,
        words: &[&[u8]],
        keys: impl Iterator<Item = &'a [u8]>,
        mut heard: impl FnMut(Answer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.out.clear();
        let (mut parts, mut missing) = (words.to_vec(), 0_usize);
        for key in keys {
            parts.truncate(words.len());
            parts.push(key);
            command(&mut self.out, &parts);
            missing += 1;
        }
        let sent = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        patiently(sent).await?;
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
    /// None that was asked for, or too long a one.
    Other,
}

impl<'a> Answer<'a> {
    fn of(frame: Frame<'a>) -> Self {
        match frame {
            Frame::One(Value::Bulk(bytes)) => Self::Bytes(bytes),
            Frame::One(Value::Integer(number)) => Self::Number(number),
            Frame::One(Value::Null) => Self::Nothing,
            Frame::One(Value::Error(text)) => Self::Error(refusal(text)),
            Frame::One(Value::Simple(_)) | Frame::Many(_) | Frame::TooLong => Self::Other,
        }
    }
}
