//! Signatures, by the judgement of another implementation; secrets that change; logins.

use coturn_exporter::config::{Password, Secret};
use coturn_exporter::reload::{Reload as _, Reread};
use coturn_exporter::sinks::Sink as _;
use coturn_exporter::sinks::webhook::WebhookSink;

use crate::calling::{deliver_all, event, origin, settings};
use crate::common::temp_dir::TempDir;
use crate::judges::is_signed;
use crate::receiver::{Receiver, Reply};

const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECOND: &str = "a secret of plain text";

#[tokio::test]
async fn secrets_are_renewed_without_a_restart() {
    let dir = TempDir::new("secrets");
    let path = dir.write("secrets", FIRST);
    let secrets = Secret::lines_of_file("--events.secret-file", &path).unwrap();
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let mut settings = settings(&receiver, 2);
    settings.secrets = Some(Password::File(secrets.clone()));
    let mut sink = WebhookSink::new(&settings).unwrap();
    let steps = [
        (FIRST.to_owned(), true, false),
        (format!("{FIRST}\n{SECOND}\n"), true, true),
        (SECOND.to_owned(), false, true),
    ];
    for (number, (text, by_first, by_second)) in (1..).zip(steps) {
        dir.write("secrets", &text);
        assert!(!matches!(secrets.reload(true), Reread::Failed { .. }));
        deliver_all(&mut sink, &[event(number, 1)], 0).await;
        let request = receiver.received().pop().unwrap();
        assert_eq!(is_signed(FIRST, &request), by_first, "{request:?}");
        assert_eq!(is_signed(SECOND, &request), by_second, "{request:?}");
        assert!(!is_signed("another", &request));
    }
    // Nothing goes out unsigned.
    dir.write("secrets", "whsec_?");
    secrets.reload(true);
    let text = sink.deliver(&origin(), &[event(9, 1)]).await.unwrap_err().to_string();
    assert!(text.contains("line 1 of --events.secret-file"), "{text}");
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test]
async fn a_retry_is_signed_anew_under_the_same_id() {
    let receiver = Receiver::start(|_, before| Reply::Status(if before < 2 { 500 } else { 200 }));
    let mut settings = settings(&receiver, 1);
    settings.secrets = Some(Password::Fixed(Secret::new(FIRST)));
    deliver_all(&mut WebhookSink::new(&settings).unwrap(), &[event(1, 1)], 2).await;
    let requests = receiver.received();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| is_signed(FIRST, request)));
    assert!(requests.iter().all(|request| request.header("webhook-id") == requests[0].header("webhook-id")));
}

#[tokio::test]
async fn headers_of_a_request() {
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let mut settings = settings(&receiver, 1);
    settings.secrets = None;
    settings.url = Secret::new(receiver.url().replace("http://", "http://us%40er:p%3Ass@"));
    deliver_all(&mut WebhookSink::new(&settings).unwrap(), &[event(1, 1)], 0).await;
    let request = receiver.received().pop().unwrap();
    assert_eq!(request.path, "/hook/geheim");
    assert_eq!(request.header("host"), receiver.address.to_string());
    assert_eq!(request.header("authorization"), "Basic dXNAZXI6cDpzcw==");
    assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert!(request.header("user-agent").starts_with("coturn-exporter/"));
    assert_eq!(request.header("webhook-signature"), "");
    assert!(request.header("webhook-timestamp").parse::<u64>().unwrap() > 1_700_000_000);
}
