//! Tests of the log: what a line looks like, and that no value can break out of it.

use super::*;
use crate::clock::{ManualClock, Timestamp};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

/// What `events` writes.
fn written(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let clock = ManualClock::at(Timestamp::from_millis(1_795_341_600_000));
    let subscriber = subscriber(Log { level, format }, clock, move || writer.clone());
    tracing::subscriber::with_default(subscriber, events);
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

fn logfmt(events: impl FnOnce()) -> String {
    written(LogLevel::Debug, LogFormat::Logfmt, events)
}

#[test]
fn a_line_of_logfmt() {
    let error = io::Error::other("no = way");
    let error: &(dyn std::error::Error + 'static) = &error;
    assert_eq!(
        logfmt(
            || tracing::warn!(count = 3, source = %"redis://h", error, ok = true, ratio = 0.5, "lost the link")
        ),
        "ts=2026-11-22T10:00:00.000Z level=warn msg=\"lost the link\" count=3 source=redis://h \
         error=\"no = way\" ok=true ratio=0.5\n"
    );
    assert_eq!(logfmt(|| tracing::info!("up")), "ts=2026-11-22T10:00:00.000Z level=info msg=up\n");
}

#[test]
fn a_line_of_json() {
    let line = written(LogLevel::Info, LogFormat::Json, || {
        tracing::error!(
            n = -1,
            big = u64::MAX,
            nan = f64::NAN,
            user = "a\"b\u{1b}[31m",
            bytes = &b"\xff"[..],
            "no"
        );
    });
    assert_eq!(
        line,
        "{\"ts\":\"2026-11-22T10:00:00.000Z\",\"level\":\"error\",\"msg\":\"no\",\"n\":-1,\
         \"big\":18446744073709551615,\"nan\":\"NaN\",\"user\":\"a\\\"b\\u001b[31m\",\"bytes\":\"\u{fffd}\"}\n"
    );
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
}

#[test]
fn less_important_lines_are_left_out() {
    for (level, lines) in
        [(LogLevel::Debug, 4), (LogLevel::Info, 3), (LogLevel::Warn, 2), (LogLevel::Error, 1)]
    {
        let text = written(level, LogFormat::Logfmt, || {
            tracing::trace!("never");
            tracing::debug!("d");
            tracing::info!("i");
            tracing::warn!("w");
            tracing::error!("e");
        });
        assert_eq!(text.lines().count(), lines, "{text}");
    }
}

#[test]
fn values_that_need_quotes_get_them_and_nothing_unseen_gets_through() {
    for (value, shown) in [
        ("plain/1:2@x", "plain/1:2@x"),
        ("größe", "größe"),
        ("", "\"\""),
        ("a b", "\"a b\""),
        ("a=b", "\"a=b\""),
        ("it's", "it's"),
        ("a\"b\\", "\"a\\\"b\\\\\""),
        ("x\nts=0 level=error", "\"x\\nts=0 level=error\""),
        ("\u{1b}[2J\u{9b}\u{7f}", "\"\\u001b[2J\\u009b\\u007f\""),
        ("\u{202e}\u{2028}\u{200b}\u{a0}", "\"\\u202e\\u2028\\u200b\\u00a0\""),
        ("\u{e0041}", "\"\\udb40\\udc41\""),
    ] {
        let line = logfmt(|| tracing::info!(value, "m"));
        assert_eq!(line, format!("ts=2026-11-22T10:00:00.000Z level=info msg=m value={shown}\n"));
    }
}

#[test]
fn keys_cannot_break_a_line_either() {
    assert_eq!(
        logfmt(|| tracing::info!("a b\n" = 1, peer.address = 2, "m")),
        "ts=2026-11-22T10:00:00.000Z level=info msg=m a_b_=1 peer.address=2\n"
    );
}

proptest! {
    #[test]
    fn one_event_is_one_line_and_json_gives_the_value_back(value in any::<String>()) {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let text = written(LogLevel::Info, format, || tracing::info!(value, "{value}"));
            prop_assert!(text.ends_with('\n') && text.lines().count() == 1);
            prop_assert!(!text.trim_end_matches('\n').chars().any(char::is_control), "{text:?}");
            if format == LogFormat::Json {
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(json["value"].as_str(), Some(value.as_str()));
                prop_assert_eq!(json["msg"].as_str(), Some(value.as_str()));
            }
        }
    }
}

#[test]
fn a_panic_is_a_line_too() {
    const THREAD: &str = "panics for a test";
    let (lines, panicked) = std::sync::mpsc::channel();
    let others = std::panic::take_hook();
    // The hook is the whole process': what other tests panic of is none of this one's business.
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some(THREAD) {
            let clock = ManualClock::at(Timestamp::from_millis(1_795_341_600_000));
            lines.send(panic_line(LogFormat::Json, &clock, info)).unwrap();
        } else {
            others(info);
        }
    }));
    for (reason, expected) in [(None, "plain"), (Some(7), "with\n7")] {
        let panicking = thread::Builder::new().name(THREAD.to_owned()).spawn(move || match reason {
            None => panic!("plain"),
            Some(number) => panic!("with\n{number}"),
        });
        panicking.unwrap().join().unwrap_err();
        let line = panicked.recv().unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line["level"].as_str(), line["reason"].as_str()), (Some("error"), Some(expected)));
        assert_eq!(line["thread"].as_str(), Some(THREAD));
        assert!(line["at"].as_str().unwrap().contains("logging/tests.rs:"), "{line}");
    }
}

#[test]
fn what_was_dropped_is_said_in_the_form_of_the_log() {
    let clock = ManualClock::at(Timestamp::from_millis(1_795_341_600_000));
    assert_eq!(
        dropped_note(LogFormat::Logfmt, &clock, 12),
        "ts=2026-11-22T10:00:00.000Z level=warn msg=\"log lines were dropped here: standard error did not take them in \
         time\" lines=12\n"
    );
    let note = dropped_note(LogFormat::Json, &clock, 12);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&note).unwrap()["lines"], 12);
}

#[test]
fn what_is_queued_is_written_before_the_program_ends() {
    let queue = Arc::new(LogQueue::new());
    let guard = LogGuard { queue: Some(Arc::clone(&queue)) };
    let writing = Arc::clone(&queue);
    let written = thread::spawn(move || {
        let mut out = Vec::new();
        writing.write_onto(&mut out, |_| String::new());
        out
    });
    queue.push(b"first\n");
    guard.last_line("last\n");
    drop(guard);
    assert!(queue.is_done(), "nobody waited for the thread");
    assert_eq!(written.join().unwrap(), b"first\nlast\n");
}
