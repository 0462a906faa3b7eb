//! What was said of the setup of a source's Redis: each thing once, and again when it changes or is mended.

use std::collections::BTreeMap;

use crate::doctor::retention::{Doubt, Retention};
use crate::doctor::{Setting, SettingState};

/// Of one source, from link to link.
#[derive(Debug, Default)]
pub(super) struct SetupLog {
    /// Settings that are wrong, with the value that was named.
    settings: BTreeMap<&'static str, String>,
    /// Why a missing key proves nothing; said once a link.
    doubt: Option<Doubt>,
    /// The resync is impossible; said once a link.
    no_resync: bool,
    /// Idle times are unknown; said once a link.
    no_ages: bool,
}

impl SetupLog {
    /// A new link: what is wrong with its keys is said anew. Settings are those of the server, not of the link.
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
                self.mended(source, name, Some(value));
            } else if self.settings.insert(name, value.clone()).as_ref() != Some(value) {
                tracing::warn!(source, setting = name, value, fix, why, "a setting of Redis is wrong");
            }
        }
    }

    /// Whether coturn's keys are in the db that is read; `None` where that does not show.
    pub(super) fn db(&mut self, source: &str, is_right: Option<bool>, live_without_key: u64) {
        let setting = Setting::Dbname.as_str();
        match is_right {
            Some(true) => self.mended(source, setting, None),
            Some(false) if self.settings.insert(setting, String::new()).is_none() => {
                let fix = "the db of redis-statsdb in --redis.url, or dbname in redis-statsdb";
                tracing::warn!(
                    source,
                    setting,
                    live_without_key,
                    fix,
                    "no live allocation has its key in this db: does redis-statsdb name another dbname?"
                );
            }
            Some(false) | None => {}
        }
    }

    fn mended(&mut self, source: &str, setting: &'static str, value: Option<&String>) {
        if self.settings.remove(setting).is_some() {
            tracing::info!(source, setting, value, "a setting of Redis is right again");
        }
    }

    /// Whether a missing key proves something.
    pub(super) fn keys(&mut self, source: &str, doubt: Option<Doubt>, seen: &Retention) {
        if std::mem::replace(&mut self.doubt, doubt) == doubt {
            return;
        }
        let Some(doubt) = doubt else {
            tracing::info!(source, "a missing status key proves an end again");
            return;
        };
        let redis_mode =
            seen.is_cluster().map(|is_cluster| if is_cluster { "cluster" } else { "standalone" });
        tracing::warn!(
            source,
            reason = %doubt,
            redis_mode,
            maxmemory_policy = seen.policy(),
            evicted_keys = seen.evicted,
            refused_writes = seen.refused_writes,
            fix = doubt.fix(),
            "a missing status key proves nothing here: none of the live allocations is ended for want of its key, and \
             a start finds only those whose key is here"
        );
    }

    /// The resync cannot be done, or can (again).
    pub(super) fn resync(&mut self, source: &str, impossible: Option<&dyn std::error::Error>) {
        let was_impossible = std::mem::replace(&mut self.no_resync, impossible.is_some());
        match impossible {
            Some(error) if !was_impossible => {
                tracing::warn!(source, %error, "no resync: what lived before the start is told by its next event only");
            }
            None if was_impossible => tracing::info!(source, "status keys can be read again"),
            _ => {}
        }
    }

    /// Keys were found whose idle time Redis does not tell.
    pub(super) fn ages_unknown(&mut self, source: &str, keys: u64) {
        if keys > 0 && !std::mem::replace(&mut self.no_ages, true) {
            tracing::warn!(
                source,
                keys,
                fix = "a maxmemory-policy without lfu, and a Redis that answers OBJECT IDLETIME",
                "Redis does not say how old status keys are: leftover keys count as live for one lifetime"
            );
        }
    }
}
