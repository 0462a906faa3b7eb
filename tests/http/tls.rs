//! The server over TLS: its certificate, versions and suites, the time of a handshake, and certificates that change.

use std::path::PathBuf;
use std::sync::Arc;

use coturn_exporter::http::{WebConfig, WebLimits};
use coturn_exporter::metrics::{Render, WebRefusal};
use coturn_exporter::reload::{Reload, Reloaded, Reread};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use crate::common::net::certificates::{Authority, Pair};
use crate::common::net::tls::TlsClient;
use crate::common::temp_dir::TempDir;
use crate::support::{Client, Fixed, NEVER, Running, SOON, patient, site, within};
use tokio::net::TcpStream;

/// A CA, its certificate for the server, and a folder with a web config file.
pub(crate) struct Setting {
    pub(crate) ca: Authority,
    pub(crate) pair: Pair,
    dir: TempDir,
}

impl Setting {
    pub(crate) fn new() -> Self {
        let ca = Authority::new("ca");
        let pair = ca.issue("server", &["localhost", "127.0.0.1"]);
        Self { ca, pair, dir: TempDir::new("web-config") }
    }

    /// Writes a file beside the web config file.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let next = self.dir.write("next", text);
        let path = self.dir.path().join(name);
        std::fs::rename(next, &path).unwrap();
        path
    }

    /// TLS with the server's certificate, and `more` of `tls_server_config`, indented by two.
    pub(crate) fn with_tls(&self, more: &str) -> String {
        let Pair { cert_file, key_file } = &self.pair;
        format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n{more}",
            cert_file.display(),
            key_file.display()
        )
    }

    pub(crate) fn load(&self, text: &str) -> Result<Reloaded<WebConfig>, String> {
        WebConfig::load(&self.write("web.yml", text)).map_err(|error| error.to_string())
    }

    pub(crate) async fn serve(
        &self,
        text: &str,
        page: impl Render,
        limits: WebLimits,
    ) -> (Running, Reloaded<WebConfig>) {
        let config = self.load(text).unwrap();
        let ours = config.clone();
        let with = |readiness: &_| coturn_exporter::http::Site {
            config: Some(ours),
            has_open_health_paths: text.contains("# open"),
            ..site(Arc::new(page), readiness)
        };
        (Running::start_site(with, limits).await, config)
    }

    pub(crate) fn client(&self, protocols: &[&str]) -> TlsClient {
        TlsClient::new(&self.ca.cert_file, None, protocols, rustls::DEFAULT_VERSIONS)
    }
}

/// Connects and shakes hands.
pub(crate) async fn connect(
    server: &Running,
    client: &TlsClient,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    let connector = TlsConnector::from(Arc::clone(&client.config));
    within("a handshake", connector.connect(TlsClient::name(), stream)).await
}

/// Whether the client gets a page over HTTP/1.1; in TLS 1.3 a refusal comes only after its side of the handshake.
pub(crate) async fn gets_a_page(server: &Running, client: &TlsClient) -> bool {
    let Ok(stream) = connect(server, client).await else { return false };
    let mut client = Client::over(stream);
    let asked = client.send("GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n").await;
    asked.is_ok() && client.until_status().await.is_some_and(|line| line.starts_with("HTTP/1.1 200"))
}

