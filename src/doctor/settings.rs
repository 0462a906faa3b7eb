//! Judges the settings of a Redis by the values that `CONFIG GET` gives. Pure; the metrics use the same judgement.

use super::look::{ConfigValues, Look};
use super::{Fix, Severity, Verdict};

/// A setting that coturn or the exporter depends on, by the name that findings and metrics give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// `timeout`: when Redis closes quiet connections.
    Timeout,
    /// `tcp-keepalive`: when it notices a peer that is gone.
    TcpKeepalive,
    /// `client-output-buffer-limit` of subscribers.
    ClientOutputBufferLimit,
    /// `cluster-enabled`: a node of a cluster does not take every key.
    ClusterEnabled,
    /// `maxmemory-policy`: whether coturn's keys may be evicted, and whether idle times are known.
    MaxmemoryPolicy,
    /// The db that holds the status keys; not of Redis' configuration, see [`super::dbname_ok`].
    Dbname,
}

/// Every setting.
pub const SETTINGS: [Setting; 6] = [
    Setting::Timeout,
    Setting::TcpKeepalive,
    Setting::ClientOutputBufferLimit,
    Setting::ClusterEnabled,
    Setting::MaxmemoryPolicy,
    Setting::Dbname,
];

impl Setting {
    /// Its name, also as a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::TcpKeepalive => "tcp-keepalive",
            Self::ClientOutputBufferLimit => "client-output-buffer-limit",
            Self::ClusterEnabled => "cluster-enabled",
            Self::MaxmemoryPolicy => "maxmemory-policy",
            Self::Dbname => "dbname",
        }
    }
}

/// What to ask `CONFIG GET` for.
pub const ASKED: [&str; 6] = [
    "timeout",
    "tcp-keepalive",
    "client-output-buffer-limit",
    "maxmemory-policy",
    MAXMEMORY,
    "cluster-enabled",
];

/// The fix for a cluster, which coturn does not support.
pub(super) const NO_CLUSTER: &str =
    "a standalone Redis for redis-statsdb and --redis.url, or none: --statsdb.listen-address";

/// The limit of memory; 0 is none.
pub(super) const MAXMEMORY: &str = "maxmemory";

/// How the policies begin that evict keys without a time to live, too.
pub(super) const EVICTS_ALL: &str = "allkeys-";

/// Redis' default for subscribers, in bytes and seconds: `pubsub 32mb 8mb 60`.
const HARD_LIMIT: u64 = 32 << 20;
const SOFT_LIMIT: u64 = 8 << 20;
const SOFT_SECONDS: u64 = 60;

/// The `tcp-keepalive` that coturn's own notes ask for, in seconds, and Redis' default.
const KEEPALIVE: u64 = 60;
const DEFAULT_KEEPALIVE: u64 = 300;

/// A setting of Redis' configuration, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingState {
    /// Which.
    pub setting: Setting,
    /// Its value, as Redis says it.
    pub value: String,
    /// It is no fault.
    pub ok: bool,
    /// Why it matters, where it is not as it could be.
    pub why: Option<String>,
    /// What to set then: a command to Redis, or something to change elsewhere.
    pub fix: Option<String>,
}

/// Judges those settings whose values are known.
pub fn setting_states(values: &ConfigValues) -> Vec<SettingState> {
    let state = |&setting: &Setting| {
        let Verdict { severity, why, fix, .. } = judge(setting, values)?;
        let fix = fix.map(|(Fix::Redis(what) | Fix::Other(what))| what);
        let value = values.get(setting.as_str())?.to_owned();
        Some(SettingState { setting, value, ok: severity != Severity::Fault, why, fix })
    };
    SETTINGS.iter().filter_map(state).collect()
}

/// `None` where the values do not say.
fn judge(setting: Setting, values: &ConfigValues) -> Option<Verdict> {
    match setting {
        Setting::Timeout => timeout(values),
        Setting::TcpKeepalive => tcp_keepalive(values),
        Setting::ClientOutputBufferLimit => output_buffer_limit(values),
        Setting::ClusterEnabled => cluster_enabled(values),
        Setting::MaxmemoryPolicy => maxmemory_policy(values),
        Setting::Dbname => None,
    }
}

pub(super) fn cluster_enabled(values: &ConfigValues) -> Option<Verdict> {
    values.get(Setting::ClusterEnabled.as_str()).map(cluster)
}

/// The `cluster-enabled` of a Redis.
fn cluster(enabled: &str) -> Verdict {
    let id = Setting::ClusterEnabled.as_str();
    if enabled != "yes" {
        return Verdict::new(Severity::Ok, id, "Redis is no cluster: it takes every status key");
    }
    Verdict::new(Severity::Fault, id, "this is a node of a Redis Cluster, which coturn does not know")
        .because(
            "the node refuses the status keys of other nodes' slots (MOVED): after a start the exporter finds only \
             some of the live allocations; after a gap it ends none because its key is missing, so those that ended \
             meanwhile stay live until they are due. Events arrive all the same",
        )
        .fix(NO_CLUSTER)
}

