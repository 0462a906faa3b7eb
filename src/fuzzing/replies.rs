//! The protocol of Redis: what a server sends and what a client sends, whole and in pieces, and the limits on a reply.

use super::choices::{Choices, pieces};
use crate::resp::{
    Frame, FrameLimits, ProtocolError, Reader, ReplyBounds, ReplyLimits, RespValue, RespValues,
};

const LIMITS: FrameLimits = FrameLimits { frame: 256, values: 8, ahead: 64 };

/// What a line may have over the limit of a frame.
const LINE: usize = 4096;

const REPLY: ReplyLimits = ReplyLimits { bytes: 200, values: 20, inner: 5 };

/// A value with its bytes.
#[derive(Clone, Debug, PartialEq)]
enum CopiedValue {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
}

/// A frame with its bytes.
#[derive(Clone, Debug, PartialEq)]
enum CopiedFrame {
    One(CopiedValue),
    Many(Vec<CopiedValue>),
    TooLong,
}

/// Bytes of a server, and the same as those of a client. The last one says how they are cut.
pub(super) fn run(bytes: &[u8]) {
    let (decider, bytes) = Choices::last_of(bytes);
    let whole = frames_of(Reader::of_replies(LIMITS), bytes, 255);
    assert_eq!(whole, frames_of(Reader::of_replies(LIMITS), bytes, decider), "cut by {decider}");
    stands_in(bytes, &whole.0);
    let commands = frames_of(Reader::of_commands(LIMITS), bytes, 255);
    assert_eq!(commands, frames_of(Reader::of_commands(LIMITS), bytes, decider), "cut by {decider}");
    let is_command = |frame: &CopiedFrame| match frame {
        CopiedFrame::Many(words) => words.iter().all(|word| matches!(word, CopiedValue::Bulk(_))),
        CopiedFrame::TooLong => true,
        CopiedFrame::One(_) => false,
    };
    assert!(commands.0.iter().all(is_command), "a command is an array of bulks: {commands:?}");
}

/// What is read of the bytes, and how it ended.
fn frames_of(mut reader: Reader, bytes: &[u8], decider: u8) -> (Vec<CopiedFrame>, Result<(), ProtocolError>) {
    let mut frames = Vec::new();
    for mut piece in pieces(bytes, decider) {
        while !piece.is_empty() {
            let space = reader.space();
            assert!(!space.is_empty() && space.len() <= LIMITS.frame + LINE + LIMITS.ahead);
            let length = piece.len().min(space.len());
            space[..length].copy_from_slice(&piece[..length]);
            reader.filled(length);
            piece = &piece[length..];
            loop {
                match reader.frame() {
                    Ok(Some(frame)) => frames.push(copied(frame)),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.frame().err(), Some(error), "it goes on after an error");
                        return (frames, Err(error));
                    }
                }
            }
        }
    }
    (frames, Ok(()))
}

fn copied(frame: Frame<'_>) -> CopiedFrame {
    match frame {
        Frame::One(value) => CopiedFrame::One(copied_value(value)),
        Frame::Many(values) => {
            assert!(values.bytes().len() <= LIMITS.frame.max(LINE) && values.len() <= LIMITS.frame.max(LINE));
            CopiedFrame::Many(all_of(&values))
        }
        Frame::TooLong => CopiedFrame::TooLong,
    }
}

fn all_of(values: &RespValues<'_>) -> Vec<CopiedValue> {
    let all: Vec<_> = values.iter().map(copied_value).collect();
    assert_eq!(all.len(), values.len());
    for (place, value) in all.iter().enumerate() {
        let bulk = values.bulk(place).map(<[u8]>::to_vec).map(CopiedValue::Bulk);
        assert_eq!(bulk.is_some(), matches!(value, CopiedValue::Bulk(_)));
        assert_eq!(bulk.is_some(), values.span(place).is_some());
        assert!(bulk.is_none_or(|bulk| bulk == *value));
    }
    all
}

fn copied_value(value: RespValue<'_>) -> CopiedValue {
    match value {
        RespValue::Simple(text) => CopiedValue::Simple(text.to_vec()),
        RespValue::Error(text) => CopiedValue::Error(text.to_vec()),
        RespValue::Integer(number) => CopiedValue::Integer(number),
        RespValue::Bulk(bytes) => CopiedValue::Bulk(bytes.to_vec()),
        RespValue::Null => CopiedValue::Null,
    }
}

/// The frames written again are what was read. What follows one that was too long is not looked at.
fn stands_in(bytes: &[u8], frames: &[CopiedFrame]) {
    let mut rest = bytes;
    for frame in frames {
        rest = match frame {
            CopiedFrame::TooLong => return,
            CopiedFrame::One(CopiedValue::Null) => {
                rest.strip_prefix(b"*-1\r\n").unwrap_or_else(|| behind(rest, &CopiedValue::Null))
            }
            CopiedFrame::One(value) => behind(rest, value),
            CopiedFrame::Many(values) => {
                let header = format!("*{}\r\n", values.len());
                let minus = format!("*-{}\r\n", values.len());
                let first = rest.strip_prefix(header.as_bytes()).or(rest.strip_prefix(minus.as_bytes()));
                values.iter().fold(first.expect("the header of an array"), behind)
            }
        };
    }
}

fn behind<'a>(rest: &'a [u8], value: &CopiedValue) -> &'a [u8] {
    let mut written = match value {
        CopiedValue::Simple(text) => [b"+", &text[..]].concat(),
        CopiedValue::Error(text) => [b"-", &text[..]].concat(),
        CopiedValue::Integer(0) if rest.starts_with(b":-0") => b":-0".to_vec(),
        CopiedValue::Integer(number) => format!(":{number}").into_bytes(),
        CopiedValue::Bulk(bytes) if bytes.is_empty() && rest.starts_with(b"$-0") => b"$-0\r\n".to_vec(),
        CopiedValue::Bulk(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes].concat(),
        CopiedValue::Null => b"$-1".to_vec(),
    };
    written.extend_from_slice(b"\r\n");
    rest.strip_prefix(&written[..]).unwrap_or_else(|| panic!("{value:?} does not stand in {rest:?}"))
}

/// What goes on of replies. The last byte says how they are cut.
pub(super) fn run_bounds(bytes: &[u8]) {
    let (decider, bytes) = Choices::last_of(bytes);
    let (whole, went) = passed(bytes, 255);
    let (in_pieces, went_in_pieces) = passed(bytes, decider);
    assert_eq!(went, went_in_pieces, "cut by {decider}");
    let (shorter, longer) =
        if whole.len() < in_pieces.len() { (&whole, &in_pieces) } else { (&in_pieces, &whole) };
    assert!(longer.starts_with(shorter), "cut by {decider}");
    assert!(!went || whole == in_pieces, "cut by {decider}");
    // Of a long value that has begun, the empty one that stands for it is one byte longer than its header.
    assert!(whole.len() <= bytes.len() + 4, "more goes on than came");
    let lines = bytes.split(|&byte| byte == b'\n').count();
    assert!(whole.len() <= (REPLY.bytes + LINE) * lines);
}

fn passed(bytes: &[u8], decider: u8) -> (Vec<u8>, bool) {
    let (mut bounds, mut out) = (ReplyBounds::new(REPLY), Vec::new());
    let went = pieces(bytes, decider).all(|piece| bounds.pass(piece, &mut out).is_ok());
    (out, went)
}
