//! `healthcheck` against the real program: well, not ready, no login, TLS, nobody, silence.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::common::net::certificates::Authority;
use crate::common::net::tls::{Scraper, TlsClient};
use crate::common::servers::exporter::Exporter;
use crate::common::temp_dir::TempDir;

/// A listener that no coturn has reported to is not ready, and healthy.
const NOT_READY: [&str; 2] = ["--redis.url", "redis://127.0.0.1:1"];

fn check(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COTURN_EXPORTER_") {
            command.env_remove(name);
        }
    }
    let Output { status, stdout, stderr } =
        command.arg("healthcheck").args(arguments).envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8([stdout.as_slice(), &stderr].concat()).unwrap();
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert_eq!(status.success(), stderr.is_empty(), "{arguments:?}: {said}");
    (status.code(), said)
}

fn url(exporter: &Exporter) -> String {
    format!("http://{}", exporter.address)
}

#[test]
fn an_exporter_without_its_redis_is_healthy_and_not_ready() {
    let exporter = Exporter::start(&NOT_READY);
    let (code, said) = check(&[], &["--url", &url(&exporter)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("{}/-/healthy: ", url(&exporter))), "{said}");
    let (code, said) = check(&[], &["--ready", "--url", &url(&exporter)]);
    assert_eq!(code, Some(1), "{said}");
    // The reason that /-/ready has given is in the line.
    let reason = exporter.get("/-/ready").unwrap().body;
    let reason = reason.lines().next().unwrap();
    assert!(said.contains("answers 503") && said.contains(reason), "{said} {reason}");
}

#[test]
fn the_variables_of_the_exporter_are_enough() {
    let exporter = Exporter::start(&["--statsdb.listen-address", "127.0.0.1:0"]);
    let everywhere = format!(":{}", exporter.address.port());
    for address in [exporter.address.to_string(), everywhere] {
        let (code, said) = check(&[("COTURN_EXPORTER_WEB_LISTEN_ADDRESS", &address)], &["--ready"]);
        assert_eq!(code, Some(0), "{address}: {said}");
    }
}

#[test]
fn over_tls_no_certificate_is_verified_and_a_login_is_advised_about() {
    let (dir, ca) = (TempDir::new("healthcheck"), Authority::new("ca"));
    let pair = ca.issue("server", &["localhost"]);
    let (cert, key) = (pair.cert_file.display(), pair.key_file.display());
    let tls = format!("tls_server_config: {{cert_file: {cert}, key_file: {key}}}\n");
    let users = "basic_auth_users: {p: $2b$10$OaU90y4rUd3hl.xdB26IBe42Taod0X9.QVza.qUX68leUy3iGDB3e}\n";
    let file = dir.write("web.yml", &format!("{tls}{users}"));
    let file = file.to_str().unwrap();
    let mut arguments = vec!["--statsdb.listen-address", "127.0.0.1:0", "--web.config.file", file];
    let closed = Exporter::start(&arguments);
    let address = closed.address.to_string();
    let variables =
        [("COTURN_EXPORTER_WEB_LISTEN_ADDRESS", address.as_str()), ("COTURN_EXPORTER_WEB_CONFIG_FILE", file)];
    let (code, said) = check(&variables, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--web.open-health-paths"), "{said}");

    arguments.push("--web.open-health-paths");
    let open = Exporter::start(&arguments);
    let scraper = Scraper { tls: Some(TlsClient::trusting(&ca.cert_file)), login: None };
    assert_eq!(scraper.get(open.address, "/metrics").unwrap().status, 401);
    let (code, said) = check(&[], &["--url", &format!("https://{}", open.address)]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&[], &["--url", &format!("http://{}", open.address)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("HTTP request to an HTTPS server"), "{said}");
    let plain = Exporter::start(&NOT_READY);
    let (code, said) = check(&[], &["--url", &format!("https://{}", plain.address)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no TLS with") && said.contains("tls_server_config"), "{said}");
}

#[test]
fn nobody_and_silence_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let (code, said) = check(&[], &["--url", &silent, "--timeout", "300ms"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no answer of") && said.contains("0.3 s"), "{said}");
    drop(listener);
    let (code, said) = check(&[], &["--url", &silent]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot connect") && said.contains("is the exporter running"), "{said}");
}

#[test]
fn a_command_line_that_cannot_be_used_is_code_2() {
    for (arguments, says) in [
        (["--url", "127.0.0.1:10641"].as_slice(), "--url: it is not the URL of an exporter"),
        (
            &["--url", "http://127.0.0.1:1/-/healthy", "--ready"],
            "--ready: it asks for /-/ready, but --url has another path",
        ),
        (&["--timeout", "0s"], "--timeout: \"0s\" is too short"),
        (&["--redis.url", "redis://a"], "--redis.url has no effect on healthcheck"),
    ] {
        let (code, said) = check(&[], arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let (code, said) = check(&[("COTURN_EXPORTER_WEB_CONFIG_FILE", "/nowhere/web.yml")], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("COTURN_EXPORTER_WEB_CONFIG_FILE: cannot use \"/nowhere/web.yml\": No such file"),
        "{said}"
    );
}
