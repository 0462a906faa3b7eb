//! Certificates of the exporter's own that have expired or end soon: what the log says, what is on the page, and what `doctor`
//! finds.

use crate::common::net::certificates::Authority;
use crate::common::net::tls::{Scraper, TlsClient};
use crate::common::servers::command::exporter as run;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::{ANYWHERE, listening};
use crate::common::temp_dir::TempDir;
use crate::doctor::Report;
use crate::web_config::{put, put_pair};

const NOT_AFTER: &str = "coturn_exporter_tls_certificate_not_after_timestamp_seconds";
const NOT_BEFORE: &str = "coturn_exporter_tls_certificate_not_before_timestamp_seconds";

/// 1 January 2021.
const LONG_AGO: f64 = 1_609_459_200.0;

const EXPIRED: &str = "the certificate of this exporter has expired";
const ENDS_SOON: &str = "the certificate of this exporter expires soon";

/// A directory with a web config file, and the flags of an exporter that has TLS on both sides.
fn with_tls(name: &str) -> (TempDir, Vec<String>) {
    let dir = TempDir::new(name);
    let web = put(&dir, "web.yml", "tls_server_config: {cert_file: web.crt, key_file: web.key}");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut flags: Vec<String> = ["--web.config.file", web.to_str().unwrap()].map(str::to_owned).into();
    for (flag, file) in [("cert", "statsdb.crt"), ("key", "statsdb.key")] {
        flags.extend([format!("--statsdb.tls-{flag}-file"), at(file)]);
    }
    (dir, flags)
}

#[test]
fn what_has_expired_or_ends_soon_is_logged_once_and_again_after_a_change() {
    let (dir, flags) = with_tls("expiring");
    let ca = Authority::new("ca");
    put_pair(&dir, "statsdb", &ca.issue_expired("statsdb", &["localhost"]));
    put_pair(&dir, "web", &ca.issue_ending_in(10, "web", &["localhost"]));
    let flags: Vec<&str> = ANYWHERE.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let tls = Some(TlsClient::trusting(&ca.cert_file));
    let exporter = Exporter::start(&flags).asked_by(Scraper { tls, login: None });
    let expired = exporter.until_logged(&[EXPIRED]);
    for word in
        ["level=warn", "listener=statsdb", "statsdb.crt", "not_after=2021-01-01T00:00:00.000Z", "fix="]
    {
        assert!(expired.contains(word), "{word}: {expired}");
    }
    let soon = exporter.until_logged(&[ENDS_SOON, "level=warn", "listener=web", "web.crt"]);
    assert!(soon.contains("fix=\"renew it"), "{soon}");
    let page = exporter.page();
    assert_eq!(page.value(NOT_AFTER, &[("listener", "statsdb")]), Some(LONG_AGO));
    let web = page.value(NOT_AFTER, &[("listener", "web")]).unwrap();
    assert_eq!(page.value(NOT_BEFORE, &[("listener", "web")]), Some(web - 365.0 * 86_400.0));

    put_pair(&dir, "statsdb", &ca.issue_ending_in(300, "statsdb", &["localhost"]));
    put_pair(&dir, "web", &ca.issue_ending_in(11, "web", &["localhost"]));
    exporter.until_logged(&["is valid, and not near its end any more", "level=info", "listener=statsdb"]);
    // Made some seconds after the other one.
    exporter.until("the end of the new certificate", |page| {
        match page.value(NOT_AFTER, &[("listener", "web")]) {
            Some(end) if (86_400.0..90_000.0).contains(&(end - web)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let log = exporter.log();
    assert_eq!((log.matches(EXPIRED).count(), log.matches(ENDS_SOON).count()), (1, 2), "{log}");
}

#[test]
fn without_tls_nothing_is_said_of_certificates() {
    let dir = TempDir::new("no-tls");
    let web = put(&dir, "web.yml", "http_server_config: {http2: false}");
    let (exporter, _) = listening(&["--web.config.file", web.to_str().unwrap()]);
    assert!(!exporter.text().contains("tls_certificate"), "{}", exporter.text());
    assert!(!exporter.log().contains("certificate"), "{}", exporter.log());
}

#[test]
fn doctor_finds_it_in_both_files() {
    let (dir, flags) = with_tls("expired");
    let ca = Authority::new("ca");
    put_pair(&dir, "statsdb", &ca.issue_expired("statsdb", &["localhost"]));
    put_pair(&dir, "web", &ca.issue_ending_in(10, "web", &["localhost"]));
    let (_service, address) = listening(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let address = address.to_string();
    let flags: Vec<&str> =
        ["--statsdb.listen-address", &address].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let report = Report::with(&flags);
    assert_eq!((report.code, report.faults()), (Some(1), vec!["listener-certificate"]), "{report:?}");
    let message = report.text("listener-certificate", "message");
    assert!(message.ends_with("statsdb.crt has expired on 2021-01-01T00:00:00Z"), "{message}");
    assert_eq!(report.severity("web-certificate"), "advice");
    assert!(report.text("web-certificate", "message").contains("web.crt expires soon, on 2"));

    put_pair(&dir, "statsdb", &ca.issue("statsdb", &["localhost"]));
    put_pair(&dir, "web", &ca.issue_for_later("web", &["localhost"]));
    let report = Report::with(&flags);
    assert_eq!((report.code, report.faults()), (Some(1), vec!["web-certificate"]), "{report:?}");
    assert!(report.text("web-certificate", "message").contains("is not valid yet, but from 2090-01-01"));
    // The key is none of doctor's business; a file that is not there is said to be so.
    std::fs::remove_file(dir.path().join("web.key")).unwrap();
    std::fs::remove_file(dir.path().join("web.crt")).unwrap();
    let report = Report::with(&flags);
    assert_eq!((report.code, report.severity("web-certificate")), (Some(0), "info"), "{report:?}");
    assert!(report.text("web-certificate", "message").contains("cannot read"), "{report:?}");
    let said = run(&[&["doctor"], &flags[..]].concat()).stdout;
    assert!(said.contains("not judged: the certificate"), "{said}");
}
