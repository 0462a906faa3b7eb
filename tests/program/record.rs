//! `record` against a real Redis: what it writes replays to the page that a watching exporter serves. And the
//! exporter's own CPU time, against the kernel's account of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::net::ports::Port;
use crate::common::net::rights::{LEAST, grant, in_db};
use crate::common::net::statsdb::Statsdb;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::capture;
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::process::Process;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use crate::common::turns;
use coturn_exporter::app::replay::replay;
use coturn_exporter::state::Settings;
use rustix::process::Signal;

/// The URL of a user with the documented rights.
fn user(redis: &Redis, db: u8) -> String {
    redis.url_with(&grant(redis, "exporter", &in_db(db, &[LEAST])), db)
}

fn record(dir: &TempDir, url: &str, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    command.args(["record", "--redis.url", url, "--output", "stream.jsonl"]).args(more);
    Process::spawn(command, dir.path(), "record").expect("the program starts")
}

/// The samples of one page that tell of coturn: not of the source, the program or the moment, which differ.
fn samples(text: &str) -> Vec<String> {
    let page = Page::parse(text);
    let told = page.iter().filter(|(series, _)| {
        let timed = series.name.contains("timestamp") || series.name.contains("duration_seconds");
        let of_program = series.name.starts_with("process_")
            || [
                "coturn_exporter_build_info",
                "coturn_exporter_dropped_log_lines_total",
                "coturn_exporter_http_refusals_total",
            ]
            .contains(&series.name.as_str());
        !series.labels.contains_key("source") && !of_program && !timed
    });
    told.map(|(series, value)| format!("{series} {value}")).collect()
}

fn replayed(capture: PathBuf) -> String {
    String::from_utf8(replay(Settings::default(), &[capture], None).unwrap()).unwrap()
}

fn until_recording(recorder: &Process) {
    poll::until(PATIENCE, "record to be subscribed", || {
        let log = recorder.stderr();
        if log.contains("msg=recording") { Ok(()) } else { Err(log) }
    });
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn a_recorded_stream_replays_to_the_page_of_the_exporter_that_watched_it() {
    let redis = Redis::start();
    let dir = TempDir::new("record");
    let url = user(&redis, 0);
    let mut recorder = record(&dir, &url, &[]);
    let exporter = Exporter::watching(&url);
    until_recording(&recorder);
    let mut coturn = Statsdb::connect(&redis, 0);
    let mut published = 0;
    // Names that are not UTF-8, and a coturn's heartbeat, which `turn/*` does not match.
    for name in ["odd-usernames-4.6.1.jsonl", "mixed-4.6.1.jsonl", "percent-usernames-4.6.1.jsonl"] {
        for message in capture::read(name) {
            coturn.tell(&message.channel, &message.payload);
            published += usize::from(message.channel.starts_with(b"turn/"));
        }
    }
    let capture = dir.path().join("stream.jsonl");
    poll::until(PATIENCE, "every message to be recorded", || match lines(&capture) {
        written if written == published => Ok(()),
        written => Err(format!("{written} of {published}")),
    });
    let mode = std::fs::metadata(&capture).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "users and their addresses are in it");
    recorder.signal(Signal::INT);
    assert!(recorder.wait(Duration::from_secs(5)).success(), "{}", recorder.output());
    let told = exporter.until("every message to be counted", |page| {
        match page.count("coturn_exporter_messages_total", &[]) {
            counted if counted == published as u64 => Ok(exporter.text()),
            counted => Err(format!("{counted} of {published}")),
        }
    });
    let (watched, replayed) = (samples(&told), samples(&replayed(capture)));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|sample| !those.contains(sample)).cloned().collect()
    };
    let differing = (only(&watched, &replayed), only(&replayed, &watched));
    assert!(differing.0.is_empty() && differing.1.is_empty(), "watched, then replayed: {differing:#?}");
}

