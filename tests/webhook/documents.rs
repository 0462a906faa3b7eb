//! docs/webhooks.md and the schemas in docs/events: what is written there is what comes.

use std::path::Path;

use coturn_exporter::config::{Password, Secret};
use coturn_exporter::sinks::webhook::WebhookSink;
use coturn_exporter::store::ledger::EventKind;
use serde_json::Value;

use crate::calling::{deliver_all, event, settings};
use crate::judges::{check_schemas, check_verifier, python, schema_errors};
use crate::receiver::{Receiver, Reply};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn document(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The fenced blocks of a language in the document.
fn blocks(language: &str) -> Vec<String> {
    let text = document("docs/webhooks.md");
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn examples() -> Vec<Value> {
    blocks("json").iter().map(|block| serde_json::from_str(block).expect(block)).collect()
}

#[test]
fn there_is_an_example_of_each_event_and_it_is_as_its_schema_has_it() {
    let examples = examples();
    let kinds: Vec<_> = examples.iter().map(|example| example["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, EventKind::ALL.map(EventKind::as_str));
    check_schemas(&examples);
}

/// The schemas would let a wrong event through if they had no word about it.
#[test]
fn the_schemas_refuse_what_is_not_as_they_have_it() {
    let mut wrong = Vec::new();
    for example in examples() {
        for (name, value) in
            [("session", Value::from("3")), ("surprise", 1.into()), ("started", "today".into())]
        {
            let mut event = example.clone();
            event["data"][name] = value;
            wrong.push(event);
        }
        for name in ["id", "source", "specversion", "time", "subject"] {
            let mut event = example.clone();
            event.as_object_mut().unwrap().remove(name);
            wrong.push(event);
        }
    }
    for (event, error) in wrong.iter().zip(schema_errors(&wrong)) {
        assert!(!error.is_empty(), "{event:#}");
    }
}

#[tokio::test]
async fn the_code_of_the_document_verifies_a_request() {
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    for secret in [SECRET, "plain text"] {
        let mut settings = settings(&receiver, 1);
        settings.secrets = Some(Password::Fixed(Secret::new(format!("another\n{secret}"))));
        deliver_all(&mut WebhookSink::new(&settings).unwrap(), &[event(1, 1)], 0).await;
        let request = receiver.received().pop().unwrap();
        for (language, fence) in [("python", "python"), ("node", "js")] {
            let codes = blocks(fence);
            assert_eq!(codes.len(), 1, "{language}");
            check_verifier(language, &codes[0], secret, &request);
        }
    }
}

#[test]
fn the_example_of_standard_webhooks_is_what_another_implementation_makes_of_it() {
    let program = "import base64, hashlib, hmac
key = base64.b64decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')
text = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}'
print(base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode())";
    let (is_well, said) = python(&["-c", program], "");
    // The signature in src/sinks/webhook/signature.rs, and in the specification.
    assert!(is_well && said.trim() == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "{said}");
}
