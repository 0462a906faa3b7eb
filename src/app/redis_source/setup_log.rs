//! What is logged of the setup of a source's Redis: each problem once, and again when it changes or comes back.

use std::collections::BTreeMap;
use std::error::Error;

use crate::app::log_once::LogOnce;
use crate::doctor::retention::{Doubt, Retention};
use crate::doctor::{Setting, SettingState};
use crate::state::DBNAME_FIX;

/// Of one source, from link to link.
#[derive(Debug, Default)]
pub(super) struct SetupLog {
    /// Settings that are wrong, with the value that was logged.
    settings: BTreeMap<&'static str, LogOnce<String>>,
    /// Why a missing key proves nothing; logged once for each link.
    doubt: LogOnce<Doubt>,
    /// The resync is impossible; logged once for each link.
    no_resync: LogOnce,
    /// Idle times are unknown; logged once for each link.
    no_ages: LogOnce,
}

impl SetupLog {
    /// A new link: what is wrong with its keys is logged anew. Settings are those of the server, not of the link.
    pub(super) fn link_begins(&mut self) {
        *self = Self { settings: std::mem::take(&mut self.settings), ..Self::default() };
    }

    /// What Redis says of its settings. One that is the reason for `doubt` is named there.
    pub(super) fn settings(&mut self, source: &str, states: &[SettingState], doubt: Option<Doubt>) {
        let in_doubt = doubt.and_then(Doubt::setting);
        for SettingState { setting, value, ok, why, fix } in states {
            let name = setting.as_str();
            let (why, fix) = (why.as_deref(), fix.as_deref());
            if in_doubt == Some(*setting) {
                self.settings.remove(name);
            } else if *ok {
                self.setting_is_right(source, name, Some(value));
            } else if self.settings.entry(name).or_default().is_news(value.clone()) {
                tracing::warn!(source, setting = name, value, fix, why, "a setting of Redis is wrong");
            }
        }
    }

    /// Whether coturn's keys are in the db that is read; `None` where that does not show.
    pub(super) fn db(&mut self, source: &str, is_right: Option<bool>, live_without_key: u64) {
        let setting = Setting::Dbname.as_str();
        match is_right {
            Some(true) => self.setting_is_right(source, setting, None),
            Some(false) if self.settings.entry(setting).or_default().is_news(String::new()) => {
                tracing::warn!(
                    source,
                    setting,
                    live_without_key,
                    fix = DBNAME_FIX,
                    "no live allocation has its key in this db: does redis-statsdb name another dbname?"
                );
            }
            Some(false) | None => {}
        }
    }

    fn setting_is_right(&mut self, source: &str, setting: &'static str, value: Option<&String>) {
        if self.settings.entry(setting).or_default().solve() {
            tracing::info!(source, setting, value, "a setting of Redis is right again");
        }
    }

    /// Whether a missing key proves something.
    pub(super) fn keys(&mut self, source: &str, doubt: Option<Doubt>, seen: &Retention) {
        let Some(doubt) = doubt else {
            if self.doubt.solve() {
                tracing::info!(source, "a missing status key proves an end again");
            }
            return;
        };
        if !self.doubt.is_news(doubt) {
            return;
        }
        let redis_mode =
            seen.is_cluster().map(|is_cluster| if is_cluster { "cluster" } else { "standalone" });
        tracing::warn!(
            source,
            reason = %doubt,
            redis_mode,
            maxmemory_policy = seen.policy(),
            evicted_keys = seen.evicted,
            refused_writes = seen.all_refused(),
            fix = doubt.fix(),
            "a missing status key proves nothing here: none of the live allocations is ended because its key is missing, and \
             a start finds only those whose key is here"
        );
    }

    /// The resync cannot be done, or can (again).
    pub(super) fn resync(&mut self, source: &str, impossible: Option<&dyn Error>) {
        match impossible {
            Some(error) if self.no_resync.is_news(()) => tracing::warn!(
                source,
                %error,
                "cannot read status keys; allocations that already exist appear at their next event"
            ),
            None if self.no_resync.solve() => tracing::info!(source, "status keys can be read again"),
            _ => {}
        }
    }

    /// Keys were found whose idle time Redis does not tell.
    pub(super) fn ages_unknown(&mut self, source: &str, keys: u64) {
        if keys > 0 && self.no_ages.is_news(()) {
            tracing::warn!(
                source,
                keys,
                fix = "a maxmemory-policy without lfu, and a Redis that answers OBJECT IDLETIME",
                "Redis does not say how old status keys are: leftover keys count as live for one lifetime"
            );
        }
    }
}