#[test]
fn a_recording_ends_after_its_duration_and_never_overwrites() {
    let redis = Redis::start();
    let dir = TempDir::new("record-again");
    // The stream is the same whichever db is named; to name it takes one right more.
    let url = user(&redis, 2);
    let mut first = record(&dir, &url, &["--duration", "3s"]);
    assert!(first.wait(PATIENCE).success(), "{}", first.output());
    let mut second = record(&dir, &url, &["--duration", "100ms"]);
    let status = second.wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", second.output());
    assert!(second.stderr().contains("stream.jsonl"), "{}", second.stderr());
}

#[test]
fn a_redis_that_was_never_reached_gives_no_capture() {
    let dir = TempDir::new("record-nothing");
    let port = Port::claim();
    let url = format!("redis://127.0.0.1:{}/0", port.number);
    let mut recorder = record(&dir, &url, &["--duration", "300ms"]);
    assert_eq!(recorder.wait(PATIENCE).code(), Some(1), "{}", recorder.output());
    let log = recorder.stderr();
    assert!(log.contains("nothing was recorded") && log.contains("Connection refused"), "{log}");
    assert!(
        !dir.path().join("stream.jsonl").exists(),
        "an empty capture would say that nothing was published"
    );
}

/// Its words are those of a Redis; what they mean is not.
#[test]
fn a_listener_with_a_password_is_no_redis_that_refuses_the_login() {
    let dir = TempDir::new("record-listener");
    let password = dir.write("password", "open-sesame\n");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (_service, address) = listening(&["--statsdb.password-file", password.to_str().unwrap()]);
    for credentials in ["", ":wrong@"] {
        let url = format!("redis://{credentials}{address}/0");
        let mut recorder = record(&dir, &url, &["--duration", "2s"]);
        assert_eq!(recorder.wait(PATIENCE).code(), Some(1), "{}", recorder.output());
        let log = recorder.stderr();
        assert!(log.contains("here a coturn-exporter listens for coturn"), "{log}");
        assert!(!log.contains("Redis refuses the login"), "{log}");
    }
    let redis = Redis::start_with_password("secret");
    let mut recorder = record(&dir, &redis.url_with("", 0), &["--duration", "2s"]);
    assert_eq!(recorder.wait(PATIENCE).code(), Some(1), "{}", recorder.output());
    assert!(recorder.stderr().contains("Redis refuses the login"), "{}", recorder.stderr());
}

#[test]
fn a_packed_capture_replays_like_the_plain_one() {
    let golden = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let plain = golden("basic-refresh0-4.6.1.jsonl");
    let dir = TempDir::new("packed");
    // The name says nothing; two members, as `cat a.gz b.gz` makes.
    let packed = dir.path().join("capture");
    let script = format!(
        "head -n 3 {0} | gzip > {1}; tail -n +4 {0} | gzip >> {1}",
        plain.display(),
        packed.display()
    );
    let made = Command::new("sh").args(["-c", &script]).status().expect("sh");
    assert!(made.success());
    assert_eq!(replayed(packed), replayed(plain));
    let cut = dir.write("cut", "");
    std::fs::write(&cut, &std::fs::read(dir.path().join("capture")).unwrap()[..40]).unwrap();
    let error = replay(Settings::default(), &[cut], None).unwrap_err().to_string();
    assert!(error.contains("cut:") && error.contains("cannot read on"), "{error}");
}

#[test]
fn cpu_time_is_told_to_the_millisecond() {
    let _turn = turns::take();
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let told = || exporter.page().value("process_cpu_seconds_total", &[]).unwrap();
    let first = told();
    // Scrapes are work: a counter in whole seconds would stand still.
    let later = poll::until(PATIENCE, "CPU time to rise by a few milliseconds", || match told() {
        now if now > first + 0.003 => Ok(now),
        now => Err(format!("{first} then {now}")),
    });
    let kernel = exporter.cpu_seconds();
    assert!(later <= kernel + 0.02, "told {later}, but the kernel counts {kernel} after it");
    assert!(told() + 0.02 >= kernel, "the kernel counted {kernel} before");
}
