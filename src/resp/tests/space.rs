//! The buffer: how it grows, how much of it is used, and that it is used anew.

use crate::resp::line::MAX_LINE;
use crate::resp::{Frame, FrameLimits, Reader, command};

const LIMITS: FrameLimits = FrameLimits { frame: 64 << 10, values: 8, ahead: 64 << 10 };

/// What a buffer may have at most.
const MOST: usize = LIMITS.frame + MAX_LINE + LIMITS.ahead;

fn put(reader: &mut Reader, bytes: &[u8]) {
    let space = reader.space();
    space[..bytes.len()].copy_from_slice(bytes);
    reader.filled(bytes.len());
}

fn frames(reader: &mut Reader) -> usize {
    let mut frames = 0;
    while let Some(frame) = reader.frame().unwrap() {
        assert!(matches!(frame, Frame::Many(_)), "{frame:?}");
        frames += 1;
    }
    frames
}

fn message() -> Vec<u8> {
    let mut message = Vec::new();
    command(&mut message, &[b"message", b"channel", b"payload"]);
    message
}

#[test]
fn it_doubles_where_readings_fill_it_and_stops_at_its_most() {
    let mut reader = Reader::of_replies(LIMITS);
    let mut sizes = Vec::new();
    let message = message();
    let mut stream = message.iter().copied().cycle();
    for _ in 0..8 {
        let space = reader.space();
        for (place, byte) in space.iter_mut().zip(&mut stream) {
            *place = byte;
        }
        let read = space.len();
        sizes.push(read);
        reader.filled(read);
        frames(&mut reader);
    }
    // What is left of the last frame stays, and is shorter than one.
    let whole = [4096, 8192, 16_384, 32_768, 65_536, 131_072, MOST, MOST];
    for (size, whole) in sizes.iter().zip(whole) {
        assert!(*size <= whole && whole - size < message.len(), "{sizes:?}");
    }
}

#[test]
fn it_stays_as_it_is_where_readings_are_small() {
    let mut reader = Reader::of_replies(LIMITS);
    let message = message();
    for _ in 0..10_000 {
        put(&mut reader, &message);
        assert_eq!(frames(&mut reader), 1);
        assert_eq!(reader.space().len(), 4096, "all of it is free again");
    }
}

#[test]
fn what_has_been_read_is_moved_only_where_room_is_short() {
    let mut reader = Reader::of_replies(LIMITS);
    let message = message();
    // A frame and a half: the half stands where it was read while there is room for more behind it.
    let half = &message[..message.len() / 2];
    put(&mut reader, &[&message[..], half].concat());
    assert_eq!(frames(&mut reader), 1);
    assert_eq!(reader.space().len(), 4096 - message.len() - half.len());
    put(&mut reader, &message[half.len()..]);
    assert_eq!(frames(&mut reader), 1);
    // Little room behind: now it is moved, and the buffer stays as large as it is.
    let many = 3200 / message.len();
    put(&mut reader, &[message.repeat(many), half.to_vec()].concat());
    assert_eq!(frames(&mut reader), many);
    assert_eq!(reader.space().len(), 4096 - half.len());
    put(&mut reader, &message[half.len()..]);
    assert_eq!(frames(&mut reader), 1);
}

#[test]
fn the_limit_holds_for_a_frame_that_is_there_at_once() {
    for (more, is_read) in [(0, true), (1, false), (2, false)] {
        // Four values of two hundred bytes and one that fills the frame.
        let mut message = Vec::new();
        let bulk = [b'x'; 200];
        command(&mut message, &[&bulk, &bulk, &bulk, &bulk, &[]]);
        let left = 1000 + more - message.len();
        message.clear();
        // The last length has three digits, as the others have.
        command(&mut message, &[&bulk, &bulk, &bulk, &bulk, &vec![b'x'; left - 2]]);
        assert_eq!(message.len(), 1000 + more);
        let mut reader = Reader::of_replies(FrameLimits { frame: 1000, ..LIMITS });
        put(&mut reader, &message);
        let frame = reader.frame().unwrap();
        assert_eq!(matches!(frame, Some(Frame::Many(_))), is_read, "{} bytes", message.len());
        assert!(is_read || matches!(frame, Some(Frame::TooLong)), "{frame:?}");
    }
}

#[test]
fn a_place_in_it_is_known_until_more_is_read() {
    let mut reader = Reader::of_replies(LIMITS);
    let mut two = message();
    command(&mut two, &[b"message", b"another", b"one"]);
    put(&mut reader, &two);
    let span = |frame: Option<Frame<'_>>, place| {
        let Some(Frame::Many(values)) = frame else { panic!("no frame") };
        values.span(place).unwrap()
    };
    let first = span(reader.frame().unwrap(), 1);
    let second = span(reader.frame().unwrap(), 2);
    assert_eq!((reader.at(first), reader.at(second)), (&b"channel"[..], &b"one"[..]));
    put(&mut reader, b"*2\r\n+a\r\n:7\r\n");
    let Some(Frame::Many(values)) = reader.frame().unwrap() else { panic!("no frame") };
    assert!((0..3).all(|place| values.span(place).is_none()), "only bulks have a place");
}
