//! The frame reader against the client library's own parser, at every split, and against garbage.

mod line;
mod space;

use proptest::prelude::*;

use super::{Frame, FrameLimits, ProtocolError, Reader, RespValue, command};

const LIMITS: FrameLimits = FrameLimits { frame: 256, values: 8, ahead: 64 };

/// A frame with its bytes copied out.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    One(redis::Value),
    Many(Vec<redis::Value>),
    TooLong,
}

fn owned_value(value: RespValue<'_>) -> redis::Value {
    match value {
        RespValue::Simple(b"OK") => redis::Value::Okay,
        RespValue::Simple(text) => redis::Value::SimpleString(String::from_utf8_lossy(text).into()),
        RespValue::Error(_) => redis::Value::Boolean(false),
        RespValue::Integer(number) => redis::Value::Int(number),
        RespValue::Bulk(bytes) => redis::Value::BulkString(bytes.to_vec()),
        RespValue::Null => redis::Value::Nil,
    }
}

fn owned(frame: Frame<'_>) -> Owned {
    match frame {
        Frame::One(value) => Owned::One(owned_value(value)),
        Frame::Many(values) => {
            assert_eq!(values.iter().count(), values.len());
            Owned::Many(values.iter().map(owned_value).collect())
        }
        Frame::TooLong => Owned::TooLong,
    }
}

/// Everything that is there, and the error that ended it.
fn drain(reader: &mut Reader, frames: &mut Vec<Owned>) -> Result<(), ProtocolError> {
    while let Some(frame) = reader.frame()? {
        frames.push(owned(frame));
    }
    Ok(())
}

/// Feeds the bytes in pieces of these lengths, over and over.
fn read_in(bytes: &[u8], lengths: &[usize], limits: FrameLimits) -> (Vec<Owned>, Result<(), ProtocolError>) {
    let mut reader = Reader::of_replies(limits);
    let (mut frames, mut rest) = (Vec::new(), bytes);
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let space = reader.space();
        assert!(!space.is_empty(), "nowhere to read to");
        let now = length.min(rest.len()).min(space.len());
        space[..now].copy_from_slice(&rest[..now]);
        rest = &rest[now..];
        reader.filled(now);
        if let Err(error) = drain(&mut reader, &mut frames) {
            assert_eq!(reader.frame().err(), Some(error), "it can be gone on after an error");
            return (frames, Err(error));
        }
        let most = limits.frame + 4096 + limits.ahead;
        assert!(reader.space().len() <= most, "more memory than allowed");
    }
    (frames, Ok(()))
}

/// Frames by the client library; it knows no limits.
fn plainly(frames: &[Vec<u8>]) -> Vec<Owned> {
    let read = |frame: &Vec<u8>| match redis::parse_redis_value(frame).unwrap() {
        redis::Value::Array(values) => Owned::Many(values.into_iter().map(plain_value).collect()),
        value => Owned::One(plain_value(value)),
    };
    frames.iter().map(read).collect()
}

fn plain_value(value: redis::Value) -> redis::Value {
    match value {
        redis::Value::ServerError(_) => redis::Value::Boolean(false),
        value => value,
    }
}

fn pmessage(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    command(&mut bytes, &[b"pmessage", b"turn/*", channel, payload]);
    bytes
}

const CHANNEL: &[u8] = b"turn/realm/example.org/user/1795343956:alice/allocation/001000000000000002/traffic";
const PAYLOAD: &[u8] = b"rcvp=1029, rcvb=178418, sentp=1019, sentb=178146";

/// What a subscriber receives, in all its forms.
fn conversation() -> Vec<Vec<u8>> {
    vec![
        b"+OK\r\n".to_vec(),
        b"-NOAUTH Authentication required.\r\n".to_vec(),
        b":42\r\n".to_vec(),
        b"$-1\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
        b"*0\r\n".to_vec(),
        b"$0\r\n\r\n".to_vec(),
        b"*3\r\n$10\r\npsubscribe\r\n$6\r\nturn/*\r\n:1\r\n".to_vec(),
        pmessage(CHANNEL, PAYLOAD),
        pmessage(b"turn/\r\n\x00\xff*$", b"\r\n$3\r\nabc\r\n"),
        b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
    ]
}

