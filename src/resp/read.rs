//! The frame reader: a buffer that a socket fills and that frames are read out of, in place. It can be stopped and gone
//! on with at every byte.
//!
//! A frame is one value or an array of values; arrays within arrays are not spoken here.

use std::ops::Range;

use super::error::ProtocolError;
use super::line::{MAX_LINE, length, line, number_line, short_header};

/// What Redis itself takes for a value, and so announces (`proto-max-bulk-len`).
const MAX_BULK: i64 = 512 << 20;

/// What Redis itself takes for a command.
const MAX_ELEMENTS: i64 = 1 << 20;

/// The first piece of memory that is asked for.
const FIRST_BUFFER: usize = 4096;

/// How much of the buffer must be free to read into.
const LEAST_SPACE: usize = 1024;

/// What is kept of a frame at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a frame, its headers included. A longer one is skipped.
    pub frame: usize,
    /// Values in an array. A frame with more of them is skipped too.
    pub values: usize,
    /// Bytes that are read ahead of a frame; the buffer never grows over both and a line.
    pub ahead: usize,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespValue<'a> {
    /// A status, such as `OK`.
    Simple(&'a [u8]),
    /// An error with its code, such as `NOAUTH Authentication required.`.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(&'a [u8]),
    /// Nothing.
    Null,
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A value by itself.
    One(RespValue<'a>),
    /// An array.
    Many(RespValues<'a>),
    /// Something over the [`FrameLimits`], which is gone.
    TooLong,
}

/// Where bytes stand in a reader's buffer, until more is read into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

/// The values of an array.
#[derive(Clone, Copy, Debug)]
pub struct RespValues<'a> {
    bytes: &'a [u8],
    pieces: &'a [Piece],
    /// Where the frame begins in the buffer.
    from: usize,
}

impl<'a> RespValues<'a> {
    /// The frame as it came.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The value at a place.
    pub fn get(&self, place: usize) -> Option<RespValue<'a>> {
        self.pieces.get(place).map(|piece| piece.value(self.bytes))
    }

    /// The bytes at a place, if they are a [`RespValue::Bulk`].
    pub fn bulk(&self, place: usize) -> Option<&'a [u8]> {
        match self.get(place) {
            Some(RespValue::Bulk(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Where those stand that [`Self::bulk`] gives: [`Reader::at`] gives them too, while other frames are read.
    pub fn span(&self, place: usize) -> Option<Span> {
        match self.pieces.get(place) {
            Some(Piece::Bulk(range)) => {
                Some(Span { start: self.from + range.start, end: self.from + range.end })
            }
            _ => None,
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = RespValue<'a>> + use<'a> {
        let bytes = self.bytes;
        self.pieces.iter().map(move |piece| piece.value(bytes))
    }
}

/// A value by its place in the frame.
#[derive(Clone, Debug)]
enum Piece {
    Simple(Range<usize>),
    Error(Range<usize>),
    Integer(i64),
    Bulk(Range<usize>),
    Null,
}

impl Piece {
    fn value<'a>(&self, frame: &'a [u8]) -> RespValue<'a> {
        let slice = |range: &Range<usize>| frame.get(range.clone()).unwrap_or_default();
        match self {
            Self::Simple(range) => RespValue::Simple(slice(range)),
            Self::Error(range) => RespValue::Error(slice(range)),
            Self::Integer(number) => RespValue::Integer(*number),
            Self::Bulk(range) => RespValue::Bulk(slice(range)),
            Self::Null => RespValue::Null,
        }
    }
}

/// Where the reader is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    /// At its first byte.
    Start,
    /// In an array, with so many values to come; those before are in `pieces`, up to the offset.
    Within {
        missing: usize,
        at: usize,
    },
    /// In a frame that is too long, with so many values to come.
    Over {
        missing: usize,
    },
    /// In a value of such a frame: its bytes to come, then its line's end.
    OverValue {
        bytes: usize,
        missing: usize,
    },
    Failed(ProtocolError),
}

/// What stands at a place in the buffer.
enum Element {
    /// Not all of it is there.
    Partial,
    /// A value that ends there.
    Whole(Piece, usize),
    /// A value whose bytes begin at `body` and would take the frame over its limit.
    TooLong { body: usize, bytes: usize },
}

/// A buffer that a socket fills, and the frames in it.
#[derive(Debug)]
pub struct Reader {
    limits: FrameLimits,
    /// Commands come: arrays of bulks, or lines by hand.
    of_commands: bool,
    buffer: Vec<u8>,
    /// The frame that is being read.
    start: usize,
    /// What has been read into the buffer.
    end: usize,
    /// The last reading filled the buffer.
    is_short: bool,
    place: ReadState,
    pieces: Vec<Piece>,
}

impl Reader {
    /// Reads what a server sends.
    pub const fn of_replies(limits: FrameLimits) -> Self {
        Self::new(limits, false)
    }

    /// Reads what a client sends: each frame is a [`Frame::Many`], or was too long. A line without an array is a command
    /// by hand, its words between blanks.
    pub const fn of_commands(limits: FrameLimits) -> Self {
        Self::new(limits, true)
    }

    const fn new(limits: FrameLimits, of_commands: bool) -> Self {
        Self {
            limits,
            of_commands,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            is_short: false,
            place: ReadState::Start,
            pieces: Vec::new(),
        }
    }

    /// Where more bytes may be put; never empty when [`Self::frame`] has given all there was.
    pub fn space(&mut self) -> &mut [u8] {
        let held = self.end - self.start;
        if self.start > 0 && (held == 0 || self.buffer.len() - self.end < LEAST_SPACE) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        // A reading that filled it says that more was waiting.
        if self.is_short || self.buffer.len() - self.end < LEAST_SPACE {
            let most = self.limits.frame + MAX_LINE + self.limits.ahead;
            let more = (self.buffer.len() * 2).max(FIRST_BUFFER);
            self.buffer.resize(more.min(most).max(self.buffer.len()), 0);
            self.is_short = false;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// What stands there; only as long as [`Self::space`] was not asked for since.
    pub fn at(&self, span: Span) -> &[u8] {
        self.buffer.get(span.start..span.end).unwrap_or_default()
    }

    /// So many bytes have been put there.
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
        self.is_short = self.end == self.buffer.len();
    }

    /// The next frame; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`], now and at every call after it.
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, ProtocolError> {
        match self.advance() {
            Ok(Some(Read { from, kind })) => {
                let frame = self.buffer.get(from..self.start).unwrap_or_default();
                Ok(Some(match kind {
                    FrameKind::TooLong => Frame::TooLong,
                    FrameKind::Many => Frame::Many(RespValues { bytes: frame, pieces: &self.pieces, from }),
                    FrameKind::One => {
                        Frame::One(self.pieces.first().map_or(RespValue::Null, |one| one.value(frame)))
                    }
                }))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.place = ReadState::Failed(error);
                Err(error)
            }
        }
    }

    /// Goes on to the end of the frame, if it is there. One loop with one arm for each state, so that a frame can be left at any
    /// byte and taken up there; it is long because the states are many, and each arm is short. `at_once` spares nearly every
    /// frame this way.
    fn advance(&mut self) -> Result<Option<Read>, ProtocolError> {
        loop {
            match self.place {
                ReadState::Failed(error) => return Err(error),
                ReadState::Start => {
                    self.pieces.clear();
                    if let Some(read) = self.at_once() {
                        return Ok(Some(read));
                    }
                    self.pieces.clear();
                    let Some(&kind) = self.unread().first() else { return Ok(None) };
                    if kind == b'*' {
                        let Some((count, header)) = number_line(self.unread())? else { return Ok(None) };
                        if self.of_commands && count <= 0 {
                            self.start += header;
                            continue;
                        }
                        if count == -1 {
                            return Ok(Some(self.one(Piece::Null, header)));
                        }
                        let missing = length(count, MAX_ELEMENTS)?;
                        if missing > self.limits.values {
                            self.start += header;
                            self.place = ReadState::Over { missing };
                        } else {
                            self.place = ReadState::Within { missing, at: header };
                        }
                        continue;
                    }
                    if self.of_commands {
                        return self.by_hand();
                    }
                    match self.element(0)? {
                        Element::Partial => return Ok(None),
                        Element::Whole(piece, length) => return Ok(Some(self.one(piece, length))),
                        Element::TooLong { body, bytes } => {
                            self.start += body;
                            self.place = ReadState::OverValue { bytes, missing: 0 };
                        }
                    }
                }
                ReadState::Within { missing: 0, at } => return Ok(Some(self.done(at, FrameKind::Many))),
                ReadState::Within { missing, at } => match self.element(at)? {
                    Element::Partial => return Ok(None),
                    // Lines are short, but there may be many.
                    Element::Whole(_, next) if next > self.limits.frame => {
                        self.start += next;
                        self.place = ReadState::Over { missing: missing - 1 };
                    }
                    Element::Whole(piece, next) => {
                        self.pieces.push(piece);
                        self.place = ReadState::Within { missing: missing - 1, at: next };
                    }
                    Element::TooLong { body, bytes } => {
                        self.start += body;
                        self.place = ReadState::OverValue { bytes, missing: missing - 1 };
                    }
                },
                ReadState::Over { missing: 0 } => return Ok(Some(self.done(0, FrameKind::TooLong))),
                ReadState::Over { missing } => match self.element(0)? {
                    Element::Partial => return Ok(None),
                    Element::Whole(_, next) => {
                        self.start += next;
                        self.place = ReadState::Over { missing: missing - 1 };
                    }
                    Element::TooLong { body, bytes } => {
                        self.start += body;
                        self.place = ReadState::OverValue { bytes, missing: missing - 1 };
                    }
                },
                ReadState::OverValue { bytes: 0, missing } => {
                    match self.unread() {
                        [b'\r', b'\n', ..] => {}
                        [] | [b'\r'] => return Ok(None),
                        _ => return Err(ProtocolError::LineEnd),
                    }
                    self.start += 2;
                    self.place = ReadState::Over { missing };
                }
                ReadState::OverValue { bytes, missing } => {
                    let passed = bytes.min(self.end - self.start);
                    if passed == 0 {
                        return Ok(None);
                    }
                    self.start += passed;
                    self.place = ReadState::OverValue { bytes: bytes - passed, missing };
                }
            }
        }
    }

    /// A frame of bulks that is all there: nearly each. Everything else is left for the slow way, errors included.
    fn at_once(&mut self) -> Option<Read> {
        let unread = self.buffer.get(self.start..self.end)?;
        let (count, mut at) = short_header(b'*', unread)?;
        if count == 0 || count > self.limits.values {
            return None;
        }
        for _ in 0..count {
            let (bytes, header) = short_header(b'$', unread.get(at..)?)?;
            let body = at + header;
            let end = body + bytes;
            let [b'\r', b'\n', ..] = unread.get(end..)? else { return None };
            self.pieces.push(Piece::Bulk(body..end));
            at = end + 2;
        }
        (at <= self.limits.frame).then(|| self.done(at, FrameKind::Many))
    }

    /// A command of one line.
    fn by_hand(&mut self) -> Result<Option<Read>, ProtocolError> {
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let seen = rest.get(..MAX_LINE).unwrap_or(rest);
        let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
            return if seen.len() == MAX_LINE { Err(ProtocolError::Line) } else { Ok(None) };
        };
        let mut from = 0;
        for word in rest.get(..end).unwrap_or_default().split(u8::is_ascii_whitespace) {
            if !word.is_empty() {
                self.pieces.push(Piece::Bulk(from..from + word.len()));
            }
            from += word.len() + 1;
        }
        Ok(Some(self.done(end + 1, FrameKind::Many)))
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn one(&mut self, piece: Piece, length: usize) -> Read {
        self.pieces.push(piece);
        self.done(length, FrameKind::One)
    }

    fn done(&mut self, length: usize, kind: FrameKind) -> Read {
        let from = self.start;
        self.start += length;
        self.place = ReadState::Start;
        Read { from, kind }
    }

    /// What stands `at` bytes into the frame.
    fn element(&self, at: usize) -> Result<Element, ProtocolError> {
        let rest = self.unread().get(at..).unwrap_or_default();
        let Some(&kind) = rest.first() else { return Ok(Element::Partial) };
        match kind {
            b'$' => {
                let Some((count, header)) = number_line(rest)? else { return Ok(Element::Partial) };
                if count == -1 && !self.of_commands {
                    return Ok(Element::Whole(Piece::Null, at + header));
                }
                let bytes = length(count, MAX_BULK)?;
                let body = at + header;
                let end = body + bytes;
                if end + 2 > self.limits.frame {
                    return Ok(Element::TooLong { body, bytes });
                }
                match self.unread().get(end..).unwrap_or_default() {
                    [b'\r', b'\n', ..] => Ok(Element::Whole(Piece::Bulk(body..end), end + 2)),
                    [] | [b'\r'] => Ok(Element::Partial),
                    _ => Err(ProtocolError::LineEnd),
                }
            }
            other if self.of_commands => Err(ProtocolError::Type(other)),
            b':' => Ok(match number_line(rest)? {
                Some((number, length)) => Element::Whole(Piece::Integer(number), at + length),
                None => Element::Partial,
            }),
            b'+' | b'-' => {
                let Some(length) = line(rest, MAX_LINE)? else { return Ok(Element::Partial) };
                let text = at + 1..at + length - 2;
                let piece = if kind == b'+' { Piece::Simple(text) } else { Piece::Error(text) };
                Ok(Element::Whole(piece, at + length))
            }
            other => Err(ProtocolError::Type(other)),
        }
    }
}

/// A frame that has been read.
struct Read {
    from: usize,
    kind: FrameKind,
}

enum FrameKind {
    One,
    Many,
    TooLong,
}