/// Every setting that only `CONFIG GET` knows, and that can be judged; one line if none can.
pub(super) fn all(values: &Look<ConfigValues>) -> Vec<Verdict> {
    let not_judged = "timeout, tcp-keepalive, client-output-buffer-limit";
    if let Some(unseen) = Verdict::unseen(values, "config", "CONFIG GET", not_judged) {
        return vec![unseen.fix("run doctor once as a user who may: --redis.url with that login")];
    }
    let judges = [timeout, tcp_keepalive, output_buffer_limit];
    values.seen().map(|values| judges.iter().filter_map(|judge| judge(values)).collect()).unwrap_or_default()
}

fn timeout(values: &ConfigValues) -> Option<Verdict> {
    let id = Setting::Timeout.as_str();
    let seconds: u64 = values.get(id)?.parse().ok()?;
    if seconds == 0 {
        return Some(Verdict::new(Severity::Ok, id, "timeout is 0: quiet connections stay open"));
    }
    let verdict = Verdict::new(Severity::Fault, id, format!("timeout is {seconds}, it must be 0"))
        .because(format!(
            "Redis closes connections that are quiet for {seconds} s, coturn's among them; what coturn publishes next \
             is lost, ends and totals of allocations included"
        ))
        .redis("CONFIG SET timeout 0");
    Some(verdict)
}

fn tcp_keepalive(values: &ConfigValues) -> Option<Verdict> {
    let id = Setting::TcpKeepalive.as_str();
    let seconds: u64 = values.get(id)?.parse().ok()?;
    let is = format!("tcp-keepalive is {seconds}");
    let verdict = match seconds {
        0 => Verdict::new(Severity::Fault, id, format!("{is}, it must not be 0")).because(
            "connections of hosts that vanished stay for ever, and firewalls forget the quiet ones that are alive",
        ),
        1..=KEEPALIVE => return Some(Verdict::new(Severity::Ok, id, is)),
        DEFAULT_KEEPALIVE => Verdict::new(Severity::Info, id, format!("{is}, Redis' default; 60 is recommended"))
            .because("a firewall between coturn and Redis may forget a connection within five minutes"),
        _ => Verdict::new(Severity::Advice, id, format!("{is}; 60 is recommended"))
            .because("a firewall between coturn and Redis may forget a quiet connection sooner"),
    };
    Some(verdict.redis("CONFIG SET tcp-keepalive 60"))
}

fn output_buffer_limit(values: &ConfigValues) -> Option<Verdict> {
    let id = Setting::ClientOutputBufferLimit.as_str();
    let mut words = values.get(id)?.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
    let mut number = || words.next()?.parse::<u64>().ok();
    let (hard, soft, seconds) = (number()?, number()?, number()?);
    let is = format!("client-output-buffer-limit pubsub is {hard} {soft} {seconds}");
    // A soft limit that is not below the hard one never acts.
    let soft_acts = soft != 0 && (hard == 0 || soft < hard);
    let too_small =
        (hard != 0 && hard < HARD_LIMIT) || (soft_acts && (soft < SOFT_LIMIT || seconds < SOFT_SECONDS));
    let verdict = if too_small {
        Verdict::new(Severity::Fault, id, format!("{is}, less than Redis' default"))
            .because("Redis cuts a subscriber that is behind by that much; what was queued for it is lost")
            .redis(format!("CONFIG SET {id} 'pubsub {HARD_LIMIT} {SOFT_LIMIT} {SOFT_SECONDS}'"))
    } else if hard == 0 {
        Verdict::new(Severity::Info, id, format!("{is}: no hard limit"))
            .because("the exporter is never cut, but a subscriber that hangs can take all of Redis' memory")
    } else {
        Verdict::new(Severity::Ok, id, is)
    };
    Some(verdict)
}

pub(super) fn maxmemory_policy(values: &ConfigValues) -> Option<Verdict> {
    let id = Setting::MaxmemoryPolicy.as_str();
    let policy = values.get(id)?;
    let is = format!("maxmemory-policy is {policy}");
    let unlimited = values.get(MAXMEMORY) == Some("0");
    let evicts = policy.starts_with(EVICTS_ALL);
    // Keys without a time to live, as coturn's, are never evicted by the policies that begin so.
    let better = if policy.ends_with("-random") { "volatile-random" } else { "volatile-lru" };
    let verdict = if policy.ends_with("-lfu") {
        Verdict::new(Severity::Fault, id, format!("{is}: Redis does not know how long a key has been idle")).because(
            "after a gap or a start the age of allocations is unknown, leftovers count as live for a lifetime, and \
             prune cannot work; idle times need a while to settle after the change",
        )
    } else if evicts && !unlimited {
        Verdict::new(Severity::Fault, id, format!("{is}: it may evict coturn's status keys"))
            .because(
                "a live allocation whose key is evicted is not found after a start; after a gap none is ended because its \
                 key is missing, so those that ended meanwhile stay live until they are due",
            )
    } else if evicts {
        Verdict::new(Severity::Info, id, format!("{is}; nothing is evicted while maxmemory is 0"))
            .because("with a limit on memory it would evict coturn's status keys")
    } else {
        return Some(Verdict::new(Severity::Ok, id, is));
    };
    Some(verdict.redis(format!("CONFIG SET {id} {better}")))
}