#[test]
fn every_split_gives_the_same_frames() {
    let (bytes, expected) = (conversation().concat(), plainly(&conversation()));
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let lengths = [first.max(1), (second - first).max(1), bytes.len()];
            let (frames, end) = read_in(&bytes, &lengths, LIMITS);
            assert_eq!((&frames, end), (&expected, Ok(())), "split at {first} and {second}");
        }
    }
}

#[test]
fn a_frame_that_is_too_long_is_passed_over_wherever_it_is_split() {
    let mut bytes = pmessage(CHANNEL, &[b'7'; 5_000]);
    bytes.extend(pmessage(&[b'7'; 300], PAYLOAD));
    command(&mut bytes, &[&b"x"[..]; 9]);
    bytes.extend_from_slice(b"$3000\r\n");
    bytes.extend_from_slice(&[b'\n'; 3000]);
    bytes.extend_from_slice(b"\r\n+OK\r\n");
    let expected =
        [Owned::TooLong, Owned::TooLong, Owned::TooLong, Owned::TooLong, Owned::One(redis::Value::Okay)];
    for length in 1..=300 {
        let (frames, end) = read_in(&bytes, &[length], LIMITS);
        assert_eq!((frames.as_slice(), end), (&expected[..], Ok(())), "{length} bytes at a time");
    }
}

#[test]
fn many_lines_are_no_way_round_the_limit() {
    let mut bytes = b"*8\r\n".to_vec();
    for _ in 0..8 {
        bytes.extend(std::iter::once(b'+').chain([b'a'; 4000]).chain(*b"\r\n"));
    }
    bytes.extend_from_slice(b":1\r\n");
    let (frames, end) = read_in(&bytes, &[777], LIMITS);
    assert_eq!((frames.as_slice(), end), (&[Owned::TooLong, Owned::One(redis::Value::Int(1))][..], Ok(())));
}

#[test]
fn what_no_redis_sends_ends_it() {
    let rows: [(&[u8], ProtocolError); 16] = [
        (b"x", ProtocolError::Type(b'x')),
        (b"\r\n", ProtocolError::Type(b'\r')),
        (b"*1\r\n*1\r\n:1\r\n", ProtocolError::Type(b'*')),
        (b"$-2\r\n", ProtocolError::Length),
        (b"*-2\r\n", ProtocolError::Length),
        (b"$536870913\r\n", ProtocolError::Length),
        (b"*1048577\r\n", ProtocolError::Length),
        (b"$\r\n", ProtocolError::Number),
        (b"$01\r\n", ProtocolError::Number),
        (b"$+1\r\n", ProtocolError::Number),
        (b":1x\r\n", ProtocolError::Number),
        (b":9223372036854775808\r\n", ProtocolError::Number),
        (b"$111111111111111111111111", ProtocolError::Line),
        (b"+OK\n", ProtocolError::LineEnd),
        (b"$1\r\nab\r\n", ProtocolError::LineEnd),
        (b"$1\n", ProtocolError::LineEnd),
    ];
    for (bytes, expected) in rows {
        for length in [1, bytes.len()] {
            assert_eq!(read_in(bytes, &[length], LIMITS).1, Err(expected), "{}", bytes.escape_ascii());
        }
    }
    assert_eq!(read_in(b"$300\r\n", &[9], LIMITS), (vec![], Ok(())));
    let overlong = [&b"$300\r\n"[..], &[0; 300], b"xx"].concat();
    assert_eq!(read_in(&overlong, &[9], LIMITS).1, Err(ProtocolError::LineEnd));
    assert_eq!(read_in(&[b'+'; 5000], &[99], LIMITS).1, Err(ProtocolError::Line));
}

/// The words of a command; `None` for one that was too long.
type Words = Option<Vec<Vec<u8>>>;

