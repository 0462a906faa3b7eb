//! Why there is nothing to see, and what else an operator should know first.

use std::fmt::Write as _;

use super::look::{LastLook, ListenerNow, SourceNow};
use crate::escape::{Html, printable};
use crate::markup::{copyable, count, span};

/// Writes a notice for each thing that is wrong or missing.
pub(super) fn write_notices(out: &mut String, look: &LastLook) {
    if look.is_store_ok == Some(false) {
        wrong(
            out,
            "The store cannot be written: see the exporter's log. A restart now begins with counters at 0.",
        );
    }
    if look.refused > 0 {
        let sentence = format!(
            "The table was full: {} allocations were not taken. Raise --allocation.max-count.",
            count(look.refused)
        );
        wrong(out, &sentence);
    }
    for source in &look.sources {
        of_source(out, source);
    }
}

fn of_source(out: &mut String, source: &SourceNow) {
    let name = printable(source.name.as_bytes());
    if let Some(trouble) = &source.trouble {
        // It begins with the name.
        let trouble = printable(trouble.as_bytes());
        let what = trouble.strip_prefix(&format!("{name}: ")).unwrap_or(&trouble);
        let still = if source.has_reported() { " Its numbers stand still meanwhile." } else { "" };
        wrong(out, &format!("Source {name} is down: {what}.{still}"));
        return;
    }
    if let Some(ListenerNow { refused_clients: refused @ 1.., .. }) = source.listener {
        let sentence = format!(
            "{} client address(es) connect to {name} with no or a wrong password: see password=... in their \
             redis-statsdb; the exporter's log names them.",
            count(refused)
        );
        wrong(out, &sentence);
    }
    if !source.faults.is_empty() {
        let faults = source.faults.join("; ");
        wrong(
            out,
            &format!(
                "Source {name}: {faults}. \"doctor\" with the exporter's own flags says why, and what mends it."
            ),
        );
    }
    if let Some(sentence) = waits_for(source, &name) {
        begin(out, false, &sentence);
        if let Some(line) = &source.setup.line {
            let note = source.setup.note.as_deref().unwrap_or_default();
            let _ = write!(
                out,
                "<p>Put this line into turnserver.conf and restart coturn:</p>\n<p>{}</p>\n<p>{}</p>\n",
                copyable(line, "the line"),
                Html(note)
            );
        } else if let Some(note) = &source.setup.note {
            let _ = writeln!(out, "<p>{}</p>", Html(note));
        }
        out.push_str("</div>\n");
    }
}

/// What has not come yet, if so.
fn waits_for(source: &SourceNow, name: &str) -> Option<String> {
    match source.listener {
        Some(ListenerNow { is_coturn_seen: false, .. }) if source.has_reported() => Some(format!(
            "No coturn has connected to {name} since the exporter was started. One that was connected before comes back \
             with its next event."
        )),
        Some(ListenerNow { is_coturn_seen: false, .. }) => {
            Some(format!("No coturn has connected to {name} yet."))
        }
        Some(ListenerNow { connections: 0, .. }) => {
            let last = source
                .last_message
                .map_or_else(String::new, |ago| format!(", the last event came {} ago", span(ago)));
            Some(format!(
                "No coturn is connected to {name} now{last}. One whose connection was cut comes back with its next event, if \
                 its redis-statsdb leads here."
            ))
        }
        _ if source.has_reported() => None,
        Some(_) => Some(format!(
            "coturn has connected to {name}, and has not reported an allocation yet. It does so when a client gets one."
        )),
        None => Some(format!(
            "No coturn has reported to {name} yet. The exporter is subscribed there; coturn reports when a client gets an \
             allocation."
        )),
    }
}

fn begin(out: &mut String, is_wrong: bool, sentence: &str) {
    let (class, role) = if is_wrong { ("notice wrong", " role=\"alert\"") } else { ("notice", "") };
    let _ = writeln!(out, "<div class=\"{class}\"{role}>\n<p>{}</p>", Html(sentence));
}

fn wrong(out: &mut String, sentence: &str) {
    begin(out, true, sentence);
    out.push_str("</div>\n");
}
