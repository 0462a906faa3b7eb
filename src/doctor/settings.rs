//! Judges the settings of a Redis by the values that `CONFIG GET` gives. Pure: also for whoever turns them into metrics.

use super::facts::{ConfigValues, Look};
use super::{Severity, Verdict};

/// A setting that coturn or the exporter depends on, by the name that findings and metrics give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// `timeout`: when Redis closes quiet connections.
    Timeout,
    /// `tcp-keepalive`: when it notices a peer that is gone.
    TcpKeepalive,
    /// `client-output-buffer-limit` of subscribers.
    ClientOutputBufferLimit,
    /// The db that holds the status keys; not of Redis' configuration, see [`super::dbname_ok`].
    Dbname,
}

/// Every setting.
pub const SETTINGS: [Setting; 4] =
    [Setting::Timeout, Setting::TcpKeepalive, Setting::ClientOutputBufferLimit, Setting::Dbname];

impl Setting {
    /// Its name, also as a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::TcpKeepalive => "tcp-keepalive",
            Self::ClientOutputBufferLimit => "client-output-buffer-limit",
            Self::Dbname => "dbname",
        }
    }
}

/// What to ask `CONFIG GET` for.
pub const ASKED: [&str; 5] =
    ["timeout", "tcp-keepalive", "client-output-buffer-limit", "maxmemory-policy", "maxmemory"];

/// Redis' default for subscribers, in bytes and seconds: `pubsub 32mb 8mb 60`.
const HARD_LIMIT: u64 = 32 << 20;
const SOFT_LIMIT: u64 = 8 << 20;
const SOFT_SECONDS: u64 = 60;

/// The `tcp-keepalive` that coturn's own notes ask for, in seconds, and Redis' default.
const KEEPALIVE: u64 = 60;
const DEFAULT_KEEPALIVE: u64 = 300;

/// Whether a setting of Redis' configuration is no fault; `None` where the values do not tell.
pub fn setting_ok(setting: Setting, values: &ConfigValues) -> Option<bool> {
    let verdict = match setting {
        Setting::Timeout => timeout(values),
        Setting::TcpKeepalive => tcp_keepalive(values),
        Setting::ClientOutputBufferLimit => output_buffer_limit(values),
        Setting::Dbname => None,
    };
    verdict.map(|verdict| verdict.severity != Severity::Fault)
}

/// Every setting that can be judged; one line if none can.
pub(super) fn all(values: &Look<ConfigValues>) -> Vec<Verdict> {
    let not_judged = "timeout, tcp-keepalive, client-output-buffer-limit, maxmemory-policy";
    if let Some(unseen) = Verdict::unseen(values, "config", "CONFIG GET", not_judged) {
        return vec![unseen.mend("run doctor once as a user who may: --redis.url with that login")];
    }
    let judges = [timeout, tcp_keepalive, output_buffer_limit, maxmemory_policy];
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

fn maxmemory_policy(values: &ConfigValues) -> Option<Verdict> {
    let id = "maxmemory-policy";
    let policy = values.get(id)?;
    let is = format!("maxmemory-policy is {policy}");
    let unlimited = values.get("maxmemory") == Some("0");
    let evicts = policy.starts_with("allkeys-");
    // Keys without a time to live, as coturn's, are never evicted by the policies that begin so.
    let better = if policy.ends_with("-random") { "volatile-random" } else { "volatile-lru" };
    let verdict = if policy.ends_with("-lfu") {
        Verdict::new(Severity::Fault, id, format!("{is}: Redis does not know how long a key has been idle")).because(
            "after a gap or a start the age of allocations is unknown, leftovers count as live for a lifetime, and \
             prune cannot work; idle times need a while to settle after the change",
        )
    } else if evicts && !unlimited {
        Verdict::new(Severity::Fault, id, format!("{is}: it may evict coturn's status keys"))
            .because("what is evicted is missed after the next gap or start of the exporter")
    } else if evicts {
        Verdict::new(Severity::Info, id, format!("{is}; nothing is evicted while maxmemory is 0"))
            .because("with a limit on memory it would evict coturn's status keys")
    } else {
        return Some(Verdict::new(Severity::Ok, id, is));
    };
    Some(verdict.redis(format!("CONFIG SET {id} {better}")))
}
