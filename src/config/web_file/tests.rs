//! Files as Prometheus has them, half files, and files that are none.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<WebFile, WebFileError> {
    WebFile::parse(text.as_bytes())
}

#[track_caller]
fn good(text: &str) -> WebFile {
    parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[track_caller]
fn tls(lines: &str) -> Result<WebTls, WebFileError> {
    let text = format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{lines}");
    parse(&text).map(|file| file.tls.unwrap())
}

/// The example of the documentation of Prometheus, and the shapes that its tests have.
#[test]
fn files_of_prometheus_are_understood() {
    let example = good(
        r"# TLS and basic authentication configuration example.
#
# Additionally, a certificate and a key file are needed.
tls_server_config:
  cert_file: server.crt
  key_file: server.key

# Usernames and passwords required to connect to Prometheus.
# Passwords are hashed with bcrypt: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md#about-bcrypt.
basic_auth_users:
  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
  bob: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m
",
    );
    let shown = example.tls.unwrap();
    assert_eq!(shown.certificate, PemSource::File("server.crt".into()));
    assert_eq!(shown.key, PemSource::File("server.key".into()));
    assert_eq!(shown.clients, ClientCertificates::NotAsked);
    assert_eq!((shown.min_version, shown.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
    assert!(example.http2 && shown.prefer_server_cipher_suites);
    assert_eq!(example.users.keys().collect::<Vec<_>>(), ["alice", "bob"]);
    assert!(example.users["bob"].expose().starts_with("$2y$10$hLq"));
    assert_eq!((example.headers, example.rate_limit), (vec![], None));

    let quoted = good("tls_server_config :\n  cert_file : \"server.crt\"\n  key_file : \"server.key\"\n");
    assert!(quoted.tls.is_some());
    let without_tls = good("basic_auth_users:\n  john: $2y$10$abc\n");
    assert!(without_tls.tls.is_none() && without_tls.users.len() == 1);
    for nothing in [
        "",
        "# only this\n",
        "---\n",
        "tls_server_config:\n",
        "tls_server_config: {}\n",
        "basic_auth_users: {}",
    ] {
        let file = good(nothing);
        assert!(file.tls.is_none() && file.users.is_empty() && file.http2, "{nothing}");
    }
}

#[test]
fn every_key_has_its_place() {
    let file = good(
        r"tls_server_config:
  cert: |
    -----BEGIN CERTIFICATE-----
  key: |
    -----BEGIN PRIVATE KEY-----
  client_ca: |
    -----BEGIN CERTIFICATE-----
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example, 192.0.2.1]
  min_version: TLS13
  max_version: TLS13
  cipher_suites:
  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: SAMEORIGIN
    X-XSS-Protection: ''
rate_limit:
  interval: 100ms
  burst: 20
",
    );
    let tls = file.tls.unwrap();
    let inline = |source: &PemSource, key| matches!(source, PemSource::Inline { at, text } if *at == key && text.expose().starts_with("-----BEGIN"));
    assert!(inline(&tls.certificate, "cert") && inline(&tls.key, "key"));
    let ClientCertificates::Verified(trusted) = tls.clients else { panic!("{:?}", tls.clients) };
    assert!(inline(&trusted.cas, "client_ca"));
    assert_eq!(trusted.names, ["prometheus.example", "192.0.2.1"]);
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    assert_eq!((tls.cipher_suites.len(), &*tls.curve_preferences[0]), (1, "CurveP256"));
    assert!(!file.http2 && !tls.prefer_server_cipher_suites);
    let headers = [
        (WebHeader::StrictTransportSecurity, "max-age=31536000".to_owned()),
        (WebHeader::XFrameOptions, "SAMEORIGIN".to_owned()),
    ];
    assert_eq!(file.headers, headers);
    let limit = RateLimit { interval: Duration::from_millis(100), burst: 20 };
    assert_eq!(file.rate_limit, Some(limit));
    for unlimited in
        ["rate_limit: {interval: 0s, burst: 0}", "rate_limit: {burst: 5}", "rate_limit: {interval: 0}"]
    {
        assert_eq!(good(unlimited).rate_limit, None, "{unlimited}");
    }
}

#[test]
fn clients_by_the_five_names_of_go() {
    let ca = "  client_ca_file: ca.crt\n";
    let clients =
        |kind: &str, more: &str| tls(&format!("  client_auth_type: {kind}\n{more}")).map(|tls| tls.clients);
    assert_eq!(clients("NoClientCert", "").unwrap(), ClientCertificates::NotAsked);
    assert_eq!(clients("RequestClientCert", "").unwrap(), ClientCertificates::Asked);
    assert_eq!(clients("RequireAnyClientCert", "").unwrap(), ClientCertificates::Any);
    let trusted = TrustedClients { cas: PemSource::File("ca.crt".into()), names: Vec::new() };
    assert_eq!(
        clients("VerifyClientCertIfGiven", ca).unwrap(),
        ClientCertificates::VerifiedIfGiven(trusted.clone())
    );
    assert_eq!(clients("RequireAndVerifyClientCert", ca).unwrap(), ClientCertificates::Verified(trusted));
    for kind in ["VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] {
        assert_eq!(clients(kind, "").unwrap_err(), WebFileError::NoCas { kind });
    }
    for kind in ["NoClientCert", "RequestClientCert", "RequireAnyClientCert"] {
        assert_eq!(clients(kind, ca).unwrap_err(), WebFileError::CasUnused { kind });
        let names = clients(kind, "  client_allowed_sans: [a]\n").unwrap_err();
        assert_eq!(names, WebFileError::NamesUnverified);
    }
    assert_eq!(tls(ca).unwrap_err(), WebFileError::CasUnused { kind: "NoClientCert" });
    let other = clients("Always", "").unwrap_err().to_string();
    assert!(
        other.starts_with("client_auth_type: \"Always\" is not accepted; it must be one of NoClientCert"),
        "{other}"
    );
}

#[test]
fn half_a_configuration_is_refused_with_what_is_missing() {
    for (text, says) in [
        (
            "{cert_file: a}",
            "tls_server_config has no key; a certificate and its key come together: give key or key_file",
        ),
        ("{key_file: a}", "tls_server_config has no cert;"),
        ("{cert_file: a, key_file: ''}", "tls_server_config has no key;"),
        ("{cert_file: a, cert: b, key_file: c}", "tls_server_config has both cert and cert_file"),
        ("{cert_file: a, key: b, key_file: c}", "tls_server_config has both key and key_file"),
        (
            "{client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config has client_auth_type, but no certificate",
        ),
        ("{min_version: TLS13}", "tls_server_config has min_version, but no certificate"),
        ("{cert_file: a, key_file: b, min_version: TLS10}", "min_version: TLS10 is not supported"),
        ("{cert_file: a, key_file: b, max_version: TLS11}", "max_version: TLS11 is not supported"),
        ("{cert_file: a, key_file: b, min_version: TLS111}", "min_version: \"TLS111\" is not accepted"),
        ("{cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}", "max_version is older than"),
    ] {
        let error = parse(&format!("tls_server_config: {text}")).unwrap_err().to_string();
        assert!(error.starts_with(says), "{text}: {error}");
    }
    for (text, says) in [
        (
            "http_server_config: {headers: {X-Powered-By: a}}",
            "http_server_config: header \"X-Powered-By\" cannot be set",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "http_server_config: X-Frame-Options: \"maybe\"",
        ),
        (
            "http_server_config: {headers: {X-Content-Type-Options: sniff}}",
            "http_server_config: X-Content-Type-Options",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"a\\r\\nb\"}}",
            "http_server_config: X-XSS-Protection",
        ),
        ("basic_auth_users: {'a:b': $2y$10$x}", "basic_auth_users: \"a:b\" cannot be a user"),
        ("basic_auth_users:\n  alice:\n", "basic_auth_users: \"alice\" has no hash"),
        ("rate_limit: {interval: 1s}", "rate_limit: burst must be at least 1"),
        ("rate_limit: {interval: 1}", "rate_limit: interval: \"1\" is not a duration"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(says), "{text}: {error}");
    }
}

#[test]
fn a_key_that_is_not_known_or_comes_twice_is_an_error_that_names_it() {
    for (text, named) in [
        ("tls_server_configs: {}", "tls_server_configs"),
        ("tls_server_config: {cert_filse: a}", "cert_filse"),
        ("http_server_config: {http3: true}", "http3"),
        ("rate_limit: {bursts: 1}", "bursts"),
        ("basic_auth_users: {alice: a, alice: b}", "alice"),
        ("tls_server_config: {}\ntls_server_config: {}", "tls_server_config"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{text}: {error}");
    }
    for junk in [
        "hWkNKCp3fvIx3jKnsaBI\nTuEHe9fuk",
        "- a",
        "{",
        "a: b: c",
        "\u{0}",
        "tls_server_config: 1",
        "--- {}\n--- {}",
    ] {
        assert!(matches!(parse(junk), Err(WebFileError::Yaml { .. })), "{junk}");
    }
    assert_eq!(WebFile::parse(b"\xff").unwrap_err(), WebFileError::NotText);
}

#[test]
fn a_secret_is_in_no_error_and_in_no_debug_print() {
    let file = good("tls_server_config: {cert: geheim, key: geheim}\nbasic_auth_users: {alice: geheim}");
    assert!(!format!("{file:?}").contains("geheim"));
    for text in [
        "tls_server_config: {key: [geheim]}",
        "basic_auth_users: {alice: {geheim: geheim}}",
        "basic_auth_users: [geheim",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}

#[test]
fn a_file_that_grows_without_end_is_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        writeln!(bomb, "a{n}: &a{n} [{list}]").unwrap();
    }
    let deep = format!("basic_auth_users: {}", "[".repeat(10_000));
    let long = format!("basic_auth_users:\n{}", "  a: b\n".repeat(100_000));
    let many: Vec<String> = (0..100_000).map(|n| format!("  a{n}: b")).collect();
    for text in [bomb, deep, long, format!("basic_auth_users:\n{}", many.join("\n"))] {
        assert!(matches!(parse(&text), Err(WebFileError::Yaml { .. })));
    }
}
