//! A Redis on a unix socket, with a password.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";

#[test]
fn a_socket_with_a_password_is_watched_and_comes_back() {
    const DB: u8 = 3;
    let dir = TempDir::short();
    let socket = dir.path().join("redis.sock").display().to_string();
    let mut redis = Redis::start_with(Some("right-one"), &[("unixsocket", &socket)]);
    let mut statsdb = Statsdb::connect(&redis, DB);
    statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);

    let password = dir.write("password", "right-one\n").display().to_string();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    let url = format!("unix://{socket}?db={DB}");
    let exporter = Exporter::start(&["--redis.url", &url, "--redis.password-file", &password]);
    exporter.wait_ready();
    let page = exporter.page();
    assert_eq!(page.value("coturn_exporter_source_up", &[("source", &url)]), Some(1.0));
    assert_eq!(page.value("coturn_exporter_resync_ok", &[("source", &url)]), Some(1.0));
    assert_eq!(page.count("coturn_allocations_adopted_total", &[("realm", REALM)]), 1);
    statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
    exporter.until_value("coturn_allocations", &[("realm", REALM), ("transport", "udp")], 2.0);

    redis.kill();
    exporter.until_value("coturn_exporter_source_up", &[("source", &url)], 0.0);
    redis.start_again();
    exporter.until_value("coturn_exporter_source_up", &[("source", &url)], 1.0);
    Statsdb::connect(&redis, DB).open(&Allocation::new(REALM, "alice", 3), 600);
    exporter.until_value("coturn_allocations", &[("realm", REALM), ("transport", "udp")], 3.0);
    assert!(!exporter.log().contains("right-one") && !exporter.text().contains("right-one"));

    // Written with the usual rights, which let others read it: said once. With its own, not at all.
    let warnings = |exporter: &Exporter| exporter.log().matches("others may read this password file").count();
    assert_eq!(warnings(&exporter), 1, "{}", exporter.log());
    drop(exporter);
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let exporter = Exporter::start(&["--redis.url", &url, "--redis.password-file", &password]);
    exporter.wait_ready();
    assert_eq!(warnings(&exporter), 0, "{}", exporter.log());
}

#[test]
fn a_socket_that_is_not_there_and_a_wrong_password_are_said() {
    let dir = TempDir::short();
    let socket = dir.path().join("redis.sock").display().to_string();
    let url = format!("unix://:not-the-one@{socket}");
    let exporter = Exporter::start(&["--redis.url", &url]);
    exporter.until_logged(&["not watching", "cannot connect: No such file"]);

    let _redis = Redis::start_with(Some("right-one"), &[("unixsocket", &socket)]);
    exporter.until_logged(&["not watching", "Redis refuses the login"]);
    assert!(!exporter.log().contains("not-the-one"), "{}", exporter.log());
}
