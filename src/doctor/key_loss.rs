//! Judges whether Redis takes and keeps every status key.

use super::facts::{Seen, Subject};
use super::look::Look;
use super::retention::Retention;
use super::rights::user_of;
use super::{Severity, Verdict, settings, shell_word};

/// Whether Redis takes and keeps every status key.
pub(super) fn all(seen: &Seen, subject: &Subject) -> Vec<Verdict> {
    let mut known = seen.retention.seen().cloned().unwrap_or_default();
    if let Some(config) = seen.settings.seen() {
        known.complete(config);
    }
    let mut verdicts = Vec::new();
    verdicts.extend(settings::cluster_enabled(&known.values));
    verdicts.extend(settings::maxmemory_policy(&known.values));
    verdicts.extend(refused_writes(&known));
    verdicts.extend(refused_otherwise(&known));
    verdicts.extend(evicted(&known));
    if known.is_cluster().is_none() || known.may_evict().is_none() {
        verdicts.push(unknown(seen, subject));
    }
    verdicts
}

fn refused_writes(known: &Retention) -> Option<Verdict> {
    let limit = known.values.get(settings::MAXMEMORY).filter(|limit| *limit != "0")?;
    let refused = Some(known.refused_writes).filter(|refused| *refused > 0)?;
    let message = format!("Redis has refused {refused} write(s) for lack of memory; maxmemory is {limit}");
    let verdict = Verdict::new(Severity::Fault, settings::MAXMEMORY, message)
        .because(
            "coturn's status keys may be among them: after a gap or a start live allocations are not found",
        )
        .fix("CONFIG SET maxmemory with a larger value, then CONFIG RESETSTAT");
    Some(verdict)
}

fn refused_otherwise(known: &Retention) -> Option<Verdict> {
    let refused = Some(known.refused_otherwise).filter(|refused| *refused > 0)?;
    let message =
        format!("Redis has refused {refused} command(s), for it could not save its data or lacked replicas");
    let verdict = Verdict::new(Severity::Advice, "refused-writes", message)
        .because(
            "it passes on coturn's events then, but coturn's status keys may be missing: after a gap or a start live \
             allocations are not found",
        )
        .fix(
            "INFO persistence and INFO replication say whether it goes on: room on its disk, or CONFIG SET \
             stop-writes-on-bgsave-error no; its replicas; then CONFIG RESETSTAT",
        );
    Some(verdict)
}

fn evicted(known: &Retention) -> Option<Verdict> {
    let evicted = Some(known.evicted).filter(|evicted| *evicted > 0 && known.counts_evictions())?;
    let verdict = Verdict::new(Severity::Advice, "evicted-keys", format!("Redis has evicted {evicted} key(s)"))
        .because(
            "status keys may be among them: until each live allocation has set its key again, a missing key proves \
             nothing, and a start does not find them",
        )
        .fix("a maxmemory-policy that spares keys without a time to live; then CONFIG RESETSTAT");
    Some(verdict)
}

fn unknown(seen: &Seen, subject: &Subject) -> Verdict {
    let what = "whether Redis takes and keeps every status key (cluster, eviction)";
    let verdict = match Verdict::unseen(&seen.retention, "info", "INFO", what) {
        Some(verdict) => Verdict { severity: Severity::Advice, ..verdict },
        None => Verdict::new(Severity::Advice, "info", format!("INFO does not say {what}")),
    };
    let verdict = verdict.because("the exporter then ends no allocation because its key is missing");
    let user = shell_word(&user_of(seen, subject));
    match seen.retention {
        Look::Forbidden => verdict.redis(format!("ACL SETUSER {user} +info")),
        _ => verdict,
    }
}
