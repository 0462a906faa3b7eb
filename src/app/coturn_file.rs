//! coturn's own file: what was read of it is logged and shown on the page, and what a change of it needs.

use std::path::Path;
use std::sync::Arc;

use crate::config::turnserver::{FLAG, StatsdbTarget};
use crate::config::{CoturnFile, TurnserverConf};
use crate::metrics::CoturnLimits;
use crate::reload::{Reload, Reloaded, Reread};

/// Logs what was read at the start, without secrets.
pub(super) fn log_at_start(file: &CoturnFile) {
    log(&file.path, &file.conf.current(), &file.used_for);
}

fn log(path: &Path, conf: &TurnserverConf, used_for: &[&'static str]) {
    let target = conf.statsdb.as_ref().and_then(|statsdb| statsdb.as_ref().ok());
    tracing::info!(
        file = %path.display(),
        used_for = (!used_for.is_empty()).then(|| used_for.join(",")),
        statsdb = target.map(StatsdbTarget::url),
        has_statsdb_password = target.map(|target| target.password.is_some()),
        realm = conf.realm,
        max_allocate_lifetime = conf.max_allocate_lifetime.map(|lifetime| lifetime.as_secs()),
        relay_ports = format!("{}-{}", conf.relay_ports.0, conf.relay_ports.1),
        relay_ips = (!conf.relay_ips.is_empty()).then(|| conf.relay_ips.join(",")),
        total_quota = conf.total_quota,
        user_quota = conf.user_quota,
        bps_capacity = conf.bps_capacity,
        rest_names = conf.has_rest_names,
        static_users = conf.static_users,
        mobility = conf.has_mobility,
        "coturn's file was read"
    );
    match &conf.statsdb {
        None => tracing::warn!(
            file = %path.display(),
            "coturn's file has no redis-statsdb: coturn reports nothing; `doctor` prints the line"
        ),
        Some(Err(error)) => tracing::warn!(
            file = %path.display(),
            %error,
            "coturn cannot use the redis-statsdb of its file, and reports nothing"
        ),
        Some(Ok(_)) => {}
    }
}

/// The limits that the file sets, for the page.
pub(super) fn limits(conf: &TurnserverConf) -> CoturnLimits {
    let ports = conf.ports_of_each_ip();
    let relay_ports = if conf.relay_ips.is_empty() {
        vec![(String::new(), ports)]
    } else {
        conf.relay_ips.iter().map(|ip| (ip.clone(), ports)).collect()
    };
    CoturnLimits { relay_ports, quota: conf.total_quota }
}

/// The file while the exporter runs.
pub(super) struct WatchedCoturnFile {
    file: CoturnFile,
    at_start: Arc<TurnserverConf>,
}

impl WatchedCoturnFile {
    /// The file as it was read at the start.
    pub(super) fn new(file: &CoturnFile) -> Self {
        Self { file: file.clone(), at_start: file.conf.current() }
    }

    /// What it says now.
    fn conf(&self) -> &Reloaded<TurnserverConf> {
        &self.file.conf
    }
}

impl Reload for WatchedCoturnFile {
    fn flag(&self) -> &'static str {
        FLAG
    }

    fn reload(&self, any_case: bool) -> Reread {
        let reread = self.conf().reload(any_case);
        if matches!(reread, Reread::Changed { .. }) {
            let conf = self.conf().current();
            log(&self.file.path, &conf, &self.file.used_for);
            let options = conf.needs_restart(&self.at_start);
            if !options.is_empty() {
                tracing::warn!(
                    file = %self.file.path.display(),
                    options = options.join(","),
                    "these options of coturn's file are others than at the start of the exporter: restart it to use them \
                     (ports and quotas are in use already)"
                );
            }
        }
        reread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relay_address_has_all_ports() {
        let limits = |text| limits(&TurnserverConf::parse(text));
        let two =
            limits("min-port=50000\nmax-port=50099\nrelay-ip=192.0.2.1\nrelay-ip=192.0.2.2\ntotal-quota=150");
        let ports = vec![("192.0.2.1".to_owned(), 100), ("192.0.2.2".to_owned(), 100)];
        assert_eq!(two, CoturnLimits { relay_ports: ports, quota: Some(150) });
        let none = CoturnLimits { relay_ports: vec![(String::new(), 16384)], quota: None };
        assert_eq!(limits("total-quota=0"), none);
    }
}
