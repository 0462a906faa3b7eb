//! What clients must show: certificates by the five types of Go, and their names.

use coturn_exporter::metrics::WebRefusal;

use crate::common::net::certificates::Authority;
use crate::common::net::tls::TlsClient;
use crate::support::{Fixed, patient};
use crate::tls::{Setting, gets_a_page};
use rustls::version::{TLS12, TLS13};

#[tokio::test]
async fn each_type_lets_in_whom_it_should() {
    let setting = Setting::new();
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let ca = format!("  client_ca_file: {}\n", clients.cert_file.display());
    let known = clients.issue_for_clients("known", &["prometheus.example"]);
    let unknown = others.issue_for_clients("unknown", &["prometheus.example"]);
    let expired = clients.issue_expired("expired", &["prometheus.example"]);
    for versions in [[&TLS12], [&TLS13]] {
        let client = |pair| TlsClient::new(&setting.ca.cert_file, pair, &[], &versions);
        let all = [client(None), client(Some(&known)), client(Some(&unknown)), client(Some(&expired))];
        for (kind, ca, expected) in [
            ("NoClientCert", "", [true, true, true, true]),
            ("RequestClientCert", "", [true, true, true, true]),
            ("RequireAnyClientCert", "", [false, true, true, true]),
            ("VerifyClientCertIfGiven", &ca, [true, true, false, false]),
            ("RequireAndVerifyClientCert", &ca, [false, true, false, false]),
        ] {
            let text = setting.with_tls(&format!("  client_auth_type: {kind}\n{ca}"));
            let (server, _) = setting.serve(&text, Fixed::small(), patient()).await;
            let mut got = [false; 4];
            for (got, client) in got.iter_mut().zip(&all) {
                *got = gets_a_page(&server, client).await;
            }
            assert_eq!(got, expected, "{kind} {versions:?}");
            let refused = expected.iter().filter(|served| !**served).count() as u64;
            server.refused(WebRefusal::Handshake, refused).await;
        }
    }
}

#[tokio::test]
async fn one_of_the_names_must_be_in_the_certificate() {
    let setting = Setting::new();
    let clients = Authority::new("clients");
    let named = |names: &[&str]| clients.issue_for_clients("client", names);
    let text = |names: &str| {
        setting.with_tls(&format!(
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n  client_allowed_sans: [{names}]\n",
            clients.cert_file.display()
        ))
    };
    for (allowed, names, served) in [
        ("prometheus.example, b", &["a.example", "prometheus.example"][..], true),
        ("prometheus.example", &["a.prometheus.example"], false),
        ("a.example", &["*.example"], false),
        ("'*.example'", &["a.example"], false),
        ("192.0.2.1", &["192.0.2.1"], true),
        ("'2001:0db8::0001'", &["2001:db8::1"], true),
        ("192.0.2.1", &["192.0.2.2"], false),
        ("a", &[], false),
    ] {
        let (server, _) = setting.serve(&text(allowed), Fixed::small(), patient()).await;
        let client = TlsClient::showing(&setting.ca.cert_file, &named(names));
        assert_eq!(gets_a_page(&server, &client).await, served, "{allowed} {names:?}");
    }
    let others = Authority::new("others");
    let stranger = others.issue_for_clients("client", &["prometheus.example"]);
    let (server, _) = setting.serve(&text("prometheus.example"), Fixed::small(), patient()).await;
    assert!(
        !gets_a_page(&server, &TlsClient::showing(&setting.ca.cert_file, &stranger)).await,
        "it is not verified"
    );
}
