//! What coturn's own file gives, and what the flags beside it do.

use std::time::Duration;

use super::{config, error};
use crate::config::Config;

/// A file of coturn's for one test.
struct CoturnFileOnDisk(std::path::PathBuf);

impl CoturnFileOnDisk {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-{name}.conf", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn config(&self, line: &str) -> Config {
        config(&format!("{line} --coturn.config-file={}", self.0.display()))
    }
}

impl Drop for CoturnFileOnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_file_of_coturn_gives_what_no_flag_does() {
    let file = CoturnFileOnDisk::new(
        "gives",
        "redis-statsdb=\"ip=10.0.0.9 dbname=4 password=x\"\nmax-allocate-lifetime=7200\nrealm=r.example\nrest-api-separator=|\n",
    );
    let alone = file.config("");
    assert_eq!(alone.sources[0].name, "redis://10.0.0.9:6379/4");
    assert_eq!(alone.table.max_lifetime, Duration::from_secs(7200));
    assert_eq!((alone.table.rest_separator, alone.table.realms), (b'|', vec![b"r.example".to_vec()]));
    let all = ["redis.url", "allocation.max-lifetime", "session.rest-separator", "metrics.realm"];
    assert_eq!(alone.coturn.unwrap().used_for, all);

    let given = file.config(
        "--redis.url=redis://h --allocation.max-lifetime=1h --session.rest-separator=: --metrics.realm=other",
    );
    assert_eq!(given.sources[0].name, "redis://h:6379/0");
    assert_eq!(given.table.max_lifetime, Duration::from_secs(3600));
    assert_eq!((given.table.rest_separator, given.table.realms), (b':', vec![b"other".to_vec()]));
    assert!(given.coturn.unwrap().used_for.is_empty());

    let listener = file.config("--statsdb.listen-address=127.0.0.1:6390");
    assert!(listener.sources.is_empty() && listener.statsdb.is_some());
    assert_eq!(file.config("prune").sources[0].db, 4);
    assert_eq!(file.config("replay a").table.max_lifetime, Duration::from_secs(7200));
}

#[test]
fn a_file_of_coturn_that_cannot_be_used_is_an_error_but_not_for_the_doctor() {
    let file = CoturnFileOnDisk::new("broken", "redis-statsdb=\"ip=a password=two words\"\n");
    let flag = format!("--coturn.config-file={}", file.0.display());
    let said = error(&flag);
    assert!(said.starts_with("--coturn.config-file: redis-statsdb in this file cannot be used"), "{said}");
    assert!(said.contains("blank") && !said.contains("two"), "{said}");
    assert!(file.config("doctor").sources.is_empty());
    assert_eq!(file.config("--redis.url=redis://h").sources.len(), 1, "the flag is in its place");
    let missing = error("--coturn.config-file=/nowhere/t");
    assert!(
        missing.starts_with("--coturn.config-file: cannot read \"/nowhere/t\": No such file"),
        "{missing}"
    );
    assert!(error("demo --coturn.config-file=t").contains("no effect on demo"));
}
