//! Captures: a recorded stream as JSON Lines, one message a line. Reads and writes lines; judges no message.
//!
//! ```json
//! {"t":12.345,"channel":"turn/realm/example.org/user/alice/allocation/001000000000000001/status","payload":"new lifetime=600"}
//! ```
//!
//! `t` is the time in seconds, on whatever time line the recorder had. A channel or payload that is not UTF-8 is written
//! as `channel_b64` or `payload_b64`, in base64 (standard alphabet, padded). Fields with other names are ignored.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The longest line that is read, in bytes, its newline not counted.
pub const MAX_LINE: u64 = 1024 * 1024;

/// One message of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When it came, on the capture's time line.
    pub at: Timestamp,
    /// The channel, as sent.
    pub channel: Vec<u8>,
    /// The payload, as sent.
    pub payload: Vec<u8>,
}

/// A line that is no message, or a file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct CaptureError {
    /// The name of the capture.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: CaptureProblem,
}

/// What is wrong with a line of a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureProblem {
    /// The file cannot be read (on).
    #[error("cannot read on: {0}")]
    Io(io::Error),
    /// More than [`MAX_LINE`] bytes.
    #[error("the line is longer than {MAX_LINE} bytes; is this a capture?")]
    TooLong,
    /// Not a JSON object, or a field of another type.
    #[error("not a JSON object with t, channel and payload: {}", without_place(.0))]
    Json(serde_json::Error),
    /// Neither the field nor its base64 form.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The field in both forms.
    #[error("{0} is there twice, as text and as base64; keep one")]
    Twice(&'static str),
    /// Broken base64.
    #[error("{0}_b64 is not base64: {1}")]
    Base64(&'static str, base64::DecodeError),
    /// A time that cannot be one.
    #[error("t is {0}; it must be in seconds, not negative, and before the year 10000")]
    Time(f64),
}

/// What is wrong, without serde's place: it read one line only, which it calls line 1.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// A line, as JSON has it.
#[derive(Deserialize, Serialize)]
#[serde(expecting = "an object")]
struct CaptureLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<f64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    channel_b64: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    payload_b64: Option<Cow<'a, str>>,
}

/// Reads a capture, message by message.
///
/// Blank lines are skipped. After a bad line the next one can be read; after an I/O error nothing can.
#[derive(Debug)]
pub struct CaptureReader<R> {
    input: R,
    file: String,
    line: u64,
    buffer: Vec<u8>,
    broken: bool,
}

/// The lines of a capture, which may be packed with gzip: that shows in its first two bytes, whatever its name.
///
/// # Errors
///
/// What reading the first bytes gave.
pub fn unpacked<'a>(mut file: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if file.fill_buf()?.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

impl<R: BufRead> CaptureReader<R> {
    /// Reads from `input`, which errors call `file`.
    pub fn new(input: R, file: impl Into<String>) -> Self {
        Self { input, file: file.into(), line: 0, buffer: Vec::new(), broken: false }
    }

    /// Reads a line into the buffer; `false` at the end.
    fn read_line(&mut self) -> Result<bool, CaptureProblem> {
        self.line += 1;
        self.buffer.clear();
        let mut bounded = self.input.by_ref().take(MAX_LINE + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer).map_err(CaptureProblem::Io)?;
        if read as u64 > MAX_LINE && self.buffer.last() != Some(&b'\n') {
            self.buffer.clear();
            self.input.skip_until(b'\n').map_err(CaptureProblem::Io)?;
            return Err(CaptureProblem::TooLong);
        }
        Ok(read > 0)
    }

    fn error(&self, problem: CaptureProblem) -> CaptureError {
        CaptureError { file: self.file.clone(), line: self.line, problem }
    }
}

impl<R: BufRead> Iterator for CaptureReader<R> {
    type Item = Result<Captured, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            match self.read_line() {
                Ok(false) => break,
                Ok(true) if self.buffer.trim_ascii().is_empty() => {}
                Ok(true) => return Some(parse(&self.buffer).map_err(|problem| self.error(problem))),
                Err(problem) => {
                    self.broken = matches!(problem, CaptureProblem::Io(_));
                    return Some(Err(self.error(problem)));
                }
            }
        }
        None
    }
}

fn parse(line: &[u8]) -> Result<Captured, CaptureProblem> {
    let line: CaptureLine<'_> = serde_json::from_slice(line).map_err(CaptureProblem::Json)?;
    let t = line.t.ok_or(CaptureProblem::Missing("t"))?;
    Ok(Captured {
        at: Timestamp::from_secs_f64(t).ok_or(CaptureProblem::Time(t))?,
        channel: bytes("channel", line.channel, line.channel_b64)?,
        payload: bytes("payload", line.payload, line.payload_b64)?,
    })
}

fn bytes(
    name: &'static str,
    text: Option<Cow<'_, str>>,
    encoded: Option<Cow<'_, str>>,
) -> Result<Vec<u8>, CaptureProblem> {
    match (text, encoded) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(encoded)) => {
            BASE64.decode(encoded.as_bytes()).map_err(|error| CaptureProblem::Base64(name, error))
        }
        (None, None) => Err(CaptureProblem::Missing(name)),
        (Some(_), Some(_)) => Err(CaptureProblem::Twice(name)),
    }
}

/// Writes a capture, message by message. It does not buffer: each message is one write of one whole line.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    output: W,
    buffer: Vec<u8>,
}

impl<W: Write> CaptureWriter<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> Self {
        Self { output, buffer: Vec::new() }
    }

    /// Writes one message as one line.
    ///
    /// # Errors
    ///
    /// What `output` says; `InvalidInput` for a time past the year 9999, which no reader would take.
    pub fn write(&mut self, at: Timestamp, channel: &[u8], payload: &[u8]) -> io::Result<()> {
        let t = at.as_secs_f64();
        if Timestamp::from_secs_f64(t).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a capture cannot hold t = {t}"),
            ));
        }
        let (channel, channel_b64) = text_or_base64(channel);
        let (payload, payload_b64) = text_or_base64(payload);
        self.buffer.clear();
        let line = CaptureLine { t: Some(t), channel, channel_b64, payload, payload_b64 };
        serde_json::to_writer(&mut self.buffer, &line)?;
        self.buffer.push(b'\n');
        self.output.write_all(&self.buffer)
    }

    /// Hands on what `output` holds back.
    ///
    /// # Errors
    ///
    /// What `output` says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Gives `output` back.
    pub fn into_inner(self) -> W {
        self.output
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(BASE64.encode(bytes).into())),
    }
}

#[cfg(test)]
mod tests;
