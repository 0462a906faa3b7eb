//! Whether Redis takes and keeps every status key: where it does not, a missing key proves nothing. Pure: also for the
//! resync, which ends allocations with a missing key only where that is proof.

use std::fmt;
use std::time::Duration;

use super::look::ConfigValues;
use super::settings::{self, NO_CLUSTER, Setting};

/// What Redis says of its mode and its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Which Redis it is, where it says so: `run_id`, drawn by lot when it starts, a blank, and `master_replid`, another one from
    /// the moment on at which a replica is the master.
    pub redis: Option<String>,
    /// How long its process has run, to the second.
    pub uptime: Option<Duration>,
    /// `cluster-enabled`, `maxmemory` and `maxmemory-policy`, as far as they are known.
    pub values: ConfigValues,
    /// Keys evicted since it started.
    pub evicted: u64,
    /// Writes refused for lack of memory since it started.
    pub refused_writes: u64,
    /// Writes, and PINGs, refused since then because it cannot save its data (`MISCONF`) or has too few replicas
    /// (`NOREPLICAS`). It passes on what is published all the same.
    pub refused_otherwise: u64,
}

impl Retention {
    /// From the text of `INFO`. Valkey 8 has `server_mode` for `redis_mode`; either has `cluster_enabled`.
    pub fn of_info(info: &str) -> Self {
        let field = |name: &str| {
            let of_line = |line: &str| {
                let (key, value) = line.split_once(':')?;
                (key == name).then(|| value.trim().to_owned())
            };
            info.lines().find_map(of_line)
        };
        let cluster = match field("redis_mode").or_else(|| field("server_mode")).as_deref() {
            Some("cluster") => Some("yes"),
            mode => match (field("cluster_enabled").as_deref(), mode) {
                (Some("1"), _) => Some("yes"),
                (Some("0"), _) | (None, Some("standalone")) => Some("no"),
                _ => None,
            },
        };
        let count = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let errors = |name: &str| count(field(name).as_deref().and_then(|of| of.strip_prefix("count=")));
        let values = [
            (Setting::ClusterEnabled.as_str(), cluster.map(str::to_owned)),
            (settings::MAXMEMORY, field("maxmemory")),
            (Setting::MaxmemoryPolicy.as_str(), field("maxmemory_policy")),
        ];
        Self {
            redis: field("run_id").map(|run| run + " " + &field("master_replid").unwrap_or_default()),
            uptime: field("uptime_in_seconds")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            values: values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
            evicted: count(field("evicted_keys").as_deref()),
            // Redis 6.2 and later.
            refused_writes: errors("errorstat_OOM"),
            refused_otherwise: errors("errorstat_MISCONF").saturating_add(errors("errorstat_NOREPLICAS")),
        }
    }

    /// Takes from `CONFIG GET` what `INFO` did not say.
    pub fn complete(&mut self, config: &ConfigValues) {
        let names =
            [Setting::ClusterEnabled.as_str(), settings::MAXMEMORY, Setting::MaxmemoryPolicy.as_str()];
        self.values.complete(names.into_iter().filter_map(|name| Some((name, config.get(name)?))));
    }

    /// Whether it is a node of a cluster, where that is known.
    pub fn is_cluster(&self) -> Option<bool> {
        self.values.get(Setting::ClusterEnabled.as_str()).map(|enabled| enabled == "yes")
    }

    /// Its `maxmemory-policy`, where that is known.
    pub fn policy(&self) -> Option<&str> {
        self.values.get(Setting::MaxmemoryPolicy.as_str())
    }

    /// Writes refused since it started, for whatever reason; PINGs, this exporter's too, are among them.
    pub const fn all_refused(&self) -> u64 {
        self.refused_writes.saturating_add(self.refused_otherwise)
    }

    /// Whether it may evict keys that have no time to live, as coturn's; `None` where that is not known.
    pub fn may_evict(&self) -> Option<bool> {
        if self.values.get(settings::MAXMEMORY) == Some("0") {
            return Some(false);
        }
        self.policy().map(|policy| policy.starts_with(settings::EVICTS_ALL))
    }

    /// Whether keys that were evicted may be coturn's: under an earlier policy, too, but not under `volatile-*`.
    pub fn counts_evictions(&self) -> bool {
        self.policy().is_none_or(|policy| !policy.starts_with("volatile-"))
    }
}

/// Why a missing key proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A node of a Redis Cluster refuses the keys of other nodes' slots (`MOVED`); coturn does not follow.
    Cluster,
    /// Keys may be evicted.
    Eviction,
    /// Keys were evicted or refused within one lifetime.
    Loss,
    /// It is no cluster; whether keys may be evicted is not known.
    UnknownMemory,
    /// Nothing is known.
    Unknown,
}

impl Doubt {
    /// The setting that is to blame, if one is.
    pub const fn setting(self) -> Option<Setting> {
        match self {
            Self::Cluster => Some(Setting::ClusterEnabled),
            Self::Eviction => Some(Setting::MaxmemoryPolicy),
            Self::Loss | Self::UnknownMemory | Self::Unknown => None,
        }
    }

    /// Whether all keys may be missing although coturn uses the db that is read.
    pub const fn hides_the_db(self) -> bool {
        !matches!(self, Self::UnknownMemory)
    }

    /// What to do about it.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Cluster => NO_CLUSTER,
            Self::Eviction => "CONFIG SET maxmemory-policy volatile-lru, or CONFIG SET maxmemory 0",
            Self::Loss => {
                "INFO errorstats says why: for OOM CONFIG SET maxmemory, for MISCONF room on the disk of Redis, for NOREPLICAS \
                 its replicas"
            }
            Self::UnknownMemory | Self::Unknown => "+info for the ACL user, or a Redis that answers INFO",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "Redis Cluster: this node refuses the keys of other nodes' slots",
            Self::Eviction => "Redis may evict status keys when its memory is full",
            Self::Loss => "Redis has recently evicted keys, or refused writes",
            Self::UnknownMemory => "INFO gives no answer: whether Redis evicts keys is not known",
            Self::Unknown => "INFO gives no answer: whether Redis takes and keeps all keys is not known",
        })
    }
}
