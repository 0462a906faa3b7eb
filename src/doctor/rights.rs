//! Judges what our ACL user may do: what the exporter needs, and what it does not.

use super::facts::{Look, Seen, Subject};
use super::{Severity, Verdict, shell_word};

/// The rules of a user that can do what the exporter does, and no more.
const RULES: &str = "resetchannels '&turn/*' '~turn/*' -@all +ping +hello +auth +select +psubscribe +punsubscribe +scan \
                     +get +mget +object +role '+client|setname'";

/// The name of our ACL user.
pub(super) fn user_of(seen: &Seen, subject: &Subject) -> String {
    let configured = || subject.user.clone().unwrap_or_else(|| "default".to_owned());
    seen.user.seen().cloned().unwrap_or_else(configured)
}

pub(super) fn needed(seen: &Seen, subject: &Subject) -> Vec<Verdict> {
    let rights = &seen.rights;
    let resync = "after a start or a gap the exporter cannot read what is live";
    let subscription = "no event reaches the exporter";
    let rows = [
        ("subscribe", "PSUBSCRIBE turn/*", &rights.subscribe, subscription, "'&turn/*' +psubscribe"),
        ("scan", "SCAN", &rights.scan, resync, "+scan"),
        ("get", "GET of status keys", &rights.get, resync, "'~turn/*' +get"),
        (
            "idle-time",
            "OBJECT IDLETIME of status keys",
            &rights.idle_time,
            resync,
            "'~turn/*' '+object|idletime'",
        ),
    ];
    let user = shell_word(&user_of(seen, subject));
    let verdict = |(id, what, look, why, rules): (_, _, &Look<()>, _, _)| match look {
        Look::Seen(()) => Verdict::new(Severity::Ok, id, format!("{what} is allowed")),
        Look::Forbidden => Verdict::new(Severity::Fault, id, format!("{what} is forbidden to this user"))
            .because(why)
            .redis(format!("ACL SETUSER {user} {rules}")),
        Look::Failed(text) => Verdict::new(Severity::Fault, id, format!("{what} fails: {text}")).because(why),
    };
    rows.into_iter().map(verdict).collect()
}

pub(super) fn excess(seen: &Seen, subject: &Subject) -> Option<Verdict> {
    let id = "excess-rights";
    let Some(excess) = seen.excess.seen() else {
        return Verdict::unseen(
            &seen.excess,
            id,
            "ACL DRYRUN",
            "whether this user may do more than it needs",
        );
    };
    if excess.is_empty() {
        return Some(Verdict::new(Severity::Ok, id, "the user may do nothing dangerous that was asked for"));
    }
    let user = user_of(seen, subject);
    let message = format!("the user may also call {}", excess.join(", "));
    let own = if user == "default" { "coturn-exporter".to_owned() } else { shell_word(&user) };
    // A Redis that does not know the subcommand refuses the whole line.
    let no_touch = if seen.no_touch == Look::Seen(true) { " '+client|no-touch'" } else { "" };
    let verdict = Verdict::new(Severity::Info, id, message)
        .because(
            "the exporter needs none of them (prune --apply: EVAL and UNLINK); who has its password has them",
        )
        .redis(format!("ACL SETUSER {own} on '>PASSWORD' {RULES}{no_touch}"));
    Some(verdict)
}
