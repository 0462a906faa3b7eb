//! A capture read naively, straight from its JSON: events by key, lives by status, plain sums. Shares no code with the
//! exporter, keeps everything, knows no time limits; what it finds is what the stream says.

use std::path::Path;

use base64::Engine as _;

use super::traffic::{Legs, Traffic};

/// One line of a capture that is an event of coturn's.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: f64,
    /// The channel up to the id.
    pub key: Vec<u8>,
    /// The channel behind the id: `status`, `traffic`, ...
    pub kind: String,
    pub payload: String,
    /// The line as it stands in the file.
    pub line: String,
}

/// One use of a key: an allocation, or a session that never got one.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub key: Vec<u8>,
    /// When status `new` came.
    pub born: Option<f64>,
    /// When `deleted` came.
    pub deleted: Option<f64>,
    /// When the last event came, of whatever kind.
    pub last: f64,
    /// Statuses that grant a lifetime or ask for the end, in order.
    pub statuses: Vec<(f64, String)>,
    /// Deltas of `traffic` and `traffic/peer` summed up.
    pub sum: Legs,
    pub total_client: Option<Traffic>,
    pub total_peer: Option<Traffic>,
    /// The key came anew before `deleted`.
    pub replaced: bool,
}

impl Event {
    /// It is of an allocation, or of a session without one, of this user.
    pub fn is_of(&self, user: &str) -> bool {
        String::from_utf8_lossy(&self.key).contains(&format!("/user/{user}/allocation/"))
    }
}

impl Life {
    /// A status came: coturn calls it an allocation.
    pub fn is_allocation(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// A field of the last long status: `type`, `local`, `remote`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, status) = self.statuses.last()?;
        status.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }

    /// The user name, where it is UTF-8.
    pub fn user(&self) -> String {
        let key = String::from_utf8_lossy(&self.key);
        let (owner, _) = key.rsplit_once("/allocation/").expect("a key");
        let owner = owner.strip_prefix("turn/").expect("a key");
        let user = owner.strip_prefix("user/").or_else(|| owner.split_once("/user/").map(|(_, user)| user));
        user.expect("a user").to_owned()
    }

    /// The realm, empty where the channel has none.
    pub fn realm(&self) -> String {
        let key = String::from_utf8_lossy(&self.key);
        let named = key.strip_prefix("turn/realm/");
        named
            .and_then(|named| named.split_once("/user/"))
            .map_or(String::new(), |(realm, _)| realm.to_owned())
    }

    /// The digits of the id.
    pub fn id(&self) -> String {
        let key = String::from_utf8_lossy(&self.key);
        key.rsplit_once('/').expect("a key").1.to_owned()
    }
}

/// All events of a capture in order; lines of other channels are left out.
pub fn events(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter_map(event).collect()
}

const MARK: &[u8] = b"/allocation/";

fn event(line: &str) -> Option<Event> {
    let record: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let channel = match (record["channel"].as_str(), record["channel_b64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(encoded)) => {
            base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64 in channel_b64")
        }
        (None, None) => panic!("no channel: {line}"),
    };
    // Users may contain the mark; the last one is coturn's.
    let mark = channel.windows(MARK.len()).rposition(|part| part == MARK)?;
    let digits = mark + MARK.len();
    let end = digits + channel[digits..].iter().position(|&byte| byte == b'/')?;
    Some(Event {
        at: record["t"].as_f64().expect("t"),
        key: unmangled(&channel[..end]),
        kind: String::from_utf8(channel[end + 1..].to_vec()).expect("a kind"),
        payload: record["payload"].as_str().expect("payload").to_owned(),
        line: line.to_owned(),
    })
}

/// coturn before 4.13 put a user name with `%` through printf, differently so in each event. Only such a name can hold
/// a blank; its allocation is told by the id alone.
fn unmangled(key: &[u8]) -> Vec<u8> {
    if !key.contains(&b' ') {
        return key.to_vec();
    }
    let text = String::from_utf8_lossy(key);
    let (realm, _) = text.split_once("/user/").expect("a key");
    let (_, id) = text.rsplit_once('/').expect("a key");
    format!("{realm}/user/(mangled)/allocation/{id}").into_bytes()
}

/// Every use of every key, in order of first appearance.
pub fn lives(events: &[Event]) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for event in events {
        let present = lives.iter().rposition(|life| life.key == event.key);
        let is_status = event.kind == "status" && event.payload != "deleted";
        let is_new = is_status && event.payload.starts_with("new ");
        let mut at = present;
        if let Some(present) = present.map(|at| &mut lives[at]) {
            let over = present.deleted.is_some();
            if is_new && present.is_allocation() || is_status && over {
                present.replaced = !over;
                at = None;
            }
        }
        let at = at.unwrap_or_else(|| {
            lives.push(Life { key: event.key.clone(), ..Life::default() });
            lives.len() - 1
        });
        let life = &mut lives[at];
        life.last = event.at;
        let traffic = || Traffic::parse(&event.payload).unwrap_or_else(|| panic!("{}", event.line));
        match event.kind.as_str() {
            "status" if !is_status => life.deleted = Some(event.at),
            "status" => {
                life.statuses.push((event.at, event.payload.clone()));
                if is_new {
                    life.born = Some(event.at);
                }
            }
            "traffic" => life.sum.client += traffic(),
            "traffic/peer" => life.sum.peer += traffic(),
            "total_traffic" => life.total_client = Some(traffic()),
            "total_traffic/peer" => life.total_peer = Some(traffic()),
            _ => panic!("{}", event.line),
        }
    }
    lives
}

/// The sum over some lives.
pub fn sum<'a>(lives: impl IntoIterator<Item = &'a Life>) -> Legs {
    let mut sum = Legs::default();
    for life in lives {
        sum += life.sum;
    }
    sum
}
