//! Whether a key that a resync does not find proves an end. Judges from one look at a Redis to the next: a key that was
//! lost an hour ago is still missing. Pure: no I/O, time is an argument.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::doctor::retention::{Doubt, Retention};

/// Whether a missing key proves something, from one look at a Redis to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyTrust {
    evicted: u64,
    refused_writes: u64,
    /// By then each live allocation has set its key anew.
    lost_until: Option<Timestamp>,
}

impl KeyTrust {
    /// Why a missing key proves nothing at `now`, if so. A live allocation sets its key at least once in `longest`.
    pub(super) fn judge(&mut self, now: Timestamp, seen: &Retention, longest: Duration) -> Option<Doubt> {
        let evicted = has_news(&mut self.evicted, seen.evicted) && seen.counts_evictions();
        let refused = has_news(&mut self.refused_writes, seen.all_refused());
        let evicts = seen.may_evict();
        if evicted || refused || evicts == Some(true) {
            self.lost_until = Some(now.plus(longest));
        }
        match (seen.is_cluster(), evicts) {
            (Some(true), _) => Some(Doubt::Cluster),
            (_, Some(true)) => Some(Doubt::Eviction),
            (None, _) => Some(Doubt::Unknown),
            (_, None) => Some(Doubt::UnknownMemory),
            _ => self.lost_until.is_some_and(|until| now < until).then_some(Doubt::Loss),
        }
    }
}

/// A counter has risen since, or began anew and has risen.
fn has_news(before: &mut u64, count: u64) -> bool {
    std::mem::replace(before, count) != count && count > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.plus(Duration::from_secs(seconds))
    }

    fn of(mode: &str, maxmemory: &str, policy: &str, evicted: u64, oom: u64) -> Retention {
        let info = format!(
            "# Server\r\nredis_mode:{mode}\r\n# Memory\r\nmaxmemory:{maxmemory}\r\nmaxmemory_human:1B\r\n\
             maxmemory_policy:{policy}\r\n# Stats\r\nevicted_keys:{evicted}\r\n# Errorstats\r\n\
             errorstat_ERR:count=7\r\nerrorstat_OOM:count={oom}\r\n"
        );
        Retention::of_info(&info)
    }

    fn doubt(seen: &Retention) -> Option<Doubt> {
        KeyTrust::default().judge(at(10), seen, HOUR)
    }

    #[test]
    fn a_key_is_missing_for_a_reason_only_where_every_key_is_taken_and_kept() {
        for (mode, maxmemory, policy, expected) in [
            ("standalone", "0", "noeviction", None),
            ("standalone", "0", "allkeys-lru", None),
            ("standalone", "1000", "noeviction", None),
            ("standalone", "1000", "volatile-ttl", None),
            ("standalone", "1000", "allkeys-random", Some(Doubt::Eviction)),
            ("cluster", "0", "noeviction", Some(Doubt::Cluster)),
            ("cluster", "1000", "allkeys-lru", Some(Doubt::Cluster)),
            ("of_tomorrow", "0", "noeviction", Some(Doubt::Unknown)),
        ] {
            assert_eq!(doubt(&of(mode, maxmemory, policy, 0, 0)), expected, "{mode} {maxmemory} {policy}");
        }
        let text = |info: &str| doubt(&Retention::of_info(info));
        assert_eq!(text(""), Some(Doubt::Unknown));
        assert_eq!(text("redis_mode:standalone\r\n"), Some(Doubt::UnknownMemory));
        assert_eq!(text("server_mode:cluster\r\nmaxmemory:0\r\n"), Some(Doubt::Cluster));
        assert_eq!(
            text("redis_mode:standalone\r\ncluster_enabled:1\r\nmaxmemory:0\r\n"),
            Some(Doubt::Cluster)
        );
        assert_eq!(text("cluster_enabled:0\nmaxmemory:0\n"), None);
        assert!(Doubt::Unknown.hides_the_db() && Doubt::Cluster.hides_the_db());
        assert!(!Doubt::UnknownMemory.hides_the_db());
    }

    #[test]
    fn what_info_does_not_say_config_may() {
        let mut seen = Retention::of_info("cluster_enabled:0\r\n");
        let config = [("cluster-enabled", "yes"), ("maxmemory", "0"), ("timeout", "5")];
        seen.complete(&config.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect());
        assert_eq!((seen.is_cluster(), doubt(&seen)), (Some(false), None), "INFO comes first");
        assert_eq!(seen.values.get("timeout"), None);
        assert_eq!(Retention::of_info("uptime_in_seconds:42\r\n").uptime, Some(Duration::from_secs(42)));
        assert_eq!((seen.uptime, Retention::of_info("uptime_in_seconds:-1\r\n").uptime), (None, None));
    }

    #[test]
    fn what_was_lost_is_doubtful_until_each_live_allocation_has_set_its_key_again() {
        let mut trust = KeyTrust::default();
        let mut judge = |seconds, seen: &Retention| trust.judge(at(seconds), seen, HOUR);
        let well = |evicted, oom| of("standalone", "1000", "noeviction", evicted, oom);
        assert_eq!(judge(0, &well(0, 0)), None);
        assert_eq!(judge(300, &of("standalone", "1000", "allkeys-lru", 5, 0)), Some(Doubt::Eviction));
        assert_eq!(judge(600, &well(5, 0)), Some(Doubt::Loss), "the policy was corrected, the keys are gone");
        assert_eq!(judge(3899, &well(5, 0)), Some(Doubt::Loss));
        assert_eq!(judge(3900, &well(5, 0)), None);
        assert_eq!(judge(4000, &well(5, 3)), Some(Doubt::Loss), "refused with OOM");
        assert_eq!(judge(7600, &well(5, 3)), None);
        assert_eq!(judge(7700, &well(5, 1)), Some(Doubt::Loss), "restarted, and refused again");
        assert_eq!(judge(11_300, &well(0, 0)), None);
        let unsaved = |text| Retention::of_info(&format!("redis_mode:standalone\nmaxmemory:0\n{text}"));
        for text in ["errorstat_MISCONF:count=4", "errorstat_NOREPLICAS:count=4"] {
            assert_eq!(doubt(&unsaved(text)), Some(Doubt::Loss), "{text}");
        }
        assert_eq!(judge(11_400, &well(2, 0)), Some(Doubt::Loss));
        let volatile = |evicted| of("standalone", "1000", "volatile-lru", evicted, 0);
        assert_eq!(judge(15_000, &volatile(2)), None);
        assert_eq!(judge(15_300, &volatile(900)), None, "keys with a time to live are none of coturn's");
    }
}
