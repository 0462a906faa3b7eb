//! Recorded streams: JSON Lines of `{"t": seconds, "channel": "...", "payload": "..."}`.

use std::path::Path;

use base64::Engine as _;

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    pub channel: Vec<u8>,
    pub payload: String,
}

/// All messages of `tests/golden/<name>`, those included that are not coturn's events.
pub fn read(name: &str) -> Vec<Message> {
    read_with_times(name).into_iter().map(|(_, message)| message).collect()
}

/// The same, each with its seconds from the beginning.
pub fn read_with_times(name: &str) -> Vec<(f64, Message)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(message).collect()
}

fn message(line: &str) -> (f64, Message) {
    let record: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let channel = match (record["channel"].as_str(), record["channel_b64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        // Stands in for a channel that is not UTF-8.
        (None, Some(encoded)) => {
            base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64 in channel_b64")
        }
        (None, None) => panic!("no channel: {line}"),
    };
    let payload = record["payload"].as_str().unwrap_or_else(|| panic!("no payload: {line}")).to_owned();
    (record["t"].as_f64().expect("t"), Message { channel, payload })
}
