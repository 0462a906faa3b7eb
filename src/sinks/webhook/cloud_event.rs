//! Events as `CloudEvents` 1.0 in JSON. Pure.

use serde_json::{Map, Value};

use crate::percent;
use crate::sinks::LedgerOrigin;
use crate::store::ledger::LedgerEvent;

/// The members of `data` that name persons.
const NAMES_OF_USERS: [&str; 3] = ["user", "user_id", "client"];

/// How events are put into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One is the body.
    Structured,
    /// The body is an array of them.
    Batch,
}

impl Mode {
    /// The header `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Structured => "application/cloudevents+json; charset=utf-8",
            Self::Batch => "application/cloudevents-batch+json; charset=utf-8",
        }
    }
}

/// The body of a request.
pub(super) fn body(mode: Mode, origin: &LedgerOrigin, events: &[LedgerEvent], with_users: bool) -> Vec<u8> {
    let mut all = events.iter().map(|event| to_json(origin, event, with_users));
    let body = match mode {
        Mode::Structured => all.next().unwrap_or_default(),
        Mode::Batch => Value::Array(all.collect()),
    };
    body.to_string().into_bytes()
}

/// The id of a request: that of its event, or one made of its first and its last.
pub(super) fn request_id(origin: &LedgerOrigin, first: u64, last: u64) -> String {
    if first == last { event_id(origin, first) } else { format!("{}-{first}-{last}", origin.store) }
}

fn event_id(origin: &LedgerOrigin, number: u64) -> String {
    format!("{}-{number}", origin.store)
}

fn to_json(origin: &LedgerOrigin, event: &LedgerEvent, with_users: bool) -> Value {
    let mut data = event.data.clone();
    if !with_users {
        data.retain(|name, _| !NAMES_OF_USERS.contains(&name.as_str()));
    }
    let mut json = Map::new();
    let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
    put("specversion", "1.0".into());
    put("id", event_id(origin, event.number).into());
    put("source", format!("/coturn-exporter/{}", percent::encode(origin.exporter.as_bytes())).into());
    put("type", event.kind.as_str().into());
    put("time", event.at.rfc3339().into());
    put("subject", subject(origin, event).into());
    put("datacontenttype", "application/json".into());
    put("data", data.into());
    Value::Object(json)
}

/// The session, so that what is about one session has one subject; an allocation that is in none stands for itself.
fn subject(origin: &LedgerOrigin, event: &LedgerEvent) -> String {
    match event.data.get("allocation").and_then(Value::as_str) {
        Some(allocation) if event.session == 0 => format!("allocation/{}/{allocation}", origin.store),
        _ => format!("session/{}/{}", origin.store, event.session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::webhook::tests::{event, origin};
    use serde_json::json;

    #[test]
    fn an_event_has_what_cloud_events_asks_for() {
        let body = body(Mode::Structured, &origin(), &[event(7, 3)], true);
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({
                "specversion": "1.0", "id": "0b0c-7", "source": "/coturn-exporter/eu%20%2F%C3%A4-1",
                "type": "coturn.session.closed", "time": "1970-01-01T00:00:07.000Z", "subject": "session/0b0c/3",
                "datacontenttype": "application/json",
                "data": {"session": 3, "user": "1:alice", "user_id": "alice", "client": "192.0.2.1:5", "realm": "r"},
            })
        );
    }

    #[test]
    fn names_of_users_are_left_out_unless_wanted() {
        let body =
            String::from_utf8(body(Mode::Batch, &origin(), &[event(7, 3), event(8, 4)], false)).unwrap();
        assert!(!body.contains("alice") && !body.contains("192.0.2.1") && body.contains("realm"), "{body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap().as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_orphan_outside_sessions_is_its_own_subject() {
        let mut orphan = event(9, 0);
        orphan.data.insert("allocation".to_owned(), "000000000000000012".into());
        assert_eq!(subject(&origin(), &orphan), "allocation/0b0c/000000000000000012");
        orphan.session = 5;
        assert_eq!(subject(&origin(), &orphan), "session/0b0c/5");
    }

    #[test]
    fn a_request_of_one_has_the_id_of_its_event() {
        assert_eq!(request_id(&origin(), 7, 7), "0b0c-7");
        assert_eq!(request_id(&origin(), 7, 9), "0b0c-7-9");
    }
}
