//! Captures: what is read of them is written and read again.

use crate::source::capture::{CaptureReader, CaptureWriter, Captured};

pub(super) fn run(bytes: &[u8]) {
    let read: Vec<_> = CaptureReader::new(bytes, "fuzzed").collect();
    let lines = bytes.split(|&byte| byte == b'\n').count();
    assert!(read.len() <= lines, "{} items of {lines} lines", read.len());
    let mut messages: Vec<Captured> = Vec::new();
    for item in read {
        match item {
            Ok(message) => messages.push(message),
            Err(error) => {
                assert!((1..=lines as u64).contains(&error.line), "{error}");
                assert!(!error.to_string().contains('\n'), "an error is one line: {error}");
            }
        }
    }
    let size: usize = messages.iter().map(|message| message.channel.len() + message.payload.len()).sum();
    assert!(size <= bytes.len(), "{size} bytes of messages in {}", bytes.len());
    let mut writer = CaptureWriter::new(Vec::new());
    for message in &messages {
        writer.write(message.at, &message.channel, &message.payload).expect("what was read can be written");
    }
    let written = writer.into_inner();
    let again: Vec<_> = CaptureReader::new(&written[..], "written").map(Result::unwrap).collect();
    assert_eq!(again, messages, "what was written is read as it was");
}
