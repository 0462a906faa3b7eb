//! Tests of captures: every message survives the way out and back, and every bad line is named.

use super::*;
use proptest::prelude::*;

fn read(text: impl AsRef<[u8]>) -> Vec<Result<Captured, String>> {
    CaptureReader::new(text.as_ref(), "a.jsonl").map(|item| item.map_err(|error| error.to_string())).collect()
}

fn message(millis: u64, channel: &[u8], payload: &[u8]) -> Captured {
    Captured { at: Timestamp::from_millis(millis), channel: channel.to_vec(), payload: payload.to_vec() }
}

#[test]
fn lines_are_messages_and_blank_lines_are_not() {
    let text = concat!(
        "{\"t\": 0.0685, \"channel\": \"turn/a\", \"payload\": \"x=1\"}\r\n",
        "\n  \n",
        "{\"payload\": \"\", \"new\": [1], \"channel_b64\": \"dHVybi//\", \"t\": 3}\n",
        "{\"t\": 1e2, \"channel\": \"\\u00e4\\n\", \"payload_b64\": \"/w==\"}"
    );
    let expected = [
        message(69, b"turn/a", b"x=1"),
        message(3000, b"turn/\xff", b""),
        message(100_000, "ä\n".as_bytes(), b"\xff"),
    ];
    assert_eq!(read(text), expected.map(Ok));
    assert_eq!(read(""), []);
}

#[test]
fn a_bad_line_is_named_and_the_next_one_is_read() {
    for (line, says) in [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("\u{feff}{}", "not a JSON object"),
        ("{\"t\":\"1\",\"channel\":\"c\",\"payload\":\"p\"}", "not a JSON object"),
        ("{\"t\":1,\"t\":2,\"channel\":\"c\",\"payload\":\"p\"}", "duplicate field"),
        ("{\"channel\":\"c\",\"payload\":\"p\"}", "t is missing"),
        ("{\"t\":1,\"payload\":\"p\"}", "channel is missing"),
        ("{\"t\":1,\"channel\":\"c\"}", "payload is missing"),
        ("{\"t\":1,\"channel\":\"c\",\"channel_b64\":\"\",\"payload\":\"p\"}", "channel is there twice"),
        ("{\"t\":1,\"channel\":\"c\",\"payload_b64\":\"?\"}", "payload_b64 is not base64"),
        ("{\"t\":-0.1,\"channel\":\"c\",\"payload\":\"p\"}", "t is -0.1;"),
        ("{\"t\":1e13,\"channel\":\"c\",\"payload\":\"p\"}", "t is 10000000000000;"),
    ] {
        let items = read(format!("\n{line}\n{{\"t\":1,\"channel\":\"c\",\"payload\":\"p\"}}\n"));
        assert_eq!(items.len(), 2, "{line}: {items:?}");
        let error = items[0].as_ref().unwrap_err();
        assert!(error.starts_with("a.jsonl:2: ") && error.contains(says), "{line}: {error}");
        assert!(!error.contains("at line"), "the place is given once: {error}");
        assert_eq!(items[1], Ok(message(1000, b"c", b"p")));
    }
}

#[test]
fn lines_are_bounded() {
    let limit = usize::try_from(MAX_LINE).unwrap();
    let fixed = "{\"t\":1,\"channel\":\"c\",\"payload\":\"\"}";
    let fits = |extra: usize| {
        let payload = "x".repeat(limit - fixed.len() + extra);
        format!("{{\"t\":1,\"channel\":\"c\",\"payload\":\"{payload}\"}}\n")
    };
    let items = read(fits(0) + &fits(1) + &fits(1000) + fixed);
    let summary: Vec<_> =
        items.iter().map(|item| item.as_ref().map(|message| message.payload.len())).collect();
    assert_eq!(summary[0], Ok(limit - fixed.len()));
    assert!(summary[1].unwrap_err().starts_with("a.jsonl:2: the line is longer than 1048576"));
    assert!(summary[2].unwrap_err().starts_with("a.jsonl:3: "));
    assert_eq!(summary[3], Ok(0));
}

#[test]
fn an_io_error_ends_the_capture() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let mut reader = CaptureReader::new(io::BufReader::new(Broken), "b.jsonl");
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "b.jsonl:1: cannot read on: disk on fire");
    assert!(reader.next().is_none());
}

#[test]
fn a_message_is_written_as_one_plain_line() {
    let mut writer = CaptureWriter::new(Vec::new());
    writer.write(Timestamp::from_millis(12_345), b"turn/\"\n", b"a\xff").unwrap();
    writer.flush().unwrap();
    let line = String::from_utf8(writer.into_inner()).unwrap();
    assert_eq!(line, "{\"t\":12.345,\"channel\":\"turn/\\\"\\n\",\"payload_b64\":\"Yf8=\"}\n");
    assert!(CaptureWriter::new(Vec::new()).write(Timestamp::MAX, b"", b"").is_err());
}

proptest! {
    #[test]
    fn every_message_survives_the_way_out_and_back(
        messages in prop::collection::vec(
            (0..253_402_300_800_000_u64, bytes_or_text(), bytes_or_text())
                .prop_map(|(t, channel, payload)| message(t, &channel, &payload)),
            0..8,
        )
    ) {
        let mut writer = CaptureWriter::new(Vec::new());
        for message in &messages {
            writer.write(message.at, &message.channel, &message.payload).unwrap();
        }
        let text = writer.into_inner();
        prop_assert_eq!(text.split(|byte| *byte == b'\n').count(), messages.len() + 1);
        prop_assert_eq!(read(text), messages.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn no_input_makes_the_reader_fall_over(text in prop::collection::vec(any::<u8>(), 0..200)) {
        read(text);
    }
}

fn bytes_or_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..40), any::<String>().prop_map(String::into_bytes)]
}
