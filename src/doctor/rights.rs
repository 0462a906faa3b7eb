//! Judges what the exporter's ACL user may do: what it needs, and what it does not.

use super::facts::{Look, Seen, Subject};
use super::{Severity, Verdict, shell_word};

/// The rules of a user that can do what the exporter does in db 0, and no more: those of docs/redis.md, for a shell.
const RULES: &str = "resetchannels '&turn/*' '~turn/*' -@all +psubscribe +ping +scan +get '+object|idletime' \
                     +info";

/// Commands whose subcommands are rights of their own.
const WITH_SUBCOMMANDS: [&str; 7] = ["acl", "client", "cluster", "config", "memory", "object", "pubsub"];

/// The name of the exporter's ACL user.
pub(super) fn user_of(seen: &Seen, subject: &Subject) -> String {
    let configured = || subject.user.clone().unwrap_or_else(|| "default".to_owned());
    seen.user.seen().cloned().unwrap_or_else(configured)
}

/// The rule that allows a command, for its words: `+config|get` for `CONFIG GET timeout`.
pub(super) fn right_to(command: &str) -> String {
    let mut words = command.split(' ').map(str::to_ascii_lowercase);
    let name = words.next().unwrap_or_default();
    match words.next() {
        Some(sub) if WITH_SUBCOMMANDS.contains(&name.as_str()) => format!("+{name}|{sub}"),
        _ => format!("+{name}"),
    }
}

pub(super) fn needed(seen: &Seen, subject: &Subject) -> Vec<Verdict> {
    let rights = &seen.rights;
    let resync = "after a start or a gap the exporter cannot read what is live";
    let subscription = "no event reaches the exporter";
    let select = format!("SELECT of db {}", subject.db);
    let rows = [
        (
            "ping",
            "PING",
            &rights.ping,
            "the exporter uses it to check the connection, and cannot work without it",
            "+ping",
        ),
        (
            "select",
            &select,
            &rights.select,
            "the exporter cannot read the db that --redis.url names, and does not connect",
            "+select",
        ),
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
    // While Redis cannot serve clients every command fails; that is one finding.
    let cannot_serve = matches!(rights.ping, Look::Failed(_));
    let verdict = |(id, what, look, why, rules): (_, &str, &Look<()>, _, _)| match look {
        Look::Seen(()) => Verdict::new(Severity::Ok, id, format!("{what} is allowed")),
        Look::Forbidden => Verdict::new(Severity::Fault, id, format!("{what} is forbidden to this user"))
            .because(why)
            .redis(format!("ACL SETUSER {user} {rules}")),
        Look::Failed(text) if id == "ping" => unserved(text),
        Look::Failed(text) if cannot_serve => {
            Verdict::new(Severity::Info, id, format!("{what} fails now: {text}; not judged: the right to it"))
        }
        Look::Failed(text) => {
            let verdict = Verdict::new(Severity::Fault, id, format!("{what} fails: {text}")).because(why);
            verdict.fix(if id == "select" {
                "--redis.url with the db that coturn's redis-statsdb names (dbname=); `databases` in redis.conf says \
                 how many there are"
            } else {
                "a Redis that knows the command and does not rename it, or none: --statsdb.listen-address"
            })
        }
    };
    rows.into_iter().filter(|row| row.0 != "select" || subject.db != 0).map(verdict).collect()
}

/// Redis answers a PING with an error.
fn unserved(text: &str) -> Verdict {
    let message = format!("Redis cannot serve clients now: {text}");
    let why = "the exporter retries until it can; what coturn reports meanwhile may be lost";
    if text.starts_with("MASTERDOWN") {
        return Verdict::new(Severity::Info, "ping", message + "; see role").because(why);
    }
    Verdict::new(Severity::Fault, "ping", message)
        .because(why)
        .fix("run doctor again when that is over; the log of Redis says why it takes so long")
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
        return Some(Verdict::new(
            Severity::Ok,
            id,
            "the user has none of the dangerous rights that were checked",
        ));
    }
    let user = user_of(seen, subject);
    let message = format!("the user may also call {}", excess.join(", "));
    let own = if user == "default" { "coturn-exporter".to_owned() } else { shell_word(&user) };
    let select = if subject.db == 0 { "" } else { " +select" };
    // A Redis that does not know the subcommand refuses the whole line.
    let no_touch = if seen.no_touch == Look::Seen(true) { " '+client|no-touch'" } else { "" };
    let verdict = Verdict::new(Severity::Info, id, message)
        .because(
            "the exporter needs none of them (prune --apply: EVAL and UNLINK); anybody with its password has them",
        )
        .redis(format!("ACL SETUSER {own} on '>PASSWORD' resetkeys {RULES}{select} +role{no_touch}"));
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_to_a_command_is_named_as_an_acl_has_it() {
        for (command, right) in [
            ("CONFIG GET", "+config|get"),
            ("ROLE", "+role"),
            ("INFO server", "+info"),
            ("SELECT of another db than 0", "+select"),
            ("ACL DRYRUN", "+acl|dryrun"),
            ("CLIENT NO-TOUCH", "+client|no-touch"),
        ] {
            assert_eq!(right_to(command), right);
        }
    }
}
