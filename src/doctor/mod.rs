//! Checks whether a Redis is set up right for coturn and for this exporter. Facts in, findings out: what is wrong, why it
//! matters, how to fix it. Pure: no I/O, no clock; `source` collects the facts.
//!
//! Ids and field names are a contract: scripts read them.

pub mod certificate;
pub mod facts;
mod key_loss;
mod keys;
pub mod listener;
mod look;
mod report;
pub mod retention;
mod rights;
mod server;
mod settings;
pub mod turnserver;

use serde::Serialize;

use facts::{Facts, Look, Subject};

pub use crate::wire::status_key::{MOST_IDLE, is_stale};
pub use keys::dbname_ok;
pub use report::{json, text};
pub use settings::{ASKED, SETTINGS, Setting, SettingState, setting_states};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Useful to know; nothing to do.
    Info,
    /// It works, but could be better.
    Advice,
    /// Something is lost, or will be. Only this makes `doctor` end with exit code 1.
    Fault,
}

impl Severity {
    /// The word for it in both outputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Advice => "advice",
            Self::Fault => "fault",
        }
    }
}

/// The result of one check. Its fields are those of the JSON output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which Redis: its URL without user and password.
    pub source: String,
    /// What was checked: lower case words with dashes, the same in every version.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// Why it matters; `null` where nothing is wrong.
    pub why: Option<String>,
    /// The command that fixes it, or the flag or setting to change; `null` where there is nothing to fix.
    pub fix: Option<String>,
}

/// The finding that gives the line for `turnserver.conf`.
const TURNSERVER_LINE: &str = "turnserver-conf";

/// The finding about dbs that could not be looked into: coturn's keys may be in one of them.
const OTHER_DBS: &str = "other-dbs";

/// How coturn is made to say the listener's password.
const COTURN_PASSWORD: &str = "password=SECRET in redis-statsdb, where SECRET is the content of the exporter's \
                               --statsdb.password-file; then restart coturn";

/// How coturn is made to say the password of a Redis.
const COTURN_REDIS_PASSWORD: &str = "password=SECRET in redis-statsdb, where SECRET is the password of Redis' default \
                                     user (requirepass in redis.conf); then restart coturn";

/// Judges the facts.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let subject = &facts.subject;
    let mut verdicts = Vec::new();
    match &facts.seen {
        Err(unreachable) => verdicts.push(server::unreachable(unreachable, subject)),
        Ok(seen) => {
            verdicts.push(server::reachable(seen, subject));
            verdicts.extend(server::version(seen));
            verdicts.extend(server::no_touch(seen, subject));
            verdicts.extend(server::role(seen, subject));
            verdicts.extend(settings::all(&seen.settings));
            verdicts.extend(key_loss::all(seen, subject));
            verdicts.extend(rights::needed(seen, subject));
            verdicts.extend(rights::excess(seen, subject));
            verdicts.extend(keys::dbname(seen, subject));
            verdicts.extend(keys::stale(seen, subject));
            verdicts.extend(server::clients(seen, subject));
        }
    }
    verdicts.into_iter().map(|verdict| verdict.about(subject)).collect()
}

/// A finding without its source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    id: &'static str,
    severity: Severity,
    message: String,
    why: Option<String>,
    fix: Option<Fix>,
}

/// How to fix a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fix {
    /// A command to Redis, as `redis-cli` takes it.
    Redis(String),
    /// Anything else, as text for the operator.
    Other(String),
}

impl Verdict {
    fn new(severity: Severity, id: &'static str, message: impl Into<String>) -> Self {
        Self { id, severity, message: message.into(), why: None, fix: None }
    }

    /// The line about a check that could not be made; `None` if it was made.
    fn unseen<T>(look: &Look<T>, id: &'static str, what: &str, not_judged: &str) -> Option<Self> {
        let message = match look {
            Look::Seen(_) => return None,
            Look::Forbidden => {
                let right = rights::right_to(what);
                format!("{what} is forbidden to this user, who lacks {right}; not judged: {not_judged}")
            }
            Look::Failed(text) => format!("{what} gives no answer ({text}); not judged: {not_judged}"),
        };
        Some(Self::new(Severity::Info, id, message))
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn redis(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(Fix::Redis(command.into()));
        self
    }

    fn fix(mut self, what: impl Into<String>) -> Self {
        self.fix = Some(Fix::Other(what.into()));
        self
    }

    fn about(self, subject: &Subject) -> Finding {
        let Self { id, severity, message, why, fix } = self;
        let fix = fix.map(|fix| match fix {
            Fix::Redis(command) => format!("{} {command}", subject.redis_cli),
            Fix::Other(what) => what,
        });
        Finding { source: subject.name.clone(), id, severity, message, why, fix }
    }
}

/// The finding about something that is no Redis: fixes are given as they are.
fn of_source(verdict: Verdict, source: &str) -> Finding {
    let Verdict { id, severity, message, why, fix } = verdict;
    let fix = fix.map(|fix| match fix {
        Fix::Redis(text) | Fix::Other(text) => text,
    });
    Finding { source: source.to_owned(), id, severity, message, why, fix }
}

/// Quotes a word for a shell where it needs that.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
