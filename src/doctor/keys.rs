//! Judges the status keys: whether they are in the db that we read, and whether live allocations own them.

use std::time::Duration;

use super::facts::{Db, Look, Seen, Subject};
use super::rights::user_of;
use super::{OTHER_DBS, Setting, Severity, Verdict, shell_word};
use crate::wire::status_key::is_stale;

/// How many of a db's status keys are of live allocations, left over, and of unknown age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    live: usize,
    stale: usize,
    unknown: usize,
}

impl Count {
    fn of(db: &Db, stale_after: Duration) -> Self {
        let mut count = Self::default();
        for idle in &db.idle {
            match idle {
                Some(idle) if is_stale(*idle, stale_after) => count.stale += 1,
                Some(_) => count.live += 1,
                None => count.unknown += 1,
            }
        }
        count
    }

    /// Whether an allocation may own one of them.
    const fn may_live(self) -> bool {
        self.live + self.unknown > 0
    }
}

/// Whether the live status keys are in the db that is read, as far as the keys show; `None` where there are none.
pub fn dbname_ok(configured: u32, dbs: &[Db], stale_after: Duration) -> Option<bool> {
    let may_live = |db: &&Db| Count::of(db, stale_after).may_live();
    if dbs.iter().filter(may_live).any(|db| db.number != configured) {
        return Some(false);
    }
    dbs.iter().any(|db| db.number == configured && !db.idle.is_empty()).then_some(true)
}

pub(super) fn dbname(seen: &Seen, subject: &Subject) -> Vec<Verdict> {
    let id = Setting::Dbname.as_str();
    let (dbs, ours) = (&seen.dbs, subject.db);
    let others = |wanted: fn(Count) -> bool| -> Vec<u32> {
        let other = dbs.iter().filter(|db| db.number != ours && !db.idle.is_empty());
        other.filter(|db| wanted(Count::of(db, subject.stale_after))).map(|db| db.number).collect()
    };
    let mut verdicts = Vec::new();
    let live = others(Count::may_live);
    let left = others(|count| !count.may_live());
    let here = dbs.iter().find(|db| db.number == ours).is_some_and(|db| !db.idle.is_empty());
    if let Some(first) = live.first() {
        let also = if here { "also " } else { "" };
        let place = list(&live);
        let message = format!("status keys of coturn are {also}in db {place}; the exporter reads db {ours}");
        let why = "their events arrive all the same, but after a start or a gap the exporter cannot read what is live";
        let url = subject.url_of(*first);
        verdicts.push(Verdict::new(Severity::Fault, id, message).because(why).fix(format!(
            "--redis.url {url}, or redis-statsdb=\"... dbname={ours} ...\" in turnserver.conf"
        )));
    } else if here {
        verdicts.push(Verdict::new(Severity::Ok, id, format!("status keys are in db {ours}, which is read")));
    } else if dbs.iter().all(|db| db.number != ours) {
        let message = format!("db {ours} could not be read; not judged: whether coturn writes to it");
        verdicts.push(Verdict::new(Severity::Info, id, message));
    } else {
        let message = format!("no live status keys: whether coturn writes to db {ours} is not known");
        let why = "coturn sets a key for each allocation; where none is live there is none";
        verdicts.push(Verdict::new(Severity::Info, id, message).because(why));
    }
    if let Some(first) = left.first() {
        let place = list(&left);
        let verdict = Verdict::new(
            Severity::Advice,
            "stale-keys-elsewhere",
            format!("leftover status keys in db {place}"),
        );
        let why = "no coturn with that db has started since; nothing else will remove them";
        let url = subject.url_of(*first);
        verdicts.push(verdict.because(why).fix(format!("coturn-exporter prune --redis.url {url}")));
    }
    verdicts.extend(other_dbs(seen, subject, here));
    verdicts
}

/// Other dbs that could not be looked into; `here` says whether ours has status keys.
fn other_dbs(seen: &Seen, subject: &Subject, here: bool) -> Option<Verdict> {
    let what = format!("SELECT of another db than {}", subject.db);
    let verdict = Verdict::unseen(&seen.other_dbs, OTHER_DBS, &what, "whether status keys are in other dbs")?;
    // Where INFO is answered only dbs that hold keys are tried.
    if here || seen.retention.seen().is_none() || seen.other_dbs != Look::Forbidden {
        return Some(verdict);
    }
    let user = shell_word(&user_of(seen, subject));
    let verdict = Verdict { severity: Severity::Advice, ..verdict };
    Some(
        verdict
            .because("another db holds keys, and the one that is read has no status key: coturn may write to the other")
            .redis(format!("ACL SETUSER {user} +select")),
    )
}

pub(super) fn stale(seen: &Seen, subject: &Subject) -> Option<Verdict> {
    let id = "stale-keys";
    let db = seen.dbs.iter().find(|db| db.number == subject.db).filter(|db| !db.idle.is_empty())?;
    let count = Count::of(db, subject.stale_after);
    let (all, of) = (db.idle.len(), if db.complete { "" } else { "the first " });
    if count.unknown == all {
        let message = "Redis does not report how long keys have been idle: leftovers cannot be distinguished from live ones";
        return Some(Verdict::new(Severity::Advice, id, message));
    }
    let limit = subject.stale_after.as_secs();
    if count.stale == 0 {
        let message = format!("none of {of}{all} status keys has been idle for more than {limit} s");
        return Some(Verdict::new(Severity::Ok, id, message));
    }
    let message =
        format!("{} of {of}{all} status keys have been idle for more than {limit} s: leftovers", count.stale);
    let why = "coturn died or lost the end of those allocations; they take memory until a coturn with this db starts";
    let url = subject.url_of(subject.db);
    let fix = format!("coturn-exporter prune --redis.url {url}");
    Some(Verdict::new(Severity::Advice, id, message).because(why).fix(fix))
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