/// A client's commands.
fn commands(bytes: &[u8], piece: usize) -> (Vec<Words>, Result<(), ProtocolError>) {
    let mut reader = Reader::of_commands(LIMITS);
    let mut commands = Vec::new();
    for piece in bytes.chunks(piece) {
        for &byte in piece {
            reader.space()[0] = byte;
            reader.filled(1);
        }
        loop {
            match reader.frame() {
                Ok(Some(Frame::Many(words))) => {
                    let words = (0..words.len()).map(|place| words.bulk(place).unwrap().to_vec());
                    commands.push(Some(words.collect()));
                }
                Ok(Some(_)) => commands.push(None),
                Ok(None) => break,
                Err(error) => return (commands, Err(error)),
            }
        }
    }
    (commands, Ok(()))
}

#[test]
fn commands_come_as_arrays_or_by_hand() {
    let mut bytes = b"PING\r\n\r\n  set a  b \n*0\r\n*-1\r\n".to_vec();
    command(&mut bytes, &[b"PUBLISH", CHANNEL, b""]);
    command(&mut bytes, &[b"SET", &[0; 300], b"x"]);
    bytes.extend_from_slice(b"QUIT\r\n");
    let words = |words: &[&[u8]]| Some(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
    let expected = vec![
        words(&[b"PING"]),
        words(&[]),
        words(&[b"set", b"a", b"b"]),
        words(&[b"PUBLISH", CHANNEL, b""]),
        None,
        words(&[b"QUIT"]),
    ];
    for piece in 1..=100 {
        assert_eq!(commands(&bytes, piece), (expected.clone(), Ok(())), "{piece} bytes at a time");
    }
    for (bytes, error) in [
        (&b"*1\r\n:1\r\n"[..], ProtocolError::Type(b':')),
        (b"*1\r\n$-1\r\n", ProtocolError::Length),
        (b"*1\r\n$1073741824\r\n", ProtocolError::Length),
        (b"*2000000\r\n", ProtocolError::Length),
        (&[b'x'; 5000], ProtocolError::Line),
    ] {
        assert_eq!(commands(bytes, 7).1, Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn numbers_reach_from_end_to_end() {
    for number in [0, 9, 10, -1, i64::MAX, i64::MIN] {
        let expected = Owned::One(redis::Value::Int(number));
        assert_eq!(read_in(format!(":{number}\r\n").as_bytes(), &[64], LIMITS), (vec![expected], Ok(())));
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let bulk = prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let mut out = format!("${}\r\n", bytes.len()).into_bytes();
        out.extend(bytes);
        out.extend_from_slice(b"\r\n");
        out
    });
    prop_oneof![
        4 => bulk,
        1 => "[a-z ]{0,30}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        1 => "[A-Z]{1,8} [a-z ]{1,30}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        1 => any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        1 => Just(b"$-1\r\n".to_vec()),
    ]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        value(),
        prop::collection::vec(value(), 0..=8).prop_map(|values| {
            let mut out = format!("*{}\r\n", values.len()).into_bytes();
            out.extend(values.concat());
            out
        }),
    ]
}

/// Bytes that a reader chokes on later than on the first.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"*"[..],
        b"$",
        b":",
        b"+",
        b"-",
        b"\r\n",
        b"\n",
        b"0",
        b"1",
        b"3",
        b"99",
        b"abc",
        b"536870912",
        b"1048576",
        b"-1",
        b"*2\r\n$3\r\nabc\r\n",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        prop::collection::vec(token, 0..200).prop_map(|tokens| tokens.concat()),
    ]
}

proptest! {
    #[test]
    fn frames_are_those_of_the_plain_parser_however_they_come(
        frames in prop::collection::vec(frame(), 0..12),
        lengths in prop::collection::vec(1..90_usize, 1..20),
    ) {
        let bytes = frames.concat();
        let limits = FrameLimits { frame: 1024, ..LIMITS };
        prop_assert_eq!(read_in(&bytes, &lengths, limits), (plainly(&frames), Ok(())));
    }

    #[test]
    fn garbage_is_read_alike_however_it_comes(
        good in prop::collection::vec(frame(), 0..3),
        bad in garbage(),
        lengths in prop::collection::vec(1..90_usize, 1..20),
    ) {
        let bytes = [good.concat(), bad].concat();
        prop_assert_eq!(read_in(&bytes, &lengths, LIMITS), read_in(&bytes, &[1], LIMITS));
        prop_assert_eq!(commands(&bytes, lengths[0]), commands(&bytes, 1));
    }
}