#[tokio::test]
async fn the_page_comes_over_tls_and_nothing_over_a_plain_connection() {
    let setting = Setting::new();
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), patient()).await;
    let stream = connect(&server, &setting.client(&["http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut client = Client::over(stream);
    for _ in 0..2 {
        let answer = client.get("/metrics").await;
        assert_eq!((answer.status, answer.text()), (200, "up 1\n"));
    }
    let mut plain = server.client().await;
    plain.ask("GET", "/metrics").await;
    let said = String::from_utf8(plain.until_closed().await).unwrap();
    assert!(
        said.starts_with("HTTP/1.0 400") && said.ends_with("an HTTP request to an HTTPS server.\n"),
        "{said}"
    );
    server.refused(WebRefusal::Handshake, 1).await;
    let stranger = Authority::new("another");
    assert!(!gets_a_page(&server, &TlsClient::trusting(&stranger.cert_file)).await);
    server.refused(WebRefusal::Handshake, 2).await;
    // A port that is only looked at is no mistake of anybody.
    drop(server.client().await);
    assert!(gets_a_page(&server, &setting.client(&[])).await, "a client without ALPN speaks HTTP/1.1");
    assert_eq!(server.refusals.get(WebRefusal::Handshake), 2);
}

#[tokio::test]
async fn versions_suites_and_curves_are_those_that_were_chosen() {
    let setting = Setting::new();
    let client = |versions: &[&'static _]| TlsClient::new(&setting.ca.cert_file, None, &[], versions);
    let (old, new) = (client(&[&TLS12]), client(&[&TLS13]));
    for (lines, of_12, of_13) in [
        ("", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
        ("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n", false, true),
        (
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP384]\n",
            true,
            true,
        ),
    ] {
        let (server, _) = setting.serve(&setting.with_tls(lines), Fixed::small(), patient()).await;
        assert_eq!(
            (gets_a_page(&server, &old).await, gets_a_page(&server, &new).await),
            (of_12, of_13),
            "{lines}"
        );
    }
    let (server, _) = setting
        .serve(&setting.with_tls("  curve_preferences: [CurveP384]\n"), Fixed::small(), patient())
        .await;
    let stream = connect(&server, &new).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
}

#[test]
fn what_cannot_be_used_is_said_with_the_file_and_what_to_do() {
    let setting = Setting::new();
    let other = setting.ca.issue("other", &["localhost"]);
    let (cert, key) = (setting.pair.cert_file.display(), other.key_file.display());
    for (text, says) in [
        ("basic_auth_users: {alice: geheim}".to_owned(), "the hash of \"alice\" is not of bcrypt"),
        (
            "tls_server_config: {cert_file: no.crt, key_file: no.key}".to_owned(),
            "no.crt\" (cert_file): No such file",
        ),
        (format!("tls_server_config: {{cert_file: {cert}, key_file: {key}}}"), "cannot be used together"),
        (format!("tls_server_config: {{cert_file: {key}, key_file: {key}}}"), "holds no certificate in PEM"),
        (format!("tls_server_config: {{cert_file: {cert}, key_file: {cert}}}"), "holds no private key"),
        (
            format!("tls_server_config: {{cert: nonsense, key_file: {key}}}"),
            "cert holds no certificate in PEM",
        ),
        (
            setting.with_tls("  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n"),
            "TLS_RSA_WITH_AES_128_CBC_SHA is not supported",
        ),
        (setting.with_tls("  curve_preferences: [CurveP521]\n"), "CurveP521 is not supported"),
        (
            setting.with_tls("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n"),
            "names none of TLS 1.2",
        ),
        (
            setting.with_tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: web.yml\n"),
            "web.yml\" (client_ca_file) holds no certificate",
        ),
        ("nonsense: {}".to_owned(), "nonsense"),
    ] {
        let error = setting.load(&text).unwrap_err();
        let file = setting.write("web.yml", &text);
        let begins = format!("--web.config.file: {}: ", file.display());
        assert!(error.starts_with(&begins) && error.contains(says), "{text}: {error}");
    }
    let missing = WebConfig::load(std::path::Path::new("/nowhere/web.yml")).unwrap_err().to_string();
    assert!(missing.contains("cannot read it: No such file"), "{missing}");
}

#[tokio::test]
async fn a_certificate_in_the_file_itself_is_as_good() {
    let setting = Setting::new();
    let indented = |path: &PathBuf| std::fs::read_to_string(path).unwrap().replace('\n', "\n    ");
    let (cert, key) = (indented(&setting.pair.cert_file), indented(&setting.pair.key_file));
    let text = format!("tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n");
    let (server, _) = setting.serve(&text, Fixed::small(), patient()).await;
    assert!(gets_a_page(&server, &setting.client(&[])).await);
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_and_the_head_has_its_own() {
    let setting = Setting::new();
    let limits = WebLimits { head: SOON, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), limits).await;
    let mut silent = server.client().await;
    assert!(silent.until_closed().await.is_empty());
    server.refused(WebRefusal::HeadTimeout, 1).await;
    let mut half = server.client().await;
    // The beginning of a record that is said to be long.
    half.send([0x16, 3, 1, 2, 0, 1]).await.unwrap();
    assert!(half.until_closed().await.is_empty());
    server.refused(WebRefusal::HeadTimeout, 2).await;
    let mut shaken = Client::over(connect(&server, &setting.client(&[])).await.unwrap());
    shaken.send("GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
    shaken.until_closed().await;
    server.refused(WebRefusal::HeadTimeout, 3).await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_and_an_idle_connection_end_in_their_time() {
    let setting = Setting::new();
    let limits = WebLimits { answer: SOON, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::large(), limits).await;
    let mut slow = Client::over(connect(&server, &setting.client(&[])).await.unwrap());
    slow.ask("GET", "/metrics").await;
    server.refused(WebRefusal::AnswerTimeout, 1).await;
    let (server, _) =
        setting.serve(&setting.with_tls(""), Fixed::small(), WebLimits { idle: SOON, ..patient() }).await;
    let mut idle = Client::over(connect(&server, &setting.client(&[])).await.unwrap());
    assert_eq!(idle.get("/metrics").await.status, 200);
    assert!(idle.until_closed().await.is_empty());
    assert_eq!(server.refusals.get(WebRefusal::HeadTimeout), 0);
}

#[tokio::test]
async fn one_that_shakes_hands_gives_way_and_the_stop_does_not_wait_for_it() {
    let setting = Setting::new();
    let limits = WebLimits { connections: 2, drain: NEVER, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), limits).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    first.send([0x16]).await.unwrap();
    second.send([0x16]).await.unwrap();
    assert!(gets_a_page(&server, &setting.client(&[])).await);
    assert!(first.until_closed().await.is_empty(), "the oldest");
    server.refused(WebRefusal::ConnectionLimit, 1).await;
    server.shutdown.trigger();
    assert!(second.until_closed().await.is_empty());
    server.ended().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_a_bad_one_to_nobody() {
    let setting = Setting::new();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let show = |ca: &Authority| {
        let pair = ca.issue("server", &["localhost"]);
        for (name, path) in [("server.crt", &pair.cert_file), ("server.key", &pair.key_file)] {
            setting.write(name, &std::fs::read_to_string(path).unwrap());
        }
    };
    show(&old);
    let text = "tls_server_config: {cert_file: server.crt, key_file: server.key}";
    let (server, config) = setting.serve(text, Fixed::small(), patient()).await;
    let [old_client, new_client] = [&old, &new].map(|ca| TlsClient::trusting(&ca.cert_file));
    let mut kept = Client::over(connect(&server, &old_client).await.unwrap());
    assert_eq!(kept.get("/metrics").await.status, 200);
    show(&new);
    let Reread::Changed { files } = config.reload(false) else { panic!("nothing has changed") };
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(gets_a_page(&server, &new_client).await && !gets_a_page(&server, &old_client).await);
    assert_eq!(kept.get("/metrics").await.status, 200, "a connection keeps its keys");
    // Half of the next pair.
    let pair = old.issue("next", &["localhost"]);
    setting.write("server.crt", &std::fs::read_to_string(&pair.cert_file).unwrap());
    let Reread::Failed { problem, is_new: true } = config.reload(false) else { panic!("half a pair") };
    assert!(problem.contains("cannot be used together"), "{problem}");
    assert!(gets_a_page(&server, &new_client).await);
    setting.write("server.key", &std::fs::read_to_string(&pair.key_file).unwrap());
    assert!(matches!(config.reload(false), Reread::Changed { .. }));
    assert!(gets_a_page(&server, &old_client).await);
}

#[tokio::test]
async fn nothing_is_given_up_while_it_is_in_use() {
    let setting = Setting::new();
    let users = "basic_auth_users: {alice: $2y$04$abcdefghijklmnopqrstuuBi9iuwV5hNUWdkNWdCHW9s2IgBDPeYm}\n";
    let ca = format!("  client_ca_file: {}\n", setting.ca.cert_file.display());
    let only_ca = format!("  client_auth_type: RequireAndVerifyClientCert\n{ca}");
    let (names, version) = ("  client_allowed_sans: [prometheus.example]\n", "  min_version: TLS13\n");
    let strict = format!("{only_ca}{names}{version}");
    let users = &format!("{users}rate_limit: {{interval: 1s, burst: 5}}\n");
    let all = setting.with_tls(&strict) + users;
    let config = setting.load(&all).unwrap();
    for (text, says) in [
        (String::new(), "TLS is switched on or off"),
        (users.to_owned(), "TLS is switched on or off"),
        (setting.with_tls(&strict), "basic_auth_users has no users any more"),
        (setting.with_tls("") + users, "client_auth_type lets more clients in"),
        (
            setting.with_tls(&format!("  client_auth_type: VerifyClientCertIfGiven\n{ca}")) + users,
            "client_auth_type lets",
        ),
        (
            setting.with_tls(&format!("{only_ca}{version}")) + users,
            "client_allowed_sans has no names any more",
        ),
        (setting.with_tls(&format!("{only_ca}{names}")) + users, "min_version lets older versions"),
        (all.replace("rate_limit: {interval: 1s, burst: 5}\n", ""), "rate_limit is not there"),
    ] {
        setting.write("web.yml", &text);
        let Reread::Failed { problem, .. } = config.reload(false) else { panic!("{text}") };
        assert!(problem.contains(says) && problem.contains("restart the exporter"), "{problem}");
    }
    setting.write("web.yml", &all);
    assert_eq!(config.reload(false), Reread::Changed { files: vec![] });
    let plain = setting.load("").unwrap();
    setting.write("web.yml", &all);
    assert!(matches!(plain.reload(false), Reread::Failed { .. }));
}

#[tokio::test]
async fn a_client_that_closes_in_the_middle_of_its_handshake_costs_nothing() {
    let setting = Setting::new();
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), patient()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[0x16, 3, 1]).await.unwrap();
    drop(stream);
    server.refused(WebRefusal::Handshake, 1).await;
    assert!(gets_a_page(&server, &setting.client(&[])).await);
}
