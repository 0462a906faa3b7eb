//! Receivers over TLS: whose certificate is accepted, and what is said of one that is not.

use coturn_exporter::config::{Secret, WebhookSettings};
use coturn_exporter::sinks::Sink as _;
use coturn_exporter::sinks::webhook::WebhookSink;

use crate::calling::{deliver_all, event, events, numbers, origin, settings};
use crate::common::net::certificates::{Authority, Pair};
use crate::common::temp_dir::TempDir;
use crate::receiver::{Receiver, Reply};

fn trusting(receiver: &Receiver, ca: &Authority) -> WebhookSettings {
    let mut settings = settings(receiver, 1);
    settings.url = Secret::new(format!("https://localhost:{}/geheim", receiver.address.port()));
    settings.ca_file = Some(ca.cert_file.clone());
    settings
}

async fn failure(settings: &WebhookSettings) -> String {
    let mut sink = WebhookSink::new(settings).unwrap();
    let text = sink.deliver(&origin(), &[event(1, 1)]).await.unwrap_err().to_string();
    assert!(!text.contains("geheim"), "{text}");
    text
}

#[tokio::test]
async fn a_certificate_that_a_known_ca_has_signed_is_accepted() {
    let ca = Authority::new("A");
    let receiver = Receiver::start_tls(&ca.issue("good", &["localhost"]), |_, before| match before {
        3 => Reply::Dropped,
        _ => Reply::Status(200),
    });
    let events = events(10);
    let mut sink = WebhookSink::new(&trusting(&receiver, &ca)).unwrap();
    deliver_all(&mut sink, &events, 1).await;
    assert_eq!(receiver.taken_numbers(), numbers(&events));
}

#[tokio::test]
async fn any_other_certificate_is_refused_and_nothing_is_sent() {
    let (ca, other) = (Authority::new("A"), Authority::new("B"));
    let cases: [(Pair, &str); 5] = [
        (other.issue("other", &["localhost"]), "--events.tls-ca-file"),
        (ca.issue("name", &["elsewhere.example"]), "use a name that it is for"),
        (ca.issue_expired("old", &["localhost"]), "renew it"),
        (ca.issue_for_later("later", &["localhost"]), "check the clocks"),
        (ca.issue_for_clients("client", &["localhost"]), "for servers"),
    ];
    for (pair, words) in cases {
        let receiver = Receiver::start_tls(&pair, |_, _| Reply::Status(200));
        let text = failure(&trusting(&receiver, &ca)).await;
        assert!(text.contains("the certificate of localhost:") && text.contains(words), "{text}");
        assert!(receiver.received().is_empty());
    }
    // Without the flag it is the system's CAs that count.
    let receiver = Receiver::start_tls(&ca.issue("good", &["localhost"]), |_, _| Reply::Status(200));
    let mut settings = trusting(&receiver, &ca);
    settings.ca_file = None;
    if let Ok(mut sink) = WebhookSink::new(&settings) {
        let text = sink.deliver(&origin(), &[event(1, 1)]).await.unwrap_err().to_string();
        assert!(text.contains("--events.tls-ca-file"), "{text}");
    }
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_plain_port_is_said() {
    let ca = Authority::new("A");
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            drop(std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let mut settings = trusting(&receiver, &ca);
    settings.url = Secret::new(format!("https://localhost:{port}/geheim"));
    let text = failure(&settings).await;
    assert!(text.contains("is this a port for https?"), "{text}");
}

#[test]
fn a_file_of_cas_that_cannot_be_used_is_said_at_the_start() {
    let (dir, ca) = (TempDir::new("cas"), Authority::new("A"));
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let mut settings = trusting(&receiver, &ca);
    for path in [dir.path().join("absent"), dir.write("empty", "")] {
        settings.ca_file = Some(path);
        let text = WebhookSink::new(&settings).unwrap_err().to_string();
        assert!(text.contains("--events.tls-ca-file"), "{text}");
    }
}
